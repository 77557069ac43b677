"""Faults that come as a success: 200s that say something else, or say it oddly."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Callable
from typing import Final

from aiohttp import web

from . import documents
from .documents import HTML, JSON, PROBLEMS, encode
from .exchange import Exchange
from .faults import Fault

_DEPTH: Final = 100_000
_ANOTHER: Final = "9"


def _said(exchange: Exchange) -> bytes:
    return documents.success(exchange.media_id, exchange.metadata)


def _error(exchange: Exchange) -> dict[str, object]:
    return {
        "title": "Invalid Request",
        "type": f"{PROBLEMS}invalid-request",
        "detail": f"Could not set part of the metadata of media [{exchange.media_id}].",
        "status": 400,
    }


def _with_warnings(exchange: Exchange) -> bytes:
    return _said(exchange)[:-1] + b',"errors":' + encode([_error(exchange)]) + b"}"


def _with_unknown_members(exchange: Exchange) -> bytes:
    data = b'{"data":{"id":"%b","associated_metadata":%b,"media_key":"3_%b","size":[1,2]},"meta":{"took":3}}'
    return data % (exchange.media_id.encode(), exchange.metadata, exchange.media_id.encode())


def _deep(exchange: Exchange) -> bytes:
    return documents.success(exchange.media_id, b'{"a":' * _DEPTH + b"1" + b"}" * _DEPTH)


def _says(
    name: str,
    about: str,
    body: Callable[[Exchange], bytes],
    kind: str | None = JSON,
    *,
    status: int = 200,
    encoding: str | None = None,
    applied: bool,
) -> Fault:
    async def send(exchange: Exchange, _: float) -> web.StreamResponse:
        extra = {"Content-Encoding": encoding} if encoding else None
        return exchange.reply(status, body(exchange), kind, extra=extra)

    outcome = "applied" if applied else "not applied"
    return Fault(name=name, about=f"{status}, {outcome}: {about}", send=send, applied=applied)


SUCCESSES: Final = (
    _says("200-errors", "only errors, no data", lambda e: encode({"errors": [_error(e)]}), applied=False),
    _says("200-legacy-error", "the legacy shape of a failure, no data",
          lambda _: encode({"request": "/2/media/metadata", "error": "media ID is missing"}), applied=False),
    _says("200-warnings", "errors beside the data", _with_warnings, applied=True),
    _says("200-html", "a page of a captive portal", lambda _: documents.page(200, "Welcome"), HTML, applied=False),
    _says("200-empty", "no body, as the v1.1 ancestor answers", lambda _: b"", applied=True),
    _says("200-cut", "JSON that ends in the middle", lambda e: _said(e)[: len(_said(e)) // 2], applied=True),
    _says("200-null", "null", lambda _: b"null", applied=False),
    _says("200-list", "a list", lambda _: b"[]", applied=False),
    _says("200-no-id", "data without an id", lambda _: b'{"data":{}}', applied=True),
    _says("200-null-data", "data is null, an odd echo", lambda _: b'{"data":null}', applied=True),
    _says("200-number-id", "the id is a number", lambda e: b'{"data":{"id":%b}}' % e.media_id.encode(), applied=True),
    _says("200-utf16", "JSON in UTF-16", lambda e: _said(e).decode().encode("utf-16"), applied=True),
    _says("200-latin1", "bytes that are not UTF-8 in the echo",
          lambda e: documents.success(e.media_id, b'{"alt_text":{"text":"caf\xe9"}}'), applied=True),
    _says("200-deep", "an echo nested 100,000 deep", _deep, applied=True),
    _says("200-other-id", "the id of another media", lambda e: documents.success(_ANOTHER, e.metadata), applied=False),
    _says("200-unknown-members", "members that the contract does not know", _with_unknown_members, applied=True),
    _says("200-untyped", "an echo of a shape that the contract does not know",
          lambda e: documents.success(e.media_id, b'{"alt_text":"flat","geo_restrictions":[1,null]}'), applied=True),
    _says("200-bom", "a byte-order mark before the JSON", lambda e: codecs.BOM_UTF8 + _said(e), applied=True),
    _says("200-gzip", "compressed, whether that was asked for or not", lambda e: gzip.compress(_said(e), 1),
          encoding="gzip", applied=True),
    _says("200-encoding-lie", "said to be compressed, and is not", _said, encoding="gzip", applied=True),
    _says("200-plain", "the content type is text/plain", _said, "text/plain", applied=True),
    _says("202", "accepted, with the usual body", _said, status=202, applied=True),
    _says("204", "no content", lambda _: b"", None, status=204, applied=True),
)  # fmt: skip
