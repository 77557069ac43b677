"""The bodies that X answers with: problem documents (RFC 9457) and the shapes that are older than they are."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

JSON: Final = "application/json; charset=utf-8"
PROBLEM_JSON: Final = "application/problem+json"
HTML: Final = "text/html; charset=UTF-8"
PROBLEMS: Final = "https://api.x.com/2/problems/"
# The host that X's problem types carried before the move; both are still seen.
OLD_PROBLEMS: Final = "https://api.twitter.com/2/problems/"

_encode: Final = msgspec.json.Encoder().encode


def encode(document: object) -> bytes:
    """A document as compact JSON."""
    return _encode(document)


def problem(status: int, title: str | None = None, detail: str | None = None, **members: object) -> bytes:
    """A problem document; without a `type` it is `about:blank`, titled by its status."""
    title = title or phrase(status)
    return _encode({"title": title, "detail": detail or title, "type": "about:blank", "status": status} | members)


def invalid_request(message: str, path: str, value: str) -> bytes:
    """The 400 for a request that breaks the contract."""
    return _encode(
        {
            "errors": [{"message": message, "parameters": {path: [value]} if path else {}}],
            "title": "Invalid Request",
            "detail": "One or more parameters to your request was invalid.",
            "type": f"{PROBLEMS}invalid-request",
        }
    )


def success(media_id: str, metadata: bytes) -> bytes:
    """The 200: the id, and the metadata as it came."""
    return b'{"data":{"id":"' + media_id.encode() + b'","associated_metadata":' + metadata + b"}}"


def page(status: int, title: str) -> bytes:
    """What a proxy in front of the API says, in HTML."""
    return (
        f"<!DOCTYPE html>\n<html><head><title>{status} {title}</title></head>\n"
        f"<body><center><h1>{status} {title}</h1></center><hr><center>edge</center></body></html>\n"
    ).encode()


def phrase(status: int) -> str:
    """The reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Error"
