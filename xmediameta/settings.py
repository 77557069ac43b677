"""The options of a client, by name and checked."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Final, cast

from .accounts import Auth, AuthCallable, as_credential
from .errors import ConfigurationError
from .hooks import HookOptions

if TYPE_CHECKING:
    from .attempts import RetryPolicy
    from .credentials import Credential
    from .gate import Pace
    from .ledger import Limits

X_API: Final = "https://api.x.com"
_PACES: Final = ("burst", "even")


class ClientOptions(HookOptions, total=False):
    """What `Client` takes beside its auth; see there."""

    base_url: str
    concurrency: int
    timeout: float | None
    pace: Pace
    retry: RetryPolicy | None
    limits: Limits | None
    reserve: int
    strict: bool
    allow_insecure: bool
    trust_env: bool


def check_listeners(listeners: Mapping[str, object]) -> None:
    """Refuse what listens for nothing.

    Raises:
        ConfigurationError: names the option.
        TypeError: there is no such listener.
    """
    for name, listener in listeners.items():
        if name not in HookOptions.__annotations__:
            raise TypeError(f"there is no listener {name!r}")
        if listener is not None and not callable(listener):
            raise ConfigurationError(f"{name} must be a function, not {type(listener).__name__}")


def checked_auth(auth: Auth | AuthCallable | None, kind: str) -> Auth | AuthCallable:
    """The auth, with a token made a credential.

    Args:
        auth: as `veiled` returned it.
        kind: the name of its type.

    Raises:
        ConfigurationError: it cannot sign anything; nothing of it is echoed.
    """
    if auth is None:
        raise ConfigurationError(f"auth must be a token, a credential, a mapping or an async callable, not {kind}")
    if isinstance(auth, str):
        return as_credential(auth)
    if isinstance(auth, Mapping):
        if not auth:
            raise ConfigurationError("auth is an empty mapping: it must name at least one account")
        mapping = cast("Mapping[str | None, str | Credential]", auth)
        for name in mapping:
            as_credential(mapping[name])  # and no name for it, which a traceback would print
        return mapping
    return auth if callable(auth) else as_credential(auth)


def check_whole(name: str, value: object, least: int) -> None:
    """Refuse what is not a whole number of at least so much.

    Raises:
        ConfigurationError: names the option.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigurationError(f"{name} must be a whole number from {least}, not {value!r}")


def check_seconds(name: str, value: object) -> None:
    """Refuse what is not a number of seconds.

    Raises:
        ConfigurationError: names the option.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < inf:
        raise ConfigurationError(f"{name} must be a number of seconds from 0, not {value!r}")


def check_coalesce(coalesce: object) -> None:
    """Refuse what is no way to make one update of several.

    Raises:
        ConfigurationError: says what there is.
    """
    if coalesce not in (None, "last", "merge"):
        raise ConfigurationError(f"coalesce must be 'last', 'merge' or None, not {coalesce!r}")


def check_options(*, concurrency: object, timeout: object, pace: object, reserve: object) -> None:
    """Refuse options that make no sense.

    Raises:
        ConfigurationError: names the option.
    """
    check_whole("concurrency", concurrency, 1)
    check_whole("reserve", reserve, 0)
    if timeout is not None and not _above_zero(timeout):
        raise ConfigurationError(f"timeout must be a number of seconds above 0, or None, not {timeout!r}")
    if not (pace is None or (isinstance(pace, str) and pace in _PACES) or _above_zero(pace)):
        raise ConfigurationError(f"pace must be 'burst', 'even', a number of starts a second, or None, not {pace!r}")


def _above_zero(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf
