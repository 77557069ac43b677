"""The workers of a run, and the shelf from which its reader takes the outcomes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine

from xmediameta.outcomes import Outcome


class Crew:
    """Up to `most` tasks that do the same work, and single tasks beside them; all of them end with the crew.

    Args:
        work: what a worker does, until it returns; one that finds nothing to do rests until it is woken.
        failed: called with an exception that a worker ended with.
    """

    __slots__ = ("_failed", "_idle", "_loop", "_most", "_others", "_work", "_workers")

    def __init__(
        self, work: Callable[[], Coroutine[object, object, None]], most: int, failed: Callable[[BaseException], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._most = most
        self._failed = failed
        self._workers: set[asyncio.Task[None]] = set()
        self._others: set[asyncio.Task[None]] = set()
        self._idle: deque[asyncio.Future[None]] = deque()

    def call_one(self) -> None:
        """There may be more work: wake one who rests, or hire one if there are fewer than `most`."""
        if self._idle:
            self.wake()
        elif len(self._workers) < self._most:
            self._hire(self._workers, self._work())

    def start(self, job: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Do something else in a task of its own."""
        return self._hire(self._others, job)

    def wake(self) -> None:
        """Wake one who rests."""
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return

    def wake_all(self) -> None:
        """Wake everyone who rests."""
        while self._idle:
            self.wake()

    async def rest(self) -> None:
        """Rest until woken. A worker that is cancelled as it is woken wakes another in its place."""
        idle = self._loop.create_future()
        self._idle.append(idle)
        try:
            await idle
        except asyncio.CancelledError:
            if idle.done() and not idle.cancelled():
                self.wake()
            raise

    async def dismiss(self) -> None:
        """Cancel all workers, and wait until they have put things in order."""
        workers = [*self._workers, *self._others]
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    def _hire(self, among: set[asyncio.Task[None]], job: Coroutine[object, object, None]) -> asyncio.Task[None]:
        worker = self._loop.create_task(job)
        among.add(worker)
        worker.add_done_callback(self._ended)
        return worker

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        self._others.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._failed(error)


class Shelf:
    """Outcomes that wait for the reader.

    Args:
        most: as many unread ones make it full.
        low: called when a full shelf has been read down.

    Attributes:
        full: whether the reader has to catch up first.
    """

    __slots__ = ("_closed", "_loop", "_low", "_most", "_outcomes", "_readers", "_was_full", "full")

    def __init__(self, most: int, low: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._most = most
        self._low = low
        self._outcomes: deque[Outcome] = deque()
        self._readers: deque[asyncio.Future[None]] = deque()
        self._closed = self._was_full = self.full = False

    def put(self, outcome: Outcome) -> None:
        """Add an outcome; one more than fits is kept too."""
        self._outcomes.append(outcome)
        if len(self._outcomes) >= self._most:
            self.full = self._was_full = True
        if self._readers:
            self._tell()

    def close(self) -> None:
        """No more outcomes will come."""
        self._closed = True
        while self._readers:
            self._tell()

    def at_hand(self) -> Outcome | None:
        """The next outcome, if there is one."""
        if not self._outcomes:
            return None
        outcome = self._outcomes.popleft()
        if self._was_full:
            self.full = len(self._outcomes) >= self._most
            if len(self._outcomes) <= self._most // 2:
                self._was_full = False
                self._low()
        return outcome

    async def take(self) -> Outcome | None:
        """The next outcome; None when there will be no more."""
        while (outcome := self.at_hand()) is None:
            if self._closed:
                return None
            reader = self._loop.create_future()
            self._readers.append(reader)
            try:
                await reader
            except asyncio.CancelledError:
                if reader in self._readers:
                    self._readers.remove(reader)
                else:
                    self._tell()  # it was woken for what another may take
                raise
        return outcome

    def _tell(self) -> None:
        """Wake one who reads."""
        while self._readers:
            reader = self._readers.popleft()
            if not reader.done():
                reader.set_result(None)
                return
