"""What a request is signed with. Nothing here shows its secret: not printed, not pickled, not in a traceback."""

from __future__ import annotations

from typing import Final, NoReturn, Protocol, runtime_checkable

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
        self._authorization = Secret("Bearer " + _usable(token))
        self.app = app

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


def _usable(token: object) -> str:
    if not isinstance(token, str):
        raise ConfigurationError(f"a token must be text, not {type(token).__name__}")
    stripped = token.strip()
    rule = ""
    if not stripped:
        rule = "it is empty"
    elif len(stripped) > _LONGEST_TOKEN:
        rule = f"it has {len(stripped):,} characters"
    elif not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        rule = "it holds a space, a line break, a control character or one that is not ASCII"
    if rule:
        raise ConfigurationError(f"the token cannot be used: {rule}")
    return stripped
