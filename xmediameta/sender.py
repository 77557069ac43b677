"""One update on its way: a ticket, a request, the verdict on its answer, and who is told of it.

`attempt` is a single request. `step` is what follows a failure: the verdict, already carried out where it concerns more
than the update (an account or an app is stopped). What a caller does in between (wait in its own task, or give its
place to other work) is its own affair: `deliver` does the first, for interactive calls; bulk does the second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from .accounts import Account, Accounts, Stop
from .attempts import Course, Retrier
from .clock import ServerClock
from .coalesce import Entry, Lanes, Sharer
from .congestion import Congestion
from .errors import (
    ConnectionLost,
    OutageTooLong,
    ProblemError,
    RateLimited,
    TransportError,
    XMediaMetaError,
)
from .ledger import Ticket
from .limits import read_windows
from .transport import Answer, Transport
from .verdict import FailUpdate, RefreshToken, Retry, RetryQuota, StopAccount, StopRun, Verdict, WaitForWindow
from .wire import Reply, decipher, server_date

log: Final = logging.getLogger("xmediameta")

Result = Reply | XMediaMetaError
Step = tuple[Verdict, XMediaMetaError]

# Seconds that bulk waits for a retry while the retry quota is drained.
_DRAINED: Final = 5.0


class Stats(Struct, frozen=True, kw_only=True):
    """What a client has done so far.

    Attributes:
        requests: sent, retries and refusals included.
        retries: requests that repeated an earlier one of the same update.
        applied, failed: updates, each shared request once.
        in_flight: requests on the wire now.
    """

    requests: int
    retries: int
    applied: int
    failed: int
    in_flight: int


class Sender:
    """What all ways in share: lanes, accounts, the brakes, the counters."""

    def __init__(
        self,
        transport: Transport,
        accounts: Accounts,
        clock: ServerClock,
        retrier: Retrier,
    ) -> None:
        self.transport = transport
        self.accounts = accounts
        self.clock = clock
        self.retrier = retrier
        self.lanes = Lanes()
        self.quota = RetryQuota()
        self.congestion = Congestion()
        self.loop = asyncio.get_running_loop()
        self.requests = self.retries = self.applied = self.failed = 0

    def stats(self) -> Stats:
        """The counters as they are now."""
        return Stats(
            requests=self.requests,
            retries=self.retries,
            applied=self.applied,
            failed=self.failed,
            in_flight=self.transport.in_flight,
        )

    # One request

    async def attempt(self, account: Account, entry: Entry, ticket: Ticket) -> Result:
        """Send one request and take in what it tells of the windows. Failures are returned, not raised."""
        course = entry.course
        entry.started = True
        entry.signed_with = account.credential
        entry.attempts += 1
        self.requests += 1
        if entry.attempts > 1:
            self.retries += 1
        gate = account.gate
        try:
            answer = await self.transport.post(
                account.session, entry.body, fresh=isinstance(course, Course) and course.stale
            )
        except XMediaMetaError as error:
            sent = error.maybe_applied if isinstance(error, TransportError) else True
            gate.ledger.release(ticket, self.loop.time(), maybe_sent=sent)
            gate.changed()
            return self._failed(account, entry, error)
        except BaseException:
            gate.ledger.release(ticket, self.loop.time(), maybe_sent=True)
            gate.changed()
            raise
        result = self._told(account, entry, ticket, answer)
        gate.changed()
        return result

    def _told(self, account: Account, entry: Entry, ticket: Ticket, answer: Answer) -> Result:
        status, headers, payload = answer
        now = self.loop.time()
        date = server_date(headers)
        if date is not None:
            self.clock.observe(date, now)
        result = decipher(status, headers, payload, media_id=entry.update.id)
        ledger = account.gate.ledger
        if type(result) is RateLimited:
            ledger.refuse(ticket, result.windows, now, result.retry_after)
            return self._failed(account, entry, result)
        ledger.observe(ticket, read_windows(headers), now, conclusive=status < 500)
        if isinstance(result, Reply):
            self._succeeded(account, entry)
            return result
        return self._failed(account, entry, result)

    def _succeeded(self, account: Account, entry: Entry) -> None:
        course = entry.course
        self.quota.refill(course.cost or 1 if isinstance(course, Course) else 1)
        self.congestion.succeeded(self.transport.in_flight + 1)
        account.streak.succeeded()
        if account.stop is not None or account.group.stop is not None:
            log.info("account %s is back", account.name, extra=extras(account.name, entry))
            account.healed()

    def _failed(self, account: Account, entry: Entry, error: XMediaMetaError) -> XMediaMetaError:
        error.about(entry.update.id, entry.update.ref, account.name, entry.attempts)
        if error.scope == "retry":
            self.congestion.failed(entry.update.id, self.transport.in_flight + 1, self.loop.time())
        elif isinstance(error, ProblemError) and not isinstance(error, RateLimited):
            self.congestion.succeeded(self.transport.in_flight + 1)  # a plain refusal is a usable answer
        return error

    # After a failure

    async def step(self, account: Account, entry: Entry, error: XMediaMetaError, *, bulk: bool) -> Step:
        """What to do about a failure; stops are carried out here.

        Args:
            bulk: whether the update has time: a drained retry quota then delays it, and an outage does not count.

        Returns:
            The verdict, and the error that stands if nothing more is sent.
        """
        now = self.loop.time()
        course = entry.course
        if not isinstance(course, Course):
            course = entry.course = self.retrier.course(now)
        if account.streak.failed(error):
            self.stop(account, error)
            return StopAccount(), error
        outage = bulk and self.congestion.outage
        verdict = course.after(error, now, refreshable=self.accounts.refreshable, excused=outage)
        if isinstance(verdict, RefreshToken):
            course.refreshed = True
            return await self._refresh(account, entry, error)
        if isinstance(verdict, StopAccount | StopRun):
            self.stop(account, error, group=isinstance(verdict, StopRun))
        elif isinstance(verdict, Retry):
            seconds = self.congestion.outage_seconds(now)
            if bulk and seconds > self.retrier.policy.max_outage:
                return StopRun(), OutageTooLong(seconds, error)
            verdict = self._within_quota(course, error, verdict, bulk=bulk)
        if isinstance(verdict, Retry):
            course.stale = isinstance(error, ConnectionLost) and error.stale
            log.info(
                "%s after attempt %d, again in %.2f s", type(error).__name__, entry.attempts, verdict.after or 0.0,
                extra=extras(account.name, entry, error),
            )  # fmt: skip
        return verdict, error

    def _within_quota(self, course: Course, error: XMediaMetaError, verdict: Retry, *, bulk: bool) -> Verdict:
        cost = self.quota.try_take(error)
        course.cost = cost or 0
        if cost is not None:
            return verdict
        # The bucket is drained: a caller who waits is told now; bulk has time, and slows down.
        return Retry(max(verdict.after or 0.0, _DRAINED)) if bulk else FailUpdate()

    async def _refresh(self, account: Account, entry: Entry, error: XMediaMetaError) -> Step:
        try:
            if await self.accounts.refresh(account, entry.signed_with):
                return Retry(0.0), error
        except XMediaMetaError as worse:
            worse.about(entry.update.id, entry.update.ref, account.name, entry.attempts)
            error = worse
        self.stop(account, error)
        return StopAccount(), error

    def stop(self, account: Account, error: XMediaMetaError, *, group: bool = False) -> None:
        """Take an account, or all accounts of its app, out of action until it heals."""
        holder = account.group if group else account
        if holder.stop is None:
            holder.stop = Stop(error, self.loop.time())
            log.warning("stopped: %s", error, extra={"account": account.name, "x_transaction_id": _transaction(error)})

    # Interactive calls

    async def deliver(self, account: Account, entry: Entry, *, max_wait: float | None) -> Result:
        """Send an entry in the caller's task until it is settled."""
        while True:
            refusal = account.refusal(self.loop.time())
            if refusal is not None:
                return refusal
            try:
                ticket = await account.gate.enter(interactive=True, max_wait=max_wait)
            except XMediaMetaError as error:
                error.about(entry.update.id, entry.update.ref, account.name, entry.attempts)
                return error
            result = await self.attempt(account, entry, ticket)
            if isinstance(result, Reply):
                return result
            verdict, result = await self.step(account, entry, result, bulk=False)
            if isinstance(verdict, Retry):
                await asyncio.sleep(verdict.after or 0.0)
            elif not isinstance(verdict, WaitForWindow):
                return result

    def settle(self, entry: Entry, result: Result) -> None:
        """Tell all who share an entry, and move its lane on."""
        if isinstance(result, Reply):
            self.applied += 1
        else:
            self.failed += 1
        for sharer in entry.sharers:
            sharer.deliver(entry, result)
        self.advance(entry)

    def advance(self, entry: Entry) -> None:
        """Move a lane on to its next entry."""
        head = self.lanes.finish(entry)
        if head is not None:
            head.sharers[0].lead(head)

    def withdraw(self, entry: Entry, gone: Iterable[Sharer], *, lead: bool = False) -> None:
        """Some of those who share an entry wait no more; another leads in their place, or the lane moves on.

        Args:
            lead: whether nobody sends the entry now, so that whoever is first must.
        """
        leaving = {id(sharer) for sharer in gone}
        led = bool(entry.sharers) and id(entry.sharers[0]) in leaving
        entry.sharers = [sharer for sharer in entry.sharers if id(sharer) not in leaving]
        if not entry.head:
            return
        if not entry.sharers:
            self.advance(entry)
        elif led or lead:
            entry.sharers[0].lead(entry)


def extras(account: str | None, entry: Entry, error: XMediaMetaError | None = None) -> dict[str, object]:
    """The structured fields of a log record."""
    return {
        "account": account,
        "media_id": entry.update.id,
        "ref": entry.update.ref,
        "attempt": entry.attempts,
        "x_transaction_id": _transaction(error),
    }


def _transaction(error: XMediaMetaError | None) -> str | None:
    return error.transaction_id if isinstance(error, ProblemError) else None
