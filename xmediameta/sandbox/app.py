"""The endpoint as handlers: what a request goes through, in the order in which the real one seems to decide.

Method, token, what the account is refused with, windows, content type, size, contract, injected fault, latency,
application, answer. A request takes from its windows when it arrives, and its answer tells their state of that moment,
so that answers of different latency come out of order, as the real ones do. A fault that the API itself would not see
(a proxy's, a cut connection) takes nothing and asks no window.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from . import documents
from .accounts import Account, Accounts
from .contract import Accepted, Violation, check, media_id_of
from .exchange import Exchange, Sent
from .oauth import Issuer
from .oauth1 import Signatures
from .oauth_pages import Pages
from .openapi import openapi_document
from .quota import admit, rate_headers
from .record import ENDPOINT, Logbook, Received
from .script import Choice, Script
from .settings import LARGEST_BODY, Settings

PATH: Final = "/2/media/metadata"
_JSON: Final = "application/json"


class _Refusal(NamedTuple):
    status: int
    document: bytes


class Endpoint:
    """The handlers, over the state of one sandbox.

    Args:
        issuer, signatures: judge tokens that the sandbox has made.
        clock: the server's clock, in Unix seconds.
        seed: of the latency.
    """

    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        script: Script,
        logbook: Logbook,
        *,
        issuer: Issuer,
        signatures: Signatures,
        clock: Callable[[], float],
        seed: int,
    ) -> None:
        self._settings, self._accounts, self._script, self._logbook = settings, accounts, script, logbook
        self._issuer, self._signatures = issuer, signatures
        self._clock = clock
        self._random = random.Random(f"latency {seed}")
        self._answered: dict[object, int] = {}
        self.closing = False

    def app(self) -> web.Application:
        """The endpoint as an application, to be run once."""
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", PATH, self.update)
        app.router.add_route("*", "/openapi.json", self.openapi)
        latency = self._settings.latency[0]
        Pages(self._issuer, self._signatures, self._arrive, clock=self._clock, latency=latency).add_to(app)
        app.router.add_route("*", "/{path:.*}", self.unknown)
        return app

    async def unknown(self, request: web.Request) -> web.StreamResponse:
        """Any other path: an empty 404, without JSON and without rates (FACTS, "Failures seen")."""
        _, exchange = self._arrive(request, f"{request.method} {request.path}"[:200])
        return exchange.reply(404, content_type="text/plain", edge=True)

    async def openapi(self, request: web.Request) -> web.StreamResponse:
        """The contract, for tools and people; no token needed."""
        if request.method not in ("GET", "HEAD"):
            return await self.unknown(request)
        return web.Response(body=openapi_document(), content_type=_JSON)

    async def update(self, request: web.Request) -> web.StreamResponse:
        """POST /2/media/metadata."""
        target = ENDPOINT if request.method == "POST" else f"{request.method[:20]} {PATH}"
        record, exchange = self._arrive(request, target)
        try:
            return await self._answer(request, record, exchange)
        except ConnectionError:
            return Sent(keep_alive=False)  # the client went away while it was being answered

    def _arrive(self, request: web.Request, target: str) -> tuple[Received, Exchange]:
        record = self._logbook.arrive(self._clock(), target)
        exchange = Exchange(
            request,
            record.number,
            clock=self._clock,
            note=partial(self._logbook.answer, record),
            redirect_to=self._settings.redirect_to,
        )
        if self._settings.close_after is not None:
            exchange.last = self._is_last(request.protocol, self._settings.close_after)
        return record, exchange

    async def _answer(self, request: web.Request, record: Received, exchange: Exchange) -> web.StreamResponse:
        if request.method != "POST":
            return exchange.reply(405, documents.problem(405), documents.PROBLEM_JSON, extra={"Allow": "POST"})
        loop = asyncio.get_running_loop()
        drawn = self._script.draw()
        early = self._script.early(loop.time(), drawn)
        if early is not None:
            return await self._carry_out(early, record, exchange)
        account = self._accounts.known(request.headers.get(hdrs.AUTHORIZATION))
        status = 401 if account is None else self._status(request)
        if account is None or status != 200:
            return exchange.reply(status, documents.problem(status), documents.PROBLEM_JSON)
        record.token = account.label
        verdict = await self._judge(request, record)
        choice: Choice | None = None
        if isinstance(verdict, Accepted):
            exchange.media_id, exchange.metadata = verdict
            choice = self._script.choose(verdict.media_id, loop.time(), drawn)
        if choice is None or choice.counted:
            refused = await self._refused(account, exchange)
            if refused is not None:
                return refused
        self._tell_rates(account, exchange)
        if isinstance(verdict, _Refusal):
            return exchange.reply(verdict.status, verdict.document, documents.PROBLEM_JSON)
        self._logbook.enter(verdict.media_id, request)
        try:
            return await self._carry_out(choice, record, exchange)
        finally:
            self._logbook.leave(verdict.media_id, request)

    def _status(self, request: web.Request) -> int:
        """What a token of the sandbox's own making brings; any other is as good as its account."""
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        kind, _, token = authorization.partition(" ")
        if kind.lower() == "bearer":
            verdict = self._issuer.judge(token.strip())
        else:
            verdict = self._signatures.judge(request, authorization, self._clock())
        return 200 if verdict is None else verdict[0]

    async def _judge(self, request: web.Request, record: Received) -> Accepted | _Refusal:
        """Read the body and hold it against the contract."""
        try:
            record.raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _Refusal(413, documents.problem(413))
        if request.content_type != _JSON or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
            return _Refusal(415, documents.problem(415, detail="The content type must be application/json in UTF-8"))
        verdict = check(record.raw, lenient=self._settings.lenient)
        if isinstance(verdict, Violation):
            record.id = media_id_of(record.raw)
            return _Refusal(400, documents.invalid_request(*verdict))
        record.id = verdict.media_id
        return verdict

    async def _refused(self, account: Account, exchange: Exchange) -> web.StreamResponse | None:
        """Take a request from the account's windows, or say why not."""
        refusal = self._accounts.refusal(account)
        if refusal is not None and refusal.fault is not None:
            self._tell_rates(account, exchange)
            return await refusal.fault.send(exchange, refusal.number)
        if admit(account.windows, self._clock()):
            return None
        self._logbook.limit()
        self._tell_rates(account, exchange)
        return exchange.reply(429, documents.problem(429), documents.PROBLEM_JSON)

    async def _carry_out(self, choice: Choice | None, record: Received, exchange: Exchange) -> web.StreamResponse:
        """Let the update take effect and answer it, or let its fault happen."""
        fault, number = None, 0.0
        if choice is not None:
            self._script.cross_off(choice)
            fault, number, name = choice.entry
            if fault is not None:
                self._logbook.meet(record, name, fault.name)
        applies = fault is None or fault.applied
        low, high = self._settings.latency
        if high:
            latency = low if low == high else self._random.uniform(low, high)
            await self._pause(latency, record, exchange, applies=applies)
        if applies:
            self._logbook.apply(record, exchange.media_id, exchange.metadata)
        return exchange.success() if fault is None else await fault.send(exchange, number)

    async def _pause(self, latency: float, record: Received, exchange: Exchange, *, applies: bool) -> None:
        """Take time. A client that gives up does not stop a server: what it asked for still happens, later."""
        loop = asyncio.get_running_loop()
        due = loop.time() + latency
        try:
            await asyncio.sleep(latency)
        except asyncio.CancelledError:
            if applies and not self.closing:
                loop.call_at(due, self._apply_late, record, exchange)
            raise

    def _apply_late(self, record: Received, exchange: Exchange) -> None:
        if not self.closing:
            self._logbook.apply(record, exchange.media_id, exchange.metadata)

    def _tell_rates(self, account: Account, exchange: Exchange) -> None:
        if self._settings.families:
            settings = self._settings
            exchange.rates = rate_headers(account.windows, self._clock(), settings.rounding, settings.families)

    def _is_last(self, connection: web.RequestHandler, close_after: int) -> bool:
        """Whether this is the last request that its connection is good for."""
        if connection not in self._answered:
            for known in [known for known in self._answered if getattr(known, "transport", None) is None]:
                del self._answered[known]
        self._answered[connection] = count = self._answered.get(connection, 0) + 1
        return count >= close_after
