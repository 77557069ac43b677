"""`Sandbox`: a server on loopback that behaves as X's endpoint does, and misbehaves on request."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable, Collection, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from xmediameta.errors import ConfigurationError

from .accounts import Accounts
from .app import PATH, Endpoint
from .catalogue import REFUSED, injected
from .clock import ServerClock
from .listener import Listener
from .oauth import Issuer
from .oauth1 import Signatures
from .quota import Rounding, spend
from .record import Applied, Counts, Logbook, Received
from .script import Entries, Script
from .settings import NOWHERE, Settings, families_of, latency_of, rounding_of, seconds, whole


class Sandbox:
    """X's `POST /2/media/metadata`, for tests and first steps; nothing is sent to X.

    Use it as `async with Sandbox(...) as sandbox:` and give `sandbox.url` to a client as its base URL.

    Args:
        limit, window: requests per account in each fixed window of so many seconds; None is no limit.
        app_limit, app_window: the same per app.
        user_day_limit: requests per account in 24 hours.
        aligned: windows start at multiples of their length, and not with their first request.
        latency: seconds from arrival to answer, fixed or (least, most).
        fail: the share of requests that meet a 503, or a share for each of several faults (`{"503": 0.05}`).
        seed: of latency and chance.
        host, port: where to listen; port 0 takes a free one.
        ssl_context: speak TLS.
        headers: whether rate-limit headers are sent, or which: `user-15min`, `user-24hour`, `app-24hour`.
        clock: the server's clock in Unix seconds; a number stands still until `advance`. By default the time of day at
            the start, carried on by the event loop's clock, so that windows follow a faked loop time.
        clock_skew: seconds by which the server's clock is ahead.
        reset_rounding: how resets become whole seconds.
        token: the only token or tokens that are accepted; None accepts any.
        apps: token to name of app; tokens of one app share its window, one without a name has its own.
        script: media id (or `"*"`) to faults, one per attempt; see `script`.
        lenient: accept both lists of `geo_restrictions` filled, as the sample request of X's page has them.
        keep: how many requests and applied updates are remembered; counts are exact for ever.
        close_after: requests per connection, which is then closed without a word.
        redirect_to: where the redirect faults lead.
        token_lifetime: seconds for which an access token lives that the sandbox gives (`oauth`).

    Attributes:
        oauth: apps and users with OAuth 2.0 tokens that end and are renewed; see `Issuer`.
        oauth1: users with OAuth 1.0a keys, whose signatures are checked; see `Signatures`.

    Raises:
        ConfigurationError: an option that makes no sense; a port that cannot be had.
    """

    def __init__(
        self,
        *,
        limit: int | None = 500,
        window: float = 900.0,
        app_limit: int | None = 50_000,
        app_window: float = 86_400.0,
        user_day_limit: int | None = None,
        aligned: bool = False,
        latency: float | tuple[float, float] = 0.0,
        fail: float | Mapping[str, float] = 0.0,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        headers: bool | Collection[str] = True,
        clock: Callable[[], float] | float | None = None,
        clock_skew: float = 0.0,
        reset_rounding: Rounding = "floor",
        token: str | Collection[str] | None = None,
        apps: Mapping[str, str] | None = None,
        script: Mapping[str, Entries] | None = None,
        lenient: bool = False,
        keep: int = 100_000,
        close_after: int | None = None,
        redirect_to: str = NOWHERE,
        token_lifetime: float = 7200.0,
    ) -> None:
        settings = Settings(
            latency=latency_of(latency),
            families=families_of(headers),
            rounding=rounding_of(reset_rounding),
            lenient=lenient,
            close_after=whole("close_after", close_after),
            redirect_to=redirect_to,
        )
        self._clock = ServerClock(clock, clock_skew)
        self._accounts = Accounts(
            limit=whole("limit", limit),
            window=seconds("window", window),
            app_limit=whole("app_limit", app_limit),
            app_window=seconds("app_window", app_window),
            user_day_limit=whole("user_day_limit", user_day_limit),
            aligned=aligned,
            accepted=(token,) if isinstance(token, str) else token,
            apps=apps,
        )
        self._script = Script(fail, seed)
        for media_id, entries in (script or {}).items():
            self._script.add(media_id, entries)
        self._logbook = Logbook(whole("keep", keep) or 1)
        lifetime = seconds("token_lifetime", token_lifetime)
        self.oauth = Issuer(self._accounts, clock=self._clock, lifetime=lifetime)
        self.oauth1 = Signatures(self._accounts)
        self._endpoint = Endpoint(
            settings,
            self._accounts,
            self._script,
            self._logbook,
            issuer=self.oauth,
            signatures=self.oauth1,
            clock=self._clock,
            seed=seed,
        )
        self._listener = Listener(host, port, ssl_context)
        self._timers: list[asyncio.TimerHandle] = []
        self._turning: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        counts = self._logbook.counts()
        where = self._listener.url or "not started"
        return f"<Sandbox {where}, {counts.requests} requests, {counts.applied} applied, {len(self._accounts)} tokens>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen."""
        self._endpoint.closing = False
        await self._listener.start(self._endpoint.app())

    async def close(self) -> None:
        """Stop at once: requests that are still being answered are cut off."""
        self._endpoint.closing = True
        for timer in self._timers:
            timer.cancel()
        for task in self._turning:
            task.cancel()
        await asyncio.gather(*self._turning, return_exceptions=True)
        await self._listener.close()

    async def serve_forever(self) -> None:
        """Listen until cancelled."""
        async with self:
            await asyncio.get_running_loop().create_future()

    def app(self) -> web.Application:
        """The same endpoint as an aiohttp application, for a runner of your own; `url` and `refused` are not its."""
        return self._endpoint.app()

    @property
    def url(self) -> str:
        """The base URL, such as `http://127.0.0.1:43817`."""
        url = self._listener.url
        if url is None:
            raise ConfigurationError("the sandbox is not started: use `async with Sandbox(...) as sandbox:`")
        return url

    @property
    def endpoint_url(self) -> str:
        """The URL that updates are posted to."""
        return self.url + PATH

    @property
    def openapi_url(self) -> str:
        """The URL of the OpenAPI document."""
        return self.url + "/openapi.json"

    # What was seen and done

    @property
    def received(self) -> list[Received]:
        """Requests in order of arrival, the newest `keep`."""
        return list(self._logbook.received)

    @property
    def applied(self) -> Applied:
        """Media id to the metadata applied last; a live view that compares equal to a dict."""
        return self._logbook.applied

    def history(self, media_id: str) -> list[Any]:
        """All metadata applied to a media id, in order of application."""
        return self._logbook.history(media_id)

    @property
    def counts(self) -> Counts:
        """A snapshot of the counts."""
        return self._logbook.counts()

    @property
    def unmet(self) -> dict[str, tuple[str, ...]]:
        """Scripted faults that no request has met yet, by media id: empty when all were."""
        return self._script.unmet

    # Faults

    def script(self, media_id: str, entries: Entries) -> None:
        """Let a media id meet faults, one entry per attempt, then none: `["503", "slow:2", "ok", 429]`.

        Under `"*"` the next requests meet them, whatever their media id. Repeated calls append.

        Raises:
            ConfigurationError: no such fault; the message suggests one.
        """
        self._script.add(media_id, entries)

    def schedule(self, fault: str | int, start: float, end: float) -> None:
        """Let all requests meet a fault, from `start` to `end` seconds from now, in the loop's time.

        `"refused"` stops listening for that time and cuts all connections. The sandbox must be started.
        """
        if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
            raise ConfigurationError(f"an outage is from a start to a later end, in seconds, not {start!r} to {end!r}")
        loop = asyncio.get_running_loop()
        now = loop.time()
        if fault != REFUSED:
            self._script.outage(fault, now + start, now + end)
            return
        self._timers.append(loop.call_at(now + start, self._turn, self._listener.refuse))
        self._timers.append(loop.call_at(now + end, self._turn, self._listener.accept))

    async def refuse(self) -> None:
        """Refuse connections from now on, and cut those that stand."""
        await self._listener.refuse()

    async def accept(self) -> None:
        """Accept connections again, on the same port."""
        await self._listener.accept()

    def _turn(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.get_running_loop().create_task(step())
        self._turning.add(task)
        task.add_done_callback(self._turning.discard)

    # Accounts, quota and time

    def now(self) -> float:
        """The server's clock, in Unix seconds."""
        return self._clock()

    def advance(self, seconds: float) -> None:
        """Move the server's clock ahead, so that a window ends at once."""
        self._clock.advance(seconds)

    def label(self, token: str) -> str:
        """The label that stands for a token in `received`."""
        return self._accounts.of(token).label

    def spend(self, token: str, number: int) -> int:
        """Let somebody else spend from the windows of a token; returns how many there was room for."""
        return spend(self._accounts.of(token).windows, self._clock(), whole("number", number, least=0) or 0)

    def renew(self, old: str, new: str) -> None:
        """Accept another token for the same user, as after a refresh, with the same windows; the old one is revoked.

        Raises:
            ConfigurationError: the old token is not accepted.
        """
        self._accounts.renew(old, new)
        self.revoke(old)

    def revoke(self, token: str | None = None) -> None:
        """Answer 401 to a token, or to all."""
        self.refuse_with("401", token)

    def suspend(self, token: str | None = None) -> None:
        """Answer 403 `user-suspended` to a token, or to all."""
        self.refuse_with("403-suspended", token)

    def deplete(self, token: str | None = None) -> None:
        """Answer 402 `credits-depleted` to a token, or to all."""
        self.refuse_with("402", token)

    def cap(self, token: str | None = None) -> None:
        """Answer 429 `usage-capped` to a token, or to all."""
        self.refuse_with("usage-capped", token)

    def refuse_with(self, fault: str | int, token: str | None = None) -> None:
        """Answer every request of a token, or of all tokens, with one fault until `heal`; it takes from no window.

        Raises:
            ConfigurationError: no such fault; the message suggests one.
        """
        self._accounts.refuse(injected(fault), token)

    def heal(self, token: str | None = None) -> None:
        """Accept a token again, or all of them."""
        self._accounts.heal(token)
