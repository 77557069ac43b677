"""What `apply` says and asks: what a run has left to do, what that costs, and what came of it."""

from __future__ import annotations

import sys
from typing import Any

import click

from xmediameta.applying.course import Course, Stop
from xmediameta.applying.kept import Left
from xmediameta.applying.order import PRICE_DATE
from xmediameta.journal import Clashes
from xmediameta.readers import STDIN
from xmediameta.text import counted, printable

from .options import ApplyOptions
from .results import STDOUT
from .say import Reporter, lasting, money
from .sending import SANDBOX_LIMIT, SANDBOX_WINDOW


def tell_left(left: Left, reporter: Reporter) -> None:
    """Say what the journal makes of the input."""
    loaded = left.loaded
    by_state = {state: sum(one.rows for one in left.counts if one.state == state) for state in ("unchanged", "applied")}
    waiting = sum(left.accounts.values())
    parts: list[str] = []
    if loaded.resumed:
        parts.append(
            "going on where this run stopped" if loaded.same else "the input has changed since this run stopped"
        )
        if not loaded.same:
            parts.append(f"{counted(loaded.new, 'new row')}, {loaded.removed:,} gone")
    if by_state["applied"]:
        parts.append(f"{by_state['applied']:,} applied before")
    if by_state["unchanged"]:
        parts.append(f"{by_state['unchanged']:,} unchanged since they were sent")
    if waiting > left.requests:
        parts.append(f"{waiting - left.requests:,} repeated in the input")
    if parts:
        reporter.info("; ".join(parts))
    tell_clashes(loaded.clashes, reporter)


def tell_clashes(found: Clashes, reporter: Reporter) -> None:
    """Warn of media ids whose rows set different members."""
    if not found.count:
        return
    reporter.warn(
        f"{counted(found.count, 'media id')} {'has' if found.count == 1 else 'have'} rows that set different members: "
        "X may drop what an earlier row has set; --coalesce merge makes one request of them",
        media_ids=found.count,
    )
    for clash in found.examples:
        told = [
            f"{where} sets {', '.join(members)}" for where, members in zip(clash.sources, clash.members, strict=False)
        ]
        reporter.warn(f"media {printable(clash.id, 40)}: {', '.join(told)}")


def disagreement(options: ApplyOptions, requests: int, reporter: Reporter, *, local: bool) -> Stop | None:
    """Why nothing may be sent: what it costs was not agreed to."""
    order = options.order
    if local:
        where = "a sandbox on this machine" if order.sandbox else printable(order.base_url, 200)
        reporter.info(f"sending {counted(requests, 'update')} to {where}; nothing is sent to X")
        if order.sandbox and requests > SANDBOX_LIMIT:
            reporter.info(f"its window is {SANDBOX_LIMIT} requests in {SANDBOX_WINDOW:g} s, so there will be waits")
        return None
    cost = requests * order.price
    said = (
        f"{counted(requests, 'update')} cost {money(cost)}, retries aside "
        f"({order.price:g} USD a request, the price of {PRICE_DATE})"
    )
    reporter.info(said, updates=requests, cost_usd=round(cost, 6))
    if cost <= options.ask_above or options.yes or order.max_cost is not None:
        return None
    if STDIN in order.files or not (sys.stdin.isatty() and sys.stderr.isatty()):
        needed = f"above {money(options.ask_above)}, --yes or --max-cost USD is needed; nothing was sent"
        return Stop.of_input(needed, reason="not-confirmed")
    if click.confirm("Send them?", err=True):
        return None
    return Stop.of_input("not confirmed; nothing was sent", reason="not-confirmed")


def tell_end(options: ApplyOptions, course: Course, reporter: Reporter, *, local: bool) -> None:
    """Say what came of it."""
    for stop in course.stops:
        reporter.error(stop.message if stop.exit_code == 2 else f"stopped: {stop.message}")
        if stop.exit_code != 2 and stop.action not in stop.message:
            reporter.error(stop.action)
    if not course.requests and course.exit_code == 2:
        return
    cost = "nothing was sent to X" if local else f"{money(course.cost)} at most"
    retries = f" ({counted(course.retries, 'retry').replace('retrys', 'retries')})" if course.retries else ""
    reporter.info(
        f"{counted(course.total, 'row')} in {lasting(course.seconds)}: {course.told()}; "
        f"{counted(course.requests, 'request')}{retries}, {cost}",
        **{} if not reporter.json else _for_log(course),
    )
    if course.counts.failed and course.journal is not None and not options.order.retry_failed:
        reporter.info("what failed is sent again only with --retry-failed")
    if course.counts.pending:
        waiting = f"{counted(course.counts.pending, 'update')} pending"
        if course.journal is not None:
            spent = course.stop is not None and course.stop.reason in {"budget-money", "budget-requests"}
            reporter.warn(f"{waiting}: the same command goes on with them{', with a higher bound' if spent else ''}")
        else:
            where = "--results PATH" if options.results in {None, STDOUT} else printable(str(options.results), 200)
            reporter.warn(f"{waiting} ({where} tells which); without a journal the same command sends everything again")


def _for_log(course: Course) -> dict[str, Any]:
    return {"summary": course.summary()}
