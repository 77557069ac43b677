"""`apply`: check everything, agree on the cost, send, and say what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import msgspec

from xmediameta.address import checked_base_url, is_loopback
from xmediameta.applying.checking import Checked, changed, refusal
from xmediameta.applying.course import Course, Stop
from xmediameta.applying.keeping import Keeping, fingerprint, keeping, known_run
from xmediameta.applying.kept import InputChanged, Left, incoming, load_run, send_kept, started
from xmediameta.applying.order import PRICE_DATE, Order
from xmediameta.applying.unkept import send
from xmediameta.credentials import BearerToken, Credential
from xmediameta.errors import JournalError
from xmediameta.journal import Journal
from xmediameta.readers import STDIN, Inputs, ReadOptions
from xmediameta.text import counted, printable

from .auth import credentials, without_credential
from .check import Rejects, check, refuse_input
from .export import export
from .looping import run_in_loop
from .options import ApplyOptions
from .results import STDOUT, Results
from .say import Reporter, lasting, money
from .sending import SANDBOX_LIMIT, SANDBOX_WINDOW, Shown, client_of

SAMPLE: Final = Path(__file__).with_name("sample.jsonl")

Given = Mapping[str | None, Credential]


def apply(options: ApplyOptions, reporter: Reporter) -> int:
    """Run the command; its exit code.

    Raises:
        click.UsageError: options that do not go together; nothing was sent.
    """
    order = options.order
    with ExitStack() as stack:
        local = goes_nowhere(order)
        course = Course(unit_price=0.0 if local else order.price, max_cost=order.max_cost)
        given: Given = {} if order.sandbox else credentials(options, reporter)
        if order.bound == 0:
            raise click.UsageError("the budget pays for no request at all; nothing was sent")
        inputs = stack.enter_context(opened(order))
        kept = keeping(order, Path(stack.enter_context(TemporaryDirectory(prefix="xmediameta-"))))
        if kept is not None:
            stop = _keep(options, inputs, kept, given, reporter, course, local=local)
        else:
            if order.journal is None:
                reporter.info("standard input without --run NAME: no journal is kept, so it cannot go on if it stops")
            checked = _checked(options, inputs, reporter, course)
            stop = (
                refusal(order, checked)
                or _without_credential(order, checked.accounts, given)
                or _disagreement(options, checked.valid, reporter, local=local)
                or changed(inputs)
            )
            if stop is None:
                _send(options, inputs, given, checked, reporter, course)
        if stop is not None:
            course.stops.append(stop)
        _tell(options, course, reporter, local=local)
        if options.as_json:
            click.echo(msgspec.json.encode(course.summary()))
        return course.exit_code


def goes_nowhere(order: Order) -> bool:
    """Whether nothing is sent to X: the server is on this machine.

    Raises:
        ConfigurationError: the base URL cannot be used.
    """
    insecure = os.environ.get("XMEDIAMETA_ALLOW_INSECURE") == "1"
    return order.sandbox or is_loopback(checked_base_url(order.base_url, allow_insecure=insecure))


def opened(order: Order) -> Inputs:
    """The inputs of a run; without files, the bundled sample."""
    files = order.files or (str(SAMPLE),)
    reading = ReadOptions(strict=order.strict, passed=order.passed, renames=order.renames, sheet=order.sheet)
    return Inputs(files, reading, kind=order.kind, stdin=sys.stdin.buffer if STDIN in files else None)


def _checked(options: ApplyOptions, inputs: Inputs, reporter: Reporter, course: Course) -> Checked:
    if options.order.skip_invalid:
        with Rejects(options.rejects, inputs.names) as rejects:
            checked = check(inputs, reporter, rejects=rejects)
    else:
        checked = check(inputs, reporter)
    course.counts.pending, course.invalid = checked.valid, checked.invalid
    return checked


def _without_credential(order: Order, accounts: Iterable[str | None], given: Given) -> Stop | None:
    lacking = [] if order.sandbox else without_credential(set(accounts), given)
    return Stop.of_input("; ".join(lacking), reason="no-credential") if lacking else None


def _keep(
    options: ApplyOptions,
    inputs: Inputs,
    kept: Keeping,
    given: Given,
    reporter: Reporter,
    course: Course,
    *,
    local: bool,
) -> Stop | None:
    """Load the run into its journal, and send what is left of it; why nothing was sent, if nothing could be."""
    order = options.order
    course.run = kept.name
    course.journal = None if kept.throw_away else str(kept.path)
    known = fingerprint(order, inputs.names)
    try:
        if not _known(order, kept, known):
            checked = _checked(options, inputs, reporter, course)
            stop = refusal(order, checked) or _without_credential(order, checked.accounts, given)
            if stop is not None:
                return stop
        _check_results(options, inputs)
        left = run_in_loop(partial(load_run, order, kept, partial(incoming, order, inputs), known), own=True)
        _told(left, reporter)
        course.take(left.counts)
        course.invalid = left.invalid
        if left.requests:
            stop = (
                _without_credential(order, left.accounts, given)
                or _disagreement(options, left.requests, reporter, local=local)
                or changed(inputs)
            )
            if stop is not None:
                return stop
            used = _used(order, left.accounts, given)
            with reporter.log_records():
                main = partial(_send_kept, order, inputs, kept, known, used, left, course, reporter)
                run_in_loop(main, own=order.sandbox)
        if options.results is not None:
            _write_results(options.results, kept, reporter, course)
    except JournalError as error:
        return Stop.of_input(f"{error.message}; nothing was sent", reason="journal-error")
    except InputChanged as error:
        return Stop.of_input(str(error), reason="input-changed")
    return None


def _known(order: Order, kept: Keeping, known: str | None) -> bool:
    """Whether the run holds this very input already, so that it was checked before; skipped rows are told each time."""
    if known is None or order.skip_invalid:
        return False
    run = run_in_loop(partial(known_run, kept), own=True)
    return run is not None and run.fingerprint == known


async def _send_kept(
    order: Order,
    inputs: Inputs,
    kept: Keeping,
    known: str | None,
    used: Given,
    left: Left,
    course: Course,
    reporter: Reporter,
) -> None:
    async with client_of(order, used) as client, await Journal.open(kept.path) as journal:
        held = await started(order, journal, kept, incoming(order, inputs), known)
        await send_kept(order, client, journal, held, left, course, Shown(order, reporter, kept=True))


def _check_results(options: ApplyOptions, inputs: Inputs) -> None:
    """Refuse results that would be written over an input, or cannot be written; before anything is sent."""
    if options.results is None or options.results == STDOUT:
        return
    refuse_input(options.results, inputs.names, "the results")
    try:
        Path(options.results).open("ab").close()
    except OSError as error:
        raise click.UsageError(f"--results: cannot be written: {error.strerror or error}") from None


def _write_results(output: str, kept: Keeping, reporter: Reporter, course: Course) -> None:
    try:
        export(kept.name, str(kept.path), kind=None, output=output, only=())
    except click.ClickException as error:
        again = "" if kept.throw_away else "; `xmediameta results` writes them again from the journal"
        course.stops.append(
            Stop.of_input(
                f"the results could not be written: {error.message}{again}", exit_code=4, reason="results-failed"
            )
        )
        return
    if output != STDOUT:
        reporter.info(f"results: {output}")


def _disagreement(options: ApplyOptions, requests: int, reporter: Reporter, *, local: bool) -> Stop | None:
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


def _used(order: Order, accounts: Iterable[str | None], given: Given) -> Given:
    """Only accounts that have work: the run is over when none of these is left."""
    return {
        account: BearerToken(f"sandbox-{index}") if order.sandbox else given[account]
        for index, account in enumerate(accounts)
    }


def _send(
    options: ApplyOptions, inputs: Inputs, given: Given, checked: Checked, reporter: Reporter, course: Course
) -> None:
    order = options.order
    used = _used(order, checked.accounts, given)
    if not used:
        return
    with ExitStack() as stack:
        results = None
        if options.results is not None:
            try:
                results = stack.enter_context(Results(options.results, order.passed, inputs.names))
            except OSError as error:
                raise click.UsageError(f"--results: cannot be written: {error.strerror or error}") from None

        async def main() -> None:
            async with client_of(order, used) as client:
                shown = Shown(order, reporter, results, kept=False)
                await send(order, client, inputs, checked, results, course, shown)

        stack.enter_context(reporter.log_records())
        run_in_loop(main, own=order.sandbox)
        if results is not None and not results.failed:
            _finish(results, reporter, course)


def _finish(results: Results, reporter: Reporter, course: Course) -> None:
    try:
        results.finish()
    except OSError as error:
        course.stops.append(Stop.of_results(error))
    if results.path != STDOUT:
        reporter.info(f"results: {results.path}")


def _tell(options: ApplyOptions, course: Course, reporter: Reporter, *, local: bool) -> None:
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
    if course.counts.pending:
        waiting = f"{counted(course.counts.pending, 'update')} pending"
        if course.journal is not None:
            reporter.warn(f"{waiting}: the same command goes on with them")
        else:
            where = "--results PATH" if options.results in {None, STDOUT} else printable(str(options.results), 200)
            reporter.warn(f"{waiting} ({where} tells which); without a journal the same command sends everything again")


def _for_log(course: Course) -> dict[str, Any]:
    return {"summary": course.summary()}


def _told(left: Left, reporter: Reporter) -> None:
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
