"""The short way in: it gives nothing that `enter` and `try_enter` would not give in its place."""

from __future__ import annotations

import asyncio

import pytest

from xmediameta.errors import ClientClosed
from xmediameta.gate import Pace

from .gates import Bench, settle

pytestmark = pytest.mark.looptime


async def test_nothing_is_at_once_in_an_unknown_window() -> None:
    bench = Bench()
    assert bench.gate.at_once() is None
    assert bench.gate.ledger.in_flight == 0


async def test_it_takes_no_more_than_there_is_and_what_is_kept_is_for_calls() -> None:
    bench = Bench(keep=2)
    await bench.know(6, 5, 60)
    await bench.task("a")  # whose refusal to think has found out how many may go
    bulk = 0
    while bench.gate.try_enter() is not None:
        bulk += 1
    calls = 0
    while bench.gate.at_once() is not None:
        calls += 1
    assert (bulk, calls) == (2, 2)
    assert bench.left() == 0


async def test_it_passes_bulk_that_waits_and_no_call() -> None:
    bench = Bench(keep=2)
    await bench.know(5, 2, 60)
    bulk = bench.task("b", interactive=False)
    await settle()
    assert not bulk.done()
    await bench.task("a")
    assert bench.gate.at_once() is not None
    waiting = bench.task("c")
    await settle()
    assert not waiting.done()
    bench.gate.ledger.windows[0].credit = 5  # as if it had opened, and nobody was let in yet
    assert bench.gate.at_once() is None
    assert bench.gate.try_enter() is None
    for task in (bulk, waiting):
        task.cancel()
    await asyncio.gather(bulk, waiting, return_exceptions=True)


async def test_what_was_left_of_a_window_is_gone_with_it() -> None:
    bench = Bench()
    await bench.know(5, 4, 60)
    await bench.task("a")
    assert bench.gate.at_once() is not None
    await asyncio.sleep(60)
    assert bench.gate.at_once() is None, "that has to be thought of"
    assert bench.gate.try_enter() is not None


@pytest.mark.parametrize("pace", ["burst", "even", 10.0])
async def test_a_pace_is_kept(pace: Pace) -> None:
    bench = Bench(pace=pace)
    await bench.know(5, 4, 60)
    await bench.task("a")
    assert bench.gate.at_once() is None


async def test_a_closed_gate_lets_nobody_in() -> None:
    bench = Bench()
    await bench.know(5, 4, 60)
    await bench.task("a")
    bench.gate.close(ClientClosed("the client is closed"))
    assert bench.gate.at_once() is None
    assert bench.gate.try_enter() is None


@pytest.mark.parametrize("interactive", [True, False])
async def test_nobody_is_said_to_wait_any_more(interactive: bool) -> None:
    bench = Bench()
    await bench.know(5, 0, 60)
    assert bench.gate.try_enter() is None
    assert bench.gate.waiting_until is not None
    for window in bench.gate.ledger.windows:
        window.credit, window.credit_until = 2, bench.loop.time() + 10
    assert (bench.gate.at_once() if interactive else bench.gate.try_enter()) is not None
    assert bench.gate.waiting_until is None
    assert bench.gate.waiting_for is None
