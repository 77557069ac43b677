"""The socket of the sandbox: it can stop accepting and start again on the same port, and it closes at once."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from typing import Final

from aiohttp import web

from xmediameta.errors import ConfigurationError
from xmediameta.text import printable

_BACKLOG: Final = 1024
# Seconds for which an idle connection is kept, longer than a window: aiohttp's default was 75 once, and is an hour now.
_IDLE: Final = 3_630.0
# aiohttp takes 0 for "no limit"; by then all connections are cut, so nothing is waited for.
_AT_ONCE: Final = 0.01


class Listener:
    """Listens on one address.

    Args:
        host: a name or an address; the first address of a name is taken.
        port: 0 takes a free one.
    """

    def __init__(self, host: str, port: int, ssl_context: ssl.SSLContext | None) -> None:
        self._host, self._port, self._ssl = host, port, ssl_context
        self._runner: web.AppRunner | None = None
        self._site: web.SockSite | None = None
        self._bound: socket.socket | None = None

    @property
    def url(self) -> str | None:
        """The base URL, or None while nothing listens."""
        if self._bound is None:
            return None
        address, port = self._bound.getsockname()[:2]
        # An address that means "all interfaces" is not one to connect to.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, str(address))  # noqa: S104
        return f"{'https' if self._ssl else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def start(self, app: web.Application) -> None:
        """Listen and serve an application."""
        if self._runner is not None:
            raise ConfigurationError("the sandbox is started already")
        self._bound = await self._bind(self._host, self._port)
        # A client that gives up cancels its handler, so that faults which keep silent end with it.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_AT_ONCE, keepalive_timeout=_IDLE
        )
        await self._runner.setup()
        await self._listen(self._bound)

    async def close(self) -> None:
        """Stop listening and cut all connections."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        self._cut(runner)
        await runner.cleanup()
        if self._bound is not None:
            self._bound.close()
        self._bound = self._site = None

    async def refuse(self) -> None:
        """Stop accepting and cut all connections; the port stays ours, bound and not listening."""
        if self._runner is None or self._site is None or self._bound is None:
            return
        host, port = self._bound.getsockname()[:2]
        await self._site.stop()
        self._site = None
        self._bound.close()
        self._cut(self._runner)
        self._bound = await self._bind(host, port)

    async def accept(self) -> None:
        """Listen again."""
        if self._runner is not None and self._site is None and self._bound is not None:
            await self._listen(self._bound)

    async def _listen(self, bound: socket.socket) -> None:
        assert self._runner is not None  # noqa: S101
        self._site = web.SockSite(self._runner, bound, ssl_context=self._ssl, backlog=_BACKLOG)
        await self._site.start()

    @staticmethod
    async def _bind(host: str, port: int) -> socket.socket:
        try:
            return _bound_to(*await _resolved(host, port))
        except (OSError, OverflowError, UnicodeError) as error:
            where = f"{printable(host, 80)}:{port}"
            raise ConfigurationError(f"cannot listen on {where}: {printable(str(error), 100)}") from error

    @staticmethod
    def _cut(runner: web.AppRunner) -> None:
        server = runner.server
        for connection in server.connections if server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()


async def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    """The first address of a host; one that is written in digits needs no resolver."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return found[0][0], found[0][4]
    return socket.AF_INET6 if address.version == 6 else socket.AF_INET, (host, port)


def _bound_to(family: socket.AddressFamily, address: tuple[object, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere the option would let two servers share a port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound
