"""The accounts of one client: found, made when first used, and forgotten when they bind no more.

State is dropped least recently used, but never while it binds: with requests in flight, tasks waiting, somebody who
holds it, a stop, or a window whose end would be forgotten.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, cast

from .account import Account, Signature, binds
from .apps import PROBE_EVERY, Group, Stop
from .auth import Auth, AuthCallable, as_credential, not_among
from .clock import ServerClock
from .credentials import BearerToken, Credential, Secret, StoreAuth
from .errors import AuthError, ClientClosed, ConfigurationError, InvalidUpdate, XMediaMetaError
from .gate import Gate, Pace, Wait
from .ledger import Ledger, Limits
from .memory import owner as owner_of
from .memory import recall, remember
from .permits import Spent
from .renewal import Renewal, from_store
from .text import printable
from .transport import Session, Transport
from .windows import Window

__all__ = ["Account", "Accounts", "Auth", "AuthCallable", "Stop", "as_credential"]

_KEPT: Final = 1_000
_LOOKED_AT: Final = 4
# Seconds between two questions to the callable about an account that is out.
_ASK_EVERY: Final = 1.0


class Accounts:
    """Finds and makes accounts.

    Args:
        auth: a credential, a mapping of account names to either a token or a credential, an async callable, or a store
            of tokens (as `veiled` returned it).
        transport, clock, limits, keep, pace, on_wait, wall: what each account's parts are made with.
    """

    def __init__(
        self,
        auth: Auth | AuthCallable,
        transport: Transport,
        clock: ServerClock,
        *,
        limits: Limits,
        keep: int,
        pace: Pace,
        on_wait: Callable[[Wait], None],
        wall: Callable[[], float],
    ) -> None:
        self.wall = wall
        self._auth = auth
        self._transport = transport
        self._clock = clock
        self._limits = limits
        self._keep = keep
        self._pace: Pace = pace
        self._on_wait = on_wait
        self._loop = asyncio.get_running_loop()
        self._accounts: OrderedDict[str | None, Account] = OrderedDict()
        self._groups: dict[str, Group] = {}
        self._asking: dict[str | None, asyncio.Future[Account]] = {}
        self._asks = callable(auth)
        self._many = isinstance(auth, Mapping)
        self._closed: ClientClosed | None = None
        self._kept: dict[str, str] = {}
        self.renewal = Renewal(transport, wall, self._swap)

    # Finding

    def peek(self, name: str | None) -> Account | None:
        """The account, where it can be had without waiting.

        Raises:
            InvalidUpdate: no such account.
            ConfigurationError: a token of the mapping, changed since, cannot be used.
        """
        account = self._accounts.get(name)
        if account is None:
            if self._asks:
                return None
            account = self._made(name, self._looked_up(name))
        else:
            if self._many or self._asks:
                self._accounts.move_to_end(name)
            if self._asks:
                if self._to_be_asked(account):
                    return None
            elif account.stopped or (self._many and self._given(name) is not account.given):
                self._renew(account, self._looked_up(name))
        if account.keeper is not None and not self.renewal.fresh(account):
            return None
        return account

    async def get(self, name: str | None) -> Account:
        """The account, asking the caller's callable where there is one, and with a token that has not ended.

        Concurrent calls ask, and renew, once.

        Raises:
            InvalidUpdate: no such account.
            AuthError: the callable failed, or the token has ended and cannot be renewed.
        """
        account = self.peek(name)
        if account is not None:
            return account
        account = self._accounts.get(name)
        if account is None or (self._asks and self._to_be_asked(account)):
            account = await self._ask_once(name)
        if account.keeper is not None and not self.renewal.fresh(account):
            await self.renewal.now(account)
        return account

    def _to_be_asked(self, account: Account) -> bool:
        return account.stopped and self._loop.time() >= account.asked_at + _ASK_EVERY

    def known(self) -> list[Account]:
        """The accounts that have state, least recently used first."""
        return list(self._accounts.values())

    def seen(self, name: str | None) -> Account | None:
        """The account, if it has state."""
        return self._accounts.get(name)

    @property
    def finite(self) -> int | None:
        """How many accounts there are, or None where a callable knows them."""
        if self._asks:
            return None
        return len(cast("Mapping[str | None, object]", self._auth)) if self._many else 1

    # What is kept of their windows

    def recall(self, kept: Mapping[str, str]) -> None:
        """Take over how the windows of accounts stood in an earlier process, for accounts that have no state yet.

        Args:
            kept: what `remembered` gave, by owner.
        """
        self._kept.update(kept)

    def remembered(self, names: Iterable[str | None]) -> dict[str, str]:
        """How the windows of these accounts stand, by owner: an account, or an app that several share."""
        now, wall = self._loop.time(), self.wall()
        kept: dict[str, str] = {}
        for name in names:
            account = self._accounts.get(name)
            if account is not None:
                app, windows = account.credential.app, account.gate.ledger.windows
                if app is not None:
                    kept[f"app:{app}"] = remember([account.group.window], now, wall)
                    windows = [window for window in windows if window is not account.group.window]
                kept[owner_of(name)] = remember(windows, now, wall)
        return kept

    def spent(self, names: Iterable[str | None], *, present: bool = False) -> Iterator[tuple[str | None, Spent, float]]:
        """What was sent in windows that have ended, each told once: whose it was, and when it ended (Unix seconds).

        Args:
            present: also in those that are open.
        """
        now, wall = self._loop.time(), self.wall()
        for name in names:
            account = self._accounts.get(name)
            if account is None:
                continue
            for window in account.gate.ledger.windows:
                shared = window is account.group.window and account.credential.app is not None
                past, window.past = window.past, None
                for spent in (past, window.spent() if present else None):
                    if spent is not None:
                        yield account.credential.app if shared else name, spent, wall + spent.ends_at - now

    def _recall(self, name: str | None, app: str | None, ledger: Ledger) -> None:
        now, wall = self._loop.time(), self.wall()
        for owner in (owner_of(name), f"app:{app}"):
            if (text := self._kept.get(owner)) is not None:
                recall(ledger.windows, self._clock, text, now, wall)

    # Other credentials

    @property
    def refreshable(self) -> bool:
        """Whether another credential may be had after a 401."""
        return not isinstance(self._auth, str | BearerToken)

    async def refresh(self, account: Account, seen: object, sent_at: float) -> bool:
        """Look for another credential after a 401, once for all requests that met one; False where there is none.

        Args:
            seen: the credential that was refused.
            sent_at: when the request with it left (the loop's clock).

        Raises:
            AuthError: the callable failed.
        """
        self.renewal.catch_up(account)
        if account.credential != seen:
            return True
        if sent_at < account.asked_at and account.name not in self._asking and not self.renewal.under_way(account):
            return False  # one was looked for since, in vain
        if self._asks and not isinstance(self._auth, StoreAuth):
            await self._ask_once(account.name)
        elif not self._asks:
            account.asked_at = self._loop.time()
            self._renew(account, self._looked_up(account.name))
        if account.credential == seen and account.keeper is not None:
            await self.renewal.after_401(account)
        return account.credential != seen

    def outlived(self, account: Account, seen: object) -> bool:
        """Whether a credential that met a 401 has been replaced since, or has ended by the clock."""
        return account.credential != seen or self.renewal.ended(account)

    async def settled(self) -> None:
        """Wait for what must not be broken off: a new pair of tokens that is not stored yet."""
        await self.renewal.settled()

    def close(self, error: ClientClosed) -> None:
        """Close all gates."""
        self._closed = error
        self.renewal.close(self._accounts.values())
        for account in self._accounts.values():
            account.gate.close(error)
        for asking in self._asking.values():
            asking.cancel()

    # Within

    def _looked_up(self, name: str | None) -> Credential:
        if self._many:
            if self._given(name) is None:
                raise InvalidUpdate("account", self._unknown(name))
            return as_credential(cast("str | Credential", self._given(name)))
        if name is not None:
            raise InvalidUpdate(
                "account",
                f"{printable(name, 60)!r} is not known: this client has one credential; auth takes a mapping too",
            )
        return as_credential(cast("str | Credential", self._auth))

    def _given(self, name: str | None) -> str | Credential | None:
        return cast("Mapping[str | None, str | Credential]", self._auth).get(name)

    def _unknown(self, name: str | None) -> str:
        names = [key for key in cast("Mapping[str | None, object]", self._auth) if key is not None]
        return not_among(names, name)

    async def _ask_once(self, name: str | None) -> Account:
        asking = self._asking.get(name)
        if asking is None:
            # A task of its own: a caller that is cancelled must not take the answer from the others.
            asking = self._asking[name] = asyncio.ensure_future(self._ask(name))
            asking.add_done_callback(lambda done: self._asked(name, done))
        await asyncio.wait((asking,))
        if asking.cancelled():
            raise copy.copy(self._closed) if self._closed is not None else AuthError("auth was cancelled")
        error = asking.exception()
        if error is None:
            return asking.result()
        # One exception object must not be raised in many tasks: each would add its frames to the same traceback.
        mine = copy.copy(error)
        mine.__cause__ = error.__cause__
        raise mine

    async def _ask(self, name: str | None) -> Account:
        if isinstance(self._auth, StoreAuth):
            return self._made(name, await from_store(self._auth.store, name))
        auth = cast("AuthCallable", self._auth)
        try:
            given: Any = auth(name)
            given = Secret(given) if isinstance(given, str) else given
            credential = as_credential(await given if inspect.isawaitable(given) else given)
        except ConfigurationError as error:
            raise AuthError(f"auth gave nothing to sign with: {error.message}") from error
        except XMediaMetaError:
            raise
        except Exception as error:
            # Its text may hold a secret of the caller's; the chain keeps it for whoever looks there on purpose.
            raise AuthError(f"auth failed with {type(error).__name__}") from error
        return self._made(name, credential)

    def _asked(self, name: str | None, done: asyncio.Future[Account]) -> None:
        self._asking.pop(name, None)
        account = self._accounts.get(name)
        if account is not None:
            account.asked_at = self._loop.time()
        if not done.cancelled():
            done.exception()  # fetched, in case every caller has gone

    def _made(self, name: str | None, credential: Credential) -> Account:
        account = self._accounts.get(name)
        if account is not None:
            self._renew(account, credential)
            return account
        if self._closed is not None:
            raise copy.copy(self._closed)
        group = self._group(credential.app)
        ledger = Ledger(self._clock, self._limits, group.window, keep=self._keep)
        gate = Gate(name, ledger, group, pace=self._pace, on_wait=self._on_wait, wall=self.wall)
        if self._kept:
            self._recall(name, credential.app, ledger)
        keeper = self.renewal.keeper(name, credential)
        signature = Signature(credential if keeper is None else keeper)
        account = self._accounts[name] = Account(name, signature, self._session(signature), gate, group)
        if keeper is not None:
            self.renewal.take(account, keeper)
        if self._many:
            account.given = self._given(name)
        if len(self._accounts) > _KEPT:
            self._drop_idle()
        return account

    def _renew(self, account: Account, credential: Credential) -> None:
        if self._many:
            account.given = self._given(account.name)
        keeper = self.renewal.keeper(account.name, credential, account.keeper)
        signature = Signature(credential if keeper is None else keeper)
        changed = signature != account.credential
        if changed or keeper is not account.keeper:
            self.renewal.take(account, keeper)
        if changed:
            if signature.app == account.credential.app:
                account.healed()
            account.stop = None
            self._swap(account, signature)

    def _swap(self, account: Account, signature: Signature) -> None:
        """Sign with this from now on."""
        if signature.app != account.credential.app:
            account.group = self._group(signature.app)
            account.gate.move(account.group)
        account.credential = signature
        old = account.session
        account.session = self._session(signature)
        self._loop.call_later(PROBE_EVERY, self._transport.drop, old)  # requests may be under way with it

    def _session(self, signature: Signature) -> Session:
        if signature.sign is None:
            return self._transport.session(signature.authorization())
        return self._transport.session(signature.authorization(), signature.sign)

    def _group(self, app: str | None) -> Group:
        if app is None:
            return Group(Window("app-24hour", self._clock, self._limits.app_24hour))
        group = self._groups.get(app)
        if group is None:
            group = self._groups[app] = Group(Window("app-24hour", self._clock, self._limits.app_24hour))
        return group

    def _drop_idle(self) -> None:
        now = self._loop.time()
        for name in list(islice(self._accounts, _LOOKED_AT)):
            account = self._accounts[name]
            if binds(account, now):
                self._accounts.move_to_end(name)
            else:
                self.renewal.forget(account)
                self._transport.drop(account.session)
                del self._accounts[name]
