"""The five tests to write first, and the traps that were seen by experiment: what libraries do, and that we do not."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from datetime import UTC, datetime

import aiohttp
import msgspec
import pytest
import tenacity
from aiolimiter import AsyncLimiter

from xmediameta import (
    Applied,
    Client,
    InvalidUpdate,
    Limits,
    Metadata,
    NotSent,
    Retrying,
    RetryPolicy,
    ServerFault,
    Update,
    UpdateRejected,
    UsageCapped,
    XMediaMetaError,
)
from xmediameta.errors import ConnectFailed, ConnectionLost, ProtocolViolation, UnreadableResponse
from xmediameta.sandbox import Sandbox

from .fake import CAT, OLD, QUICK, Fake, applied, drained, offline, reply, updates
from .raw import ID, Peer, always, answer, once, raw, success

EPOCH = 1_700_000_000


class FixedWindow:
    """A strict server: so many requests in each fixed window, told by its headers."""

    def __init__(self, limit: int, window: float) -> None:
        self.limit, self.window = limit, window
        self.used = Counter[int]()
        self.refused = 0

    def __call__(self, now: float, media_id: str):
        number = int((EPOCH + now) // self.window)
        refused = self.used[number] >= self.limit
        self.used[number] += not refused
        self.refused += refused
        status, headers, body = reply(429) if refused else applied(media_id)
        told = headers.copy()
        told["Date"] = datetime.fromtimestamp(EPOCH + now, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        told["x-rate-limit-limit"] = str(self.limit)
        told["x-rate-limit-remaining"] = str(self.limit - self.used[number])
        told["x-rate-limit-reset"] = str(int((number + 1) * self.window))
        return status, told, body


# The five


@pytest.mark.looptime
async def test_500_per_900_s_is_never_exceeded_in_a_fixed_window(fake: Fake) -> None:
    server = FixedWindow(500, 900.0)
    fake(server)
    async with Client(OLD, base_url="http://127.0.0.1:9", concurrency=32) as one, one.bulk(updates(1_300)) as run:
        ended = Counter([type(outcome) async for outcome in run])
    assert ended == {Applied: 1_300}
    assert server.refused == 0
    assert max(server.used.values()) == 500
    assert len(server.used) <= 4


@pytest.mark.looptime
async def test_a_cancelled_waiter_frees_its_slot(fake: Fake) -> None:
    server = FixedWindow(3, 60.0)
    fake(server)
    async with offline() as one:
        for number in range(3):
            await one.create(str(number), CAT)
        waiting = [asyncio.create_task(one.create(str(number), CAT, max_wait=None)) for number in range(3, 7)]
        await asyncio.sleep(1)
        waiting[0].cancel()
        done, pending = await asyncio.wait(waiting, timeout=90)
    assert not pending
    assert [task.cancelled() for task in waiting] == [True, False, False, False]
    assert len(done) == 4
    assert server.refused == 0  # and the three that were left had the window to themselves


async def test_concurrent_failures_raise_and_never_return_none(sandbox: Sandbox, client: Client) -> None:
    """A shared `AsyncRetrying` made five of six return None."""
    for number in range(60):
        sandbox.script(str(number), ["503"] * 5 if number % 2 else ["404-unknown-media"])
    client._sender = None
    results = await asyncio.gather(*(client.create(str(number), CAT) for number in range(40)), return_exceptions=True)
    assert len(results) == 40
    assert all(isinstance(result, XMediaMetaError) for result in results)
    assert len({id(result) for result in results}) == 40


async def test_a_520_with_html_is_a_server_fault_with_its_body(sandbox: Sandbox, client: Client) -> None:
    sandbox.script("1", ["520-html"] * 5)
    with pytest.raises(ServerFault) as caught:
        await client.create("1", CAT)
    assert caught.value.status == 520
    assert "<html" in caught.value.body_excerpt.lower()


async def test_usage_capped_stops_the_run_however_healthy_remaining_looks(sandbox: Sandbox, client: Client) -> None:
    await client.create("1", CAT)
    sandbox.cap()
    outcomes, error = await drained(client.bulk(updates(500, start=2)))
    assert isinstance(error, UsageCapped)
    window = error.windows["user-15min"]
    assert (window.remaining or 0) > 1_000_000
    assert {type(outcome) for outcome in outcomes} == {NotSent}
    assert sandbox.counts.by_status[429] <= 32


# aiolimiter


@pytest.mark.looptime
async def test_a_leaky_bucket_lets_through_twice_the_window() -> None:
    """Why aiolimiter only smooths, and the ledger counts."""
    limiter, starts = AsyncLimiter(50, 90), 0
    loop = asyncio.get_running_loop()
    while loop.time() < 90:
        await limiter.acquire()
        starts += loop.time() < 90
    assert starts > 95


@pytest.mark.looptime
async def test_without_headers_the_documented_limit_is_kept_in_any_stretch_of_time(fake: Fake) -> None:
    net = fake(lambda _now, media_id: applied(media_id))
    limits = Limits(user_15min=(50, 90.0))
    async with Client(OLD, base_url="http://127.0.0.1:9", limits=limits) as one, one.bulk(updates(180)) as run:
        assert {type(outcome) async for outcome in run} == {Applied}
    times = [at for at, _, _ in net.log]
    assert max(sum(start <= at < start + 90 for at in times) for start in times) <= 50


@pytest.mark.looptime
async def test_the_even_pace_follows_what_is_left(fake: Fake) -> None:
    """Assigning `max_rate` would leave the old drip: the second half goes at the pace of the second half."""
    server = FixedWindow(60, 120.0)
    net = fake(server)
    async with Client(OLD, base_url="http://127.0.0.1:9", pace="even", limits=None) as one:
        async with one.bulk(updates(30)) as run:
            assert {type(outcome) async for outcome in run} == {Applied}
        middle = asyncio.get_running_loop().time()
        server.used = Counter({number: count + 20 for number, count in server.used.items()})  # somebody else
        async with one.bulk(updates(8, start=100)) as run:
            assert {type(outcome) async for outcome in run} == {Applied}
    times = [at for at, _, _ in net.log]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    early, late = gaps[5:25], gaps[32:]
    assert min(late) > 1.5 * (sum(early) / len(early))
    assert middle > 20
    assert server.refused == 0


# tenacity


@pytest.mark.looptime
async def test_stop_after_delay_counts_the_loops_time(fake: Fake) -> None:
    """tenacity's own engine reads `time.monotonic`, which hardly moves here: it would go on for ever."""
    net = fake(lambda _now, _id: reply(503))
    loop = asyncio.get_running_loop()
    policy = RetryPolicy(stop=tenacity.stop_after_delay(20), wait=tenacity.wait_fixed(3))
    async with offline(retry=policy) as one:
        with pytest.raises(ServerFault) as caught:
            await one.create("1", CAT)
    assert 20 <= loop.time() <= 24
    assert caught.value.attempts == len(net.log) == 8


