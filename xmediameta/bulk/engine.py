"""How a run works: workers ask `Dispatch` what to send, and one that finds nothing draws from the caller's iterable.

Order per media id is kept by the client's lanes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final, cast

from xmediameta.coalesce import Entry
from xmediameta.errors import BudgetReached, XMediaMetaError
from xmediameta.journal import Drawn, Finished, JournalRun
from xmediameta.models import Update
from xmediameta.outcomes import Outcome, Reason
from xmediameta.sender import Sender
from xmediameta.told import unsuccessful
from xmediameta.wire import encode

from .crew import Crew, Shelf
from .dispatch import Dispatch
from .endings import Endings
from .journaled import JournalSource, TaskRow
from .options import Options
from .queues import Queues
from .rows import Row, as_far_as_known, as_update
from .source import END, LATER, Source, Updates
from .urgent import Urgent

_UNREAD: Final = 4  # outcomes that may wait for the reader, per request in flight
_LEAST_UNREAD: Final = 64
_BESIDE: Final = 8  # workers beside those that send: they draw input, and ask for credentials


class Engine:
    """The machinery of one run.

    Args:
        finished: called when the run is over.
        held: the run's place in a journal: tasks are drawn from there, and outcomes recorded before they are told.
        tell_settled: whether rows of the journal that need no request are told too.

    Attributes:
        taken: updates drawn from the iterable.
        done: whether the run is over.
        stopped_by: the error that stopped it, once it was told.
    """

    __slots__ = (
        "_crew", "_deadline", "_drawing", "_encode", "_endings", "_finished", "_held", "_led", "_loop", "_options",
        "_queues", "_recording", "_sender", "_source", "_unrecorded", "_urgent", "dispatch", "done", "shelf",
        "stopped_by", "taken",
    )  # fmt: skip

    def __init__(
        self,
        sender: Sender,
        updates: Updates,
        options: Options,
        finished: Callable[[], None],
        *,
        held: JournalRun | None = None,
        tell_settled: bool = True,
    ) -> None:
        self._sender = sender
        self._loop = sender.loop
        self._options = options
        self._finished = finished
        self._encode = partial(encode, strict=options.strict)
        self._held = held
        self._recording: asyncio.Future[None] | None = None  # the newest commit that is not done
        self._unrecorded: list[Outcome] | None = None  # what is told once it is
        self._led: deque[Entry] = deque()
        self._crew = Crew(self._work, options.concurrency + _BESIDE, self._defect)
        self.shelf = Shelf(max(_UNREAD * options.concurrency, _LEAST_UNREAD), self._crew.call_one)
        self._queues = Queues(self._crew.call_one)
        self._source: Source | JournalSource = (
            Source(updates)
            if held is None
            else JournalSource(held, self._queues.away, self._queues.out, tell_settled=tell_settled)
        )
        self._endings = Endings(self, sender, self.shelf, self._encode, self._told)
        self.dispatch = Dispatch(
            self, sender, self._queues, self._endings, options, None if held is None else self._being_recorded
        )
        if held is not None:
            self.dispatch.before = held.requests
        self._urgent = Urgent(
            self.dispatch,
            self._queues,
            self._endings,
            start=self._crew.start,
            ended=self._crew.call_one,
            wall=sender.accounts.wall,
            max_wait=options.max_wait,
        )
        self._deadline: asyncio.TimerHandle | None = None
        self._drawing = False
        self.taken = 0
        self.done = False
        self.stopped_by: BaseException | None = None

    # Its life

    def start(self) -> None:
        """Begin to send."""
        most = self._options.max_duration
        if most is not None:
            budget = BudgetReached("duration", limit=most, spent=most)
            self._deadline = self._loop.call_later(most, self.halt, budget, "budget")
        self._crew.call_one()

    def halt(self, error: BaseException | None, reason: Reason) -> None:
        """Send nothing more; what is in flight finishes."""
        endings = self._endings
        if endings.reason is None and not self.done:
            endings.reason, endings.error = reason, error
            self._source.abandon()
            self._urgent.drop_all()
            self.dispatch.drop_all(reason)
            self._finish_if_over()

    async def leave(self) -> None:
        """The reader leaves: what is in flight ends."""
        self.halt(None, "closed")
        try:
            await self._crew.dismiss()
        finally:
            self._finish()

    def told_error(self) -> BaseException | None:
        """The error that stopped the run, once."""
        error, self._endings.error = self._endings.error, None
        self.stopped_by = self.stopped_by or error
        return error

    @property
    def waiting_until(self) -> datetime | None:
        """When the first account goes on, where all that have work wait for a window; else None."""
        return None if self.done or self.dispatch.in_flight else self._queues.waiting_until

    # What rows and the parts tell

    def lead(self, entry: Entry) -> None:
        """An entry of this run is at the head of its lane."""
        # An entry that ends at once brings the next one here: a loop, for a lane may be longer than the stack is deep.
        self._led.append(entry)
        if len(self._led) > 1:
            return
        while self._led:
            entry = self._led[0]
            if self._endings.reason is not None:
                self._endings.unsent(entry, self._endings.reason)
            elif not (entry.urgent and self._urgent.take(entry)):
                self.dispatch.push(entry)
            self._led.popleft()

    def hurry(self, entry: Entry) -> None:
        """An interactive call waits for an entry that this run leads."""
        if entry.ticket:
            self._urgent.take(entry)

    def deliver(self, outcome: Outcome) -> None:
        """A row has its outcome."""
        self._endings.deliver(outcome)
        if self._endings.open == self._options.lookahead - 1 and not self.done:
            self.wake()  # there is room again, and who settled the row may be none of the workers

    def record(self, outcome: Outcome, finished: Finished | None) -> None:
        """Tell an outcome once it is committed; a follower's is committed with its leader's."""
        held = self._held
        if finished is not None and held is not None:
            held.count(self.dispatch.requests, self.dispatch.retries)
            recording = held.finish(finished)
            if recording is not self._recording:
                self._recording, self._unrecorded = recording, []
                recording.add_done_callback(partial(self._tell_recorded, self._unrecorded))
        if self._unrecorded is None:
            self.deliver(outcome)
        else:
            self._unrecorded.append(outcome)

    def unsure(self, task: Drawn) -> None:
        """A task was sent, and how it ended is not known."""
        if self._held is not None:
            self._held.unsure(task)

    def _tell_recorded(self, outcomes: list[Outcome], recording: asyncio.Future[None]) -> None:
        if not recording.cancelled() and (error := recording.exception()) is not None:
            self.halt(error, "run_stopped")
        if self._recording is recording:
            self._recording = self._unrecorded = None
        for outcome in outcomes:
            self.deliver(outcome)

    def _being_recorded(self) -> asyncio.Future[None] | None:
        recording = self._recording
        return None if recording is None or recording.done() else recording

    def wake(self) -> None:
        """There may be something to do."""
        if not self._drawing:  # the worker that draws will see it at once
            self._crew.call_one()

    # Working

    async def _work(self) -> None:
        dispatch, source = self.dispatch, self._source
        while not self.done:
            # With deadlines, look as far ahead as allowed: the earliest goes first.
            ahead = dispatch.dated and not source.waits and self._may_draw()
            job = None if ahead else dispatch.next()
            if job is None and (ahead or (dispatch.hungry and self._may_draw())):
                given = source.at_once()
                entry = self._take(given if given is not LATER else await source.draw())
                job = None if entry is None else dispatch.at_once(entry)
                if job is None:
                    if entry is not None:
                        self._line_up(entry)
                    continue
            if job is not None:
                if dispatch.more or source.slow:
                    self._crew.call_one()
                await job
            elif not self._finish_if_over():
                await self._crew.rest()

    def _may_draw(self) -> bool:
        return (
            self._source.ready
            and not self.shelf.full
            and self._endings.reason is None
            and self._endings.open < self._options.lookahead
        )

    def _take(self, given: object) -> Entry | None:
        """Put what was drawn in its lane; an entry that is to be sent now is returned."""
        if given is END:
            if self._source.error is not None:
                self.halt(self._source.error, "run_stopped")
            return None
        if given is LATER:
            return None  # nothing now for an account that can be sent for
        self.taken += 1
        self._endings.open += 1
        if self._held is None:
            return self._take_update(given)
        if isinstance(given, Drawn):
            return self._take_task(given)
        self.deliver(cast("Outcome", given))
        return None

    def _line_up(self, entry: Entry) -> None:
        """Queue an entry that was drawn; whoever drew it looks at once for what is to be done."""
        self._drawing = True
        try:
            self.lead(entry)
        finally:
            self._drawing = False

    def _take_update(self, given: object) -> Entry | None:
        update: Update | None = None
        try:
            update = given if type(given) is Update else as_update(given)
            body = self._encode(update)
        except XMediaMetaError as error:
            shown = update if update is not None else as_far_as_known(given)
            error.about(shown.id, shown.ref, shown.account)
            self.deliver(unsuccessful(shown, error))
            return None
        return self._put_in_lane(update, body, Row(self, update))

    def _take_task(self, task: Drawn) -> Entry | None:
        """A task of the journal, with the rows that share its request."""
        entry = self._put_in_lane(task.update, task.body, TaskRow(self, task.update, task))
        if task.followers:
            self._endings.open += len(task.followers)
            for update in task.followers:
                self._put_in_lane(update, task.body, TaskRow(self, update, None))
        return entry

    def _put_in_lane(self, update: Update, body: bytes, row: Row) -> Entry | None:
        # What a journal holds was coalesced as it was loaded; to do so here, too, would send what it does not know of.
        lanes, coalesce = self._sender.lanes, self._options.coalesce if self._held is None else None
        entry, leads = lanes.add(update, body, update.account, row, coalesce, self._encode)
        if leads:
            return entry
        if entry.moved and entry.ticket:
            entry.sharers[0].lead(entry)  # it is in a queue, and has to move ahead there
        return None

    # The end

    def _told(self) -> None:
        if (self._source.ended or self._endings.reason is not None) and self._endings.all_told:
            # Not at once: whoever delivers may be in the middle of a loop over rows.
            self._loop.call_soon(self._finish_if_over)

    def _finish_if_over(self) -> bool:
        """Finish where every row has its outcome and no more will be drawn; whether the run is over."""
        if (self._source.ended or self._endings.reason is not None) and self._endings.all_told:
            self._finish()
        return self.done

    def _finish(self) -> None:
        if self.done:
            return
        self.done = True
        if self._endings.reason is None:
            self._endings.error = self._queues.none_left
        self._endings.release_all()
        if self._held is not None:  # also what was sent for rows that stay pending
            self._held.count(self.dispatch.requests, self.dispatch.retries)
        self.dispatch.close()
        self._queues.forget()
        if self._deadline is not None:
            self._deadline.cancel()
        self._crew.wake_all()
        self.shelf.close()
        self._finished()

    def _defect(self, error: BaseException) -> None:
        """A worker failed, which is a defect of ours: end the run with its traceback, and do not hang."""
        self.halt(error, "run_stopped")
        self._endings.error = error
        self._finish()

    def __repr__(self) -> str:
        return f"<Engine {self.taken} taken, {self._endings!r}, {self.dispatch!r}>"
