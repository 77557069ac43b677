"""HTTP: a pool of aiohttp sessions over one connector, and the one place where aiohttp's exceptions are known.

Each account has a session of its own, so that a token is in the headers of that account's requests and nowhere else;
the sockets are shared. Redirects are not followed, cookies are not kept, proxies of the environment are ignored unless
asked for, bodies are read up to 1 MiB and never inflated.

A time-out per request costs 3 to 13 % (a timer each), so one sweep looks after all requests in flight.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from . import __version__
from .credentials import Secret
from .errors import (
    ClientClosed,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    ProtocolViolation,
    RequestTimedOut,
    TransportError,
    XMediaMetaError,
)
from .text import printable
from .wire import PATH

MOST_BYTES: Final = 1 << 20
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))
_GONE: Final = frozenset((None, errno.ECONNRESET, errno.EPIPE, errno.ESHUTDOWN, errno.ENOTCONN))

Answer = tuple[int, CIMultiDictProxy[str], bytes]


def checked_base_url(base_url: str, *, allow_insecure: bool) -> str:
    """The base URL without a trailing slash.

    Raises:
        ConfigurationError: not http(s), userinfo, a query or a fragment, or plain http to another machine.
    """
    try:
        parts = urlsplit(base_url.strip())
        host, _ = parts.hostname, parts.port
    except (ValueError, AttributeError):
        raise ConfigurationError("the base URL cannot be read") from None
    rule = ""
    if parts.username is not None or parts.password is not None:
        rule = "must not hold a user name or password"  # and must not be echoed
    elif parts.scheme not in {"http", "https"} or not host:
        rule = f"must begin with https:// and a host, not {printable(base_url, 60)!r}"
    elif parts.query or parts.fragment:
        rule = "must have no query and no fragment"
    elif parts.scheme == "http" and not is_loopback(base_url) and not allow_insecure:
        rule = (
            f"must be https: a token in the clear to {printable(host, 60)} could be read on the way "
            "(allow_insecure=True or XMEDIAMETA_ALLOW_INSECURE=1 to insist)"
        )
    if rule:
        raise ConfigurationError(f"the base URL {rule}")
    return base_url.strip().rstrip("/")


def is_loopback(base_url: str) -> bool:
    """Whether a base URL points to this machine."""
    host = urlsplit(base_url).hostname or ""
    return host in _LOOPBACK or host.startswith("127.")


class Session:
    """One account's session: its headers, made once."""

    __slots__ = ("headers", "http")

    def __init__(self, http: aiohttp.ClientSession, headers: CIMultiDict[str]) -> None:
        self.http = http
        self.headers = headers

    def __repr__(self) -> str:
        return f"<Session {'closed' if self.http.closed else 'open'}>"


class _Flight:
    """A request in flight, for the sweep."""

    __slots__ = ("cancelling", "deadline", "ended_by", "task")

    def __init__(self, task: asyncio.Task[object], deadline: float) -> None:
        self.task = task
        self.deadline = deadline
        self.cancelling = task.cancelling()
        self.ended_by: XMediaMetaError | None = None

    def end(self, error: XMediaMetaError) -> None:
        if self.ended_by is None:
            self.ended_by = error
            self.task.cancel()


