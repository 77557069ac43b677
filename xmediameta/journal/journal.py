"""The journal as asyncio sees it: one file, one thread, many runs."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterable, Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self, TypeVar

from xmediameta.coalesce import Coalesce
from xmediameta.errors import JournalError
from xmediameta.text import printable

from .growing import FINGERPRINT, Growing
from .intake import Intake
from .lock import RunLock
from .places import doubts, journal_path
from .queue import JournalQueue
from .records import Counted, EventRecord, Incoming, Loaded, RunRecord, State, TaskRecord
from .rehearsal import Rehearsal, Stage
from .run import JournalRun
from .store import AnyWork, Store
from .thread import JournalThread, to_the_end
from .work import Work

log: Final = logging.getLogger("xmediameta")
_PIECE: Final = 2_000  # rows that are read at a stretch

AnyStore = TypeVar("AnyStore", bound=Store)
AnyRun = TypeVar("AnyRun", bound=JournalRun)


class Journal:
    """A file that remembers what was to be sent, what was sent, and how each update ended.

    Open it with `await Journal.open(path)`, close it with `aclose()` or as an async context manager. One journal holds
    many runs, and many processes may have it open.
    """

    def __init__(self, store: Store, thread: JournalThread) -> None:
        self._store = store
        self._thread = thread
        self._runs: set[JournalRun] = set()
        self._closing: asyncio.Task[None] | None = None

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
        return cls(*await _opened(partial(Store, where), where))

    @classmethod
    async def rehearse(
        cls,
        path: str | os.PathLike[str] | None,
        name: str,
        base_url: str,
        incoming: Iterable[Incoming] | AsyncIterable[Incoming],
        *,
        fingerprint: str | None = None,
        force: bool = False,
        retry_failed: bool = False,
        coalesce: Coalesce = None,
    ) -> Rehearsal:
        """Find out what `start` would make of an input, while the journal stays as it is.

        It may be in use meanwhile, also by the same run. One that is not there is not made.

        Args:
            path: of the journal, as for `open`; the others are those of `start`.

        Raises:
            JournalError: the journal cannot be read, the run sends to another base URL, or there is no room for a copy
                in the folder for temporary files.
        """
        where, name = journal_path(path), _storable(name)
        with TemporaryDirectory(prefix="xmediameta-", ignore_cleanup_errors=True) as folder:
            stage, thread = await _opened(partial(Stage, Path(folder), where, name), where)
            async with cls(stage, thread) as journal:
                run = await journal.start(
                    name,
                    base_url,
                    incoming,
                    fingerprint=fingerprint,
                    force=force,
                    retry_failed=retry_failed,
                    coalesce=coalesce,
                )
                return await thread.call(stage.rehearsed, run.record, run.loaded, await run.quota())

    @property
    def path(self) -> Path:
        """The file."""
        return self._store.path

    async def runs(self) -> list[RunRecord]:
        """All runs, the one that was started last first."""
        return await self._thread.call(self._store.runs)

    async def run(self, name: str | None = None) -> RunRecord | None:
        """The run of that name, or the last one."""
        if name is not None:
            return await self._thread.call(self._store.run, _storable(name))
        runs = await self.runs()
        return runs[0] if runs else None

    async def counts(self, record: RunRecord) -> list[Counted]:
        """How many rows of a run are in each state, by account."""
        return await self._thread.call(self._store.counts, record.load)

    async def events(self, record: RunRecord) -> list[EventRecord]:
        """When a run was worked on and what held it up, the oldest first: the last 5,000 such events."""
        return await self._thread.call(self._store.events, record.run)

    async def quota(self, record: RunRecord) -> dict[str, str]:
        """How the windows stood when the place of a run was sent to last, as JSON by owner (see `memory`)."""
        return await self._thread.call(self._store.quota, record.run)

    async def results(self, record: RunRecord, states: Collection[State] = ()) -> AsyncIterable[TaskRecord]:
        """The rows of a run in the order of the input, with how they ended.

        Rows that end meanwhile are told as they are when their turn comes.

        Args:
            states: of what states; all by default.

        Raises:
            JournalError: while reading: the run's input was loaded anew meanwhile.
        """
        chosen = tuple(states)

        async def all_of_them() -> AsyncIterable[TaskRecord]:
            after = -1
            while True:
                rows = await self._thread.call(self._store.tasks, record.load, after, _PIECE, chosen)
                for row in rows:
                    yield row
                if len(rows) < _PIECE:
                    return
                after = rows[-1].seq

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
        coalesce: Coalesce = None,
    ) -> JournalRun:
        """Load an input into a run and take hold of it.

        Args:
            name: of the run; the same name goes on with what is left.
            base_url: where it sends to.
            incoming: the rows. A synchronous iterable is read on a thread of its own; one that may wait for long (a
                pipe) should be asynchronous, since it cannot be interrupted.
            fingerprint: of the input; the rows are not read where it is the one that was loaded before.
            force: send what is unchanged too.
            retry_failed: send again what failed.
            coalesce: `"last"` or `"merge"`: different rows of one media id (and account) become one request, whose
                outcome they share, and which then stands in the journal for each of them. By default all are sent.

        Raises:
            JournalError: another process has the run, it sends to another base URL, or the file cannot be written.
        """
        return await self._started(
            name,
            base_url,
            incoming,
            fingerprint=fingerprint,
            force=force,
            retry_failed=retry_failed,
            coalesce=coalesce,
            work=Work,
            run=JournalRun,
        )

    async def queue(self, name: str, base_url: str) -> JournalQueue:
        """Take hold of a run that grows while it is held, with what an earlier process has left in it.

        Args:
            name: of the run.
            base_url: where it sends to.

        Raises:
            JournalError: as for `start`, or the run of that name is that of an input.
        """
        return await self._started(name, base_url, (), fingerprint=FINGERPRINT, work=Growing, run=JournalQueue)

    async def _started(
        self,
        name: str,
        base_url: str,
        incoming: Iterable[Incoming] | AsyncIterable[Incoming],
        *,
        fingerprint: str | None,
        force: bool = False,
        retry_failed: bool = False,
        coalesce: Coalesce = None,
        work: type[AnyWork],
        run: Callable[..., AnyRun],
    ) -> AnyRun:
        name = _storable(name)
        if fingerprint is not None and coalesce is not None:
            fingerprint = f"{fingerprint} {coalesce}"
        stop = threading.Event()
        lock = RunLock(self.path, name)
        call = self._thread.call
        try:
            if not await call(lock.acquire):
                holder = await call(self._store.holder, name)
                raise JournalError(f"the run {printable(name)!r} is under way already in {holder}")
            await call(self._store.hold, name)
            known = await call(self._store.run, name)
            loading = await call(
                self._store.load, name, base_url, fingerprint, stop.is_set, coalesce, on_cancel=stop.set
            )
            loaded = (
                loading
                if isinstance(loading, Loaded)
                else await Intake(self._thread, loading, stop.set).load(incoming, fingerprint)
            )
            anew = known is not None and not loaded.resumed
            record, begun = await call(
                lambda: self._store.begin(
                    name, force=force, retry_failed=retry_failed, anew=anew, stopped=stop.is_set, work=work
                ),
                on_cancel=stop.set,
            )
            counts = await call(self._store.counts, record.load, on_cancel=stop.set)
        except BaseException:
            lock.release()
            raise
        accounts = [counted.account for counted in counts if counted.requests_needed]
        held = run(self, self._thread, lock, record, begun, accounts, loaded)
        self._runs.add(held)
        return held

    def forget(self, run: JournalRun) -> None:
        """A run has ended."""
        self._runs.discard(run)

    async def aclose(self) -> None:
        """Close it; runs that are still held are let go as they are.

        Raises:
            JournalError: the end of a run cannot be recorded; everything is closed all the same.
        """
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await to_the_end(self._closing)

    async def _close(self) -> None:
        try:
            ends = await asyncio.gather(*(run.aclose() for run in self._runs), return_exceptions=True)
        finally:
            try:
                await self._thread.call(self._store.close)
            finally:
                self._thread.stop()
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Journal {self.path}{' closed' if self._closing is not None else ''}>"


async def _opened(make: Callable[[], AnyStore], path: Path) -> tuple[AnyStore, JournalThread]:
    """A store that is made on a thread of its own."""
    thread = JournalThread(path)
    opened: list[AnyStore] = []
    try:
        await thread.call(lambda: opened.append(make()))
    except BaseException:
        for store in opened:
            store.close()
        thread.stop()
        raise
    return opened[0], thread


def _storable(name: str) -> str:
    """A name as SQLite can hold it: that of a file may carry bytes that are no text."""
    return name.encode("utf-8", "backslashreplace").decode()
