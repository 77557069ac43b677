"""Tokens, from the environment and from files, and never from the command line, where others could see them."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

import click

from xmediameta.credentials import BearerToken
from xmediameta.errors import ConfigurationError
from xmediameta.text import printable

from .options import Connection
from .say import Reporter

_LONGEST: Final = 16_384


def credentials(options: Connection, reporter: Reporter) -> dict[str | None, BearerToken]:
    """The credentials that were given, by account; None is for updates that name no account.

    Raises:
        click.UsageError: none at all, or one that cannot be read; says what to set, and shows no part of a token.
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
    if not found:
        raise click.UsageError(
            "no token: set XMEDIAMETA_TOKEN to a user token with the scope media.write, or pass --token-file PATH; "
            "with --sandbox no token is needed and nothing is sent to X"
        )
    return found


def without_credential(accounts: Collection[str | None], given: Collection[str | None]) -> list[str]:
    """What to say about accounts that rows name and no credential serves."""
    said: list[str] = []
    named = sorted(printable(account, 60) for account in accounts if account is not None and account not in given)
    if named:
        more = f" and {len(named) - 5:,} more" if len(named) > 5 else ""
        said.append(
            f"no credential for the account{'s' if len(named) > 1 else ''} {', '.join(named[:5])}{more}: "
            f"pass --account {named[0]}=FILE or --account {named[0]}=env:VAR"
        )
    if None in accounts and None not in given:
        said.append("some rows name no account, and there is no token for these: set XMEDIAMETA_TOKEN or --token-file")
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
