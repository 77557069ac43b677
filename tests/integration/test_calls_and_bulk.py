"""Calls and bulk runs on one client: order, sharing, and who goes first."""

from __future__ import annotations

import asyncio
import random

import pytest

from xmediameta import Applied, BudgetReached, NotSent, RateLimitWaitTooLong, Sandbox, Update

from .clients import ID, alt, client_of, nothing_left, outcomes_of, settle, told, updates, wire

pytestmark = pytest.mark.looptime  # sockets are real, time is not: latency and waits cost none


@pytest.mark.parametrize("seed", range(4))
async def test_never_two_in_flight_for_one_media_and_always_in_order(seed: int) -> None:
    """Calls, two runs, one client; the server sees the texts of each in the order given, one at a time."""
    rand = random.Random(seed)
    ids = ["1", "2", "3"]
    async with Sandbox(latency=(0.0, 0.01), seed=seed, limit=None, app_limit=None) as sandbox:
        async with client_of(sandbox) as client:
            rows = {
                name: [Update(rand.choice(ids), alt(f"{name}{index}"), ref=index) for index in range(40)]
                for name in ("x", "y")
            }

            async def call(index: int) -> None:
                await asyncio.sleep(rand.random() * 0.1)
                media_id = rand.choice(ids)
                await client.create(media_id, alt(f"z{index}"))

            results = await asyncio.gather(
                *(outcomes_of(client, given, concurrency=5) for given in rows.values()), *(call(n) for n in range(20))
            )
            for found, error in (result for result in results if result is not None):
                assert error is None
                assert set(told(found).values()) == {"applied"}
            await nothing_left(client)
        assert sandbox.counts.most_per_id == 1
        assert sandbox.counts.applied == sandbox.counts.requests == 100
        for name, given in rows.items():
            for media_id in ids:
                seen = [entry["alt_text"]["text"] for entry in sandbox.history(media_id)]
                mine = [text for text in seen if text.startswith(name)]
                assert mine == [f"{name}{update.ref}" for update in given if update.id == media_id]


async def test_a_call_joins_a_row_that_is_under_way() -> None:
    async with Sandbox(latency=0.1) as sandbox, client_of(sandbox) as client:
        run = asyncio.create_task(outcomes_of(client, [Update(ID, alt(), ref="row")]))
        await asyncio.sleep(0.04)
        assert client.stats.in_flight == 1
        applied = await client.create(ID, alt(), ref="call")
        found, _ = await run
        assert applied.ref == "call"
        assert told(found) == {"row": "applied"}
        assert sandbox.counts.requests == 1
        await nothing_left(client)


async def test_a_row_joins_a_call_that_is_under_way() -> None:
    async with Sandbox(latency=0.1) as sandbox, client_of(sandbox) as client:
        call = asyncio.create_task(client.create(ID, alt(), ref="call"))
        await asyncio.sleep(0.04)
        found, error = await outcomes_of(client, [Update(ID, alt(), ref="row"), Update(ID, alt("b"), ref="next")])
        assert error is None
        assert told(found) == {"row": "applied", "next": "applied"}
        assert (await call).ref == "call"
        assert sandbox.history(ID) == [wire(), wire("b")]
        await nothing_left(client)


async def test_a_row_takes_over_from_a_call_that_is_cancelled() -> None:
    async with Sandbox(latency=0.1) as sandbox, client_of(sandbox) as client:
        call = asyncio.create_task(client.create(ID, alt()))
        await asyncio.sleep(0.04)
        run = asyncio.create_task(outcomes_of(client, [Update(ID, alt(), ref="row")]))
        await asyncio.sleep(0.02)
        call.cancel()
        found, error = await run
        assert error is None
        assert told(found) == {"row": "applied"}
        assert call.cancelled()
        await nothing_left(client)


