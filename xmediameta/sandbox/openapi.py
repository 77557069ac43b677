"""The sandbox's OpenAPI document, made from the structs that it checks requests with."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from xmediameta.members import MediaId
from xmediameta.models import Metadata

from .contract import MetadataCreateRequest

_REF: Final = "#/components/schemas/"
_RATE_HEADERS: Final = ("x-rate-limit", "x-app-limit-24hour", "x-user-limit-24hour")


class Problem(Struct, frozen=True):
    """An HTTP problem document (RFC 9457)."""

    title: str
    type: str
    detail: str | UnsetType = UNSET
    status: int | UnsetType = UNSET


class MetadataCreated(Struct, frozen=True):
    """What was applied."""

    id: MediaId | UnsetType = UNSET
    associated_metadata: Metadata | UnsetType = UNSET


class MetadataCreateResponse(Struct, frozen=True):
    """The answer to an update that was applied."""

    data: MetadataCreated | UnsetType = UNSET
    errors: list[Problem] | UnsetType = UNSET


@cache
def openapi_document() -> bytes:
    """The document as JSON."""
    return msgspec.json.format(msgspec.json.encode(_document()), indent=2)


def _document() -> dict[str, Any]:
    kinds = [MetadataCreateRequest, MetadataCreateResponse, Problem]
    _, components = msgspec.json.schema_components(kinds, ref_template=_REF + "{name}")
    # What joins members cannot be said by a struct.
    components["GeoRestrictions"] |= {
        "required": ["whitelisted_country_codes", "blacklisted_country_codes"],
        "oneOf": [
            _one_filled("whitelisted_country_codes", "blacklisted_country_codes"),
            _one_filled("blacklisted_country_codes", "whitelisted_country_codes"),
        ],
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "xmediameta sandbox",
            "version": "1",
            "description": "A stand-in for POST /2/media/metadata of the X API v2. Nothing is sent to X.",
        },
        "paths": {"/2/media/metadata": {"post": _operation()}},
        "components": {
            "schemas": components,
            "securitySchemes": {
                "OAuth2UserToken": {"type": "http", "scheme": "bearer"},
                "UserToken": {"type": "http", "scheme": "OAuth"},
            },
        },
    }


def _operation() -> dict[str, Any]:
    return {
        "operationId": "createMediaMetadata",
        "summary": "Set the metadata of one media",
        "security": [{"OAuth2UserToken": []}, {"UserToken": []}],
        "requestBody": {"required": True, "content": _content("application/json", "MetadataCreateRequest")},
        "responses": {
            "200": {
                "description": "The update was applied.",
                "headers": _headers(),
                "content": _content("application/json", "MetadataCreateResponse"),
            },
            "429": {
                "description": "A window is used up.",
                "headers": _headers(),
                "content": _content("application/problem+json", "Problem"),
            },
            "default": {
                "description": "The request has failed.",
                "content": _content("application/problem+json", "Problem"),
            },
        },
    }


def _content(media_type: str, schema: str) -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": _REF + schema}}}


def _headers() -> dict[str, Any]:
    return {
        f"{stem}-{what}": {"schema": {"type": "integer"}}
        for stem in _RATE_HEADERS
        for what in ("limit", "remaining", "reset")
    }


def _one_filled(filled: str, empty: str) -> dict[str, Any]:
    return {"properties": {filled: {"minItems": 1}, empty: {"maxItems": 0}}}
