"""All windows that bind one account, asked and told together.

A request takes a `Ticket` before it leaves and gives it back, once, with what came of it: `observe` for an answer,
`refuse` for a 429, `release` for none. The window of an app is one object that the ledgers of its accounts share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from .clock import ServerClock
from .limits import RateLimit, WindowName
from .windows import DAY, QUARTER, WaitUntil, Window, WindowStatus

# A post has at most four images, so four interactive calls may meet an unknown window together.
_INTERACTIVE_PROBES: Final = 4


class Limits(Struct, frozen=True, kw_only=True):
    """What is assumed of a window whose headers are absent: (requests, seconds), or None to trust headers alone.

    The defaults are X's documented limits, as of 2026-11.
    """

    user_15min: tuple[int, float] | None = (500, QUARTER)
    user_24hour: tuple[int, float] | None = None
    app_24hour: tuple[int, float] | None = (50_000, DAY)


NO_LIMITS: Final = Limits(user_15min=None, app_24hour=None)


class Ticket:
    """Leave to send one request; goes back to its ledger once."""

    __slots__ = ("marks",)

    def __init__(self, marks: list[int]) -> None:
        self.marks = marks


class Ledger:
    """All windows that bind one account.

    Args:
        clock: shared by all accounts of one server.
        limits: what is assumed where headers are absent.
        app: the window of the app, shared by its accounts; None makes one of the account's own.
        keep: permits of each window that only interactive calls may take.
    """

    __slots__ = ("_clock", "app", "in_flight", "keep", "windows")

    def __init__(
        self,
        clock: ServerClock,
        limits: Limits = Limits(),
        app: Window | None = None,
        *,
        keep: int = 0,  # noqa: B008
    ) -> None:
        self._clock = clock
        self.app = app if app is not None else Window("app-24hour", clock, limits.app_24hour)
        self.windows = [Window("user-15min", clock, limits.user_15min), self.app]
        if limits.user_24hour is not None:
            self.windows.append(Window("user-24hour", clock, limits.user_24hour))
        self.keep = keep
        self.in_flight = 0

    def reserve(self, now: float, *, interactive: bool = False) -> Ticket | WaitUntil:
        """Leave for one request, or until when to wait."""
        wait = self.refusal(now, interactive=interactive)
        return self.take() if wait is None else wait

    def refusal(self, now: float, *, interactive: bool = False) -> WaitUntil | None:
        """None where one more request may go now, else until when all windows may be open."""
        probes, keep = (_INTERACTIVE_PROBES, 0) if interactive else (1, self.keep)
        wait: WaitUntil | None = None
        for window in self.windows:
            refusal = window.refusal(now, probes, keep)
            if refusal is not None and (wait is None or _later(refusal, wait)):
                wait = refusal
        return wait

    def take(self) -> Ticket:
        """A ticket, where `refusal` has just said None."""
        self.in_flight += 1
        return Ticket([window.take() for window in self.windows])

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
            # The requests in flight were not charged to it, yet the server counts them, this one included.
            self.windows.append(Window("user-24hour", self._clock, in_flight=self.in_flight))
        self.in_flight -= 1
        for window, mark in self._marked(ticket):
            window.answered(mark, told.get(window.name), now, conclusive)

    def refuse(
        self, ticket: Ticket, told: Mapping[WindowName, RateLimit], now: float, retry_after: float | None = None
    ) -> None:
        """Take in a 429: the windows with nothing left close until their reset; if none is named, the user's own does.

        Args:
            retry_after: seconds, where the answer has that header.
        """
        self.in_flight -= 1
        names = {window.name for window in self.windows}
        spent = {name for name, limit in told.items() if limit.remaining == 0 and name in names} or {"user-15min"}
        for window, mark in self._marked(ticket):
            if window.name in spent:
                window.refused(mark, told.get(window.name), now, retry_after)
            else:
                window.answered(mark, told.get(window.name), now, False)

    def release(self, ticket: Ticket, now: float, *, maybe_sent: bool) -> None:
        """Give back the ticket of a request without an answer.

        Args:
            maybe_sent: whether the server may have counted it.
        """
        self.in_flight -= 1
        for window, mark in self._marked(ticket):
            if maybe_sent:
                window.lost(mark, now)
            else:
                window.give_back(mark)

    def droppable(self, now: float) -> bool:
        """Whether the account's own state may be forgotten: nothing in flight, no window that still binds."""
        return self.in_flight == 0 and all(w.settled(now) for w in self.windows if w is not self.app)

    def status(self, now: float) -> tuple[WindowStatus, ...]:
        """Every window as it is seen now."""
        return tuple(window.status(now) for window in self.windows)

    def _marked(self, ticket: Ticket) -> Iterable[tuple[Window, int]]:
        """The windows with the ticket's marks; 0 in one that became known after the ticket was taken."""
        marks = ticket.marks
        if len(marks) < len(self.windows):
            marks = [*marks, *[0] * (len(self.windows) - len(marks))]
        return zip(self.windows, marks, strict=False)

    def __repr__(self) -> str:
        return f"<Ledger {self.windows!r}>"


def _later(one: WaitUntil, other: WaitUntil) -> bool:
    """Whether `one` tells more about when all windows are open: a later time, or a time against none."""
    return one.at is not None and (other.at is None or one.at > other.at)
