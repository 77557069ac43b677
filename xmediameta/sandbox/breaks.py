"""Faults of the connection: what breaks off, hangs, drips, floods, or is not HTTP.

Bytes that aiohttp would not send are written to the transport by hand; what only needs to be large goes through it,
for its flow control.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from . import documents
from .documents import JSON
from .exchange import Exchange, Sent
from .faults import Fault

_BLOCK: Final = 64 * 1024
_MEGABYTE: Final = 1024 * 1024
_PIECES: Final = 10
_FLOOD: Final = 20_000
_INFLATED: Final = 256 * _MEGABYTE
_PULSE: Final = 0.05
_ANSI: Final = b"\x1b[31mred\x1b]0;owned\x07 \xe2\x80\xae"


def _body(exchange: Exchange) -> bytes:
    return documents.success(exchange.media_id, exchange.metadata)


async def _reset(exchange: Exchange, _: float) -> web.StreamResponse:
    return exchange.reset()


async def _close(exchange: Exchange, _: float) -> web.StreamResponse:
    del exchange
    return Sent(keep_alive=False)


async def _hang(exchange: Exchange, _: float) -> web.StreamResponse:
    await exchange.silence()


async def _stall(exchange: Exchange, _: float) -> web.StreamResponse:
    body = _body(exchange)
    exchange.write(exchange.head(f"Content-Length: {len(body)}") + body[: len(body) // 2])
    await exchange.silence()


async def _late(exchange: Exchange, seconds: float) -> web.StreamResponse:
    await asyncio.sleep(seconds)
    return exchange.success()


async def _slow(exchange: Exchange, seconds: float) -> web.StreamResponse:
    body = _body(exchange)
    answer = exchange.head(f"Content-Length: {len(body)}") + body
    step = -(-len(answer) // _PIECES)
    for start in range(0, len(answer), step):
        await asyncio.sleep(seconds / _PIECES)
        if not exchange.write(answer[start : start + step]):
            break
    return Sent(keep_alive=exchange.request.keep_alive)


async def _interim(exchange: Exchange, _: float) -> web.StreamResponse:
    body = _body(exchange)
    interim = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    exchange.write(interim + exchange.head(f"Content-Length: {len(body)}") + body)
    return Sent(keep_alive=exchange.request.keep_alive)


async def _interim_endless(exchange: Exchange, _: float) -> web.StreamResponse:
    while True:
        if not exchange.write(b"HTTP/1.1 102 Processing\r\n\r\n"):
            return Sent(keep_alive=False)
        await asyncio.sleep(_PULSE)


async def _last(exchange: Exchange, _: float) -> web.StreamResponse:
    exchange.last = True
    return exchange.success()


async def _connection_close(exchange: Exchange, _: float) -> web.StreamResponse:
    response = exchange.success()
    response.force_close()
    return response


async def _huge(exchange: Exchange, megabytes: float) -> web.StreamResponse:
    opening = _body(exchange)[:-1] + b',"padding":"'
    size = len(opening) + int(megabytes * _MEGABYTE) + len(b'"}')
    response = await _stream(exchange, {"Content-Length": str(size)})
    await response.write(opening)
    await _pour(response, b"x", int(megabytes * _MEGABYTE))
    await response.write(b'"}')
    return response


async def _endless(exchange: Exchange, _: float) -> web.StreamResponse:
    response = await _stream(exchange, {})
    await response.write(_body(exchange)[:-1] + b',"padding":"')
    while True:
        await _pour(response, b"x", _MEGABYTE)


async def _gzip_bomb(exchange: Exchange, _: float) -> web.StreamResponse:
    response = await _stream(exchange, {"Content-Encoding": "gzip"})
    gzip = zlib.compressobj(1, wbits=31)
    block = b" " * _MEGABYTE
    for _done in range(0, _INFLATED, len(block)):
        await response.write(gzip.compress(block))
        await asyncio.sleep(0)
    await response.write(gzip.compress(_body(exchange)) + gzip.flush())
    return response


async def _stream(exchange: Exchange, extra: dict[str, str]) -> web.StreamResponse:
    """An answer whose body is written bit by bit, at the pace of its reader."""
    exchange.note(200)
    headers = exchange.headers(JSON)
    headers.update(extra)
    response = web.StreamResponse(status=200, headers=headers)
    await response.prepare(exchange.request)
    return response


async def _pour(response: web.StreamResponse, byte: bytes, size: int) -> None:
    for start in range(0, size, _BLOCK):
        await response.write(byte * min(_BLOCK, size - start))
        await asyncio.sleep(0)


def _flood() -> list[str]:
    return [f"X-Flood-{number}: {number}" for number in range(_FLOOD)]


def _hostile(exchange: Exchange, body: bytes) -> bytes:
    head = exchange.head(f"Content-Length: {len(body)}")
    return head.replace(b"x-transaction-id: ", b"x-transaction-id: " + _ANSI, 1) + body


def _bytes(name: str, about: str, answer: Callable[[Exchange, bytes], bytes], *, applied: bool = True) -> Fault:
    """An answer written by hand, after which the connection is closed."""

    async def send(exchange: Exchange, _: float) -> web.StreamResponse:
        exchange.write(answer(exchange, _body(exchange)))
        return Sent(keep_alive=False)

    return Fault(name=name, about=about, send=send, applied=applied)


def _gone(name: str, about: str, send: Callable[[Exchange, float], Awaitable[web.StreamResponse]]) -> tuple[Fault, ...]:
    """A fault that leaves no answer: before the update is applied, and after."""
    return (
        Fault(name=name, about=f"{about}; not applied", send=send, counted=False, early=True),
        Fault(name=f"{name}-applied", about=f"applied, then {about}", send=send, applied=True),
    )


BREAKS: Final = (
    *_gone("reset", "the connection is reset (RST)", _reset),
    *_gone("close", "the connection is closed without an answer, as a stale keep-alive one is", _close),
    *_gone("hang", "silence, until the client gives up", _hang),
    Fault(name="stall", about="applied, then half an answer, then silence", send=_stall, applied=True),
    Fault(name="late", about="applied, answered whole after a while", send=_late, applied=True, number="seconds",
          default=1.0),
    Fault(name="slow", about="applied, the answer drips and does complete", send=_slow, applied=True, number="seconds",
          default=1.0),
    Fault(name="interim", about="applied, 102 and 103 before the answer", send=_interim, applied=True),
    Fault(name="interim-endless", about="applied, then 102 Processing for ever", send=_interim_endless, applied=True),
    Fault(name="last", about="applied, answered, then the connection is closed without a word", send=_last,
          applied=True),
    Fault(name="connection-close", about="applied, answered with Connection: close", send=_connection_close,
          applied=True),
    Fault(name="huge", about="applied, the answer is large", send=_huge, applied=True, number="MiB", default=8.0),
    Fault(name="endless", about="applied, the answer never ends", send=_endless, applied=True),
    Fault(name="gzip-bomb", about="applied, a gzip answer that inflates to 256 MiB", send=_gzip_bomb, applied=True),
    _bytes("truncated", "applied, the body ends before its Content-Length",
           lambda e, body: e.head(f"Content-Length: {len(body)}") + body[: len(body) // 2]),
    _bytes("short-length", "applied, Content-Length is less than the body",
           lambda e, body: e.head(f"Content-Length: {len(body) // 2}") + body),
    _bytes("bad-length", "applied, Content-Length is not a number",
           lambda e, body: e.head("Content-Length: many") + body),
    _bytes("two-lengths", "applied, two Content-Lengths that differ",
           lambda e, body: e.head(f"Content-Length: {len(body)}", f"Content-Length: {len(body) // 2}") + body),
    _bytes("no-length", "applied, a whole body that only the end of the connection ends",
           lambda e, body: e.head("Connection: close") + body),
    _bytes("bad-chunk", "applied, a chunk whose size is not a number",
           lambda e, body: e.head("Transfer-Encoding: chunked") + b"banana\r\n" + body + b"\r\n0\r\n\r\n"),
    _bytes("cut-chunk", "applied, chunks that end without the last one",
           lambda e, body: e.head("Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(body), body)),
    _bytes("bad-status-line", "a status line that is none",
           lambda _e, _b: b"HTTP/banana 2OO FINE\r\nContent-Length: 0\r\n\r\n", applied=False),
    _bytes("not-http", "the greeting of another protocol", lambda _e, _b: b"SSH-2.0-OpenSSH_9.6\r\n", applied=False),
    _bytes("header-flood", "applied, 20,000 headers",
           lambda e, body: e.head(*_flood(), f"Content-Length: {len(body)}") + body),
    _bytes("long-header", "applied, one header of 1 MiB",
           lambda e, body: e.head("X-Long: " + "x" * _MEGABYTE, f"Content-Length: {len(body)}") + body),
    _bytes("bad-header", "applied, a header line without a colon and one with NUL",
           lambda e, body: e.head("no colon here", "X-Nul: a\x00b", f"Content-Length: {len(body)}") + body),
    _bytes("hostile-header", "applied, an x-transaction-id of ANSI escapes and a bidi mark", _hostile),
    _bytes("no-date", "applied, without Date",
           lambda e, body: e.head(f"Content-Length: {len(body)}").replace(b"Date: ", b"X-Date: ", 1) + body),
    _bytes("odd-date", "applied, whose Date means nothing",
           lambda e, body: e.head(f"Content-Length: {len(body)}").replace(b"Date: ", b"Date: about ", 1) + body),
)  # fmt: skip
