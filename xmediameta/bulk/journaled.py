"""A run on a journal: tasks are drawn from it, and each outcome is committed before it is told."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from xmediameta import errors
from xmediameta.accounts import Accounts
from xmediameta.coalesce import Coalesce
from xmediameta.errors import InvalidUpdate, ProblemError, TransportError, XMediaMetaError
from xmediameta.hooks import Hooks
from xmediameta.journal import Drawn, Finished, Incoming, Journal, JournalRun, TaskRecord
from xmediameta.models import Update, decode_update
from xmediameta.outcomes import Applied, Failed, NotSent, Outcome, Unchanged
from xmediameta.problems import Problem

from .noting import Noting
from .rows import Row, Run, as_far_as_known, as_update
from .source import END, LATER, Updates

log: Final = logging.getLogger("xmediameta")
_TOLD: Final = 10  # media ids that a message names


class Recorder(Run, Protocol):
    """A run that records outcomes before it tells them."""

    def record(self, outcome: Outcome, finished: Finished | None) -> None:
        """Tell an outcome once it is committed; a follower's is committed with its leader's."""
        ...

    def unsure(self, task: Drawn) -> None:
        """A task was sent, and how it ended is not known."""
        ...


class TaskRow(Row):
    """A row of a journal, as one who shares an entry of a lane.

    Args:
        task: what was drawn, for the row that leads its equals; None for one that follows.
    """

    __slots__ = ("recorder", "task")

    def __init__(self, run: Recorder, update: Update, task: Drawn | None) -> None:
        super().__init__(run, update)
        self.recorder = run
        self.task = task

    def end(self, outcome: Outcome, attempts: int = 0, seconds: float | None = None) -> None:
        """Record how the row ended, and tell it then; what was not settled stays pending."""
        if isinstance(outcome, NotSent) and outcome.reason != "expired":
            if self.task is not None and attempts:
                self.recorder.unsure(self.task)
            self.run.deliver(outcome)
        else:
            done = None if self.task is None else finished(self.task, outcome, attempts, seconds)
            self.recorder.record(outcome, done)


class JournalSource:
    """What is left of a journal's run, drawn like a caller's iterable.

    Args:
        run: the journal's side of it.
        away: the accounts for which nothing can be sent now; kept up to date by the queues.
        out: of these, the ones that are stopped: their rows stay where they are.
        tell_settled: whether rows that need no request are told too, first.

    Attributes:
        busy: whether something is being fetched.
        error: what the journal failed with, if it did.
    """

    waits = True
    slow = False  # the journal fetches ahead on its own

    __slots__ = ("_away", "_out", "_run", "_settled", "_tell_settled", "busy", "error", "given_up")

    def __init__(
        self, run: JournalRun, away: Collection[str | None], out: Collection[str | None], *, tell_settled: bool
    ) -> None:
        self._run = run
        self._away = away
        self._out = out
        self._tell_settled = tell_settled
        self._settled: AsyncIterator[TaskRecord] | None = None
        self.busy = self.given_up = False
        self.error: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether there is nothing more, for any account that is not stopped."""
        return self.given_up or not (self._tell_settled or self._run.has_work(self._out))

    @property
    def ready(self) -> bool:
        """Whether there may be something for an account that can be sent for."""
        return not (self.busy or self.given_up) and (self._tell_settled or self._run.has_work(self._away))

    def at_once(self) -> object:
        """A task, where one is at hand; else `LATER`, and `draw` tells what there is."""
        if self._tell_settled or self.given_up:
            return LATER
        try:
            return self._run.take(self._away) or LATER
        except XMediaMetaError:
            return LATER

    async def draw(self) -> object:
        """A task, the outcome of a row that needs no request, `LATER` for nothing now, or `END`."""
        self.busy = True
        try:
            if self._tell_settled:
                if self._settled is None:
                    self._settled = aiter(await self._run.settled())
                record = await anext(self._settled, None)
                if record is not None:
                    return earlier(record)
                self._tell_settled = False
            return await self._run.draw(self._away) or LATER
        except XMediaMetaError as error:
            self.error, self.given_up = error, True
            return END
        finally:
            self.busy = False

    def abandon(self) -> None:
        """Draw no more."""
        self.given_up = True


