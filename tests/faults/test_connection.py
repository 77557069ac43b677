"""Connections that fail, and what is raised for each: its class, whether it may be tried again or was applied."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from xmediameta.credentials import BearerToken
from xmediameta.errors import ConnectFailed, ConnectionLost, ProtocolViolation, RequestTimedOut
from xmediameta.transport import Transport

from .raw import BODY, TOKEN, Peer, Play, always, answer, clean, failure, once, raw, success, transport, unused_port

MIB = 1 << 20
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


# No connection: nothing was sent


async def test_refused() -> None:
    error = clean(await failure(f"http://127.0.0.1:{unused_port()}"))
    assert isinstance(error, ConnectFailed)
    assert (error.maybe_applied, error.retryable) == (False, True)
    assert "127.0.0.1" in error.message


async def test_unknown_host() -> None:
    error = clean(await failure("https://no-such-host.invalid"))
    assert isinstance(error, ConnectFailed)
    assert (error.maybe_applied, error.retryable) == (False, True)
    assert "no-such-host.invalid" in error.message


async def test_a_connection_that_takes_too_long() -> None:
    with socket.socket() as deaf, contextlib.ExitStack() as stack:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # fill its backlog, so that the kernel answers no more
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(deaf.getsockname())
        error = clean(await failure(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout=0.1))
    assert isinstance(error, ConnectFailed)
    assert (error.maybe_applied, error.retryable) == (False, True)
    assert "within 0.1 s" in error.message


# Lost on the way


async def _reset_before_the_body(peer: Peer) -> None:
    await peer.reader.readexactly(1)
    peer.reset()


async def _reset_after_the_body(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def _reset_within_the_answer(peer: Peer) -> None:
    await peer.request()
    await peer.send(success()[:-4])
    await asyncio.sleep(0.02)  # so that it is read before the reset drops it
    peer.reset()


async def _reset_within_the_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    await asyncio.sleep(0.02)
    peer.reset()


@pytest.mark.parametrize(
    "play",
    [
        _reset_before_the_body,
        _reset_after_the_body,
        _reset_within_the_answer,
        _reset_within_the_head,
        once(b""),
        once(success()[:-4]),
        once(success()[:20]),
        once(answer(b"", "200 OK", "Transfer-Encoding: chunked", length=False) + b"5\r\n{\"dat"),
        once(answer(b"", "200 OK", "Transfer-Encoding: chunked", length=False) + b"2\r\n{}\r\n"),
    ],
)  # fmt: skip
async def test_a_lost_connection_may_have_been_applied(play: Play) -> None:
    async with raw(play) as server:
        error = clean(await failure(server.url))
        assert server.connections == 1
    assert isinstance(error, ConnectionLost)
    assert (error.maybe_applied, error.retryable, error.stale) == (True, True, False)


# Kept alive and gone


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_stale_connection_is_told_from_a_bad_one(how: str) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(success())
        await peer.reader.readexactly(1)  # the next request has begun
        if how == "reset":
            peer.reset()

    async with raw(play) as server, transport(server.url) as (sending, session):
        assert (await sending.post(session, BODY))[0] == 200
        with pytest.raises(ConnectionLost) as caught:
            await sending.post(session, BODY)
        error = clean(caught.value)
        assert isinstance(error, ConnectionLost)
        assert (error.stale, error.maybe_applied) == (True, True)
        assert server.connections == 1
        # On a connection of its own, although the pool has none to offer either.
        assert (await sending.post(session, BODY, fresh=True))[0] == 200
        assert server.connections == 2


async def test_a_fresh_request_does_not_touch_the_pool() -> None:
    async with raw(always(success())) as server, transport(server.url) as (sending, session):
        await sending.post(session, BODY)
        await sending.post(session, BODY)
        assert server.connections == 1
        await sending.post(session, BODY, fresh=True)
        assert server.connections == 2
        await sending.post(session, BODY)
        assert server.connections == 2
        await sending.post(session, BODY, fresh=True)
        assert server.connections == 3
        assert all(f"Authorization: Bearer {TOKEN}\r\n".encode() in request for request in server.requests)


async def test_a_connection_that_was_closed_while_idle_is_not_used_again() -> None:
    closed = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(success())
        peer.writer.close()
        closed.set()

    async with raw(play) as server, transport(server.url) as (sending, session):
        for _ in range(3):
            closed.clear()
            assert (await sending.post(session, BODY))[0] == 200
            await closed.wait()
            await asyncio.sleep(0.01)  # its FIN arrives
        assert server.connections == 3


async def test_connections_that_end_after_some_requests_are_replaced() -> None:
    async def play(peer: Peer) -> None:
        for left in (1, 0):
            await peer.request()
            await peer.send(success() if left else success().replace(b"\r\n", b"\r\nConnection: close\r\n", 1))

    async with raw(play) as server, transport(server.url) as (sending, session):
        for _ in range(5):
            assert (await sending.post(session, BODY))[0] == 200
        assert server.connections == 3


# Slow


async def _nothing(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def _drip(peer: Peer) -> None:
    """A byte now and then, without end: each would set back a time-out that counts from the last byte."""
    await peer.request()
    await peer.send(HEAD + b"Content-Length: 999999\r\n\r\n")
    while not peer.writer.is_closing():
        await peer.send(b" ")
        await asyncio.sleep(0.02)


async def _half(peer: Peer) -> None:
    await peer.request()
    await peer.send(success()[:-5])
    await peer.gone()


@pytest.mark.parametrize("play", [_nothing, _drip, _half])
async def test_an_attempt_that_takes_too_long(play: Play) -> None:
    async with raw(play) as server:
        error = clean(await failure(server.url, timeout=0.15))
        assert len(server.requests) == 1
    assert isinstance(error, RequestTimedOut)
    assert (error.maybe_applied, error.retryable, error.timeout) == (True, True, 0.15)
    assert error.message == "no answer within 0.15 s"


async def test_a_slow_answer_that_completes() -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        whole = success()
        for start in range(0, len(whole), 16):
            await peer.send(whole[start : start + 16])
            await asyncio.sleep(0.01)

    async with raw(play) as server, transport(server.url) as (sending, session):
        status, headers, body = await sending.post(session, BODY)
    assert (status, headers["Content-Type"], body) == (200, "application/json", success().partition(b"\r\n\r\n")[2])


async def test_one_sweep_ends_all_that_are_late_and_only_those() -> None:
    late = asyncio.Event()

    async def play(peer: Peer) -> None:
        request = await peer.request()
        if b"quick" in request:
            await late.wait()  # answered after the others' time is up
            await peer.send(success())
        await peer.gone()

    async with raw(play) as server, transport(server.url, timeout=0.2) as (sending, session):
        slow = [asyncio.create_task(sending.post(session, BODY)) for _ in range(20)]
        await asyncio.sleep(0.1)
        quick = asyncio.create_task(sending.post(session, b'{"quick": 1}'))
        done = await asyncio.gather(*slow, return_exceptions=True)
        late.set()
        assert (await quick)[0] == 200
        assert [type(result) for result in done] == [RequestTimedOut] * 20
        assert len({id(result) for result in done}) == 20
        assert all(task.cancelling() == 0 for task in slow)
        assert server.connections == 21


async def test_no_timeout_is_no_sweep() -> None:
    async with raw(always(success())) as server, transport(server.url, timeout=None) as (sending, session):
        assert (await sending.post(session, BODY))[0] == 200
        assert sending._sweep_timer is None


# No proper HTTP


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/banana 2OO FINE\r\n\r\n", id="status line"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", id="a TLS alert"),
        pytest.param(HEAD + b"Content-Length: many\r\n\r\n{}", id="length"),
        pytest.param(HEAD + b"Content-Length: -2\r\n\r\n{}", id="negative length"),
        pytest.param(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", id="two lengths"),
        pytest.param(HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", id="length and chunks"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\nbanana\r\n{}\r\n0\r\n\r\n", id="chunk"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n{}", id="chunk too large"),
        pytest.param(HEAD + b"".join(b"X-%d: 1\r\n" % n for n in range(20_000)) + b"\r\n{}", id="20,000 headers"),
        pytest.param(HEAD + b"X-Long: " + b"x" * MIB + b"\r\n\r\n{}", id="long header"),
        pytest.param(HEAD + b"X-Nul: a\x00b\r\n\r\n{}", id="NUL in a header"),
        pytest.param(b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}", id="status of four digits"),
    ],
)
async def test_what_is_no_http_is_no_http_400(data: bytes) -> None:
    async with raw(once(data)) as server:
        error = clean(await failure(server.url))
        assert server.connections == 1
    assert isinstance(error, ProtocolViolation | ConnectionLost)
    assert (error.maybe_applied, error.retryable) == (True, True)
    assert "400" not in error.message
    assert len(error.message) < 400
    assert error.message.isprintable()


async def test_interim_answers_are_passed_over() -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    async with raw(always(interim + success())) as server, transport(server.url) as (sending, session):
        for _ in range(2):
            assert (await sending.post(session, BODY))[0] == 200
        assert server.connections == 1


async def test_interim_answers_without_end_are_ended_by_the_timeout() -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        while not peer.writer.is_closing():
            await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 10)
            await asyncio.sleep(0.01)

    async with raw(play) as server:
        error = clean(await failure(server.url, timeout=0.15))
    assert isinstance(error, RequestTimedOut | ProtocolViolation)


async def test_a_switch_of_protocols_is_not_taken_up() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    async with raw(always(switch)) as server, transport(server.url) as (sending, session):
        for _ in range(2):
            assert (await sending.post(session, BODY))[0] == 101
        assert server.connections == 2


@pytest.mark.looptime  # sockets are real, time is not: a pause ends when what was sent in it has come
@pytest.mark.parametrize("pause", [0.0, 0.01])
async def test_bytes_after_an_answer_are_not_taken_for_the_next_one(pause: float) -> None:
    """Or somebody in between could answer an update that was not sent yet."""

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(success())
        await asyncio.sleep(pause)
        await peer.send(answer(b'{"title": "smuggled"}', "400 Bad Request"))
        await peer.request()
        await peer.send(success())

    async with raw(play) as server, transport(server.url) as (sending, session):
        assert (await sending.post(session, BODY))[0] == 200
        await asyncio.sleep(2 * pause)
        assert (await sending.post(session, BODY))[0] == 200
        assert server.connections == 2


async def test_a_transport_is_closed_while_it_connects() -> None:
    async def play(peer: Peer) -> None:
        await peer.gone()

    async with raw(play) as server:
        sending = Transport(server.url.replace("http:", "https:"), timeout=5)
        session = sending.session(BearerToken(TOKEN).authorization())
        task = asyncio.create_task(sending.post(session, BODY))
        await asyncio.sleep(0.05)
        await sending.close()
        await sending.close()
        with pytest.raises(Exception, match="closed while the request was in flight"):
            await task
        with pytest.raises(Exception, match="client is closed"):
            await sending.post(session, BODY)
        assert task.cancelling() == 0
