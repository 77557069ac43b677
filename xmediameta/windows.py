"""The arithmetic of one quota window: how many requests may go now, and until when the rest must wait.

Theory
------
X counts requests in fixed windows: 500 in 15 minutes per user, 50,000 in 24 hours per app, sometimes a cap of 24 hours
per user. A `Window` mirrors one of them; a `Ledger` joins those that bind one account. Time is always an argument (the
loop's monotonic clock), so the same code also runs in virtual time.

What is left. Answers come back in any order, so a single `remaining` is stale as soon as it is read. Two sums are
never too high for a sole user, and the larger of them is used:

- `limit - others - sent`, with `sent` all that we sent in this window, and `others` the largest `used - sent` seen, a
  lower bound of what somebody else spent. It is exact as long as the server counts all that we send.
- `limit - used - in flight - uncertain`, with `used` the largest count that the server told, and `uncertain` the
  requests that ended without headers and may or may not be counted. It becomes exact when the answers are in, even
  where the server does not count its own 503s.

When it ends. A reset is told in whole seconds, up to a second early, and `Date` is cut to the second. `ServerClock`
keeps the best lower bound of the server's clock over all answers, so a window has surely ended once that bound is
`reset + 1`.

Over the edge. A request in flight while a window ends may be counted on either side. It stays charged to the new
window until its answer names the reset of the old one. Each ticket holds its number in the window, and the window
knows the number at which it began: lower ones were carried over.

First contact. In a window about which nothing is known one request goes ahead (of interactive calls up to four) and
the rest follow its headers; likewise after a 429, and after a reset where somebody else had spent of the window before.
Where headers are absent, the documented limits are assumed and counted here, from the first answer on.

A 429 closes its window until its own reset, whatever was told before. Without a usable one the wait starts at a minute
and doubles up to a quarter of an hour.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

from msgspec import Struct

from .clock import ServerClock
from .limits import RateLimit, WindowName

DAY: Final = 86_400.0
QUARTER: Final = 900.0
NOMINAL: Final[dict[WindowName, float]] = {"user-15min": QUARTER, "user-24hour": DAY, "app-24hour": DAY}
# A reset may be told up to a second before the window really ends.
_EARLY: Final = 1.0
_PLENTY: Final = 1 << 30
_BARE_FIRST: Final = 60.0
_BARE_LONGEST: Final = 900.0


class WaitUntil(Struct, frozen=True, gc=False):
    """No request may go now.

    Attributes:
        at: when to ask again (monotonic), or None: as soon as an answer comes in.
        window: the name of the window that binds.
    """

    at: float | None
    window: WindowName


class WindowStatus(Struct, frozen=True, gc=False, kw_only=True):
    """A window as it is seen now.

    Attributes:
        limit, remaining: requests; None where nothing is known.
        opens_in: seconds until the window has surely ended, or None where no reset is known.
        closed: whether nothing may be sent before then.
        in_flight: requests sent and not yet answered.
    """

    name: WindowName
    limit: int | None
    remaining: int | None
    opens_in: float | None
    closed: bool
    in_flight: int


class Window:
    """One fixed window of the server, as far as it is known here; see the module's theory.

    Args:
        clock: the server's, shared by all its windows.
        assumed: (requests, seconds) where headers are absent; None trusts headers alone.
        in_flight: requests that the server counts and that were sent before this window was known of.
    """

    __slots__ = (
        "_assumed", "_began_at", "_blocked_until", "_clock", "_counted_until", "_credit", "_credit_until", "_doubtful",
        "_far", "_fresh", "_last_reset", "_limit", "_others", "_probes", "_refusals", "_reset", "_sent", "_serial", "_span",
        "_uncertain", "_used", "in_flight", "name",
    )  # fmt: skip

    def __init__(
        self, name: WindowName, clock: ServerClock, assumed: tuple[int, float] | None = None, *, in_flight: int = 0
    ) -> None:
        self.name = name
        self.in_flight = in_flight
        self._clock = clock
        self._assumed = assumed
        self._far = 2 * max(NOMINAL[name], assumed[1] if assumed else 0.0) + 60
        self._limit: int | None = None
        self._reset: float | None = None  # as the server told it, Unix seconds
        self._last_reset: float | None = None
        self._counted_until: float | None = None  # where no reset was told, monotonic
        self._blocked_until: float | None = None
        self._sent = in_flight
        self._used: int | None = None
        self._others = 0
        self._uncertain: deque[int] = deque()
        self._fresh = True
        self._doubtful = False
        self._probes = 0
        self._refusals = 0
        self._serial = 0
        self._began_at = 0
        self._span = 0.0
        # How many may go without asking again, as long as no answer tells otherwise; a take lowers both sums by one.
        self._credit = 0
        self._credit_until = 0.0

    # What is decided from the state

    def end(self) -> float | None:
        """When the present window has surely ended (monotonic), or None where that is unknown."""
        if self._reset is not None:
            return self._reset + _EARLY - self._clock.offset
        return self._counted_until

    def left(self) -> int | None:
        """How many requests may still go in the present window; None: nothing limits them."""
        limit = self._limit
        if limit is None:
            return None
        left = limit - self._others - self._sent
        if self._used is not None:
            told = limit - self._used - self.in_flight - len(self._uncertain)
            if told > left:
                return told
        return left

    def refusal(self, now: float, probes: int, keep: int) -> WaitUntil | None:
        """None where one more request may go now, else until when it must wait.

        Args:
            probes: how many may go ahead in a window about which nothing is known.
            keep: how many permits are not for this caller.
        """
        if self._credit > keep and now < self._credit_until:
            return None
        if self._blocked_until is not None:
            if now < self._blocked_until:
                return WaitUntil(self._blocked_until, self.name)
            self._begin(fresh=True)
        end = self.end()
        if end is not None and now >= end:
            self._begin(fresh=self._others > 0 or self._doubtful)
            end = None
        if self._fresh:
            return None if self._probes < probes else WaitUntil(None, self.name)
        left = self.left()
        if left is None or left > keep or (left > 0 and self._limit is not None and keep >= self._limit):
            self._credit, self._credit_until = _PLENTY if left is None else left, inf if end is None else end
            return None
        return WaitUntil(end, self.name)

    def status(self, now: float) -> WindowStatus:
        """What is known now."""
        blocked = self._blocked_until is not None and now < self._blocked_until
        until = self._blocked_until if blocked else self.end()
        left = self.left()
        over = until is not None and now >= until
        return WindowStatus(
            name=self.name,
            limit=self._limit,
            remaining=0 if blocked else self._limit if over else None if left is None else max(0, left),
            opens_in=None if until is None else max(0.0, until - now),
            closed=blocked or (not over and left is not None and left <= 0),
            in_flight=self.in_flight,
        )

    def settled(self, now: float) -> bool:
        """Whether the state may be forgotten: nothing is in flight and its window has ended."""
        until = self._blocked_until if self._blocked_until is not None else self.end()
        return self.in_flight == 0 and (until is None or now >= until)

    # What changes it

    def take(self) -> int:
        """Charge one request; returns its number in this window, the mark on its ticket."""
        self.in_flight += 1
        self._sent += 1
        self._serial += 1
        self._credit -= 1
        if self._fresh:
            self._probes += 1
        return self._serial

    def give_back(self, mark: int) -> None:
        """A request that was charged and never left this machine."""
        self.in_flight -= 1
        self._sent -= 1
        self._probe_ended(mark)

    def lost(self, mark: int, now: float) -> None:
        """A request that left and ended without headers: the server may have counted it or not."""
        self.in_flight -= 1
        self._probe_ended(mark)
        if self._used is not None:
            self._uncertain.append(self._serial)
        if not self._fresh:
            self._count_from(now)

    def answered(self, mark: int, told: RateLimit | None, now: float, conclusive: bool) -> None:
        """Take in an answer that is not a 429.

        Args:
            mark: of the ticket.
            told: this window's headers, or None.
            now: when the answer was received.
            conclusive: whether headers would have been there if the server sent any (not so for a 503).
        """
        if told is not None and told.reset == self._reset and told.limit == self._limit and not self._uncertain:
            # The common answer: of this window, nothing new but the count. (A fresh or closed window has no credit.)
            remaining, limit = told.remaining, told.limit
            if remaining is not None and limit is not None and self._credit_until and mark > self._began_at:
                self.in_flight -= 1
                used = limit - remaining
                if self._used is None or used > self._used:
                    self._used = used
                if used - self._sent > self._others:
                    self._others, self._credit = used - self._sent, 0
                return
        if told is None or (told.remaining is None and told.reset is None):
            if conclusive and self._blocked_until is None:
                self._refusals = 0
                if self._fresh:
                    self._fresh, self._probes = False, 0
                    self._limit = self._limit or (self._assumed[0] if self._assumed else None)
            self.lost(mark, now)
            return
        self.in_flight -= 1
        if self._blocked_until is not None:
            return  # all that is in flight while a window is closed was sent before; the next window starts afresh
        self._refusals = 0
        if self._belongs(told.reset, now, carried=mark <= self._began_at):
            self._credit = 0
            if told.limit is not None:
                self._limit = told.limit
            self._learn(told.remaining, mark)
            self._count_from(now)

    def refused(self, mark: int, told: RateLimit | None, now: float, retry_after: float | None) -> None:
        """Take in a 429 that is laid to this window."""
        self.in_flight -= 1
        self._sent -= 1
        carried = mark <= self._began_at
        reset = told.reset if told is not None and told.reset is not None and self._plausible(told.reset, now) else None
        if carried and (reset is None or (self._last_reset is not None and reset <= self._last_reset + self._slack())):
            return  # the rest of a burst that was refused together, or an answer from the window before
        wait = retry_after or 0.0
        if reset is not None:
            wait = max(wait, reset + _EARLY - self._clock.offset - now)
        if not carried:
            self._refusals += 1
            if reset is None and not retry_after:
                wait = min(_BARE_LONGEST, _BARE_FIRST * 2.0 ** min(self._refusals - 1, 8))
            elif self._refusals > 1:  # the probe was refused too: a reset that never comes is not asked every second
                wait = max(wait, min(_BARE_FIRST, 2.0 ** min(self._refusals - 2, 8)))
            self._began_at = self._serial
            self._last_reset = None
        self._credit, self._credit_until = 0, 0.0
        self._reset = reset
        self._counted_until = None
        self._blocked_until = now + wait

    # Within

    def _slack(self) -> float:
        """How far two tellings of one reset may lie apart: a second, unless the window itself is about as short."""
        return 1.0 if self._span >= 2.0 else 0.0

    def _plausible(self, reset: float, now: float) -> bool:
        ahead = reset - (now + self._clock.offset)
        return -_EARLY <= ahead <= self._far

    def _belongs(self, reset: float | None, now: float, *, carried: bool) -> bool:
        """Place an answer by the reset it told, and keep that; False where it was counted in a window that is over."""
        if reset is None:
            return not carried
        slack = self._slack()
        here, before = self._reset, self._last_reset
        if here is not None and abs(reset - here) <= slack:
            return True
        if carried and (reset < here if here is not None else before is not None and reset <= before + slack):
            self._sent -= 1
            return False
        if not self._plausible(reset, now):
            return not carried
        if here is not None and reset > here:  # the server is in its next window already
            self._begin(fresh=False)
            self._sent += 1  # this one, which is no longer in flight
        elif here is None and before is not None and abs(reset - before) <= slack:
            self._doubtful = True  # the server is still in the window that was over here: ask again in a moment
            self._counted_until = now + _EARLY
            return True
        self._reset, self._counted_until = reset, None
        self._span = max(self._span, reset - (now + self._clock.offset))
        return True

    def _learn(self, remaining: int | None, mark: int) -> None:
        """Take in what the server says is left; ends first contact."""
        uncertain = self._uncertain
        while uncertain and uncertain[0] < mark:
            uncertain.popleft()
        if remaining is not None and self._limit is not None:
            used = max(0, self._limit - remaining)
            if self._used is None or used > self._used:
                self._used = used
            others = used - self._sent
            if others > self._others:
                self._others = others
        if self._fresh:
            self._fresh, self._probes = False, 0

    def _count_from(self, now: float) -> None:
        """Where no reset was told, the window lasts as long as is documented, from its first answer on."""
        if self._reset is None and self._counted_until is None and self._limit is not None:
            self._counted_until = now + (self._assumed[1] if self._assumed else NOMINAL[self.name])

    def _probe_ended(self, mark: int) -> None:
        if self._fresh and mark > self._began_at and self._probes:
            self._probes -= 1

    def _begin(self, *, fresh: bool) -> None:
        """A new window: what is in flight may be counted in it."""
        if self._reset is not None:
            self._last_reset = self._reset
        self._reset = self._counted_until = self._blocked_until = None
        self._sent = self.in_flight
        self._used = None
        self._others = 0
        self._credit, self._credit_until = 0, 0.0
        self._uncertain.clear()
        self._fresh, self._doubtful, self._probes = fresh, False, 0
        self._began_at = self._serial

    def __repr__(self) -> str:
        return (
            f"<Window {self.name} limit={self._limit} left={self.left()} in_flight={self.in_flight}"
            f"{' fresh' if self._fresh else ''}{' blocked' if self._blocked_until is not None else ''}>"
        )
