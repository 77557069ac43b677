"""A request by the short way: aiohttp's connections and parser, without its request and response objects.

Theory. Half of what aiohttp spends on a small POST goes into objects that this client makes no use of: a request with
its headers merged anew, a body as a payload with a writer task, timers, a response with cookies and redirects. What
must stay aiohttp's are the connections (pool, DNS, TLS, keep-alive) and the parser (in C, strict, bounded). Both can be
had without the rest: `connector.connect` gives a connection, a write to its transport sends prepared bytes, and
`ResponseHandler.read` gives what the parser has read.

That stands on parts of aiohttp that its documentation does not promise: `ClientRequest` as the key of a connection,
`Connection.protocol` and `.transport`, `ResponseHandler.set_response_params` and `.read`. So it is taken for the
versions alone that it was tested with, and only where nothing lies between (no proxy); all else goes through
`ClientSession`. `XMEDIAMETA_PLAIN_HTTP=1` switches it off. Errors are those of aiohttp either way.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final, Protocol

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from .body import read_body
from .credentials import Secret

# aiohttp's minor versions with which all tests of faults were run on this lane.
TESTED: Final = ("3.13.", "3.14.")
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

    Args:
        connector: whose pool it shares with the sessions.
        url: where to.
    """

    __slots__ = ("_connector", "_key", "_start")

    def __init__(self, connector: aiohttp.BaseConnector, url: URL) -> None:
        self._connector = connector
        # aiohttp makes a request of its own for each; of ours it asks only where it goes.
        self._key = ClientRequest("POST", url, data=b"", loop=asyncio.get_running_loop(), ssl=True)
        self._start = f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {self._key.headers['Host']}\r\n"

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
        connection = await self._connector.connect(self._key, [], _NO_TIMEOUT)
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None:
                raise aiohttp.ServerDisconnectedError
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            transport.write(_Bytes(b"%b%d\r\n\r\n%b" % (head, len(body), body)))
            while True:
                message, content = await protocol.read()
                if not 100 <= message.code <= 199 or message.code == 101:
                    break
            flight.new = True
            answer = message.code, message.headers, await read_body(message.code, message.headers, content)
        except BaseException:
            connection.close()
            raise
        connection.release()  # closes one that is not to be kept, or whose body was not read to its end
        return answer


def signed(headers: CIMultiDict[str], authorization: Secret) -> CIMultiDict[str]:
    """The headers of an account with the signature of one request."""
    fresh = CIMultiDict(headers)
    fresh["Authorization"] = authorization
    return fresh