@pytest.mark.looptime
async def test_a_callers_strategies_work(fake: Fake) -> None:
    net = fake(lambda now, media_id: reply(503) if now < 100 else ConnectFailed("refused"))
    policy = RetryPolicy(
        stop=tenacity.stop_after_attempt(3) | tenacity.stop_after_delay(1_000),
        wait=tenacity.wait_fixed(2) + tenacity.wait_none(),
        retry=tenacity.retry_if_exception_type(ServerFault),
    )
    async with offline(retry=policy) as one:
        with pytest.raises(ServerFault):
            await one.create("1", CAT)
        assert [round(at, 2) for at, _, _ in net.log] == [0.0, 2.1, 4.2]
        await asyncio.sleep(100)
        with pytest.raises(ConnectFailed) as caught:
            await one.create("2", CAT)
        assert caught.value.attempts == 1


# aiohttp


async def test_a_stale_connection_is_tried_again_at_once_on_a_fresh_one() -> None:
    """aiohttp repeats no POST. The server closes a connection as soon as a second request begins on it."""

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(success())
        await peer.reader.readexactly(1)

    retries: list[Retrying] = []
    async with raw(play) as server, Client(OLD, base_url=server.url, limits=None, on_retry=retries.append) as one:
        assert [(await one.create(ID, CAT)).attempts for _ in range(6)] == [1, 2, 1, 2, 1, 2]
        assert [(retry.after, type(retry.error)) for retry in retries] == [(0.0, ConnectionLost)] * 3
        assert server.connections == 6
        assert one.stats.retries == 3


async def test_a_server_that_closes_idle_connections_costs_no_failures() -> None:
    async with (
        Sandbox(limit=None, app_limit=None, close_after=3) as sandbox,
        Client(OLD, base_url=sandbox.url, limits=None, concurrency=8) as one,
    ):
        outcomes, error = await drained(one.bulk(updates(200)))
        assert error is None
        assert {type(outcome) for outcome in outcomes} == {Applied}
        assert len(sandbox.applied) == 200