def earlier(record: TaskRecord) -> Outcome:
    """The outcome of a row that needs no request, as the journal has it."""
    update = _update(record)
    if record.state == "expired":
        return NotSent(update=update, reason="expired")
    if record.state in {"applied", "unchanged"} and record.settled_at is not None:
        return Unchanged(update=update, sent_at=datetime.fromisoformat(record.settled_at))
    error = _error(record)
    error.about(update.id, update.ref, update.account, record.attempts)
    return Failed(update=update, error=error)


def _update(record: TaskRecord) -> Update:
    if record.body is None:
        return Update(record.id, account=record.account, ref=record.ref)
    wire = decode_update(record.body.encode(), strict=False)
    return Update(wire.id, wire.metadata, record.account, record.ref, record.send_before)


def _error(record: TaskRecord) -> XMediaMetaError:
    said: dict[str, Any] = json.loads(record.problem) if record.problem else {}
    if record.state == "invalid":
        return InvalidUpdate(str(said.get("member", "")), str(said.get("rule", "")))
    kind = getattr(errors, record.error or "", None)
    if record.status is not None and isinstance(kind, type) and issubclass(kind, ProblemError):
        problem = msgspec.convert(said, Problem)
        return kind(record.status, problem, transaction_id=record.transaction_id)
    if isinstance(kind, type) and issubclass(kind, TransportError):
        return TransportError(str(said.get("detail", record.error)), maybe_applied=True)
    return XMediaMetaError(str(said.get("detail", record.error or "failed")))


def finished(task: Drawn, outcome: Outcome, attempts: int, seconds: float | None) -> Finished:
    """How a task ended, as it is recorded.

    Args:
        attempts: requests that were sent for it.
        seconds: from the first of them to the last answer.
    """
    match outcome:
        case Applied():
            return Finished(
                task=task,
                state="applied",
                attempts=outcome.attempts,
                transaction_id=outcome.transaction_id,
                seconds=seconds,
            )
        case Failed():
            error = outcome.error
            problem = error.problem if isinstance(error, ProblemError) else Problem(detail=error.message)
            return Finished(
                task=task,
                state="failed",
                attempts=error.attempts,
                status=error.status if isinstance(error, ProblemError) else None,
                error=type(error).__name__,
                problem=msgspec.json.encode(problem).decode(),
                transaction_id=error.transaction_id if isinstance(error, ProblemError) else None,
                # An attempt whose answer did not come, or came as a fault, may have been applied all the same.
                maybe_applied=error.scope == "retry" and (not isinstance(error, TransportError) or error.maybe_applied),
                seconds=seconds,
            )
        case _:
            sent = attempts > 0
            return Finished(task=task, state="expired", attempts=attempts, maybe_applied=sent, seconds=seconds)


class Journaled(Struct, kw_only=True):
    """That a run is kept in a journal, and how; see `Client.bulk`.

    Attributes:
        journal: an open one, a path that is opened for the run alone, or a run that the caller holds and ends.
        name: of the run.
        force, retry_failed: what is sent again.
        coalesce: what becomes of different updates of one media id; of no account for a run that was started already.
        tell_settled: whether rows that need no request are told too.
        fingerprint: of the input, where it is known.
    """

    journal: Journal | JournalRun | str | os.PathLike[str]
    name: str = ""
    force: bool = False
    retry_failed: bool = False
    coalesce: Coalesce = None
    tell_settled: bool = True
    fingerprint: str | None = None

    async def start(self, base_url: str, updates: Updates, encode: Callable[[Update], bytes]) -> Held:
        """Load the updates, all of them or none, and take hold of the run.

        Raises:
            JournalError: the journal cannot be used, or another process has the run.
        """
        if isinstance(self.journal, JournalRun):
            return Held(self.journal, None, given=True)
        mine = None if isinstance(self.journal, Journal) else await Journal.open(self.journal)
        journal = mine if mine is not None else self.journal
        if not isinstance(journal, Journal):
            raise TypeError("a journal is a Journal or a path")
        try:
            run = await journal.start(
                self.name,
                base_url,
                _incoming(updates, encode),
                fingerprint=self.fingerprint,
                force=self.force,
                retry_failed=self.retry_failed,
                coalesce=self.coalesce,
            )
        except BaseException:
            if mine is not None:
                await mine.aclose()
            raise
        return Held(run, mine)


