"""What a request is signed with. Nothing here shows its secret: not printed, not pickled, not in a traceback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NoReturn, Protocol, runtime_checkable

from .errors import ConfigurationError

_LONGEST_TOKEN: Final = 8192


class Secret(str):
    """A text that prints as `****`, so that no repr of a container or of a frame's locals shows it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'****'"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


@runtime_checkable
class Credential(Protocol):
    """What signs requests for one account.

    Attributes:
        app: a name for the X app that the token belongs to; accounts of one app share its 24-hour window.
    """

    @property
    def app(self) -> str | None:
        """The app's name, or None: the account then has an app of its own."""
        ...

    def authorization(self) -> Secret:
        """The value of the `Authorization` header."""
        ...


@runtime_checkable
class RequestSigner(Credential, Protocol):
    """A credential that signs each request anew, as OAuth 1.0a does."""

    def sign(self, method: str, url: str) -> Secret:
        """The value of the `Authorization` header of one request."""
        ...


@runtime_checkable
class TokenStore(Protocol):
    """Where the tokens of accounts are kept. A name is an account's, or None for that of updates that name none."""

    async def load(self, name: str | None) -> Credential | None:
        """What is kept for an account now, or None."""
        ...

    async def save(self, name: str | None, token: Credential) -> None:
        """Keep it, in place of what was kept; it is safe when this returns."""
        ...

    async def names(self) -> Sequence[str]:
        """The accounts, as far as the store can tell."""
        ...

    async def remove(self, name: str | None) -> bool:
        """Keep nothing for an account any more; whether there was anything."""
        ...

    def lock(self, name: str | None) -> AbstractAsyncContextManager[None]:
        """Held while a token is renewed, by one at a time, in whatever process."""
        ...


class BearerToken:
    """An OAuth 2.0 user token with the scope `media.write`. An app-only token does not do.

    Args:
        token: the access token, without the word `Bearer`; surrounding white space is dropped.
        app: a name for the app that the token belongs to, shared by its accounts.

    Raises:
        ConfigurationError: an empty token, or one with characters that no header can carry; the token is not echoed.
    """

    __slots__ = ("_authorization", "app")

    def __init__(self, token: str, *, app: str | None = None) -> None:
        self.app = app
        # Of the frames that a traceback shows none is to hold the token as it was given.
        if not isinstance(token, str):  # pyright: ignore[reportUnnecessaryIsInstance] - a caller may not check types
            kind, token = type(token).__name__, ""
            raise ConfigurationError(f"a token must be text, not {kind}")
        token = Secret(token)
        rule = broken_rule(token)
        if rule:
            raise ConfigurationError(f"the token cannot be used: {rule}")
        self._authorization = Secret("Bearer " + token.strip())

    def authorization(self) -> Secret:
        """The value of the `Authorization` header."""
        return self._authorization

    def __repr__(self) -> str:
        return "BearerToken('****')" if self.app is None else f"BearerToken('****', app={self.app!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BearerToken) and (self._authorization, self.app) == (other._authorization, other.app)

    def __hash__(self) -> int:
        return hash((self._authorization, self.app))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is not pickled: pass the token on as you would any secret")


class Vault(Mapping[Any, Any]):
    """A caller's own mapping of account names to tokens or credentials, as it is now; it does not print them."""

    __slots__ = ("_given",)

    def __init__(self, given: Mapping[Any, Any]) -> None:
        self._given = given

    def __getitem__(self, name: Any) -> Any:
        return self._given[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __repr__(self) -> str:
        return f"<Vault of {len(self._given)} accounts>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class StoreAuth:
    """A store as an async callable would be: it is asked for an account when that is first used."""

    __slots__ = ("store",)

    def __init__(self, store: TokenStore) -> None:
        self.store = store

    async def __call__(self, name: str | None) -> Credential:
        """What is kept for an account; it is not renewed by this."""
        token = await self.store.load(name)
        if token is None:
            raise LookupError("nothing is kept for the account")
        return token

    def __repr__(self) -> str:
        return f"<StoreAuth {type(self.store).__name__}>"


def veiled(auth: object) -> Any:
    """What a caller gave as `auth`, so that no frame of a traceback prints it; None for what is nothing of use."""
    if isinstance(auth, str):
        return Secret(auth)
    if isinstance(auth, Mapping):
        return Vault(auth)  # pyright: ignore[reportUnknownArgumentType] - any mapping does
    if isinstance(auth, TokenStore):
        return StoreAuth(auth)
    return auth if callable(auth) or isinstance(auth, Credential) else None


def broken_rule(token: Secret) -> str:
    """Why a token cannot stand in a header, or an empty text."""
    stripped = Secret(token.strip())
    if not stripped:
        return "it is empty"
    if len(stripped) > _LONGEST_TOKEN:
        return f"it has {len(stripped):,} characters"
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        return "it holds a space, a line break, a control character or one that is not ASCII"
    return ""
