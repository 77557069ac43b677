"""Cancelled, left, stopped or closed at any moment: nothing leaks, and the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from xmediameta import Applied, BulkRun, Client, ClientClosed, NotSent, Outcome, Sandbox, Update

from .clients import ID, alt, client_of, nothing_left, outcomes_of, settle, told, updates, wire

pytestmark = pytest.mark.looptime  # sockets are real, time is not: latency and waits cost none

STEPS = [*range(8), *range(8, 60, 5), 80, 120]


async def steps(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize("victim", ["leader", "sharer", "behind", "run", "other run"])
async def test_at_any_step_of_the_loop(victim: str) -> None:
    """One of five who use the same media is cancelled after so many steps, in a window that closes meanwhile."""
    for number in STEPS:
        script: dict[str, list[str | int]] = {"1": ["503"], "2": ["reset"], "3": ["429-bare"]}
        async with Sandbox(limit=7, window=60, script=script, latency=0.01) as sandbox, client_of(sandbox) as client:
            rows = [Update(str(n % 3 + 1), alt(f"row{n}"), ref=n) for n in range(6)]
            tasks: dict[str, asyncio.Task[Any]] = {
                "leader": asyncio.create_task(client.create("1", alt("a"), max_wait=None)),
                "sharer": asyncio.create_task(client.create("1", alt("a"), max_wait=None)),
                "behind": asyncio.create_task(client.create("1", alt("b"), max_wait=None)),
                "run": asyncio.create_task(outcomes_of(client, rows, concurrency=3)),
                "other run": asyncio.create_task(outcomes_of(client, rows, concurrency=2)),
            }
            await steps(number)
            tasks[victim].cancel()
            await asyncio.wait(tasks.values())
            for name, task in tasks.items():
                if name == victim:
                    assert task.cancelled() or task.exception() is None
                elif name in {"run", "other run"}:
                    found, error = task.result()
                    assert error is None
                    assert told(found) == dict.fromkeys(range(6), "applied"), (number, name)
                else:
                    assert isinstance(task.result(), Applied), (number, name)
            assert sandbox.counts.most_per_id == 1
            await nothing_left(client)


async def some(pause: float = 1.0) -> AsyncIterator[Update]:
    """Input that has to be waited for in its middle."""
    for update in updates(12):
        yield update
    await asyncio.sleep(pause)
    for update in updates(5, first=20):
        yield update


async def use(client: Client, run: BulkRun, way: str, number: int, found: list[Outcome]) -> None:
    """Read a run, and end it in some way after so many steps."""
    async with run as outcomes:
        await steps(number)
        if way == "leave":
            return
        if way == "raise":
            raise LookupError
        if way == "stop":
            outcomes.stop()
        if way == "close":
            await client.aclose()
        async for outcome in outcomes:
            found.append(outcome)
            if way == "break":
                break


@pytest.mark.parametrize("way", ["leave", "break", "raise", "stop", "close", "cancel"])
async def test_a_run_ends_in_any_way_at_any_step(way: str) -> None:
    """While some are in flight, some wait for a window, some to be tried again, and the input is waited for."""
    ends: dict[str, type[BaseException]] = {
        "cancel": asyncio.CancelledError, "raise": LookupError, "close": ClientClosed,
    }  # fmt: skip
    for number in STEPS:
        script: dict[str, list[str | int]] = {"1": ["503"], "2": ["reset"], "3": ["hang"], "4": ["403"]}
        async with Sandbox(limit=8, window=60, script=script, latency=0.01) as sandbox, client_of(sandbox) as client:
            found: list[Outcome] = []
            bystander = asyncio.create_task(client.create(ID, alt(), max_wait=None))
            run = client.bulk(some(), concurrency=4)
            task = asyncio.create_task(use(client, run, way, number, found))
            if way == "cancel":
                await steps(number + 2)
                task.cancel()
            (result,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(result, ends.get(way, type(None))), (number, result)
            if way in {"stop", "close"}:
                words = told(found)
                assert len(words) == run.taken, "each that was taken has its outcome"
                assert set(words.values()) <= {"applied", "closed", "UpdateForbidden"}
            if way == "close":
                await asyncio.wait((bystander,))
                assert bystander.exception() is None or isinstance(bystander.exception(), ClientClosed)
            else:
                assert isinstance(await bystander, Applied)
                again, error = await outcomes_of(client, updates(3, first=40))
                assert error is None
                assert len(again) == 3
            assert run.in_flight == 0
            await nothing_left(client)


async def test_a_long_lane_ends_without_a_deep_stack() -> None:
    """2,000 different updates of one media: as many entries, one behind the other, end at once."""
    async with Sandbox(script={ID: ["hang"]}) as sandbox, client_of(sandbox) as client:
        rows = [Update(ID, alt(str(n)), ref=n) for n in range(2_000)]
        async with client.bulk(rows) as outcomes:
            await asyncio.sleep(0.1)
            assert outcomes.taken == 2_000
            reader = asyncio.create_task(anext(outcomes))
            await client.aclose()
            assert isinstance(await reader, NotSent)
            for _ in range(1_999):
                assert isinstance(await anext(outcomes), NotSent)
            with pytest.raises(ClientClosed):
                await anext(outcomes)
        await nothing_left(client)


async def test_a_long_lane_of_a_stopped_account() -> None:
    async with Sandbox(latency=0.05) as sandbox, client_of(sandbox) as client:
        await client.create("1", alt())
        sandbox.script(ID, ["401"])
        found, error = await outcomes_of(client, [Update(ID, alt(str(n)), ref=n) for n in range(2_000)])
        assert error is not None
        assert set(told(found).values()) == {"account_stopped"}
        await nothing_left(client)


async def test_a_long_lane_that_has_expired() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        rows = [Update(ID, alt(str(n)), ref=n, send_before=1) for n in range(2_000)]
        found, error = await outcomes_of(client, rows)
        assert error is None
        assert told(found) == dict.fromkeys(range(2_000), "expired")
        assert sandbox.counts.requests == 0
        await nothing_left(client)


async def test_stop_lets_what_is_in_flight_finish() -> None:
    async with Sandbox(latency=5) as sandbox, client_of(sandbox) as client:
        await client.create(ID, alt())
        given = iter(updates(50))
        async with client.bulk(given, concurrency=3) as outcomes:
            await asyncio.sleep(1)
            outcomes.stop()
            outcomes.stop()
            found = [outcome async for outcome in outcomes]
        words = told(found)
        assert list(words.values()).count("applied") == 3
        assert set(words.values()) <= {"applied", "closed"}
        assert len(words) + len(list(given)) == 50
        assert sandbox.applied["1"] == wire("1")
        await nothing_left(client)


async def test_closing_the_client_ends_a_run_that_waits_for_a_window() -> None:
    async with Sandbox(limit=2, window=900) as sandbox:
        client = client_of(sandbox)
        run = asyncio.create_task(outcomes_of(client, updates(5)))
        await asyncio.sleep(10)
        await client.aclose()
        found, error = await run
        assert isinstance(error, ClientClosed)
        assert sorted(told(found).values()) == ["applied"] * 2 + ["closed"] * 3
        assert asyncio.get_running_loop().time() < 11
        await nothing_left(client)


async def test_closing_the_client_ends_a_run_that_waits_for_input() -> None:
    async def never() -> AsyncIterator[Update]:
        await asyncio.sleep(1e6)
        yield Update("1", alt())

    async with Sandbox() as sandbox:
        client = client_of(sandbox)
        run = asyncio.create_task(outcomes_of(client, never()))
        await asyncio.sleep(10)
        await client.aclose()
        assert await run == ([], run.result()[1])
        assert isinstance(run.result()[1], ClientClosed)
        await nothing_left(client)


async def test_a_run_whose_reader_is_cancelled_again_as_it_leaves() -> None:
    async with Sandbox(latency=0.1) as sandbox, client_of(sandbox) as client:

        async def use() -> None:
            async with client.bulk(updates(50), concurrency=8) as outcomes:
                async for _ in outcomes:
                    pass

        task = asyncio.create_task(use())
        await asyncio.sleep(0.15)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settle()
        await nothing_left(client)