async def test_a_call_takes_over_from_a_run_that_is_left() -> None:
    async with Sandbox(latency=0.1) as sandbox, client_of(sandbox) as client:
        async with client.bulk([Update(ID, alt(), ref="row"), Update(ID, alt("b"))]):
            await asyncio.sleep(0.04)
            same = asyncio.create_task(client.create(ID, alt()))
            behind = asyncio.create_task(client.create(ID, alt("b")))
            await asyncio.sleep(0.02)
        assert isinstance(await same, Applied)
        assert isinstance(await behind, Applied)
        assert sandbox.history(ID)[-1] == wire("b")
        await nothing_left(client)


async def test_a_row_does_not_end_because_a_call_would_wait_no_longer() -> None:
    async with Sandbox(limit=1, window=60) as sandbox, client_of(sandbox) as client:
        await client.create("1", alt())
        call = asyncio.create_task(client.create(ID, alt(), max_wait=None))
        await settle()
        run = asyncio.create_task(outcomes_of(client, [Update(ID, alt(), ref="row")]))
        await settle()
        with pytest.raises(RateLimitWaitTooLong):
            await client.create(ID, alt(), max_wait=1)
        call.cancel()
        found, error = await run
        assert error is None
        assert told(found) == {"row": "applied"}
        assert sandbox.counts.limited == 0


async def test_the_reader_of_a_run_may_call_for_what_the_run_has_not_sent() -> None:
    """The run sends no more until it is read, and its reader waits for a call that is behind rows of the run."""
    number = 400
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        rows = [Update("77", alt(str(index % 7)), ref=index) for index in range(number)]
        found: list[object] = []
        async with client.bulk(rows, concurrency=4) as outcomes:
            async for outcome in outcomes:
                found.append(outcome)
                if len(found) == 1:
                    await asyncio.sleep(0.2)  # the run fills its shelf and stops
                    async with asyncio.timeout(5):
                        await client.create("77", alt("call"), max_wait=None)
        assert len(found) == number
        assert sandbox.counts.most_per_id == 1
        assert wire("call") in sandbox.history("77")
        await nothing_left(client)


async def test_the_reader_may_call_for_the_very_row() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        rows = [*updates(200, first=100), Update(ID, alt(), ref="row")]
        found = []
        async with client.bulk(rows, concurrency=2, lookahead=10_000) as outcomes:
            async for outcome in outcomes:
                found.append(outcome)
                if len(found) == 1:
                    await asyncio.sleep(0.2)
                    async with asyncio.timeout(5):
                        await client.create(ID, alt(), max_wait=None)
        assert len(found) == 201
        assert set(told(found).values()) == {"applied"}
        await nothing_left(client)


# Who goes first


async def test_calls_go_ahead_of_bulk_when_a_window_opens() -> None:
    async with Sandbox(limit=4, window=60) as sandbox, client_of(sandbox) as client:
        run = asyncio.create_task(outcomes_of(client, updates(12)))
        await asyncio.sleep(5)
        assert sandbox.counts.requests == 4
        calls = [asyncio.create_task(client.create(f"90{n}", alt(), max_wait=None)) for n in range(3)]
        await asyncio.gather(*calls)
        found, _ = await run
        order = [received.id for received in sandbox.received]
        assert sorted(order[4:7]) == ["900", "901", "902"]
        assert set(told(found).values()) == {"applied"}
        assert sandbox.counts.limited == 0
        await nothing_left(client)


async def test_what_is_reserved_serves_calls_while_bulk_waits() -> None:
    async with Sandbox(limit=10, window=900) as sandbox, client_of(sandbox, reserve=3) as client:
        run = asyncio.create_task(outcomes_of(client, updates(20)))
        await asyncio.sleep(30)
        assert sandbox.counts.requests == 7
        for number in range(3):
            await client.create(f"90{number}", alt(), max_wait=1)
        with pytest.raises(RateLimitWaitTooLong):
            await client.create("903", alt(), max_wait=1)
        found, _ = await run
        assert set(told(found).values()) == {"applied"}
        assert sandbox.counts.limited == 0
        await nothing_left(client)


