"""`create`, on a client's own and shared with others."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from tenacity import wait_fixed

import xmediameta
from xmediameta import (
    Applied,
    Client,
    ClientClosed,
    ConfigurationError,
    InvalidUpdate,
    MediaNotFound,
    Metadata,
    RateLimitWaitTooLong,
    RetryPolicy,
    Sandbox,
    ServerFault,
    Update,
    UpdateForbidden,
    UpdateRejected,
    XMediaMetaError,
)

from .clients import ID, TOKEN, alt, client_of, nothing_left, settle, wire

pytestmark = pytest.mark.looptime  # sockets are real, time is not: latency and waits cost none


async def test_what_was_applied() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        applied = await client.create(ID, alt(), ref="row 7")
        assert sandbox.applied == {ID: wire()}
        assert applied.update == Update(ID, alt(), ref="row 7")
        assert (applied.id, applied.ref, applied.attempts, applied.warnings) == (ID, "row 7", 1, ())
        assert applied.transaction_id == sandbox.received[0].transaction_id
        assert applied.associated_metadata == alt()
        await nothing_left(client)


async def test_what_breaks_the_contract_is_not_sent() -> None:
    geo = Metadata(geo_restrictions=xmediameta.GeoRestrictions(["us"], ["us"]))
    async with Sandbox(lenient=True) as sandbox, client_of(sandbox) as client:
        with pytest.raises(InvalidUpdate, match="exactly one of") as caught:
            await client.create(ID, geo, ref=5)
        assert (caught.value.media_id, caught.value.ref) == (ID, 5)
        with pytest.raises(InvalidUpdate, match="id"):
            await client.create("3_123", alt())
        assert sandbox.counts.requests == 0
        await nothing_left(client)
    async with Sandbox(lenient=True) as sandbox, client_of(sandbox, strict=False) as client:
        await client.create(ID, geo)
        assert sandbox.counts.applied == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("400", UpdateRejected), ("403", UpdateForbidden), ("404", MediaNotFound), ("409", UpdateRejected)],
)
async def test_what_is_refused_is_raised_and_not_sent_again(fault: str, kind: type[XMediaMetaError]) -> None:
    async with Sandbox(script={ID: [fault]}) as sandbox, client_of(sandbox) as client:
        with pytest.raises(kind) as caught:
            await client.create(ID, alt(), ref="r")
        assert (caught.value.media_id, caught.value.ref, caught.value.attempts) == (ID, "r", 1)
        assert sandbox.counts.requests == 1
        await client.create(ID, alt())
        await nothing_left(client)


async def test_what_fails_for_a_while_is_sent_again() -> None:
    async with Sandbox(script={ID: ["503", "reset", "500"]}) as sandbox, client_of(sandbox) as client:
        applied = await client.create(ID, alt())
        assert applied.attempts == 4
        assert sandbox.unmet == {}
        assert (client.stats.requests, client.stats.retries, client.stats.applied) == (4, 3, 1)
        await nothing_left(client)


async def test_concurrent_failures_raise_each_its_own() -> None:
    """One shared retry object would let some of them return None."""
    ids = [str(number) for number in range(1, 13)]
    script = {media_id: ["503"] * 5 for media_id in ids}
    async with Sandbox(script=script) as sandbox, client_of(sandbox) as client:
        found = await asyncio.gather(*(client.create(media_id, alt(), ref=media_id) for media_id in ids),
                                     return_exceptions=True)  # fmt: skip
        assert [type(error) for error in found] == [ServerFault] * 12
        assert [error.ref for error in found if isinstance(error, XMediaMetaError)] == ids
        assert sandbox.counts.requests == 60
        await nothing_left(client)


# Sharing


async def test_identical_calls_are_one_request() -> None:
    async with Sandbox(latency=0.05) as sandbox, client_of(sandbox) as client:
        found = await asyncio.gather(*(client.create(ID, alt(), ref=number) for number in range(10)))
        assert sandbox.counts.requests == 1
        assert [applied.ref for applied in found] == list(range(10))
        assert len({applied.transaction_id for applied in found}) == 1
        assert client.stats.applied == 1
        await nothing_left(client)


async def test_a_shared_failure_is_raised_to_each_as_its_own() -> None:
    async with Sandbox(latency=0.05, script={ID: ["404"]}) as sandbox, client_of(sandbox) as client:
        found = await asyncio.gather(*(client.create(ID, alt(), ref=n) for n in range(4)), return_exceptions=True)
        assert [type(error) for error in found] == [MediaNotFound] * 4
        assert [error.ref for error in found if isinstance(error, MediaNotFound)] == [0, 1, 2, 3]
        assert len({id(error) for error in found}) == 4
        assert sandbox.counts.requests == 1


async def test_a_b_a_ends_as_a_one_at_a_time() -> None:
    async with Sandbox(latency=(0.0, 0.03)) as sandbox, client_of(sandbox) as client:
        texts = ["a", "b", "a", "a", "c", "a"]
        await asyncio.gather(*(client.create(ID, alt(text)) for text in texts))
        assert sandbox.history(ID) == [wire(text) for text in ("a", "b", "a", "c", "a")]
        assert sandbox.counts.most_per_id == 1
        await nothing_left(client)


async def test_a_later_one_is_sent_though_the_earlier_failed() -> None:
    async with Sandbox(latency=0.01, script={ID: ["404"]}) as sandbox, client_of(sandbox) as client:
        first, second = await asyncio.gather(client.create(ID, alt("a")), client.create(ID, alt("b")),
                                             return_exceptions=True)  # fmt: skip
        assert isinstance(first, MediaNotFound)
        assert isinstance(second, Applied)
        assert sandbox.history(ID) == [wire("b")]


async def test_a_cancelled_leader_leaves_the_request_to_those_who_share_it() -> None:
    async with Sandbox(latency=0.1) as sandbox, client_of(sandbox) as client:
        leader = asyncio.create_task(client.create(ID, alt(), ref="leader"))
        sharers = [asyncio.create_task(client.create(ID, alt(), ref=number)) for number in range(3)]
        behind = asyncio.create_task(client.create(ID, alt("b")))
        await asyncio.sleep(0.03)
        leader.cancel()
        sharers[1].cancel()
        found = await asyncio.gather(leader, *sharers, behind, return_exceptions=True)
        assert [type(result) for result in found] == [
            asyncio.CancelledError, Applied, asyncio.CancelledError, Applied, Applied,
        ]  # fmt: skip
        assert sandbox.history(ID)[-1] == wire("b")
        await nothing_left(client)


async def test_one_who_would_wait_no_longer_does_not_fail_the_others() -> None:
    async with Sandbox(limit=4, window=60, latency=2) as sandbox, client_of(sandbox) as client:
        first = [asyncio.create_task(client.create(str(n), alt())) for n in range(1, 5)]
        await settle()
        short = asyncio.create_task(client.create(ID, alt(), max_wait=5))
        long = asyncio.create_task(client.create(ID, alt(), max_wait=None))
        shorter = asyncio.create_task(client.create(ID, alt(), max_wait=1))
        await asyncio.sleep(4)
        assert all(task.done() for task in first)
        assert isinstance(short.exception(), RateLimitWaitTooLong), "the one that led"
        assert isinstance(shorter.exception(), RateLimitWaitTooLong)
        assert isinstance(await long, Applied)
        assert sandbox.counts.limited == 0
        assert sandbox.counts.requests == 5
        await nothing_left(client)


# Waiting for a window


async def test_a_wait_that_is_too_long_fails_at_once() -> None:
    async with Sandbox(limit=2, window=900) as sandbox, client_of(sandbox) as client:
        await asyncio.gather(client.create("1", alt()), client.create("2", alt()))
        began = asyncio.get_running_loop().time()
        with pytest.raises(RateLimitWaitTooLong) as caught:
            await client.create(ID, alt(), ref="late")
        error = caught.value
        assert asyncio.get_running_loop().time() - began < 1
        assert (error.max_wait, error.window, error.media_id, error.ref) == (10.0, "user-15min", ID, "late")
        assert error.retry_after == pytest.approx(900, abs=2)
        assert error.reset_at is not None
        assert (error.reset_at - datetime.now(UTC)).total_seconds() == pytest.approx(900, abs=30)
        assert sandbox.counts.requests == 2
        await nothing_left(client)


async def test_of_calls_four_go_ahead_into_an_unknown_window() -> None:
    async with Sandbox(limit=6, window=900, latency=1) as sandbox, client_of(sandbox) as client:
        tasks = [asyncio.create_task(client.create(str(number), alt(), max_wait=60)) for number in range(1, 9)]
        await asyncio.sleep(0.5)
        assert sandbox.counts.requests == 4
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in found] == [Applied] * 6 + [RateLimitWaitTooLong] * 2
        assert sandbox.counts.limited == 0


async def test_a_slow_answer_is_not_taken_for_a_closed_window() -> None:
    """The one before it takes longer than `max_wait`, and no window is closed."""
    async with Sandbox(latency=15) as sandbox, client_of(sandbox) as client:
        await asyncio.gather(client.create(ID, alt("a"), max_wait=5), client.create(ID, alt("b"), max_wait=5))
        assert sandbox.history(ID) == [wire("a"), wire("b")]


async def test_who_waits_behind_another_is_told_of_a_window_that_closed() -> None:
    async with Sandbox(limit=1, window=900) as sandbox, client_of(sandbox) as client:
        await client.create("1", alt())
        first = asyncio.create_task(client.create(ID, alt("a"), max_wait=None))
        second = asyncio.create_task(client.create(ID, alt("b"), max_wait=10))
        await settle()
        assert isinstance(second.exception(), RateLimitWaitTooLong)
        assert isinstance(await first, Applied)
        assert sandbox.history(ID) == [wire("a")]


# Its life


async def test_use_after_close() -> None:
    async with Sandbox() as sandbox:
        client = client_of(sandbox)
        async with client:
            await client.create(ID, alt())
        with pytest.raises(ClientClosed):
            await client.create(ID, alt())
        with pytest.raises(ClientClosed):
            async with client:
                pass
        with pytest.raises(ClientClosed):
            async with client.bulk([]):
                pass
        await client.aclose()
        assert sandbox.counts.requests == 1
        assert client.stats.applied == 1
        assert "closed" in repr(client)


async def test_a_client_that_was_never_used_is_closed() -> None:
    client = Client(TOKEN)
    await client.aclose()
    with pytest.raises(ClientClosed):
        await client.create(ID, alt())


def test_one_client_in_two_loops() -> None:
    client = Client(TOKEN, base_url="http://127.0.0.1:9")

    async def use() -> None:
        async with client.bulk([]) as outcomes:
            async for _ in outcomes:
                pass

    async def use_and_close() -> None:
        await use()
        await client.aclose()

    with asyncio.Runner() as first:
        first.run(use())
        with pytest.raises(ConfigurationError, match="another event loop"):
            asyncio.run(client.create(ID, alt()))
        with pytest.raises(ConfigurationError, match="another event loop"):
            asyncio.run(use())
        first.run(use_and_close())


async def test_closing_ends_every_call_whatever_it_waits_for() -> None:
    asked = asyncio.Event()

    async def auth(account: str | None) -> str:
        if account == "slow":
            asked.set()
            await asyncio.sleep(1_000)
        return f"token-of-{account}"

    script = {"4": ["503"], "5": ["hang"]}
    async with Sandbox(limit=3, window=900, script=script) as sandbox:
        client = client_of(sandbox, auth, retry=RetryPolicy(wait=wait_fixed(1_000)))
        async with client:
            for number in "123":
                await client.create(number, alt(), account="full")
            calls = [
                client.create("6", alt(), account="full", max_wait=None),  # for a window
                client.create("6", alt("b"), account="full", max_wait=None),  # for the one before it
                client.create("4", alt(), account="a"),  # between two attempts
                client.create("5", alt(), account="b"),  # for an answer
                client.create("5", alt(), account="b"),  # for an answer to another
                client.create("7", alt(), account="slow"),  # for a credential
            ]
            tasks = [asyncio.create_task(call) for call in calls]
            await asked.wait()
            await asyncio.sleep(5)
            assert not any(task.done() for task in tasks)
        began = asyncio.get_running_loop().time()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in found] == [ClientClosed] * 6
        assert len({id(error) for error in found}) == 6
        assert asyncio.get_running_loop().time() - began < 1
        assert all(task.cancelling() == 0 for task in tasks), "the tasks themselves were not cancelled"
        await nothing_left(client)


async def test_a_cancellation_from_outside_wins_over_the_close() -> None:
    async with Sandbox(script={ID: ["hang"]}) as sandbox:
        client = client_of(sandbox)
        task = asyncio.create_task(client.create(ID, alt()))
        await asyncio.sleep(0.05)
        task.cancel()
        await client.aclose()
        with pytest.raises(asyncio.CancelledError):
            await task
        await nothing_left(client)


async def test_a_callers_own_timeout_is_a_timeout() -> None:
    async with Sandbox(script={ID: ["hang"]}) as sandbox, client_of(sandbox) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await client.create(ID, alt())
        await nothing_left(client)
        await client.create(ID, alt("b"))
