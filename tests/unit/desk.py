"""One window, asked and told as a `Ledger` would, for the tests of its arithmetic."""

from __future__ import annotations

from typing import Final

from xmediameta.clock import ServerClock
from xmediameta.limits import RateLimit
from xmediameta.permits import Ticket, WaitUntil
from xmediameta.windows import Window

UNIX: Final = 1_700_000_000


class Desk:
    """One window, asked and told as a `Ledger` would. Unless told otherwise the server's clock is known exactly."""

    def __init__(self, assumed: tuple[int, float] | None = (500, 900.0), *, clock: ServerClock | None = None) -> None:
        self.clock = clock or ServerClock(UNIX)
        self.window = Window("user-15min", self.clock, assumed)
        self.now = 0.0

    def ask(self, *, interactive: bool = False, keep: int = 0) -> Ticket | WaitUntil:
        window = self.window
        if window.credit <= keep or self.now >= window.credit_until:
            refusal = window.refusal(self.now, 4 if interactive else 1, keep)
            if refusal is not None:
                return refusal
        window.taken += 1
        window.credit -= 1
        self.clock.serial += 1
        return Ticket(self.clock.serial, self.now)

    def ticket(self, *, interactive: bool = False) -> Ticket:
        ticket = self.ask(interactive=interactive)
        assert isinstance(ticket, Ticket), f"refused until {ticket}"
        return ticket

    def refused(self, *, interactive: bool = False, keep: int = 0) -> WaitUntil:
        refusal = self.ask(interactive=interactive, keep=keep)
        assert isinstance(refusal, WaitUntil)
        return refusal

    def all(self, *, most: int = 10_000, interactive: bool = False) -> list[Ticket]:
        """As many tickets as are to be had."""
        tickets: list[Ticket] = []
        while len(tickets) < most and isinstance(leave := self.ask(interactive=interactive), Ticket):
            tickets.append(leave)
        return tickets

    def answer(self, ticket: Ticket, remaining: int | None, reset: int | None = 900, limit: int | None = 500) -> None:
        """`reset` in seconds after `UNIX`."""
        told = RateLimit(limit, remaining, None if reset is None else UNIX + reset)
        self.window.answered(ticket, told, self.now, True)

    def silent(self, ticket: Ticket, *, conclusive: bool = True) -> None:
        self.window.answered(ticket, None, self.now, conclusive)

    def refuse(self, ticket: Ticket, reset: int | None = None, *, retry_after: float | None = None) -> None:
        told = None if reset is None else RateLimit(500, 0, UNIX + reset)
        self.window.refused(ticket, told, self.now, retry_after)

    def learn(self, remaining: int, reset: int = 900, limit: int = 500) -> None:
        """One request and its answer."""
        self.answer(self.ticket(), remaining, reset, limit)
