"""A gate in virtual time, with a server that says what a test wants it to say."""

from __future__ import annotations

import asyncio

from xmediameta.apps import Group
from xmediameta.clock import ServerClock
from xmediameta.gate import Gate, Pace, Wait
from xmediameta.ledger import Ledger, Limits, Ticket
from xmediameta.limits import RateLimit, WindowName
from xmediameta.windows import Window

EPOCH = 1_700_000_000


class Bench:
    """Gates over windows whose headers the test gives.

    Attributes:
        waits: what `on_wait` was told.
        starts: when tickets were had, by name.
    """

    def __init__(self, *, keep: int = 0, pace: Pace = None, limits: Limits | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = ServerClock(EPOCH - self.loop.time())
        self.limits = limits or Limits(user_15min=None, app_24hour=None)
        self.keep = keep
        self.pace: Pace = pace
        self.waits: list[Wait] = []
        self.starts: list[tuple[str, float]] = []
        self.group = Group(Window("app-24hour", self.clock, self.limits.app_24hour))
        self.gate = self.another(None)

    def another(self, name: str | None, group: Group | None = None) -> Gate:
        """A gate for an account of the same app."""
        group = group or self.group
        ledger = Ledger(self.clock, self.limits, group.window, keep=self.keep)
        return Gate(name, ledger, group, pace=self.pace, on_wait=self.waits.append, wall=self.wall)

    def wall(self) -> float:
        return EPOCH + self.loop.time()

    def tell(
        self,
        ticket: Ticket,
        *,
        limit: int | None = None,
        remaining: int | None = None,
        opens_in: float | None = None,
        window: WindowName = "user-15min",
        gate: Gate | None = None,
    ) -> None:
        """An answer comes in; `opens_in` is when the gate will surely know the window to be over."""
        gate = gate or self.gate
        now = self.loop.time()
        told: dict[WindowName, RateLimit] = {}
        if limit is not None or remaining is not None:
            reset = None if opens_in is None else round(EPOCH + now + opens_in - 1)
            told[window] = RateLimit(limit, remaining, reset)
        gate.ledger.observe(ticket, told, now)
        gate.changed()

    async def know(self, limit: int, remaining: int, opens_in: float, *, gate: Gate | None = None) -> None:
        """First contact: one request, whose answer tells how the window stands."""
        ticket = await (gate or self.gate).enter(interactive=True)
        self.tell(ticket, limit=limit, remaining=remaining, opens_in=opens_in, gate=gate)

    def task(
        self,
        name: str,
        *,
        interactive: bool = True,
        max_wait: float | None = None,
        gate: Gate | None = None,
    ) -> asyncio.Task[Ticket]:
        """A task that wants a ticket, and notes when it had it."""
        wanted = gate or self.gate

        async def enter() -> Ticket:
            ticket = await wanted.enter(interactive=interactive, max_wait=max_wait)
            self.starts.append((name, self.loop.time()))
            return ticket

        return self.loop.create_task(enter())

    @property
    def names(self) -> str:
        return "".join(name for name, _ in self.starts)

    def left(self, gate: Gate | None = None) -> int | None:
        return (gate or self.gate).ledger.status(self.loop.time())[0].remaining


async def settle(rounds: int = 10) -> None:
    """Let everybody do what can be done now."""
    for _ in range(rounds):
        await asyncio.sleep(0)
