"""Keeps the tokens of a client's accounts fresh: ahead of their end, and after a 401.

While an account is held by a call or a run, a timer renews its token in the background and requests go on with the old
one. An account that nobody holds is left alone, and looked at when it is next found.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import weakref
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from .account import Account, Signature
from .apps import Stop
from .auth import not_among
from .credentials import Credential, TokenStore
from .errors import (
    AuthError,
    ConfigurationError,
    InvalidUpdate,
    ReconnectRequired,
    Unauthorized,
    XMediaMetaError,
)
from .text import printable
from .tokens.endpoint import TokenEndpoint
from .tokens.keeper import StoredToken
from .tokens.oauth2 import OAuth2Token
from .tokens.stores import MemoryStore
from .transport import Transport

log: Final = logging.getLogger("xmediameta")

_LONGEST_TIMER: Final = 86_400.0
# Seconds until the next try ahead of a token's end, after one that failed.
_AGAIN: Final = 15.0
# Seconds between two renewals ahead of time, however short a server lets its tokens live.
_LEAST: Final = 0.5


class Renewal:
    """Renews tokens.

    Args:
        transport: tells where to, and by which proxy.
        wall: the time in Unix seconds.
        swap: lets an account sign with something else.

    Attributes:
        stop: takes an account out whose token has ended and cannot be renewed.
    """

    def __init__(
        self, transport: Transport, wall: Callable[[], float], swap: Callable[[Account, Signature], None]
    ) -> None:
        self.stop: Callable[[Account, XMediaMetaError], None] = self._stopped
        self._transport = transport
        self._wall = wall
        self._swap = swap
        self._loop = asyncio.get_running_loop()
        self._endpoint: TokenEndpoint | None = None
        self._ahead: set[asyncio.Task[None]] = set()
        self._keepers: weakref.WeakSet[StoredToken] = weakref.WeakSet()
        # Pairs that came from tokens which the caller gave as they are: nobody else keeps them.
        self._own: dict[str | None, tuple[OAuth2Token, StoredToken]] = {}

    def keeper(
        self, name: str | None, credential: Credential, present: StoredToken | None = None
    ) -> StoredToken | None:
        """What keeps a credential fresh; None for one that stays as it is.

        Args:
            present: the account's keeper until now, which stays where it is about the same account of the same store.

        Raises:
            ConfigurationError: a token that comes from another address than the client's.
        """
        if isinstance(credential, StoredToken):
            keeper = credential
            if present is not None and (present.store, present.name) == (keeper.store, keeper.name):
                if not present.renewing:
                    present.token = keeper.token
                keeper = present
        elif isinstance(credential, OAuth2Token) and credential.refresh_token is not None:
            own = self._own.get(name)
            if own is None or own[0] != credential:
                made = StoredToken(MemoryStore({name: credential}), name, credential)
                own = self._own[name] = (credential, made)
            keeper = own[1]
        else:
            self._checked(credential)
            return None
        self._checked(keeper.token)
        return keeper

    def take(self, account: Account, keeper: StoredToken | None) -> None:
        """An account has another keeper."""
        account.keeper = keeper
        if keeper is not None:
            self._keepers.add(keeper)
        self._arm(account)

    def forget(self, account: Account) -> None:
        """The account is dropped. A pair that nobody else keeps stays here."""
        self._cancel_timer(account)
        own = self._own.get(account.name)
        if own is not None and own[1].token == own[0] and not own[1].renewing:
            del self._own[account.name]

    # Asked for each call

    def fresh(self, account: Account) -> bool:
        """Whether an account may sign as it does; one that may, but not for long, is renewed in the background."""
        now = self._wall()
        if now < account.due:
            self.catch_up(account)
            return True
        if account.stopped:
            return True  # it is told what stopped it; a probe meets a 401 and renews
        if self.ended(account):
            return False
        self._start(account)
        return True

    def ended(self, account: Account) -> bool:
        """Whether the token of an account has ended by the clock."""
        keeper = account.keeper
        ends = None if keeper is None or not keeper.renewable else keeper.expires_at
        return ends is not None and ends <= self._wall()

    def under_way(self, account: Account) -> bool:
        """Whether a renewal is."""
        return account.keeper is not None and account.keeper.renewing

    # Renewing

    async def now(self, account: Account) -> None:
        """Renew a token that has ended, before anything is sent with it; if that cannot be, the account is out.

        Raises:
            AuthError: it cannot be renewed.
        """
        try:
            await self.after_401(account)
        except XMediaMetaError as error:
            error.about(None, None, account.name)
            if account.stop is None:
                self.stop(account, error)
            raise

    async def after_401(self, account: Account) -> None:
        """Renew a token that was refused.

        Raises:
            AuthError: it cannot be renewed.
        """
        keeper = account.keeper
        if keeper is None:
            return
        try:
            await keeper.renew(account.credential.authorization(), self._at(), self._wall)
        finally:
            account.asked_at = self._loop.time()
        self._renewed(account)

    def _stopped(self, account: Account, error: XMediaMetaError) -> None:
        account.stop = Stop(copy.copy(error), self._loop.time())

    def _start(self, account: Account) -> None:
        """Renew in the background."""
        if not self.under_way(account):
            account.due = inf  # until this has ended
            task = self._loop.create_task(self._in_the_background(account))
            self._ahead.add(task)
            task.add_done_callback(self._ahead.discard)

    async def _in_the_background(self, account: Account) -> None:
        keeper = account.keeper
        if keeper is None:
            return
        try:
            await keeper.renew(account.credential.authorization(), self._at(), self._wall)
        except XMediaMetaError as error:
            # The old token is still good, so nothing is stopped yet.
            log.warning("not renewed ahead of time: %s", error, extra=_extras(account))
            ends = keeper.expires_at
            again = inf if isinstance(error, ReconnectRequired) else self._wall() + _AGAIN
            account.due = inf if ends is None else min(ends, again)
            self._set_timer(account)
        else:
            self._renewed(account)

    def _renewed(self, account: Account) -> None:
        stop = account.stop
        if stop is not None and isinstance(stop.error, AuthError | Unauthorized):
            account.stop = None
        self.catch_up(account)
        self._arm(account, least=_LEAST)

    def catch_up(self, account: Account) -> None:
        """Sign with what the keeper holds, which may have been renewed for another account that shares it."""
        keeper = account.keeper
        if keeper is not None and keeper.authorization() != account.credential.authorization():
            self._swap(account, Signature(keeper))
            self._arm(account)

    # Timers

    def _arm(self, account: Account, *, least: float = -inf) -> None:
        now, keeper = self._wall(), account.keeper
        due = None if keeper is None else keeper.due_at(now)
        account.due = inf if due is None else max(due, now + least)
        self._set_timer(account)

    def _cancel_timer(self, account: Account) -> None:
        if account.timer is not None:
            account.timer.cancel()
            account.timer = None

    def _set_timer(self, account: Account) -> None:
        self._cancel_timer(account)
        if account.due < inf:
            seconds = min(_LONGEST_TIMER, max(0.0, account.due - self._wall()))
            me: weakref.ref[Renewal] = weakref.ref(self)
            account.timer = self._loop.call_later(seconds, _due, me, weakref.ref(account))

    def due(self, account: Account) -> None:
        """A timer has run out."""
        account.timer = None
        if self._wall() < account.due:
            self._set_timer(account)
        elif account.users and not account.stopped:
            self._start(account)

    # Its end

    def close(self, accounts: Iterable[Account]) -> None:
        """Renew nothing more; what is under way comes to its end (`settled`)."""
        for account in accounts:
            self._cancel_timer(account)
        for task in self._ahead:
            task.cancel()

    async def settled(self) -> None:
        """Wait until no renewal is under way."""
        await asyncio.sleep(0)  # those who were cancelled wait no more after this
        for keeper in list(self._keepers):
            await keeper.settled()

    # Within

    def _at(self) -> TokenEndpoint:
        if self._endpoint is None:
            self._endpoint = TokenEndpoint(self._transport.base_url, proxy=self._transport.proxy, wall=self._wall)
        return self._endpoint

    def _checked(self, credential: Credential) -> None:
        issuer = credential.issuer if isinstance(credential, OAuth2Token) else None
        if issuer is not None and issuer != self._transport.base_url:
            here = printable(self._transport.base_url, 80)
            raise ConfigurationError(f"a token that comes from {printable(issuer, 80)} is not sent to {here}")

    def __repr__(self) -> str:
        return f"<Renewal of {len(self._keepers)} tokens>"


async def from_store(store: TokenStore, name: str | None) -> StoredToken:
    """The account of a store.

    Raises:
        InvalidUpdate: it is not there.
        AuthError: the store failed.
    """
    try:
        found = await StoredToken.load(store, name)
        if found is not None:
            return found
        names = list(await store.names())
    except XMediaMetaError:
        raise
    except Exception as error:
        # Its text may hold a secret of the caller's; the chain keeps it for whoever looks there on purpose.
        raise AuthError(f"the token store failed with {type(error).__name__}") from error
    raise InvalidUpdate("account", not_among(names, name))


def _due(renewal: weakref.ref[Renewal], account: weakref.ref[Account]) -> None:
    # Weak, so that a client that nobody closed is not kept alive for hours.
    keeping, due = renewal(), account()
    if keeping is not None and due is not None:
        keeping.due(due)


def _extras(account: Account) -> dict[str, object]:
    name = None if account.name is None else printable(account.name, 200)
    return {"account": name, "media_id": None, "ref": None, "attempt": None, "x_transaction_id": None}
