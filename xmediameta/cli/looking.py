"""The commands beside a run: those that look at one, and `template`. What they do is imported when they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from xmediameta.applying.order import PRICE, PRICE_DATE

from .options import Duration
from .template import template_command

_STATES = ("pending", "applied", "unchanged", "failed", "expired", "invalid")


def _of_a_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """The run, and the journal that it is in."""
    command = click.option(
        "--journal",
        metavar="PATH",
        envvar="XMEDIAMETA_JOURNAL",
        help="Where the runs are kept; or XMEDIAMETA_JOURNAL. By default the person's own journal.",
    )(command)
    return click.argument("run", required=False, metavar="[RUN]")(command)


_price = click.option(
    "--price",
    type=click.FloatRange(min=0),
    default=PRICE,
    show_default=True,
    help=f"USD a request; the default is X's price of {PRICE_DATE}.",
)


def _states(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """The states that `--only` names, each once."""
    names = [part.strip().lower() for part in value.split(",")] if value is not None else []
    for name in names:
        if name not in _STATES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(_STATES)}")
    return tuple(dict.fromkeys(names))


@click.command("status")
@_of_a_run
@click.option("--all", "every_run", is_flag=True, help="List all runs, the last one first.")
@click.option("--watch", is_flag=True, help="Follow the run until it ends.")
@click.option("--every", type=Duration(), help="How often to look with --watch; 1s on a terminal, else 10s.")
@_price
@click.option("--json", "as_json", is_flag=True, help="Print JSON objects, one a line.")
def status_command(
    run: str | None,
    journal: str | None,
    *,
    every_run: bool,
    watch: bool,
    every: float | None,
    price: float,
    as_json: bool,
) -> int:
    """Show how a run stands: counts, problems, what was spent, time left. Without RUN, the last one."""
    from . import status  # noqa: PLC0415 - brings SQLite and rich, which --help does without

    if every is not None and not (watch and every > 0):
        raise click.UsageError("--every is more than nothing, and goes with --watch")
    if every_run:
        if run is not None or watch:
            raise click.UsageError("--all takes no run, and excludes --watch")
        return status.list_runs(journal, price=price, as_json=as_json)
    if watch:
        return status.watch(run, journal, price=price, every=every, as_json=as_json)
    return status.status(run, journal, price=price, as_json=as_json)


@click.command("results")
@_of_a_run
@click.option(
    "--format",
    "kind",
    type=click.Choice(("jsonl", "csv", "xlsx")),
    help="By default what the name of --output says, else JSONL.",
)
@click.option("--output", metavar="PATH", default="-", help="A file, and not standard output.")
@click.option("--only", callback=_states, metavar="STATE,…", help=f"Only rows in these states: {', '.join(_STATES)}.")
def results_command(
    run: str | None, journal: str | None, *, kind: str | None, output: str, only: tuple[str, ...]
) -> int:
    """Write one row for each row of a run's input, in the order of the input, with what became of it."""
    from .export import export  # noqa: PLC0415 - brings SQLite, which --help does without

    return export(run, journal, kind=kind, output=output, only=only)


@click.command("report")
@_of_a_run
@click.option("--html", "output", required=True, metavar="PATH", help="The page to write; - is standard output.")
@_price
def report_command(run: str | None, journal: str | None, *, output: str, price: float) -> int:
    """Write a page to look at: a run over time, its windows, waits, outcomes and problems. It needs no network."""
    from .reporting import report  # noqa: PLC0415 - brings SQLite, which --help does without

    return report(run, journal, output=output, price=price)


COMMANDS = (status_command, results_command, report_command, template_command)
