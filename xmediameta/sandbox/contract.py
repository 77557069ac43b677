"""Whether a request body keeps the published contract, checked apart from what the client checks before it sends.

Types, patterns and bounds are those of the members' structs. What joins members, and what a body may hold beside
`id` and `metadata`, is decided here.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from xmediameta.members import MediaId
from xmediameta.models import Metadata
from xmediameta.text import printable


class MetadataCreateRequest(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The request body: a media id, and the metadata to set, which the contract lets be absent."""

    id: MediaId
    metadata: Metadata | UnsetType = UNSET


class _Echo(Struct, frozen=True, gc=False):
    id: str
    metadata: Raw = Raw(b"{}")


class Accepted(NamedTuple):
    """A body that keeps the contract; `metadata` is the JSON as it came, `{}` where it was absent."""

    media_id: str
    metadata: bytes


class Violation(NamedTuple):
    """What a 400 says of a body: a message, the path of the member, and the value found there."""

    message: str
    path: str
    value: str


_request: Final = msgspec.json.Decoder(MetadataCreateRequest)
_echo: Final = msgspec.json.Decoder(_Echo)
_AT: Final = re.compile(r" - at `\$\.?(.*)`$")
_NAMED: Final = re.compile(r"(?:unknown|missing required) field `(.+)`")


def check(body: bytes, *, lenient: bool = False) -> Accepted | Violation:
    """Judge a body.

    Args:
        body: as it came.
        lenient: leave out the rule that exactly one list of `geo_restrictions` holds countries: the sample request of
            X's page breaks it, and X's OpenAPI document 2.167 no longer states it.
    """
    try:
        request = _request.decode(body)
        echo = _echo.decode(body)
    except msgspec.ValidationError as error:
        return _violation(str(error), body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Violation(f"The body is not valid JSON: {printable(str(error), 200)}", "", "")
    fault = None if lenient or request.metadata is UNSET else _geo_fault(request.metadata)
    if fault is not None:
        return Violation(f"$.metadata.geo_restrictions: {fault}", "metadata.geo_restrictions", "")
    return Accepted(request.id, bytes(echo.metadata))


def media_id_of(body: bytes) -> str | None:
    """The id in a body that breaks the contract, as far as there is one, cut to 64 characters."""
    try:
        return _echo.decode(body).id[:64]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _geo_fault(metadata: Metadata) -> str | None:
    geo = metadata.geo_restrictions
    if geo is UNSET:
        return None
    lists = (geo.whitelisted_country_codes, geo.blacklisted_country_codes)
    if any(codes is UNSET for codes in lists):
        return "whitelisted_country_codes and blacklisted_country_codes are both required"
    filled = sum(1 for codes in lists if codes)
    return None if filled == 1 else f"must match exactly one schema: one list empty, one not ({filled} are not empty)"


def _violation(message: str, body: bytes) -> Violation:
    at = _AT.search(message)
    path = at[1] if at else ""
    said = _AT.sub("", message)
    if named := _NAMED.search(said):
        path = f"{path}.{named[1]}".lstrip(".")
    where = f"$.{path}" if path else "$"
    return Violation(printable(f"{where}: {said}", 300), printable(path, 100), _value_at(body, path))


def _value_at(body: bytes, path: str) -> str:
    """The value that a violation is about, cut to 100 characters; empty where it cannot be told."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""  # the body is broken behind the violation
    for step in path.split(".") if path else ():
        if not isinstance(found, dict) or step not in found:
            return ""
        found = cast("dict[str, Any]", found)[step]
    text = found if isinstance(found, str) else msgspec.json.encode(found).decode()
    return printable(text, 100)
