"""The batcher: each submission its own answer, order per media id, room, flush, and the end of the block."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any

import pytest

from xmediameta import (
    Applied,
    BatcherClosed,
    BatcherFull,
    Client,
    ClientClosed,
    ConfigurationError,
    InvalidUpdate,
    MediaNotFound,
    NotSent,
    RateLimitWaitTooLong,
    Sandbox,
    Update,
)

from .clients import ID, TOKEN, alt, client_of, nothing_left, settle, updates, wire

pytestmark = pytest.mark.looptime  # sockets are real, time is not: latency and waits cost none


async def test_each_gets_its_own_answer() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        sandbox.script("2", ["404"])
        async with client.batcher() as batcher:
            found = await asyncio.gather(*(batcher.submit(one) for one in updates(3)), return_exceptions=True)
        assert [one.ref for one in found if isinstance(one, Applied)] == [1, 3]
        assert isinstance(found[1], MediaNotFound)
        assert (found[1].media_id, found[1].ref) == ("2", 2)
        assert batcher.unsent == ()
        await nothing_left(client)


async def test_a_mapping_will_do_and_what_breaks_the_contract_is_refused_at_once() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client, client.batcher() as batcher:
        applied = await batcher.submit({"id": ID, "metadata": wire(), "ref": "r"})
        assert applied.ref == "r"
        with pytest.raises(InvalidUpdate) as caught:
            await batcher.submit({"id": "x", "metadata": wire()})
        assert caught.value.member == "id"
        with pytest.raises(InvalidUpdate, match="must be an Update or a mapping"):
            batcher.submit_nowait("x")  # type: ignore[arg-type]
        assert batcher.pending == 0
        assert sandbox.counts.requests == 1


@pytest.mark.parametrize("coalesce", ["last", "merge"])
async def test_five_thousand_submits_of_five_hundred_media(coalesce: Any) -> None:
    """At most one request for each media, and one more for each that was on its way already; the newest value wins."""
    rand = random.Random(7)
    order = [str(1 + number % 500) for number in range(5_000)]
    rand.shuffle(order)
    async with Sandbox(latency=0.05, limit=None, app_limit=None) as sandbox, client_of(sandbox) as client:
        async with client.batcher(coalesce=coalesce) as batcher:
            given = [Update(media, alt(f"{number}"), ref=number) for number, media in enumerate(order)]
            found = await asyncio.gather(*(batcher.submit(one) for one in given))
        assert [one.ref for one in found] == list(range(5_000))
        assert sandbox.counts.requests <= 500 + 32
        newest = {one.id: one.ref for one in given}
        assert {media: sandbox.history(media)[-1] for media in newest} == {m: wire(str(r)) for m, r in newest.items()}
        await nothing_left(client)


async def test_a_form_saved_five_times_in_a_second_costs_one_request() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        async with client.batcher(coalesce="last", max_delay=1.0) as batcher:
            saved = []
            for number in range(5):
                saved.append(asyncio.ensure_future(batcher.submit(Update(ID, alt(str(number)), ref=number))))
                await asyncio.sleep(0.15)
            assert sandbox.counts.requests == 0
            assert [one.ref for one in await asyncio.gather(*saved)] == [0, 1, 2, 3, 4]
        assert sandbox.history(ID) == [wire("4")]
        assert sandbox.counts.requests == 1


async def test_without_coalescing_all_are_sent_in_the_order_they_were_given() -> None:
    async with Sandbox(latency=0.01) as sandbox, client_of(sandbox) as client:
        async with client.batcher() as batcher:
            # The first has no task that runs yet when the second is handed in: its place counts all the same.
            futures = [batcher.submit_nowait(Update(ID, alt(text), ref=text)) for text in "ab"]
            await batcher.submit(Update(ID, alt("c")))
            assert [(await future).ref for future in futures] == ["a", "b"]
        assert sandbox.history(ID) == [wire("a"), wire("b"), wire("c")]


async def test_the_same_twice_is_one_request() -> None:
    async with Sandbox(latency=0.01) as sandbox, client_of(sandbox) as client, client.batcher() as batcher:
        one, other = await asyncio.gather(
            batcher.submit(Update(ID, alt(), ref=1)), batcher.submit(Update(ID, alt(), ref=2))
        )
        assert (one.ref, other.ref, one.transaction_id == other.transaction_id) == (1, 2, True)
        assert sandbox.counts.requests == 1


async def test_as_many_are_on_the_wire_as_the_concurrency_allows() -> None:
    async with Sandbox(latency=0.2) as sandbox, client_of(sandbox) as client, client.batcher(concurrency=3) as batcher:
        futures = [batcher.submit_nowait(one) for one in updates(10)]
        await asyncio.sleep(0.1)
        assert client.stats.in_flight == 3
        await asyncio.gather(*futures)
        assert sandbox.counts.applied == 10


async def test_full_means_wait_or_say_so() -> None:
    async with Sandbox(latency=0.2) as sandbox, client_of(sandbox) as client:
        async with client.batcher(max_pending=2) as batcher:
            futures = [batcher.submit_nowait(one) for one in updates(2)]
            with pytest.raises(BatcherFull, match="2 updates pending, as many as max_pending allows"):
                batcher.submit_nowait(Update("3", alt()))
            with pytest.raises(BatcherFull, match=r"for 0\.1 s"):
                await batcher.submit(Update("4", alt()), max_wait=0.1)
            late = [asyncio.ensure_future(batcher.submit(one)) for one in updates(3, first=5)]
            await settle()
            assert not any(one.done() for one in late)
            late[0].cancel()  # gives up its place in the line
            await asyncio.gather(*futures)
            assert [one.ref for one in await asyncio.gather(*late[1:])] == [6, 7]
        assert sandbox.counts.requests == 4
        await nothing_left(client)


@pytest.mark.parametrize("steps", range(12))
async def test_who_is_cancelled_while_waiting_for_room_gives_it_to_the_next(steps: int) -> None:
    async with Sandbox(latency=0.2) as sandbox, client_of(sandbox) as client:
        async with client.batcher(max_pending=1) as batcher:
            first = batcher.submit_nowait(Update("1", alt()))
            second = asyncio.ensure_future(batcher.submit(Update("2", alt())))
            third = asyncio.ensure_future(batcher.submit(Update("3", alt(), ref=3)))
            await first
            for _ in range(steps):
                await asyncio.sleep(0)
            second.cancel()
            assert (await third).ref == 3
            await asyncio.wait((second,))
        assert batcher.pending == batcher._taken == 0
        await nothing_left(client)


async def test_max_wait_of_each() -> None:
    async with Sandbox(limit=1, window=60) as sandbox, client_of(sandbox) as client:
        async with client.batcher(coalesce="last") as batcher:
            await batcher.submit(Update("1", alt()))
            patient = batcher.submit_nowait(Update("2", alt("old"), ref="patient"))
            await settle()
            with pytest.raises(RateLimitWaitTooLong) as caught:
                await batcher.submit(Update("2", alt("new"), ref="hasty"), max_wait=5)
            assert caught.value.ref == "hasty"
            assert (await patient).ref == "patient"
        # Who gave up takes back what it wanted.
        assert sandbox.history("2") == [wire("old")]
        await nothing_left(client)


async def test_a_place_on_the_wire_that_comes_too_late() -> None:
    async with Sandbox(latency=3.0) as sandbox, client_of(sandbox) as client, client.batcher(concurrency=1) as batcher:
        first = batcher.submit_nowait(Update("1", alt()))
        await asyncio.sleep(0.1)
        with pytest.raises(BatcherFull, match="no place on the wire came free within 1 s"):
            await batcher.submit(Update("2", alt()), max_wait=1.0)
        await first
        assert sandbox.counts.requests == 1
        await nothing_left(client)


async def test_what_is_due_before_its_turn_is_not_sent() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client, client.batcher() as batcher:
        late = Update("1", alt(), send_before=time.time() - 1)
        with pytest.raises(InvalidUpdate, match="has passed before it was its turn") as caught:
            await batcher.submit(late)
        assert caught.value.member == "send_before"
        assert sandbox.counts.requests == 0


async def test_who_is_cancelled_harms_nobody_and_nothing_is_paid_twice() -> None:
    async with Sandbox(latency=0.2) as sandbox, client_of(sandbox) as client, client.batcher() as batcher:
        leader = asyncio.ensure_future(batcher.submit(Update(ID, alt(), ref=1)))
        await asyncio.sleep(0.05)
        other = asyncio.ensure_future(batcher.submit(Update(ID, alt(), ref=2)))
        await asyncio.sleep(0.05)
        leader.cancel()
        assert (await other).ref == 2
        assert leader.cancelled()
        assert sandbox.counts.requests == 1
        await nothing_left(client)


async def test_a_request_on_the_wire_comes_to_its_end_without_its_caller() -> None:
    async with Sandbox(latency=0.2) as sandbox, client_of(sandbox) as client, client.batcher() as batcher:
        caller = asyncio.ensure_future(batcher.submit(Update(ID, alt())))
        await asyncio.sleep(0.05)
        caller.cancel()
        await settle()
        assert batcher.pending == 1
        await batcher.flush()
        assert sandbox.history(ID) == [wire()]
        assert client.quota[0].in_flight == 0


@pytest.mark.parametrize("steps", range(14))
@pytest.mark.parametrize("coalesce", [None, "last", "merge"])
async def test_cancelled_at_every_step(steps: int, coalesce: Any) -> None:
    """One of three that share a media id is cancelled: the others are answered, and the last of them wins."""
    for victim in range(3):
        async with Sandbox(latency=0.01) as sandbox, client_of(sandbox) as client:
            async with client.batcher(coalesce=coalesce) as batcher:
                futures = [batcher.submit_nowait(Update(ID, alt(str(number)), ref=number)) for number in range(3)]
                for _ in range(steps):
                    await asyncio.sleep(0)
                futures[victim].cancel()
                found = await asyncio.gather(*futures, return_exceptions=True)
                for number, one in enumerate(found):
                    if number == victim:
                        assert isinstance(one, Applied | asyncio.CancelledError)
                    else:
                        assert isinstance(one, Applied)
                        assert one.ref == number
                await batcher.flush()
            assert sandbox.counts.most_per_id == 1
            wanted = [wire(str(number)) for number in range(3) if number != victim]
            assert sandbox.history(ID)[-1] in (wanted[-1], wire(str(victim))) if victim == 2 else wanted[-1]
            await nothing_left(client)


async def test_flush_sends_what_is_held_back_and_waits_for_what_was_there() -> None:
    async with Sandbox(latency=0.1) as sandbox, client_of(sandbox) as client, client.batcher(max_delay=60) as batcher:
        loop = asyncio.get_running_loop()
        began = loop.time()
        futures = [batcher.submit_nowait(one) for one in updates(3)]
        await asyncio.sleep(1)
        await batcher.flush()
        assert all(future.done() for future in futures)
        assert loop.time() - began < 5  # the loop's time, which is not real here
        later = batcher.submit_nowait(Update("9", alt()))
        await asyncio.sleep(1)
        assert not later.done()
        await batcher.flush()
        await batcher.flush()  # of nothing
        assert sandbox.counts.applied == 4


async def test_leaving_the_block_sends_what_is_pending() -> None:
    async with Sandbox(latency=0.1) as sandbox, client_of(sandbox) as client:
        async with client.batcher(max_delay=60) as batcher:
            futures = [batcher.submit_nowait(one) for one in updates(50)]
        assert all(future.done() for future in futures)
        assert (batcher.unsent, batcher.pending) == ((), 0)
        assert sandbox.counts.applied == 50
        with pytest.raises(BatcherClosed, match="the batcher is closed"):
            await batcher.submit(Update("1", alt()))
        with pytest.raises(BatcherClosed):
            batcher.submit_nowait(Update("1", alt()))


async def test_what_is_not_sent_in_time_is_handed_back(caplog: pytest.LogCaptureFixture) -> None:
    async with Sandbox(limit=5, window=900) as sandbox, client_of(sandbox) as client:
        async with client.batcher(drain=3.0) as batcher:
            futures = [batcher.submit_nowait(one) for one in updates(8)]
            waiting = asyncio.ensure_future(batcher.submit(Update("9", alt(), ref=9), max_wait=None))
            await settle()
        assert sorted(one.ref for one in batcher.unsent) == [6, 7, 8, 9]
        assert {type(one) for one in batcher.unsent} == {NotSent}
        assert {one.reason for one in batcher.unsent} == {"closed"}
        ended = await asyncio.gather(*futures, waiting, return_exceptions=True)
        assert [type(one) for one in ended] == [Applied] * 5 + [BatcherClosed] * 4
        assert ended[-1].ref == 9
        assert sandbox.counts.requests == 5
        assert "closed with 4 updates not settled" in caplog.text
        await nothing_left(client)


async def test_cancelled_while_it_drains() -> None:
    async with Sandbox(limit=1, window=900) as sandbox, client_of(sandbox) as client:
        made = []

        async def app() -> None:
            async with client.batcher(drain=600) as batcher:
                made.append(batcher)
                for one in updates(3):
                    batcher.submit_nowait(one)
                await asyncio.sleep(1)

        task = asyncio.ensure_future(app())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [one.ref for one in made[0].unsent] == [2, 3]
        await nothing_left(client)


async def test_the_client_is_closed_first() -> None:
    async with Sandbox(latency=0.5) as sandbox:
        client = client_of(sandbox)
        batcher = client.batcher()
        futures = [batcher.submit_nowait(one) for one in updates(3)]
        await asyncio.sleep(0.1)
        await client.aclose()
        ended = await asyncio.gather(*futures, return_exceptions=True)
        assert {type(one) for one in ended} == {ClientClosed}
        with pytest.raises(ClientClosed):
            await batcher.submit(Update("1", alt()))
        await batcher.aclose()
        assert batcher.pending == 0


async def test_a_failure_that_nobody_asks_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        sandbox.script("1", ["404"])
        async with client.batcher() as batcher:
            batcher.submit_nowait(Update("1", alt(), ref="row\x1b[2J"))
        await settle()
        (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert record.getMessage().startswith("not applied: ")
        assert "\x1b" not in record.getMessage()
        assert (record.media_id, record.ref, record.attempt) == ("1", r"row\x1b[2J", 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_pending", 0),
        ("max_pending", 1.5),
        ("max_delay", -1),
        ("max_delay", float("nan")),
        ("concurrency", 0),
        ("drain", float("inf")),
        ("coalesce", "newest"),
    ],
)
def test_options_that_make_no_sense(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option} must be"):
        Client(TOKEN).batcher(**{option: value})
