"""What a caller may give as `auth`, and what is said of accounts that are not in it."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping

from .credentials import BearerToken, Credential, TokenStore, veiled
from .errors import ConfigurationError
from .text import printable

Auth = str | Credential | Mapping[str | None, str | Credential] | Mapping[str, str | Credential] | TokenStore
AuthCallable = Callable[[str | None], Awaitable[str | Credential]]


def as_credential(given: object) -> Credential:
    """A credential from what a caller gave: a text is a bearer token.

    Raises:
        ConfigurationError: neither a text nor a credential; nothing of it is echoed.
    """
    kind = type(given).__name__
    veil: object = veiled(given)
    given = None  # so that no traceback shows it
    if isinstance(veil, str):
        return BearerToken(veil)
    if isinstance(veil, Credential):
        return veil
    raise ConfigurationError(f"a credential must be a token or a credential object, not {kind}")


def not_among(names: list[str], name: str | None) -> str:
    """What is wrong with an account's name."""
    if name is None:
        if not names:
            return "is missing, and no account is known that could stand in"
        return "is missing: this client has several accounts, and none of them is the default"
    near = difflib.get_close_matches(name, names, n=1)
    return f"{printable(name, 60)!r} is not known" + (f"; did you mean {printable(near[0], 60)!r}?" if near else "")
