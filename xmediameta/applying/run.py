"""`apply` as a function: what the command does, for schedulers, notebooks and programs.

What can fail before anything is sent is raised; what a run then comes to is told by its summary, also where it stopped
early. Files are read on other threads, so that the caller's event loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterable, Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Literal, TypeVar, cast

from xmediameta.accounts import Auth, AuthCallable
from xmediameta.address import checked_base_url, is_loopback
from xmediameta.bulk import BulkRun
from xmediameta.client import Client
from xmediameta.credentials import StoreAuth, veiled
from xmediameta.errors import ConfigurationError
from xmediameta.gate import Pace
from xmediameta.journal import Incoming, Journal
from xmediameta.outcomes import Outcome
from xmediameta.readers import STDIN, Inputs, Kind, ReadOptions, Reject
from xmediameta.settings import X_API

from .checking import Checked, changed, check, lacking
from .course import Course, without_advice
from .faults import InvalidInput
from .given import SHOWN, Given, Intake, Updates
from .keeping import Keeping, fingerprint, holds, keeping
from .kept import InputChanged, incoming, left_of, send_kept, started
from .order import PRICE, Order
from .summary import Progress, Summary
from .unkept import send, send_given
from .watch import timed

log: Final = logging.getLogger("xmediameta")

T = TypeVar("T")
Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Source = Files | Iterable[Given] | AsyncIterable[Given]

_EVERY: Final = 1.0
_FAILURES_LOGGED: Final = 20


async def apply(
    updates: Source,
    *,
    auth: Auth | AuthCallable,
    journal: str | os.PathLike[str] | None = None,
    run: str | None = None,
    max_cost: float | None = None,
    max_requests: int | None = None,
    max_wait: float | None = None,
    max_duration: float | None = None,
    retry_failed: bool = False,
    force: bool = False,
    skip_invalid: bool = False,
    max_invalid: int | None = None,
    coalesce: Literal["last", "merge"] | None = None,
    base_url: str = X_API,
    concurrency: int = 32,
    pace: Pace = "burst",
    strict: bool = True,
    price: float = PRICE,
    format: Kind | None = None,  # noqa: A002 - as the command has it
    passed: Collection[str] = (),
    renames: Mapping[str, str] | None = None,
    sheet: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_invalid: Callable[[Reject], None] | None = None,
) -> Summary:
    """Send the updates of files, or of an iterable, as the command `apply` does; nothing is asked.

    Everything is checked before anything is sent. With a journal the same call goes on where the last one stopped, and
    what was sent before costs nothing. When the call is cancelled, what is in flight is recorded.

    Args:
        updates: the path of a file, or several, or a URI; or an iterable or async iterable as for `Client.bulk`.
        auth: as for `Client`.
        journal: a path; None for the person's own, or as `XMEDIAMETA_JOURNAL` says; `"none"` for no journal.
        run: what the run is called; by default after its files.
        max_cost: in USD, retries included; a bound that is reached ends the run, and a higher one goes on with it.
        max_requests, max_wait, max_duration: further bounds; seconds.
        retry_failed: send again what failed before.
        force: send what is unchanged, too.
        skip_invalid: leave out rows that are no updates, at most `max_invalid` of them.
        coalesce: `"last"` or `"merge"` for different pending updates of one media id.
        base_url, concurrency, pace, strict: as for `Client`.
        price: USD a request.
        format, passed, renames, sheet: how files are read, as the command's `--format`, `--pass`, `--map`, `--sheet`.
        on_progress: called about once a second, and at the end.
        on_invalid: called with each row of a file that is no update, on another thread.

    Returns:
        What the run came to. Where it ended early, `stopped` says why and what to do.

    Raises:
        InvalidInput: rows are no updates, or a file cannot be read; nothing was sent.
        ConfigurationError: an option or a token that cannot be used; nothing was sent.
        JournalError: the journal cannot be used, or another process has the run; nothing was sent.
    """
    auth = veiled(auth)
    order = Order(
        files=_files(updates),
        kind=format,
        passed=tuple(passed),
        renames=dict(renames or {}),
        sheet=sheet,
        strict=strict,
        skip_invalid=skip_invalid,
        max_invalid=max_invalid,
        base_url=base_url,
        price=price,
        max_cost=max_cost,
        max_requests=max_requests,
        max_wait=max_wait,
        max_duration=max_duration,
        coalesce=coalesce,
        concurrency=concurrency,
        pace=pace,
        journal=None if journal is None else os.fspath(journal),
        run_name=run,
        retry_failed=retry_failed,
        force=force,
    )
    insecure = os.environ.get("XMEDIAMETA_ALLOW_INSECURE") == "1"
    local = is_loopback(checked_base_url(base_url, allow_insecure=insecure))
    _check(order)
    kept = keeping(order)
    course = Course(unit_price=0.0 if local else price, max_cost=max_cost)
    client = Client(auth, base_url=base_url, concurrency=concurrency, pace=pace, strict=strict)
    watch = _Watch(on_progress)
    names = await _named(auth)
    if not order.files:
        given = cast("Updates", updates)
        if kept is None:
            async with client:
                await send_given(order, client, given, course, watch)
        else:
            intake = Intake(order)
            await _keep(order, client, kept, intake.rows(given), None, names, course, watch)
    else:
        await _send_files(order, client, kept, names, on_invalid, course, watch)
    watch.tell(course)
    return course.summary()


async def _send_files(
    order: Order,
    client: Client,
    kept: Keeping | None,
    names: Collection[str | None] | None,
    on_invalid: Callable[[Reject], None] | None,
    course: Course,
    watch: _Watch,
) -> None:
    reading = ReadOptions(strict=order.strict, passed=order.passed, renames=order.renames, sheet=order.sheet)
    with Inputs(order.files, reading, kind=order.kind) as inputs:
        known = None if kept is None else await _elsewhere(lambda _: fingerprint(order, inputs.names))
        if kept is None or not await holds(order, kept, known):
            checked = await _elsewhere(lambda stopped: _checked(order, inputs, on_invalid, stopped))
            course.expect(checked.accounts, checked.invalid)
            _have(names, checked.accounts)
            if kept is None:
                async with client:
                    await send(order, client, inputs, checked, None, course, watch)
                return
        if (found := await _elsewhere(lambda _: changed(inputs))) is not None:
            raise ConfigurationError(found.message)
        try:
            await _keep(order, client, kept, incoming(order, inputs), known, names, course, watch)
        except InputChanged as error:
            raise ConfigurationError(str(error)) from None


async def _keep(
    order: Order,
    client: Client,
    kept: Keeping,
    rows: Iterable[Incoming] | AsyncIterable[Incoming],
    known: str | None,
    names: Collection[str | None] | None,
    course: Course,
    watch: _Watch,
) -> None:
    course.run, course.journal = kept.name, str(kept.path)
    async with client, await Journal.open(kept.path) as journal:
        held = await started(order, journal, kept, rows, known)
        left = await left_of(journal, held)
        course.take(left.counts)
        course.invalid = left.invalid
        try:
            if left.requests:
                _have(names, left.accounts)
        except BaseException:
            await held.aclose()
            raise
        if left.requests:
            await send_kept(order, client, journal, held, left, course, watch)
        else:
            await held.aclose()


def _checked(
    order: Order, inputs: Inputs, on_invalid: Callable[[Reject], None] | None, stopped: Callable[[], bool]
) -> Checked:
    shown: list[Reject] = []

    def fault(reject: Reject) -> None:
        if len(shown) < SHOWN:
            shown.append(reject)
        if on_invalid is not None:
            on_invalid(reject)

    checked = check(inputs, fault, stopped)
    most = order.max_invalid if order.skip_invalid else 0
    if checked.unreadable or (most is not None and checked.invalid > most):
        raise InvalidInput(shown, checked.invalid + checked.unreadable)
    return checked


async def _named(auth: object) -> Collection[str | None] | None:
    """The accounts that there are, as far as that can be told before they are asked for."""
    if isinstance(auth, Mapping):
        return cast("Collection[str | None]", auth)
    if not isinstance(auth, StoreAuth) or not (names := await auth.store.names()):
        return None
    # Rows that name no account are those of the only one (`StoredToken.load`).
    nameless = len(names) == 1 or await auth.store.load(None) is not None
    return {*names, None} if nameless else names


def _have(names: Collection[str | None] | None, accounts: Collection[str | None]) -> None:
    said = None if names is None else lacking(accounts, names)
    if said is not None:
        raise ConfigurationError(said)


def _files(updates: object) -> tuple[str, ...]:
    """The files that are meant; none for updates."""
    files: tuple[str, ...]
    if isinstance(updates, str | os.PathLike):
        files = (os.fspath(cast("str | os.PathLike[str]", updates)),)
    elif isinstance(updates, Sequence) and updates and isinstance(updates[0], str | os.PathLike):
        files = tuple(os.fspath(name) for name in cast("Sequence[str | os.PathLike[str]]", updates))
    else:
        return ()
    if STDIN in files:
        raise ConfigurationError("- is standard input for the command alone; pass the updates themselves")
    return files


def _check(order: Order) -> None:
    if order.bound is not None and order.bound < 1:
        raise ConfigurationError("the budget pays for no request at all")
    if order.max_invalid is not None and not order.skip_invalid:
        raise ConfigurationError("max_invalid goes with skip_invalid=True")
    if order.journal == "none" and (order.run_name or order.retry_failed or order.force):
        raise ConfigurationError("run, retry_failed and force need a journal, and journal is 'none'")
    if not order.files and order.journal != "none" and not order.run_name:
        raise ConfigurationError(
            "updates that are no files are kept under a name: run='NAME'; or journal='none' keeps them nowhere"
        )


async def _elsewhere(work: Callable[[Callable[[], bool]], T]) -> T:
    """Do something on another thread; it is told to stop when the caller is cancelled, and waited for."""
    stop = threading.Event()
    task = asyncio.ensure_future(asyncio.to_thread(work, stop.is_set))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()  # nobody asks for it any more
        raise


class _Watch:
    """Calls who wants to know how it goes, and logs failures, up to a bound."""

    def __init__(self, on_progress: Callable[[Progress], None] | None) -> None:
        self._on_progress = on_progress
        self._run: BulkRun | None = None

    @contextmanager
    def running(
        self, run: BulkRun, client: Client, accounts: Mapping[str | None, int], course: Course
    ) -> Generator[None]:
        """Tell about once a second how it goes."""
        del client, accounts
        self._run = run
        ticker = None if self._on_progress is None else asyncio.create_task(self._tick(course))
        try:
            with timed(run, course):
                yield
        finally:
            self._run = None
            if ticker is not None:
                ticker.cancel()

    def told(self, where: str, outcome: Outcome, nth: int) -> None:
        """Log a failure."""
        error = getattr(outcome, "error", None)
        if error is not None and nth <= _FAILURES_LOGGED:
            log.warning("%s: %s", where, without_advice(error))

    def tell(self, course: Course) -> None:
        """Call who wants to know."""
        if self._on_progress is None:
            return
        run = self._run
        told = Progress(
            summary=course.summary(),
            done=course.counts.done,
            in_flight=0 if run is None else run.in_flight,
            waiting_until=None if run is None else run.waiting_until,
        )
        try:
            self._on_progress(told)
        except Exception:
            log.exception("on_progress failed")

    async def _tick(self, course: Course) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            self.tell(course)
