"""A run without a journal: rows go out in a second pass over the input, and outcomes come in."""

from __future__ import annotations

from collections.abc import Iterator

from xmediameta.bulk import BulkRun
from xmediameta.client import Client
from xmediameta.errors import ConfigurationError, XMediaMetaError
from xmediameta.models import Update
from xmediameta.outcomes import Failed, NotSent, Outcome
from xmediameta.readers import Inputs, Reject, Row

from .checking import Checked
from .course import Course, Stop
from .given import Updates
from .order import Order
from .watch import Rows, Watch


class Feed:
    """Hands rows to `bulk`, and knows from each outcome's update which row it was."""

    def __init__(self, inputs: Inputs, results: Rows | None, *, skip_invalid: bool) -> None:
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
    order: Order,
    client: Client,
    inputs: Inputs,
    checked: Checked,
    results: Rows | None,
    course: Course,
    watch: Watch,
) -> None:
    """Send all rows, and count into `course`.

    Raises:
        ConfigurationError: an option that the client refuses; nothing was sent.
    """
    feed = Feed(inputs, results, skip_invalid=order.skip_invalid)
    async with client.bulk(
        feed,
        max_wait=order.max_wait,
        coalesce=order.coalesce,
        max_requests=order.bound,
        max_duration=order.max_duration,
    ) as run:
        with watch.running(run, client, checked.accounts, course):
            await _collect(run, feed, course, watch)
    if feed.broken is not None:
        course.stops.append(Stop.of_input(str(feed.broken), exit_code=4, reason="input-changed"))
    try:
        feed.rest()
    except OSError as error:
        course.stops.append(Stop.of_results(error))


async def _collect(run: BulkRun, feed: Feed, course: Course, watch: Watch) -> None:
    try:
        async for outcome in run:
            course.note(outcome)
            try:
                row = feed.settle(outcome)
            except OSError as error:
                course.stops.append(Stop.of_results(error))
                run.stop()
                continue
            if not isinstance(outcome, NotSent):
                watch.told(row.where, outcome, course.counts.failed)
    except ConfigurationError:
        raise
    except XMediaMetaError as error:
        course.note_stop(error)
    except OSError as error:  # the row of an invalid line could not be written
        course.stops.append(Stop.of_results(error))


async def send_given(order: Order, client: Client, updates: Updates, course: Course, watch: Watch) -> None:
    """Send updates as a caller has them, and count into `course`; nothing is known of them beforehand."""
    async with client.bulk(
        updates,
        max_wait=order.max_wait,
        coalesce=order.coalesce,
        max_requests=order.bound,
        max_duration=order.max_duration,
    ) as run:
        try:
            with watch.running(run, client, {}, course):
                async for outcome in run:
                    course.note(outcome)
                    course.requests = run.requests
                    if isinstance(outcome, Failed):
                        watch.told(f"media {outcome.id}", outcome, course.counts.failed)
        except ConfigurationError:
            raise
        except XMediaMetaError as error:
            course.note_stop(error)
