"""Cancelled at every await: nothing leaks, and the others go on."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trustme

from xmediameta import (
    Applied,
    Client,
    ClientClosed,
    ConfigurationError,
    Metadata,
    NotSent,
    RateLimitWaitTooLong,
    RetryPolicy,
)
from xmediameta.attempts import wait_for_verdict
from xmediameta.congestion import Congestion
from xmediameta.errors import ConnectFailed, RequestTimedOut
from xmediameta.sandbox import Sandbox

from .fake import drained, updates
from .raw import BODY, TOKEN, Peer, Raw, always, raw, success, transport, unused_port
from .sockets import taken

CAT = Metadata.of(alt_text="A dancing cat")
QUICK = RetryPolicy(wait=wait_for_verdict(base=0.0002, cap=0.0004))


async def cancelled_everywhere(start: Callable[[], Awaitable[object]], check: Callable[[], Awaitable[None]]) -> int:
    """Cancel after one step, after two, … until it ends by itself; returns how many steps that took."""
    for steps in range(2_000):
        task = asyncio.ensure_future(start())
        for _ in range(steps):
            await asyncio.sleep(0)
        if task.done():
            task.result()
            return steps
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled(), task
        await check()
    raise AssertionError("it never ended")


async def chunked(peer: Peer) -> None:
    """Answers in pieces, so that there are awaits within the body."""
    while await peer.request():
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b'{"data":', b'{"id":', b'"1146654567674912769"', b"}}"):
            await asyncio.sleep(0)
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await peer.send(b"0\r\n\r\n")


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_request(fresh: bool) -> None:
    async with raw(chunked) as server, transport(server.url) as (sending, session):

        async def check() -> None:
            assert sending.in_flight == 0
            assert taken(sending) == 0

        steps = await cancelled_everywhere(lambda: sending.post(session, BODY, fresh=fresh), check)
        assert steps > 5
        assert (await sending.post(session, BODY))[0] == 200
        await _all_gone_but(server, 1)


async def test_a_request_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    ca = trustme.CA()
    context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(trusting)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    async with raw(always(success()), ssl_context=context) as server:

        async def start() -> None:
            async with transport(server.url) as (sending, session):  # whose connection is made anew each time
                await sending.post(session, BODY)

        async def check() -> None:
            pass  # `transport` has looked at what is in flight

        assert await cancelled_everywhere(start, check) > 5
        await _all_gone_but(server, 0)


async def _all_gone_but(server: Raw, number: int) -> None:
    """Connections of cancelled requests are closed, for half an answer may be on them."""
    for _ in range(200):
        if len(server.peers) <= number:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{len(server.peers)} connections are still open")


async def test_a_timeout_and_a_cancellation_at_once() -> None:
    """The one from outside wins, and asyncio's own count of cancellations is left as it should be."""

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with raw(play) as server, transport(server.url, timeout=0.05) as (sending, session):
        task = asyncio.create_task(sending.post(session, BODY))
        await asyncio.sleep(0.02)
        (flight,) = sending._flights.values()
        flight.end(RequestTimedOut(0.05))
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()

        async def within_timeouts() -> str:
            with pytest.raises(RequestTimedOut):
                await sending.post(session, BODY)
            this = asyncio.current_task()
            assert this is not None
            assert this.cancelling() == 0
            try:
                async with asyncio.timeout(0.01):
                    await sending.post(session, BODY)
            except TimeoutError:
                return "the caller's timeout"
            return "none"

        assert await within_timeouts() == "the caller's timeout"


async def test_a_cancellation_carries_nothing_of_aiohttp() -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with raw(play) as server, transport(server.url) as (sending, session):
        task = asyncio.create_task(sending.post(session, BODY))
        while not server.requests:
            await asyncio.sleep(0.001)
        task.cancel("the reason")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert [entry.name for entry in caught.traceback][-1] == "post"
        assert caught.value.__context__ is None


def quick_client(sandbox: Sandbox, **options: int) -> Client:
    """A client that does not dally."""
    return Client(TOKEN, base_url=sandbox.url, retry=QUICK, limits=None, pace=None, **options)  # type: ignore[arg-type]


async def idle(one: Client) -> None:
    """Nothing is held of anything."""
    sender = one._sender
    assert sender is not None
    # Failures without a success in between would drain the one and make an outage of the other.
    sender.quota.refill(500)
    sender.congestion = Congestion()
    assert sender.transport.in_flight == 0
    assert len(sender.lanes) == 0
    for account in sender.accounts.known():
        assert account.gate.ledger.in_flight == 0
        assert account.gate.idle
    assert taken(sender.transport) == 0


@pytest.mark.parametrize("fault", ["ok", "503", "close", "truncated", "429-bare"])
async def test_a_create(fault: str) -> None:
    """With a retry, a stale connection, or a wait for a window on its way."""
    async with Sandbox(limit=None, app_limit=None) as sandbox, quick_client(sandbox) as one:
        await one.create("1", CAT)
        ids = itertools.count(2)

        async def start() -> None:
            media_id = str(next(ids))
            sandbox.script(media_id, [fault])
            await one.create(media_id, CAT, max_wait=0.0)

        if fault == "429-bare":
            with pytest.raises(RateLimitWaitTooLong):
                await cancelled_everywhere(start, lambda: idle(one))
        else:
            assert await cancelled_everywhere(start, lambda: idle(one)) > 5
            assert sandbox.counts.faults.get(fault, 0) >= (fault != "ok")
            await one.create("1", CAT)
        await idle(one)


