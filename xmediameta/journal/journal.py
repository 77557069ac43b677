"""The journal as asyncio sees it: SQLite on a thread of its own, commits that follow each other without a timer.

A commit begins when the last one has ended, and takes all outcomes that have come in meanwhile. So a slow disk makes
larger batches, a fast one smaller delays, and a caller who waits for `finish` has never more unrecorded than it has
workers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections import deque
from collections.abc import AsyncIterable, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from xmediameta.errors import JournalError

from .lock import RunLock
from .places import doubts, journal_path, make_room
from .records import Counted, Drawn, Finished, Incoming, Loaded, RunRecord, State, TaskRecord
from .schema import NEVER
from .store import Store

log: Final = logging.getLogger("xmediameta")
_BATCH: Final = 256
_CHUNK: Final = 2_000

T = TypeVar("T")


class Journal:
    """A file that remembers what was to be sent, what was sent, and how each update ended.

    Open it with `await Journal.open(path)`, close it with `aclose()` or as an async context manager. One journal holds
    many runs.
    """

    def __init__(self, store: Store, thread: ThreadPoolExecutor) -> None:
        self._store = store
        self._thread = thread
        self._runs: set[JournalRun] = set()

    @classmethod
    async def open(cls, path: str | os.PathLike[str] | None = None) -> Self:
        """Open a journal, made if it is new.

        Args:
            path: by default `XMEDIAMETA_JOURNAL`, or a file in the person's state folder.

        Raises:
            JournalError: it cannot be written, is damaged, is something else, or comes from a newer version; an
                existing file is then untouched.
        """
        where = journal_path(path)
        if (doubt := doubts(where)) is not None:
            log.warning("%s", doubt)
        thread = ThreadPoolExecutor(1, thread_name_prefix="xmediameta-journal")
        try:
            store = await asyncio.get_running_loop().run_in_executor(thread, _open, where)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(store, thread)

    @property
    def path(self) -> Path:
        """The file."""
        return self._store.path

    async def runs(self) -> list[RunRecord]:
        """All runs, the one that was started last first."""
        return await self.call(self._store.runs)

    async def run(self, name: str | None = None) -> RunRecord | None:
        """The run of that name, or the last one."""
        if name is not None:
            return await self.call(self._store.run, name)
        runs = await self.runs()
        return runs[0] if runs else None

    async def counts(self, record: RunRecord) -> list[Counted]:
        """How many rows of a run are in each state, by account."""
        return await self.call(self._store.counts, record.load)

    async def results(self, record: RunRecord, states: Collection[State] = ()) -> AsyncIterable[TaskRecord]:
        """The rows of a run in the order of the input, with how they ended."""
        rows = iter(self._store.results(record.load, tuple(states)))

        def some() -> list[TaskRecord]:
            return [row for _, row in zip(range(_CHUNK), rows, strict=False)]

        async def all_of_them() -> AsyncIterable[TaskRecord]:
            while chunk := await self.call(some):
                for row in chunk:
                    yield row

        return all_of_them()

    async def start(
        self,
        name: str,
        base_url: str,
        incoming: Iterable[Incoming] | AsyncIterable[Incoming],
        *,
        fingerprint: str | None = None,
        force: bool = False,
        retry_failed: bool = False,
    ) -> JournalRun:
        """Load an input into a run and take hold of it.

        Args:
            name: of the run; the same name goes on with what is left.
            base_url: where it sends to.
            incoming: the rows. A synchronous iterable is read on the journal's thread.
            fingerprint: of the input; the rows are not read where it is the one that was loaded before.
            force: send what is unchanged too.
            retry_failed: send again what failed.

        Raises:
            JournalError: another process has the run, or the file cannot be written.
        """
        known = await self.run(name)
        lock = RunLock(self.path, name, _holder(known))
        try:
            if isinstance(incoming, AsyncIterable):
                incoming = [row async for row in incoming]
            loaded = await self.call(self._store.load, name, base_url, incoming, fingerprint)
            anew = known is not None and not loaded.resumed
            record = await self.call(lambda: self._store.begin(name, force=force, retry_failed=retry_failed, anew=anew))
            place = await self.call(self._store.place, base_url)
            accounts = await self.call(self._store.accounts, record.load)
        except BaseException:
            lock.release()
            raise
        run = JournalRun(self, self._store, lock, record, place, accounts, loaded)
        self._runs.add(run)
        return run

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """Run something on the journal's thread.

        Raises:
            JournalError: SQLite or the system failed.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
        except (sqlite3.Error, OSError) as error:
            raise failure(self.path, error) from error
        except RuntimeError as error:
            raise JournalError(f"the journal {self.path} is closed") from error

    def forget(self, run: JournalRun) -> None:
        """A run has ended."""
        self._runs.discard(run)

    async def aclose(self) -> None:
        """Close it; runs that are still held are let go as they are."""
        for run in list(self._runs):
            await run.aclose()
        try:
            await self.call(self._store.close)
        finally:
            self._thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Journal {self.path}>"


