"""`apply`: check everything, agree on the cost, send, and say what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import msgspec

from xmediameta.address import checked_base_url, is_loopback
from xmediameta.credentials import BearerToken
from xmediameta.errors import JournalError
from xmediameta.readers import STDIN, Inputs, ReadOptions
from xmediameta.text import counted, printable

from .auth import credentials, without_credential
from .check import Checked, Rejects, check, refuse_input
from .export import export
from .keeping import Keeping, fingerprint, keeping
from .kept import InputChanged, incoming, load_run, send_kept, told
from .looping import run_in_loop
from .options import PRICE_DATE, ApplyOptions
from .results import STDOUT, Results
from .run import send
from .say import Reporter, lasting, money
from .sending import SANDBOX_LIMIT, SANDBOX_WINDOW, bound
from .summary import Stop, Summary

SAMPLE: Final = Path(__file__).with_name("sample.jsonl")


def apply(options: ApplyOptions, reporter: Reporter) -> int:
    """Run the command; its exit code.

    Raises:
        click.UsageError: options that do not go together; nothing was sent.
    """
    with ExitStack() as stack:
        insecure = os.environ.get("XMEDIAMETA_ALLOW_INSECURE") == "1"
        local = options.sandbox or is_loopback(checked_base_url(options.base_url, allow_insecure=insecure))
        summary = Summary(unit_price=0.0 if local else options.price, max_cost=options.max_cost)
        given = {} if options.sandbox else credentials(options, reporter)
        if bound(options) == 0:
            raise click.UsageError("the budget pays for no request at all; nothing was sent")
        inputs = stack.enter_context(opened(options))
        checked = _checked(options, inputs, reporter)
        summary.counts.pending = checked.valid
        summary.invalid = checked.invalid
        kept = keeping(options, Path(stack.enter_context(TemporaryDirectory(prefix="xmediameta-"))))
        stop = _refusal(options, checked, given)
        if stop is None and kept is not None:
            stop = _keep(options, inputs, kept, given, reporter, summary, local=local)
        elif stop is None:
            if options.journal is None:
                reporter.info("standard input without --run NAME: no journal is kept, so it cannot go on if it stops")
            stop = _disagreement(options, checked.valid, reporter, local=local) or _changed(inputs)
            if stop is None:
                _send(options, inputs, given, checked, reporter, summary)
        if stop is not None:
            summary.stops.append(stop)
        _tell(options, summary, reporter, local=local)
        if options.as_json:
            click.echo(msgspec.json.encode(summary.as_json()))
        return summary.exit_code


def opened(options: ApplyOptions) -> Inputs:
    """The inputs of a run; without files, the bundled sample."""
    files = options.files or (str(SAMPLE),)
    reading = ReadOptions(strict=options.strict, passed=options.passed, renames=options.renames)
    return Inputs(files, reading, kind=options.kind, stdin=sys.stdin.buffer if STDIN in files else None)


def _checked(options: ApplyOptions, inputs: Inputs, reporter: Reporter) -> Checked:
    if not options.skip_invalid:
        return check(inputs, reporter)
    with Rejects(options.rejects, inputs.names) as rejects:
        return check(inputs, reporter, rejects=rejects)


def _refusal(options: ApplyOptions, checked: Checked, given: dict[str | None, BearerToken]) -> Stop | None:
    """Why nothing can be sent, from what the input holds."""
    if checked.unreadable:
        return Stop.of_input(f"{counted(checked.unreadable, 'fault')} in what could not be read on; nothing was sent")
    if checked.invalid and not options.skip_invalid:
        return Stop.of_input(f"{counted(checked.invalid, 'invalid row')}; nothing was sent")
    if options.max_invalid is not None and checked.invalid > options.max_invalid:
        return Stop.of_input(
            f"{counted(checked.invalid, 'invalid row')}, more than --max-invalid {options.max_invalid:,}; "
            "nothing was sent"
        )
    lacking = [] if options.sandbox else without_credential(checked.accounts, given)
    return Stop.of_input("; ".join(lacking), reason="no-credential") if lacking else None


def _changed(inputs: Inputs) -> Stop | None:
    changed = inputs.changed()
    return None if changed is None else Stop.of_input(str(changed), reason="input-changed")


def _keep(
    options: ApplyOptions,
    inputs: Inputs,
    kept: Keeping,
    given: dict[str | None, BearerToken],
    reporter: Reporter,
    summary: Summary,
    *,
    local: bool,
) -> Stop | None:
    """Load the run into its journal, and send what is left of it; why nothing was sent, if nothing could be."""
    _check_results(options, inputs)
    summary.run = kept.name
    summary.journal = None if kept.throw_away else str(kept.path)
    known = fingerprint(options, inputs.names)
    try:
        left = run_in_loop(partial(load_run, options, inputs, kept, known), own=True)
        told(left, reporter)
        summary.take(left.counts)
        if left.requests:
            stop = _disagreement(options, left.requests, reporter, local=local) or _changed(inputs)
            if stop is not None:
                return stop
            used = _used(options, left.accounts, given)
            with reporter.log_records():
                main = partial(
                    send_kept, options, kept, known, incoming(options, inputs), used, left, reporter, summary
                )
                run_in_loop(main, own=options.sandbox)
        if options.results is not None:
            _write_results(options.results, kept, reporter, summary)
    except JournalError as error:
        return Stop.of_input(f"{error.message}; nothing was sent", reason="journal-error")
    except InputChanged as error:
        return Stop.of_input(str(error), reason="input-changed")
    return None


def _check_results(options: ApplyOptions, inputs: Inputs) -> None:
    """Refuse results that would be written over an input, or cannot be written; before anything is sent."""
    if options.results is None or options.results == STDOUT:
        return
    refuse_input(options.results, inputs.names, "the results")
    try:
        Path(options.results).open("ab").close()
    except OSError as error:
        raise click.UsageError(f"--results: cannot be written: {error.strerror or error}") from None


def _write_results(output: str, kept: Keeping, reporter: Reporter, summary: Summary) -> None:
    try:
        export(kept.name, str(kept.path), kind=None, output=output, only=())
    except click.ClickException as error:
        again = "" if kept.throw_away else "; `xmediameta results` writes them again from the journal"
        summary.stops.append(
            Stop.of_input(
                f"the results could not be written: {error.message}{again}", exit_code=4, reason="results-failed"
            )
        )
        return
    if output != STDOUT:
        reporter.info(f"results: {output}")


def _disagreement(options: ApplyOptions, requests: int, reporter: Reporter, *, local: bool) -> Stop | None:
    """Why nothing may be sent: what it costs was not agreed to."""
    if local:
        where = "a sandbox on this machine" if options.sandbox else printable(options.base_url, 200)
        reporter.info(f"sending {counted(requests, 'update')} to {where}; nothing is sent to X")
        if options.sandbox and requests > SANDBOX_LIMIT:
            reporter.info(f"its window is {SANDBOX_LIMIT} requests in {SANDBOX_WINDOW:g} s, so there will be waits")
        return None
    cost = requests * options.price
    said = (
        f"{counted(requests, 'update')} cost {money(cost)}, retries aside "
        f"({options.price:g} USD a request, the price of {PRICE_DATE})"
    )
    reporter.info(said, updates=requests, cost_usd=round(cost, 6))
    if cost <= options.ask_above or options.yes or options.max_cost is not None:
        return None
    if STDIN in options.files or not (sys.stdin.isatty() and sys.stderr.isatty()):
        needed = f"above {money(options.ask_above)}, --yes or --max-cost USD is needed; nothing was sent"
        return Stop.of_input(needed, reason="not-confirmed")
    if click.confirm("Send them?", err=True):
        return None
    return Stop.of_input("not confirmed; nothing was sent", reason="not-confirmed")


def _used(
    options: ApplyOptions, accounts: Iterable[str | None], given: dict[str | None, BearerToken]
) -> dict[str | None, BearerToken]:
    return {
        account: BearerToken(f"sandbox-{index}") if options.sandbox else given[account]
        for index, account in enumerate(accounts)
    }


def _send(
    options: ApplyOptions,
    inputs: Inputs,
    given: dict[str | None, BearerToken],
    checked: Checked,
    reporter: Reporter,
    summary: Summary,
) -> None:
    # Only accounts that have work: the run is over when none of these is left.
    used = _used(options, checked.accounts, given)
    if not used:
        return
    with ExitStack() as stack:
        results = None
        if options.results is not None:
            try:
                results = stack.enter_context(Results(options.results, options.passed, inputs.names))
            except OSError as error:
                raise click.UsageError(f"--results: cannot be written: {error.strerror or error}") from None
        stack.enter_context(reporter.log_records())
        run_in_loop(partial(send, options, inputs, used, checked, reporter, results, summary), own=options.sandbox)
        if results is not None and not results.failed:
            _finish(results, reporter, summary)


def _finish(results: Results, reporter: Reporter, summary: Summary) -> None:
    try:
        results.finish()
    except OSError as error:
        summary.stops.append(Stop.of_results(error))
    if results.path != STDOUT:
        reporter.info(f"results: {results.path}")


def _tell(options: ApplyOptions, summary: Summary, reporter: Reporter, *, local: bool) -> None:
    for stop in summary.stops:
        reporter.error(stop.message if stop.exit_code == 2 else f"stopped: {stop.message}")
        if stop.exit_code != 2 and stop.action not in stop.message:
            reporter.error(stop.action)
    if not summary.requests and summary.exit_code == 2:
        return
    cost = "nothing was sent to X" if local else f"{money(summary.cost)} at most"
    retries = f" ({counted(summary.retries, 'retry').replace('retrys', 'retries')})" if summary.retries else ""
    reporter.info(
        f"{counted(summary.total, 'row')} in {lasting(summary.seconds)}: {summary.told()}; "
        f"{counted(summary.requests, 'request')}{retries}, {cost}",
        **{} if not reporter.json else _for_log(summary),
    )
    if summary.counts.pending:
        waiting = f"{counted(summary.counts.pending, 'update')} pending"
        if summary.journal is not None:
            reporter.warn(f"{waiting}: the same command goes on with them")
        else:
            where = "--results PATH" if options.results in {None, STDOUT} else printable(str(options.results), 200)
            reporter.warn(f"{waiting} ({where} tells which); without a journal the same command sends everything again")


def _for_log(summary: Summary) -> dict[str, Any]:
    return {"summary": summary.as_json()}
