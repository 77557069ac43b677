"""Whoever is cancelled, wherever, gives place and permit back."""

from __future__ import annotations

import asyncio

import pytest

from xmediameta.errors import RateLimitWaitTooLong
from xmediameta.ledger import Ticket

from .gates import Bench, settle

pytestmark = pytest.mark.looptime


async def test_in_the_queue() -> None:
    bench = Bench()
    await bench.know(2, 0, 60)
    tasks = [bench.task(name) for name in "abc"]
    await settle()
    tasks[1].cancel()
    await settle()
    assert len(bench.gate._interactive) == 2
    await asyncio.sleep(60)
    await settle()
    bench.tell(tasks[0].result(), limit=2, remaining=1, opens_in=60)
    await tasks[2]
    assert bench.names == "ac"


async def test_as_it_is_let_in() -> None:
    """The permit was given and the task has not run: it goes to the next."""
    bench = Bench()
    ticket = await bench.gate.enter(interactive=False)
    first, _ = bench.task("a", interactive=False), bench.task("b", interactive=False)
    await settle()
    bench.tell(ticket, limit=10, remaining=1, opens_in=60)
    first.cancel()
    await settle()
    assert first.cancelled()
    assert bench.names == "b"
    assert bench.gate.ledger.in_flight == 1
    assert bench.left() == 0


async def test_as_its_time_is_over() -> None:
    bench = Bench()
    for _ in range(4):
        await bench.gate.enter(interactive=True)
    task = bench.task("a", max_wait=5)
    await settle()
    bench.loop.call_at(5, task.cancel)
    with pytest.raises((asyncio.CancelledError, RateLimitWaitTooLong)):
        await task
    assert bench.gate.idle
    assert bench.gate.ledger.in_flight == 4


async def test_while_it_waits_for_the_pace() -> None:
    bench = Bench(pace=1)
    await bench.know(10, 9, 600)
    await asyncio.sleep(5)
    first, second, third = (bench.task(name) for name in "abc")
    await settle()
    assert bench.names == "a"
    second.cancel()
    await asyncio.sleep(1.1)
    assert bench.names == "ac", "its turn goes to the next"
    assert first.done()
    assert bench.gate.ledger.in_flight == 2
    assert bench.left() == 7
    assert third.result() != first.result()


async def test_the_probe_is_cancelled() -> None:
    bench = Bench()
    probe = bench.task("a", interactive=False)
    follower = bench.task("b", interactive=False)
    await settle()
    assert bench.names == "a"
    bench.gate.ledger.release(probe.result(), bench.loop.time(), maybe_sent=False)
    bench.gate.changed()
    await follower
    assert bench.names == "ab"


@pytest.mark.parametrize("pace", [None, 2.0, "even", "burst"])
@pytest.mark.parametrize("steps", range(40))
async def test_at_every_step(pace: object, steps: int) -> None:
    """Cancel one of five after so many steps of the loop: the others are served, and every permit is accounted for."""
    bench = Bench(pace=pace)  # type: ignore[arg-type]
    await bench.know(10, 3, 20)
    held: list[Ticket] = []

    async def use(name: str, interactive: bool) -> None:
        ticket = await bench.gate.enter(interactive=interactive)
        held.append(ticket)
        try:
            bench.starts.append((name, bench.loop.time()))
            await asyncio.sleep(0.5)
        except BaseException:
            bench.gate.ledger.release(ticket, bench.loop.time(), maybe_sent=True)
            bench.gate.changed()
            raise
        bench.tell(ticket)

    tasks = [bench.loop.create_task(use(name, name in "bd")) for name in "abcde"]
    for _ in range(steps):
        await asyncio.sleep(0)
        if steps % 2:
            await asyncio.sleep(0.05)
    victim = tasks[steps % 5]
    victim.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in found)
    assert sum(isinstance(result, asyncio.CancelledError) for result in found) <= 1
    assert bench.gate.idle
    assert bench.gate.ledger.in_flight == 0
    assert bench.gate._pacer is None or bench.gate._pacer._granted == 0
