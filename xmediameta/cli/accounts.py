"""`accounts`: who is logged in on this machine, and whether their tokens are good. No secret is shown."""

from __future__ import annotations

import difflib
import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xmediameta.credentials import BearerToken, Credential, TokenStore
from xmediameta.errors import AuthError, RefreshFailed
from xmediameta.text import printable
from xmediameta.tokens.endpoint import TokenEndpoint
from xmediameta.tokens.keeper import StoredToken
from xmediameta.tokens.oauth2 import OAuth2Token
from xmediameta.tokens.records import Notes

from .auth import account_store
from .looping import run_in_loop
from .options import X_API
from .say import lasting

Health = Literal["good", "renewed when used", "used until X refuses it", "log in again"]

# A token that ends sooner is renewed by `accounts check`, in seconds.
_SOON: Final = 60.0
_STYLES: Final = {"log in again": "red", "good": "green"}


class Shown(Struct, frozen=True, kw_only=True):
    """One account, as it is shown.

    Attributes:
        app: the client id of the app, or its name.
        scopes: empty where they are not known.
        expires_at: when the access token ends, in Unix seconds, or None where it does not or that is not known.
        trouble: why somebody must log in again.
    """

    account: str
    kind: str
    app: str | None
    scopes: tuple[str, ...]
    expires_at: float | None
    used_at: float | None
    health: Health
    trouble: str | None


def list_accounts(*, as_json: bool) -> int:
    """List them; the exit code.

    Raises:
        AuthError: the store cannot be read.
    """
    store = account_store()
    now = time.time()
    found = run_in_loop(lambda: _all(store, now), own=True)
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(_plain(one)))
    elif found:
        Console(markup=False, highlight=False, emoji=False).print(_table(found, now))
    else:
        click.echo("nobody is logged in: type `xmediameta login`", err=True)
    return 0


def remove_accounts(names: Sequence[str]) -> int:
    """Forget them; the exit code.

    Raises:
        click.ClickException: one of them is not there; nothing was removed then.
        AuthError: the store cannot be written to.
    """
    store = account_store()
    run_in_loop(lambda: _remove(store, names), own=True)
    return 0


def check_accounts(names: Sequence[str]) -> int:
    """Renew what has ended or soon will; 4 where somebody must log in, 3 where it may go better later, else 0.

    Raises:
        click.ClickException: there is no such account.
        AuthError: the store cannot be read.
    """
    store = account_store()
    return run_in_loop(lambda: _check(store, names), own=True)


async def _all(store: TokenStore, now: float) -> list[Shown]:
    found: list[Shown] = []
    for name in await store.names():
        token = await store.load(name)
        if token is not None:
            found.append(_shown(name, token, await _notes(store, name), now))
    return found


async def _notes(store: TokenStore, name: str) -> Notes:
    notes = getattr(store, "notes", None)
    return Notes() if notes is None else await notes(name)


def _shown(name: str, token: Credential, notes: Notes, now: float) -> Shown:
    two = token if isinstance(token, OAuth2Token) else None
    ends = None if two is None else two.expires_at
    health: Health = "good"
    if notes.trouble is not None:
        health = "log in again"
    elif ends is None:
        # An OAuth 1.0a token does not end; of others without a time nobody knows.
        health = "used until X refuses it" if two is not None or isinstance(token, BearerToken) else "good"
    elif ends <= now:
        health = "renewed when used" if two is not None and two.refresh_token is not None else "log in again"
    return Shown(
        account=name,
        kind="OAuth 2.0" if two is not None else "bearer" if isinstance(token, BearerToken) else "OAuth 1.0a",
        app=None if token.app is None else str(token.app),
        scopes=() if two is None else two.scopes,
        expires_at=ends,
        used_at=notes.used_at,
        health=health,
        trouble=notes.trouble,
    )


def _plain(one: Shown) -> dict[str, object]:
    """With times as text, and only what is safe to show."""
    return {
        **msgspec.structs.asdict(one),
        "expires_at": None if one.expires_at is None else _moment(one.expires_at),
        "used_at": None if one.used_at is None else _moment(one.used_at),
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _table(found: Sequence[Shown], now: float) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for header in ("account", "kind", "scopes", "token ends", "last used", "health"):
        table.add_column(header, overflow="fold")
    for one in found:
        health = one.health if one.trouble is None else f"{one.health}: {printable(one.trouble, 200)}"
        table.add_row(
            Text(printable(one.account, 100)),
            one.kind,
            Text(printable(" ".join(one.scopes) or "-", 200)),
            _when(one.expires_at, now),
            _when(one.used_at, now),
            Text(health, style=_STYLES.get(one.health, "")),
        )
    return table


def _when(moment: float | None, now: float) -> str:
    if moment is None:
        return "-"
    return f"in {lasting(moment - now)}" if moment > now else f"{lasting(now - moment)} ago"


async def _chosen(store: TokenStore, names: Sequence[str]) -> Sequence[str]:
    known = await store.names()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"; did you mean {printable(near[0], 60)!r}?" if near else ""
            raise click.ClickException(f"no account {printable(name, 60)!r} is logged in here{meant}")
    return names or known


async def _remove(store: TokenStore, names: Sequence[str]) -> None:
    for name in await _chosen(store, names):
        await store.remove(name)
        click.echo(f"{printable(name, 100)}: forgotten")


async def _check(store: TokenStore, names: Sequence[str]) -> int:
    code = 0
    for name in await _chosen(store, names):
        said = ""
        try:
            said = await _checked(store, name)
        except RefreshFailed as error:
            code, said = max(code, 3), f"not renewed: {error.message}"
        except AuthError as error:
            code, said = 4, f"{error.message}. Type: xmediameta login --account {shlex.quote(printable(name, 200))}"
        click.echo(f"{printable(name, 100)}: {said}")
    return code


async def _checked(store: TokenStore, name: str) -> str:
    """Renew a token if it is due; what to say of it.

    Raises:
        AuthError: it cannot be renewed.
    """
    token = await StoredToken.load(store, name)
    if token is None:
        raise click.ClickException(f"the account {printable(name, 60)!r} was removed meanwhile")
    now = time.time()
    ends = token.expires_at
    renewed = ends is not None and ends - now < _SOON and token.renewable
    if renewed:
        issuer = token.token.issuer if isinstance(token.token, OAuth2Token) else None
        await token.renew(token.authorization(), TokenEndpoint(issuer or X_API), time.time)
    shown = _shown(name, token.token, Notes() if renewed else await _notes(store, name), time.time())
    if shown.health == "log in again":
        raise AuthError(shown.trouble or "its token has ended, and there is no refresh token")
    until = "" if shown.expires_at is None else f", until {_moment(shown.expires_at)}"
    return f"{'renewed' if renewed else shown.health}{until}"
