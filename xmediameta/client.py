"""The client: one per process, used by all its tasks."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, Unpack

from .accounts import Accounts, Auth, AuthCallable
from .address import checked_base_url
from .attempts import Retrier, RetryPolicy
from .batcher import Batcher, Book
from .bulk import BulkRun, Journaled, Options
from .calls import Call
from .clock import ServerClock
from .coalesce import Coalesce
from .credentials import Secret, veiled
from .errors import ClientClosed, ConfigurationError, InvalidUpdate
from .gate import Pace, Wait
from .hooks import Attempt, HookOptions, Hooks, Retrying, Stopped, tell
from .journal import Journal, JournalRun
from .ledger import NO_LIMITS, Limits
from .models import Metadata, Update
from .outcomes import Applied, Outcome
from .quota import Quota, quotas
from .sender import Sender, Stats
from .settings import X_API, ClientOptions, check_listeners, check_options, checked_auth
from .text import printable
from .transport import Transport
from .wire import encode

_DOCUMENTED: Final = Limits()

log: Final = logging.getLogger("xmediameta")


class Client:
    """Sets metadata on media that was uploaded to X.

    Use it as an async context manager, one per process and event loop.

    Args:
        auth: a user token, a credential, a mapping of account names to either (the name None serves updates that name
            no account), an async callable `(account) -> credential`, asked when an account is first used, after a 401,
            and when a stopped account is tried again, or a store of tokens. OAuth 2.0 tokens with a refresh token are
            renewed ahead of their end and after a 401.
        base_url: where X is; the path `/2/media/metadata` is added.
        concurrency: how many requests of one `bulk` are in flight; `create` is bounded by its callers.
        timeout: seconds for one attempt; None for no bound.
        pace: `"burst"` (as fast as the window allows, 250 starts a second), `"even"` (spread over what is left of the
            window, for tokens shared with people), a number of starts a second, or None.
        retry: how failed attempts are repeated.
        limits: what is assumed where rate-limit headers are absent; None trusts headers alone.
        reserve: permits of each window that only `create` and `submit` may take.
        strict: whether updates that break a rule that joins members are refused.
        allow_insecure: whether a token may go over plain http to another machine.
        trust_env: whether proxies of the environment are used.
        on_attempt, on_retry, on_wait, on_stop, on_outcome: listeners, each called with one frozen record: for every
            request, for every retry, when an account begins to wait for a window, when one is out, and for every
            update that is settled. They are to be quick; what they raise is logged.

    Raises:
        ConfigurationError: a token, a base URL or an option that cannot be used.
    """

    def __init__(
        self,
        auth: Auth | AuthCallable,
        *,
        base_url: str = X_API,
        concurrency: int = 32,
        timeout: float | None = 30.0,
        pace: Pace = "burst",
        retry: RetryPolicy | None = None,
        limits: Limits | None = _DOCUMENTED,
        reserve: int = 0,
        strict: bool = True,
        allow_insecure: bool = False,
        trust_env: bool = False,
        on_attempt: Callable[[Attempt], object] | None = None,
        on_retry: Callable[[Retrying], object] | None = None,
        on_wait: Callable[[Wait], object] | None = None,
        on_stop: Callable[[Stopped], object] | None = None,
        on_outcome: Callable[[Outcome], object] | None = None,
    ) -> None:
        # First of all, what `repr` needs; and from here on no frame of a traceback holds a token as it was given.
        self._closed, self._base_url = False, ""
        self._sender: Sender | None = None
        kind = type(auth).__name__
        auth = veiled(auth)
        insecure = allow_insecure or os.environ.get("XMEDIAMETA_ALLOW_INSECURE") == "1"
        self._base_url = checked_base_url(base_url, allow_insecure=insecure)
        self._auth: Auth | AuthCallable = checked_auth(auth, kind)
        check_options(concurrency=concurrency, timeout=timeout, pace=pace, reserve=reserve)
        self._concurrency = concurrency
        self._timeout = timeout
        self._pace: Pace = pace
        self._retrier = Retrier(retry if retry is not None else RetryPolicy())
        self._limits = limits if limits is not None else NO_LIMITS
        self._reserve = reserve
        self._strict = strict
        self._trust_env = trust_env
        self._hooks = Hooks()
        self.listen(on_attempt=on_attempt, on_retry=on_retry, on_wait=on_wait, on_stop=on_stop, on_outcome=on_outcome)
        self._calls: set[Call] = set()
        self._running: set[BulkRun] = set()

    @classmethod
    def from_env(cls, **options: Unpack[ClientOptions]) -> Self:
        """A client from `XMEDIAMETA_TOKEN` and, if set, `XMEDIAMETA_BASE_URL`.

        Args:
            options: as for the class; `base_url` wins over the environment.

        Raises:
            ConfigurationError: no token is set.
        """
        token = Secret(os.environ.get("XMEDIAMETA_TOKEN", ""))
        if not token.strip():
            raise ConfigurationError("XMEDIAMETA_TOKEN is not set: it holds a user token with the scope media.write")
        options.setdefault("base_url", os.environ.get("XMEDIAMETA_BASE_URL") or X_API)
        return cls(token, **options)

    # The ways in

    async def create(
        self,
        id: str,  # noqa: A002 - X's word
        metadata: Metadata,
        *,
        account: str | None = None,
        ref: str | int | None = None,
        max_wait: float | None = 10.0,
    ) -> Applied:
        """Set the metadata of one media.

        Args:
            id: the media id.
            metadata: what to set.
            account: whose media it is; None for a client with one credential.
            ref: the caller's own name for it.
            max_wait: seconds to wait for a window at most; None waits as long as it takes.

        Raises:
            InvalidUpdate: the contract is broken; nothing was sent.
            RateLimitWaitTooLong: the window opens later than `max_wait` allows; nothing was sent.
            ProblemError: X refused the update, the account, or every request; see its subclasses.
            TransportError: no answer could be read, after all attempts.
        """
        sender = self._opened()
        update = Update(id, metadata, account, ref)
        try:
            call = Call(sender, update, encode(update, strict=self._strict), max_wait)
        except InvalidUpdate as error:
            error.about(id, ref, account)
            raise
        self._calls.add(call)
        try:
            return await call.send()
        finally:
            self._calls.discard(call)

    def bulk(
        self,
        updates: Iterable[Update | Mapping[str, Any]] | AsyncIterable[Update | Mapping[str, Any]],
        *,
        concurrency: int | None = None,
        max_wait: float | None = None,
        coalesce: Coalesce = None,
        max_requests: int | None = None,
        max_duration: float | None = None,
        lookahead: int = 10_000,
        journal: Journal | JournalRun | str | os.PathLike[str] | None = None,
        run: str | None = None,
        retry_failed: bool = False,
        force: bool = False,
    ) -> BulkRun:
        """Send a stream of updates: an async context manager over their outcomes, in the order they end.

        Args:
            updates: any iterable or async iterable of updates, or of mappings in the shape of an input line. It is
                read only as far ahead as there is something to do with it.
            concurrency: requests in flight; by default the client's.
            max_wait: seconds; an account whose window opens later ends for this run.
            coalesce: `"last"` or `"merge"` for different pending updates of one media id; by default all are sent. With
                a journal it joins all updates of the input that are for one media id and account.
            max_requests: how many requests the run may send, retries included.
            max_duration: seconds after which nothing more is sent.
            lookahead: how many updates are held at most while their account waits; among these, the earliest
                `send_before` goes first.
            journal: an open journal or the path of one. All updates are loaded into it first; what was sent already
                costs nothing, each outcome is recorded before it is told, and the same run goes on where it stopped.
                Or a run that was started already (`Journal.start`): it holds its updates, `updates` is then not read,
                and the caller ends it.
            run: the name of the run in the journal.
            retry_failed: send again what failed in an earlier sitting of the run.
            force: send what is unchanged too.
        """
        held = isinstance(journal, JournalRun)
        if held and coalesce is not None:
            raise ConfigurationError("coalesce goes with the start of a run: Journal.start(..., coalesce='...')")
        if journal is not None and not run and not held:
            raise ConfigurationError("a run in a journal needs a name: run='...'")
        options = Options(
            concurrency=self._concurrency if concurrency is None else concurrency,
            strict=self._strict,
            max_wait=max_wait,
            coalesce=coalesce,
            max_requests=max_requests,
            max_duration=max_duration,
            lookahead=lookahead,
        )
        journaled = None
        if journal is not None:
            journaled = Journaled(
                journal=journal,
                name=run or "",
                force=force,
                retry_failed=retry_failed,
                coalesce=coalesce,
                tell_settled=not held,
            )
        return BulkRun(self._opened, updates, options, self._running, base_url=self._base_url, journaled=journaled)

    def batcher(
        self,
        *,
        max_pending: int = 10_000,
        max_delay: float = 0.0,
        coalesce: Coalesce = None,
        concurrency: int | None = None,
        drain: float = 30.0,
        journal: Journal | str | os.PathLike[str] | None = None,
        run: str | None = None,
    ) -> Batcher:
        """Send updates in the background, handed in one at a time: an async context manager.

        Args:
            max_pending: updates accepted and not settled; who submits more waits for room.
            max_delay: seconds to hold an update back, so that others of its media id may coalesce with it.
            coalesce: `"last"` or `"merge"` for different pending updates of one media id; by default all are sent.
            concurrency: requests in flight; by default the client's.
            drain: seconds to send what is pending when the block is left.
            journal: an open journal or the path of one. What is accepted is in it before it is sent, each answer is
                recorded before it is told, and what is not settled when the process ends is sent at the next start.
            run: its name in the journal.

        Raises:
            ConfigurationError: an option that makes no sense.
        """
        keep = None
        if journal is not None:
            if not run:
                raise ConfigurationError("a batcher's run in a journal needs a name: run='...'")
            keep = partial(self._book, journal, run)
        return Batcher(
            self._opened,
            self._calls,
            strict=self._strict,
            concurrency=self._concurrency if concurrency is None else concurrency,
            max_pending=max_pending,
            max_delay=max_delay,
            coalesce=coalesce,
            drain=drain,
            keep=keep,
        )

    async def _book(self, journal: Journal | str | os.PathLike[str], run: str) -> Book:
        return await Book.open(journal, run, self._base_url, self._opened().accounts)

    def listen(self, **listeners: Unpack[HookOptions]) -> None:
        """Listen to this client with these too; see the class.

        Raises:
            ConfigurationError: one that cannot be called.
        """
        check_listeners(listeners)
        self._hooks.add(listeners)

    # What it knows

    @property
    def base_url(self) -> str:
        """Where X is."""
        return self._base_url

    @property
    def quota(self) -> tuple[Quota, ...]:
        """Every window of every account that was used, as it is seen now."""
        sender = self._sender
        if sender is None:
            return ()
        return quotas(sender.accounts.known(), sender.loop.time(), time.time())

    @property
    def stats(self) -> Stats:
        """The counters as they are now."""
        if self._sender is None:
            return Stats(requests=0, retries=0, applied=0, failed=0, in_flight=0)
        return self._sender.stats()

    # Its life

    async def aclose(self) -> None:
        """Close the connections; what is in flight or waits ends with `ClientClosed`."""
        self._closed = True
        sender = self._sender
        if sender is None:
            return
        error = ClientClosed("the client was closed")
        for run in list(self._running):
            run.close(error)
        for call in list(self._calls):
            call.close(error)
        sender.accounts.close(error)
        await sender.transport.close()
        await sender.accounts.settled()

    async def __aenter__(self) -> Self:
        self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _opened(self) -> Sender:
        """The machinery, made in the running loop when first used.

        Raises:
            ClientClosed: after `aclose`.
            ConfigurationError: from another event loop.
        """
        if self._closed:
            raise ClientClosed("the client is closed")
        sender = self._sender
        loop = asyncio.get_running_loop()
        if sender is not None:
            if sender.loop is not loop:
                raise ConfigurationError("this client belongs to another event loop: make one for each loop")
            return sender
        transport = Transport(self._base_url, timeout=self._timeout, trust_env=self._trust_env)
        clock = ServerClock(time.time() - loop.time())
        accounts = Accounts(
            self._auth,
            transport,
            clock,
            limits=self._limits,
            keep=self._reserve,
            pace=self._pace,
            on_wait=self._waits,
            wall=time.time,
        )
        self._sender = sender = Sender(transport, accounts, clock, self._retrier, self._hooks)
        return sender

    def _waits(self, wait: Wait) -> None:
        log.info(
            "waiting for the %s window until %s", wait.window, wait.reset_at.isoformat(timespec="seconds"),
            extra={
                "account": None if wait.account is None else printable(wait.account, 200),
                "seconds": wait.seconds,
                "media_id": None, "ref": None, "attempt": None, "x_transaction_id": None,
            },
        )  # fmt: skip
        tell(self._hooks.wait, wait)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "new" if self._sender is None else f"{self.stats.in_flight} in flight"
        return f"<Client {self._base_url} {state}>"
