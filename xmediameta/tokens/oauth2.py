"""An OAuth 2.0 user token: a pair of tokens, when the first of them ends, and the app that it was given to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.util import find_spec
from math import isfinite
from typing import Any, Final, NoReturn, Self

from xmediameta.credentials import Secret, broken_rule
from xmediameta.errors import ConfigurationError, MissingExtra
from xmediameta.text import printable

_TEXTS = ("access_token", "refresh_token", "client_id", "client_secret", "app", "issuer")


class OAuth2Token:
    """An access token of a user, with what renews it. It is not changed: a renewal brings another.

    Args:
        access_token: with the scope `media.write`.
        refresh_token: good for one use; None for a token that is not renewed.
        client_id: of the app in X's developer console; needed with a refresh token.
        client_secret: of a confidential app; None for a public one.
        expires_at: when the access token ends: an aware datetime, Unix seconds, or None where that is not known. It is
            then used until X answers 401.
        lifetime: seconds for which it lives in all, as far as that is known: it is renewed a tenth of that ahead of
            its end, and at most a minute.
        scopes: what it may do, as far as that is known.
        app: a name for the app, shared by its accounts; by default the client id.
        issuer: the base URL that it comes from. It is then sent to no other.

    Raises:
        ConfigurationError: a part that cannot be used; no part is echoed.
        MissingExtra: a refresh token needs the extra [oauth].
    """

    __slots__ = (
        "_authorization", "access_token", "app", "client_id", "client_secret", "expires_at", "issuer", "lifetime",
        "refresh_token", "scopes",
    )  # fmt: skip

    def __init__(
        self,
        access_token: str,
        refresh_token: str | None = None,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        expires_at: float | datetime | None = None,
        lifetime: float | None = None,
        scopes: Iterable[str] = (),
        app: str | None = None,
        issuer: str | None = None,
    ) -> None:
        # Of the frames that a traceback shows none is to hold a token as it was given.
        access_token = Secret(access_token) if isinstance(access_token, str) else access_token  # pyright: ignore[reportUnnecessaryIsInstance]
        refresh_token = Secret(refresh_token) if isinstance(refresh_token, str) else refresh_token
        client_secret = Secret(client_secret) if isinstance(client_secret, str) else client_secret
        self.access_token: Secret = _checked("access token", access_token)
        self.refresh_token: Secret | None = None if not refresh_token else _checked("refresh token", refresh_token)
        self.client_secret: Secret | None = None if not client_secret else _checked("client secret", client_secret)
        self.client_id = None if not client_id else str(_checked("client id", Secret(client_id)))
        if self.refresh_token is not None:
            if self.client_id is None:
                raise ConfigurationError("a refresh token needs the client_id of the app that it was given to")
            if find_spec("oauthlib") is None:
                raise MissingExtra("renewing an OAuth 2.0 token", "oauth")
        self.expires_at = _moment(expires_at)
        self.lifetime = _moment(lifetime, "lifetime is seconds, or None")
        self.scopes = tuple(scopes)
        self.app = app if app is not None else self.client_id
        self.issuer = None if issuer is None else issuer.rstrip("/")
        self._authorization = Secret("Bearer " + self.access_token)

    def authorization(self) -> Secret:
        """The value of the `Authorization` header."""
        return self._authorization

    def renewed(
        self,
        access_token: str,
        refresh_token: str | None,
        *,
        expires_at: float | None,
        lifetime: float | None = None,
        scopes: Iterable[str] | None = None,
    ) -> OAuth2Token:
        """The same account's next pair.

        Args:
            refresh_token: None where the server gave no other: the one that was used stays good (RFC 6749, section 6).
            scopes: None where the server named none: they are as before.
        """
        access_token, refresh_token = Secret(access_token), Secret(refresh_token or self.refresh_token or "")
        return OAuth2Token(
            access_token,
            refresh_token,
            client_id=self.client_id,
            client_secret=self.client_secret,
            expires_at=expires_at,
            lifetime=lifetime,
            scopes=self.scopes if scopes is None else scopes,
            app=self.app,
            issuer=self.issuer,
        )

    def as_dict(self) -> dict[str, Any]:
        """All its parts, for a store of your own; the secrets among them print as `****`, and are text all the same."""
        parts: dict[str, Any] = {name: getattr(self, name) for name in _TEXTS}
        parts |= {"expires_at": self.expires_at, "lifetime": self.lifetime, "scopes": list(self.scopes)}
        return {name: part for name, part in parts.items() if part not in (None, [])}

    @classmethod
    def from_dict(cls, parts: Mapping[str, Any]) -> Self:
        """The token from what `as_dict` gave.

        Raises:
            ConfigurationError: a part is missing or of another type; no part is echoed.
        """
        veiled: dict[str, Any] = {name: Secret(part) if isinstance(part, str) else part for name, part in parts.items()}
        parts = {}
        scopes: Any = veiled.get("scopes", ())
        odd = [name for name in _TEXTS if not isinstance(veiled.get(name), str | None)]
        if "access_token" not in veiled or odd or not isinstance(scopes, list | tuple):
            raise ConfigurationError(f"no OAuth 2.0 token: {', '.join(odd) or 'access_token'} is missing or no text")
        named: dict[str, Any] = {name: veiled.get(name) for name in _TEXTS}
        for plain in ("client_id", "app", "issuer"):
            named[plain] = None if named[plain] is None else str(named[plain])
        told = [str(scope) for scope in scopes]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        times: dict[str, Any] = {name: veiled.get(name) for name in ("expires_at", "lifetime")}
        return cls(scopes=told, **times, **named)

    def __repr__(self) -> str:
        parts = ["'****'"] + (["'****'"] if self.refresh_token is not None else [])
        for name in ("client_id", "expires_at", "app", "issuer"):
            value = getattr(self, name)
            if value is not None:
                parts.append(f"{name}={printable(value, 80)!r}" if isinstance(value, str) else f"{name}={value!r}")
        return f"OAuth2Token({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OAuth2Token) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash((self._authorization, self.refresh_token, self.app))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is not pickled: store its as_dict() as you would any secret")


def _checked(what: str, text: object) -> Secret:
    if not isinstance(text, str):
        kind, text = type(text).__name__, None
        raise ConfigurationError(f"the {what} must be text, not {kind}")
    text = Secret(text.strip())
    rule = broken_rule(text)
    if rule:
        raise ConfigurationError(f"the {what} cannot be used: {rule}")
    return text


_WHEN: Final = "expires_at is an aware datetime, Unix seconds, or None"


def _moment(given: object, rule: str = _WHEN) -> float | None:
    if isinstance(given, datetime) and rule is _WHEN:
        if given.tzinfo is None:
            raise ConfigurationError("expires_at needs a time zone")
        return given.timestamp()
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not isfinite(given):
        raise ConfigurationError(rule)
    return float(given)
