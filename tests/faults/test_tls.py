"""Connections that are not, or not properly, encrypted: final, and never without."""

from __future__ import annotations

import ssl

import pytest
import trustme

from xmediameta.errors import ConnectFailed, ProtocolViolation

from .raw import BODY, TOKEN, Peer, always, answer, clean, failure, raw, success, transport


def _server_context(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that aiohttp trusts."""
    ca = trustme.CA()
    context = ssl.create_default_context()
    ca.configure_trust(context)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", context)
    return ca


async def test_tls_that_fits(trusted: trustme.CA) -> None:
    async with (
        raw(always(success()), ssl_context=_server_context(trusted, "127.0.0.1")) as server,
        transport(server.url) as (sending, session),
    ):
        assert (await sending.post(session, BODY))[0] == 200


async def test_a_certificate_of_nobody_is_final() -> None:
    async with raw(always(success()), ssl_context=_server_context(trustme.CA(), "127.0.0.1")) as server:
        error = clean(await failure(server.url))
        assert server.requests == []
    assert isinstance(error, ConnectFailed)
    assert (error.maybe_applied, error.retryable) == (False, False)
    assert "certificate" in error.message.lower()


async def test_a_certificate_of_another_host_is_final(trusted: trustme.CA) -> None:
    async with raw(always(success()), ssl_context=_server_context(trusted, "elsewhere.example")) as server:
        error = clean(await failure(server.url))
        assert server.requests == []
    assert (type(error), error.maybe_applied, error.retryable) == (ConnectFailed, False, False)


async def test_a_server_that_speaks_no_tls_is_final_and_sees_no_request() -> None:
    seen: list[bytes] = []

    async def play(peer: Peer) -> None:
        seen.append(await peer.reader.read(65_536))
        await peer.send(answer(b"{}", "400 Bad Request"))
        await peer.gone()

    async with raw(play) as server:
        error = clean(await failure(server.url.replace("http:", "https:")))
    assert (type(error), error.maybe_applied, error.retryable) == (ConnectFailed, False, False)
    assert len(seen) == 1
    assert TOKEN.encode() not in seen[0]


@pytest.mark.parametrize("reset", [False, True])
async def test_a_handshake_that_breaks_off_may_be_tried_again(reset: bool) -> None:
    async def play(peer: Peer) -> None:
        await peer.reader.read(1)
        if reset:
            peer.reset()

    async with raw(play) as server:
        error = clean(await failure(server.url.replace("http:", "https:")))
        assert server.connections == 1
    assert (type(error), error.maybe_applied, error.retryable) == (ConnectFailed, False, True)


async def test_a_handshake_that_hangs_is_a_connection_that_takes_too_long() -> None:
    async def play(peer: Peer) -> None:
        await peer.gone()

    async with raw(play) as server:
        error = clean(await failure(server.url.replace("http:", "https:"), timeout=0.1))
    assert (type(error), error.maybe_applied, error.retryable) == (ConnectFailed, False, True)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_server_that_speaks_first_is_asked_once(tls: bool, trusted: trustme.CA) -> None:
    async def play(peer: Peer) -> None:
        await peer.send(b"220 mail.example ESMTP\r\n")
        await peer.gone()

    async with raw(play, ssl_context=_server_context(trusted, "127.0.0.1") if tls else None) as server:
        error = clean(await failure(server.url))
        assert server.connections == 1
    assert isinstance(error, ProtocolViolation)
