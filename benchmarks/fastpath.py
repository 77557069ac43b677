"""What the quota costs each update: CPU time of the Ledger, and of the gate's fast path with it, above a bare `await`.

The answers carry moving headers of two windows, made outside of the time measured. aiolimiter's own share is measured
alone and taken off, since whoever smooths starts with it pays that anyway. Updates are measured in stretches of ten
thousand, and a quick stretch is told (the tenth percentile): what other programs do meanwhile should not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import cycle

from aiolimiter import AsyncLimiter
from msgspec import Struct

from xmediameta.accounts import Accounts
from xmediameta.apps import Group
from xmediameta.clock import ServerClock
from xmediameta.gate import Gate
from xmediameta.ledger import NO_LIMITS, Ledger
from xmediameta.limits import RateLimit, WindowName
from xmediameta.windows import Window

PLENTY = 1 << 29
STRETCH = 10_000
FAST = 1e9  # starts a second: never waited for


class Costs(Struct, frozen=True, kw_only=True):
    """Microseconds of CPU time per update.

    Attributes:
        bare: an `await` of an empty coroutine, which is taken off all others.
        ledger: `reserve` and `observe`.
        call: the same as `create` does it, through the gate's `enter`, without smoothing.
        bulk: as `bulk` does it, through `try_enter`, without smoothing.
        smoothed: as `bulk` does it with smoothing, less aiolimiter's own share.
        limiter: aiolimiter's own share.
        one, crowd: what `create` does before and after a request, its account found by name: one account, and ten
            thousand in turn, each with its own windows and all in use.
    """

    bare: float
    ledger: float
    call: float
    bulk: float
    smoothed: float
    limiter: float
    one: float
    crowd: float


Told = dict[WindowName, RateLimit]


async def nothing() -> None:
    pass


async def measure(updates: int, work: Callable[[list[Told]], Awaitable[None]]) -> float:
    """Microseconds of CPU time for each update."""
    stretches: list[float] = []
    # The server's clock is the loop's here; of a window that is long over nothing would be the common answer.
    reset = int(asyncio.get_running_loop().time()) + 900
    for first in range(0, updates, STRETCH):
        remaining = PLENTY - 1 - first
        told: list[Told] = [
            {
                "user-15min": RateLimit(PLENTY, remaining - number, reset),
                "app-24hour": RateLimit(PLENTY, remaining - number, reset + 80_000),
            }
            for number in range(min(STRETCH, updates - first))
        ]
        began = time.process_time()
        await work(told)
        stretches.append((time.process_time() - began) / len(told) * 1e6)
    return sorted(stretches)[len(stretches) // 10]


async def bare(told: list[Told]) -> None:
    for _ in told:
        await nothing()


def a_ledger() -> Ledger:
    clock = ServerClock()
    return Ledger(clock, NO_LIMITS, Window("app-24hour", clock))


def through_ledger() -> Callable[[list[Told]], Awaitable[None]]:
    ledger, now = a_ledger(), asyncio.get_running_loop().time()

    async def work(told: list[Told]) -> None:
        for headers in told:
            ticket = ledger.reserve(now)
            await nothing()
            ledger.observe(ticket, headers, now)  # type: ignore[arg-type]

    return work


def a_gate(pace: float | None) -> Gate:
    ledger = a_ledger()
    return Gate(None, ledger, Group(ledger.app), pace=pace, on_wait=lambda _: None, wall=time.time)


def through_enter() -> Callable[[list[Told]], Awaitable[None]]:
    gate, now = a_gate(None), asyncio.get_running_loop().time()

    async def work(told: list[Told]) -> None:
        for headers in told:
            ticket = await gate.enter(interactive=True)
            gate.ledger.observe(ticket, headers, now)
            gate.changed()

    return work


def through_try_enter(pace: float | None) -> Callable[[list[Told]], Awaitable[None]]:
    gate, now = a_gate(pace), asyncio.get_running_loop().time()

    async def work(told: list[Told]) -> None:
        for headers in told:
            ticket = gate.try_enter()
            await gate.smooth()
            gate.ledger.observe(ticket, headers, now)  # type: ignore[arg-type]
            gate.changed()

    return work


def through_limiter() -> Callable[[list[Told]], Awaitable[None]]:
    limiter = AsyncLimiter(FAST * 0.1, 0.1)  # as the pace does

    async def work(told: list[Told]) -> None:
        for _ in told:
            limiter.has_capacity()
            await limiter.acquire()

    return work


class NoSessions:
    """Stands where the transport does: nothing is sent here."""

    def session(self, authorization: str) -> object:
        return authorization

    def drop(self, session: object) -> None:
        pass


def through_accounts(count: int) -> Callable[[list[Told]], Awaitable[None]]:
    names = [f"account-{number}" for number in range(count)]
    accounts = Accounts(
        {name: f"token-of-{name}" for name in names},
        NoSessions(),  # type: ignore[arg-type]
        ServerClock(),
        limits=NO_LIMITS,
        keep=0,
        pace=None,
        on_wait=lambda _: None,
        wall=time.time,
    )
    now, turn = asyncio.get_running_loop().time(), cycle(names)
    for name in names:
        accounts.peek(name)

    async def work(told: list[Told]) -> None:
        for headers in told:
            account = accounts.peek(next(turn))
            ticket = await account.gate.enter(interactive=True)
            account.gate.ledger.observe(ticket, headers, now)
            account.gate.changed()

    return work


async def costs(updates: int) -> Costs:
    """Measure all."""
    plain = await measure(updates, bare)
    ledger = await measure(updates, through_ledger())
    call = await measure(updates, through_enter())
    bulk = await measure(updates, through_try_enter(None))
    smoothed = await measure(updates, through_try_enter(FAST))
    limiter = await measure(updates, through_limiter())
    one = await measure(updates, through_accounts(1))
    crowd = await measure(updates, through_accounts(10_000))
    return Costs(
        bare=plain,
        ledger=ledger - plain,
        call=call - plain,
        bulk=bulk - plain,
        smoothed=smoothed - plain - limiter,
        limiter=limiter,
        one=one - plain,
        crowd=crowd - plain,
    )
