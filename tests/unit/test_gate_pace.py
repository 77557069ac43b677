"""Starts per second, measured in virtual time."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from xmediameta.gate import Pace

from .gates import Bench, settle

pytestmark = pytest.mark.looptime


async def starts_of(bench: Bench, number: int) -> list[float]:
    """When that many calls started that came at once."""
    bench.tell(await bench.gate.enter(interactive=True))
    await asyncio.sleep(10)
    began = bench.loop.time()
    await asyncio.gather(*(bench.task("x") for _ in range(number)))
    return [at - began for _, at in bench.starts]


async def test_none_holds_nobody_up() -> None:
    assert max(await starts_of(Bench(pace=None), 2_000)) == 0


@pytest.mark.parametrize(("pace", "rate"), [("burst", 250.0), (100.0, 100.0), (12.5, 12.5), (5, 5.0), (0.5, 0.5)])
async def test_a_number_of_starts_a_second(pace: Pace, rate: float) -> None:
    number = max(10, int(rate * 4))
    starts = await starts_of(Bench(pace=pace), number)
    assert starts == sorted(starts)
    bucket = max(1.0, rate / 10)
    assert len([at for at in starts if at == 0]) == int(bucket), "the bucket is full to begin with"
    # The bucket and what leaks from it are all that starts, and it is used up.
    for index, at in enumerate(starts):
        assert index + 1 <= bucket + rate * at + 1e-3
    assert starts[-1] == pytest.approx((number - bucket) / rate, rel=0.03, abs=0.02)


async def test_bulk_that_asks_is_held_to_the_same_pace() -> None:
    bench = Bench(pace=50)
    bench.tell(await bench.gate.enter(interactive=True))
    await asyncio.sleep(1)
    began = bench.loop.time()
    starts: list[float] = []
    while len(starts) < 100:
        if bench.gate.try_enter() is not None:
            await bench.gate.smooth()
            starts.append(bench.loop.time() - began)
            continue
        again = asyncio.Event()
        bench.gate.call_when_open(again.set)
        await again.wait()
    assert starts[-1] == pytest.approx(95 / 50, rel=0.03)


async def test_calls_and_bulk_share_the_pace() -> None:
    bench = Bench(pace=10)
    bench.tell(await bench.gate.enter(interactive=True))
    await asyncio.sleep(1)
    began = bench.loop.time()
    await asyncio.gather(*(bench.task("c"), *(bench.task("b", interactive=False) for _ in range(9)), bench.task("c")))
    assert [name for name, _ in bench.starts][:2] == ["c", "c"]
    assert bench.starts[-1][1] - began == pytest.approx(1.0, rel=0.05)


# Even


async def even(limit: int, remaining: int, opens_in: float) -> Bench:
    bench = Bench(pace="even")
    await bench.know(limit, remaining, opens_in)
    return bench


async def test_even_spreads_what_is_left_over_the_window() -> None:
    bench = await even(101, 100, 200)
    await asyncio.gather(*(bench.task("x") for _ in range(100)))
    starts = [at for _, at in bench.starts]
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert min(gaps) >= 1.9
    assert max(gaps) <= 2.1
    assert starts[-1] <= 200, "and uses it to its last request"


async def test_even_has_no_burst_at_the_end_of_a_window() -> None:
    """A limiter replaced for each change of the pace starts one request at once."""
    bench = await even(11, 10, 100)
    await asyncio.sleep(85)
    await asyncio.gather(*(bench.task("x") for _ in range(10)))
    starts = [at for _, at in bench.starts]
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert min(gaps) >= 1.4


async def test_even_follows_the_tightest_window() -> None:
    bench = Bench(pace="even")
    ticket = await bench.gate.enter(interactive=True)
    bench.tell(ticket, limit=1_000, remaining=999, opens_in=100)
    ticket = await bench.gate.enter(interactive=True)
    bench.tell(ticket, limit=20, remaining=10, opens_in=100, window="app-24hour")
    await asyncio.gather(*(bench.task("x") for _ in range(3)))
    starts = [at for _, at in bench.starts]
    assert starts[2] - starts[1] == pytest.approx(10, rel=0.15)


async def test_even_does_not_let_two_go_before_the_first_has_started() -> None:
    bench = await even(11, 10, 100)
    await asyncio.sleep(20)
    assert bench.gate.try_enter() is not None
    assert bench.gate.try_enter() is None
    await bench.gate.smooth()
    assert bench.gate.try_enter() is None


async def test_a_limiter_that_is_held_up_counts_what_was_granted() -> None:
    bench = Bench(pace=10)
    bench.tell(await bench.gate.enter(interactive=True))
    await asyncio.sleep(1)
    assert bench.gate.try_enter() is not None
    assert bench.gate.try_enter() is None, "the first one has not started, and will"
    await bench.gate.smooth()
    await settle()
    await asyncio.sleep(0.1)
    assert bench.gate.try_enter() is not None
