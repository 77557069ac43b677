"""Who may call, as OAuth 2.0 has it: apps, users, codes, access tokens that end, refresh tokens good for one use.

No token is kept: each is known by a keyed digest.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from xmediameta.errors import ConfigurationError

from .accounts import Account, Accounts
from .catalogue import injected
from .faults import Injected

WRITE: Final = "media.write"
ME: Final = ("tweet.read", "users.read")
ALL: Final = (*ME, WRITE, "offline.access")
_CODE_LIVES: Final = 30.0


class Tokens(Struct, frozen=True, kw_only=True):
    """What a login or a renewal gives.

    Attributes:
        issued_at, expires_at: of the access token, in Unix seconds of the server's clock.
    """

    access_token: str
    refresh_token: str
    client_id: str
    scopes: tuple[str, ...]
    issued_at: float
    expires_at: float

    def __repr__(self) -> str:
        return f"<Tokens **** of {self.client_id} until {self.expires_at}>"


class Refused(Exception):
    """A token request is refused, in OAuth's words."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(error)
        self.status, self.error, self.description = status, error, description


class _Access(Struct, frozen=True):
    user: str
    scopes: tuple[str, ...]
    expires_at: float


class _Refresh(Struct):
    user: str
    client_id: str
    scopes: tuple[str, ...]
    spent: bool = False


class Asked(Struct, frozen=True, kw_only=True):
    """What an app asks a user for."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str


class _Code(Struct):
    asked: Asked
    user: str
    expires_at: float


class Issuer:
    """Gives and checks tokens.

    Args:
        accounts: where a user's tokens share one account and its windows.
        clock: the server's clock, in Unix seconds.
        lifetime: of access tokens, in seconds.

    Attributes:
        renewals: refresh tokens taken, each for a new pair.
        reused: requests with a refresh token that was spent before.
        denied: requests with an access token that had ended.
    """

    def __init__(self, accounts: Accounts, *, clock: Callable[[], float], lifetime: float) -> None:
        self._accounts = accounts
        self._clock = clock
        self._lifetime = lifetime
        self._key = secrets.token_bytes(16)
        self._apps: dict[str, bytes | None] = {}
        self._users: dict[str, Account] = {}
        self._access: dict[bytes, _Access] = {}
        self._refresh: dict[bytes, _Refresh] = {}
        self._codes: dict[bytes, _Code] = {}
        self._faults: deque[Injected] = deque()
        self.renewals = self.reused = self.denied = 0

    # For tests

    def app(self, client_id: str, client_secret: str | None = None) -> None:
        """Register an app, confidential where it has a secret; from then on only registered apps are known."""
        self._apps[client_id] = None if client_secret is None else self._digest(client_secret)

    def login(
        self,
        user: str = "alice",
        *,
        client_id: str = "sandbox-app",
        scopes: Iterable[str] = ALL,
        pair: tuple[str, str] | None = None,
    ) -> Tokens:
        """A first pair for a user, as if somebody had logged in.

        Args:
            pair: the access token and the refresh token, where a test wants certain ones.
        """
        return self._given(user, client_id, tuple(scopes), pair)

    def revoke(self, user: str) -> None:
        """All tokens of a user are worth nothing from now on."""
        for kept in self._refresh.values():
            kept.spent = kept.spent or kept.user == user
        self._access = {
            digest: kept if kept.user != user else _Access(user, kept.scopes, 0.0)
            for digest, kept in self._access.items()
        }

    def script(self, *entries: str | int) -> None:
        """The next token requests meet these faults; those that apply let the request take effect first.

        Raises:
            ConfigurationError: no such fault.
        """
        self._faults.extend(injected(entry) for entry in entries)

    # For the handlers

    def fault(self) -> Injected | None:
        """The fault of a token request that has arrived."""
        return self._faults.popleft() if self._faults else None

    def known(self, client_id: str) -> bool:
        """Whether there is such an app; without any, all are."""
        return bool(client_id) and (not self._apps or client_id in self._apps)

    def judge(self, token: str) -> tuple[int, str] | None:
        """The status that a token brings (200, 401, 403), and whose it is; None where it is not ours."""
        kept = self._access.get(self._digest(token))
        if kept is None:
            return None
        if kept.expires_at <= self._clock():
            self.denied += 1
            return 401, kept.user
        return (200 if WRITE in kept.scopes else 403), kept.user

    def may(self, token: str, *scopes: str) -> bool:
        """Whether a token has all these scopes."""
        kept = self._access.get(self._digest(token))
        return kept is not None and set(scopes) <= set(kept.scopes)

    def code(self, asked: Asked, user: str) -> str:
        """A code for what a user has granted."""
        made = secrets.token_urlsafe(32)
        self._codes[self._digest(made)] = _Code(asked, user, self._clock() + _CODE_LIVES)
        return made

    def exchange(self, client_id: str, secret: str | None, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """A first pair for a code, which is good for one use.

        Raises:
            Refused: the code, the verifier or the app is none.
        """
        self._checked(client_id, secret)
        kept = self._codes.pop(self._digest(code or "-"), None)
        spoken = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if kept is None or kept.expires_at <= self._clock() or kept.asked.client_id != client_id:
            raise Refused(400, "invalid_request", "Value passed for the authorization code was invalid.")
        if kept.asked.challenge != spoken:
            raise Refused(
                400, "invalid_request", "Value passed for the code verifier did not match the code challenge."
            )
        if kept.asked.redirect_uri != redirect_uri:
            raise Refused(
                400, "invalid_request", "Value passed for the redirect uri did not match the uri of the code."
            )
        return self._given(kept.user, client_id, kept.asked.scopes)

    def refresh(self, client_id: str, secret: str | None, token: str) -> Tokens:
        """A new pair for a refresh token, which is good for one use.

        Raises:
            Refused: the token or the app is none.
        """
        self._checked(client_id, secret)
        kept = self._refresh.get(self._digest(token or "-"))
        if kept is None or kept.spent or kept.client_id != client_id:
            self.reused += kept is not None and kept.spent
            raise Refused(400, "invalid_request", "Value passed for the token was invalid.")
        kept.spent = True
        self.renewals += 1
        return self._given(kept.user, client_id, kept.scopes)

    def _checked(self, client_id: str, secret: str | None) -> None:
        wanted = self._apps.get(client_id)
        given = None if secret is None else self._digest(secret)
        if not self.known(client_id) or (self._apps and wanted != given):
            raise Refused(401, "unauthorized_client", "Missing valid authorization header")

    def _given(self, user: str, client_id: str, scopes: tuple[str, ...], pair: tuple[str, str] | None = None) -> Tokens:
        if not user or not client_id:
            raise ConfigurationError("a login needs a user and a client id")
        access, refresh = pair or (secrets.token_urlsafe(48), secrets.token_urlsafe(48))
        now = self._clock()
        ends = now + self._lifetime
        self._access[self._digest(access)] = _Access(user, scopes, ends)
        self._refresh[self._digest(refresh)] = _Refresh(user, client_id, scopes)
        self._users[user] = self._accounts.admit(access, self._users.get(user))
        return Tokens(
            access_token=access,
            refresh_token=refresh,
            client_id=client_id,
            scopes=scopes,
            issued_at=now,
            expires_at=ends,
        )

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), key=self._key, digest_size=16).digest()

    def __repr__(self) -> str:
        return f"<Issuer {self.renewals} renewals, {self.reused} of spent tokens>"
