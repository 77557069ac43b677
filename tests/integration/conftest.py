from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from xmediameta.sandbox import Sandbox

from .reading import Put

# pytest-asyncio looks for a current loop before its first test; before Python 3.14 asyncio makes one for the asking
# when none was ever set, and nobody closes it: with warnings as errors it fails whatever test it is collected in.
asyncio.set_event_loop(None)

TOKEN = "canary-4b1d-token"
MEDIA_ID = "1146654567674912769"
METADATA = {"alt_text": {"text": "A dancing cat"}}


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Writes a file into an empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return name

    return write


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Wire:
    """What came over a bare socket, and how it ended: `closed`, `reset`, or `open` when nothing more came in time."""

    data: bytes
    ended: str
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    body: bytes = b""

    def __post_init__(self) -> None:
        head, found, self.body = self.data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if found and len(parts) > 1 and parts[1].isdigit():
            self.status = int(parts[1])
            self.headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
            }


@pytest.fixture
async def sandbox_session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as session:
        yield session


@pytest.fixture
def sandbox_post(sandbox_session: aiohttp.ClientSession) -> Callable[..., Awaitable[Answer]]:
    """`await post(sandbox, id, metadata, token=…)` -> Answer."""

    async def post(
        sandbox: Sandbox,
        media_id: str = MEDIA_ID,
        metadata: Any = METADATA,
        *,
        token: str | None = TOKEN,
        method: str = "POST",
        path: str = "/2/media/metadata",
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        given = {"Content-Type": "application/json"} | (headers or {})
        if token is not None:
            given.setdefault("Authorization", f"Bearer {token}")
        body = json.dumps({"id": media_id, "metadata": metadata}).encode() if data is None else data
        url = sandbox.url + path
        async with sandbox_session.request(
            method, url, data=io.BytesIO(body), headers=given, allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    return post


@pytest.fixture
def sandbox_wire() -> Callable[..., Awaitable[Wire]]:
    """`await wire(sandbox, id)` -> Wire: the raw bytes of one answer on a connection of its own."""

    async def wire(
        sandbox: Sandbox,
        media_id: str = MEDIA_ID,
        *,
        keep_alive: bool = False,
        patience: float = 5.0,
        most: int = 1 << 30,
        body: bytes | None = None,
    ) -> Wire:
        host, _, port = sandbox.url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        sent = body if body is not None else json.dumps({"id": media_id, "metadata": METADATA}).encode()
        head = (
            f"POST /2/media/metadata HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n"
            f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
        )
        data, ended = bytearray(), "closed"
        try:
            writer.write(head.encode() + sent)
            async with asyncio.timeout(patience):
                while len(data) < most and (piece := await reader.read(1 << 16)):
                    data += piece
            ended = "closed" if len(data) < most else "open"
        except TimeoutError:
            ended = "open"
        except ConnectionError:
            ended = "reset"
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return Wire(bytes(data), ended)

    return wire
