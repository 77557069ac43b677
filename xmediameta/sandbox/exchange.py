"""One request being answered: what a fault knows of it, and the ways to answer, by the book or by hand."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Final, Never

from aiohttp import hdrs, web
from multidict import CIMultiDict, istr

from . import documents

_RESPONSE_TIME: Final = istr("x-response-time")
_TRANSACTION_ID: Final = istr("x-transaction-id")
_LINGER_NONE: Final = struct.pack("ii", 1, 0)


class Sent(web.StreamResponse):
    """An answer that was written to the connection by hand: nothing is left for aiohttp to write."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._keep = keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether aiohttp leaves the connection open."""
        return self._keep

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing."""
        del request

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""
        del data


class _LastAnswer(web.Response):
    """An answer that promises to keep the connection, which is then closed all the same."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the answer, then go back on the promise."""
        await super().write_eof(data)
        self.force_close()


class Exchange:
    """One request.

    Attributes:
        request: as aiohttp read it.
        number: the ordinal of the request, from 1; `x-transaction-id` is made from it.
        media_id, metadata: what it asks for; empty where the body was not read or breaks the contract.
        rates: the rate-limit headers of the answer.
        note: told of each status that is sent.
        last: whether the connection is closed without a word after the answer.
        redirect_to: where redirects lead.
    """

    __slots__ = (
        "_clock", "_started", "last", "media_id", "metadata", "note", "number", "rates", "redirect_to", "request",
    )  # fmt: skip

    def __init__(
        self,
        request: web.Request,
        number: int,
        *,
        clock: Callable[[], float],
        note: Callable[[int], None],
        redirect_to: str,
    ) -> None:
        self.request, self.number, self.redirect_to, self.note = request, number, redirect_to, note
        self._clock = clock
        self._started = asyncio.get_running_loop().time()
        self.last = False
        self.media_id = ""
        self.metadata = b"{}"
        self.rates: dict[str, str] = {}

    def now(self) -> float:
        """The server's clock, in Unix seconds."""
        return self._clock()

    def headers(self, content_type: str | None, *, edge: bool = False) -> CIMultiDict[str]:
        """The headers of an answer; one from the proxy in front of the API carries no rates and no transaction."""
        headers: CIMultiDict[str] = CIMultiDict()
        headers[hdrs.DATE] = http_date(self._clock())
        if content_type is not None:
            headers[hdrs.CONTENT_TYPE] = content_type
        if edge:
            headers[hdrs.SERVER] = "edge"
            return headers
        elapsed = asyncio.get_running_loop().time() - self._started
        headers[hdrs.SERVER] = "xmediameta-sandbox"
        headers[_RESPONSE_TIME] = str(round(elapsed * 1000))
        headers[_TRANSACTION_ID] = transaction_id(self.number)
        headers.update(self.rates)
        return headers

    def reply(
        self,
        status: int,
        body: bytes = b"",
        content_type: str | None = documents.JSON,
        *,
        edge: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> web.Response:
        """A whole answer."""
        self.note(status)
        headers = self.headers(content_type, edge=edge)
        if extra:
            headers.update(extra)
        kind = _LastAnswer if self.last else web.Response
        return kind(status=status, body=body, headers=headers)

    def success(self, extra: Mapping[str, str] | None = None) -> web.Response:
        """The 200 of an update that was applied."""
        return self.reply(200, documents.success(self.media_id, self.metadata), extra=extra)

    def head(self, *lines: str) -> bytes:
        """The head of a 200 as bytes, so that its framing can be broken; `lines` are added as they are."""
        self.note(200)
        named = [f"{name}: {value}" for name, value in self.headers(documents.JSON).items()]
        return "\r\n".join(["HTTP/1.1 200 OK", *named, *lines, "", ""]).encode("latin-1", "replace")

    def write(self, data: bytes) -> bool:
        """Write raw bytes; False when the client is gone."""
        transport = self.request.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return True

    def reset(self) -> Sent:
        """Cut the connection with a RST, whatever is still in its buffers."""
        transport = self.request.transport
        if transport is not None:
            connection = transport.get_extra_info("socket")
            if connection is not None and connection.fileno() >= 0:
                # A duplicate, since asyncio's and uvloop's wrappers do not both take this option.
                with socket.fromfd(connection.fileno(), connection.family, connection.type) as twin:
                    twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
            transport.abort()
        return Sent(keep_alive=False)

    async def silence(self) -> Never:
        """Say nothing more until the client goes away, or the sandbox is closed: then this is cancelled."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nothing ends this wait but its cancellation")


def transaction_id(number: int) -> str:
    """The `x-transaction-id` of a request."""
    return f"{number:016x}"


class _Dates:
    """The last `Date` that was made, since it changes once a second."""

    second: int = -1
    text: str = ""


def http_date(seconds: float) -> str:
    """Unix seconds as an HTTP date, cut to the second."""
    second = int(seconds)
    if second != _Dates.second:
        _Dates.second, _Dates.text = second, formatdate(second, usegmt=True)
    return _Dates.text
