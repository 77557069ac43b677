"""What the runs of `apply` have in common, with a journal and without: the client, what is shown, the signals."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Final

from xmediameta.applying.course import INTERRUPTED, Course, without_advice
from xmediameta.applying.order import Order
from xmediameta.applying.watch import timed
from xmediameta.bulk import BulkRun
from xmediameta.client import Client
from xmediameta.credentials import Credential
from xmediameta.outcomes import Applied, Failed, Outcome
from xmediameta.sandbox import Sandbox
from xmediameta.text import counted, printable

from .eta import DOCUMENTED
from .progress import Bar, Lines, Status, View
from .results import Results
from .say import Reporter

SANDBOX_LIMIT: Final = 100
SANDBOX_WINDOW: Final = 3.0
_FAILURES_TOLD: Final = 20


@asynccontextmanager
async def client_of(order: Order, credentials: Mapping[str | None, str | Credential]) -> AsyncGenerator[Client]:
    """A client as the options have it, of a sandbox of its own if they ask for one."""
    async with AsyncExitStack() as stack:
        base_url = order.base_url
        if order.sandbox:
            sandbox = await stack.enter_async_context(Sandbox(limit=SANDBOX_LIMIT, window=SANDBOX_WINDOW))
            base_url = sandbox.url
        yield await stack.enter_async_context(
            Client(
                credentials,
                base_url=base_url,
                concurrency=order.concurrency,
                pace=order.pace,
                strict=order.strict,
            )
        )


class Shown:
    """Shows a run while it goes on, and lets signals end it.

    Args:
        results: brought to the disk where a second signal ends the process.
        kept: whether a journal keeps the run.
    """

    def __init__(self, order: Order, reporter: Reporter, results: Results | None = None, *, kept: bool) -> None:
        self._order = order
        self._reporter = reporter
        self._results = results
        self._kept = kept
        self._advised: set[str] = set()

    @contextmanager
    def running(
        self, run: BulkRun, client: Client, accounts: Mapping[str | None, int], course: Course
    ) -> Generator[None]:
        """Show it, let signals end it, and note what it took.

        Args:
            accounts: updates by account, of the whole run.
        """
        lengths = _lengths(self._order, course)
        view = _view(Status(run, client, course, accounts, lengths), self._reporter)
        ticker = asyncio.create_task(_tick(view)) if view is not None else None
        try:
            with timed(run, course), _interruptible(run, self._reporter, course, view, self._results):
                yield
        finally:
            if ticker is not None:
                ticker.cancel()
            if view is not None:
                view.close()

    def told(self, where: str, outcome: Outcome, nth: int) -> None:
        """Tell of a failure, up to a bound, with its advice once; and of what X says beside a success."""
        reporter = self._reporter
        if isinstance(outcome, Failed):
            error = outcome.error
            if nth <= _FAILURES_TOLD:
                reporter.error(f"{where}: {without_advice(error)}", media_id=outcome.id, ref=outcome.ref)
                if error.advice and error.advice not in self._advised:
                    self._advised.add(error.advice)
                    reporter.info(error.advice)
            elif nth == _FAILURES_TOLD + 1:
                lists = "--results PATH" if not self._kept else "`xmediameta results --only failed`"
                reporter.error(f"further failures are counted, and not told one by one; {lists} lists them")
        elif isinstance(outcome, Applied) and outcome.warnings:
            said = "; ".join(warning.said() for warning in outcome.warnings)
            reporter.warn(f"{where}: applied, and X says: {said}", media_id=outcome.id, ref=outcome.ref)


def _lengths(order: Order, course: Course) -> Mapping[str, float]:
    """How long windows are, as far as that is known; another server on this machine may have any."""
    if order.sandbox:
        return {"user-15min": SANDBOX_WINDOW}
    return DOCUMENTED if course.unit_price else {}


def _view(status: Status, reporter: Reporter) -> View | None:
    """How a run is shown while it goes on; not at all with `--quiet`."""
    if reporter.quiet:
        return None
    return Bar(status, reporter) if reporter.on_terminal else Lines(status, reporter)


async def _tick(view: View) -> None:
    while True:
        await asyncio.sleep(view.interval)
        view.refresh()


@contextmanager
def _interruptible(
    run: BulkRun, reporter: Reporter, course: Course, view: View | None, results: Results | None
) -> Generator[None]:
    """The first signal ends the run in order, the second at once."""

    def interrupted(number: int) -> None:
        if course.signal is None:
            course.signal = number
            run.stop()
            flying = f"{counted(run.in_flight, 'request')} in flight will finish; " if run.in_flight else ""
            reporter.warn(f"stopping: {flying}once more ends it at once")
            return
        if view is not None:
            view.close()
        if results is not None:
            with suppress(OSError):
                results.flush()
        reporter.error(f"ended at once: {printable(course.told())}; what was in flight may have been applied")
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
