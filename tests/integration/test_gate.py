"""Windows of a real server: used to the last request, in order, and never once in vain."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest

from xmediameta import Applied, Client, Limits, Sandbox, Update, Wait

from .clients import ID, TOKEN, alt, client_of, nothing_left, outcomes_of, settle, told, updates, wire


def repeated(number: int, ids: int) -> list[Update]:
    """Updates of a few media, each a few times, in the order in which they must arrive."""
    rand = random.Random(number)
    return [Update(str(rand.randrange(ids) + 1), alt(str(n)), ref=n) for n in range(number)]


async def windowed(sandbox: Sandbox, rows: list[Update], **options: Any) -> None:
    """Send rows, and look at the server's own record: each once, in order per media, none in vain."""
    async with client_of(sandbox, **options) as client:
        found, error = await outcomes_of(client, rows)
        assert error is None
        assert told(found) == dict.fromkeys((update.ref for update in rows), "applied")
        await nothing_left(client)
    assert sandbox.counts.requests == len(rows)
    assert sandbox.counts.limited == 0
    assert sandbox.counts.by_status == {200: len(rows)}
    assert sandbox.counts.most_per_id == 1
    given: dict[str, list[Any]] = defaultdict(list)
    for update in rows:
        given[update.id].append(wire(str(update.ref)))
    assert {media_id: sandbox.history(media_id) for media_id in given} == given


@pytest.mark.looptime
@pytest.mark.parametrize(
    "options", [{}, {"aligned": True}, {"latency": (0.02, 2.0)}, {"reset_rounding": "ceil", "clock_skew": 613.7}]
)
async def test_1200_updates_in_windows_of_500(options: dict[str, Any]) -> None:
    async with Sandbox(limit=500, window=900, **options) as sandbox:
        await windowed(sandbox, repeated(1_200, 700))
        windows = 2 if not options.get("aligned") else 3
        assert asyncio.get_running_loop().time() < windows * 900 + 60


@pytest.mark.slow
async def test_1200_updates_in_windows_of_500_in_real_time() -> None:
    async with Sandbox(limit=500, window=1.0, latency=(0.0, 0.01)) as sandbox:
        began = asyncio.get_running_loop().time()
        await windowed(sandbox, updates(1_200))
        # Resets are told in whole seconds: at most two seconds a window over the bound of two windows.
        assert asyncio.get_running_loop().time() - began < 2 * (1.0 + 2.0) + 4


@pytest.mark.looptime
async def test_without_headers_the_documented_limits_are_kept() -> None:
    async with Sandbox(limit=500, window=900, headers=False) as sandbox:
        await windowed(sandbox, updates(1_200))
        assert asyncio.get_running_loop().time() >= 1_800


@pytest.mark.looptime
async def test_limits_that_are_given_are_kept_instead() -> None:
    async with Sandbox(limit=20, window=60, headers=False) as sandbox:
        await windowed(sandbox, updates(100), limits=Limits(user_15min=(20, 60), app_24hour=None))


@pytest.mark.looptime
async def test_the_tightest_window_binds() -> None:
    async with Sandbox(limit=30, window=900, app_limit=50, app_window=3_600, user_day_limit=70) as sandbox:
        await windowed(sandbox, updates(65))
        assert 3_600 <= asyncio.get_running_loop().time() < 3_700


@pytest.mark.looptime
@pytest.mark.parametrize("pace", ["burst", 20, "even"])
async def test_a_pace_is_kept_within_the_windows(pace: Any) -> None:
    async with Sandbox(limit=500, window=900) as sandbox:
        await windowed(sandbox, updates(600), pace=pace)
        times = [received.time for received in sandbox.received][1:500]
        if pace == "even":
            gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
            assert min(gaps) > 1.5
            assert times[-1] - times[0] > 880
        else:
            rate = 250 if pace == "burst" else pace
            assert (len(times) - rate / 10) / (times[-1] - times[0]) == pytest.approx(rate, rel=0.05)


@pytest.mark.looptime
async def test_somebody_else_who_spends_the_window_is_noticed() -> None:
    async with Sandbox(limit=100, window=900) as sandbox, client_of(sandbox) as client:
        run = asyncio.create_task(outcomes_of(client, updates(150), concurrency=8))
        await settle()
        sandbox.spend(TOKEN, 40)
        found, error = await run
        assert error is None
        assert set(told(found).values()) == {"applied"}
        assert sandbox.counts.limited <= 8, "at most what was in flight"
        await nothing_left(client)


@pytest.mark.looptime
async def test_a_429_is_waited_for_once_by_the_whole_account() -> None:
    waits: list[Wait] = []
    async with Sandbox(limit=50, window=900, latency=1) as sandbox, client_of(sandbox, on_wait=waits.append) as client:
        await client.create(ID, alt())
        sandbox.spend(TOKEN, 49)
        found, error = await outcomes_of(client, updates(60), concurrency=16)
        assert error is None
        assert 1 <= sandbox.counts.limited <= 16, "at most what was in flight"
        attempts = [outcome.attempts for outcome in found if isinstance(outcome, Applied)]
        assert (attempts.count(1), attempts.count(2)) == (60 - sandbox.counts.limited, sandbox.counts.limited)
        assert [wait.window for wait in waits] == ["user-15min"] * 2, "once for each window"
        assert client.stats.failed == 0
        await nothing_left(client)


