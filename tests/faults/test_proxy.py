"""A proxy of the environment: used where asked for, and never shown the token."""

from __future__ import annotations

import asyncio
import base64
import ssl

import pytest
import trustme

from xmediameta.credentials import BearerToken
from xmediameta.errors import ConnectFailed
from xmediameta.transport import Transport

from .raw import BODY, TOKEN, Peer, always, answer, raw, success

PASSWORD = "hunter2-secret"
HOST = "https://api.x.example"


async def _post(base_url: str, *, trust_env: bool = True) -> tuple[int, bytes]:
    transport = Transport(base_url, timeout=5.0, trust_env=trust_env)
    session = transport.session(BearerToken(TOKEN).authorization())
    try:
        status, _, body = await transport.post(session, BODY)
    finally:
        await transport.close()
    return status, body


@pytest.fixture
def netrc(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password for the host, which aiohttp would take: it cannot be joined with a token."""
    path = tmp_path / "netrc"
    path.write_text(f"machine api.x.example login me password {PASSWORD}\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


async def test_a_tunnel_shows_the_proxy_no_token(netrc: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("api.x.example").configure_cert(context)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    relayed = bytearray()

    async with raw(always(success()), ssl_context=context) as origin:

        async def tunnel(peer: Peer) -> None:
            assert (await peer.request()).startswith(b"CONNECT api.x.example:443 HTTP/1.1\r\n")
            await peer.send(answer(b"", "200 Connection established", length=False))
            reader, writer = await asyncio.open_connection("127.0.0.1", origin.port)

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while data := await source.read(65_536):
                    relayed.extend(data)
                    sink.write(data)
                    await sink.drain()
                sink.close()

            try:
                await asyncio.gather(pump(peer.reader, writer), pump(reader, peer.writer))
            finally:
                writer.transport.abort()

        async with raw(tunnel) as proxy:
            monkeypatch.setenv("https_proxy", f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}")
            assert await _post(HOST) == (200, success().partition(b"\r\n\r\n")[2])
            (connect,) = proxy.requests
        assert f"Authorization: Bearer {TOKEN}".encode() in origin.requests[0]
    login = base64.b64encode(f"user:{PASSWORD}".encode())
    assert b"Proxy-Authorization: Basic " + login in connect
    assert TOKEN.encode() not in connect + bytes(relayed)


async def test_a_proxy_that_refuses_means_that_nothing_was_sent(netrc: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw(always(answer(b"", "407 Proxy Authentication Required"))) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}")
        with pytest.raises(ConnectFailed) as caught:
            await _post(HOST)
        assert TOKEN.encode() not in proxy.requests[0]
    assert (caught.value.maybe_applied, caught.value.retryable) == (False, True)
    assert PASSWORD not in str(caught.value)


async def test_without_being_asked_no_proxy_is_used(netrc: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw(always(answer())) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(ConnectFailed):
            await _post("https://no-such-host.invalid", trust_env=False)
        assert proxy.connections == 0
