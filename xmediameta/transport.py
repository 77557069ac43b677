"""HTTP: a pool of aiohttp sessions over one connector, and the one place where aiohttp's exceptions are known.

Each account has a session of its own, so that a token is in the headers of that account's requests and nowhere else;
the sockets are shared. Redirects are not followed, cookies are not kept, proxies of the environment are ignored unless
asked for, and of a body no more than 1 MiB is kept, inflated or not.

A time-out per request costs 3 to 13 % (a timer each), so one sweep looks after all requests in flight.

What is raised here holds nothing of aiohttp: its exceptions and frames know the request's headers, and with them the
token. A server that sends the token back finds it blotted out.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from math import inf
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from . import __version__
from .body import read_body
from .credentials import Secret
from .echoes import Echoes
from .errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    ProtocolViolation,
    RequestTimedOut,
    TransportError,
    XMediaMetaError,
)
from .lane import Lane, offered, signed
from .proxy import environment_proxy
from .text import printable
from .wire import PATH

__all__ = ["Answer", "Session", "Transport"]

_READ = 1 << 15  # bytes; more than the longest answer that is to be expected

Answer = tuple[int, CIMultiDictProxy[str], bytes]


class Session:
    """One account's session: its headers, made once.

    Attributes:
        head: of its requests on the fast lane.
        sign: makes the `Authorization` of one request, where each has its own.
    """

    __slots__ = ("_echoes", "head", "headers", "http", "sign")

    def __init__(
        self,
        http: aiohttp.ClientSession,
        headers: CIMultiDict[str],
        token: Secret,
        sign: Callable[[str, str], Secret] | None = None,
        head: bytes = b"",
    ) -> None:
        self.http = http
        self.headers = headers
        self.head = head
        self.sign = sign
        self._echoes = Echoes(token)

    def blotted(self, text: str) -> str:
        """A text without the token."""
        return self._echoes.out_of_failure(text)[0][0]

    def blotted_answer(self, answer: Answer) -> Answer:
        """An answer without the token: a proxy or a debugging server may send back what it was sent."""
        status, headers, body = answer
        if status == 200:
            told = headers.get("x-transaction-id", "")  # all that is kept of its headers as it stands
            body, blotted = self._echoes.out_of_success(body, told)
            if blotted != told:
                fresh = CIMultiDict(headers)
                fresh["x-transaction-id"] = blotted
                headers = CIMultiDictProxy(fresh)
        else:
            fields = list(headers.items())  # a name may come twice, and `keys()` gives it once
            values, body = self._echoes.out_of_failure(*(value for _, value in fields), body=body)
            headers = CIMultiDictProxy(CIMultiDict(zip((name for name, _ in fields), values, strict=True)))
        return status, headers, body

    def __repr__(self) -> str:
        return f"<Session {'closed' if self.http.closed else 'open'}>"


class _Flight:
    """A request in flight, for the sweep.

    Attributes:
        connecting: a connection of its own is being made, so nothing was sent yet.
        new: its connection was made for it, so it cannot be a stale one.
    """

    __slots__ = ("cancelling", "connecting", "deadline", "ended_by", "new", "task")

    def __init__(self, task: asyncio.Task[object], deadline: float) -> None:
        self.task = task
        self.deadline = deadline
        self.cancelling = task.cancelling()
        self.ended_by: XMediaMetaError | None = None
        self.connecting = self.new = False

    def end(self, error: XMediaMetaError) -> None:
        if self.ended_by is None:
            self.ended_by = error
            self.task.cancel()


class _Connector(aiohttp.TCPConnector):
    """Notes which flights make a connection, since these surely sent nothing while they did.

    Args:
        flights: by task; aiohttp connects in the task that sends.
    """

    def __init__(self, flights: dict[asyncio.Task[Any], _Flight], **options: Any) -> None:
        # How many may be in flight is decided above this layer.
        super().__init__(limit=0, ttl_dns_cache=60, **options)  # pyright: ignore[reportUnknownMemberType]
        self._flights = flights

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        """A connection that is idle, or new."""
        flight = self._flight()
        while True:
            connection = await super().connect(*args, **kwargs)
            if flight is None or flight.new or connection.protocol is None or not connection.protocol.should_close:
                return connection
            # Bytes came while it was idle: aiohttp would take them for the answer to the next request.
            connection.close()

    def _flight(self) -> _Flight | None:
        task = asyncio.current_task()
        return self._flights.get(task) if task is not None else None

    async def _create_connection(self, *args: Any, **kwargs: Any) -> ResponseHandler:
        flight = self._flight()
        if flight is None:
            return await super()._create_connection(*args, **kwargs)
        flight.connecting = flight.new = True
        connection = await super()._create_connection(*args, **kwargs)
        flight.connecting = False
        if hasattr(connection.transport, "max_size"):
            # asyncio reads into 256 KiB otherwise, which C's allocator may get from the system for each answer, and
            # give back: that takes ten times what the read does.
            connection.transport.max_size = _READ  # type: ignore[union-attr]
        return connection


class Transport:
    """Sends bodies to the endpoint.

    Args:
        base_url: as `checked_base_url` returned it.
        timeout: seconds for one attempt, from connecting to the last byte; None for no bound.
        trust_env: whether a proxy of the environment is used, as it is found now.

    Attributes:
        base_url, proxy: as they are used.

    Raises:
        ConfigurationError: a proxy that cannot be used.
    """

    def __init__(self, base_url: str, *, timeout: float | None, trust_env: bool = False) -> None:
        self.base_url = base_url
        self._url = URL(base_url + PATH)
        self._timeout = timeout
        self.proxy = environment_proxy(self._url) if trust_env else None
        self._loop = asyncio.get_running_loop()
        self._flights: dict[asyncio.Task[Any], _Flight] = {}
        self._connector = _Connector(self._flights)
        self._fresh: aiohttp.ClientSession | None = None
        self._lane = Lane(self._connector, self._url) if offered() and self.proxy is None else None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._sweep_every = min(0.5, max(0.02, (timeout or 30.0) / 30))
        self.closed = False

    def session(self, authorization: Secret, sign: Callable[[str, str], Secret] | None = None) -> Session:
        """A session that signs with this header, or each request anew with a function of method and URL."""
        headers = CIMultiDict(
            {
                "Authorization": authorization,
                "Content-Type": "application/json",
                "Accept": "application/json, application/problem+json",
                "Accept-Encoding": "identity",
                "User-Agent": f"xmediameta/{__version__}",
            }
        )
        token = Secret(authorization.rpartition(" ")[2])
        # Of a copy: what is iterated over keeps its names in a form of their own, for each account.
        head = b"" if self._lane is None else self._lane.head(headers.copy())
        return Session(self._http(self._connector, headers, owner=False), headers, token, sign, head)

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
        loop, timeout = self._loop, self._timeout
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a request is sent from a task of its event loop")
        flight = self._flights[task] = _Flight(task, inf if timeout is None else loop.time() + timeout)
        if timeout is not None and self._sweep_timer is None:
            self._sweep_timer = loop.call_later(self._sweep_every, self._sweep)
        answer: Answer | None = None
        failure: BaseException | None = None
        try:
            if self._lane is None or fresh or session.sign is not None:
                answer = await self._exchange(session, body, flight, fresh=fresh)
            else:
                answer = await self._lane.exchange(session.head, body, flight)
        except asyncio.CancelledError as cancelled:
            failure = cancelled
        except Exception as error:  # noqa: BLE001 - whatever aiohttp raises, none of it may go further
            failure = _mapped(error, flight, session)
        finally:
            self._flights.pop(task, None)
        # The same care as asyncio.timeout takes: our cancellation is taken back, and one from outside wins over it.
        if flight.ended_by is not None and flight.task.uncancel() <= flight.cancelling and answer is None:
            failure = flight.ended_by
        if failure is None:
            assert answer is not None  # noqa: S101
            return session.blotted_answer(answer)
        # Outside of the except block, and a cancellation without its past: aiohttp's exceptions and frames hold the
        # request's headers and must not be chained.
        failure.__context__ = failure.__cause__ = None
        raise failure.with_traceback(None)

    async def close(self) -> None:
        """Close all connections; what is in flight ends with `ClientClosed`."""
        if self.closed:
            return
        self.closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for flight in list(self._flights.values()):
            flight.end(ClientClosed("the client was closed while the request was in flight"))
        if self._lane is not None:
            self._lane.close()
        try:
            if self._fresh is not None:
                await self._fresh.close()
        finally:
            await self._connector.close()

    @property
    def in_flight(self) -> int:
        """How many requests are on the wire."""
        return len(self._flights)

    async def _exchange(self, session: Session, body: bytes, flight: _Flight, *, fresh: bool) -> Answer:
        headers: CIMultiDict[str] | None = None
        if session.sign is not None:
            headers = signed(session.headers, session.sign("POST", str(self._url)))
        if self._lane is not None and not fresh:
            head = session.head if headers is None else self._lane.head(headers)
            return await self._lane.exchange(head, body, flight)
        if fresh:
            http, headers = self._fresh_http(), headers or session.headers
            flight.new = True
        else:
            http = session.http
        response = await http.post(self._url, data=body, headers=headers, allow_redirects=False)
        flight.new = True  # from here on the connection has proved good
        try:
            content = await read_body(response.status, response.headers, response.content)
        except BaseException:
            response.close()
            raise
        response.release()  # closes one whose body was not read to its end
        return response.status, response.headers, content

    def _http(
        self, connector: aiohttp.BaseConnector, headers: CIMultiDict[str] | None, *, owner: bool
    ) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            connector_owner=owner,
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            proxy=self.proxy,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        )

    def _fresh_http(self) -> aiohttp.ClientSession:
        if self._fresh is None:
            self._fresh = self._http(_Connector(self._flights, force_close=True), None, owner=True)
        return self._fresh

    def _sweep(self) -> None:
        self._sweep_timer = None
        if self._timeout is None or not self._flights or self.closed:
            return
        now = self._loop.time()
        for flight in list(self._flights.values()):
            if flight.deadline <= now:
                late: XMediaMetaError = RequestTimedOut(self._timeout)
                if flight.connecting:
                    late = ConnectFailed(f"no connection within {self._timeout:g} s")
                flight.end(late)
        self._sweep_timer = self._loop.call_later(self._sweep_every, self._sweep)


def _mapped(error: Exception, flight: _Flight, session: Session) -> TransportError:
    """Exceptions of aiohttp and of the system as ours; their text is kept, the objects (which hold headers) are not."""
    if isinstance(error, TransportError):
        return error
    # Their text begins with "400", which the server never said.
    text = error.message if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError) else str(error)
    said = printable(session.blotted(" ".join(text.split())).removesuffix(" ^"), 200) or type(error).__name__
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        # A handshake that breaks off may be a server that restarts; all else stays as it is.
        return ConnectFailed(f"no secure connection: {said}", retryable=isinstance(error.__cause__, ssl.SSLEOFError))
    if isinstance(error, aiohttp.InvalidURL):
        return ConnectFailed(f"the address cannot be used: {said}", retryable=False)
    if flight.connecting or isinstance(error, aiohttp.ClientConnectorError):
        return ConnectFailed(f"no connection: {said}")
    stale = not flight.new
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return ConnectionLost("the server closed the connection before it answered", stale=stale)
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return ConnectionLost(f"the connection was lost: {said}", stale=stale)
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionLost("the answer was cut short")
    # A bad status line, a flood of headers or a bad chunk come as ClientResponseError with status 400,
    # which is no HTTP 400.
    return ProtocolViolation(f"the answer was not proper HTTP: {said}", maybe_applied=True)
