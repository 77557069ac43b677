"""One thread for SQLite, as asyncio sees it: what was begun is waited for, whoever is cancelled.

A caller that is cancelled while its call runs gets the cancellation when the call has ended, so that nobody lets go of
a lock, or closes a file, under a thread that still works with it.

An executor would do, but its futures, with a lock and two rounds of callbacks each, cost several times what a commit
does; and its thread keeps an interpreter from ending whose journal nobody has closed.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from xmediameta.errors import JournalError
from xmediameta.text import printable

from .file import failure

T = TypeVar("T")


class Lasting(asyncio.Future[T]):
    """A future that is not cancelled with a task that awaits it: the task is, but only when the future is done.

    (`Task.cancel` asks the future that it waits for; where that does not let itself be cancelled, the task raises
    `CancelledError` when it goes on.)

    Args:
        on_cancel: called when a task that awaits it is cancelled.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_cancel: Callable[[], object] | None = None) -> None:
        super().__init__(loop=loop)
        self._on_cancel = on_cancel

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002 - as asyncio has it
        """It goes on."""
        if self._on_cancel is not None:
            self._on_cancel()
        return False

    def fail(self, error: BaseException) -> None:
        """It has failed; whoever does not wait for it is not warned of it."""
        self.set_exception(error)
        self.exception()


async def to_the_end(task: asyncio.Task[T]) -> T:
    """Await what must not be left half done; a cancellation is raised once it has ended."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # it is of no account any more, and nobody is warned of it
    raise cancelled


class JournalThread:
    """A thread of one journal.

    Args:
        path: of the journal, for messages.
        name: what it is for.
    """

    def __init__(self, path: Path, name: str = "journal") -> None:
        self._path = path
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._open = True
        self._thread = threading.Thread(target=self._work, name=f"xmediameta-{name}", daemon=True)
        self._thread.start()

    def another(self, name: str) -> JournalThread:
        """One beside it, for what is not SQLite's."""
        return JournalThread(self._path, name)

    async def call(self, function: Callable[..., T], *args: object, on_cancel: Callable[[], object] | None = None) -> T:
        """Run something of the journal's.

        Args:
            on_cancel: called if the caller is cancelled meanwhile, to hurry it.

        Raises:
            JournalError: SQLite or the system failed, or the journal is closed.
        """
        try:
            return await self.plain(function, *args, on_cancel=on_cancel)
        except (sqlite3.Error, OSError) as error:
            raise self.ours(error) from error

    def ours(self, error: BaseException) -> JournalError:
        """What went wrong on the thread, as an error of the journal."""
        if isinstance(error, JournalError):
            return error
        ours = failure(self._path, error)
        ours.__cause__ = error
        return ours

    def plain(
        self, function: Callable[..., T], *args: object, on_cancel: Callable[[], object] | None = None
    ) -> asyncio.Future[T]:
        """Run something of a caller's, whose errors are its own.

        Raises:
            JournalError: the journal is closed.
        """
        if not self._open:
            raise JournalError(f"the journal {printable(str(self._path))} is closed")
        future = Lasting[T](asyncio.get_running_loop(), on_cancel)
        self._jobs.put(_Job(function, args, future))
        return future

    def stop(self) -> None:
        """End the thread, once it has done what was asked of it."""
        self._open = False
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.run()
            del job  # while it waits for the next one it keeps nothing alive


class _Job:
    __slots__ = ("args", "error", "function", "future", "result")

    def __init__(self, function: Callable[..., Any], args: tuple[object, ...], future: Lasting[Any]) -> None:
        self.function = function
        self.args = args
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do it, on the journal's thread."""
        try:
            self.result = self.function(*self.args)
        except StopIteration as error:  # a future does not take it
            self.error = RuntimeError(f"unexpected {error!r}")
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            self.error = error
        try:
            self.future.get_loop().call_soon_threadsafe(self.tell)
        except RuntimeError:
            return  # the loop is closed, and nobody waits

    def tell(self) -> None:
        """Tell how it ended, on the loop's thread."""
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.fail(self.error)
