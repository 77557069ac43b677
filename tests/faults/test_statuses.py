"""Answers that are no success: what each means for the update, and how long the next attempt waits."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from datetime import UTC, datetime

import pytest

from xmediameta import (
    AccountForbidden,
    AccountSuspended,
    Applied,
    Client,
    Failed,
    MediaNotFound,
    NotSent,
    RateLimitWaitTooLong,
    ServerFault,
    Update,
    UpdateForbidden,
    UpdateRejected,
)
from xmediameta.errors import ConnectFailed
from xmediameta.sandbox import Sandbox

from .fake import CAT, NEW, OLD, QUICK, Fake, applied, drained, offline, reply, updates
from .raw import always, raw, success

# Redirects


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
@pytest.mark.parametrize("absolute", [True, False])
async def test_a_redirect_is_final_and_the_other_host_sees_nothing(status: str, absolute: bool) -> None:
    async with raw(always(success())) as other, raw(always(b"")) as server:
        location = other.url.encode() + b"/2/media/metadata" if absolute else b"/elsewhere"
        data = b"HTTP/1.1 %b Moved\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status.encode(), location)
        server._play = always(data)
        async with Client(OLD, base_url=server.url, limits=None, retry=QUICK) as one:
            with pytest.raises(UpdateRejected) as caught:
                await one.create("1", CAT)
        assert (caught.value.status, caught.value.attempts) == (int(status), 1)
        assert "base URL" in str(caught.value)
        assert len(server.requests) == 1
        assert other.connections == 0


# One media


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("400", UpdateRejected), ("409", UpdateRejected), ("413", UpdateRejected), ("415", UpdateRejected),
     ("404-unknown-media", MediaNotFound), ("403", UpdateForbidden), ("200-errors", UpdateRejected),
     ("200-legacy-error", UpdateRejected)],
)  # fmt: skip
async def test_what_is_wrong_with_one_media_leaves_the_others_alone(
    sandbox: Sandbox, client: Client, fault: str, kind: type[Exception]
) -> None:
    sandbox.script("3", [fault])
    outcomes, error = await drained(client.bulk(updates(6)))
    assert error is None
    ends = {outcome.id: outcome for outcome in outcomes}
    assert {media_id: type(outcome) for media_id, outcome in ends.items()} == {
        media_id: Failed if media_id == "3" else Applied for media_id in map(str, range(1, 7))
    }
    failed = ends["3"]
    assert isinstance(failed, Failed)
    assert type(failed.error) is kind
    assert failed.error.attempts == 1
    assert sandbox.counts.requests == 6


async def test_warnings_beside_a_success_are_kept(sandbox: Sandbox, client: Client) -> None:
    sandbox.script("1", ["200-warnings"])
    done = await client.create("1", CAT)
    assert [problem.slug for problem in done.warnings] == ["invalid-request"]


# The server in trouble: how long it is waited for


def _waits(net, media_id: str = "1") -> list[float]:
    times = [at for at, one, _ in net.log if one == media_id]
    return [round(later - sooner - net.latency, 3) for sooner, later in itertools.pairwise(times)]


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry_After": "3"}, 3.0, 3.3),
        ({"Retry_After": "0"}, 0.0, 0.01),
        ({"Retry_After": "Tue, 14 Nov 2023 22:13:27 GMT", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, 7.0, 7.5),
        ({"Retry_After": "Tue, 14 Nov 2023 21:00:00 GMT", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, 0.0, 0.01),
        ({"Retry_After": "315360000"}, 300.0, 301.0),
        ({"Retry_After": "99999999999999999999999999"}, 300.0, 301.0),
        ({"Retry_After": "Tue, 14 Nov 2073 22:13:20 GMT", "Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, 300.0, 301.0),
        ({"Retry_After": "-5"}, 0.0, 0.5),
        ({"Retry_After": "soon"}, 0.0, 0.5),
        ({}, 0.0, 0.5),
    ],
)
async def test_retry_after(fake: Fake, headers: dict[str, str], least: float, most: float) -> None:
    net = fake(lambda now, media_id: reply(503, **headers) if now == 0.0 else applied(media_id))
    async with offline() as one:
        assert (await one.create("1", CAT, max_wait=None)).attempts == 2
    (wait,) = _waits(net)
    assert least <= wait <= most


async def test_a_failure_with_a_header_that_comes_twice() -> None:
    data = b"HTTP/1.1 503 Busy\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 4\r\n\r\nbusy"
    async with raw(always(data)) as server, Client(OLD, base_url=server.url, limits=None, retry=QUICK) as one:
        with pytest.raises(ServerFault) as caught:
            await one.create("1", CAT)
    assert caught.value.body_excerpt == "busy"


@pytest.mark.looptime
async def test_a_caller_of_create_waits_no_longer_than_they_said(fake: Fake) -> None:
    net = fake(lambda _now, _id: reply(503, Retry_After="60"))
    loop = asyncio.get_running_loop()
    async with offline() as one:
        with pytest.raises(ServerFault) as caught:
            await one.create("1", CAT, max_wait=10.0)
    assert (caught.value.retry_after, caught.value.attempts, len(net.log)) == (60.0, 1, 1)
    assert loop.time() < 1.0


@pytest.mark.looptime
async def test_five_attempts_with_full_jitter_between_them(fake: Fake) -> None:
    bounds = [0.5, 1.0, 2.0, 4.0]
    seen: list[list[float]] = []
    for _ in range(20):
        net = fake(lambda _now, _id: reply(503))
        async with offline() as one:
            with pytest.raises(ServerFault):
                await one.create("1", CAT)
        assert len(net.log) == 5
        seen.append(_waits(net))
    for waits in seen:
        assert all(0.0 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    last = [waits[-1] for waits in seen]
    assert min(last) < 1.5
    assert max(last) > 2.5


@pytest.mark.looptime
async def test_what_a_retry_took_of_the_quota_comes_back_with_its_success(fake: Fake) -> None:
    seen: set[str] = set()

    def server(_now: float, media_id: str):
        first = media_id not in seen and int(media_id) < 50
        seen.add(media_id)
        return reply(503) if first or int(media_id) == 99 else applied(media_id)

    fake(server)
    async with offline() as one:
        await one.create("60", CAT)
        assert one._sender is not None
        quota = one._sender.quota
        await one.create("1", CAT)
        assert quota.level == 500
        with pytest.raises(ServerFault):
            await one.create("99", CAT)
        assert quota.level == 500 - 4 * 5
        for number in range(2, 12):
            await one.create(str(number), CAT)
        assert quota.level == 480
        for number in range(70, 90):
            await one.create(str(number), CAT)
        assert quota.level == 500


# 403


async def test_ten_403s_in_a_row_take_the_account_out_and_one_does_not(sandbox: Sandbox) -> None:
    auth = {"a": OLD, "b": NEW}
    async with Client(auth, base_url=sandbox.url, limits=None, retry=QUICK, concurrency=2) as one:
        sandbox.script("1", ["403"])
        with pytest.raises(UpdateForbidden):
            await one.create("1", CAT, account="a")
        await one.create("2", CAT, account="a")
        sandbox.refuse_with("403", OLD)
        rows = [Update(str(number), CAT, "ab"[number % 2]) for number in range(100, 160)]
        outcomes, error = await drained(one.bulk(rows))
        assert error is None  # an account is left
        by_account = {name: [o for o in outcomes if o.update.account == name] for name in "ab"}
        assert {type(outcome) for outcome in by_account["b"]} == {Applied}
        assert {type(outcome) for outcome in by_account["a"]} == {NotSent}
        for outcome in by_account["a"]:
            assert isinstance(outcome, NotSent)
            assert (outcome.reason, type(outcome.error)) == ("account_stopped", AccountForbidden)
        assert sandbox.counts.by_status[403] <= 1 + 10 + 1
        with pytest.raises(AccountForbidden, match=r"media\.write"):
            await one.create("3", CAT, account="a")


async def test_403s_between_successes_take_nobody_out(sandbox: Sandbox) -> None:
    async with Client(OLD, base_url=sandbox.url, limits=None, retry=QUICK, concurrency=1) as one:
        for number in range(1, 61):
            if number % 6:
                sandbox.script(str(number), ["403"])
        outcomes, error = await drained(one.bulk(updates(60)))
    assert error is None
    assert Counter(type(outcome) for outcome in outcomes) == {Failed: 50, Applied: 10}


async def test_a_suspension_takes_out_its_account_only(sandbox: Sandbox) -> None:
    async with Client({"a": OLD, "b": NEW}, base_url=sandbox.url, limits=None, retry=QUICK) as one:
        sandbox.suspend(OLD)
        outcomes, error = await drained(one.bulk(Update(str(n), CAT, "ab"[n % 2]) for n in range(40)))
    assert error is None
    assert Counter((outcome.update.account, type(outcome)) for outcome in outcomes) == {
        ("a", NotSent): 20,
        ("b", Applied): 20,
    }
    assert {type(o.error) for o in outcomes if isinstance(o, NotSent)} == {AccountSuspended}


# 429


@pytest.mark.looptime
async def test_a_429_without_headers_waits_a_minute_and_longer_the_next_time(fake: Fake) -> None:
    net = fake(lambda now, media_id: reply(429) if now < 150 else applied(media_id))
    async with offline() as one:
        assert (await one.create("1", CAT, max_wait=None)).attempts == 3
    assert [round(at) for at, _, _ in net.log] == [0, 60, 180]


@pytest.mark.looptime
async def test_max_wait_is_for_what_a_server_asks_for_again_and_again(fake: Fake) -> None:
    net = fake(lambda _now, _id: reply(503, Retry_After="4"))
    loop = asyncio.get_running_loop()
    async with offline() as one:
        with pytest.raises(ServerFault):
            await one.create("1", CAT, max_wait=10.0)
        assert (len(net.log), loop.time() < 10.0) == (3, True), "two waits of 4 to 4.4 s, and no third"
        began = loop.time()
        with pytest.raises(ServerFault) as caught:
            await one.create("2", CAT, max_wait=None)
        assert caught.value.attempts == 5
        assert 16 <= loop.time() - began < 19


@pytest.mark.looptime
async def test_max_wait_is_for_all_waits_together(fake: Fake) -> None:
    """A server that says "in two seconds" for ever is not waited for for ever."""

    def server(now: float, _media_id: str):
        epoch = 1_700_000_000 + now
        date = datetime.fromtimestamp(epoch, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return reply(429, Date=date, x_rate_limit_limit="5", x_rate_limit_remaining="0",
                     x_rate_limit_reset=str(int(epoch) + 2))  # fmt: skip

    net = fake(server)
    async with offline() as one:
        with pytest.raises(RateLimitWaitTooLong) as caught:
            await one.create("1", CAT, max_wait=10.0)
        assert (caught.value.max_wait, caught.value.window) == (10.0, "user-15min")
        assert "max_wait=10 s" in str(caught.value)
        assert 2 <= len(net.log) <= 6
        assert asyncio.get_running_loop().time() < 11.0


@pytest.mark.looptime
async def test_429s_do_not_count_as_attempts_nor_as_trouble(fake: Fake) -> None:
    seen = Counter[str]()

    def server(now: float, media_id: str):
        seen[media_id] += 1
        return reply(429, Retry_After="1") if now < 60 and seen[media_id] % 2 else applied(media_id)

    fake(server)
    async with offline(concurrency=8) as one, one.bulk(updates(40)) as run:
        outcomes = [outcome async for outcome in run]
        assert {type(outcome) for outcome in outcomes} == {Applied}
        assert one._sender is not None
        assert one._sender.congestion.limit == float("inf")
        assert one._sender.quota.level == 500


# A certificate, in bulk


@pytest.mark.looptime
async def test_a_certificate_that_does_not_fit_ends_a_bulk_and_fails_a_create(fake: Fake) -> None:
    net = fake(lambda _now, _id: ConnectFailed("no secure connection", retryable=False))
    async with offline(concurrency=4) as one:
        with pytest.raises(ConnectFailed) as caught:
            await one.create("1", CAT)
        assert caught.value.attempts == 1
        outcomes, error = await drained(one.bulk(updates(1_000)))
        assert isinstance(error, ConnectFailed)
        assert {type(outcome) for outcome in outcomes} == {NotSent}
        assert {outcome.reason for outcome in outcomes if isinstance(outcome, NotSent)} == {"run_stopped"}
        assert len(net.log) <= 5
        net.server = lambda _now, media_id: applied(media_id)
        assert (await one.create("1", CAT)).attempts == 1  # nothing was stopped for a minute
