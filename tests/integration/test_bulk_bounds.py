"""The bounds that a caller sets: requests, duration, waiting; and media that live a limited time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from xmediameta import (
    Applied,
    BudgetReached,
    Failed,
    InvalidUpdate,
    Metadata,
    NotSent,
    RateLimitWaitTooLong,
    Sandbox,
    Update,
)

from .clients import ID, alt, client_of, nothing_left, outcomes_of, told, updates, wire

pytestmark = pytest.mark.looptime  # sockets are real, time is not: latency and waits cost none


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The local clock goes with the loop's: `wall()` is Unix seconds."""
    epoch = time.time()

    def now() -> float:
        return epoch + asyncio.get_running_loop().time()

    monkeypatch.setattr("xmediameta.client.time", SimpleNamespace(time=now))
    return now


# Requests


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("most", [0, 1, 7])
async def test_no_more_requests_than_that(most: int, concurrency: int) -> None:
    async with Sandbox(latency=0.1) as sandbox, client_of(sandbox) as client:
        given = iter(updates(200))
        found, error = await outcomes_of(client, given, max_requests=most, concurrency=concurrency)
        assert isinstance(error, BudgetReached)
        assert (error.budget, error.limit, error.spent) == ("requests", most, most)
        words = list(told(found).values())
        assert words.count("applied") == most == sandbox.counts.requests
        assert words.count("budget") == len(words) - most
        assert all(outcome.error is error for outcome in found if isinstance(outcome, NotSent))
        assert len(found) + len(list(given)) == 200
        await nothing_left(client)


async def test_retries_and_refusals_count_too() -> None:
    script: dict[str, list[str | int]] = {"1": ["503", "503"], "2": ["404"]}
    async with Sandbox(script=script) as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, updates(6), max_requests=5, concurrency=1)
        assert isinstance(error, BudgetReached)
        assert sandbox.counts.requests == 5
        assert len(found) == 6
        await nothing_left(client)


async def test_as_many_requests_as_it_takes_are_enough() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, updates(5), max_requests=5)
        assert error is None
        assert len(found) == 5 == sandbox.counts.requests


# Duration


async def test_after_that_time_nothing_more_is_sent_and_what_is_in_flight_ends() -> None:
    async with Sandbox(latency=1) as sandbox, client_of(sandbox) as client:
        await client.create(ID, alt())
        began = asyncio.get_running_loop().time()
        given = iter(updates(100))
        found, error = await outcomes_of(client, given, max_duration=3.5, concurrency=4)
        assert isinstance(error, BudgetReached)
        assert (error.budget, error.limit) == ("duration", 3.5)
        words = list(told(found).values())
        assert words.count("applied") == 16
        assert words.count("budget") == len(words) - 16
        assert asyncio.get_running_loop().time() - began == pytest.approx(4, abs=0.1)
        assert len(list(given)) == 100 - len(words) >= 80
        await nothing_left(client)


async def test_it_holds_while_the_input_is_waited_for() -> None:
    async def never() -> AsyncIterator[Update]:
        yield Update("1", alt(), ref=1)
        await asyncio.sleep(1e6)
        yield Update("2", alt(), ref=2)

    async with Sandbox() as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, never(), max_duration=10)
        assert isinstance(error, BudgetReached)
        assert told(found) == {1: "applied"}
        assert asyncio.get_running_loop().time() < 11
        await nothing_left(client)


async def test_it_holds_while_a_window_is_waited_for() -> None:
    async with Sandbox(limit=2, window=900) as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, updates(5), max_duration=10)
        assert isinstance(error, BudgetReached)
        assert sorted(told(found).values()) == ["applied"] * 2 + ["budget"] * 3
        assert asyncio.get_running_loop().time() < 11
        await nothing_left(client)


async def test_a_run_that_is_done_earlier_is_not_kept() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        _, error = await outcomes_of(client, updates(5), max_duration=10_000)
        assert error is None
        assert asyncio.get_running_loop().time() < 10


# Waiting


