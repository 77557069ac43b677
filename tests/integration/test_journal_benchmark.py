"""The benchmark of runs in a journal does what it says, on a few updates."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.durable import Answering, send
from xmediameta.journal import Journal


@pytest.mark.parametrize("kept", [False, True])
async def test_both_ways_send_each_update(tmp_path: Path, kept: bool) -> None:
    path = tmp_path / "journal.db"
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        took = await send(f"http://127.0.0.1:{port}", 50, 8, path if kept else None)
    assert took.seconds > 0
    assert path.exists() is kept
    if kept:
        async with await Journal.open(path) as journal:
            record = await journal.run("benchmark")
            assert record is not None
            assert {one.state: one.rows for one in await journal.counts(record)} == {"applied": 50}


async def test_an_update_that_is_not_applied_fails_it(tmp_path: Path) -> None:
    class Refusing(Answering):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.get_running_loop().create_server(Refusing, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SystemExit, match="0 of 3 applied"):
            await send(f"http://127.0.0.1:{port}", 3, 1, tmp_path / "journal.db")
