"""What a run sends next, and what becomes of it.

A row that must be tried again goes back to its queue: no worker sleeps over it.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine
from contextlib import suppress
from math import inf
from typing import Any, Final, Protocol

from xmediameta.coalesce import Entry
from xmediameta.errors import BudgetReached, JournalError, XMediaMetaError
from xmediameta.ledger import Ticket
from xmediameta.outcomes import Reason
from xmediameta.sender import Sender
from xmediameta.told import reason_of
from xmediameta.verdict import FailUpdate, Retry, StopAccount, Verdict, WaitForWindow
from xmediameta.wire import Reply

from .endings import Endings
from .options import Options
from .queues import AccountQueue, Queues

Job = Coroutine[Any, Any, None]
# A timer may fire a rounding error early, and would be set for that error again and again.
_SHORTEST_PAUSE: Final = 0.001  # seconds


class Halting(Protocol):
    """The run, as it is seen from here."""

    def halt(self, error: BaseException | None, reason: Reason) -> None:
        """Send nothing more."""
        ...

    def lead(self, entry: Entry) -> None:
        """See that an entry is sent."""
        ...

    def wake(self) -> None:
        """There may be something to do."""
        ...


class Dispatch:
    """Picks, sends, tries again and gives up, for one run.

    Args:
        recording: gives what is done once all that has ended is recorded, or None where it is; a request counts as in
            flight until then.

    Attributes:
        requests, retries: sent so far.
        before: requests of earlier sittings, which count for the budget too.
        in_flight: on the wire now.
        dated: whether any row has a `send_before`.
        hungry: whether more input could give the workers something to do.
        more: whether somebody else is to look for more while the last job is done.
    """

    __slots__ = (
        "_delayed", "_endings", "_loop", "_options", "_pause", "_queues", "_recording", "_run", "_sender", "_wall",
        "before", "dated", "hungry", "in_flight", "more", "requests", "retries",
    )  # fmt: skip

    def __init__(
        self,
        run: Halting,
        sender: Sender,
        queues: Queues,
        endings: Endings,
        options: Options,
        recording: Callable[[], asyncio.Future[None] | None] | None = None,
    ) -> None:
        self._run = run
        self._recording = recording
        self._sender = sender
        self._loop = sender.loop
        self._wall: Callable[[], float] = sender.accounts.wall
        self._queues = queues
        self._endings = endings
        self._options = options
        self._delayed: dict[Entry, asyncio.TimerHandle] = {}
        self._pause: asyncio.TimerHandle | None = None
        self.requests = self.retries = self.in_flight = self.before = 0
        self.dated = False
        self.hungry = self.more = True

    def push(self, entry: Entry) -> None:
        """An entry of this run is at the head of its lane: put it where it belongs, or move it ahead there."""
        queue = self._queues[entry.account]
        due = entry.due
        if queue.stopped is not None:
            self._endings.unsent(entry, reason_of(queue.stopped), queue.stopped)
        elif due is not None and due <= (wall := self._earliest(queue)):
            if entry.ticket:
                queue.take(entry)
            self._endings.expire(entry, wall)
        else:
            self.dated = self.dated or due is not None
            self._queues.push(queue, entry)
            self._run.wake()

    # Picking

    def at_once(self, entry: Entry) -> Job | None:
        """Send an entry that was drawn just now, where nothing waits and nothing is in the way; None: it must queue."""
        queue = self._queues.free(entry.account)
        if queue is None or entry.due is not None or self.dated or self.in_flight >= self._options.concurrency:
            return None
        account = queue.account
        if account is None or account.stopped or self._sender.congestion.limit != inf:
            return None
        if self.spent or not self._endings.room or (ticket := account.gate.try_enter()) is None:
            return None
        self._queues.order(entry)
        return self._sending(queue, entry, ticket)

    def next(self) -> Job | None:
        """What a worker is to do now; None where nothing can be done."""
        self.hungry = True
        endings, queues, congestion = self._endings, self._queues, self._sender.congestion
        while (queue := queues.first()) is not None and endings.room:
            now = self._loop.time()
            account = queue.account
            if self.dated and self._expire(queue, self._wall()):
                continue
            if account is None:
                job = self._find(queue)
                if job is not None:
                    self.more = True
                    return job
                continue
            entry = queue.next()
            stopped = account.stopped
            if stopped and (refusal := account.blocked(now, entry)) is not None:
                self.stop_account(queue, refusal)
                continue
            if self.in_flight >= self._options.concurrency:
                self.hungry = False
                return None
            if congestion.limit != inf and (seconds := congestion.room(self.in_flight, now)):
                self.hungry = False
                self._pause_for(seconds)
                return None
            if self.spent:
                most = self._options.max_requests or 0
                self._run.halt(BudgetReached("requests", limit=most, spent=self.before + self.requests), "budget")
                return None
            ticket = account.gate.try_enter()
            if ticket is None:
                self._await_gate(queues.set_aside())
                continue
            if congestion.limit != inf:
                congestion.sent(now)
            if stopped:
                # A probe: the rest of the account waits for what comes of it.
                account.probe(now, entry)
                queues.set_aside().probe = entry
            else:
                queues.turn()
            return self._sending(queue, queue.take(entry), ticket)
        return None

    def _sending(self, queue: AccountQueue, entry: Entry, ticket: Ticket) -> Job:
        """The job of whoever sends an entry; nobody else looks for more if it takes the last place."""
        self.more = self.in_flight + 1 < self._options.concurrency
        return self.serve(queue, entry, ticket)

    @property
    def spent(self) -> bool:
        """Whether the run may send no more requests."""
        most = self._options.max_requests
        return most is not None and self.before + self.requests >= most

    def _find(self, queue: AccountQueue) -> Job | None:
        """Find the account of the first queue; a job where that takes time."""
        try:
            account = self._sender.accounts.peek(queue.name)
        except XMediaMetaError as error:
            self._not_found(queue, error)
            return None
        if account is None:
            return self._ask(self._queues.set_aside())
        queue.hold(account)
        return None

    async def _ask(self, queue: AccountQueue) -> None:
        try:
            account = await self._sender.accounts.get(queue.name)
        except XMediaMetaError as error:
            self._not_found(queue, error)
        else:
            if queue:
                queue.hold(account)
        self._queues.open(queue)

    def _not_found(self, queue: AccountQueue, error: XMediaMetaError) -> None:
        if error.scope != "update":
            self.stop_account(queue, error)
            return
        for entry in queue.drain():
            mine = copy.copy(error)
            mine.about(entry.update.id, entry.update.ref, queue.name)
            self._sender.settle(entry, mine)

    # Sending

    async def serve(self, queue: AccountQueue, entry: Entry, ticket: Ticket, *, smooth: bool = True) -> None:
        """Send one entry once, and decide what becomes of it."""
        sender, account = self._sender, queue.account
        assert account is not None  # noqa: S101 - a queue holds its account while it has something to do
        self.in_flight += 1
        self.requests += 1
        queue.busy += 1
        sent = settled = False
        try:
            if smooth:
                await account.gate.smooth()
            sent = True
            self.retries += entry.attempts > 0
            result = await sender.attempt(account, entry, ticket)
            if isinstance(result, Reply):
                settled = True
                if queue.withheld:
                    self._endings.release(queue)
                sender.settle(entry, result)
            else:
                verdict, result = await sender.step(account, entry, result, bulk=True)
                settled = True
                self._act(queue, entry, result, verdict)
            if self._recording is not None and (recording := self._recording()) is not None:
                with suppress(JournalError):  # the run is told of it otherwise
                    await recording
        finally:
            self.in_flight -= 1
            queue.busy -= 1
            if not sent:
                self.requests -= 1
                account.gate.ledger.release(ticket, self._loop.time(), maybe_sent=False)
                account.gate.changed()
            if not settled:
                self._endings.unsent(entry, self._endings.reason or "closed")
            if queue.probe is entry and entry not in self._delayed:
                self._probed(queue, entry)
            if self._queues.many:
                self._queues.done_with(queue)

    def _act(self, queue: AccountQueue, entry: Entry, error: XMediaMetaError, verdict: Verdict) -> None:
        """Carry out what was decided about a failure."""
        endings = self._endings
        if isinstance(verdict, Retry | WaitForWindow):
            if endings.reason is not None:
                endings.unsent(entry, endings.reason, error if endings.error is None else None)
            elif isinstance(verdict, Retry) and verdict.after:
                queue.busy += 1
                self._delayed[entry] = self._loop.call_later(verdict.after, self._again, queue, entry)
            else:
                self._run.lead(entry)
        elif isinstance(verdict, FailUpdate):
            if queue.stopped is None and self._streak_counts(queue, error):
                endings.withhold(queue, entry, error)
            self._sender.settle(entry, error)
        elif isinstance(verdict, StopAccount):
            self.stop_account(queue, error)
            endings.unsent(entry, "account_stopped", error)
        else:
            self._run.halt(error, reason_of(error))
            endings.unsent(entry, endings.reason or "run_stopped", error)

    @staticmethod
    def _streak_counts(queue: AccountQueue, error: XMediaMetaError) -> bool:
        return queue.account is not None and queue.account.streak.counts(error)

    def _again(self, queue: AccountQueue, entry: Entry) -> None:
        del self._delayed[entry]
        queue.busy -= 1
        self._run.lead(entry)
        self._probed(queue, entry)

    def _probed(self, queue: AccountQueue, entry: Entry) -> None:
        """Where an entry was a probe, the account goes on: with the same probe, if that has told nothing yet."""
        if queue.probe is entry:
            if not entry.ticket:
                queue.probe = None
            self._queues.open(queue)

    # Waiting

    def _await_gate(self, queue: AccountQueue) -> None:
        """An account, set aside, must wait for its window or the pace."""
        account, most = queue.account, self._options.max_wait
        if account is None:
            return
        until = account.gate.shut_until(interactive=False)
        if until is not None:
            if most is not None and until - self._loop.time() > most:
                self.stop_account(queue, account.gate.too_long(most, interactive=False))
                return
            if self.dated:
                self._expire(queue, self._earliest(queue))
        if queue:
            self._queues.wait(queue)
        else:
            queue.aside = False

    def _earliest(self, queue: AccountQueue) -> float:
        """When the next request of an account may leave at the earliest (Unix seconds), as far as it is known."""
        until = None if queue.account is None else queue.account.gate.shut_until(interactive=False)
        return self._wall() + (0.0 if until is None else max(0.0, until - self._loop.time()))

    def _expire(self, queue: AccountQueue, wall: float) -> bool:
        """End what had to be sent by then; whether there was any."""
        expired = False
        for entry in queue.late(wall):
            expired = True
            self._endings.expire(entry, wall)
        return expired

    def _pause_for(self, seconds: float) -> None:
        """The server is in trouble: come back later, or (inf) when a request has ended."""
        if seconds < inf and self._pause is None:
            self._pause = self._loop.call_later(max(seconds, _SHORTEST_PAUSE), self._paused)

    def _paused(self) -> None:
        self._pause = None
        self._run.wake()

    # Stopping

    def stop_account(self, queue: AccountQueue, error: XMediaMetaError) -> None:
        """No row of this account is sent any more; the run ends where no account is left."""
        if queue.stopped is not None:
            return
        queue.stopped = error
        self._endings.release(queue)
        self._queues.close(queue)
        reason = reason_of(error)
        self._drop([queue], reason, error)
        if error.scope == "run" or self._sender.accounts.finite == self._queues.stopped:
            self._run.halt(error, reason)

    def drop_all(self, reason: Reason) -> None:
        """Nothing that waits is sent."""
        self._drop(list(self._queues), reason, None)

    def close(self) -> None:
        """The run is over."""
        if self._pause is not None:
            self._pause.cancel()

    def _drop(self, queues: list[AccountQueue], reason: Reason, error: XMediaMetaError | None) -> None:
        names = {queue.name for queue in queues}
        for entry in [entry for entry in self._delayed if entry.account in names]:
            self._delayed.pop(entry).cancel()
            self._queues[entry.account].busy -= 1
            self._endings.unsent(entry, reason, error)
        for queue in queues:
            for entry in queue.drain():
                self._endings.unsent(entry, reason, error)

    def __repr__(self) -> str:
        return f"<Dispatch {self.requests} requests, {self.in_flight} in flight>"
