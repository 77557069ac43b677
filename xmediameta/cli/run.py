"""The second pass: rows go out, outcomes come in, and a signal ends it in order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Final

from xmediameta.bulk import BulkRun
from xmediameta.client import Client
from xmediameta.credentials import BearerToken
from xmediameta.errors import ConfigurationError, XMediaMetaError
from xmediameta.models import Update
from xmediameta.outcomes import Applied, Failed, Outcome
from xmediameta.readers import Inputs, Reject, Row
from xmediameta.sandbox import Sandbox
from xmediameta.text import counted, printable

from .check import Checked
from .eta import DOCUMENTED
from .options import ApplyOptions
from .progress import Bar, Lines, Status, View
from .results import Results
from .say import Reporter
from .summary import INTERRUPTED, Stop, Summary, without_advice

SANDBOX_LIMIT: Final = 100
SANDBOX_WINDOW: Final = 3.0
_FAILURES_TOLD: Final = 20


class Feed:
    """Hands rows to `bulk`, and knows from each outcome's update which row it was."""

    def __init__(self, inputs: Inputs, results: Results | None, *, skip_invalid: bool) -> None:
        self._items = enumerate(inputs.rows(), 1)
        self._results = results
        self._skip_invalid = skip_invalid
        # By identity: two rows may hold equal updates, and an outcome carries the very object that was given.
        self._taken: dict[int, tuple[int, Row]] = {}
        self.broken: Reject | None = None

    def __iter__(self) -> Iterator[Update]:
        for index, item in self._items:
            if isinstance(item, Row):
                self._taken[id(item.update)] = (index, item)
                yield item.update
            elif item.fatal or not self._skip_invalid:
                # It was read without fault before: the file has changed under our hands.
                self.broken = item
                return
            elif self._results is not None:
                self._results.invalid(index, item)

    def settle(self, outcome: Outcome) -> Row:
        """The row of an outcome, and its line of the results."""
        index, row = self._taken.pop(id(outcome.update))
        if self._results is not None:
            self._results.settled(index, row, outcome)
        return row

    def rest(self) -> None:
        """Write the rows that were not taken up before the run ended."""
        if self._results is None or self._results.failed or self.broken is not None:
            return
        for index, item in self._items:
            if isinstance(item, Row):
                self._results.settled(index, item, None)
            elif item.fatal:
                return
            else:
                self._results.invalid(index, item)


async def send(
    options: ApplyOptions,
    inputs: Inputs,
    credentials: dict[str | None, BearerToken],
    checked: Checked,
    reporter: Reporter,
    results: Results | None,
    summary: Summary,
) -> None:
    """Send all rows, and count into `summary`.

    Raises:
        ConfigurationError: an option that the client refuses; nothing was sent.
    """
    async with AsyncExitStack() as stack:
        base_url = options.base_url
        if options.sandbox:
            sandbox = await stack.enter_async_context(Sandbox(limit=SANDBOX_LIMIT, window=SANDBOX_WINDOW))
            base_url = sandbox.url
        client = await stack.enter_async_context(
            Client(
                credentials,
                base_url=base_url,
                concurrency=options.concurrency,
                pace=options.pace,
                strict=options.strict,
            )
        )
        feed = Feed(inputs, results, skip_invalid=options.skip_invalid)
        max_requests = bound(options)
        started = time.monotonic()
        run = await stack.enter_async_context(
            client.bulk(
                feed,
                max_wait=options.max_wait,
                coalesce=options.coalesce,
                max_requests=max_requests,
                max_duration=options.max_duration,
            )
        )
        status = Status(run, client, summary, checked.accounts, _lengths(options, summary))
        view = view_of(status, reporter)
        ticker = asyncio.create_task(tick(view)) if view is not None else None
        try:
            with interruptible(run, reporter, summary, view, results):
                await _collect(run, feed, reporter, summary)
        finally:
            if ticker is not None:
                ticker.cancel()
            if view is not None:
                view.close()
            summary.seconds = time.monotonic() - started
            summary.requests, summary.retries = run.requests, run.retries
    if feed.broken is not None:
        summary.stops.append(Stop.of_input(str(feed.broken), exit_code=4, reason="input-changed"))
    try:
        feed.rest()
    except OSError as error:
        summary.stops.append(Stop.of_results(error))
    counts = summary.counts
    counts.pending = checked.valid - counts.done


