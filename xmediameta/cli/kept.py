"""`apply` on a journal: load, agree on what is left, send, and say how the whole run stands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from xmediameta.bulk.journaled import earlier
from xmediameta.client import Client
from xmediameta.credentials import BearerToken
from xmediameta.errors import ConfigurationError, XMediaMetaError
from xmediameta.journal import Counted, Incoming, Journal, JournalRun, Loaded, State
from xmediameta.models import Update
from xmediameta.outcomes import Applied
from xmediameta.readers import Inputs, Row
from xmediameta.text import counted
from xmediameta.wire import encode

from .keeping import Keeping
from .options import ApplyOptions
from .say import Reporter
from .sending import bound, client_of, shown, tell
from .summary import Summary

SANDBOX_PLACE: Final = "sandbox"


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
    def accounts(self) -> dict[str | None, int]:
        """Rows that wait, by account."""
        return {one.account or None: one.rows for one in self.counts if one.state == "pending" and one.rows}


async def load_run(options: ApplyOptions, inputs: Inputs, kept: Keeping, fingerprint: str | None) -> Left:
    """Load the input into its run, whole or not at all.

    Raises:
        JournalError: the journal cannot be used, or another process has the run.
    """
    async with await Journal.open(kept.path) as journal:
        run = await _started(options, journal, kept, incoming(options, inputs), fingerprint)
        left = Left(loaded=run.loaded, counts=await journal.counts(run.record))
        await run.aclose()
        return left


async def send_kept(
    options: ApplyOptions,
    kept: Keeping,
    fingerprint: str | None,
    rows: Iterable[Incoming],
    credentials: dict[str | None, BearerToken],
    left: Left,
    reporter: Reporter,
    summary: Summary,
) -> None:
    """Send what is left, and count into `summary`.

    Args:
        rows: the input once more, read where no fingerprint tells that it is the same.

    Raises:
        ConfigurationError: an option that the client refuses; nothing was sent.
        JournalError: the journal cannot be used; nothing was sent.
    """
    async with client_of(options, credentials) as client, await Journal.open(kept.path) as journal:
        held = await _started(options, journal, kept, rows, fingerprint)
        try:
            await _work(options, client, held, left, reporter, summary)
        finally:
            stopped = summary.stopped()
            await _ended(held, None if stopped is None else json.dumps(stopped), summary)
        summary.take(await journal.counts(held.record))
        await _tell_failures(journal, held, reporter, summary)


async def _work(
    options: ApplyOptions, client: Client, held: JournalRun, left: Left, reporter: Reporter, summary: Summary
) -> None:
    async with client.bulk(
        (),
        journal=held,
        max_wait=options.max_wait,
        max_requests=bound(options),
        max_duration=options.max_duration,
    ) as run:
        try:
            with shown(options, client, run, left.accounts, reporter, summary):
                async for outcome in run:
                    summary.note(outcome)
                    summary.requests = run.requests
                    if isinstance(outcome, Applied):
                        tell(f"media {outcome.id}", outcome, 0, reporter, summary)
        except ConfigurationError:
            raise
        except XMediaMetaError as error:
            summary.note_stop(error)


async def _tell_failures(journal: Journal, held: JournalRun, reporter: Reporter, summary: Summary) -> None:
    """Say what failed in this sitting, up to a bound, and where it stands in the input."""
    since, nth = held.record.started_at or "", 0
    failed: tuple[State, ...] = ("failed",)
    async for record in await journal.results(held.record, failed):
        if (record.settled_at or "") >= since:
            nth += 1
            tell(record.source or f"media {record.id}", earlier(record), nth, reporter, summary)


async def _ended(held: JournalRun, stopped: str | None, summary: Summary) -> None:
    try:
        await held.aclose(stopped)
    except XMediaMetaError as error:
        summary.note_stop(error)


async def _started(
    options: ApplyOptions,
    journal: Journal,
    kept: Keeping,
    rows: Iterable[Incoming],
    fingerprint: str | None,
) -> JournalRun:
    return await journal.start(
        kept.name,
        SANDBOX_PLACE if options.sandbox else options.base_url.rstrip("/"),
        rows,
        fingerprint=fingerprint,
        force=options.force,
        retry_failed=options.retry_failed,
    )


def incoming(options: ApplyOptions, inputs: Inputs) -> Iterator[Incoming]:
    """The rows of an input as the journal takes them, the invalid ones that are skipped as well."""
    for item in inputs.rows():
        if isinstance(item, Row):
            body = encode(item.update, strict=options.strict)
            yield Incoming(update=item.update, body=body, source=item.where, passed=item.passed or None)
        elif item.fatal or not options.skip_invalid:
            raise InputChanged(str(item))
        else:
            yield Incoming(update=Update(""), body=None, source=item.where, fault=(item.member, item.rule))


def told(left: Left, reporter: Reporter) -> None:
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
