"""The arithmetic of one quota window: how many requests may go now, and until when the rest must wait.

X counts requests in fixed windows: 500 in 15 minutes per user, 50,000 in 24 hours per app, sometimes a cap of 24 hours
per user. A `Window` mirrors one of them; a `Ledger` joins those that bind one account. Time is always an argument (the
loop's monotonic clock), so the same code also runs in virtual time.

What is left. Answers come back in any order, so a single `remaining` is stale as soon as it is read. But whatever the
server had counted when it told the least `remaining` so far is in that number, and all else that it may count was in
flight then or was sent since. So `least - in flight - unsure` is never too high, and exact once the answers are in
(`unsure` are requests that ended without headers, such as a 503, after which none was sent and answered). What others
spent is in it as far as it was told. Before the first answer in a window it is `limit - sent`.

When it ends. A reset is told in whole seconds, up to a second early, and `Date` is cut to the second. `ServerClock`
keeps the best lower bound of the server's clock over all answers, so a window has surely ended once that bound is
`reset + 1`; or once an answer tells a later reset.

Over the edge. A request in flight while a window ends may be counted on either side. It stays charged to the new
window until its answer names the reset of the old one; so does what is unsure then. Serial numbers tell whether a
request was sent before or after a window began.

First contact. In a window about which nothing is known one request goes ahead (of interactive calls up to four) and
the rest follow its headers; likewise after a reset where somebody else had spent of the window before, and, one at a
time whoever calls, after a 429.

Where no reset is told, the documented limits are assumed: no more than the limit within any stretch of the window's
length, as the `Tally` counts it, wherever the server's windows begin. If it tells what remains, then what others
spent of it is tallied as if it had been sent here.

A 429 closes its window until its own reset, whatever was told before. Without a usable one the wait starts at a minute
and doubles up to a quarter of an hour.
"""

from __future__ import annotations

from math import inf
from typing import Final

from .clock import ServerClock
from .limits import RateLimit, WindowName
from .permits import Spent, Ticket, WaitUntil, WindowStatus
from .tally import Tally, Unsure

__all__ = ["DAY", "NOMINAL", "QUARTER", "Ticket", "WaitUntil", "Window", "WindowStatus"]

DAY: Final = 86_400.0
QUARTER: Final = 900.0
NOMINAL: Final[dict[WindowName, float]] = {"user-15min": QUARTER, "user-24hour": DAY, "app-24hour": DAY}
# A reset may be told up to a second before the window really ends.
_EARLY: Final = 1.0
# Two tellings of one reset may differ by a second; but not where the window itself may be that short.
_SHORT: Final = 4.0
_PLENTY: Final = 1 << 62  # more than any number that headers can tell
_BARE_FIRST: Final = 60.0
_BARE_LONGEST: Final = 900.0