async def test_an_account_whose_window_opens_too_late_ends_and_the_others_go_on() -> None:
    async with Sandbox(limit=3, window=900) as sandbox, client_of(sandbox, {"a": "a", "b": "b"}) as client:
        rows = [Update(str(n), alt(), "a" if n <= 5 else "b", ref=n) for n in range(1, 8)]
        found, error = await outcomes_of(client, rows, max_wait=60)
        assert error is None
        assert told(found) == {
            1: "applied", 2: "applied", 3: "applied", 4: "account_stopped", 5: "account_stopped",
            6: "applied", 7: "applied",
        }  # fmt: skip
        errors = [outcome.error for outcome in found if isinstance(outcome, NotSent)]
        for told_error in errors:
            assert isinstance(told_error, RateLimitWaitTooLong)
            assert told_error.max_wait == 60
            assert told_error.retry_after == pytest.approx(900, abs=2)
            assert told_error.window == "user-15min"
        assert asyncio.get_running_loop().time() < 10
        assert isinstance(await client.create("99", alt(), account="b"), Applied), "the client's account is not out"
        await nothing_left(client)


async def test_where_none_is_left_it_is_raised() -> None:
    async with Sandbox(limit=30, window=900, latency=(0.01, 0.5)) as sandbox, client_of(sandbox) as client:
        given = iter(updates(1_000))
        found, error = await outcomes_of(client, given, max_wait=60, lookahead=100)
        assert isinstance(error, RateLimitWaitTooLong)
        assert sandbox.counts.applied == 30, "to the last request of the window, whatever order the answers come in"
        assert sorted(set(told(found).values())) == ["account_stopped", "applied"]
        assert len(list(given)) > 0
        await nothing_left(client)


async def test_a_wait_that_is_short_enough_is_waited() -> None:
    async with Sandbox(limit=3, window=50) as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, updates(7), max_wait=60)
        assert error is None
        assert set(told(found).values()) == {"applied"}


# Deadlines


async def test_the_earliest_goes_first_within_an_account(wall: Any) -> None:
    deadlines = [500, None, 300, 100, None, 200, 400]
    async with Sandbox() as sandbox, client_of(sandbox, {"a": "a", "b": "b"}) as client:
        rows = [
            Update(str(n), alt(), account, ref=n, send_before=None if seconds is None else wall() + seconds)
            for account, base in (("a", 10), ("b", 20))
            for n, seconds in enumerate(deadlines, base)
        ]
        found, error = await outcomes_of(client, rows, concurrency=1)
        assert error is None
        assert set(told(found).values()) == {"applied"}
        order = [int(str(received.id)) for received in sandbox.received]
        assert [n for n in order if n < 20] == [13, 15, 12, 16, 10, 11, 14]
        assert [n for n in order if n >= 20] == [23, 25, 22, 26, 20, 21, 24]
        await nothing_left(client)


async def test_any_kind_of_time_with_a_zone(wall: Any) -> None:
    soon = datetime.fromtimestamp(wall() + 100, UTC)
    late = soon - timedelta(seconds=200)
    zone = late.astimezone(datetime.now().astimezone().tzinfo)
    rows: list[Any] = [
        Update("1", alt(), ref=1, send_before=soon),
        Update("2", alt(), ref=2, send_before=int(wall()) + 100),
        {"id": "3", "metadata": wire(), "ref": 3, "send_before": soon.isoformat()},
        Update("4", alt(), ref=4, send_before=late),
        Update("5", alt(), ref=5, send_before=zone),
        Update("6", alt(), ref=6, send_before=wall() - 0.001),
        Update("7", alt(), ref=7, send_before=soon.replace(tzinfo=None)),
        {"id": "8", "metadata": wire(), "ref": 8, "send_before": "2026-01-01T00:00:00"},
    ]
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, rows)
        assert error is None
        words = told(found)
        assert [words[n] for n in range(1, 9)] == ["applied"] * 3 + ["expired"] * 3 + ["InvalidUpdate"] * 2
        for outcome in found:
            if isinstance(outcome, Failed):
                assert isinstance(outcome.error, InvalidUpdate)
                assert "zone" in str(outcome.error)
        assert sandbox.counts.requests == 3
        await nothing_left(client)


