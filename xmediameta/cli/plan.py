"""`plan`: what `apply` would send, what that costs, and how long it takes. Nothing is sent, and no journal changes."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from xmediameta.applying.checking import Checked, refusal
from xmediameta.applying.keeping import Keeping, fingerprint, keeping
from xmediameta.applying.kept import incoming
from xmediameta.applying.order import PRICE_DATE, Order
from xmediameta.applying.plan import AccountPlan, Plan, planned, rehearsed
from xmediameta.errors import JournalError, XMediaMetaError
from xmediameta.ledger import Limits
from xmediameta.limits import WindowName
from xmediameta.text import counted, printable

from .auth import credentials, without_credential
from .check import Faults
from .looping import run_in_loop
from .opening import goes_nowhere, opened
from .options import ApplyOptions
from .say import Reporter, lasting, money
from .sending import SANDBOX_LIMIT, SANDBOX_WINDOW
from .telling import tell_clashes

_ACCOUNTS_SHOWN: Final = 20
_WINDOWS: Final[dict[WindowName, str]] = {
    "user-15min": "the 15-minute window of an account",
    "user-24hour": "the 24-hour window of an account",
    "app-24hour": "the 24-hour window of the app",
}


def plan(options: ApplyOptions, reporter: Reporter) -> int:
    """Run the command; its exit code: 2 where `apply` would send nothing for what the input holds, else 0.

    Raises:
        click.UsageError: options that do not go together.
    """
    order = options.order
    local = goes_nowhere(order)
    with ExitStack() as stack:
        aside = Path(stack.enter_context(TemporaryDirectory(prefix="xmediameta-")))
        inputs = stack.enter_context(opened(order))
        kept = keeping(order, aside)
        faults = Faults(reporter)
        rows = incoming(order, inputs, faults)
        # Without a journal the rows are rehearsed on one that is not there.
        where = kept or Keeping(path=aside / "journal.db", name="plan", throw_away=True)
        known = None if kept is None or order.skip_invalid else fingerprint(order, inputs.names)
        try:
            found = run_in_loop(partial(rehearsed, order, where, rows, known), own=True)
        except JournalError as error:
            raise click.ClickException(error.message) from None
        faults.close()
        limits = Limits(user_15min=(SANDBOX_LIMIT, SANDBOX_WINDOW)) if order.sandbox else Limits()
        names = list(found.requests)
        seen = planned(order, kept, found, limits=limits, apps=_apps(options, names, reporter), local=local)
    if options.as_json:
        click.echo(msgspec.json.encode(seen))
    else:
        tell_clashes(found.loaded.clashes, reporter)
        _tell(order, seen, local=local)
    checked = Checked(
        valid=seen.total - faults.invalid, invalid=faults.invalid, unreadable=faults.unreadable, accounts={}
    )
    stop = refusal(order, checked)
    if stop is not None:
        reporter.error(stop.message.replace("nothing was sent", "nothing would be sent"))
        return 2
    return 0


def _apps(options: ApplyOptions, names: list[str | None], reporter: Reporter) -> dict[str | None, str]:
    """The apps of accounts, as far as their credentials are there already; a plan does without, and says which lack."""
    apps: dict[str | None, str] = {}
    if options.order.sandbox:
        return apps
    with suppress(click.ClickException, XMediaMetaError):
        given = credentials(options, reporter)
        for said in without_credential(names, given):
            reporter.warn(said)
        for name in names:
            if name in given and (app := given[name].app) is not None:
                apps[name] = app
    return apps


def _tell(order: Order, seen: Plan, *, local: bool) -> None:
    named = {
        "to send": seen.to_send, "applied before": seen.applied, "unchanged since they were sent": seen.unchanged,
        "failed before": seen.failed, "expired before": seen.expired, "invalid": seen.invalid,
    }  # fmt: skip
    parts = ", ".join(f"{value:,} {name}" for name, value in named.items() if value)
    click.echo(f"{counted(seen.total, 'row')}{': ' if parts else ''}{parts}")
    if seen.would_expire:
        turn = "its" if seen.would_expire == 1 else "their"
        click.echo(f"{counted(seen.would_expire, 'request')} would expire before {turn} turn, and would not be sent")
    repeat = (
        "1 row repeats another and costs" if seen.collapsed == 1 else f"{seen.collapsed:,} rows repeat others and cost"
    )
    shared = f" ({repeat} nothing)" if seen.collapsed else ""
    if local:
        cost = "nothing is sent to X"
    else:
        cost = f"{money(seen.cost_usd)}, retries aside ({order.price:g} USD a request, the price of {PRICE_DATE})"
    if seen.budget is not None and seen.budget < seen.requests:
        left = seen.requests - seen.budget
        shared += f", of which the budget pays for {seen.budget:,} and leaves {left:,} pending"
    click.echo(f"{counted(seen.requests, 'request')}{shared}: {cost}")
    if seen.requests:
        limits = "the sandbox's limits" if order.sandbox else "X's documented limits"
        bound = f"; what binds is {_WINDOWS[seen.binding]}" if seen.binding is not None else ""
        click.echo(f"about {lasting(seen.seconds)} at {limits}{bound}")
    if len(seen.by_account) > 1:
        _tell_accounts(seen)


def _tell_accounts(seen: Plan) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("account", overflow="fold")
    for name in ("requests", "would expire", "takes", "bound by"):
        table.add_column(name, justify="left" if name == "bound by" else "right", no_wrap=True)

    def slowest(item: tuple[str, AccountPlan]) -> tuple[float, str]:
        return -item[1].seconds, item[0]

    for name, one in sorted(seen.by_account.items(), key=slowest)[:_ACCOUNTS_SHOWN]:
        expire = f"{one.would_expire:,}" if one.would_expire else ""
        shown = printable(name, 80) if name else "(none named)"
        table.add_row(shown, f"{one.requests:,}", expire, lasting(one.seconds), one.binding or "")
    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 240
    console.print(table)
    if (more := len(seen.by_account) - _ACCOUNTS_SHOWN) > 0:
        click.echo(f"and {counted(more, 'more account')}")
