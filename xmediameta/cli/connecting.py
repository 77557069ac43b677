"""The commands that know accounts: `login` and `accounts`. What they do is imported when they run."""

from __future__ import annotations

from typing import Any

import click

from .options import X_API, Duration, telling


@click.command("login")
@click.option("--account", metavar="NAME", help="What rows call the account; by default its name on X.")
@click.option("--user", metavar="NAME", help="Its name on X, where that is not what rows call it.")
@click.option(
    "--client-id",
    metavar="ID",
    envvar="XMEDIAMETA_CLIENT_ID",
    help="Of your app in X's console; or XMEDIAMETA_CLIENT_ID. Without it, you are asked.",
)
@click.option("--no-browser", is_flag=True, help="For a machine without one: paste the address that it ends at.")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    envvar="XMEDIAMETA_LOGIN_PORT",
    default=8778,
    show_default=True,
    help="Where the browser comes back to, a part of the callback URL; or XMEDIAMETA_LOGIN_PORT.",
)
@click.option("--wait", "patience", type=Duration(), default=600.0, show_default="10m", help="For the browser.")
@click.option(
    "--base-url", metavar="URL", envvar="XMEDIAMETA_BASE_URL", default=X_API, show_default=True, help="Where X is."
)
@telling
def login_command(**given: Any) -> int:
    """Log an account in, once: its token is kept on this machine, and renewed for as long as it is used.

    The secret of a confidential app is asked for, or taken from XMEDIAMETA_CLIENT_SECRET.
    """
    from .login import Wish, login  # noqa: PLC0415 - brings aiohttp, which --help does without
    from .say import Reporter  # noqa: PLC0415 - brings rich

    reporter = Reporter(quiet=given["quiet"], verbose=min(given["verbose"], 2), log_format=given["log_format"])
    wish = Wish(
        browser=not given["no_browser"], **{name: given[name] for name in Wish.__struct_fields__ if name in given}
    )
    return login(wish, reporter)


@click.group("accounts", invoke_without_command=True)
@click.pass_context
def accounts_command(context: click.Context) -> int | None:
    """The accounts that are logged in on this machine; without a command, list them."""
    return context.invoke(list_command) if context.invoked_subcommand is None else None


@accounts_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON objects, one a line.")
def list_command(*, as_json: bool = False) -> int:
    """List the accounts: kind, scopes, when the token ends, when it was last used, whether it is good."""
    from .accounts import list_accounts  # noqa: PLC0415 - brings rich, which --help does without

    return list_accounts(as_json=as_json)


@accounts_command.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def remove_command(names: tuple[str, ...]) -> int:
    """Forget accounts: their tokens are deleted here. X is not told; an app is revoked in the account's settings."""
    from .accounts import remove_accounts  # noqa: PLC0415 - brings rich, which --help does without

    return remove_accounts(names)


@accounts_command.command("check")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def check_command(names: tuple[str, ...]) -> int:
    """Renew the tokens that have ended or soon will, and say which accounts must be logged in again (exit code 4)."""
    from .accounts import check_accounts  # noqa: PLC0415 - brings aiohttp, which --help does without

    return check_accounts(names)


COMMANDS = (login_command, accounts_command)
