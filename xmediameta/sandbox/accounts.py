"""Who calls: tokens become accounts with windows, and no token is ever kept.

A token is looked up by a keyed digest, made with a key that lives as long as the sandbox, and shown by an ordinal
label such as `token-1`. OAuth 1.0a requests are known by their `oauth_token`; their signature is checked where the
sandbox made the token (`oauth1`).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Final

from xmediameta.errors import ConfigurationError

from .faults import Injected
from .quota import DAY, FixedWindow

_BEARER: Final = re.compile(r"bearer +(\S+) *", re.IGNORECASE)
_OAUTH1: Final = re.compile(r'oauth .*?\boauth_token="([^"]+)"', re.IGNORECASE | re.DOTALL)


class Account:
    """One user's token: its label, the windows that bind it, and what it is refused with, if anything."""

    __slots__ = ("label", "refusal", "windows")

    def __init__(self, label: str, windows: tuple[FixedWindow, ...]) -> None:
        self.label, self.windows = label, windows
        self.refusal: Injected | None = None

    def __repr__(self) -> str:
        return f"<Account {self.label} {list(self.windows)}>"


class Accounts:
    """All tokens that have called, or that the sandbox was told of.

    Args:
        limit, window: requests per account and window of so many seconds; a limit of None is no window.
        app_limit, app_window: the same per app.
        user_day_limit: requests per account and 24 hours.
        aligned: windows start at multiples of their length, and not with their first request.
        accepted: the only tokens that are accepted, or None for any.
        apps: the app of a token; a token without one is an app of its own.
    """

    def __init__(
        self,
        *,
        limit: int | None,
        window: float,
        app_limit: int | None,
        app_window: float,
        user_day_limit: int | None,
        aligned: bool,
        accepted: Iterable[str] | None,
        apps: Mapping[str, str] | None,
    ) -> None:
        self._limit, self._window, self._user_day_limit = limit, window, user_day_limit
        self._app_limit, self._app_window, self._aligned = app_limit, app_window, aligned
        self._key = secrets.token_bytes(16)
        self._apps = {self._digest(token): app for token, app in (apps or {}).items()}
        self._app_windows: dict[str, FixedWindow] = {}
        self._accounts: dict[bytes, Account] = {}
        self._open_to_all = accepted is None
        self._everyone: Injected | None = None
        for token in accepted or ():
            self._add(self._digest(token))

    def __len__(self) -> int:
        return len(self._accounts)

    def known(self, authorization: str | None) -> Account | None:
        """The account of an `Authorization` header, or None where it is absent, odd or not accepted."""
        if authorization is None:
            return None
        match = _BEARER.fullmatch(authorization) or _OAUTH1.match(authorization)
        if match is None:
            return None
        digest = self._digest(match[1])
        account = self._accounts.get(digest)
        return self._add(digest) if account is None and self._open_to_all else account

    def of(self, token: str) -> Account:
        """The account of a token, made when it is new.

        Raises:
            ConfigurationError: only certain tokens are accepted, and this is none of them.
        """
        digest = self._digest(token)
        account = self._accounts.get(digest)
        if account is None and not self._open_to_all:
            raise ConfigurationError("the sandbox does not accept this token: see its option token=")
        return account or self._add(digest)

    def renew(self, old: str, new: str) -> None:
        """A second token for the same user, as a refresh brings: it shares the windows of the old one."""
        windows = self.of(old).windows
        digest = self._digest(new)
        account = self._accounts.get(digest) or self._add(digest)
        account.windows = windows

    def admit(self, token: str, account: Account | None) -> Account:
        """Accept a token, of a user whose account is known already or (None) of a new one."""
        digest = self._digest(token)
        if account is None:
            return self._add(digest)
        self._accounts[digest] = account
        return account

    def refusal(self, account: Account) -> Injected | None:
        """What an account is refused with, if anything."""
        return account.refusal or self._everyone

    def refuse(self, entry: Injected, token: str | None) -> None:
        """Refuse a token, or all, with a fault."""
        if token is None:
            self._everyone = entry
        else:
            self.of(token).refusal = entry

    def heal(self, token: str | None) -> None:
        """Refuse a token, or all, no longer."""
        if token is None:
            self._everyone = None
        for account in self._accounts.values() if token is None else (self.of(token),):
            account.refusal = None

    def _add(self, digest: bytes) -> Account:
        windows: list[FixedWindow] = []
        if self._limit is not None:
            windows.append(FixedWindow("user-15min", self._limit, self._window, aligned=self._aligned))
        if self._user_day_limit is not None:
            windows.append(FixedWindow("user-24hour", self._user_day_limit, DAY, aligned=self._aligned))
        if self._app_limit is not None:
            windows.append(self._app_window_of(digest, self._app_limit))
        account = Account(f"token-{len(self._accounts) + 1}", tuple(windows))
        self._accounts[digest] = account
        return account

    def _app_window_of(self, digest: bytes, limit: int) -> FixedWindow:
        app = self._apps.get(digest)
        fresh = FixedWindow("app-24hour", limit, self._app_window, aligned=self._aligned)
        return fresh if app is None else self._app_windows.setdefault(app, fresh)

    def _digest(self, token: str) -> bytes:
        if not isinstance(token, str) or not token:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError("a token of the sandbox must be text, and not empty")
        return hashlib.blake2b(token.encode("utf-8", "surrogateescape"), key=self._key, digest_size=16).digest()
