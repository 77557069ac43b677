"""`apply`: check everything, agree on the cost, send, and say what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec

from xmediameta.applying.checking import Checked, changed, refusal
from xmediameta.applying.course import Course, Stop
from xmediameta.applying.keeping import Keeping, fingerprint, holds, keeping
from xmediameta.applying.kept import InputChanged, Left, incoming, load_run, send_kept, started
from xmediameta.applying.order import Order
from xmediameta.applying.unkept import send
from xmediameta.credentials import BearerToken, Credential
from xmediameta.errors import JournalError
from xmediameta.journal import Journal
from xmediameta.readers import Inputs

from .auth import Credentials, credentials, without_credential
from .check import Rejects, check, refuse_input
from .export import export
from .looping import run_in_loop
from .opening import goes_nowhere, opened
from .options import ApplyOptions
from .plan import plan
from .results import STDOUT, Results
from .say import Reporter
from .sending import Shown, client_of
from .telling import disagreement, tell_end, tell_left

Given = Mapping[str | None, Credential]


def apply(options: ApplyOptions, reporter: Reporter) -> int:
    """Run the command; its exit code.

    Raises:
        click.UsageError: options that do not go together; nothing was sent.
    """
    if options.dry_run:
        return plan(options, reporter)
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
                or disagreement(options, checked.valid, reporter, local=local)
                or changed(inputs)
            )
            if stop is None:
                _send(options, inputs, given, checked, reporter, course)
        if stop is not None:
            course.stops.append(stop)
        tell_end(options, course, reporter, local=local)
        if options.as_json:
            click.echo(msgspec.json.encode(course.summary()))
        return course.exit_code


def _checked(options: ApplyOptions, inputs: Inputs, reporter: Reporter, course: Course) -> Checked:
    if options.order.skip_invalid:
        with Rejects(options.rejects, inputs.names) as rejects:
            checked = check(inputs, reporter, rejects=rejects)
    else:
        checked = check(inputs, reporter)
    course.expect(checked.accounts, checked.invalid)
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
        if not run_in_loop(partial(holds, order, kept, known), own=True):
            checked = _checked(options, inputs, reporter, course)
            stop = refusal(order, checked) or _without_credential(order, checked.accounts, given)
            if stop is not None:
                return stop
        _check_results(options, inputs)
        left = run_in_loop(partial(load_run, order, kept, partial(incoming, order, inputs), known), own=True)
        tell_left(left, reporter)
        course.take(left.counts)
        course.invalid = left.invalid
        if left.requests:
            stop = (
                _without_credential(order, left.accounts, given)
                or disagreement(options, left.requests, reporter, local=local)
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


def _used(order: Order, accounts: Iterable[str | None], given: Given) -> Given:
    """Only accounts that have work: the run is over when none of these is left."""
    used = {
        account: BearerToken(f"sandbox-{index}") if order.sandbox else given[account]
        for index, account in enumerate(accounts)
    }
    if isinstance(given, Credentials):
        given.note_used(used)
    return used


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
