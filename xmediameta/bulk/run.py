"""A stream of updates, many in flight, one outcome for each.

N workers draw from the queues, and a worker that finds nothing to send draws from the caller's iterable. A row that
must be tried again goes back to its queue: no worker sleeps over it. Order per media id is kept by the client's lanes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from math import inf
from types import TracebackType
from typing import Final, Self, cast

from xmediameta.coalesce import Coalesce, Entry
from xmediameta.errors import BudgetReached, XMediaMetaError
from xmediameta.ledger import Ticket
from xmediameta.models import Update
from xmediameta.outcomes import NotSent, Outcome, Reason
from xmediameta.sender import Sender
from xmediameta.verdict import FailUpdate, Retry, StopAccount, Verdict, WaitForWindow
from xmediameta.wire import Reply, encode

from .crew import Crew, Shelf
from .queues import AccountQueue, Queues
from .rows import Given, Row, as_far_as_known, unsuccessful

_UNREAD: Final = 4  # outcomes that may wait for the reader, per request in flight
_LEAST_UNREAD: Final = 64


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
        updates: Iterable[Given] | AsyncIterable[Given],
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
        self._max_wait = max_wait
        self._coalesce: Coalesce = coalesce
        self._max_requests = max_requests
        self._max_duration = max_duration
        self._lookahead = lookahead
        self._encode = partial(encode, strict=strict)
        self._sender: Sender
        self._loop: asyncio.AbstractEventLoop
        self._crew: Crew
        self._shelf: Shelf
        self._queues: Queues
        self._source: Iterator[Given] | AsyncIterator[Given] | None = None
        self._waits_for_source = isinstance(updates, AsyncIterable)
        self._pulling = False
        self._dated = False  # whether any update has a send_before
        self._rows = 0  # taken and without an outcome
        self._withheld = 0  # of these, withheld (see AccountQueue)
        self._hungry = True  # whether more input could give the workers something to do
        self._delayed: dict[Entry, asyncio.TimerHandle] = {}
        self._stop: BaseException | None = None
        self._reason: Reason | None = None
        self._done = False
        self._deadline: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self.requests = self.retries = self.in_flight = self.taken = 0

    # What a caller sees

    def stop(self) -> None:
        """Send nothing more: what is in flight finishes, the rest that was taken ends as `NotSent("closed")`."""
        self._halt(None, "closed")

    @property
    def waiting_until(self) -> datetime | None:
        """When the first account goes on, where all that have work wait for a window; else None."""
        return None if self._done or self.in_flight else self._queues.waiting_until

    async def __aenter__(self) -> Self:
        if self._source is not None or self._done:
            raise RuntimeError("a bulk run is used once")
        self._sender = self._opened()
        self._loop = self._sender.loop
        self._crew = Crew(self._work, self._concurrency, self._defect)
        self._shelf = Shelf(max(_UNREAD * self._concurrency, _LEAST_UNREAD), self._crew.call_one)
        self._queues = Queues(self._crew.wake)
        updates = self._updates
        self._source = aiter(updates) if isinstance(updates, AsyncIterable) else iter(updates)
        if self._max_duration is not None:
            budget = BudgetReached("duration", limit=self._max_duration, spent=self._max_duration)
            self._deadline = self._loop.call_later(self._max_duration, self._halt, budget, "budget")
        self._crew.call_one()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._halt(None, "closed")
        try:
            await self._crew.dismiss()
        finally:
            self._drop_waiting()
            self._finish()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        outcome = await self._shelf.take()
        if outcome is not None:
            return outcome
        stop, self._stop = self._stop, None
        raise stop if stop is not None else StopAsyncIteration

    # What rows tell

    def lead(self, entry: Entry) -> None:
        """An entry of this run is at the head of its lane."""
        if self._reason is not None:
            self._end_unsent(entry, self._reason)
        else:
            self._push(self._queues[entry.account], entry)

    def deliver(self, outcome: Outcome) -> None:
        """A row has its outcome."""
        self._rows -= 1
        self._shelf.put(outcome)
        if self._rows == self._withheld and (self._source is None or self._reason is not None):
            # Not at once: whoever delivers may be in the middle of a loop over rows.
            self._loop.call_soon(self._finish_if_over)

    # Drawing from the caller's iterable

    def _may_pull(self) -> bool:
        return (
            self._hungry
            and self._source is not None
            and not self._pulling
            and self._reason is None
            and self._rows < self._lookahead
            and not self._shelf.full
        )

    async def _pull(self) -> None:
        """Take one more update from the iterable, and put it where it belongs."""
        self._pulling = True
        try:
            if self._waits_for_source:
                given = await anext(cast("AsyncIterator[Given]", self._source))
            else:
                given = next(cast("Iterator[Given]", self._source))
        except (StopIteration, StopAsyncIteration):
            self._source = None
        except Exception as error:  # noqa: BLE001 - the caller's iterable: its error is raised at the end
            self._source = None
            self._halt(error, "run_stopped")
        else:
            self.taken += 1
            self._rows += 1
            await self._take(given)
        finally:
            self._pulling = False

    async def _take(self, given: Given) -> None:
        update: Update | None = None
        try:
            update = given if isinstance(given, Update) else Update.from_mapping(given)
            body = self._encode(update)
            accounts = self._sender.accounts
            account = accounts.peek(update.account)
            if account is None:
                account = await accounts.get(update.account)
        except XMediaMetaError as error:
            shown = update if update is not None else as_far_as_known(given)
            error.about(shown.id, shown.ref, shown.account)
            self.deliver(unsuccessful(shown, error))
            return
        if update.send_before is not None:
            self._dated = True
        queue = self._queues.of(account)
        row = Row(self, update)
        entry, leads = self._sender.lanes.add(update, body, update.account, row, self._coalesce, self._encode)
        if leads:
            self._push(queue, entry)

    def _push(self, queue: AccountQueue, entry: Entry) -> None:
        if queue.stopped is not None:
            self._end_unsent(entry, "account_stopped", queue.stopped)
        else:
            self._queues.push(queue, entry)
            self._crew.wake()

    # Sending

    async def _work(self) -> None:
        while not self._done:
            picked = self._pick()
            if picked is not None:
                self._crew.call_one()
                await self._serve(*picked)
            elif self._may_pull():
                await self._pull()
            elif not self._finish_if_over():
                await self._crew.rest()

    def _pick(self) -> tuple[AccountQueue, Entry, Ticket] | None:
        """The next request that may leave now, with its ticket."""
        self._hungry = True
        if self._reason is not None or self._shelf.full:
            return None
        if self._dated and not self._waits_for_source and self._may_pull():
            return None  # look as far ahead as allowed, so that the earliest deadline goes first
        while (queue := self._queues.first()) is not None:
            now = self._loop.time()
            if self._dated and self._expire(queue, time.time()):
                continue
            refusal = queue.account.refusal(now)
            if refusal is not None:
                self._stop_account(queue, refusal)
                continue
            seconds = self._sender.congestion.room(self.in_flight, now)
            if seconds:
                self._hungry = False
                self._pause_for(seconds)
                return None
            if self._max_requests is not None and self.requests >= self._max_requests:
                self._halt(BudgetReached("requests", limit=self._max_requests, spent=self.requests), "budget")
                return None
            ticket = queue.account.gate.try_enter()
            if ticket is not None:
                self._queues.turn()
                return queue, queue.pop(), ticket
            self._await_gate(self._queues.set_aside())
        return None

    async def _serve(self, queue: AccountQueue, entry: Entry, ticket: Ticket) -> None:
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
                if queue.withheld:
                    self._release_withheld(queue)
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
                self._end_unsent(entry, self._reason or "closed")
        self._act(queue, entry, result, verdict)

    def _act(self, queue: AccountQueue, entry: Entry, error: XMediaMetaError, verdict: Verdict) -> None:
        """Carry out what was decided about a failure."""
        if isinstance(verdict, Retry | WaitForWindow):
            if self._reason is not None:
                self._end_unsent(entry, self._reason, error)
            elif isinstance(verdict, Retry) and verdict.after:
                self._delayed[entry] = self._loop.call_later(verdict.after, self._again, queue, entry)
            else:
                self._push(queue, entry)
        elif isinstance(verdict, FailUpdate):
            if queue.stopped is None and queue.account.streak.counts(error):
                self._withhold(queue, entry, error)
            self._sender.settle(entry, error)
        elif isinstance(verdict, StopAccount):
            self._stop_account(queue, error)
            self._end_unsent(entry, "account_stopped", error)
        else:
            self._halt(error, "run_stopped")
            self._end_unsent(entry, "run_stopped", error)

    def _again(self, queue: AccountQueue, entry: Entry) -> None:
        del self._delayed[entry]
        self._push(queue, entry)

    # Waiting

    def _await_gate(self, queue: AccountQueue) -> None:
        """An account must wait for its window or the pace."""
        gate = queue.account.gate
        at = gate.waiting_until
        if at is not None:
            seconds = at - self._loop.time()
            if self._max_wait is not None and seconds > self._max_wait:
                self._stop_account(queue, gate.too_long(self._max_wait))
                return
            if self._dated:
                self._expire(queue, time.time() + seconds)
        if queue:
            self._queues.wait(queue)

    def _expire(self, queue: AccountQueue, wall: float) -> bool:
        """End what cannot be sent by its `send_before`; whether there was any."""
        expired = False
        for entry in queue.late(wall):
            expired = True
            late = [row for row in self._own(entry) if (due := row.update.deadline) is not None and due <= wall]
            self._sender.withdraw(entry, late, lead=True)
            for row in late:
                self.deliver(NotSent(update=row.update, reason="expired"))
        return expired

    def _pause_for(self, seconds: float) -> None:
        """The server is in trouble: come back later, or (inf) when a request has ended."""
        if seconds < inf and self._pause is None:
            self._pause = self._loop.call_later(seconds, self._paused)

    def _paused(self) -> None:
        self._pause = None
        self._crew.wake()

    # Stopping

    def _stop_account(self, queue: AccountQueue, error: XMediaMetaError) -> None:
        """No row of this account is sent any more; the run ends where no account is left."""
        if queue.stopped is not None:
            return
        queue.stopped = error
        if queue.withheld:
            self._release_withheld(queue)
        self._queues.close(queue)
        reason: Reason = "run_stopped" if error.scope == "run" else "account_stopped"
        for entry in queue.drain():
            self._end_unsent(entry, reason, error)
        for entry in [entry for entry in self._delayed if entry.account == queue.account.name]:
            self._delayed.pop(entry).cancel()
            self._end_unsent(entry, reason, error)
        if error.scope == "run" or self._sender.accounts.finite == sum(q.stopped is not None for q in self._queues):
            self._halt(error, reason)

    def _halt(self, error: BaseException | None, reason: Reason) -> None:
        """Send nothing more; what is in flight finishes."""
        if self._reason is None and not self._done:
            self._reason, self._stop = reason, error
            self._drop_waiting()
            self._finish_if_over()

    def _drop_waiting(self) -> None:
        reason = self._reason or "closed"
        for timer in self._delayed.values():
            timer.cancel()
        delayed, self._delayed = list(self._delayed), {}
        for entry in delayed:
            self._end_unsent(entry, reason)
        for queue in self._queues:
            self._release_withheld(queue)
            for entry in queue.drain():
                self._end_unsent(entry, reason)

    def _end_unsent(self, entry: Entry, reason: Reason, error: XMediaMetaError | None = None) -> None:
        """This run sends the entry no more: its rows end, and others who share it may go on with it."""
        if error is None and isinstance(self._stop, XMediaMetaError):
            error = self._stop
        rows = self._own(entry)
        self._sender.withdraw(entry, rows)
        for row in rows:
            self.deliver(NotSent(update=row.update, reason=reason, error=error))

    def _own(self, entry: Entry) -> list[Row]:
        return [sharer for sharer in entry.sharers if isinstance(sharer, Row) and sharer.run is self]

    def _withhold(self, queue: AccountQueue, entry: Entry, error: XMediaMetaError) -> None:
        """Keep back the outcome of a plain 403 until a success, or the end, shows that it is the row's own."""
        rows = self._own(entry)
        queue.withheld.extend((row, error) for row in rows)
        self._withheld += len(rows)
        entry.sharers = [sharer for sharer in entry.sharers if sharer not in rows]

    def _release_withheld(self, queue: AccountQueue) -> None:
        withheld, queue.withheld = queue.withheld, []
        self._withheld -= len(withheld)
        for row, error in withheld:
            self.deliver(unsuccessful(row.update, queue.stopped or error))

    # The end

    def _finish_if_over(self) -> bool:
        """Finish where every row has its outcome and no more will be taken; whether the run is over."""
        drawn = self._reason is not None or (self._source is None and not self._pulling)
        if drawn and self._rows == self._withheld:
            self._finish()
        return self._done

    def _finish(self) -> None:
        if self._done:
            return
        self._done = True
        stopped = [queue.stopped for queue in self._queues]
        if self._reason is None and stopped and all(stopped):
            self._stop = stopped[-1]  # no account is left
        for queue in self._queues:
            self._release_withheld(queue)
        self._queues.forget()
        for timer in (self._deadline, self._pause):
            if timer is not None:
                timer.cancel()
        self._crew.wake_all()
        self._shelf.close()

    def _defect(self, error: BaseException) -> None:
        """A worker failed, which is a defect of ours: end the run with its traceback, and do not hang."""
        self._halt(error, "run_stopped")
        self._finish()

    def __repr__(self) -> str:
        state = "done" if self._done else f"{self.in_flight} in flight"
        return f"<BulkRun {self.taken} taken, {self.requests} requests, {state}>"