class Transport:
    """Sends bodies to the endpoint.

    Args:
        base_url: as `checked_base_url` returned it.
        timeout: seconds for one attempt, from connecting to the last byte; None for no bound.
        trust_env: whether proxies of the environment are used.
    """

    def __init__(self, base_url: str, *, timeout: float | None, trust_env: bool = False) -> None:
        self._url = URL(base_url + PATH, encoded=True)
        self._timeout = timeout
        self._trust_env = trust_env
        self._loop = asyncio.get_running_loop()
        # How many may be in flight is decided above this layer.
        self._connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60)
        self._fresh: aiohttp.ClientSession | None = None
        self._flights: set[_Flight] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._sweep_every = min(0.5, max(0.02, (timeout or 30.0) / 30))
        self.closed = False

    def session(self, authorization: Secret) -> Session:
        """A session that signs with this header."""
        headers = CIMultiDict(
            {
                "Authorization": authorization,
                "Content-Type": "application/json",
                "Accept": "application/json, application/problem+json",
                "Accept-Encoding": "identity",
                "User-Agent": f"xmediameta/{__version__}",
            }
        )
        return Session(self._http(self._connector, headers, owner=False), headers)

    def drop(self, session: Session) -> None:
        """Forget a session that nobody uses; its sockets stay in the pool."""
        session.http.detach()

    async def post(self, session: Session, body: bytes, *, fresh: bool = False) -> Answer:
        """Send one body and read the answer, whatever its status.

        Args:
            session: of the account.
            body: as it goes out.
            fresh: on a connection of its own, since a kept-alive one has just proved stale.

        Raises:
            TransportError: no answer could be read.
            ClientClosed: the client was closed meanwhile.
        """
        if self.closed:
            raise ClientClosed("the client is closed")
        flight = self._take_off()
        failure: XMediaMetaError
        try:
            if fresh:
                response = await self._fresh_http().post(
                    self._url, data=body, headers=session.headers, allow_redirects=False
                )
            else:
                response = await session.http.post(self._url, data=body, allow_redirects=False)
            try:
                payload = await _read(response)
            except BaseException:
                response.close()
                raise
        except asyncio.CancelledError:
            # The same care as asyncio.timeout takes: a cancellation from outside wins over ours.
            if flight.ended_by is None or flight.task.uncancel() > flight.cancelling:
                raise
            failure = flight.ended_by
        except (aiohttp.ClientError, OSError, ValueError, TransportError) as error:
            failure = _mapped(error)
        else:
            return response.status, response.headers, payload
        finally:
            self._flights.discard(flight)
        # Outside of the except block: aiohttp's exception holds the request's headers and must not be chained.
        raise failure

    async def close(self) -> None:
        """Close all connections; what is in flight ends with `ClientClosed`."""
        if self.closed:
            return
        self.closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for flight in list(self._flights):
            flight.end(ClientClosed("the client was closed while the request was in flight"))
        if self._fresh is not None:
            await self._fresh.close()
        await self._connector.close()

    @property
    def in_flight(self) -> int:
        """How many requests are on the wire."""
        return len(self._flights)

    def _http(
        self, connector: aiohttp.BaseConnector, headers: Mapping[str, str], *, owner: bool
    ) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            connector_owner=owner,
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=self._trust_env,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        )

    def _fresh_http(self) -> aiohttp.ClientSession:
        if self._fresh is None:
            self._fresh = self._http(aiohttp.TCPConnector(limit=0, force_close=True), {}, owner=True)
        return self._fresh

    def _take_off(self) -> _Flight:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is sent from a task of its event loop")
        flight = _Flight(task, self._loop.time() + self._timeout if self._timeout is not None else float("inf"))
        self._flights.add(flight)
        if self._sweep_timer is None and self._timeout is not None:
            self._sweep_timer = self._loop.call_later(self._sweep_every, self._sweep)
        return flight

    def _sweep(self) -> None:
        self._sweep_timer = None
        if self._timeout is None or not self._flights or self.closed:
            return
        now = self._loop.time()
        for flight in list(self._flights):
            if flight.deadline <= now:
                flight.end(RequestTimedOut(self._timeout))
        self._sweep_timer = self._loop.call_later(self._sweep_every, self._sweep)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, or an error where it is larger than 1 MiB; a compressed one is not inflated."""
    length = response.content_length
    if length is not None and length <= MOST_BYTES:
        return await response.read()
    chunks: list[bytes] = []
    size = 0
    if length is None:
        while chunk := await response.content.readany():
            chunks.append(chunk)
            size += len(chunk)
            if size > MOST_BYTES:
                break
        else:
            response.release()
            return b"".join(chunks)
    raise ProtocolViolation(f"the body of a {response.status} is larger than 1 MiB", maybe_applied=True)


def _mapped(error: Exception) -> TransportError:
    """Exceptions of aiohttp and of the system as ours; their text is kept, the objects (which hold headers) are not."""
    said = printable(str(error), 200) or type(error).__name__
    if isinstance(error, TransportError):
        return error
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return ConnectFailed(f"no secure connection: {said}", retryable=False)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientProxyConnectionError):
        return ConnectFailed(f"no connection: {said}")
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return RequestTimedOut(0.0)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return ConnectionLost("the server closed the connection before it answered", stale=True)
    if isinstance(error, aiohttp.ClientOSError | ConnectionError):
        return ConnectionLost(f"the connection was lost: {said}", stale=error.errno in _GONE)
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionLost(f"the answer was cut short: {said}")
    if isinstance(error, aiohttp.InvalidURL):
        return ConnectFailed(f"the address cannot be used: {said}", retryable=False)
    # A bad status line, a flood of headers or a bad chunk come as ClientResponseError with status 400,
    # which is no HTTP 400.
    return ProtocolViolation(f"the answer was not proper HTTP: {said}", maybe_applied=True)
