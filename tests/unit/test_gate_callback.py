"""A bulk run at a gate is called back when there is something new to know, and not for what it has seen."""

from __future__ import annotations

import pytest

from xmediameta.limits import RateLimit, WindowName

from .gates import EPOCH, Bench, settle

pytestmark = pytest.mark.looptime


class Run:
    """Asks again whenever it is called back, at once, as a run does."""

    def __init__(self, bench: Bench) -> None:
        self.gate = bench.gate
        self.asked = 0
        self.shut_until: list[float | None] = []

    def ask(self) -> None:
        self.asked += 1
        assert self.asked < 10, "it would ask for ever, and nobody else would have a turn"
        if self.gate.try_enter() is None:
            self.shut_until.append(self.gate.shut_until(interactive=False))
            self.gate.call_when_open(self.ask)


async def test_what_a_call_waits_for_is_no_news_to_a_run() -> None:
    """The 429 closes the window for all, however much was told to be left in it, and whoever is in flight."""
    bench = Bench(keep=2)
    await bench.know(7, 3, 60)
    tickets = [(await bench.task(name)) for name in "abc"]
    now = bench.loop.time()
    bench.gate.ledger.release(tickets[1], now, maybe_sent=False)
    reset = round(EPOCH + now + 59)
    bench.gate.ledger.refuse(tickets[0], {"user-15min": RateLimit(7, 0, reset)}, now)
    bench.gate.changed()
    call = bench.task("call")
    await settle()
    run = Run(bench)
    run.ask()
    assert run.asked == 1
    assert run.shut_until == [now + 60]
    assert not call.done()
    await call


async def test_a_call_and_a_run_may_wait_for_different_windows() -> None:
    """The call for the app's, which opens sooner; the run for what is kept for calls in the user's."""
    bench = Bench(keep=2)
    ticket = await bench.gate.enter(interactive=True)
    now = bench.loop.time()
    told: dict[WindowName, RateLimit] = {
        "user-15min": RateLimit(500, 3, round(EPOCH + now + 800)),
        "app-24hour": RateLimit(9, 2, round(EPOCH + now + 59)),
    }
    bench.gate.ledger.observe(ticket, told, now)
    tickets = [(await bench.task(name)) for name in "ab"]
    for ticket in tickets:  # the app's window has none in flight: it is another account's by now
        bench.gate.ledger.app.lost(ticket, now)
    call = bench.task("call")
    await settle()
    assert not call.done()
    run = Run(bench)
    run.ask()
    assert run.asked == 1
    call.cancel()
    await settle()


async def test_a_run_is_told_once_that_it_has_to_wait_long() -> None:
    """Not before it is sure: what is in flight may turn out not to be counted."""
    bench = Bench()
    await bench.know(5, 1, 60)
    ticket = bench.gate.try_enter()
    assert ticket is not None
    run = Run(bench)
    run.ask()
    assert run.shut_until == [None]
    bench.tell(ticket, limit=5, remaining=0, opens_in=60)
    assert run.shut_until == [None, bench.loop.time() + 60]
    bench.gate.changed()
    assert run.asked == 2