async def test_what_is_no_http_is_no_400() -> None:
    """aiohttp raises `ClientResponseError` with status 400 for it."""
    async with raw(once(b"HTTP/banana 2OO FINE\r\n\r\n")) as server:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientResponseError) as theirs:
                await session.post(server.url, headers={"Authorization": f"Bearer {OLD}"})
        assert theirs.value.status == 400
        assert OLD in repr(theirs.value)
        async with Client(OLD, base_url=server.url, limits=None, retry=RetryPolicy(attempts=1)) as one:
            with pytest.raises(ProtocolViolation) as ours:
                await one.create("1", CAT)
    assert not isinstance(ours.value, UpdateRejected)
    assert OLD not in repr(ours.value) + str(ours.value)
    assert ours.value.__cause__ is ours.value.__context__ is None


async def test_an_evil_redirect_is_no_success() -> None:
    """By default aiohttp follows it, as a GET, and takes the answer for ours."""
    async with raw(always(success())) as other:
        evil = answer(b"", "302 Found", f"Location: {other.url}/2/media/metadata")
        async with raw(always(evil)) as server, Client(OLD, base_url=server.url, limits=None, retry=QUICK) as one:
            with pytest.raises(UpdateRejected):
                await one.create(ID, CAT)
        assert other.connections == 0


async def test_a_request_costs_no_timer(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `ClientTimeout(total=)` costs 3 to 13 %: one sweep looks after all."""
    made: list[str] = []
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def counted(when: float, callback, *args, **options):
        made.append(getattr(callback, "__module__", ""))
        return call_at(when, callback, *args, **options)

    async with Client(OLD, base_url=sandbox.url, limits=None, pace=None) as one:
        await one.create("1", CAT)
        monkeypatch.setattr(loop, "call_at", counted)
        loop.call_later(60, len).cancel()
        for number in range(100):
            await one.create(str(number), CAT)
    ours = [name for name in made if not name.startswith(("aiohttp.web", "xmediameta.sandbox"))]
    assert 1 <= len(ours) < 10


# msgspec


async def test_deep_nesting_raises_nothing_of_msgspec(sandbox: Sandbox, client: Client) -> None:
    with pytest.raises(RecursionError):
        msgspec.json.decode(b"[" * 100_000 + b"]" * 100_000)
    sandbox.script("1", ["200-deep"] * 5)
    with pytest.raises(UnreadableResponse):
        await client.create("1", CAT)
    sandbox.script("2", ["503-deep"] * 5)
    with pytest.raises(ServerFault):
        await client.create("2", CAT)


@pytest.mark.looptime
@pytest.mark.parametrize("twice", [b'{"data":{"id":"1","id":"9"}}', b'{"data":{"id":"1"},"data":{"id":"9"}}'])
async def test_an_answer_that_names_two_media_is_no_success(fake: Fake, twice: bytes) -> None:
    """msgspec lets the last of equal keys win: it is another one."""
    status, headers, _ = reply(200)
    fake(lambda _now, _id: (status, headers, twice))
    async with offline(retry=RetryPolicy(attempts=1)) as one:
        with pytest.raises(UnreadableResponse):
            await one.create("1", CAT)


async def test_lengths_are_counted_in_characters_not_in_bytes(sandbox: Sandbox, client: Client) -> None:
    text = "\U0001f408" * 1_000
    assert len(text.encode()) == 4_000
    await client.create("1", Metadata.of(alt_text=text))
    assert sandbox.applied["1"] == {"alt_text": {"text": text}}
    with pytest.raises(InvalidUpdate, match="1,001 characters, 1 too many"):
        await client.create("1", Metadata.of(alt_text=text + "x"))


async def test_a_hand_built_struct_is_checked(client: Client) -> None:
    """msgspec checks constraints on decode and convert only."""
    for update in (Update("not digits", CAT), Update("1" * 20, CAT), Update("1.5", CAT)):
        with pytest.raises(InvalidUpdate):
            await client.create(update.id, CAT)


# asyncio


@pytest.mark.looptime
async def test_a_run_is_a_few_tasks_and_a_few_rows_however_long_it_is(fake: Fake) -> None:
    """A task per row takes 20 µs and, for a million, 1.6 GB."""
    net = fake(lambda _now, media_id: applied(media_id))
    before = len(asyncio.all_tasks())
    most_tasks = most_ahead = read = 0
    async with offline(concurrency=8) as one, one.bulk(updates(3_000), lookahead=100) as run:
        async for _ in run:
            read += 1
            most_tasks = max(most_tasks, len(asyncio.all_tasks()) - before)
            most_ahead = max(most_ahead, run.taken - read)
    assert (read, len(net.log), net.most_in_flight) == (3_000, 3_000, 8)
    assert 8 <= most_tasks <= 2 * 8 + 2
    assert most_ahead < 500
