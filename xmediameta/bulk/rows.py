"""One input of a run: from what the caller gave to the outcome that it ends in."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Protocol, cast

from xmediameta.coalesce import Entry
from xmediameta.errors import XMediaMetaError
from xmediameta.models import Update
from xmediameta.outcomes import Applied, Failed, NotSent, Outcome, Reason
from xmediameta.sender import Result
from xmediameta.wire import Reply

Given = Update | Mapping[str, Any]

_REASONS: dict[str, Reason] = {"account": "account_stopped", "run": "run_stopped"}


class Run(Protocol):
    """What a row tells its run."""

    def lead(self, entry: Entry) -> None:
        """Send the entry, which is at the head of its lane."""
        ...

    def deliver(self, outcome: Outcome) -> None:
        """Take in how a row ended."""
        ...


class Row:
    """One input, as one who shares an entry of a lane."""

    __slots__ = ("run", "update")

    def __init__(self, run: Run, update: Update) -> None:
        self.run = run
        self.update = update

    def lead(self, entry: Entry) -> None:
        """The entry is at the head of its lane: the run sends it."""
        self.run.lead(entry)

    def deliver(self, entry: Entry, result: Result) -> None:
        """The entry is settled, and the row with it."""
        update = self.update
        if isinstance(result, Reply):
            outcome: Outcome = Applied(
                update=update,
                transaction_id=result.transaction_id,
                attempts=entry.attempts,
                warnings=result.warnings,
                raw_metadata=result.raw_metadata,
            )
        else:
            if update is not entry.update:
                result = copy.copy(result)
                result.about(update.id, update.ref, update.account, entry.attempts)
            outcome = unsuccessful(update, result)
        self.run.deliver(outcome)


def unsuccessful(update: Update, error: XMediaMetaError) -> Failed | NotSent:
    """What an error means for a row: one that is about more than the update leaves the row unsettled."""
    reason = _REASONS.get(error.scope)
    return Failed(update=update, error=error) if reason is None else NotSent(update=update, reason=reason, error=error)


def as_far_as_known(given: object) -> Update:
    """An update to show in an outcome, from an input that is none."""
    if not isinstance(given, Mapping):
        return Update("")
    mapping = cast("Mapping[str, object]", given)
    media_id, ref, account = mapping.get("id"), mapping.get("ref"), mapping.get("account")
    return Update(
        media_id if isinstance(media_id, str) else "",
        account=account if isinstance(account, str) else None,
        ref=ref if isinstance(ref, str | int) else None,
    )
