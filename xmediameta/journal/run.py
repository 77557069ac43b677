"""A run that is held: the queue from which its tasks are drawn, and the book in which they are finished.

A commit begins when the last one has ended, and takes all outcomes that have come in meanwhile, and those that each
next turn of the loop brings, up to a bound: to hand something to another thread is dear. So a slow disk makes larger
batches, a fast one smaller delays, and a caller who waits for `finish` has never more unrecorded than it has workers.
Tasks are fetched before they are asked for, a batch for each account, fewer where there are many accounts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping
from typing import Final, Protocol, Self

from xmediameta.errors import JournalError
from xmediameta.text import printable

from .events import Note, data
from .file import now_text
from .lock import RunLock
from .records import Drawn, Finished, Loaded, RunRecord, State, TaskRecord
from .shelf import Shelf
from .thread import JournalThread, Lasting, to_the_end
from .work import Work

_BATCH: Final = 256
_LEAST: Final = 4
_FETCHED: Final = 20_000  # tasks that may be fetched and wait, over all accounts; about 1.5 kB each
_GATHERED: Final = 32  # outcomes with which a commit begins, although more may come
_FETCHES: Final = 16  # at a time, so that a commit does not wait behind those of thousands of accounts
_ENDED: Final[tuple[State, ...]] = ("applied", "unchanged", "failed", "expired", "invalid")


class Keeper(Protocol):
    """What a run asks of its journal."""

    async def results(self, record: RunRecord, states: Collection[State] = ()) -> AsyncIterable[TaskRecord]:
        """The rows of a run."""
        ...

    def forget(self, run: JournalRun) -> None:
        """A run has ended."""
        ...


class JournalRun:
    """A run of a journal, held until `aclose`; made by `Journal.start`.

    Attributes:
        record: the run as it stood when it was started.
        loaded: what loading its input changed.
        requests, retries: sent for the run so far, over all its sittings since it last began anew.
        accounts: that it has work for, or had when it was started.
        windows: tells how the windows of accounts stand, as JSON by owner; kept with each commit.
        failed: the error of the first commit that failed; nothing is recorded after it.
        unrecorded: how tasks ended that could not be recorded any more: what was in flight when a commit failed. They
            stay pending in the journal, so the next sitting sends them again.
    """

    def __init__(
        self,
        journal: Keeper,
        thread: JournalThread,
        lock: RunLock,
        record: RunRecord,
        work: Work,
        accounts: Iterable[str],
        loaded: Loaded,
    ) -> None:
        self.record = record
        self.loaded = loaded
        self.requests, self.retries = self._before = record.requests, record.retries
        self.failed: JournalError | None = None
        self.unrecorded: list[Finished] = []
        self.windows: Callable[[Iterable[str | None]], Mapping[str, str]] | None = None
        names = tuple(accounts)
        self.accounts = frozenset(name or None for name in names)
        self._journal = journal
        self._thread = thread
        self._lock = lock
        self._work = work
        self._turn = deque(Shelf(name) for name in names)
        self._size = max(_LEAST, min(_BATCH, _FETCHED // max(len(self._turn), 1)))
        self._drawn: dict[int, Drawn] = {}
        self._fetches: set[asyncio.Task[None]] = set()
        self._batch: list[Finished] = []
        self._notes: list[Note] = []
        self._next_commit: Lasting[None] | None = None  # of that batch
        self._newest: Lasting[None] | None = None
        self._committer: asyncio.Task[None] | None = None
        self._recording: asyncio.Future[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._shut = False  # nothing is recorded any more

    # Drawing

    def has_work(self, avoid: Collection[str | None]) -> bool:
        """Whether there may be tasks for accounts other than these."""
        for shelf in self._turn:  # noqa: SIM110 - asked for each request, and a generator takes as long again
            if (shelf.tasks or not shelf.drawn_out) and shelf.account not in avoid:
                return True
        return False

    def take(self, avoid: Collection[str | None]) -> Drawn | None:
        """As `draw`, of what was fetched already: None where `draw` may have to wait, too.

        Raises:
            JournalError: nothing can be recorded any more, or the run was let go.
        """
        shelf = self._found(avoid)
        return None if shelf is None or not shelf.tasks else self._take(shelf)

    async def draw(self, avoid: Collection[str | None]) -> Drawn | None:
        """The next task of an account that is not to be avoided, in turn; None where there is none.

        Args:
            avoid: a set, where there are many accounts.

        Raises:
            JournalError: nothing can be recorded any more, the run was let go, or its tasks cannot be read.
        """
        while True:
            shelf = self._found(avoid)
            if shelf is None:
                return None
            if shelf.tasks:
                return self._take(shelf)
            self._fetch(shelf)
            if shelf.fetch is not None:
                await asyncio.wait((shelf.fetch,))
            error, shelf.error = shelf.error, None
            if error is not None:
                raise error

    async def settled(self) -> AsyncIterable[TaskRecord]:
        """The rows that need no request: unchanged, ended in an earlier sitting, or invalid."""
        return await self._journal.results(self.record, _ENDED)

    def _take(self, shelf: Shelf) -> Drawn:
        task = shelf.tasks.popleft()
        self._drawn[task.seq] = task
        if len(shelf.tasks) <= self._size // 4:
            self._fetch(shelf)
        return task

    def _found(self, avoid: Collection[str | None]) -> Shelf | None:
        self._check()
        return self._next(avoid)

    def _next(self, avoid: Collection[str | None]) -> Shelf | None:
        """The next shelf in turn that has tasks, else one that may have some."""
        if len(self._turn) == 1 and (shelf := self._turn[0]).tasks and shelf.account not in avoid:
            return shelf
        perhaps: Shelf | None = None
        for _ in range(len(self._turn)):
            shelf = self._turn.popleft()
            if shelf.empty:
                continue
            self._turn.append(shelf)
            if shelf.account in avoid:
                continue
            if shelf.tasks:
                return shelf
            perhaps = perhaps or shelf
            if len(self._fetches) < _FETCHES:
                self._fetch(shelf)
        return perhaps

    def _fetch(self, shelf: Shelf) -> None:
        if shelf.fetch is None and not shelf.drawn_out and shelf.error is None and self._ending is None:
            shelf.fetch = asyncio.get_running_loop().create_task(self._fill(shelf))
            self._fetches.add(shelf.fetch)
            shelf.fetch.add_done_callback(self._fetches.discard)

    async def _fill(self, shelf: Shelf) -> None:
        try:
            tasks = await self._thread.call(self._work.draw, shelf.name, shelf.after, self._size)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to who draws
            shelf.error = self._thread.ours(error)
        else:
            shelf.drawn_out = len(tasks) < self._size
            shelf.tasks.extend(tasks)
            if tasks:
                shelf.after = tasks[-1].due, tasks[-1].seq
        finally:
            shelf.fetch = None

    async def quota(self) -> dict[str, str]:
        """The windows that were kept for this run's base URL, by owner."""
        return await self._thread.call(self._work.quota)

    # Finishing

    def unsure(self, task: Drawn) -> None:
        """A task was sent, and how it ended is not known: it stays pending, and its media counts as unsure."""
        self.finish(Finished(task=task, state="pending", maybe_applied=True))

    def count(self, requests: int, retries: int) -> None:
        """How many requests this sitting has sent so far; recorded with the next commit."""
        self.requests, self.retries = self._before[0] + requests, self._before[1] + retries

    def finish(self, finished: Finished) -> asyncio.Future[None]:
        """Record how a task ended; the future is done when that is committed, or fails with a `JournalError`.

        What is finished meanwhile shares a future, so it cannot be cancelled: a task that awaits it and is cancelled
        ends when the commit does. A task that ends as `pending` is left for the next sitting.
        """
        if self._shut:
            refused = Lasting[None](asyncio.get_running_loop())
            refused.fail(self._let_go())
            return refused
        self._drawn.pop(finished.task.seq, None)
        self._batch.append(finished)
        return self._next_commit or self._promise(asyncio.get_running_loop())

    def note(self, kind: str, account: str | None = None, **told: object) -> None:
        """Record that something happened (see `events`), with the next commit; it is told nobody if that fails."""
        self.note_along(kind, account, **told)
        if self._notes and self._next_commit is None:
            self._promise(asyncio.get_running_loop())

    def note_along(self, kind: str, account: str | None = None, **told: object) -> None:
        """As `note`, with what is committed next, whenever that is."""
        if self._ending is None and self.failed is None:
            self._notes.append(Note(at=now_text(), kind=kind, account=account, data=data(**told)))

    async def flush(self) -> None:
        """Wait until everything that was finished so far is committed, or has failed."""
        if self._newest is not None and not self._newest.done():
            await asyncio.wait((self._newest,))

    def _promise(self, loop: asyncio.AbstractEventLoop) -> Lasting[None]:
        """The next commit, which begins when the present one has ended."""
        self._next_commit = self._newest = promised = Lasting[None](loop)
        if self._committer is None or self._committer.done():
            self._committer = loop.create_task(self._commit())
        return promised

    async def _commit(self) -> None:
        while self._next_commit is not None:
            try:
                await self._gather()
            except asyncio.CancelledError:
                self._break_off()
                raise
            commit, self._next_commit = self._next_commit, None
            batch, self._batch = self._batch, []
            error = self.failed
            try:
                if error is None:
                    await self._record(batch)
            except asyncio.CancelledError:
                error = self._break_off()
                raise
            except Exception as met:  # noqa: BLE001 - whatever it is, nobody may wait for ever
                error = self.failed = self._thread.ours(met)
            finally:
                if error is not None:
                    self.unrecorded += batch
                    commit.fail(error)
                else:
                    commit.set_result(None)

    async def _gather(self) -> None:
        """Let more outcomes share a commit while each turn of the loop brings some; no time is waited for."""
        before = 0
        while before < len(self._batch) < _GATHERED:
            before = len(self._batch)
            await asyncio.sleep(0)

    async def _record(self, batch: list[Finished]) -> None:
        kept: Mapping[str, str] = {}
        if self.windows is not None:
            kept = self.windows({finished.task.update.account for finished in batch})
        notes, self._notes = self._notes, []
        self._recording = self._thread.plain(self._work.finish, batch, self.requests, self.retries, kept, notes)
        await self._recording

    def _break_off(self) -> JournalError | None:
        """The loop is being closed: what waits for the next commit must not wait for ever.

        Returns:
            How the present commit has failed, if it has: it has ended.
        """
        met = None if self._recording is None else self._recording.exception()
        error = None if met is None else self._thread.ours(met)
        self.failed = error or JournalError("the event loop was closed before an outcome was recorded")
        if self._next_commit is not None:
            self._next_commit.fail(self.failed)
            self.unrecorded += self._batch
            self._batch, self._next_commit = [], None
        return error

    # Its end

    async def aclose(self, stopped: str | None = None) -> None:
        """Let the run go: what was drawn and not finished stays pending, and counts as not sent.

        Args:
            stopped: why it stopped early, as JSON.

        Raises:
            JournalError: the end cannot be recorded; the run is let go all the same.
        """
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end(stopped))
        await to_the_end(self._ending)

    async def _end(self, stopped: str | None) -> None:
        self._shut = True
        try:
            if self._fetches:
                await asyncio.wait(self._fetches)
            await self.flush()
            if self.failed is None:
                left = [*self._drawn.values(), *(task for shelf in self._turn for task in shelf.tasks)]
                await self._thread.call(self._work.end, left, stopped, self.requests, self.retries, self._notes)
        finally:
            self._lock.release()
            self._journal.forget(self)

    def _check(self) -> None:
        if self.failed is not None:
            raise self.failed
        if self._ending is not None:
            raise self._let_go()

    def _let_go(self) -> JournalError:
        return JournalError(f"the run {printable(self.record.name)!r} was let go")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "failed" if self.failed is not None else "let go" if self._ending is not None else "held"
        return f"<JournalRun {self.record.name!r} {state}, {len(self._drawn)} drawn>"
