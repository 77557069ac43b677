"""One update on its way: a ticket, a request, the verdict on its answer, and who is told of it.

`attempt` is a single request. `step` is what follows a failure: the verdict, already carried out where it concerns more
than the update (an account or an app is stopped). What a caller does in between (wait in its own task, as `calls` does,
or give its place to other work, as bulk does) is its own affair.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from .accounts import Account, Accounts, Stop
from .attempts import Course, Retrier
from .clock import ServerClock
from .coalesce import Entry, Lanes, Sharer
from .congestion import Congestion
from .errors import (
    AuthError,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    OutageTooLong,
    ProblemError,
    RateLimited,
    TransportError,
    Unauthorized,
    XMediaMetaError,
)
from .hooks import Hooks, Stopped, tell
from .ledger import Ticket
from .limits import read_windows
from .told import about, extras, named, of_account
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
        hooks: Hooks,
    ) -> None:
        self.transport = transport
        self.accounts = accounts
        self.clock = clock
        self.retrier = retrier
        self.hooks = hooks
        self.lanes = Lanes()
        self.quota = RetryQuota()
        self.congestion = Congestion()
        self.loop = asyncio.get_running_loop()
        self._time = self.loop.time
        self.requests = self.retries = self.applied = self.failed = 0
        self._outage_told = False
        self._calm = True  # nothing has failed of late, so that a success changes nothing
        accounts.renewal.stop = self.out

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
        course: Any = entry.course
        entry.started = True
        entry.signed_with = account.credential
        entry.attempts += 1
        self.requests += 1
        gate, sent_at = account.gate, self._time()
        if entry.attempts > 1:
            self.retries += 1
        else:
            entry.began = sent_at
        try:
            answer = await self.transport.post(account.session, entry.body, fresh=course is not None and course.stale)
        except XMediaMetaError as error:
            error.__traceback__ = None  # an outcome may be kept, and is not to keep our frames alive
            sent = error.maybe_applied if isinstance(error, TransportError) else True
            gate.ledger.release(ticket, self.loop.time(), maybe_sent=sent)
            gate.changed()
            result: Result = self._failed(account, entry, error, sent_at)
            if self.hooks.attempt:
                self.hooks.attempted(account.name, entry, None, result, self.loop.time() - sent_at)
            return result
        except BaseException:
            gate.ledger.release(ticket, self.loop.time(), maybe_sent=True)
            gate.changed()
            raise
        now = self._time()
        result = self._told(account, entry, ticket, answer, sent_at, now)
        gate.changed()
        if self.hooks.attempt:
            self.hooks.attempted(account.name, entry, answer[:2], result, now - sent_at)
        return result

    def _told(
        self, account: Account, entry: Entry, ticket: Ticket, answer: Answer, sent_at: float, now: float
    ) -> Result:
        status, headers, payload = answer
        date = server_date(headers)
        if date is not None:
            self.clock.observe(date, now)
        result = decipher(status, headers, payload, media_id=entry.update.id)
        ledger = account.gate.ledger
        if type(result) is RateLimited:
            ledger.refuse(ticket, result.windows, now, result.retry_after)
            return self._failed(account, entry, result, sent_at)
        ledger.observe(ticket, read_windows(headers), now, conclusive=status < 500)
        if type(result) is Reply:
            entry.seconds = now - entry.began
            if self._calm and account.calm and account.stop is account.group.stop is None:
                self.congestion.good_at = now
            else:
                self._succeeded(account, entry, now)
            return result
        assert isinstance(result, ProblemError)  # noqa: S101
        return self._failed(account, entry, result, sent_at)

    def _succeeded(self, account: Account, entry: Entry, now: float) -> None:
        """A success after some failure: the brakes are let go step by step."""
        course = entry.course
        self._outage_told = False
        self.quota.refill(course.cost or 1 if isinstance(course, Course) else 1)
        self.congestion.succeeded(self.transport.in_flight + 1, now)
        account.streak.succeeded()
        account.calm = True
        self._calm = self.quota.full and self.congestion.calm
        if account.stop is not None or account.group.stop is not None:
            log.info("%s is back", named(account.name), extra=extras(account.name, entry))
            account.healed()

    def _failed(self, account: Account, entry: Entry, error: XMediaMetaError, sent_at: float) -> XMediaMetaError:
        error.about(entry.update.id, entry.update.ref, account.name, entry.attempts)
        self._calm = account.calm = False
        course = entry.course
        if not isinstance(course, Course):
            course = entry.course = self.retrier.course(sent_at)
        course.sent_at = sent_at
        now = self.loop.time()
        entry.seconds = now - entry.began
        if error.scope == "retry":
            self.congestion.failed(entry.update.id, self.transport.in_flight + 1, sent_at, now)
        elif isinstance(error, ProblemError) and not isinstance(error, RateLimited):
            self.congestion.succeeded(self.transport.in_flight + 1, now)  # a plain refusal is a usable answer
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
        if isinstance(error, ClientClosed) or (bulk and isinstance(error, ConnectFailed) and not error.retryable):
            # Nothing can be sent: not by this client, or (a certificate that does not fit) not by this run.
            return StopRun(), error
        if account.streak.failed(error):
            error = of_account(error)
            self.stop(account, entry, error)
            return StopAccount(), error
        outage = bulk and self.congestion.outage
        if course.refreshed and isinstance(error, Unauthorized) and self.accounts.outlived(account, entry.signed_with):
            course.refreshed = False  # this 401 is about a token that has ended since, and not about the renewed one
        verdict = course.after(
            error,
            now,
            refreshable=self.accounts.refreshable,
            excused=outage,
            patient=bulk and self.congestion.good_at < course.began,
        )
        if isinstance(verdict, RefreshToken):
            step = await self._refresh(account, entry, error, course.sent_at)
            # Only now: whoever is cancelled meanwhile leaves the update to those who share it.
            course.refreshed = True
            return step
        if isinstance(verdict, StopAccount | StopRun):
            self.stop(account, entry, error, group=isinstance(verdict, StopRun))
        elif isinstance(verdict, Retry):
            seconds = self.congestion.outage_seconds(now)
            if bulk and seconds > self.retrier.policy.max_outage:
                error = OutageTooLong(seconds, error)
                if not self._outage_told:
                    self._outage_told = True
                    log.warning("stopped: %s", error, extra=extras(account.name, entry))
                return StopRun(), error
            # During an outage `congestion` lets single probes through: the quota is for the time before and after.
            course.cost = 0
            verdict = verdict if outage else self._within_quota(course, error, verdict, bulk=bulk)
        if self.hooks.retry and isinstance(verdict, Retry | WaitForWindow):
            after = verdict.after or 0.0 if isinstance(verdict, Retry) else None
            self.hooks.retrying(account.name, entry, error, after)
        if isinstance(verdict, WaitForWindow):
            log.info(
                "%s after attempt %d, again when the window opens", type(error).__name__, entry.attempts,
                extra=extras(account.name, entry, error),
            )  # fmt: skip
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

    async def _refresh(self, account: Account, entry: Entry, error: XMediaMetaError, sent_at: float) -> Step:
        try:
            if await self.accounts.refresh(account, entry.signed_with, sent_at):
                log.info("another credential for %s", named(account.name), extra=extras(account.name, entry, error))
                return Retry(0.0), error
        except XMediaMetaError as worse:
            error = worse
            error.about(entry.update.id, entry.update.ref, account.name, entry.attempts)
        else:
            if account.stop is not None and isinstance(account.stop.error, AuthError):
                error = copy.copy(account.stop.error)  # what others met who looked for another credential
                error.about(entry.update.id, entry.update.ref, account.name, entry.attempts)
        self.stop(account, entry, error)
        return StopAccount(), error

    def stop(self, account: Account, entry: Entry, error: XMediaMetaError, *, group: bool = False) -> None:
        """Take an account, or all accounts of its app, out of action until it heals.

        What is out already is told the newer reason from then on: that is what somebody has to mend now.
        """
        holder = account.group if group else account
        stop = holder.stop
        if group and account.stop is not None and account.stop.prober is entry:
            account.stop = None  # the probe came further than what had stopped the account
        if stop is not None and type(stop.error) is type(error) and stop.prober is not entry:
            return
        # A copy, which is about no one media: the error itself is raised, and a traceback is not to be kept.
        lasting = copy.copy(error)
        lasting.about(None, None, account.name)
        if stop is None:
            holder.stop = Stop(lasting, self.loop.time())
        else:
            before, stop.error = stop.error, lasting
            if type(before) is type(error):
                return
        log.warning("stopped: %s", error, extra=extras(account.name, entry, error))
        tell(self.hooks.stop, Stopped(account=account.name, all_of_its_app=group, error=lasting))

    def out(self, account: Account, error: XMediaMetaError) -> None:
        """Take an account out that has no token to send anything with."""
        lasting = copy.copy(error)
        account.stop = Stop(lasting, self.loop.time())
        log.warning("stopped: %s", error, extra=about(error))
        tell(self.hooks.stop, Stopped(account=account.name, all_of_its_app=False, error=lasting))

    # Settled

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
