"""Whose tokens a command uses: of the environment, of files, or of accounts that are logged in on this machine.

A token never comes from the command line, where others could see it.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import click

from xmediameta.address import checked_base_url
from xmediameta.credentials import BearerToken, Credential, TokenStore
from xmediameta.errors import AuthError, ConfigurationError
from xmediameta.text import printable
from xmediameta.tokens.files import ENVIRONMENT, KEYRING, FileStore
from xmediameta.tokens.keeper import StoredToken
from xmediameta.tokens.oauth2 import OAuth2Token
from xmediameta.tokens.ring import KeyringStore
from xmediameta.tokens.stores import only_name

from .looping import run_in_loop
from .options import Connection
from .say import Reporter

_LONGEST: Final = 16_384


def account_store() -> TokenStore:
    """Where accounts are logged in: the person's folder, that of `XMEDIAMETA_ACCOUNTS`, or the keyring if it says so.

    Raises:
        MissingExtra: the keyring needs the extra [keyring].
    """
    if os.environ.get(ENVIRONMENT) == KEYRING:
        return KeyringStore()
    return FileStore()


class Credentials(Mapping[str | None, Credential]):
    """Credentials by account; None is for updates that name no account.

    Those that were given for this command come first, then the accounts that are logged in. What is kept of these is
    read when it is asked for, which is outside of a running loop.

    Args:
        given: for this command.
        store: of the others.
        names: the accounts in it.
        base_url: where requests go: a token that came from elsewhere is not sent there.
    """

    def __init__(
        self, given: Mapping[str | None, BearerToken], store: TokenStore, names: Collection[str], base_url: str
    ) -> None:
        self._given, self._store, self._base_url = given, store, base_url
        kept: set[str | None] = set(names)
        if len(kept) == 1:
            kept.add(None)  # no other can be meant
        self._names: frozenset[str | None] = frozenset(given) | kept

    def __getitem__(self, name: str | None) -> Credential:
        if name in self._given:
            return self._given[name]
        if name not in self._names:
            raise KeyError(name)
        token = run_in_loop(partial(self._load, name), own=True)
        issuer = token.token.issuer if isinstance(token.token, OAuth2Token) else None
        if issuer is not None and issuer != self._base_url:
            raise click.UsageError(
                f"the account {_shown(token.name)} was logged in at {printable(issuer, 100)}, and its token is not "
                f"sent to {printable(self._base_url, 100)}: log it in there, or pass another --base-url"
            )
        return token

    def note_used(self, names: Iterable[str | None]) -> None:
        """Note that a run takes these accounts now, for `xmediameta accounts`."""
        run_in_loop(partial(self._note_used, [name for name in names if name not in self._given]), own=True)

    async def _load(self, name: str | None) -> StoredToken:
        try:
            token = await StoredToken.load(self._store, name)
        except AuthError as error:
            raise click.UsageError(error.message) from None
        if token is None:
            raise click.UsageError(f"the account {_shown(name)} was removed meanwhile; log it in again")
        return token

    async def _note_used(self, names: list[str | None]) -> None:
        note = getattr(self._store, "note", None)
        if note is None:
            return
        for name in names:
            kept = await only_name(self._store) if name is None else name
            with suppress(AuthError):  # where the folder cannot be written to, a renewal will tell of it
                async with self._store.lock(kept):
                    await note(kept)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str | None]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<Credentials of {len(self._names)} accounts>"


def credentials(options: Connection, reporter: Reporter) -> Credentials:
    """The credentials of this command.

    Raises:
        click.UsageError: none at all, or one that cannot be read; says what to set, and shows no part of a token.
        ConfigurationError: the base URL cannot be used.
    """
    found: dict[str | None, BearerToken] = {}
    if options.token_file is not None:
        found[None] = _from_file("--token-file", options.token_file, reporter)
    elif os.environ.get("XMEDIAMETA_TOKEN", "").strip():
        found[None] = _usable("XMEDIAMETA_TOKEN", os.environ["XMEDIAMETA_TOKEN"])
    for name, source in options.account:
        shown = f"--account {printable(name, 60)}"
        if name in found:
            raise click.UsageError(f"{shown} is given twice")
        if source.startswith("env:"):
            variable = source.removeprefix("env:")
            if not os.environ.get(variable, "").strip():
                raise click.UsageError(f"{shown}: the environment variable is not set")
            found[name] = _usable(shown, os.environ[variable])
        else:
            found[name] = _from_file(shown, source, reporter)
    store = account_store()
    try:
        names = run_in_loop(store.names, own=True)
    except AuthError as error:
        raise click.UsageError(error.message) from None
    if not found and not names:
        raise click.UsageError(
            "no token: type `xmediameta login`, set XMEDIAMETA_TOKEN to a user token with the scope media.write, or "
            "pass --token-file PATH; with --sandbox no token is needed and nothing is sent to X"
        )
    insecure = os.environ.get("XMEDIAMETA_ALLOW_INSECURE") == "1"
    return Credentials(found, store, names, checked_base_url(options.base_url, allow_insecure=insecure))


def without_credential(accounts: Collection[str | None], given: Collection[str | None]) -> list[str]:
    """What to say about accounts that rows name and no credential serves."""
    said: list[str] = []
    lacking = sorted(account for account in accounts if account is not None and account not in given)
    named = [printable(account, 60) for account in lacking]
    if named:
        more = f" and {len(named) - 5:,} more" if len(named) > 5 else ""
        known = [name for name in given if name is not None]
        near = difflib.get_close_matches(lacking[0], known, n=1)
        meant = f"; did you mean {printable(near[0], 60)}?" if near else ""
        said.append(
            f"no credential for the account{'s' if len(named) > 1 else ''} {', '.join(named[:5])}{more}: "
            f"type `xmediameta login --account {named[0]}`, or pass --account {named[0]}=FILE or "
            f"--account {named[0]}=env:VAR{meant}"
        )
    if None in accounts and None not in given:
        several = ", and several accounts are logged in" if len(given) > 1 else ""
        said.append(
            f"some rows name no account, and there is no token for these{several}: set XMEDIAMETA_TOKEN or --token-file"
        )
    return said


def _from_file(shown: str, path: str, reporter: Reporter) -> BearerToken:
    """The token on the first line of a file. The path is not echoed where it may be a token itself."""
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            first = file.readline(_LONGEST)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise click.UsageError(
            f"{shown}: the file cannot be read ({reason}); it must be a path, since a token itself is never given "
            "on the command line"
        ) from None
    if os.name == "posix" and stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        reporter.warn(f"{shown}: other users of this machine can read the file; chmod 600 it")
    return _usable(shown, first.decode("utf-8-sig", "replace"))


def _usable(shown: str, token: str) -> BearerToken:
    try:
        return BearerToken(token)
    except ConfigurationError as error:
        rule = error.message
    raise click.UsageError(f"{shown}: {rule}")


def _shown(name: str | None) -> str:
    return "of rows that name none" if name is None else printable(name, 80)
