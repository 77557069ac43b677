"""A server that is played by hand, for what no proper one would send; and the parts to test a transport with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from xmediameta.credentials import BearerToken
from xmediameta.errors import TransportError
from xmediameta.transport import Session, Transport

TOKEN = "canary-7f3a9c51d20e-token-Zm9v/YmFy+cXV4"
ID = "1146654567674912769"
BODY = json.dumps({"id": ID, "metadata": {"alt_text": {"text": "A dancing cat"}}}).encode()
_LINGER_NONE = struct.pack("ii", 1, 0)


def answer(body: bytes = b"", status: str = "200 OK", *lines: str, length: bool = True) -> bytes:
    """A whole answer as bytes, with `lines` as further headers."""
    head = [f"HTTP/1.1 {status}", *lines]
    if length:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def success(media_id: str = ID) -> bytes:
    """A 200 of an update that was applied."""
    return answer(json.dumps({"data": {"id": media_id}}).encode(), "200 OK", "Content-Type: application/json")


def id_of(request: bytes) -> str:
    """The media id of a request."""
    return json.loads(request.partition(b"\r\n\r\n")[2])["id"]


class Peer:
    """One connection, seen from the server."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, requests: list[bytes]
    ) -> None:
        self.reader, self.writer, self.number = reader, writer, number
        self._requests = requests

    async def head(self) -> bytes:
        """The next request's head, or nothing where the client is gone."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            return await self.reader.readuntil(b"\r\n\r\n")
        return b""

    async def request(self) -> bytes:
        """The next request, whole, or nothing where the client is gone."""
        head = await self.head()
        if not head:
            return b""
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
        request = head + await self.reader.readexactly(int(length[1]) if length else 0)
        self._requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        """Send bytes; a client that has gone does not matter."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    def reset(self) -> None:
        """Cut the connection with a RST."""
        connection = self.writer.get_extra_info("socket")
        with socket.fromfd(connection.fileno(), connection.family, connection.type) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has gone."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65_536):
                pass


Play = Callable[[Peer], Awaitable[None]]


class Raw:
    """The server.

    Attributes:
        url: its base URL.
        requests: all that were read whole, in order.
        connections: how many were accepted.
    """

    def __init__(self, play: Play, server: asyncio.Server | None = None, *, scheme: str = "http") -> None:
        self._play, self._scheme = play, scheme
        self.server = server
        self.requests: list[bytes] = []
        self.connections = 0
        self.peers: set[asyncio.Task[Any]] = set()

    @property
    def port(self) -> int:
        assert self.server is not None
        return self.server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        peer = Peer(reader, writer, self.connections, self.requests)
        task = asyncio.current_task()
        assert task is not None
        self.peers.add(task)
        try:
            await self._play(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            self.peers.discard(task)
            writer.close()


@contextlib.asynccontextmanager
async def raw(play: Play, *, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    """Play a connection for each that is made."""
    made = Raw(play, scheme="https" if ssl_context else "http")
    made.server = await asyncio.start_server(made.accept, "127.0.0.1", 0, ssl=ssl_context)
    try:
        yield made
    finally:
        made.server.close()
        for peer in list(made.peers):
            peer.cancel()
        await asyncio.gather(*made.peers, return_exceptions=True)


def always(data: bytes) -> Play:
    """Every request gets the same bytes; the connection stays."""

    async def play(peer: Peer) -> None:
        while await peer.request():
            await peer.send(data)

    return play


def once(data: bytes) -> Play:
    """The first request gets these bytes, then the connection is closed."""

    async def play(peer: Peer) -> None:
        if await peer.request():
            await peer.send(data)

    return play


@contextlib.asynccontextmanager
async def transport(url: str, *, timeout: float | None = 5.0) -> AsyncIterator[tuple[Transport, Session]]:
    """A transport and one account's session."""
    made = Transport(url, timeout=timeout)
    try:
        yield made, made.session(BearerToken(TOKEN).authorization())
    finally:
        await made.close()
        assert made.in_flight == 0


async def failure(url: str, *, timeout: float = 5.0) -> TransportError:
    """The error of one request."""
    async with transport(url, timeout=timeout) as (sending, session):
        try:
            got = await sending.post(session, BODY)
        except TransportError as error:
            return error
    raise AssertionError(f"no failure, but {got[0]} {got[2][:80]!r}")


def clean(error: TransportError) -> TransportError:
    """Nothing of aiohttp is chained, and no text shows the token."""
    assert error.__cause__ is None
    assert error.__context__ is None
    assert TOKEN not in str(error) + repr(error)
    return error


def unused_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]
