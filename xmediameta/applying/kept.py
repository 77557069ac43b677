"""A run on a journal: load, see what is left, send it, and say how the whole run stands."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from typing import Final

from msgspec import Struct

from xmediameta.bulk.journaled import earlier
from xmediameta.client import Client
from xmediameta.errors import ConfigurationError, JournalError, XMediaMetaError
from xmediameta.journal import Counted, Incoming, Journal, JournalRun, Loaded, State
from xmediameta.models import Update
from xmediameta.outcomes import Applied
from xmediameta.readers import Inputs, Reject, Row
from xmediameta.wire import encode_checked

from .course import Course
from .keeping import Keeping
from .order import Order
from .watch import Watch

_FAILED: Final[tuple[State, ...]] = ("failed",)


class InputChanged(Exception):
    """A row that was checked without fault is not the same any more."""


class Left(Struct, frozen=True, kw_only=True):
    """What a run has left to do, once its input is loaded.

    Attributes:
        loaded: what loading changed.
        counts: rows by account and state.
    """

    loaded: Loaded
    counts: list[Counted]

    @property
    def requests(self) -> int:
        """Requests that are needed, retries aside."""
        return sum(one.requests_needed for one in self.counts)

    @property
    def invalid(self) -> int:
        """Rows that are no updates."""
        return sum(one.rows for one in self.counts if one.state == "invalid")

    @property
    def accounts(self) -> dict[str | None, int]:
        """Rows that wait, by account."""
        return {one.account or None: one.rows for one in self.counts if one.state == "pending" and one.rows}


async def started(
    order: Order,
    journal: Journal,
    kept: Keeping,
    rows: Iterable[Incoming] | AsyncIterable[Incoming],
    fingerprint: str | None,
) -> JournalRun:
    """Load the input into its run, whole or not at all, and hold the run.

    Raises:
        JournalError: the journal cannot be used, or another process has the run.
        InputChanged: from `incoming`.
    """
    return await journal.start(
        kept.name,
        order.place,
        rows,
        fingerprint=fingerprint,
        force=order.force,
        retry_failed=order.retry_failed,
        coalesce=order.coalesce,
    )


async def left_of(journal: Journal, held: JournalRun) -> Left:
    """What a run that is held has left to do."""
    return Left(loaded=held.loaded, counts=await journal.counts(held.record))


async def load_run(
    order: Order, kept: Keeping, rows: Callable[[], Iterable[Incoming]], fingerprint: str | None
) -> Left:
    """Load the input into its run, and let the run go.

    Raises:
        JournalError: the journal cannot be used, or another process has the run.
    """
    async with await Journal.open(kept.path) as journal:
        held = await started(order, journal, kept, rows(), fingerprint)
        left = await left_of(journal, held)
        await held.aclose()
        return left


async def send_kept(
    order: Order, client: Client, journal: Journal, held: JournalRun, left: Left, course: Course, watch: Watch
) -> None:
    """Send what is left of a run, let it go, and count into `course`.

    Raises:
        ConfigurationError: an option that the client refuses; nothing was sent.
    """
    try:
        await _work(order, client, held, left, course, watch)
    finally:
        await _ended(held, course.noted(), course)
    try:
        course.take(await journal.counts(held.record))
        await _tell_failures(journal, held, watch)
    except JournalError as error:  # the counts of this sitting stand as they are
        course.note_stop(error)


async def _work(order: Order, client: Client, held: JournalRun, left: Left, course: Course, watch: Watch) -> None:
    async with client.bulk(
        (),
        journal=held,
        max_wait=order.max_wait,
        max_requests=order.bound,
        max_duration=order.max_duration,
    ) as run:
        try:
            with watch.running(run, client, left.accounts, course):
                async for outcome in run:
                    course.note(outcome)
                    course.requests = run.requests
                    if isinstance(outcome, Applied):
                        watch.told(f"media {outcome.id}", outcome, 0)
        except ConfigurationError:
            raise
        except XMediaMetaError as error:
            course.note_stop(error)


async def _tell_failures(journal: Journal, held: JournalRun, watch: Watch) -> None:
    """Say what failed in this sitting, and where it stands in the input."""
    since, nth = held.record.started_at or "", 0
    async for record in await journal.results(held.record, _FAILED):
        if (record.settled_at or "") >= since:
            nth += 1
            watch.told(record.source or f"media {record.id}", earlier(record), nth)


async def _ended(held: JournalRun, stopped: str | None, course: Course) -> None:
    try:
        await held.aclose(stopped)
    except XMediaMetaError as error:
        course.note_stop(error)


def incoming(order: Order, inputs: Inputs, fault: Callable[[Reject], None] | None = None) -> Iterator[Incoming]:
    """The rows of an input as the journal takes them, the invalid ones that are skipped as well.

    Args:
        fault: told of what is wrong, where nothing has been checked before.

    Raises:
        InputChanged: a row that ends the run, though the check found none.
    """
    for item in inputs.rows():
        if isinstance(item, Row):
            body = encode_checked(item.update)
            yield Incoming(update=item.update, body=body, source=item.where, passed=item.passed or None)
            continue
        if fault is not None:
            fault(item)
        elif item.fatal or not order.skip_invalid:
            raise InputChanged(str(item))
        if not item.fatal:
            yield Incoming(update=Update(""), body=None, source=item.where, fault=(item.member, item.rule))
