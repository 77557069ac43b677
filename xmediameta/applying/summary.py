"""What a run came to, as programs see it: the object that `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

SCHEMA_VERSION: Final = 1


class Counts(Struct, kw_only=True):
    """Rows by how they ended."""

    applied: int = 0
    unchanged: int = 0
    failed: int = 0
    expired: int = 0
    pending: int = 0

    @property
    def done(self) -> int:
        """Rows that are settled."""
        return self.applied + self.unchanged + self.failed + self.expired


class EarlyEnd(Struct, frozen=True, kw_only=True):
    """Why a run ended early.

    Attributes:
        reason: a slug, such as `credits-depleted`.
        account: whose end it is, or None for the whole run.
        action: what a person can do.
        resume_at: when the same may go on, aware, or None.
    """

    reason: str
    account: str | None
    action: str
    resume_at: datetime | None


class Summary(Struct, frozen=True, kw_only=True):
    """What a run came to; all sittings of a run together where it is kept in a journal.

    Attributes:
        schema_version: of this object.
        run: its name, or None where it is kept nowhere.
        total: rows of the input; the counts after it add up to it.
        invalid: rows that were no updates, and were skipped.
        requests, retries: sent in this sitting.
        cost_usd: of these requests, at most: whether X bills failed calls is not known.
        seconds: that sending took.
        by_account: rows by account; those that name none stand under the empty name.
        stopped: why it ended early, or None.
        journal: the path, or None.
    """

    schema_version: int = SCHEMA_VERSION
    run: str | None
    total: int
    applied: int
    unchanged: int
    failed: int
    expired: int
    pending: int
    invalid: int
    requests: int
    retries: int
    cost_usd: float
    seconds: float
    by_account: Mapping[str, Counts]
    stopped: EarlyEnd | None
    journal: str | None

    @property
    def ok(self) -> bool:
        """Whether every row was applied, or was sent before and is unchanged."""
        return self.stopped is None and self.applied + self.unchanged == self.total


class Progress(Struct, frozen=True, kw_only=True):
    """How a run stands while it goes on.

    Attributes:
        summary: so far.
        done: rows that are settled.
        in_flight: requests on the wire.
        waiting_until: when the first account goes on, aware, where all that have work wait for a window; else None.
    """

    summary: Summary
    done: int
    in_flight: int
    waiting_until: datetime | None