def bound(options: ApplyOptions) -> int | None:
    """The most requests that may be sent, from `--max-requests` and `--max-cost`; None is no bound."""
    bounds = [options.max_requests] if options.max_requests is not None else []
    if options.max_cost is not None and options.price:
        bounds.append(int(options.max_cost / options.price + 1e-9))
    return min(bounds, default=None)


def _lengths(options: ApplyOptions, summary: Summary) -> Mapping[str, float]:
    """How long windows are, as far as that is known; another server on this machine may have any."""
    if options.sandbox:
        return {"user-15min": SANDBOX_WINDOW}
    return DOCUMENTED if summary.unit_price else {}


async def _collect(run: BulkRun, feed: Feed, reporter: Reporter, summary: Summary) -> None:
    try:
        async for outcome in run:
            summary.note(outcome)
            try:
                row = feed.settle(outcome)
            except OSError as error:
                summary.stops.append(Stop.of_results(error))
                run.stop()
                continue
            tell(row.where, outcome, summary.counts.failed, reporter, summary)
    except ConfigurationError:
        raise
    except XMediaMetaError as error:
        summary.note_stop(error)
    except OSError as error:  # the row of an invalid line could not be written
        summary.stops.append(Stop.of_results(error))


def tell(where: str, outcome: Outcome, nth: int, reporter: Reporter, summary: Summary) -> None:
    """Tell of a failure, up to a bound, with its advice once; and of what X says beside a success.

    Args:
        where: the row in its input.
        nth: which failure it is.
    """
    if isinstance(outcome, Failed):
        error = outcome.error
        if nth <= _FAILURES_TOLD:
            reporter.error(f"{where}: {without_advice(error)}", media_id=outcome.id, ref=outcome.ref)
            if error.advice and error.advice not in summary.advice:
                summary.advice.add(error.advice)
                reporter.info(error.advice)
        elif nth == _FAILURES_TOLD + 1:
            lists = "--results PATH" if summary.run is None else "`xmediameta results --only failed`"
            reporter.error(f"further failures are counted, and not told one by one; {lists} lists them")
    elif isinstance(outcome, Applied) and outcome.warnings:
        said = "; ".join(warning.said() for warning in outcome.warnings)
        reporter.warn(f"{where}: applied, and X says: {said}", media_id=outcome.id, ref=outcome.ref)


def view_of(status: Status, reporter: Reporter) -> View | None:
    """How a run is shown while it goes on; not at all with `--quiet`."""
    if reporter.quiet:
        return None
    return Bar(status, reporter) if reporter.on_terminal else Lines(status, reporter)


async def tick(view: View) -> None:
    """Refresh a view now and then, until cancelled."""
    while True:
        await asyncio.sleep(view.interval)
        view.refresh()


@contextmanager
def interruptible(
    run: BulkRun, reporter: Reporter, summary: Summary, view: View | None, results: Results | None
) -> Generator[None]:
    """The first signal ends the run in order, the second at once."""

    def interrupted(number: int) -> None:
        if summary.signal is None:
            summary.signal = number
            run.stop()
            flying = f"{counted(run.in_flight, 'request')} in flight will finish; " if run.in_flight else ""
            reporter.warn(f"stopping: {flying}once more ends it at once")
            return
        if view is not None:
            view.close()
        if results is not None:
            with suppress(OSError):
                results.flush()
        reporter.error(f"ended at once: {printable(summary.told())}; what was in flight may have been applied")
        os._exit(INTERRUPTED[number])

    loop = asyncio.get_running_loop()
    handled: list[signal.Signals] = []
    for caught in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(caught, interrupted, int(caught))
        except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
            continue
        handled.append(caught)
    try:
        yield
    finally:
        for caught in handled:
            loop.remove_signal_handler(caught)
