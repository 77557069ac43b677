"""What a run on a journal notes of itself while it is under way: waits, stops, sittings, and how long rows took."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from xmediameta import BearerToken, CreditsDepleted, RateLimitWaitTooLong, Sandbox
from xmediameta.journal import EventRecord, Journal, TaskRecord
from xmediameta.report import read_events

from .clients import alt, client_of, outcomes_of, updates

pytestmark = pytest.mark.looptime  # sockets are real, time is not: latency and waits cost none


async def kept(path: Path, name: str = "nightly") -> tuple[list[EventRecord], list[TaskRecord]]:
    """The events and the rows of a run."""
    async with await Journal.open(path) as journal:
        record = await journal.run(name)
        assert record is not None
        return await journal.events(record), [row async for row in await journal.results(record)]


def told(event: EventRecord) -> dict[str, Any]:
    return msgspec.json.decode(event.data or "null", type=dict[str, Any])


async def test_a_wait_is_noted_while_it_lasts(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    seen: list[EventRecord] = []
    async with Sandbox(limit=3, window=900.0) as sandbox, client_of(sandbox, {"shop": "one", "news": "two"}) as client:
        given = [*updates(5, account="shop"), *updates(2, first=11, account="news")]
        async with client.bulk(given, journal=path, run="nightly") as run:
            done = 0
            async for _ in run:
                done += 1
                if done == 5:  # three of shop, two of news: the others wait
                    seen, _ = await kept(path)
        await client.create("99", alt(), account="news")  # after the run: nothing of it is noted
        assert client._sender is not None
        assert not client._sender.hooks.wait
    events, rows = await kept(path)
    held_up = [event for event in events if event.kind != "window"]
    assert [event.kind for event in held_up] == ["begun", "wait", "ended"]
    assert [event.kind for event in seen if event.kind != "window"] in (["begun"], ["begun", "wait"])
    windows = [told(event) for event in events if event.kind == "window" and event.account == "shop"]
    assert sum(one["sent"] for one in windows if one["window"] == "user-15min") == 5
    wait = held_up[1]
    assert (wait.account, told(wait)["window"]) == ("shop", "user-15min")
    length = datetime.fromisoformat(told(wait)["until"]) - datetime.fromisoformat(wait.at)
    assert 0 < length.total_seconds() < 905
    assert told(held_up[2]) == {"sitting": told(held_up[0])["sitting"], "requests": 7, "retries": 0}
    assert {row.state for row in rows} == {"applied"}


@pytest.mark.looptime(False)  # windows would end while a thread works
async def test_what_was_spent_of_each_window_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    auth = {"shop": BearerToken("one", app="mine"), "news": BearerToken("two", app="mine")}
    async with Sandbox(limit=3, apps={"one": "mine", "two": "mine"}) as sandbox:
        for most in (2, None):  # the second sitting begins in a window of which two requests are spent
            async with client_of(sandbox, auth) as client:
                given = updates(7, account="shop")
                await outcomes_of(client, given, journal=path, run="nightly", max_requests=most, max_wait=0)
            async with client_of(sandbox, auth) as client:
                await client.create("99", alt(), account="news")  # of the app's window, but none of the run's
        assert sandbox.counts.by_status == {200: 5}
    events, _ = await kept(path)
    windows = [(event.account, told(event)) for event in events if event.kind == "window"]
    assert [(owner, one["window"], one["sent"], one["used"]) for owner, one in windows] == [
        ("shop", "user-15min", 2, 2), ("mine", "app-24hour", 2, 2),
        ("shop", "user-15min", 1, 3), ("mine", "app-24hour", 1, 4),
    ]  # fmt: skip
    uses = read_events(events).windows
    assert [(use.account, use.sent, use.others, use.limit) for use in uses] == [
        ("shop", 3, 0, 3), ("mine", 3, 1, 50_000),
    ]  # fmt: skip
    assert all(use.opened < use.closed for use in uses)


async def test_a_stop_is_noted_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with Sandbox() as sandbox, client_of(sandbox, {"shop": "one", "news": "two"}) as client:
        sandbox.revoke("one")
        given = [*updates(2, account="shop"), *updates(2, first=11, account="news")]
        await outcomes_of(client, given, journal=path, run="nightly")
    events, _ = await kept(path)
    begun, stopped, *_ = events
    assert (begun.kind, stopped.kind, events[-1].kind) == ("begun", "stop", "ended")
    stop = told(stopped)
    assert (stopped.account, stop["reason"], stop["all_of_its_app"]) == ("shop", "Unauthorized", False)
    assert "log in" in stop["action"].lower() or "token" in stop["action"].lower()


async def test_what_stopped_the_run_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with Sandbox(limit=2) as sandbox, client_of(sandbox) as client:
        _, error = await outcomes_of(client, updates(4), journal=path, run="nightly", max_wait=1.0)
        assert isinstance(error, RateLimitWaitTooLong)
    events, _ = await kept(path)
    stops = [told(event) for event in events if event.kind == "stop" and event.account is None]
    assert [stop["reason"] for stop in stops] == ["RateLimitWaitTooLong"]


async def test_how_long_each_row_took(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with (
        Sandbox(latency=0.2, script={"2": ["503"], "3": ["404"]}) as sandbox,
        client_of(sandbox) as client,
    ):
        await outcomes_of(client, [*updates(3), *updates(1)], journal=path, run="nightly")
    _, rows = await kept(path)
    first, second, third, again = rows
    assert (first.state, second.attempts, third.state) == ("applied", 2, "failed")
    for row in (first, third):
        assert row.seconds == pytest.approx(0.2, abs=0.15)
    assert second.seconds is not None
    assert second.seconds >= 0.4  # both requests, and the time between them
    assert again.seconds == first.seconds  # they shared one


async def test_requests_of_rows_that_stay_pending_are_counted_too(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with Sandbox(latency=0.1, script={"2": ["402"]}) as sandbox, client_of(sandbox) as client:
        _, error = await outcomes_of(client, updates(2), journal=path, run="nightly", concurrency=1)
        assert isinstance(error, CreditsDepleted)
        async with client.bulk(updates(9), journal=path, run="left") as run:
            async for _ in run:
                break
    async with await Journal.open(path) as journal:
        runs = {record.name: record for record in await journal.runs()}
        events = await journal.events(runs["nightly"])
    assert runs["nightly"].requests == 2
    assert told(events[-1])["requests"] == 2
    assert runs["left"].requests == sandbox.counts.requests - 2