async def test_who_must_go_soon_takes_the_permits_that_are_left(wall: Any) -> None:
    async with Sandbox(limit=2, window=900) as sandbox, client_of(sandbox) as client:
        rows = [
            *updates(2),
            Update("3", alt(), ref=3, send_before=wall() + 1_100),
            Update("4", alt(), ref=4, send_before=wall() + 600),
            Update("5", alt(), ref=5),
        ]
        found, error = await outcomes_of(client, rows)
        assert error is None
        assert set(told(found).values()) == {"applied"}
        assert [received.id for received in sandbox.received] == ["1", "4", "3", "2", "5"]
        assert sandbox.counts.limited == 0


@pytest.mark.parametrize("when", ["queued before", "drawn later"])
async def test_what_expires_in_a_closed_window_is_told_at_once_and_not_paid_for(wall: Any, when: str) -> None:
    began = wall()
    async with Sandbox(limit=2, window=900) as sandbox, client_of(sandbox) as client:
        await client.create("8", alt())
        await client.create("9", alt())

        def given() -> Iterator[Update]:
            yield Update("1", alt(), ref="in time", send_before=began + 2_000)
            yield Update("2", alt(), ref="too late", send_before=began + 600)
            yield Update("2", alt("b"), ref="behind it", send_before=began + 500)
            yield Update("3", alt(), ref="same, late", send_before=began + 600)
            yield Update("3", alt(), ref="same, in time")

        async def drawn() -> AsyncIterator[Update]:
            for update in given():
                await asyncio.sleep(1)
                yield update

        times: dict[Any, tuple[str, bool]] = {}
        async with client.bulk(given() if when == "queued before" else drawn()) as outcomes:
            async for outcome in outcomes:
                times[outcome.ref] = (told([outcome])[outcome.ref], wall() - began < 20)
        assert times == {
            "in time": ("applied", False),
            "too late": ("expired", True),
            "behind it": ("expired", True),
            "same, late": ("expired", True),
            "same, in time": ("applied", False),
        }
        assert sandbox.counts.requests == 4
        await nothing_left(client)


async def test_one_that_joins_makes_the_others_go_earlier(wall: Any) -> None:
    """Three wait for a window of one; the last has company that must be sent soon."""
    async with Sandbox(limit=1, window=100) as sandbox, client_of(sandbox) as client:
        await client.create("9", alt())
        rows = [*updates(2), Update("3", alt("3"), ref=3), Update("3", alt("3"), ref="soon", send_before=wall() + 150)]
        found, error = await outcomes_of(client, rows)
        assert error is None
        assert set(told(found).values()) == {"applied"}
        assert [received.id for received in sandbox.received] == ["9", "3", "1", "2"]


async def test_a_deadline_passes_while_it_is_tried_again(wall: Any) -> None:
    async with Sandbox(script={ID: ["503-retry-after"] * 9}) as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, [Update(ID, alt(), ref=1, send_before=wall() + 0.5)])
        assert error is None
        assert told(found) == {1: "expired"}
        assert sandbox.counts.requests == 1
        await nothing_left(client)


@pytest.mark.parametrize(("mode", "expected"), [("last", "a"), ("merge", "a")])
async def test_a_newer_one_that_expired_is_not_what_is_sent(wall: Any, mode: Any, expected: str) -> None:
    async with Sandbox(limit=1, window=900) as sandbox, client_of(sandbox) as client:
        await client.create("9", alt())
        rows = [
            Update(ID, alt("a"), ref="older"),
            Update(ID, Metadata.of(alt_text="b", allow_download=True), ref="newer", send_before=wall() + 10),
        ]
        found, error = await outcomes_of(client, rows, coalesce=mode)
        assert error is None
        assert told(found) == {"older": "applied", "newer": "expired"}
        assert sandbox.history(ID) == [wire(expected)]
        await nothing_left(client)
