"""The caller's iterable: how far it is read, what is left of it, and what happens when it fails or hangs."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from xmediameta import Applied, Client, Sandbox, Update
from xmediameta.transport import Answer, Session, Transport

from .clients import ID, TOKEN, alt, client_of, nothing_left, outcomes_of, told, updates


class Boom(Exception):
    pass


def failing(number: int, error: BaseException) -> Iterator[Update]:
    yield from updates(number)
    raise error


async def failing_async(number: int, error: BaseException) -> AsyncIterator[Update]:
    for update in updates(number):
        await asyncio.sleep(0)
        yield update
    raise error


@pytest.mark.parametrize("kind", [failing, failing_async])
async def test_its_error_is_raised_at_the_end(kind: Any) -> None:
    async with Sandbox(latency=0.01) as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, kind(50, Boom("canary")), concurrency=4)
        assert isinstance(error, Boom)
        words = told(found)
        assert set(words) == set(range(1, 51)), "what was taken before has its outcome"
        assert set(words.values()) <= {"applied", "run_stopped"}
        assert sandbox.counts.applied == sum(word == "applied" for word in words.values())
        await nothing_left(client)


async def test_an_iterable_that_is_cancelled_is_not_taken_for_one_that_ended() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, failing_async(3, asyncio.CancelledError()))
        assert isinstance(error, RuntimeError)
        assert "cancelled" in str(error)
        assert len(found) == 3
        await nothing_left(client)


async def test_one_that_fails_to_begin() -> None:
    class Unstartable:
        def __iter__(self) -> Iterator[Update]:
            raise Boom

    async with Sandbox() as sandbox, client_of(sandbox) as client:
        with pytest.raises(Boom):
            async with client.bulk(Unstartable()):
                pass
        await nothing_left(client)


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_while_it_is_waited_for_the_others_are_sent(concurrency: int) -> None:
    gate = asyncio.Event()

    async def blocking() -> AsyncIterator[Update]:
        for update in updates(20):
            yield update
        await gate.wait()
        yield Update(ID, alt(), ref="last")

    async with Sandbox(latency=0.005) as sandbox, client_of(sandbox) as client:
        async with client.bulk(blocking(), concurrency=concurrency) as outcomes:
            async with asyncio.timeout(10):
                first = [await anext(outcomes) for _ in range(20)]
            assert sandbox.counts.applied == 20
            gate.set()
            rest = [outcome async for outcome in outcomes]
        assert told([*first, *rest]) == {**dict.fromkeys(range(1, 21), "applied"), "last": "applied"}
        await nothing_left(client)


@pytest.mark.looptime
@pytest.mark.parametrize("concurrency", [1, 2])
async def test_while_it_is_waited_for_a_retry_is_not_held_up(concurrency: int) -> None:
    """The only worker must not be the one that waits for input."""

    async def slow() -> AsyncIterator[Update]:
        yield Update(ID, alt(), ref="retried")
        await asyncio.sleep(10_000)

    async with Sandbox(script={ID: ["503", "503"]}) as sandbox, client_of(sandbox) as client:
        async with client.bulk(slow(), concurrency=concurrency) as outcomes:
            async with asyncio.timeout(60):
                outcome = await anext(outcomes)
            assert isinstance(outcome, Applied)
            assert outcome.attempts == 3
            outcomes.stop()
        assert sandbox.unmet == {}
        await nothing_left(client)


async def test_it_is_read_no_further_than_there_is_something_to_do_with_it() -> None:
    drawn: list[int] = []

    def counted() -> Iterator[Update]:
        for update in updates(10_000):
            drawn.append(int(update.id))
            yield update

    async with Sandbox(latency=0.01) as sandbox, client_of(sandbox) as client:
        await client.create(ID, alt())
        async with client.bulk(counted(), concurrency=4) as outcomes:
            await asyncio.sleep(0.3)
            assert len(drawn) <= 64 + 4 + 1, "nobody reads the outcomes"
            taken = outcomes.taken
            assert taken == len(drawn)
        assert sandbox.counts.requests <= taken + 1
        assert len(drawn) == taken


async def test_it_is_read_so_far_ahead_while_its_account_waits() -> None:
    async with Sandbox(limit=2, window=900) as sandbox, client_of(sandbox) as client:
        async with client.bulk(iter(updates(1_000)), lookahead=50) as outcomes:
            await asyncio.sleep(0.2)
            assert outcomes.taken == 52
            assert outcomes.waiting_until is not None
        await nothing_left(client)


async def test_what_is_left_of_it_is_untouched() -> None:
    numbers = iter(updates(100))
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        found = []
        async with client.bulk(numbers, concurrency=2) as outcomes:
            async for outcome in outcomes:
                found.append(outcome)
                if len(found) == 5:
                    outcomes.stop()
        rest, error = await outcomes_of(client, numbers)
        assert error is None
        words = told([*found, *rest])
        assert set(words) == set(range(1, 101)), "each was taken by one run or the other"
        assert set(words.values()) <= {"applied", "closed"}
        await nothing_left(client)


async def test_a_queue_that_is_waited_for_loses_nothing_when_the_run_stops() -> None:
    queue: asyncio.Queue[Update] = asyncio.Queue()

    class Drain:
        def __aiter__(self) -> Drain:
            return self

        async def __anext__(self) -> Update:
            return await queue.get()

    async with Sandbox() as sandbox, client_of(sandbox) as client:
        async with client.bulk(Drain()) as outcomes:
            queue.put_nowait(Update("1", alt()))
            assert isinstance(await anext(outcomes), Applied)
            await asyncio.sleep(0.01)
            outcomes.stop()
            queue.put_nowait(Update("2", alt()))
            await asyncio.sleep(0.01)
            assert [outcome async for outcome in outcomes] == []
        assert queue.qsize() == 1
        await nothing_left(client)


async def test_a_long_iterable_does_not_keep_the_loop_to_itself() -> None:
    """Rows that need no request (they are all the same here) are drawn in stretches."""
    longest = 0.0
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    async def watch() -> None:
        nonlocal longest
        while not stop.is_set():
            before = loop.time()
            await asyncio.sleep(0)
            longest = max(longest, loop.time() - before)

    async with Sandbox(latency=0.5) as sandbox, client_of(sandbox) as client:
        watcher = asyncio.create_task(watch())
        found, _ = await outcomes_of(client, [Update(ID, alt(), send_before=9e9) for _ in range(9_000)])
        stop.set()
        await watcher
        assert len(found) == 9_000
        assert sandbox.counts.requests == 1
        assert longest < 0.25
        await nothing_left(client)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "ids"), [(200_000, 1_000_000), (40_000, 50)])
async def test_memory_stays_flat(number: int, ids: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates through a transport that answers at once: what is held does not grow with what was sent."""
    in_flight = 0

    async def post(self: Transport, session: Session, body: bytes, *, fresh: bool = False) -> Answer:
        nonlocal in_flight
        in_flight += 1
        await asyncio.sleep(0)
        in_flight -= 1
        return 200, session.headers, b""  # type: ignore[return-value]

    monkeypatch.setattr(Transport, "post", post)
    monkeypatch.setattr(Transport, "in_flight", property(lambda _: in_flight))

    texts = [alt(str(index)) for index in range(49)]

    def many() -> Iterator[Update]:
        for index in range(number):
            yield Update(str(index % ids + 1), texts[index % 49], ref=index)

    client = Client(TOKEN, base_url="http://127.0.0.1:9", pace=None, limits=None)
    async with client:
        blocks: list[int] = []
        seen = 0
        async with client.bulk(many()) as outcomes:
            async for outcome in outcomes:
                assert isinstance(outcome, Applied)
                seen += 1
                if seen % (number // 5) == 0:
                    gc.collect()
                    blocks.append(sys.getallocatedblocks())
        assert seen == number
        # One more of anything for each update would be tens of thousands.
        assert max(blocks) - min(blocks) < 3_000, blocks
        await nothing_left(client)


@pytest.mark.looptime
@pytest.mark.parametrize("concurrency", [1, 2, 7])
async def test_the_next_is_waited_for_while_all_who_may_send_do_so(concurrency: int) -> None:
    loop = asyncio.get_running_loop()

    async def pages() -> AsyncIterator[Update]:
        for update in updates(70):
            await asyncio.sleep(1 / concurrency)
            yield update

    async with Sandbox(latency=1) as sandbox, client_of(sandbox) as client:
        began = loop.time()
        found, error = await outcomes_of(client, pages(), concurrency=concurrency)
        assert error is None
        assert len(found) == 70
        # Of what arrives as fast as it can be sent, only the first is waited for on its own, and the last sent so.
        assert loop.time() - began < 70 / concurrency + 2
        await nothing_left(client)


async def test_looking_ahead_for_deadlines_takes_a_turn_of_the_loop_for_a_stretch_and_not_for_a_row() -> None:
    loop = asyncio.get_running_loop()
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1
        if not sandbox.counts.requests:
            loop.call_soon(count)

    async with Sandbox() as sandbox, client_of(sandbox) as client:
        rows = updates(2_000, send_before=9e9)
        async with client.bulk(rows, concurrency=4, lookahead=2_000) as outcomes:
            loop.call_soon(count)
            await anext(outcomes)
            outcomes.stop()
            assert len([outcome async for outcome in outcomes]) == 1_999, "all of them were looked at"
        assert turns < 200
        await nothing_left(client)


async def test_a_run_that_stops_between_two_stretches_takes_no_more() -> None:
    """The iterable's remainder is left untouched, also where the run stops while others in the loop have a turn."""
    drawn: list[Update] = []

    def noted() -> Iterator[Update]:
        for update in [Update(ID, alt())] * 1_000:
            drawn.append(update)
            yield update

    async with Sandbox(latency=0.01) as sandbox, client_of(sandbox) as client:
        async with client.bulk(noted(), concurrency=4) as outcomes:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            outcomes.stop()
            taken = len(drawn)
            found = [outcome async for outcome in outcomes]
        assert len(found) == len(drawn) == taken
        await nothing_left(client)
