"""The accounts of one client: credentials, sessions, gates, and stops that heal.

State is made when an account is first used and dropped least recently used, but never while it binds: with requests in
flight, tasks waiting, or a window that would be forgotten.

A stop (401, 402, a suspension …) fails later calls at once with the same error. One probe is let through each minute,
and another credential clears it, so that a long-lived client needs no restart once somebody has acted.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, cast

from .clock import ServerClock
from .credentials import BearerToken, Credential
from .errors import AuthError, ClientClosed, ConfigurationError, InvalidUpdate, XMediaMetaError
from .gate import AppGroup, Gate, Pace, Wait
from .ledger import Ledger, Limits
from .text import printable
from .transport import Session, Transport
from .verdict import ForbiddenStreak
from .windows import Window

Auth = str | Credential | Mapping[str | None, str | Credential] | Mapping[str, str | Credential]
AuthCallable = Callable[[str | None], Awaitable[str | Credential]]

_PROBE_EVERY: Final = 60.0
_KEPT: Final = 1_000
_LOOKED_AT: Final = 4


class Stop:
    """Why an account or an app is out, and when the next probe may go."""

    __slots__ = ("error", "probe_at")

    def __init__(self, error: XMediaMetaError, now: float) -> None:
        self.error = error
        self.probe_at = now + _PROBE_EVERY

    def refusal(self, now: float) -> XMediaMetaError | None:
        """The error, or None for the one call that may probe."""
        if now < self.probe_at:
            return self.error
        self.probe_at = now + _PROBE_EVERY
        return None


class Group(AppGroup):
    """The accounts of one app, with what stops them all (no credits, a cap, a wrong address)."""

    __slots__ = ("stop",)

    def __init__(self, window: Window) -> None:
        super().__init__(window)
        self.stop: Stop | None = None


class Account:
    """One account's state."""

    __slots__ = ("credential", "gate", "given", "group", "name", "session", "stop", "streak")

    def __init__(self, name: str | None, credential: Credential, session: Session, gate: Gate, group: Group) -> None:
        self.name = name
        self.credential = credential
        self.session = session
        self.gate = gate
        self.group = group
        self.stop: Stop | None = None
        self.streak = ForbiddenStreak()

    def refusal(self, now: float) -> XMediaMetaError | None:
        """What stops this account now, or None."""
        if self.stop is None and self.group.stop is None:
            return None
        for stop in (self.stop, self.group.stop):
            if stop is not None and (error := stop.refusal(now)) is not None:
                return error
        return None

    def healed(self) -> None:
        """A request of this account succeeded."""
        self.stop = self.group.stop = None

    def __repr__(self) -> str:
        return f"<Account {self.name or '(the only one)'}{' stopped' if self.stop else ''} {self.gate!r}>"


