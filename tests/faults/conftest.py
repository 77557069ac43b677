"""Shared by the fault tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from xmediameta import Client
from xmediameta.sandbox import Sandbox

from .fake import NEW, OLD, QUICK, Fake, FakeTransport, Server

# pytest-asyncio looks for a current loop before its first test; before Python 3.14 asyncio makes one for the asking,
# which nobody closes.
asyncio.set_event_loop(None)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox without limits that accepts two tokens."""
    async with Sandbox(limit=None, app_limit=None, token=[OLD, NEW]) as made:
        yield made


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[Client]:
    """A client of the sandbox that does not dally."""
    async with Client(OLD, base_url=sandbox.url, limits=None, retry=QUICK) as made:
        yield made


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Clients that are opened from now on use a fake transport."""

    def put(server: Server, **options: Any) -> FakeTransport:
        made = FakeTransport(server, **options)
        monkeypatch.setattr("xmediameta.client.Transport", lambda *_args, **_options: made)
        return made

    return put