class JournalRun:
    """A run that is held: the queue from which its tasks are drawn, and the book in which they are finished.

    Attributes:
        record: the run as it stood when it was started.
        loaded: what loading its input changed.
        requests, retries: sent for the run so far, over all its sittings.
        failed: the error of the first commit that failed; nothing is recorded after it.
    """

    def __init__(
        self,
        journal: Journal,
        store: Store,
        lock: RunLock,
        record: RunRecord,
        place: int,
        accounts: list[str],
        loaded: Loaded,
    ) -> None:
        self.record = record
        self.loaded = loaded
        self.requests, self.retries = record.requests, record.retries
        self._before = record.requests, record.retries
        self.failed: JournalError | None = None
        self._journal = journal
        self._store = store
        self._lock: RunLock | None = lock
        self._place = place
        self._shelves = {name: _Shelf() for name in accounts}
        self._turn = deque(accounts)
        self._drawn: dict[int, Drawn] = {}
        self._batch: list[Finished] = []
        self._batch_done: asyncio.Future[None] | None = None
        self._committer: asyncio.Task[None] | None = None

    # Drawing

    def has_work(self, avoid: Collection[str | None]) -> bool:
        """Whether there may be tasks for accounts other than these."""
        return any((name or None) not in avoid and not shelf.empty for name, shelf in self._shelves.items())

    async def draw(self, avoid: Collection[str | None]) -> Drawn | None:
        """The next task of an account that is not to be avoided, in turn; None where there is none."""
        for _ in range(len(self._turn)):
            name = self._turn[0]
            self._turn.rotate(-1)
            shelf = self._shelves[name]
            if (name or None) in avoid or shelf.empty:
                continue
            if not shelf.tasks:
                await self._fetch(name, shelf)
            if shelf.tasks:
                task = shelf.tasks.popleft()
                self._drawn[task.seq] = task
                return task
        return None

    async def _fetch(self, name: str, shelf: _Shelf) -> None:
        tasks = await self._journal.call(self._store.draw, self.record.load, self._place, name, shelf.after, _BATCH)
        if len(tasks) < _BATCH:
            shelf.drawn_out = True
        if tasks:
            shelf.tasks.extend(tasks)
            last = tasks[-1]
            shelf.after = (last.due, last.seq)

    async def settled(self) -> AsyncIterable[TaskRecord]:
        """The rows that need no request: unchanged, ended in an earlier sitting, or invalid."""
        return await self._journal.results(self.record, ("applied", "unchanged", "failed", "expired", "invalid"))

    # Finishing

    def unsure(self, task: Drawn) -> None:
        """A task was sent, and how it ended is not known: it stays pending, and its media counts as unsure."""
        self._drawn.pop(task.seq, None)

    def count(self, requests: int, retries: int) -> None:
        """How many requests this sitting has sent so far; recorded with the next commit."""
        self.requests, self.retries = self._before[0] + requests, self._before[1] + retries

    def finish(self, finished: Finished) -> asyncio.Future[None]:
        """Record how a task ended; the future is done when that is committed, or fails with a `JournalError`."""
        loop = asyncio.get_running_loop()
        self._drawn.pop(finished.task.seq, None)
        self._batch.append(finished)
        if self._batch_done is None:
            self._batch_done = loop.create_future()
        if self._committer is None or self._committer.done():
            self._committer = loop.create_task(self._commit())
        return self._batch_done

    async def _commit(self) -> None:
        while self._batch:
            batch, self._batch = self._batch, []
            done, self._batch_done = self._batch_done, None
            try:
                if self.failed is not None:
                    raise self.failed
                await self._journal.call(
                    self._store.finish, self.record, self._place, batch, self.requests, self.retries
                )
            except JournalError as error:
                self.failed = self.failed or error
                if done is not None and not done.done():
                    done.set_exception(error)
                    done.exception()  # whoever does not wait for it is not warned of it
            else:
                if done is not None and not done.done():
                    done.set_result(None)

    async def flush(self) -> None:
        """Wait until everything that was finished is committed."""
        if self._committer is not None:
            await self._committer

    # Its end

    async def aclose(self, stopped: str | None = None) -> None:
        """Let the run go: what was drawn and not finished stays pending.

        Args:
            stopped: why it stopped early, as JSON.
        """
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            await self.flush()
            if self.failed is None:
                left = [*self._drawn.values(), *(task for shelf in self._shelves.values() for task in shelf.tasks)]
                await self._journal.call(self._store.give_back, self._place, left)
                await self._journal.call(self._store.end, self.record.name, stopped)
        finally:
            lock.release()
            self._journal.forget(self)

    def __repr__(self) -> str:
        return f"<JournalRun {self.record.name!r} of {self._journal.path}>"


class _Shelf:
    """Tasks of one account that were fetched and not drawn yet."""

    __slots__ = ("after", "drawn_out", "tasks")

    def __init__(self) -> None:
        self.tasks: deque[Drawn] = deque()
        self.after: tuple[float, int] = (-NEVER, -1)
        self.drawn_out = False

    @property
    def empty(self) -> bool:
        """Whether nothing more will come."""
        return self.drawn_out and not self.tasks


def failure(path: Path, error: Exception) -> JournalError:
    """A failure of SQLite or the system, in words."""
    text = str(error)
    if "disk is full" in text or getattr(error, "errno", None) == 28:
        what = "the disk is full"
    elif "not a database" in text or "malformed" in text:
        what = "the file is damaged, or no journal"
    elif "readonly" in text or "read-only" in text:
        what = "it cannot be written"
    else:
        what = text
    return JournalError(f"the journal {path}: {what}")


def _open(path: Path) -> Store:
    make_room(path)
    try:
        return Store(path)
    except sqlite3.Error as error:
        raise failure(path, error) from error


def _holder(known: RunRecord | None) -> str:
    if known is None or known.pid is None:
        return ""
    return f" in process {known.pid} on {known.host} (since {known.started_at})"
