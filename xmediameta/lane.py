"""A request by the short way: aiohttp's connections and parser, without its request and response objects.

Theory. Half of what aiohttp spends on a small POST goes into objects that this client makes no use of: a request with
its headers merged anew, a body as a payload with a writer task, timers, a response with cookies and redirects. What
must stay aiohttp's are the connections (pool, DNS, TLS, keep-alive) and the parser (in C, strict, bounded). Both can be
had without the rest: `connector.connect` gives a connection, a write to its transport sends prepared bytes, and
`ResponseHandler.read` gives what the parser has read. Nor need a connection that is in use all the time go back into
the pool after each answer, and get another parser for the next: llhttp reads one message after the other.

That stands on parts of aiohttp that its documentation does not promise: `ClientRequest` as the key of a connection,
`Connection.protocol` and `.transport`, `ResponseHandler.set_response_params`, `.read` and `._parser`. So it is taken
for the versions alone that it was tested with, and only where nothing lies between (no proxy); all else goes through
`ClientSession`. `XMEDIAMETA_PLAIN_HTTP=1` switches it off. Errors are those of aiohttp either way.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable
from typing import Final, Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from .body import read_body
from .credentials import Secret

# aiohttp's minor versions with which all tests of faults were run on this lane.
TESTED: Final = ("3.13.", "3.14.")
_UNUSED: Final = 1.0  # seconds
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=None)


class _Bytes(bytes):
    """Bytes with a token in them; they print as little as a `Secret`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'****'"


def offered() -> bool:
    """Whether this aiohttp is one that the lane was tested with, and nobody has switched the lane off."""
    return aiohttp.__version__.startswith(TESTED) and os.environ.get("XMEDIAMETA_PLAIN_HTTP") != "1"


class Flight(Protocol):
    """A request in flight, as it is seen from here."""

    new: bool  # its connection cannot be a stale one


class Lane:
    """Sends bodies over the connections of a connector.

    A connection that is busy stays here from one request to the next, with its parser; one that was not used for a
    second goes back to the connector, which closes what stays idle.

    Args:
        connector: whose pool it shares with the sessions.
        url: where to.
    """

    __slots__ = ("__weakref__", "_closed", "_connector", "_idle", "_key", "_loop", "_start", "_timer", "_unused")

    def __init__(self, connector: aiohttp.BaseConnector, url: URL) -> None:
        self._connector = connector
        self._loop = asyncio.get_running_loop()
        # aiohttp makes a request of its own for each; of ours it asks only where it goes.
        self._key = ClientRequest("POST", url, data=b"", loop=self._loop, ssl=True)
        self._start = f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {self._key.headers['Host']}\r\n"
        self._idle: list[Connection] = []
        self._unused = 0  # so many of the idle ones, from the first on, were not used since the last look
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def head(self, headers: CIMultiDict[str]) -> bytes:
        """The head of a request up to the length of its body, made once for each account.

        Raises:
            ValueError: a header that would end early.
        """
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        if any(line.count("\r") != 1 or line.count("\n") != 1 for line in lines):
            raise ValueError("a header holds a line break")
        return _Bytes(f"{self._start}{''.join(lines)}Content-Length: ".encode())

    async def exchange(self, head: bytes, body: bytes, flight: Flight) -> tuple[int, CIMultiDictProxy[str], bytes]:
        """Send one body and read the answer.

        Args:
            head: as `head` made it.
            flight: is told when the connection has proved good.

        Raises:
            Exception: whatever aiohttp raises of a connection or of an answer.
        """
        connection = (self._at_hand() if self._idle else None) or await self._connected()
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None:
                raise aiohttp.ServerDisconnectedError
            transport.write(_Bytes(b"%b%d\r\n\r\n%b" % (head, len(body), body)))
            message, content = await protocol.read()
            while 100 <= message.code <= 199 and message.code != 101:
                message, content = await protocol.read()
            flight.new = True
            answer = message.code, message.headers, await read_body(message.code, message.headers, content)
        except BaseException:
            connection.close()
            raise
        if protocol.should_close or self._closed:
            connection.release()  # closes it: it is not to be kept, or its body was not read to its end
        else:
            self._idle.append(connection)
            if self._timer is None:
                self._look_later()
        return answer

    def close(self) -> None:
        """Keep no connections any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._idle:
            self._idle.pop().release()

    def give_back(self) -> None:
        """Give back to the connector what was not used since the last time."""
        for connection in self._idle[: self._unused]:
            connection.release()
        del self._idle[: self._unused]
        self._unused = len(self._idle)
        self._timer = None
        if self._idle:
            self._look_later()

    def _at_hand(self) -> Connection | None:
        """The connection that was used last, if one is still good."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            self._unused = min(self._unused, len(idle))
            # Bytes that came while it was idle would be taken for the answer to the next request.
            if (protocol := connection.protocol) is not None and protocol.is_connected() and not _spoilt(protocol):
                return connection
            connection.close()
        return None

    async def _connected(self) -> Connection:
        """A connection of the connector's, ready for a request."""
        connection = await self._connector.connect(self._key, [], _NO_TIMEOUT)
        if connection.protocol is not None:
            connection.protocol.set_response_params(read_until_eof=True, auto_decompress=False)
        return connection

    def _look_later(self) -> None:
        # The timer is not to keep a client alive that nobody closes.
        self._timer = self._loop.call_later(_UNUSED, _call, weakref.WeakMethod(self.give_back))


def _spoilt(protocol: ResponseHandler) -> bool:
    """Whether something came on an idle connection."""
    if protocol.should_close:
        return True
    # Not in there is what the parser holds of a head that is not complete. To be told of the end does nothing to a
    # parser between two messages; else it makes a message of what it has, or fails.
    try:
        return protocol._parser is None or protocol._parser.feed_eof() is not None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    except Exception:  # noqa: BLE001 - it is not to be used, whatever it says
        return True


def _call(method: weakref.WeakMethod[Callable[[], None]]) -> None:
    if (alive := method()) is not None:
        alive()


def signed(headers: CIMultiDict[str], authorization: Secret) -> CIMultiDict[str]:
    """The headers of an account with the signature of one request."""
    fresh = CIMultiDict(headers)
    fresh["Authorization"] = authorization
    return fresh
