"""Bodies that are too much, compressed unasked, or hold the token; memory stays flat."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib

import pytest

from xmediameta.credentials import BearerToken
from xmediameta.errors import ProtocolViolation, RequestTimedOut
from xmediameta.transport import Transport

from .raw import BODY, TOKEN, Peer, Play, always, answer, failure, once, raw, success, transport

MIB = 1 << 20
HEAD = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n"


def endless(status: bytes = b"200 OK", header: bytes = b"", block: bytes = b"x" * 65_536) -> Play:
    """A body that goes on until the client has gone."""

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD % status + header + b"\r\n")
        while not peer.writer.is_closing():
            await peer.send(block)

    return play


def bomb(size: int) -> bytes:
    """A gzip body that inflates to `size` bytes."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * MIB) for _ in range(size // MIB)) + packer.flush()


CHUNK = b"10000\r\n" + b"x" * 65_536 + b"\r\n"


@pytest.mark.parametrize(
    "play",
    [
        pytest.param(endless(), id="until the end of the connection"),
        pytest.param(endless(header=b"Transfer-Encoding: chunked\r\n", block=CHUNK), id="chunks"),
        pytest.param(endless(header=b"Content-Length: 9999999999\r\n"), id="a length of ten gigabytes"),
        pytest.param(once(answer(b"x" * (MIB + 1))), id="one byte too many"),
        pytest.param(once(answer(bomb(256 * MIB), "200 OK", "Content-Encoding: gzip")), id="gzip bomb"),
        pytest.param(
            endless(header=b"Content-Encoding: gzip\r\n", block=bomb(64 * MIB)), id="gzip bomb after gzip bomb"
        ),
    ],
)
async def test_a_body_of_more_than_a_mebibyte_is_given_up(play: Play) -> None:
    async with raw(play) as server:
        tracemalloc.start()
        try:
            error = await failure(server.url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert isinstance(error, ProtocolViolation)
    assert (error.maybe_applied, error.retryable) == (True, True)
    assert error.message == "the body of a 200 is larger than 1 MiB"
    assert peak < 8 * MIB  # the server's own buffers are in it


async def test_what_is_given_up_takes_its_connection_with_it() -> None:
    gone = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD % b"200 OK" + b"\r\n" + b"x" * 2 * MIB)
        await peer.gone()
        gone.set()

    async with raw(play) as server, transport(server.url) as (sending, session):
        with pytest.raises(ProtocolViolation):
            await sending.post(session, BODY)
        await asyncio.wait_for(gone.wait(), 2.0)


@pytest.mark.parametrize("header", [b"", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 9999999999\r\n"])
async def test_a_failure_is_judged_by_its_status_however_long_its_body(header: bytes) -> None:
    block = CHUNK if b"chunked" in header else b"x" * 65_536
    play = endless(b"402 Payment Required", header, block)
    async with raw(play) as server, transport(server.url) as (sending, session):
        status, _, body = await sending.post(session, BODY)
        assert (status, body) == (402, b"x" * MIB)
        assert not any(sending._connector._conns.values())


@pytest.mark.parametrize("length", [0, 1, MIB])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_a_mebibyte_is_whole(length: int, chunked: bool) -> None:
    body = b"x" * length
    data = answer(body)
    if chunked:
        parts = [body[start : start + 65_536] for start in range(0, length, 65_536)]
        data = HEAD % b"200 OK" + b"Transfer-Encoding: chunked\r\n\r\n"
        data += b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    async with raw(always(data)) as server, transport(server.url) as (sending, session):
        for _ in range(2):
            assert (await sending.post(session, BODY))[2] == body
        assert server.connections == 1


async def test_a_body_that_ends_with_its_connection_is_whole() -> None:
    data = HEAD % b"200 OK" + b"\r\n" + success().partition(b"\r\n\r\n")[2]
    async with raw(once(data)) as server, transport(server.url) as (sending, session):
        assert (await sending.post(session, BODY))[2] == success().partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress), ("identity", bytes), ("", bytes)],
)
async def test_a_body_that_was_compressed_unasked_is_read(encoding: str, pack) -> None:
    body = success().partition(b"\r\n\r\n")[2]
    data = answer(pack(body), "200 OK", f"Content-Encoding: {encoding}")
    async with raw(always(data)) as server, transport(server.url) as (sending, session):
        assert (await sending.post(session, BODY))[2] == body
        assert b"Accept-Encoding: identity\r\n" in server.requests[0]


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, gzip", "\x80"])
async def test_a_body_that_cannot_be_inflated_stays_as_it_is(encoding: str) -> None:
    data = answer(b'{"title": "x"}', "503 Service Unavailable", f"Content-Encoding: {encoding}")
    async with raw(always(data)) as server, transport(server.url) as (sending, session):
        status, _, body = await sending.post(session, BODY)
    assert (status, body) == (503, b'{"title": "x"}')


async def test_a_slow_endless_body_is_ended_by_the_timeout() -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD % b"200 OK" + b"\r\n")
        while not peer.writer.is_closing():
            await peer.send(b"x")
            await asyncio.sleep(0.01)

    async with raw(play) as server:
        assert isinstance(await failure(server.url, timeout=0.1), RequestTimedOut)


# A server that sends the token back


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
async def test_a_token_in_an_answer_is_blotted_out(status: str) -> None:
    echo = f'{{"title": "Authorization: Bearer {TOKEN}", "escaped": "{TOKEN.replace("/", chr(92) + "/")}"}}'
    data = answer(echo.encode(), status, f"x-transaction-id: {TOKEN}" if "400" in status else "x-a: b")
    async with raw(always(data)) as server, transport(server.url) as (sending, session):
        _, headers, body = await sending.post(session, BODY)
        assert TOKEN.encode() in server.requests[0]
    assert body == b'{"title": "Authorization: Bearer ****", "escaped": "****"}'
    assert TOKEN not in repr(headers)


async def test_a_token_in_what_is_no_http_is_blotted_out() -> None:
    async with raw(once(f"HTTP/1.1 {TOKEN}\r\n\r\n".encode())) as server:
        error = await failure(server.url)
    assert "****" in str(error)
    assert TOKEN not in str(error) + repr(error)


async def test_a_short_token_blots_out_no_words() -> None:
    async with raw(always(answer(b'{"title": "token expired"}', "401 Unauthorized"))) as server:
        sending = Transport(server.url, timeout=5)
        session = sending.session(BearerToken("token").authorization())
        assert (await sending.post(session, BODY))[2] == b'{"title": "token expired"}'
        await sending.close()
