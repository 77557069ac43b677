"""Faults that are whole answers with an error status: the rows of FACTS, and what proxies and odd servers add.

What the API itself says of an update has taken a request from the windows; what it says of the account or the app, and
what a proxy says, has not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from . import documents
from .documents import HTML, JSON, OLD_PROBLEMS, PROBLEM_JSON, PROBLEMS, encode, page, phrase, problem
from .exchange import Exchange, http_date
from .faults import Fault

_YEARS: Final = 10 * 365 * 86_400
_HOSTILE: Final = "\x1b[2J\x1b]0;owned\x07\r\nForged: line\u202egnp.exe\u2066\x00\x9b31m"
# The answers of proxies that Cloudflare and its like give for an origin that fails them.
_EDGE: Final = {
    502: "Bad Gateway",
    503: "Service Temporarily Unavailable",
    504: "Gateway Time-out",
    520: "Web server is returning an unknown error",
    521: "Web server is down",
    522: "Connection timed out",
    524: "A timeout occurred",
}


def _answer(
    name: str,
    about: str,
    status: int,
    body: bytes | Callable[[Exchange], bytes],
    kind: str | None = PROBLEM_JSON,
    *,
    edge: bool = False,
    counted: bool = True,
) -> Fault:
    async def send(exchange: Exchange, _: float) -> web.StreamResponse:
        return exchange.reply(status, body(exchange) if callable(body) else body, kind, edge=edge)

    return Fault(name=name, about=about, send=send, counted=counted and not edge)


def _retry_after(name: str, about: str, value: Callable[[Exchange, float], str], *, number: str = "") -> Fault:
    async def send(exchange: Exchange, seconds: float) -> web.StreamResponse:
        extra = {"Retry-After": value(exchange, seconds)}
        return exchange.reply(503, problem(503), PROBLEM_JSON, extra=extra)

    return Fault(name=name, about=about, send=send, number=number, default=1.0)


def _not_found(exchange: Exchange) -> bytes:
    return problem(
        404,
        "Not Found Error",
        f"Could not find media with id: [{exchange.media_id}].",
        type=f"{PROBLEMS}resource-not-found",
        value=exchange.media_id,
        parameter="id",
        resource_id=exchange.media_id,
        resource_type="media",
    )


def _echoed(exchange: Exchange) -> bytes:
    return problem(400, "Invalid Request", "Headers: " + exchange.request.headers.get("Authorization", ""))


def _rejected(path: str, message: str) -> bytes:
    return documents.invalid_request(message, path, "")


_REFUSED = (
    _answer("400", "400 invalid-request with its list of errors", 400, _rejected("id", "$.id: is not valid")),
    _answer("400-old-host", "400 invalid-request under api.twitter.com", 400,
            problem(400, "Invalid Request", type=f"{OLD_PROBLEMS}invalid-request", errors=[{"message": "not valid"}])),
    _answer("400-echo", "400 whose detail repeats the Authorization header, token and all", 400, _echoed),
    _answer("400-hostile", "400 whose text holds ANSI escapes, bidi marks, newlines and NUL", 400,
            problem(400, _HOSTILE, _HOSTILE)),
    _answer("401", "401 Unauthorized, about:blank", 401, problem(401), counted=False),
    _answer("402", "402 credits-depleted", 402,
            problem(402, "CreditsDepleted", "Your account has no credits left.", type=f"{PROBLEMS}credits-depleted",
                    account_id=1460323737035677698), counted=False),
    _answer("402-credits", "402 credits, the other name of the same", 402,
            problem(402, "CreditsDepleted", "Your account has no credits left.", type=f"{PROBLEMS}credits",
                    account_id=1460323737035677698), counted=False),
    _answer("403", "403 Forbidden, about:blank: this media, or a token without media.write", 403, problem(403)),
    _answer("403-client-forbidden", "403 client-forbidden: the app is not enrolled", 403,
            problem(403, "Client Forbidden", "This request must be made by an enrolled app.",
                    type=f"{PROBLEMS}client-forbidden", reason="client-not-enrolled",
                    registration_url="https://developer.x.com/"), counted=False),
    _answer("403-suspended", "403 user-suspended", 403,
            problem(403, "Forbidden", "The user is suspended.", type=f"{PROBLEMS}user-suspended"), counted=False),
    _answer("403-unsupported-auth", "403 unsupported-authentication: an app-only token", 403,
            problem(403, "Unsupported Authentication", "Use OAuth 2.0 User Context or OAuth 1.0a User Context.",
                    type=f"{OLD_PROBLEMS}unsupported-authentication"), counted=False),
    _answer("404-unknown-media", "404 resource-not-found: no such media", 404, _not_found),
    _answer("404-empty", "404 without a body: the URL is wrong", 404, b"", "text/plain", edge=True),
    _answer("408", "408 Request Timeout, from a proxy, without a body", 408, b"", None, edge=True),
    _answer("409", "409 conflict", 409, problem(409, type=f"{PROBLEMS}conflict")),
    _answer("413", "413 Content Too Large, from a proxy, in HTML", 413, page(413, "Content Too Large"), HTML,
            edge=True),
    _answer("415", "415 Unsupported Media Type, about:blank", 415, problem(415)),
    _answer("500", "500 Internal Server Error, about:blank", 500, problem(500)),
    _answer("500-strings", "500 whose errors are strings and not objects", 500,
            encode({"errors": ["internal server error"]}), JSON),
    _answer("503", "503 Service Unavailable, about:blank", 503, problem(503)),
    _answer("503-empty", "503 without a body", 503, b"", None, edge=True),
    _answer("503-utf16", "503 whose JSON is in UTF-16", 503, problem(503).decode().encode("utf-16"), JSON),
    _answer("503-deep", "503 whose JSON is nested 100,000 deep", 503, b"[" * 100_000 + b"]" * 100_000, JSON),
    _answer("legacy-34", "404 in the oldest shape: errors with code 34", 404,
            encode({"errors": [{"code": 34, "message": "Sorry, that page does not exist."}]}), JSON),
    _answer("legacy-error", "400 in the shape of v1.1: request and error", 400,
            encode({"request": "/1.1/media/metadata/create.json", "error": "media_id is invalid"}), JSON),
    _answer("status-lie", "403 whose problem document says status 200", 403,
            encode({"title": "Forbidden", "type": "about:blank", "status": 200})),
)  # fmt: skip

_EDGE_ANSWERS = (
    *(_answer(f"{status}", f"{status} from a proxy, in JSON", status, encode({"error": title}), JSON, edge=True)
      for status, title in _EDGE.items() if status not in (503, 520)),
    *(_answer(f"{status}-html", f"{status} from a proxy, in HTML", status, page(status, title), HTML, edge=True)
      for status, title in _EDGE.items()),
    *(_answer(f"{status}", f"{status} {phrase(status)}, about:blank", status, problem(status))
      for status in (410, 422, 501)),
)  # fmt: skip

_RETRY_AFTER = (
    _retry_after("503-retry-after", "503 with Retry-After in seconds", lambda _, n: f"{n:.0f}", number="seconds"),
    _retry_after("503-retry-after-date", "503 with Retry-After as an HTTP date",
                 lambda exchange, n: http_date(exchange.now() + n), number="seconds from now"),
    _retry_after("503-retry-after-past", "503 with Retry-After an hour ago",
                 lambda exchange, _: http_date(exchange.now() - 3600)),
    _retry_after("503-retry-after-far", "503 with Retry-After in ten years", lambda _exchange, _n: str(_YEARS)),
    _retry_after("503-retry-after-odd", "503 with a Retry-After that means nothing", lambda _exchange, _n: "soon-ish"),
    _retry_after("503-retry-after-negative", "503 with a negative Retry-After", lambda _exchange, _n: "-5"),
)  # fmt: skip


def _redirect(status: int) -> Fault:
    async def send(exchange: Exchange, _: float) -> web.StreamResponse:
        return exchange.reply(status, b"", None, extra={"Location": exchange.redirect_to})

    return Fault(name=str(status), about=f"{status} to another host", send=send)


REFUSALS: Final = (
    *_REFUSED,
    *_EDGE_ANSWERS,
    *_RETRY_AFTER,
    *(_redirect(status) for status in (301, 302, 303, 307, 308)),
)