# What is seen of it


@pytest.mark.looptime
async def test_quota_shows_what_is_true() -> None:
    async with Sandbox(limit=10, window=900, app_limit=100, app_window=86_400, latency=1) as sandbox:
        client = client_of(sandbox, {"ana": "a", "bob": "b"})
        assert client.quota == ()
        async with client:
            assert client.quota == ()
            for number in range(3):
                await client.create(str(number + 1), alt(), account="ana")
            task = asyncio.create_task(client.create("4", alt(), account="ana"))
            await asyncio.sleep(0.5)
            user, app = client.quota
            assert (user.account, user.window, user.limit, user.remaining) == ("ana", "user-15min", 10, 6)
            assert (app.account, app.window, app.limit, app.remaining) == ("ana", "app-24hour", 100, 96)
            assert (user.in_flight, user.waiting) == (1, False)
            assert user.reset_at is not None
            assert user.reset_at.tzinfo is UTC
            until = (user.reset_at - datetime.now(UTC)).total_seconds()
            assert until == pytest.approx(900 - 3.5, abs=2.5)
            await task
            run = asyncio.create_task(outcomes_of(client, updates(20, account="ana")))
            await asyncio.sleep(30)
            user = client.quota[0]
            assert (user.remaining, user.waiting, user.in_flight) == (0, True, 0)
            await client.create("99", alt(), account="bob")
            assert [quota.account for quota in client.quota] == ["ana", "ana", "bob", "bob"]
            assert client.quota[2].remaining == 9
            await run
        assert len(client.quota) == 4, "it can still be read"


@pytest.mark.looptime
async def test_quota_shows_that_bulk_waits_before_what_is_reserved() -> None:
    async with Sandbox(limit=10, window=900) as sandbox, client_of(sandbox, reserve=4) as client:
        async with client.bulk(updates(20)):
            await asyncio.sleep(30)
            user, app = client.quota
            assert (user.remaining, user.waiting) == (4, True)
            assert (app.remaining, app.waiting) == (50_000 - 6, False)
        assert not client.quota[0].waiting


@pytest.mark.looptime
async def test_stats_show_what_is_true() -> None:
    script: dict[str, list[str | int]] = {"1": ["503"], "2": ["404"], "3": ["reset", "503"]}
    async with Sandbox(script=script, latency=1) as sandbox:
        client = client_of(sandbox)
        assert client.stats.requests == client.stats.in_flight == 0
        async with client:
            run = asyncio.create_task(outcomes_of(client, [*updates(5), *updates(1)]))
            await asyncio.sleep(0.5)
            assert client.stats.in_flight == 1
            await run
            stats = client.stats
            assert stats.requests == sandbox.counts.requests == 8
            assert (stats.retries, stats.applied, stats.failed, stats.in_flight) == (3, 4, 1, 0)
            assert repr(client) == f"<Client {sandbox.url} 0 in flight>"


@pytest.mark.looptime
async def test_on_wait_that_fails_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def on_wait(wait: Wait) -> None:
        raise LookupError("mine")

    async with Sandbox(limit=2, window=60) as sandbox, client_of(sandbox, on_wait=on_wait) as client:
        found, error = await outcomes_of(client, updates(5))
        assert error is None
        assert len(found) == 5
        assert "a listener failed" in caplog.text
        await nothing_left(client)


def test_a_run_says_until_when_it_waits() -> None:
    async def look() -> tuple[Any, Any, Any]:
        async with Sandbox(limit=2, window=900) as sandbox, client_of(sandbox) as client:
            async with client.bulk(updates(5)) as outcomes:
                for _ in range(2):
                    await anext(outcomes)
                await asyncio.sleep(0.1)
                until = outcomes.waiting_until
                quota = client.quota[0].reset_at
            return until, quota, outcomes.waiting_until

    until, quota, after = asyncio.run(look())
    assert abs((until - quota).total_seconds()) < 0.1
    assert after is None


# From the environment


async def test_from_env(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox(token=TOKEN) as sandbox:
        monkeypatch.setenv("XMEDIAMETA_TOKEN", f" {TOKEN}\n")
        monkeypatch.setenv("XMEDIAMETA_BASE_URL", sandbox.url)
        async with Client.from_env(pace=None) as client:
            await client.create(ID, alt())
        assert sandbox.counts.applied == 1
        assert repr(Client.from_env(base_url="https://example.org/x")) == "<Client https://example.org/x new>"
        monkeypatch.delenv("XMEDIAMETA_BASE_URL")
        assert repr(Client.from_env()) == "<Client https://api.x.com new>"