class Held:
    """A run that is held, and the journal if it was opened for it.

    Args:
        given: whether the caller gave the run, and ends it.
    """

    __slots__ = ("_given", "_journal", "_noting", "run")

    def __init__(self, run: JournalRun, journal: Journal | None, *, given: bool = False) -> None:
        self.run = run
        self._journal = journal
        self._given = given
        self._noting: Noting | None = None

    async def join(self, accounts: Accounts, hooks: Hooks) -> None:
        """Take over how the windows stood when the place was sent to last, and keep them from now on."""
        accounts.recall(await self.run.quota())
        self._noting = Noting(self.run, accounts, hooks)

    async def let_go(self, error: BaseException | None) -> None:
        """Let the run go.

        Args:
            error: what stopped it, if anything did.
        """
        if self._noting is not None:
            self._noting.end()
        try:
            if self._given:
                await self.run.flush()
            else:
                await self.run.aclose(None if error is None else _stopped(error))
        finally:
            if self.run.unrecorded:
                log.error("%s", unrecorded(self.run.unrecorded))
            if self._journal is not None:
                await self._journal.aclose()


def unrecorded(tasks: Sequence[Finished]) -> str:
    """What was in flight when the journal failed (`JournalRun.unrecorded`), in words."""
    named = ", ".join(
        f"{task.task.update.id} ({'maybe applied' if task.maybe_applied else task.state})" for task in tasks[:_TOLD]
    )
    more = f" and {len(tasks) - _TOLD} more" if len(tasks) > _TOLD else ""
    return (
        f"{len(tasks)} updates that were in flight could not be recorded; the run sends them again when it goes on:"
        f" media {named}{more}"
    )


def _incoming(updates: Updates, encode: Callable[[Update], bytes]) -> Iterable[Incoming] | AsyncIterable[Incoming]:
    if isinstance(updates, AsyncIterable):
        return _read_async(updates, encode)
    return _read(updates, encode)


def _read(updates: Iterable[object], encode: Callable[[Update], bytes]) -> Iterator[Incoming]:
    for given in updates:
        yield given if isinstance(given, Incoming) else _one(given, encode)


async def _read_async(updates: AsyncIterable[object], encode: Callable[[Update], bytes]) -> AsyncIterator[Incoming]:
    async for given in updates:
        yield given if isinstance(given, Incoming) else _one(given, encode)


def _one(given: object, encode: Callable[[Update], bytes]) -> Incoming:
    try:
        update = as_update(given)
        return Incoming(update=update, body=encode(update))
    except InvalidUpdate as error:
        return Incoming(update=as_far_as_known(given), body=None, fault=(error.member, error.rule))


def _stopped(error: BaseException) -> str:
    """What the journal keeps of the error that stopped a run."""
    told = error if isinstance(error, XMediaMetaError) else XMediaMetaError(type(error).__name__)
    reset_at: object = getattr(error, "reset_at", None)
    return json.dumps(
        {
            "reason": type(error).__name__,
            "account": told.account,
            "action": told.advice,
            "resume_at": reset_at.isoformat() if isinstance(reset_at, datetime) else None,
            "message": str(told),
        },
        ensure_ascii=False,
    )
