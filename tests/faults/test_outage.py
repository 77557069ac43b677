"""The server is down in the middle of a run: nothing fails, nothing storms, and it goes on at once."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from xmediameta import Applied, Client, Failed, NotSent, OutageTooLong, RetryPolicy, ServerFault
from xmediameta.attempts import wait_for_verdict
from xmediameta.errors import ConnectFailed, RequestTimedOut
from xmediameta.sandbox import Sandbox

from .fake import OLD, Fake, applied, drained, offline, reply, updates

PROBLEM = {"type": "about:blank", "title": "Service Unavailable", "status": 503}


@pytest.mark.looptime
async def test_thirty_seconds_of_503_and_of_refused_connections(fake: Fake) -> None:
    def server(now: float, media_id: str):
        if 2.0 <= now < 17.0:
            return reply(503, PROBLEM)
        if 17.0 <= now < 32.0:
            return ConnectFailed("refused")
        return applied(media_id)

    net = fake(server)
    rows = 64 * 10 * 2 + 64 * 10 * 8
    async with offline(concurrency=64) as one, one.bulk(updates(rows)) as run:
        ended = Counter([type(outcome) async for outcome in run])
        extra = run.requests - rows
    assert ended == {Applied: rows}
    assert net.most_in_flight == 64
    assert extra == net.between(2.0, 32.0) == net.between(0, 99, good=False)
    assert extra < 200
    usual = net.between(1.0, 2.0)
    assert usual > 600
    assert net.between(33.5, 34.5) > 0.9 * usual
    assert asyncio.get_running_loop().time() < 45


@pytest.mark.looptime
@pytest.mark.parametrize(("concurrency", "rows"), [(1, 1), (1, 30), (2, 5), (8, 300), (64, 9)])
async def test_thirty_seconds_fail_nothing_however_few_there_are(fake: Fake, concurrency: int, rows: int) -> None:
    """Fewer media than make an outage, or one request at a time: five attempts of bulk are spread over the time."""
    net = fake(lambda now, media_id: reply(503, PROBLEM) if now < 30.0 else applied(media_id))
    async with offline(concurrency=concurrency) as one, one.bulk(updates(rows)) as run:
        ended = Counter([type(outcome) async for outcome in run])
    assert ended == {Applied: rows}
    assert len(net.log) <= rows + 50


@pytest.mark.looptime
async def test_an_outage_of_requests_that_hang(fake: Fake) -> None:
    net = fake(lambda now, media_id: RequestTimedOut(30.0) if 2.0 <= now < 92.0 else applied(media_id), failing=30.0)
    rows = 6_000
    async with offline(concurrency=64) as one, one.bulk(updates(rows)) as run:
        ended = Counter([type(outcome) async for outcome in run])
    assert ended == {Applied: rows}
    assert net.between(2.0, 92.0) < 250
    assert net.between(95.0, 96.0) > 0.4 * net.between(1.0, 2.0)


@pytest.mark.looptime
async def test_attempts_during_an_outage_do_not_count(fake: Fake) -> None:
    """Twenty updates and no more: each is probed again and again, and none fails."""
    net = fake(lambda now, media_id: reply(503) if now < 300.0 else applied(media_id))
    async with offline(concurrency=64) as one, one.bulk(updates(20)) as run:
        outcomes = [outcome async for outcome in run]
    assert {type(outcome) for outcome in outcomes} == {Applied}
    assert max(net.by_media.values()) > 5
    assert net.between(1.0, 300.0) < 330


@pytest.mark.looptime
async def test_an_outage_that_is_too_long_stops_the_run(fake: Fake) -> None:
    net = fake(lambda _now, _id: reply(503, PROBLEM))
    taken = iter(updates(20_000))
    async with offline(concurrency=16, retry=RetryPolicy(max_outage=60.0)) as one:
        run = one.bulk(taken)
        outcomes, error = await drained(run)
        assert isinstance(error, OutageTooLong)
        assert 60.0 < error.seconds < 65.0
        assert isinstance(error.last, ServerFault)
        assert {outcome.reason for outcome in outcomes if isinstance(outcome, NotSent)} == {"run_stopped"}
        assert {type(outcome) for outcome in outcomes} == {NotSent}
        assert len(outcomes) == run.taken
        assert next(taken).id == str(run.taken + 1)
    assert len(net.log) < 150
    assert 60.0 < asyncio.get_running_loop().time() < 66.0


@pytest.mark.looptime
async def test_no_patience_for_an_outage(fake: Fake) -> None:
    fake(lambda _now, _id: ConnectFailed("refused"))
    async with offline(retry=RetryPolicy(max_outage=0.0)) as one:
        outcomes, error = await drained(one.bulk(updates(100)))
    assert isinstance(error, OutageTooLong)
    assert {type(outcome) for outcome in outcomes} == {NotSent}


@pytest.mark.looptime
async def test_an_outage_before_a_wait_for_a_window_is_not_as_long_as_the_wait(fake: Fake) -> None:
    """One failure, a quarter of an hour without a request, then a short outage."""

    def server(now: float, media_id: str):
        if now < 0.05:
            return reply(503)
        if now < 2.0:
            return reply(429, x_rate_limit_limit="5", x_rate_limit_remaining="0", x_rate_limit_reset="1700000905",
                         Date="Tue, 14 Nov 2023 22:13:20 GMT")  # fmt: skip
        return reply(503) if now < 960.0 else applied(media_id)

    net = fake(server)
    async with offline(concurrency=64, retry=RetryPolicy(max_outage=120.0)) as one, one.bulk(updates(200)) as run:
        ended = Counter([type(outcome) async for outcome in run])
    assert ended == {Applied: 200}
    assert net.between(2.0, 890.0) == 0


@pytest.mark.looptime
async def test_single_media_that_always_fail_are_no_outage(fake: Fake) -> None:
    """They fail after five attempts, each, while the others go on."""
    bad = {str(number) for number in range(100, 2_000, 250)}
    net = fake(lambda _, media_id: reply(503, PROBLEM) if media_id in bad else applied(media_id))
    async with offline(concurrency=32) as one, one.bulk(updates(3_000)) as run:
        outcomes = [outcome async for outcome in run]
    failed = {outcome.id: outcome.error for outcome in outcomes if isinstance(outcome, Failed)}
    assert set(failed) == bad
    assert {(type(error), error.attempts) for error in failed.values()} == {(ServerFault, 5)}
    assert {net.by_media[media_id] for media_id in bad} == {5}
    assert sum(isinstance(outcome, Applied) for outcome in outcomes) == 3_000 - len(bad)


@pytest.mark.looptime
async def test_a_caller_of_create_is_told_soon(fake: Fake) -> None:
    """It has five attempts, and none where the retry quota is drained."""
    net = fake(lambda _now, _id: ConnectFailed("refused"))
    loop = asyncio.get_running_loop()
    async with offline() as one:
        for number, update in enumerate(updates(60)):
            began = loop.time()
            with pytest.raises(ConnectFailed) as caught:
                await one.create(update.id, update.metadata)
            assert loop.time() - began < 10
            assert caught.value.attempts == (5 if number < 25 else 1)
    assert len(net.log) == 25 * 5 + 35


@pytest.mark.looptime
async def test_a_create_during_an_outage_of_bulk_is_not_excused(fake: Fake) -> None:
    fake(lambda _now, _id: reply(503, PROBLEM))
    async with offline() as one, one.bulk(updates(100)) as run:
        await asyncio.sleep(3)
        update = next(updates(1, start=1_000))
        with pytest.raises(ServerFault) as caught:
            await one.create(update.id, update.metadata)
        assert caught.value.attempts <= 5
        run.stop()
        assert {type(outcome) async for outcome in run} == {NotSent}


@pytest.mark.looptime
@pytest.mark.parametrize("share", [20, 10])
async def test_scattered_failures_cost_retries_and_little_time(fake: Fake, share: int) -> None:
    seen: set[str] = set()

    def server(_now: float, media_id: str):
        fails = int(media_id) % share == 0 and media_id not in seen
        seen.add(media_id)
        return reply(503) if fails else applied(media_id)

    net = fake(server)
    rows = 3_200
    async with offline(concurrency=64) as one, one.bulk(updates(rows)) as run:
        ended = Counter([type(outcome) async for outcome in run])
    assert ended == {Applied: rows}
    assert len(net.log) == rows + rows // share
    assert asyncio.get_running_loop().time() < 1.5 * rows / 64 * 0.1 + 5


@pytest.mark.looptime
async def test_a_reader_that_has_stopped_is_not_run_ahead_of(fake: Fake) -> None:
    net = fake(lambda _now, media_id: applied(media_id))
    async with offline(concurrency=4) as one, one.bulk(updates(2_000)) as run:
        await asyncio.sleep(60)
        sent = len(net.log)
        assert 4 < sent < 1_000
        await asyncio.sleep(3_600)
        assert len(net.log) == sent
        assert Counter([type(outcome) async for outcome in run]) == {Applied: 2_000}


async def test_a_short_one_for_real() -> None:
    """503s, then refused connections, over sockets, in the middle of a run."""
    rows, seen = 1_500, 0
    policy = RetryPolicy(wait=wait_for_verdict(base=0.05, cap=0.2))
    async with Sandbox(limit=None, app_limit=None, latency=0.02) as sandbox:
        async with Client(OLD, base_url=sandbox.url, concurrency=64, limits=None, pace=None, retry=policy) as one:
            async with one.bulk(updates(rows)) as run:
                async for outcome in run:
                    assert isinstance(outcome, Applied)
                    seen += 1
                    if seen == 300:
                        sandbox.schedule("503", 0.0, 0.5)
                        sandbox.schedule("refused", 0.5, 1.0)
            extra = run.requests - rows
        assert seen == rows
        assert sandbox.counts.faults["503"] >= 10
        assert len(sandbox.applied) == rows
        assert sandbox.counts.applied - rows <= 64  # those that were cut off after they had been applied
        assert 10 <= extra < 300
