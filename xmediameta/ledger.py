"""All windows that bind one account, asked and told together.

A request takes a `Ticket` before it leaves and gives it back, once, with what came of it: `observe` for an answer,
`refuse` for a 429, `release` for none. The window of an app is one object that the ledgers of its accounts share.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

from msgspec import Struct

from .clock import ServerClock
from .errors import ConfigurationError
from .limits import RateLimit, WindowName
from .permits import Ticket, WaitUntil, WindowStatus
from .windows import DAY, QUARTER, Window

__all__ = ["DOCUMENTED", "NO_LIMITS", "Ledger", "Limits", "Ticket"]

# A post has at most four images, so four interactive calls may meet an unknown window together.
_INTERACTIVE_PROBES: Final = 4


class Limits(Struct, frozen=True, kw_only=True):
    """What is assumed of a window whose headers are absent: (requests, seconds), or None to trust headers alone.

    The defaults are X's documented limits, as of 2026-11.

    Raises:
        ConfigurationError: fewer than one request, or no time at all.
    """

    user_15min: tuple[int, float] | None = (500, QUARTER)
    user_24hour: tuple[int, float] | None = None
    app_24hour: tuple[int, float] | None = (50_000, DAY)

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            assumed: tuple[int, float] | None = getattr(self, name)
            if assumed is not None and not (assumed[0] >= 1 and 0 < assumed[1] < inf):
                raise ConfigurationError(f"limits: {name} must be at least 1 request in some seconds, not {assumed!r}")


DOCUMENTED: Final = Limits()
NO_LIMITS: Final = Limits(user_15min=None, app_24hour=None)


class Ledger:
    """All windows that bind one account.

    Args:
        clock: shared by all accounts of one server.
        limits: what is assumed where headers are absent.
        app: the window of the app, shared by its accounts; None makes one of the account's own.
        keep: permits of each window that only interactive calls may take.
    """

    __slots__ = ("_asked", "_clock", "_former", "app", "keep", "windows")

    def __init__(
        self, clock: ServerClock, limits: Limits = DOCUMENTED, app: Window | None = None, *, keep: int = 0
    ) -> None:
        self._clock = clock
        self._asked = 0.0
        self._former: tuple[tuple[int, Window], ...] = ()  # windows of earlier apps, and the last serial in each
        self.app = app if app is not None else Window("app-24hour", clock, limits.app_24hour)
        self.windows = [Window("user-15min", clock, limits.user_15min), self.app]
        if limits.user_24hour is not None:
            self.windows.append(Window("user-24hour", clock, limits.user_24hour))
        self.keep = keep

    @property
    def in_flight(self) -> int:
        """The account's requests that were sent and not yet answered."""
        return self.windows[0].in_flight  # the app's window has the other accounts' as well

    def reserve(self, now: float, interactive: bool = False) -> Ticket | WaitUntil:
        """Leave for one request, or until when to wait."""
        wait = self.refusal(now, interactive)
        return self.take() if wait is None else wait

    def refusal(self, now: float, interactive: bool = False) -> WaitUntil | None:
        """None where one more request may go now, else until when all windows may be open."""
        self._asked = now
        keep = 0 if interactive else self.keep
        wait: WaitUntil | None = None
        for window in self.windows:
            if window.credit <= keep or now >= window.credit_until:
                refusal = window.refusal(now, _INTERACTIVE_PROBES if interactive else 1, keep)
                if refusal is not None and (wait is None or _later(refusal, wait)):
                    wait = refusal
        return wait

    def at_once(self, now: float, interactive: bool = False) -> Ticket | None:
        """A ticket, where it takes no thought; None where `refusal` must be asked."""
        keep = 0 if interactive else self.keep
        for window in self.windows:
            if window.credit <= keep or now >= window.credit_until:
                return None
        self._asked = now
        return self.take()

    def take(self) -> Ticket:
        """A ticket, where `refusal` has just said None, or `at_once` has no need to ask it."""
        for window in self.windows:
            window.taken += 1
            window.credit -= 1
        clock = self._clock
        clock.serial = mark = clock.serial + 1
        return Ticket(mark, self._asked)

    def take_many(self, most: int) -> Ticket:
        """A ticket for as many requests as may go without asking again, up to `most`, where `refusal` has said None."""
        count = max(1, min(most, *(window.credit for window in self.windows)))
        for window in self.windows:
            window.taken += count
            window.credit -= count
        self._clock.serial += 1
        return Ticket(self._clock.serial, self._asked, count)

    def observe(
        self, ticket: Ticket, told: Mapping[WindowName, RateLimit], now: float, *, conclusive: bool = True
    ) -> None:
        """Take in the headers of an answer that is not a 429.

        Args:
            told: the windows that the headers told of, empty for none.
            now: when the answer was received (monotonic).
            conclusive: False for answers that tell nothing by their lack of headers, such as a 503.
        """
        if "user-24hour" in told and len(self.windows) == 2:
            self._add_user_24hour()
        for window in self._of(ticket) if self._former else self.windows:
            window.answered(ticket, told.get(window.name), now, conclusive)

    def refuse(
        self, ticket: Ticket, told: Mapping[WindowName, RateLimit], now: float, retry_after: float | None = None
    ) -> None:
        """Take in a 429: the windows with nothing left close until their reset; if none is named, the user's own does.

        Args:
            retry_after: seconds, where the answer has that header.
        """
        if "user-24hour" in told and len(self.windows) == 2:
            self._add_user_24hour()
        spent = {name for name, limit in told.items() if limit.remaining == 0} or {"user-15min"}
        for window in self._of(ticket) if self._former else self.windows:
            if window.name in spent:
                window.refused(ticket, told.get(window.name), now, retry_after)
            else:
                window.answered(ticket, told.get(window.name), now, False)

    def release(self, ticket: Ticket, now: float, *, maybe_sent: bool) -> None:
        """Give back the ticket of a request without an answer.

        Args:
            maybe_sent: whether the server may have counted it.
        """
        for window in self._of(ticket) if self._former else self.windows:
            if maybe_sent:
                window.lost(ticket, now)
            else:
                window.give_back(ticket)

    def move(self, app: Window) -> None:
        """Count against the window of another app from now on; what is in flight is of the one that it left with."""
        if self.in_flight:
            self._former = (*self._former, (self._clock.serial, self.app))
        self.windows[self.windows.index(self.app)] = self.app = app

    def _of(self, ticket: Ticket) -> list[Window]:
        """The windows that a ticket was taken of; it is about to be given back."""
        app = next((window for last, window in self._former if ticket.mark <= last), self.app)
        if self.in_flight <= ticket.count:
            self._former = ()
        return [app if window is self.app else window for window in self.windows]

    def droppable(self, now: float) -> bool:
        """Whether the account's own state may be forgotten: nothing in flight, no window that still binds."""
        return self.in_flight == 0 and all(w.settled(now) for w in self.windows if w is not self.app)

    def status(self, now: float) -> tuple[WindowStatus, ...]:
        """Every window as it is seen now."""
        return tuple(window.status(now) for window in self.windows)

    def _add_user_24hour(self) -> None:
        # The requests in flight were not charged to it, yet the server counts them, this one included.
        self.windows.append(Window("user-24hour", self._clock, in_flight=self.in_flight))

    def __repr__(self) -> str:
        return f"<Ledger {self.windows!r}>"


def _later(one: WaitUntil, other: WaitUntil) -> bool:
    """Whether `one` tells more about when all windows are open: a later time, or a time against none."""
    return one.at is not None and (other.at is None or one.at > other.at)
