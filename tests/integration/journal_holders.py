"""What other processes do with a journal in the tests: they hold a run, load one, or send one."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext, SpawnProcess
from pathlib import Path

from tests.integration.journals import X, incoming
from xmediameta import Client, Metadata, Update
from xmediameta.journal import Incoming, Journal

LOADED = 4_500  # rows that are in the file when a load is in its middle; more than are ever ahead of the disk


class Other:
    """Another process, and the pipe that leads to it."""

    def __init__(self, process: SpawnProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe

    def told(self) -> object:
        """What it says next."""
        assert self.pipe.poll(60), "it says nothing"
        return self.pipe.recv()

    def kill(self) -> None:
        """SIGKILL; returns when it is dead."""
        self.process.kill()
        self.process.join()


@contextmanager
def another(work: Callable[..., None], *given: object) -> Iterator[Other]:
    """A process of its own that does this, and is killed at the end."""
    context: BaseContext = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=work, args=(theirs, *given), daemon=True)
    process.start()
    theirs.close()
    other = Other(process, ours)
    try:
        yield other
    finally:
        other.kill()
        ours.close()


def hold(pipe: Connection, path: str, name: str, rows: int) -> None:
    """Start a run, say its process, and draw one task; let it go when told."""

    async def work() -> None:
        async with await Journal.open(path) as journal:
            run = await journal.start(name, X, incoming(rows))
            task = await run.draw(())
            pipe.send(task is not None)
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
            await run.aclose()
        pipe.send("let go")

    asyncio.run(work())


def load(pipe: Connection, path: str, name: str) -> None:
    """Begin to load an input that does not end."""

    def rows() -> Iterator[Incoming]:
        yield from incoming(LOADED)
        pipe.send("loading")
        pipe.recv()

    async def work() -> None:
        async with await Journal.open(path) as journal:
            await journal.start(name, X, rows())

    asyncio.run(work())


def updates(name: str, number: int) -> list[Update]:
    """What a run of that name sends."""
    first = 1000 if name == "one" else 5000
    return [Update(str(first + n), Metadata.of(alt_text=f"{name} {n}"), ref=f"{name}-{n}") for n in range(number)]


def send(pipe: Connection, path: str, url: str, name: str, number: int) -> None:
    """Send a run once it is told to, and say how many were applied."""

    async def work() -> None:
        pipe.send("ready")
        pipe.recv()
        async with (
            Client("token", base_url=url, pace=None, concurrency=4) as client,
            client.bulk(updates(name, number), journal=Path(path), run=name) as outcomes,
        ):
            pipe.send([type(outcome).__name__ async for outcome in outcomes])

    asyncio.run(work())
