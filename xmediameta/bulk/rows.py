"""One input of a run: from what the caller gave to the outcome that it ends in."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Protocol, cast

from xmediameta.coalesce import Entry
from xmediameta.errors import InvalidUpdate, XMediaMetaError
from xmediameta.models import Update
from xmediameta.outcomes import Applied, Outcome
from xmediameta.sender import Result
from xmediameta.told import unsuccessful
from xmediameta.wire import Reply

Given = Update | Mapping[str, Any]


class Run(Protocol):
    """What a row tells its run."""

    def lead(self, entry: Entry) -> None:
        """Send the entry, which is at the head of its lane."""
        ...

    def hurry(self, entry: Entry) -> None:
        """Send the entry, which the run leads, ahead of bulk."""
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

    @property
    def owner(self) -> Run:
        """The run, which may coalesce its own rows."""
        return self.run

    def lead(self, entry: Entry) -> None:
        """The entry is at the head of its lane: the run sends it."""
        self.run.lead(entry)

    def hurry(self, entry: Entry) -> None:
        """An interactive call waits for the entry."""
        self.run.hurry(entry)

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
            outcome = unsuccessful(update, about(update, entry, result))
        self.end(outcome, entry.attempts, entry.seconds)

    def end(self, outcome: Outcome, attempts: int = 0, seconds: float | None = None) -> None:  # noqa: ARG002 - for rows that are recorded
        """The row has its outcome.

        Args:
            attempts: requests that were sent for it.
            seconds: from the first of them to the last answer.
        """
        self.run.deliver(outcome)


def about(update: Update, entry: Entry, error: XMediaMetaError) -> XMediaMetaError:
    """The error that an entry ended with, as the error of one of the updates that shared it."""
    if update is entry.update:
        return error
    error = copy.copy(error)
    error.about(update.id, update.ref, update.account, entry.attempts)
    return error


def as_update(given: object) -> Update:
    """The update that a caller gave, not yet checked where it is one already.

    Raises:
        InvalidUpdate: it is none, or breaks the contract.
    """
    if isinstance(given, Update):
        return given
    if not isinstance(given, Mapping):
        raise InvalidUpdate("", f"must be an Update or a mapping, not {type(given).__name__}")
    try:
        return Update.from_mapping(cast("Mapping[str, Any]", given))
    except XMediaMetaError:
        raise
    except Exception as error:
        # A mapping of the caller's own class may fail as it is read; the stream goes on after it.
        raise InvalidUpdate("", f"the mapping cannot be read: {type(error).__name__}") from error


def as_far_as_known(given: object) -> Update:
    """An update to show in an outcome, from an input that is none. Never raises."""
    if isinstance(given, Update):
        return given
    media_id, ref, account = (_member(given, name) for name in ("id", "ref", "account"))
    return Update(
        media_id if isinstance(media_id, str) else "",
        account=account if isinstance(account, str) else None,
        ref=ref if isinstance(ref, str | int) else None,
    )


def _member(given: object, name: str) -> object:
    try:
        return cast("Mapping[str, object]", given).get(name) if isinstance(given, Mapping) else None
    except Exception:  # noqa: BLE001 - of the caller's own class
        return None
