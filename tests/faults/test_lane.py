"""The fast lane: when it is taken, and that it sends what `ClientSession` sends. CI runs the fault tests on either."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from multidict import CIMultiDict
from yarl import URL

from xmediameta.lane import TESTED, Lane, offered
from xmediameta.transport import Transport

from .raw import BODY, TOKEN, Peer, always, answer, raw, success, transport
from .sockets import taken


@pytest.fixture(params=["lane", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XMEDIAMETA_PLAIN_HTTP", "1" if request.param == "plain" else "")
    if request.param == "lane" and not offered():
        pytest.skip("this aiohttp is not one that the lane was tested with")
    return str(request.param)


@pytest.mark.parametrize(
    ("version", "expected"),
    [(f"{TESTED[0]}0", True), (f"{TESTED[0]}27", True), ("3.9.0", False), ("4.0.0", False), ("3.140.0", False)],
)
def test_it_is_offered_for_versions_that_it_was_tested_with(
    version: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XMEDIAMETA_PLAIN_HTTP", raising=False)
    monkeypatch.setattr(aiohttp, "__version__", version)
    assert offered() is expected
    monkeypatch.setenv("XMEDIAMETA_PLAIN_HTTP", "1")
    assert not offered()


async def test_an_aiohttp_that_it_was_not_tested_with_takes_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XMEDIAMETA_PLAIN_HTTP", raising=False)
    monkeypatch.setattr(aiohttp, "__version__", "9.9.9")
    async with raw(always(success())) as server, transport(server.url) as (sending, session):
        assert sending._lane is None
        assert (await sending.post(session, BODY))[0] == 200


async def test_a_proxy_takes_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XMEDIAMETA_PLAIN_HTTP", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    made = Transport("http://api.x.example", timeout=5.0, trust_env=True)
    assert made.proxy is not None
    assert made._lane is None
    await made.close()


async def test_both_send_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Line by line, but for the order of the headers."""
    seen: list[tuple[str, dict[str, str], bytes]] = []
    async with raw(always(success())) as server:
        for plain in ("", "1"):
            monkeypatch.setenv("XMEDIAMETA_PLAIN_HTTP", plain)
            async with transport(server.url) as (sending, session):
                await sending.post(session, BODY)
        for request in server.requests:
            head, _, body = request.partition(b"\r\n\r\n")
            line, *fields = head.decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
            seen.append((line, headers, body))
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert seen[0][0] == "POST /2/media/metadata HTTP/1.1"
    assert seen[0][1]["authorization"] == f"Bearer {TOKEN}"


async def test_connections_are_kept(way: str) -> None:
    async with raw(always(success())) as server, transport(server.url) as (sending, session):
        assert (sending._lane is None) == (way == "plain")
        for _ in range(20):
            await sending.post(session, BODY)
        assert server.connections == 1


async def test_a_header_that_would_end_early() -> None:
    async with aiohttp.TCPConnector() as connector:
        lane = Lane(connector, URL("http://localhost/2/media/metadata"))
        for value in ("a\r\nX-Evil: 1", "a\n", "\rb"):
            with pytest.raises(ValueError, match="line break"):
                lane.head(CIMultiDict({"Authorization": value}))
        head = lane.head(CIMultiDict({"Authorization": f"Bearer {TOKEN}"}))
        assert TOKEN.encode() in head
        assert TOKEN not in repr(head)


async def test_what_is_not_used_goes_back_to_the_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    """And from there it is taken again."""
    monkeypatch.delenv("XMEDIAMETA_PLAIN_HTTP", raising=False)
    async with raw(always(success())) as server, transport(server.url) as (sending, session):
        lane = sending._lane
        assert lane is not None
        await sending.post(session, BODY)
        assert len(lane._idle) == 1
        lane.give_back()
        assert len(lane._idle) == 1, "it was used since the last look"
        await sending.post(session, BODY)
        lane.give_back()
        assert len(lane._idle) == 1
        lane.give_back()
        assert not lane._idle
        assert taken(sending) == 0
        await sending.post(session, BODY)
        assert server.connections == 1
        await sending.close()
        assert not lane._idle


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("unasked", [1, 12, 30, 41, None])
async def test_what_nobody_asked_for_is_not_the_next_answer(
    unasked: int | None, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where it came in part, and the rest of it comes when the next request is under way."""
    monkeypatch.delenv("XMEDIAMETA_PLAIN_HTTP", raising=False)
    other = success("666")

    async def play(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            if at_once:
                await peer.send(success() + other[:unasked])
            else:
                await peer.send(success())
                await asyncio.sleep(0.02)
                await peer.send(other[:unasked])
            if await peer.request():
                await peer.send(other[unasked:])
        await peer.send(success())

    async with raw(play) as server, transport(server.url) as (sending, session):
        await sending.post(session, BODY)
        await asyncio.sleep(0.05)
        assert b"666" not in (await sending.post(session, BODY))[2]
        assert server.connections == 2
        assert taken(sending) == 0


@pytest.mark.parametrize(
    ("first", "kept"),
    [
        (success(), True),
        (answer(b"", "204 No Content", length=False), True),
        (answer(b"{}", "200 OK", "Keep-Alive: timeout=5"), True),
        (answer(b"", "200 OK", "Transfer-Encoding: chunked", length=False) + b"2\r\n{}\r\n0\r\n\r\n", True),
        (answer(b"", "100 Continue", length=False) + answer(b"", "103 Early Hints", length=False) + success(), True),
        (success() + b"\r\n", True),  # as some old clients do, of which RFC 9112 tells (2.2)
        (answer(b"{}", "200 OK", "Connection: close"), False),
        (answer(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (answer(b"", "101 Switching Protocols", "Upgrade: h2c", "Connection: Upgrade", length=False), False),
        (answer(b"x" * (2 << 20), "500 Internal Server Error"), False),
    ],
)
async def test_after_whatever_answer_the_next_is_the_next(
    first: bytes, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XMEDIAMETA_PLAIN_HTTP", raising=False)

    async def play(peer: Peer) -> None:
        number = 0
        while await peer.request():
            number += 1
            await peer.send(first if (peer.number, number) == (1, 1) else success("77"))

    async with raw(play) as server, transport(server.url) as (sending, session):
        await sending.post(session, BODY)
        await asyncio.sleep(0.01)
        for _ in range(3):
            assert b"77" in (await sending.post(session, BODY))[2]
        assert server.connections == (1 if kept else 2)
        assert taken(sending) == 0