async def test_a_create_that_waits_for_its_window() -> None:
    async with Sandbox(limit=1, window=60) as sandbox, Client(TOKEN, base_url=sandbox.url) as one:
        await one.create("1", CAT)
        waiting = [asyncio.create_task(one.create(str(number), CAT, max_wait=None)) for number in range(2, 6)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        waiting[2].cancel()
        await asyncio.sleep(0)
        sandbox.advance(60)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert all(task.cancelled() for task in waiting)
        await idle(one)


async def test_who_shares_a_request_goes_on_when_its_leader_is_cancelled() -> None:
    async with Sandbox(limit=None, app_limit=None) as sandbox, quick_client(sandbox) as one:
        await one.create("1", CAT)
        for steps in range(60):
            media_id = str(1_000 + steps)
            leader = asyncio.create_task(one.create(media_id, CAT))
            await asyncio.sleep(0)
            other = asyncio.create_task(one.create(media_id, CAT))
            later = asyncio.create_task(one.create(media_id, Metadata.of(alt_text="another")))
            for _ in range(steps):
                await asyncio.sleep(0)
            leader.cancel()
            await asyncio.wait((leader,))
            assert (await other).id == media_id
            assert (await later).id == media_id
            assert sandbox.history(media_id)[-1] == {"alt_text": {"text": "another"}}
            await idle(one)


async def test_a_bulk_that_is_left_at_any_time() -> None:
    async with Sandbox(limit=None, app_limit=None) as sandbox, quick_client(sandbox, concurrency=2) as one:
        await one.create("1", CAT)
        starts = itertools.count(1)

        async def start() -> None:
            first = 100 * next(starts)
            for number in range(first, first + 2):
                sandbox.script(str(number), ["503"])
            async with one.bulk(updates(6, start=first)) as run:
                async for outcome in run:
                    assert isinstance(outcome, Applied)

        assert await cancelled_everywhere(start, lambda: idle(one)) > 20
        await idle(one)
        assert (await one.create("2", CAT)).attempts == 1


async def test_a_bulk_whose_reader_has_seen_enough() -> None:
    async with (
        Sandbox(limit=None, app_limit=None, latency=0.005) as sandbox,
        quick_client(sandbox, concurrency=8) as one,
    ):
        await one.create("1", CAT)
        taken = iter(updates(10_000))
        async with one.bulk(taken) as run:
            seen = [await anext(run) for _ in range(20)]
        assert {type(outcome) for outcome in seen} == {Applied}
        await idle(one)
        assert run.taken < 200
        assert next(taken).id == str(run.taken + 1)  # the rest is untouched
        assert sandbox.counts.requests < 200


async def test_the_client_is_closed_with_work_in_flight() -> None:
    async with Sandbox(limit=None, app_limit=None) as sandbox:
        one = Client(TOKEN, base_url=sandbox.url, retry=QUICK, limits=None, concurrency=4)
        await one.create("1", CAT)
        for media_id in ("2", "3", "4", "5"):
            sandbox.script(media_id, ["hang"])
        creates = [asyncio.create_task(one.create(media_id, CAT)) for media_id in ("2", "3")]
        run = one.bulk(updates(50, start=4))
        collecting = asyncio.create_task(drained(run))
        while sandbox.counts.faults.get("hang", 0) + sandbox.counts.faults.get("hang-applied", 0) < 4:
            await asyncio.sleep(0.001)
        async with asyncio.timeout(10):  # and not the thirty seconds that an attempt may take
            await one.aclose()
            await one.aclose()
            results = await asyncio.gather(*creates, return_exceptions=True)
            outcomes, error = await collecting
        assert [type(result) for result in results] == [ClientClosed] * 2
        assert len({id(result) for result in results}) == 2
        assert isinstance(error, ClientClosed)
        assert len(outcomes) == run.taken
        assert {type(outcome) for outcome in outcomes} <= {Applied, NotSent}
        assert {outcome.id for outcome in outcomes if isinstance(outcome, NotSent)} >= {"4", "5"}
        assert all(task.cancelling() == 0 for task in creates)
        with pytest.raises(ClientClosed):
            await one.create("9", CAT)
        with pytest.raises(ClientClosed):
            async with one.bulk(updates(1)):
                pass
        assert "closed" in repr(one)


async def test_what_a_closed_transport_ends_stops_no_account(caplog: pytest.LogCaptureFixture) -> None:
    async with Sandbox(limit=None, app_limit=None) as sandbox, quick_client(sandbox, concurrency=4) as one:
        await one.create("1", CAT)
        for media_id in ("2", "3"):
            sandbox.script(media_id, ["hang"])
        collecting = asyncio.create_task(drained(one.bulk(updates(2, start=2))))
        while sandbox.counts.faults.get("hang", 0) < 2:
            await asyncio.sleep(0.001)
        assert one._sender is not None
        await one._sender.transport.close()
        outcomes, error = await collecting
        assert isinstance(error, ClientClosed)
        assert {outcome.reason for outcome in outcomes if isinstance(outcome, NotSent)} == {"closed"}
        assert not any(account.stopped for account in one._sender.accounts.known())
    assert caplog.records == []


def test_one_client_in_two_loops() -> None:
    one = Client(TOKEN, base_url=f"http://127.0.0.1:{unused_port()}", retry=RetryPolicy(attempts=1))

    async def use() -> None:
        with pytest.raises(ConnectFailed):
            await one.create("1", CAT)

    async def misuse() -> None:
        with pytest.raises(ConfigurationError, match="another event loop"):
            await one.create("1", CAT)

    with asyncio.Runner() as first:
        first.run(use())
        with asyncio.Runner() as second:
            second.run(misuse())
        first.run(one.aclose())