async def test_a_call_that_shares_a_row_uses_what_is_reserved() -> None:
    """The row waits for a window that bulk has used up; the call that wants the same may go now."""
    async with Sandbox(limit=5, window=900) as sandbox, client_of(sandbox, reserve=2) as client:
        run = asyncio.create_task(outcomes_of(client, [*updates(4), Update(ID, alt(), ref="row")]))
        await asyncio.sleep(30)
        assert sandbox.counts.requests == 3
        began = asyncio.get_running_loop().time()
        await client.create(ID, alt(), max_wait=1)
        assert asyncio.get_running_loop().time() - began < 1
        found, _ = await run
        assert told(found)["row"] == "applied"
        assert sandbox.counts.requests == 5
        await nothing_left(client)


async def test_a_run_with_a_budget_does_not_exceed_it_for_a_call() -> None:
    async with Sandbox(latency=1) as sandbox, client_of(sandbox) as client:
        rows = [Update(ID, alt(str(n)), ref=n) for n in range(5)]
        run = asyncio.create_task(outcomes_of(client, rows, max_requests=2))
        await asyncio.sleep(0.5)
        call = asyncio.create_task(client.create(ID, alt("call"), max_wait=None))
        found, error = await run
        assert isinstance(error, BudgetReached)
        assert list(told(found).values()) == ["applied"] * 2 + ["budget"] * 3
        assert isinstance(await call, Applied)
        assert sandbox.history(ID) == [wire("0"), wire("1"), wire("call")]
        await nothing_left(client)


async def test_a_run_that_is_stopped_lets_a_call_go_on_with_what_it_hurried() -> None:
    async with Sandbox(limit=1, window=900) as sandbox, client_of(sandbox) as client:
        await client.create("1", alt())
        async with client.bulk([Update(ID, alt(), ref="row"), Update("5", alt(), ref="other")]) as outcomes:
            await asyncio.sleep(1)
            call = asyncio.create_task(client.create(ID, alt(), max_wait=None))
            await asyncio.sleep(1)
            outcomes.stop()
            found = [outcome async for outcome in outcomes]
        assert told(found) == {"row": "closed", "other": "closed"}
        assert all(isinstance(outcome, NotSent) and outcome.error is None for outcome in found)
        assert isinstance(await call, Applied)
        await nothing_left(client)


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_run_goes_on_after_calls_have_taken_all_its_places(concurrency: int) -> None:
    """The workers found no room while the calls' requests were on their way, and none of them awaited these."""
    rows = updates(concurrency + 3, first=100)
    async with Sandbox(limit=2 * concurrency, window=60, latency=3) as sandbox, client_of(sandbox) as client:
        await asyncio.gather(*(client.create(str(number + 1), alt()) for number in range(2 * concurrency)))
        run = asyncio.create_task(outcomes_of(client, rows, concurrency=concurrency))
        await asyncio.sleep(1)
        calls = [client.create(row.id, row.metadata, max_wait=None) for row in rows[:concurrency]]
        async with asyncio.timeout(600):
            await asyncio.gather(*calls)
            found, error = await run
        assert error is None
        assert set(told(found).values()) == {"applied"}
        await nothing_left(client)


@pytest.mark.parametrize("who", ["a call", "another run"])
async def test_a_run_goes_on_after_others_have_sent_all_that_it_holds(who: str) -> None:
    """It reads on when there is room to look ahead again, and none of its own workers made that."""
    rows = updates(8)
    async with Sandbox(latency=3) as sandbox, client_of(sandbox) as client:
        other: asyncio.Task[object]
        if who == "a call":
            held, other = 1, asyncio.create_task(client.create("1", rows[0].metadata))
        else:
            held, other = 3, asyncio.create_task(outcomes_of(client, rows[:3]))
        await asyncio.sleep(1)
        async with asyncio.timeout(600):
            found, error = await outcomes_of(client, rows, lookahead=held)
        assert error is None
        assert set(told(found).values()) == {"applied"}
        assert sandbox.counts.requests == 8
        await other
        await nothing_left(client)
