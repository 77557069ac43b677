"""Rows on their way from the caller's iterable into a load: while some are written, the next are made.

A synchronous iterable may do anything, so it is read on a thread of its own, neither on the loop's nor on the
journal's. How far it may be ahead is bounded, and whoever is cancelled waits for what was begun.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from xmediameta.errors import JournalError

from .loading import Loading
from .records import Incoming, Loaded
from .thread import JournalThread

_PIECE: Final = 500  # rows that are made or written at a stretch
_AHEAD: Final = 2  # pieces that may wait to be written, while the next is made


class Intake:
    """Takes the rows of an iterable into a load.

    Args:
        thread: the journal's.
        stop: called when the caller is cancelled, to hurry what is under way.
    """

    def __init__(self, thread: JournalThread, loading: Loading, stop: Callable[[], object]) -> None:
        self._thread = thread
        self._loading = loading
        self._stop = stop
        self._writing: deque[asyncio.Future[None]] = deque()

    async def load(self, incoming: Iterable[Incoming] | AsyncIterable[Incoming], fingerprint: str | None) -> Loaded:
        """All rows, and the run has them; or none, where making or writing one fails.

        Args:
            fingerprint: what tells whether the input changes.

        Raises:
            JournalError: they cannot be written.
        """
        call = self._thread.call
        try:
            await self._take_in(incoming)
            return await call(self._loading.finish, fingerprint, on_cancel=self._stop)
        except Exception:
            # Not when cancelled: that should be quick, and the next start of the run does it too.
            with suppress(JournalError):
                await call(self._loading.sweep)
            raise

    async def _take_in(self, incoming: Iterable[Incoming] | AsyncIterable[Incoming]) -> None:
        try:
            if isinstance(incoming, AsyncIterable):
                await self._as_they_come(incoming)
            else:
                await self._read(incoming)
            await self._written(0)
        finally:
            if self._writing:
                with suppress(Exception):  # what counts is raised already
                    await self._writing[-1]

    async def _as_they_come(self, incoming: AsyncIterable[Incoming]) -> None:
        rows: list[Incoming] = []
        async for row in incoming:
            rows.append(row)
            if len(rows) == _PIECE:
                await self._write(rows)
                rows = []
        await self._write(rows)

    async def _read(self, incoming: Iterable[Incoming]) -> None:
        rest = iter(incoming)
        reader = self._thread.another("rows")
        try:
            while rows := await reader.plain(_take, rest, on_cancel=self._stop):
                await self._write(rows)
        finally:
            reader.stop()

    async def _write(self, rows: Sequence[Incoming]) -> None:
        self._writing.append(self._thread.plain(self._loading.add, rows, on_cancel=self._stop))
        await self._written(_AHEAD)

    async def _written(self, most: int) -> None:
        """Wait until no more than so many pieces are left to be written."""
        while len(self._writing) > most:
            try:
                await self._writing.popleft()
            except (sqlite3.Error, OSError) as error:
                raise self._thread.ours(error) from error


def _take(rows: Iterable[Incoming]) -> list[Incoming]:
    return list(islice(rows, _PIECE))
