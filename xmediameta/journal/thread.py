"""One thread for SQLite, as asyncio sees it: what was begun is waited for, whoever is cancelled.

A caller that is cancelled while its call runs gets the cancellation when the call has ended, so that nobody lets go of
a lock, or closes a file, under a thread that still works with it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from xmediameta.errors import JournalError
from xmediameta.text import printable

from .file import failure

T = TypeVar("T")


async def to_the_end(work: Awaitable[T], on_cancel: Callable[[], object] | None = None) -> T:
    """Await what must not be left half done; a cancellation is raised once it has ended.

    Args:
        on_cancel: called at the first cancellation, to hurry it.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            if cancelled is None and on_cancel is not None:
                on_cancel()
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # it is of no account any more, and nobody is warned of it
    raise cancelled


class JournalThread:
    """The thread of one journal.

    Args:
        path: of the journal, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="xmediameta-journal")

    async def call(self, function: Callable[..., T], *args: object, on_cancel: Callable[[], object] | None = None) -> T:
        """Run something of the journal's.

        Args:
            on_cancel: called if the caller is cancelled meanwhile.

        Raises:
            JournalError: SQLite or the system failed.
        """
        try:
            return await self.plain(function, *args, on_cancel=on_cancel)
        except (sqlite3.Error, OSError) as error:
            raise failure(self._path, error) from error

    async def plain(
        self, function: Callable[..., T], *args: object, on_cancel: Callable[[], object] | None = None
    ) -> T:
        """Run something of a caller's, whose errors are its own.

        Raises:
            JournalError: the journal is closed.
        """
        try:
            future = asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        except RuntimeError as error:
            raise JournalError(f"the journal {printable(str(self._path))} is closed") from error
        return await to_the_end(future, on_cancel)

    def stop(self) -> None:
        """End the thread; nothing may be running on it."""
        self._pool.shutdown(wait=True)