class Accounts:
    """Finds and makes accounts.

    Args:
        auth: a token, a credential, a mapping of account names to either, or an async callable.
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
        self._auth = auth
        self._transport = transport
        self._clock = clock
        self._limits = limits
        self._keep = keep
        self._pace: Pace = pace
        self._on_wait = on_wait
        self._wall = wall
        self._accounts: OrderedDict[str | None, Account] = OrderedDict()
        self._groups: dict[str, Group] = {}
        self._asking: dict[str | None, asyncio.Future[Account]] = {}
        self._static = not callable(auth) and not isinstance(auth, Mapping)

    def peek(self, name: str | None) -> Account | None:
        """The account, where it can be had without waiting.

        Raises:
            InvalidUpdate: no such account.
        """
        account = self._accounts.get(name)
        if account is None:
            return None if callable(self._auth) else self._made(name, self._looked_up(name))
        if not self._static:
            self._accounts.move_to_end(name)
            if isinstance(self._auth, Mapping) and self._given(name) is not account.given:
                self._renew(account, self._looked_up(name))
                account.given = self._given(name)
        return account

    async def get(self, name: str | None) -> Account:
        """The account, asking the caller's callable where there is one; concurrent calls ask once.

        Raises:
            InvalidUpdate: no such account.
            AuthError: the callable failed.
        """
        account = self.peek(name)
        if account is not None:
            return account
        asking = self._asking.get(name)
        if asking is None:
            # A task of its own: a caller that is cancelled must not take the answer from the others.
            asking = self._asking[name] = asyncio.ensure_future(self._ask(name))
            asking.add_done_callback(lambda done: self._asked(name, done))
        return await asyncio.shield(asking)

    @property
    def refreshable(self) -> bool:
        """Whether another credential may be had after a 401."""
        return not self._static

    async def refresh(self, account: Account, seen: object) -> bool:
        """Look for another credential after a 401; False where there is none.

        Args:
            seen: the credential that was refused.
        """
        if account.credential != seen:
            return True
        if callable(self._auth):
            self._renew(account, await self._called(account.name))
        elif isinstance(self._auth, Mapping):
            self._renew(account, self._looked_up(account.name))
        return account.credential != seen

    def close(self, error: ClientClosed) -> None:
        """Close all gates."""
        for account in self._accounts.values():
            account.gate.close(error)
        for asking in self._asking.values():
            asking.cancel()

    def known(self) -> list[Account]:
        """The accounts that have state, least recently used first."""
        return list(self._accounts.values())

    @property
    def finite(self) -> int | None:
        """How many accounts there are, or None where a callable knows them."""
        if callable(self._auth):
            return None
        return len(self._auth) if isinstance(self._auth, Mapping) else 1

    # Within

    def _looked_up(self, name: str | None) -> Credential:
        auth = self._auth
        if isinstance(auth, Mapping):
            given = self._given(name)
            if given is None:
                raise InvalidUpdate(
                    "account",
                    self._unknown(name, [key for key in cast("Mapping[str | None, object]", auth) if key is not None]),
                )
            return as_credential(given)
        if name is not None:
            raise InvalidUpdate(
                "account",
                f"{printable(name, 60)!r} is not known: this client has one credential; auth takes a mapping too",
            )
        return as_credential(cast("str | Credential", auth))

    def _given(self, name: str | None) -> str | Credential | None:
        return cast("Mapping[str | None, str | Credential]", self._auth).get(name)

    def _unknown(self, name: str | None, names: list[str]) -> str:
        if name is None:
            return "is missing: this client has several accounts, and none of them is the default"
        near = difflib.get_close_matches(name, names, n=1)
        return f"{printable(name, 60)!r} is not known" + (f"; did you mean {printable(near[0], 60)!r}?" if near else "")

    async def _ask(self, name: str | None) -> Account:
        return self._made(name, await self._called(name))

    async def _called(self, name: str | None) -> Credential:
        auth = cast("AuthCallable", self._auth)
        try:
            given = auth(name)
            return as_credential(await given if inspect.isawaitable(given) else given)
        except XMediaMetaError:
            raise
        except Exception as error:
            # Its text may hold a secret of the caller's; the chain keeps it for whoever looks there on purpose.
            raise AuthError(f"auth failed with {type(error).__name__}") from error

    def _asked(self, name: str | None, done: asyncio.Future[Account]) -> None:
        self._asking.pop(name, None)
        if not done.cancelled():
            done.exception()  # fetched, in case every caller has gone

    def _made(self, name: str | None, credential: Credential) -> Account:
        account = self._accounts.get(name)
        if account is not None:
            self._renew(account, credential)
            return account
        group = self._group(credential)
        ledger = Ledger(self._clock, self._limits, group.window, keep=self._keep)
        gate = Gate(name, ledger, group, pace=self._pace, on_wait=self._on_wait, wall=self._wall)
        session = self._transport.session(credential.authorization())
        account = self._accounts[name] = Account(name, credential, session, gate, group)
        if isinstance(self._auth, Mapping):
            account.given = self._given(name)
        if len(self._accounts) > _KEPT:
            self._drop_idle()
        return account

    def _renew(self, account: Account, credential: Credential) -> None:
        if credential is account.credential or credential == account.credential:
            return
        account.credential = credential
        account.stop = None
        if account.group.stop is not None:
            account.group.stop = None
        old = account.session
        account.session = self._transport.session(credential.authorization())
        asyncio.get_running_loop().call_later(_PROBE_EVERY, self._transport.drop, old)

    def _group(self, credential: Credential) -> Group:
        app = credential.app
        if app is None:
            return Group(Window("app-24hour", self._clock, self._limits.app_24hour))
        if app not in self._groups:
            self._groups[app] = Group(Window("app-24hour", self._clock, self._limits.app_24hour))
        return self._groups[app]

    def _drop_idle(self) -> None:
        now = asyncio.get_running_loop().time()
        for name in list(self._accounts)[:_LOOKED_AT]:
            account = self._accounts[name]
            idle = account.gate.idle and account.gate.ledger.droppable(now) and account.stop is None
            if idle and (account.credential.app is not None or account.group.window.settled(now)):
                account.gate.close(ClientClosed("the account's state was dropped"))
                self._transport.drop(account.session)
                del self._accounts[name]
            else:
                self._accounts.move_to_end(name)


def as_credential(given: str | Credential) -> Credential:
    """A credential from what a caller gave: a text is a bearer token.

    Raises:
        ConfigurationError: neither a text nor a credential; nothing of it is echoed.
    """
    if isinstance(given, str):
        return BearerToken(given)
    if isinstance(given, Credential):  # pyright: ignore[reportUnnecessaryIsInstance] - a caller may not check types
        return given
    raise ConfigurationError(f"a credential must be a token or a credential object, not {type(given).__name__}")
