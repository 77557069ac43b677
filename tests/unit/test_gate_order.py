"""Who is let in, and when: first contact, order, classes, what is kept, and how long a call waits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from xmediameta.errors import ClientClosed, RateLimitWaitTooLong
from xmediameta.ledger import Limits

from .gates import EPOCH, Bench, settle

pytestmark = pytest.mark.looptime


async def cancelled(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_nothing_limits_what_nothing_is_known_of_once_it_was_asked() -> None:
    bench = Bench()
    ticket = await bench.gate.enter(interactive=False)
    assert bench.gate.try_enter() is None, "one goes ahead, and its answer tells of the window"
    bench.tell(ticket)
    assert bench.gate.try_enter() is not None
    assert bench.gate.try_enter() is not None


async def test_first_contact_of_bulk_is_one_request() -> None:
    bench = Bench()
    tasks = [bench.task(name, interactive=False) for name in "abc"]
    await settle()
    assert bench.names == "a"
    bench.tell(tasks[0].result(), limit=3, remaining=2, opens_in=60)
    await settle()
    assert bench.names == "abc"


async def test_first_contact_of_calls_is_up_to_four() -> None:
    bench = Bench()
    tasks = [bench.task(name) for name in "abcdef"]
    await settle()
    assert bench.names == "abcd", "a post has four images"
    bench.tell(tasks[0].result(), limit=5, remaining=4, opens_in=60)
    await settle()
    assert bench.names == "abcde", "the rest follows what it learned"
    await cancelled(*tasks)


async def test_a_probe_that_tells_nothing_lets_the_next_one_go() -> None:
    bench = Bench()
    tasks = [bench.task(name, interactive=False) for name in "ab"]
    await settle()
    bench.gate.ledger.release(tasks[0].result(), bench.loop.time(), maybe_sent=True)
    bench.gate.changed()
    await settle()
    assert bench.names == "ab"


async def test_first_come_first_served_within_a_class_and_calls_ahead_of_bulk() -> None:
    bench = Bench()
    await bench.know(1, 0, 60)
    tasks = [bench.task(name, interactive=name.isupper()) for name in "aAbBcC"]
    await settle()
    assert bench.names == ""
    await asyncio.sleep(60)
    ticket = next(task for task in tasks if task.done()).result()
    bench.tell(ticket, limit=6, remaining=5, opens_in=60)
    await asyncio.gather(*tasks)
    assert bench.names == "ABCabc"


async def test_bulk_runs_come_after_everybody_who_waits() -> None:
    bench = Bench()
    await bench.know(5, 0, 60)
    called: list[str] = []
    bench.gate.call_when_open(lambda: called.append(bench.names))
    tasks = [bench.task("a", interactive=False), bench.task("b")]
    await asyncio.sleep(60)
    bench.tell(tasks[1].result(), limit=5, remaining=4, opens_in=60)
    await settle()
    assert bench.names == "ba"
    assert called == ["b"], "called back, once, after those before it were let in"
    assert bench.gate.try_enter() is not None


async def test_who_asks_does_not_pass_who_waits() -> None:
    bench = Bench()
    await bench.know(2, 0, 60)
    waiting = bench.task("a", interactive=False)
    await asyncio.sleep(59.9)
    assert bench.gate.try_enter() is None
    await asyncio.sleep(0.1)
    await settle()
    assert waiting.done()


async def test_what_is_kept_is_for_calls_only() -> None:
    bench = Bench(keep=2)
    await bench.know(5, 4, 60)
    taken = 0
    while bench.gate.try_enter() is not None:
        taken += 1
    assert taken == 2
    tasks = [bench.task(name) for name in "ab"]
    bulk = bench.task("c", interactive=False)
    await settle()
    assert bench.names == "ab"
    third = bench.task("d")
    await settle()
    assert not third.done()
    assert not bulk.done()
    await cancelled(bulk, third)
    assert all(task.done() for task in tasks)


async def test_a_call_goes_in_though_bulk_waits_for_the_same_window() -> None:
    bench = Bench(keep=1)
    await bench.know(5, 1, 60)
    bulk = bench.task("b", interactive=False)
    await settle()
    assert not bulk.done()
    await bench.task("c")
    assert bench.names == "c"
    await cancelled(bulk)


# How long


async def test_a_longer_wait_fails_at_once_and_says_why() -> None:
    bench = Bench()
    gate = bench.another("ana")
    await bench.know(500, 0, 90, gate=gate)
    before = bench.loop.time()
    with pytest.raises(RateLimitWaitTooLong) as caught:
        await gate.enter(interactive=True, max_wait=10)
    error = caught.value
    assert bench.loop.time() == before
    assert error.retry_after == pytest.approx(90)
    assert error.max_wait == 10
    assert error.window == "user-15min"
    assert error.account == "ana"
    assert error.reset_at is not None
    assert error.reset_at.timestamp() == pytest.approx(EPOCH + before + 90)
    assert error.reset_at.tzinfo is UTC
    assert gate.idle
    assert "opens in 90.0 s" in str(error)


async def test_a_wait_that_is_short_enough_is_waited() -> None:
    bench = Bench()
    await bench.know(1, 0, 9)
    ticket = await bench.gate.enter(interactive=True, max_wait=10)
    assert bench.loop.time() == pytest.approx(9, abs=0.01)
    bench.tell(ticket)


async def test_without_a_bound_it_waits_as_long_as_it_takes() -> None:
    bench = Bench()
    await bench.know(1, 0, 900)
    await bench.gate.enter(interactive=False)
    assert bench.loop.time() == pytest.approx(900, abs=0.01)


async def test_a_window_that_closes_meanwhile_fails_who_would_wait_too_long() -> None:
    bench = Bench()
    probes = [await bench.gate.enter(interactive=True) for _ in range(4)]
    short, long, ever = bench.task("s", max_wait=10), bench.task("l", max_wait=100), bench.task("e")
    await asyncio.sleep(2)
    assert not short.done(), "how the window stands is not known yet"
    bench.tell(probes[0], limit=4, remaining=0, opens_in=60)
    await settle()
    assert isinstance(short.exception(), RateLimitWaitTooLong)
    await asyncio.sleep(60)
    await settle()
    assert long.done()
    assert long.exception() is None
    bench.tell(long.result())
    await ever


async def test_a_window_that_nobody_tells_of_is_waited_for_no_longer_than_that() -> None:
    bench = Bench()
    for _ in range(4):
        await bench.gate.enter(interactive=True)
    with pytest.raises(RateLimitWaitTooLong, match="an unknown time") as caught:
        await bench.gate.enter(interactive=True, max_wait=10)
    assert bench.loop.time() == pytest.approx(10, abs=0.01)
    assert caught.value.retry_after is None
    assert caught.value.reset_at is None


async def test_each_of_many_failures_is_an_error_of_its_own() -> None:
    bench = Bench()
    await bench.know(1, 0, 60)
    tasks = [bench.task(str(number), max_wait=10) for number in range(20)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(error, RateLimitWaitTooLong) for error in found)
    assert len({id(error) for error in found}) == 20
    assert bench.gate.idle


async def test_who_gave_up_leaves_nothing_behind_one_who_waits() -> None:
    bench = Bench()
    await bench.know(1, 0, 600)
    patient = bench.task("p")
    await settle()
    for _ in range(50):
        with pytest.raises(RateLimitWaitTooLong):
            await bench.gate.enter(interactive=True, max_wait=1)
    assert len(bench.gate._interactive) == 1
    await cancelled(patient)
    assert bench.gate.idle


# Being told


async def test_on_wait_is_told_once_for_each_wait() -> None:
    bench = Bench()
    gate = bench.another("ana")
    await bench.know(2, 0, 60, gate=gate)
    tasks = [bench.task(name, interactive=False, gate=gate) for name in "abcd"]
    await settle()
    assert len(bench.waits) == 1
    wait = bench.waits[0]
    assert (wait.account, wait.window) == ("ana", "user-15min")
    assert wait.seconds == pytest.approx(60)
    assert wait.reset_at == datetime.fromtimestamp(EPOCH + 60, UTC)
    assert wait.waiting == 1
    await asyncio.sleep(60)
    bench.tell(tasks[0].result(), limit=2, remaining=0, opens_in=60, gate=gate)
    await settle()
    assert [round(told.seconds) for told in bench.waits] == [60, 60]
    assert bench.waits[1].waiting == 3
    await cancelled(*tasks[1:])


async def test_nobody_waits_so_nobody_is_told() -> None:
    bench = Bench()
    await bench.know(1, 0, 60)
    assert bench.gate.try_enter() is None
    assert bench.gate.waiting_until == pytest.approx(60)
    with pytest.raises(RateLimitWaitTooLong):
        await bench.gate.enter(interactive=True, max_wait=1)
    assert bench.waits == []


async def test_waiting_for_the_pace_is_not_waiting_for_a_window() -> None:
    bench = Bench(pace=1.0)
    bench.tell(await bench.gate.enter(interactive=True))
    await bench.gate.enter(interactive=True, max_wait=5)
    assert bench.waits == []
    assert bench.gate.waiting_until is None


async def test_no_patience_for_a_window_is_a_second_for_the_pace() -> None:
    bench = Bench(pace=20)
    bench.tell(await bench.gate.enter(interactive=True))
    await asyncio.sleep(1)
    began = bench.loop.time()
    tasks = [bench.task(str(number), max_wait=0.0) for number in range(40)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [error for error in found if isinstance(error, RateLimitWaitTooLong)]
    assert bench.loop.time() - began == pytest.approx(1.0, abs=0.01)
    assert len(bench.starts) == pytest.approx(22, abs=1), "two at once, and twenty a second"
    assert len(errors) == 40 - len(bench.starts)
    for error in errors:
        assert (error.window, error.max_wait) == (None, 0.0)
        assert error.retry_after == pytest.approx(1 / 40, abs=1 / 40 + 0.001)
        assert "at this pace" in str(error)
    assert bench.gate.idle


async def test_a_longer_patience_is_a_bound_for_the_pace_too() -> None:
    bench = Bench(pace=1)
    bench.tell(await bench.gate.enter(interactive=True))
    tasks = [bench.task(str(number), max_wait=3.5) for number in range(6)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(error, RateLimitWaitTooLong) for error in found] == [False] * 3 + [True] * 3
    assert bench.loop.time() == pytest.approx(3.5, abs=0.01)


async def test_a_window_that_closes_while_the_pace_holds_up_ends_who_has_no_patience_for_it() -> None:
    bench = Bench(pace=1)
    tickets = [await bench.gate.enter(interactive=True)]
    bench.tell(tickets[0], limit=100, remaining=90, opens_in=60)
    await asyncio.sleep(1)
    tickets = [await bench.gate.enter(interactive=True)]
    task = bench.task("x", max_wait=0.0)
    await settle()
    assert not task.done(), "only the pace is in its way"
    bench.tell(tickets[0], limit=100, remaining=0, opens_in=50)
    await settle()
    assert isinstance(error := task.exception(), RateLimitWaitTooLong)
    assert error.window == "user-15min"
    assert bench.gate.idle


# The app


async def test_an_answer_of_one_account_lets_in_another_that_the_app_held_up() -> None:
    bench = Bench(limits=Limits(user_15min=None, app_24hour=(10, 600)))
    other = bench.another("bob")
    ticket = await bench.gate.enter(interactive=False)
    held_up = bench.task("b", interactive=False, gate=other)
    await settle()
    assert not held_up.done(), "the app's window is asked by one"
    bench.tell(ticket, limit=10, remaining=9, opens_in=600, window="app-24hour")
    await settle()
    assert held_up.done()


async def test_an_app_lets_in_first_come_first_served_and_calls_first() -> None:
    bench = Bench(limits=Limits(user_15min=None, app_24hour=(1, 600)))
    gates = [bench.another(name) for name in "abcd"]
    ticket = await bench.gate.enter(interactive=False)
    tasks = [bench.task(name, gate=gate, interactive=name == "c") for name, gate in zip("abcd", gates, strict=True)]
    await settle()
    assert bench.names == ""
    gate = bench.gate
    for number, name in ((2, "c"), (0, "a"), (1, "b"), (3, "d")):
        gate.ledger.release(ticket, bench.loop.time(), maybe_sent=False)
        gate.changed()
        await settle()
        assert bench.names.endswith(name), "one at a time: the app's window has one permit"
        gate, ticket = gates[number], tasks[number].result()
    assert bench.names == "cabd"


async def test_a_user_window_that_is_closed_does_not_hold_up_the_app() -> None:
    bench = Bench(limits=Limits(user_15min=None, app_24hour=(10, 600)))
    other = bench.another("bob")
    await bench.know(1, 0, 60)
    blocked = bench.task("a", interactive=False)
    await settle()
    assert not blocked.done()
    assert other.try_enter() is not None
    await cancelled(blocked)


# Closing


async def test_closing_ends_who_waits_and_calls_runs_back() -> None:
    bench = Bench()
    await bench.know(1, 0, 60)
    tasks = [bench.task("a"), bench.task("b", interactive=False)]
    called: list[int] = []
    bench.gate.call_when_open(lambda: called.append(1))
    await settle()
    bench.gate.close(ClientClosed("closed"))
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in found] == [ClientClosed, ClientClosed]
    assert found[0] is not found[1]
    assert called == [1]
    assert bench.gate.idle
    assert bench.gate.try_enter() is None
    with pytest.raises(ClientClosed):
        await bench.gate.enter(interactive=True)
    before = bench.loop.time()
    await asyncio.sleep(100)
    assert bench.loop.time() == before + 100


async def test_a_run_that_took_back_its_call_is_not_called() -> None:
    bench = Bench()
    await bench.know(1, 0, 60)
    called: list[int] = []

    def callback() -> None:
        called.append(1)

    bench.gate.call_when_open(callback)
    bench.gate.forget(callback)
    bench.gate.forget(callback)
    assert bench.gate.idle
    await asyncio.sleep(100)
    assert called == []


async def test_repr_shows_who_waits() -> None:
    bench = Bench()
    gate = bench.another("ana")
    await bench.know(1, 0, 60, gate=gate)
    waiting = bench.task("a", gate=gate)
    await settle()
    assert repr(gate) == "<Gate ana: 1 waiting, 0 in flight>"
    await cancelled(waiting)


def test_a_time_that_is_past_on_uvloop() -> None:
    """There a timer of what is past knows no time of its own."""
    uvloop = pytest.importorskip("uvloop")

    async def run() -> None:
        bench = Bench()
        past = bench.loop.time() - 1
        for _ in range(2):
            bench.gate._set_timer(past)
        assert bench.gate._timer is not None
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert bench.gate._timer is None

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
