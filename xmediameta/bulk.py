"""A stream of updates, many in flight, one outcome for each.

N workers draw from one queue, and the queue draws from the caller's iterable when there is nothing else that could be
sent. The rows of each account wait in a heap of their own (earliest `send_before` first), so an account whose window
is closed holds nobody up as long as `lookahead` rows are not exceeded. A row that must be tried again goes back to its
heap: no worker sleeps over it. Order per media id is kept by the client's lanes.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from heapq import heappop, heappush
from math import inf
from types import TracebackType
from typing import Any, Final, Self, cast

from .accounts import Account
from .coalesce import Coalesce, Entry
from .errors import AuthError, BudgetReached, ClientClosed, InvalidUpdate, RateLimitWaitTooLong, XMediaMetaError
from .ledger import Ticket
from .models import Update
from .outcomes import Applied, Failed, NotSent, Outcome, Reason
from .sender import Result, Sender
from .verdict import FailUpdate, Retry, StopAccount, WaitForWindow
from .wire import Reply, encode

_Given = Update | Mapping[str, Any]
_UNREAD: Final = 4  # outcomes that may wait for the reader, per request in flight


class _Row:
    """One input, as one who shares an entry."""

    __slots__ = ("run", "update")

    def __init__(self, run: BulkRun, update: Update) -> None:
        self.run = run
        self.update = update

    def lead(self, entry: Entry) -> None:
        self.run.lead(entry)

    def deliver(self, entry: Entry, result: Result) -> None:
        self.run.deliver(self, entry, result)


class _Queue:
    """The rows of one account that may be sent, and why they are not."""

    __slots__ = ("account", "opened", "ready", "stopped", "waiting", "withheld")

    def __init__(self, account: Account, opened: Callable[[_Queue], None]) -> None:
        self.account = account
        self.opened = partial(opened, self)
        self.ready: list[tuple[float, int, Entry]] = []
        self.waiting = False  # the gate calls back
        self.stopped: XMediaMetaError | None = None
        # Plain 403s that may yet turn out to be the account's; see ForbiddenStreak.
        self.withheld: list[tuple[_Row, XMediaMetaError]] = []


class BulkRun:
    """The outcomes of a stream of updates; made by `client.bulk`.

    An async context manager and iterator. When the run must stop, it yields what has finished, then `NotSent` for what
    it had taken, then raises the error that stopped it. Leaving the block early ends what is in flight.

    Attributes:
        requests, retries: sent for this run so far.
        in_flight: on the wire now.
        taken: updates drawn from the iterable.
    """

    def __init__(
        self,
        opened: Callable[[], Sender],
        updates: Iterable[_Given] | AsyncIterable[_Given],
        *,
        concurrency: int,
        strict: bool,
        max_wait: float | None,
        coalesce: Coalesce,
        max_requests: int | None,
        max_duration: float | None,
        lookahead: int,
    ) -> None:
        self._opened = opened
        self._updates = updates
        self._concurrency = concurrency
        self._strict = strict
        self._max_wait = max_wait
        self._coalesce: Coalesce = coalesce
        self._max_requests = max_requests
        self._max_duration = max_duration
        self._lookahead = lookahead
        self._encode = partial(encode, strict=strict)
        self._sender: Sender
        self._loop: asyncio.AbstractEventLoop
        self._next: Iterator[_Given] | AsyncIterator[_Given] | None = None
        self._pulling = False
        self._dated = False
        self._queues: dict[str | None, _Queue] = {}
        self._open: deque[_Queue] = deque()
        self._order = 0
        self._rows = 0  # taken and without an outcome
        self._held = 0  # of these, withheld
        self._hungry = True  # whether only more input could give the workers something to do
        self._sync = True
        self._delayed: dict[Entry, asyncio.TimerHandle] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._out: deque[Outcome] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._stop: XMediaMetaError | BaseException | None = None
        self._reason: Reason | None = None
        self._done = False
        self._timers: list[asyncio.TimerHandle] = []
        self._room_timer: asyncio.TimerHandle | None = None
        self.requests = self.retries = self.in_flight = self.taken = 0

    # What a caller sees

    def stop(self) -> None:
        """Send nothing more: what is in flight finishes, the rest that was taken ends as `NotSent("closed")`."""
        self._halt(None, "closed")

    @property
    def waiting_until(self) -> datetime | None:
        """When the first account goes on, where all that have work wait for a window; else None."""
        if self._open or self.in_flight or self._done or not self._queues:
            return None
        times = [
            (at, q.account.gate)
            for q in self._queues.values()
            if q.waiting and (at := q.account.gate.waiting_until) is not None
        ]
        if not times:
            return None
        at, gate = min(times, key=lambda pair: pair[0])
        return gate.local_time(at)

    async def __aenter__(self) -> Self:
        if self._next is not None:
            raise RuntimeError("a bulk run is used once")
        self._sender = self._opened()
        self._loop = self._sender.loop
        updates = self._updates
        self._sync = not isinstance(updates, AsyncIterable)
        self._next = aiter(updates) if isinstance(updates, AsyncIterable) else iter(updates)
        if self._max_duration is not None:
            budget = BudgetReached("duration", limit=self._max_duration, spent=self._max_duration)
            self._timers.append(self._loop.call_later(self._max_duration, self._halt, budget, "budget"))
        self._spawn()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._halt(None, "closed")
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        for timer in (*self._timers, *self._delayed.values()):
            timer.cancel()
        self._delayed.clear()
        await asyncio.gather(*workers, return_exceptions=True)
        self._drop_queued()
        self._finish()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        while not self._out:
            if self._done:
                stop, self._stop = self._stop, None
                if stop is not None:
                    raise stop
                raise StopAsyncIteration
            self._reader = self._loop.create_future()
            await self._reader
        outcome = self._out.popleft()
        if self._idle and len(self._out) < self._concurrency:
            self._wake()
        return outcome

    # What the lanes tell

    def lead(self, entry: Entry) -> None:
        """An entry of this run is at the head of its lane."""
        if self._reason is not None:
            self._settle_unsent(entry, self._reason, self._stop_error())
            return
        self._push(self._queue(entry.account), entry)

    def deliver(self, row: _Row, entry: Entry, result: Result) -> None:
        """A row is settled."""
        update = row.update
        if isinstance(result, XMediaMetaError) and update is not entry.update:
            result = copy.copy(result)
            result.about(update.id, update.ref, update.account, entry.attempts)
        if isinstance(result, Reply):
            self._emit(
                Applied(
                    update=update,
                    transaction_id=result.transaction_id,
                    attempts=entry.attempts,
                    warnings=result.warnings,
                    raw_metadata=result.raw_metadata,
                )
            )
        elif isinstance(result, ClientClosed):
            self._emit(NotSent(update=update, reason="closed", error=result))
        elif isinstance(result, BudgetReached):
            self._emit(NotSent(update=update, reason="budget", error=result))
        elif result.scope == "run":
            self._emit(NotSent(update=update, reason="run_stopped", error=result))
        elif result.scope == "account":
            self._emit(NotSent(update=update, reason="account_stopped", error=result))
        else:
            self._emit(Failed(update=update, error=result))

    # Drawing from the caller's iterable

    async def _pull(self) -> None:
        """Take one more update from the iterable, and put it where it belongs."""
        source = self._next
        self._pulling = True
        try:
            try:
                given = (
                    next(cast("Iterator[_Given]", source))
                    if self._sync
                    else await anext(cast("AsyncIterator[_Given]", source))
                )
            except (StopIteration, StopAsyncIteration):
                self._next = None
                return
            except Exception as error:  # noqa: BLE001 - the caller's iterable: its error is raised at the end
                self._next = None
                self._halt(error, "run_stopped")
                return
            self.taken += 1
            self._rows += 1
            await self._take(given)
        finally:
            self._pulling = False

    async def _take(self, given: _Given) -> None:
        update: Update | None = None
        try:
            update = given if isinstance(given, Update) else Update.from_mapping(given)
            body = self._encode(update)
            accounts = self._sender.accounts
            account = accounts.peek(update.account)
            if account is None:
                account = await accounts.get(update.account)
        except InvalidUpdate as error:
            shown = update if update is not None else _as_far_as_known(given)
            error.about(shown.id, shown.ref, shown.account)
            self._emit(Failed(update=shown, error=error))
            return
        except AuthError as error:
            shown = update if update is not None else _as_far_as_known(given)
            error.about(shown.id, shown.ref, shown.account)
            self._emit(NotSent(update=shown, reason="account_stopped", error=error))
            return
        if update.send_before is not None:
            self._dated = True
        queue = self._queues.get(update.account)
        if queue is None:
            queue = self._queues[update.account] = _Queue(account, self._opened_gate)
        row = _Row(self, update)
        entry, leads = self._sender.lanes.add(update, body, update.account, row, self._coalesce, self._encode)
        if leads:
            self._push(queue, entry)

    def _queue(self, name: str | None) -> _Queue:
        return self._queues[name]

    def _push(self, queue: _Queue, entry: Entry) -> None:
        if queue.stopped is not None:
            self._settle_unsent(entry, "account_stopped", queue.stopped)
            return
        self._order += 1
        if not entry.order:
            entry.order = self._order
        due = entry.due
        heappush(queue.ready, (inf if due is None else due, entry.order, entry))
        if len(queue.ready) == 1 and not queue.waiting:
            self._open.append(queue)
        if self._idle:
            self._wake()

    # Sending

    async def _work(self) -> None:
        while not self._done:
            picked = self._pick()
            if picked is not None:
                if self._idle:
                    self._wake()
                elif len(self._workers) < self._concurrency:
                    self._spawn()
                await self._serve(*picked)
            elif self._may_pull():
                await self._pull()
            elif not self._finish_if_over():
                idle = self._loop.create_future()
                self._idle.append(idle)
                try:
                    await idle
                except asyncio.CancelledError:
                    if idle.done() and not idle.cancelled():
                        self._wake()
                    raise

    def _may_pull(self) -> bool:
        return (
            self._hungry
            and self._next is not None
            and not self._pulling
            and self._reason is None
            and self._rows < self._lookahead
            and len(self._out) < self._unread
        )

    @property
    def _unread(self) -> int:
        return max(_UNREAD * self._concurrency, 64)

    def _pick(self) -> tuple[_Queue, Entry, Ticket] | None:
        """The next request that may leave now, with its ticket."""
        self._hungry = True
        if self._reason is not None or len(self._out) >= self._unread:
            return None
        if self._dated and self._sync and self._may_pull():
            return None  # look as far ahead as allowed, so that the earliest deadline goes first
        open_queues = self._open
        while open_queues:
            queue = open_queues[0]
            if not queue.ready:
                open_queues.popleft()
                continue
            now = self._loop.time()
            if self._dated and self._expire(queue, time.time()):
                continue
            refusal = queue.account.refusal(now)
            if refusal is not None:
                self._stop_account(queue, refusal)
                continue
            room = self._sender.congestion.room(self.in_flight, now)
            if room:
                self._hungry = False
                self._come_back_in(room)
                return None
            if self._max_requests is not None and self.requests >= self._max_requests:
                self._halt(BudgetReached("requests", limit=self._max_requests, spent=self.requests), "budget")
                return None
            ticket = queue.account.gate.try_enter()
            if ticket is None:
                open_queues.popleft()
                self._await_gate(queue)
                continue
            entry = heappop(queue.ready)[2]
            if not queue.ready or len(open_queues) > 1:
                open_queues.popleft()
                if queue.ready:
                    open_queues.append(queue)
            return queue, entry, ticket
        return None

    async def _serve(self, queue: _Queue, entry: Entry, ticket: Ticket) -> None:
        """Send one entry once, and decide what becomes of it."""
        sender, account = self._sender, queue.account
        self.in_flight += 1
        self.requests += 1
        if entry.attempts:
            self.retries += 1
        sent = settled = False
        try:
            sender.congestion.sent(self._loop.time())
            await account.gate.smooth()
            sent = True
            result = await sender.attempt(account, entry, ticket)
            if isinstance(result, Reply):
                settled = True
                self._release_withheld(queue, None)
                sender.settle(entry, result)
                return
            verdict, result = await sender.step(account, entry, result, bulk=True)
            settled = True
        finally:
            self.in_flight -= 1
            if not sent:
                account.gate.ledger.release(ticket, self._loop.time(), maybe_sent=False)
                account.gate.changed()
            if not settled:
                self._settle_unsent(entry, self._reason or "closed", self._stop_error())
        self._act(queue, entry, result, verdict)

    def _act(self, queue: _Queue, entry: Entry, error: XMediaMetaError, verdict: object) -> None:
        if isinstance(verdict, Retry | WaitForWindow) and self._reason is None:
            if isinstance(verdict, Retry) and verdict.after:
                self._delayed[entry] = self._loop.call_later(verdict.after, self._again, queue, entry)
            else:
                self._push(queue, entry)
        elif isinstance(verdict, Retry | WaitForWindow):
            self._settle_unsent(entry, self._reason or "closed", self._stop_error() or error)
        elif isinstance(verdict, FailUpdate):
            if queue.stopped is None and queue.account.streak.counts(error):
                self._withhold(queue, entry, error)
            else:
                self._sender.settle(entry, error)
        elif isinstance(verdict, StopAccount):
            self._stop_account(queue, error)
            self._settle_unsent(entry, "account_stopped", error)
        else:
            self._halt(error, "run_stopped")
            self._settle_unsent(entry, "run_stopped", error)

    def _again(self, queue: _Queue, entry: Entry) -> None:
        del self._delayed[entry]
        self._push(queue, entry)

    # Waiting, expiring, stopping

    def _await_gate(self, queue: _Queue) -> None:
        """The account must wait for its window or the pace."""
        gate = queue.account.gate
        at = gate.waiting_until
        if at is not None and self._max_wait is not None and at - self._loop.time() > self._max_wait:
            error = RateLimitWaitTooLong(
                retry_after=at - self._loop.time(),
                max_wait=self._max_wait,
                reset_at=gate.local_time(at),
                window=None,
            )
            error.about(None, None, queue.account.name)
            self._stop_account(queue, error)
            return
        if (
            at is not None
            and self._dated
            and self._expire(queue, time.time() + at - self._loop.time())
            and not queue.ready
        ):
            return
        queue.waiting = True
        gate.call_when_open(queue.opened)

    def _opened_gate(self, queue: _Queue) -> None:
        queue.waiting = False
        if queue.ready:
            self._open.append(queue)
            self._wake()

    def _expire(self, queue: _Queue, wall: float) -> bool:
        """Settle what can no longer be sent in time; whether there was any."""
        expired = False
        while queue.ready and queue.ready[0][0] <= wall:
            entry = heappop(queue.ready)[2]
            expired = True
            late = [s for s in self._own(entry) if (due := s.update.deadline) is not None and due <= wall]
            self._sender.withdraw(entry, late, lead=True)
            for row in late:
                self._emit(NotSent(update=row.update, reason="expired"))
        return expired

    def _come_back_in(self, seconds: float) -> None:
        if seconds < inf and self._room_timer is None:
            self._room_timer = self._loop.call_later(seconds, self._room)

    def _room(self) -> None:
        self._room_timer = None
        self._wake()

    def _stop_account(self, queue: _Queue, error: XMediaMetaError) -> None:
        """No row of this account is sent any more; the run ends where no account is left."""
        if queue.stopped is not None:
            return
        queue.stopped = error
        self._release_withheld(queue, error)
        if queue in self._open:
            self._open.remove(queue)
        while queue.ready:
            self._settle_unsent(heappop(queue.ready)[2], "account_stopped", error)
        for entry in [e for e in self._delayed if e.account == queue.account.name]:
            self._delayed.pop(entry).cancel()
            self._settle_unsent(entry, "account_stopped", error)
        if error.scope == "run":
            self._halt(error, "run_stopped")
        elif self._sender.accounts.finite == sum(q.stopped is not None for q in self._queues.values()):
            self._halt(error, "account_stopped")

    def _halt(self, error: BaseException | None, reason: Reason) -> None:
        """Send nothing more; what is in flight finishes."""
        if self._reason is not None:
            return
        self._reason, self._stop = reason, error
        self._drop_queued()
        self._finish_if_over()

    def _drop_queued(self) -> None:
        reason, error = self._reason or "closed", self._stop_error()
        for timer in self._delayed.values():
            timer.cancel()
        delayed = list(self._delayed)
        self._delayed.clear()
        for entry in delayed:
            self._settle_unsent(entry, reason, error)
        for queue in self._queues.values():
            self._release_withheld(queue, queue.stopped)
            while queue.ready:
                self._settle_unsent(heappop(queue.ready)[2], reason, error)

    def _stop_error(self) -> XMediaMetaError | None:
        return self._stop if isinstance(self._stop, XMediaMetaError) else None

    def _settle_unsent(self, entry: Entry, reason: Reason, error: XMediaMetaError | None) -> None:
        """This run sends the entry no more: its rows end, and others who share it may go on with it."""
        rows = self._own(entry)
        self._sender.withdraw(entry, rows)
        for row in rows:
            self._emit(NotSent(update=row.update, reason=reason, error=error))

    def _own(self, entry: Entry) -> list[_Row]:
        return [sharer for sharer in entry.sharers if isinstance(sharer, _Row) and sharer.run is self]

    def _withhold(self, queue: _Queue, entry: Entry, error: XMediaMetaError) -> None:
        rows = self._own(entry)
        queue.withheld.extend((row, error) for row in rows)
        self._held += len(rows)
        entry.sharers = [sharer for sharer in entry.sharers if sharer not in rows]
        self._sender.settle(entry, error)

    def _release_withheld(self, queue: _Queue, stopped: XMediaMetaError | None) -> None:
        withheld, queue.withheld = queue.withheld, []
        self._held -= len(withheld)
        for row, error in withheld:
            if stopped is None:
                self._emit(Failed(update=row.update, error=error))
            else:
                self._emit(NotSent(update=row.update, reason="account_stopped", error=stopped))

    # Outcomes, workers

    def _emit(self, outcome: Outcome) -> None:
        self._rows -= 1
        self._out.append(outcome)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if self._rows == self._held and (self._next is None or self._reason is not None):
            self._loop.call_soon(self._finish_if_over)

    def _spawn(self) -> None:
        worker = self._loop.create_task(self._work())
        self._workers.add(worker)
        worker.add_done_callback(self._ended)

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            # A defect of ours must end the run with its traceback, not hang it.
            self._halt(error, "run_stopped")
            self._finish()

    def _wake(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return

    def _finish_if_over(self) -> bool:
        """Finish where every row has its outcome and no more will be taken."""
        drawn = self._reason is not None or (self._next is None and not self._pulling)
        if drawn and self._rows == self._held and not self._done:
            self._finish()
        return self._done

    def _finish(self) -> None:
        if self._done:
            return
        self._done = True
        stopped = [queue.stopped for queue in self._queues.values()]
        if self._reason is None and stopped and all(stopped):
            self._stop = stopped[-1]  # no account is left
        for queue in self._queues.values():
            self._release_withheld(queue, queue.stopped)
            queue.account.gate.forget(queue.opened)
        for timer in self._timers:
            timer.cancel()
        if self._room_timer is not None:
            self._room_timer.cancel()
        while self._idle:
            self._wake()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def _as_far_as_known(given: object) -> Update:
    """An update to show in an outcome, from a mapping that is none."""
    mapping = cast("Mapping[str, object]", given) if isinstance(given, Mapping) else {}
    media_id, ref, account = (mapping.get(name) for name in ("id", "ref", "account"))
    return Update(
        media_id if isinstance(media_id, str) else "",
        account=account if isinstance(account, str) else None,
        ref=ref if isinstance(ref, str | int) else None,
    )