class Window:
    """One fixed window of the server, as far as it is known here.

    Args:
        clock: the server's, shared by all its windows.
        assumed: (requests, seconds) where headers are absent; None trusts headers alone.
        in_flight: requests that the server counts and that were sent before this window was known of.

    Attributes:
        taken: requests charged so far, in all windows.
        past: what was sent in the last window that has ended, until somebody takes it; only where resets are told.
        credit: how many may go without asking `refusal` again, until `credit_until`; whoever takes one lowers it.
    """

    __slots__ = (
        "_base", "_began_at", "_blocked_until", "_calm", "_clock", "_ended", "_far", "_fresh",
        "_last_reset", "_least", "_limit", "_others", "_probed", "_recalled", "_refusals", "_reset", "_slack", "_tally",
        "_told_at", "_unsure", "credit", "credit_until", "name", "past", "taken",
    )  # fmt: skip

    def __init__(
        self, name: WindowName, clock: ServerClock, assumed: tuple[int, float] | None = None, *, in_flight: int = 0
    ) -> None:
        self.name: WindowName = name
        self._clock = clock
        span = assumed[1] if assumed else NOMINAL[name]
        self._far = 2 * max(NOMINAL[name], span) + 60
        self._tally = Tally(span)
        self._limit = assumed[0] if assumed else None
        self._reset: int | None = None  # as the server told it, Unix seconds
        self._last_reset: int | None = None
        self._slack = 0  # by how much two tellings of one reset may differ
        self._blocked_until: float | None = None
        self._refusals = 0
        self.taken = in_flight
        self._ended = 0
        self._base = 0  # so many were taken and are not counted in this window
        self._least = _PLENTY  # the least `remaining` told in this window
        self._unsure = Unsure()
        self._others = False
        self._fresh = True
        self._probed = 0  # `taken` when the window began, and the probes since that told nothing
        self._began_at = 0  # the serial then
        self._told_at = 0  # the serial when its reset was told
        self._calm = -1  # the reset that the common answer tells; -1 where each needs thought
        self._recalled = 0  # of what is counted in this window, so many were sent by an earlier process
        self.past: Spent | None = None
        self.credit = 0
        self.credit_until = 0.0

    # What is decided from the state

    @property
    def in_flight(self) -> int:
        """Requests sent and not yet answered."""
        return self.taken - self._ended

    @property
    def blocked(self) -> bool:
        """Whether a 429 has closed it, as it was seen last."""
        return self._blocked_until is not None

    def end(self) -> float | None:
        """When the present window has surely ended, or the oldest of a tally fall out (monotonic); None: unknown."""
        if self._reset is not None:
            return self._reset + _EARLY - self._clock.offset
        return self._tally.next_at

    def left(self) -> int | None:
        """How many requests may still go in the present window; None: nothing limits them."""
        if self._limit is None:
            return None
        if self._least < _PLENTY:
            return self._least - self.taken + self._ended - self._unsure.count
        return self._limit - self.taken + self._base

    def refusal(self, now: float, probes: int, keep: int) -> WaitUntil | None:
        """None where one more request may go now, else until when it must wait.

        Args:
            probes: how many may go ahead in a window about which nothing is known.
            keep: how many permits are not for this caller.
        """
        if self._blocked_until is not None:
            if now < self._blocked_until:
                return WaitUntil(self._blocked_until, self.name)
            self._begin(now, fresh=True)
        elif self._reset is None:
            self._base += self._tally.expire(now)
        elif now >= self._reset + _EARLY - self._clock.offset:
            self._begin(now, fresh=self._others)
        left, limit = self.left(), self._limit
        if left is None or limit is None:  # nothing limits them
            left = limit = _PLENTY
        if self._fresh:
            if self.taken - self._probed >= (1 if self._refusals else probes):
                return WaitUntil(None, self.name)
            if left > 0:
                return None
        elif left > keep or (left > 0 and keep >= limit):
            self.credit = left
            self.credit_until = inf if self._reset is None else self._reset + _EARLY - self._clock.offset
            return None
        return WaitUntil(self.end(), self.name)

    def status(self, now: float) -> WindowStatus:
        """What is known now."""
        if self._reset is None:
            self._base += self._tally.expire(now)
        blocked = self._blocked_until is not None and now < self._blocked_until
        until = self._blocked_until if blocked else self.end()
        left = self.left()
        over = not blocked and self._reset is not None and until is not None and now >= until
        return WindowStatus(
            name=self.name,
            limit=self._limit,
            remaining=0 if blocked else self._limit if over else None if left is None else max(0, left),
            opens_in=None if until is None else max(0.0, until - now),
            closed=blocked or (not over and left is not None and left <= 0),
            told=self._reset is not None,
            refused=blocked,
            in_flight=self.in_flight,
        )

    def spent(self) -> Spent | None:
        """What was sent in the present window; None where nothing was, or its end is not known."""
        limit, sent = self._limit, self._ended - self._base - self._recalled
        if self._reset is None or limit is None or sent <= 0:
            return None
        used = limit - self._least if self._least < _PLENTY else sent
        return Spent(self.name, self._reset - self._clock.offset, limit, min(sent, limit), used)

    def recalled(self) -> None:
        """All that was charged so far was sent by an earlier process."""
        self._recalled = self._ended - self._base

    def settled(self, now: float) -> bool:
        """Whether the state may be forgotten: nothing is in flight and its window has ended."""
        until = self._blocked_until or (self._tally.empty_at if self._reset is None else self.end())
        return self.taken == self._ended and (until is None or now >= until)

    # What changes it

    def give_back(self, ticket: Ticket) -> None:
        """A request that was charged and never left this machine."""
        self._ended += ticket.count
        self._base += ticket.count
        self._probe_ended(ticket)

    def lost(self, ticket: Ticket, now: float) -> None:
        """A request that left and ended without headers: the server may have counted it or not."""
        self._ended += ticket.count
        self._probe_ended(ticket)
        self._unheard(ticket.count, now)

    def answered(self, ticket: Ticket, told: RateLimit | None, now: float, conclusive: bool) -> None:
        """Take in an answer that is not a 429.

        Args:
            conclusive: whether headers would have been there if the server sent any (not so for a 503).
        """
        if told is not None and told.reset == self._calm:
            # The common answer: of this window, nothing new but the count.
            limit, remaining = told.limit, told.remaining
            if limit is not None and limit == self._limit and remaining is not None:
                self._ended += ticket.count
                if remaining < self._least:
                    self._least = remaining
                    left = remaining - self.taken + self._ended
                    if left < self.credit:  # noqa: PLR1730 - min() costs three times as much
                        self.credit = left
                    if remaining < limit - self.taken + self._base:
                        self._others = True
                return
        if told is None or (told.remaining is None and told.reset is None):
            if conclusive and self._blocked_until is None and ticket.mark > self._began_at:
                self._refusals = 0
                self._fresh = False
            self.lost(ticket, now)
            return
        self._ended += ticket.count
        if self._blocked_until is not None:  # sent before it closed; the next window starts afresh
            self._unheard(ticket.count, now)
            return
        self._refusals = 0
        self.credit = 0
        here = self._place(told.reset, ticket, now)
        if here is None:
            self._unheard(ticket.count, now)
        elif here:
            self._learn(told, ticket, now)

    def refused(self, ticket: Ticket, told: RateLimit | None, now: float, retry_after: float | None) -> None:
        """Take in a 429 that is laid to this window."""
        self._ended += ticket.count
        self._base += ticket.count
        carried = ticket.mark <= self._began_at
        reset = told.reset if told is not None and self._plausible(told.reset, ticket, now) else None
        if carried and (reset is None or (self._last_reset is not None and reset <= self._last_reset + self._slack)):
            return  # the rest of a burst that was refused together, or an answer from the window before
        wait = min(max(retry_after or 0.0, 0.0), self._far)
        if reset is not None:
            wait = max(wait, reset + _EARLY - self._clock.offset - now)
        if not carried:
            self._refusals += 1
            if reset is None and not wait:
                wait = min(_BARE_LONGEST, _BARE_FIRST * 2.0 ** min(self._refusals - 1, 8))
            elif self._refusals > 1:  # the probe was refused too: a reset that never comes is not asked every second
                wait = max(wait, min(_BARE_FIRST, 2.0 ** min(self._refusals - 2, 8)))
            self._began_at = self._clock.serial
            self._last_reset = None
        self.past = self.spent() or self.past
        if self._reset is not None:
            self._recount(now)
        self._reset = reset
        self._blocked_until = now + wait
        self.credit, self._calm = 0, -1

    # Within

    def _plausible(self, reset: int | None, ticket: Ticket, now: float) -> bool:
        """Whether the window that this answer was counted in may end then: not before it was sent, nor far ahead."""
        offset = self._clock.offset
        return reset is not None and ticket.at + offset - _EARLY <= reset <= now + offset + self._far

    def _place(self, reset: int | None, ticket: Ticket, now: float) -> bool | None:
        """Whether an answer was counted in the present window, by the reset it told; None: unknown."""
        if reset is None or not self._plausible(reset, ticket, now):
            return True if ticket.mark > self._began_at else None
        here, before, slack = self._reset, self._last_reset, self._slack
        if here is not None and abs(reset - here) <= slack:
            return True
        if here is None and before is not None and reset <= before + slack:
            if ticket.mark <= self._began_at:
                return self._elsewhere(ticket)
            self._others = True  # the server is still in the window that was over here: ask one at a time
        elif here is not None and reset < here and ticket.mark <= self._told_at:
            return self._elsewhere(ticket)  # of an earlier window, of which no other answer was seen
        elif here is not None and reset > here:  # the server is in its next window already
            self._ended -= ticket.count
            self._begin(now, fresh=False)
            self._ended += ticket.count  # this one is counted there
        self._reset = reset
        self._told_at = self._clock.serial
        if reset - now - self._clock.offset >= _SHORT:
            self._slack = 1
        self._tally.clear()
        return True

    def _elsewhere(self, ticket: Ticket) -> bool:
        """This request was counted in an earlier window, and so was what had ended before it was sent."""
        self._base += ticket.count + self._unsure.settle(ticket.mark)
        return False

    def _learn(self, told: RateLimit, ticket: Ticket, now: float) -> None:
        """Take in what an answer of the present window says; ends first contact."""
        self._fresh = False
        remaining = told.remaining
        if told.limit:
            self._limit = told.limit
        elif remaining is not None:
            self._limit = max(self._limit or 0, remaining + 1)
        limit = self._limit
        if self._reset is None:
            self._tally.add(now, ticket.count)
        if remaining is None or limit is None:
            return
        by_others = limit - remaining - self.taken + self._base
        if self._reset is not None:
            self._others = self._others or by_others > 0
            self._unsure.settle(ticket.mark)
            self._least = min(remaining, limit, self._least)
            self._calm = -1 if self._unsure.count else self._reset
        elif by_others > 0:
            self._tally.add(now, by_others)
            self._base -= by_others

    def _unheard(self, count: int, now: float) -> None:
        """Requests have ended, and nobody told whether they were counted."""
        self._calm = -1
        self._unsure.add(self._clock.serial, count)
        if self._reset is None:
            self._tally.add(now, count)

    def _probe_ended(self, ticket: Ticket) -> None:
        if self._fresh and ticket.mark > self._began_at:
            self._probed += ticket.count

    def _begin(self, now: float, *, fresh: bool) -> None:
        """A new window: what is in flight, and what is unsure since the last one began, may be counted in it."""
        self.past = self.spent() or self.past
        if self._reset is not None:
            self._last_reset = self._reset
            self._recount(now)
        self._reset = self._blocked_until = None
        self._least, self._recalled = _PLENTY, 0
        self._fresh, self._probed = fresh, self.taken
        self._began_at = self._clock.serial
        self._others = False
        self.credit, self._calm = 0, -1

    def _recount(self, now: float) -> None:
        """Charge what may still be counted, and nothing else."""
        self._unsure.settle(self._began_at)
        unsure = self._unsure.count
        self._base = self._ended - unsure
        self._tally.clear()
        if unsure:
            self._tally.add(now, unsure)

    def __repr__(self) -> str:
        return (
            f"<Window {self.name} limit={self._limit} left={self.left()} in_flight={self.in_flight}"
            f"{' fresh' if self._fresh else ''}{' blocked' if self._blocked_until is not None else ''}>"
        )
