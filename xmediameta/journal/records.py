"""What goes into a journal and what comes out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from xmediameta.models import Update

State = Literal["pending", "applied", "unchanged", "failed", "expired", "invalid"]
STATES: tuple[State, ...] = ("pending", "applied", "unchanged", "failed", "expired", "invalid")
DIGEST = 16  # bytes

_nothing = hashlib.blake2b(digest_size=DIGEST)


def digest(body: bytes) -> bytes:
    """What stands for a request in the journal's memory."""
    hashed = _nothing.copy()  # takes half as long as to begin one
    hashed.update(body)
    return hashed.digest()


class Incoming(Struct, frozen=True, gc=False, kw_only=True):
    """One input row to be loaded.

    Attributes:
        update: what is to be sent; of an invalid row, as far as it is known.
        body: the request, or None for an invalid row.
        source: where it stands, such as `updates.csv:3`.
        passed: columns that are only passed through.
        fault: (member, rule) of an invalid row.
    """

    update: Update
    body: bytes | None
    source: str | None = None
    passed: Mapping[str, Any] | None = None
    fault: tuple[str, str] | None = None


class Drawn(Struct, frozen=True, gc=False):
    """One task that is to be sent: rebuilt from its row.

    Attributes:
        body: the request.
        due: the earliest `send_before` from here on for its media id (Unix seconds).
        followers: later rows that equal it and share its request and its outcome; all of them then have the latest of
            their `send_before`.
        digest: of another request that was sent in its place; None: it was its own.
    """

    seq: int
    update: Update
    body: bytes
    due: float
    followers: tuple[Update, ...] = ()
    digest: bytes | None = None


class Finished(Struct, frozen=True, gc=False, kw_only=True):
    """How a task ended, to be recorded.

    Attributes:
        seconds: from its first request to the last answer; None where nothing was sent for it.
        maybe_applied: whether a failed request may have been applied all the same: what the media id was last sent is
            then not known any more.
    """

    task: Drawn
    state: State
    attempts: int = 0
    status: int | None = None
    error: str | None = None
    problem: str | None = None
    transaction_id: str | None = None
    maybe_applied: bool = False
    seconds: float | None = None


class Clash(Struct, frozen=True, kw_only=True):
    """A media id whose rows set different members.

    Attributes:
        sources: where its first row stands, and the first that differs.
        members: what these set.
    """

    id: str
    account: str | None
    sources: tuple[str, ...]
    members: tuple[tuple[str, ...], ...]


class Clashes(Struct, frozen=True, kw_only=True):
    """Media ids whose rows set different members, so that X may drop what an earlier one has set.

    Attributes:
        count: how many.
        examples: the first few.
    """

    count: int = 0
    examples: tuple[Clash, ...] = ()


class Loaded(Struct, frozen=True, kw_only=True):
    """What loading an input changed.

    Attributes:
        total: rows of the input.
        resumed: whether the run was there before and had not ended.
        same: whether the input is the one that was loaded before.
        new: rows that were not in the input before (all of them in a new run, else without the invalid ones).
        removed: rows that are not in the input any more.
        clashes: media ids whose rows set different members; none where they are coalesced.
    """

    total: int
    resumed: bool
    same: bool
    new: int
    removed: int = 0
    clashes: Clashes = Clashes()


class Counted(Struct, frozen=True, kw_only=True):
    """How many rows of a run are in each state, by account."""

    account: str
    state: State
    rows: int
    requests_needed: int


class RunRecord(Struct, frozen=True, kw_only=True):
    """One run as it stands in the journal.

    Attributes:
        load: the number of its input as loaded last.
        pid, host: who holds it, or held it last.
        requests, retries: sent since it last began anew.
        stopped: why it stopped early, as JSON.
        sitting: the number of its last start, among all starts of all runs.
        total: rows of its input.
    """

    run: int
    name: str
    base_url: str
    load: int
    fingerprint: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None
    pid: int | None
    host: str | None
    requests: int
    retries: int
    stopped: str | None
    sitting: int = 0
    total: int = 0


class TaskRecord(Struct, frozen=True, kw_only=True):
    """One input row with its outcome, as `results` shows it.

    Attributes:
        seconds: from its first request of the sitting in which it ended to the last answer.
    """

    seq: int
    source: str | None
    id: str
    account: str | None
    ref: str | int | None
    state: State
    attempts: int
    status: int | None
    error: str | None
    problem: str | None
    transaction_id: str | None
    settled_at: str | None
    passed: str | None
    body: str | None
    send_before: float | None
    seconds: float | None = None


class EventRecord(Struct, frozen=True, kw_only=True):
    """Something that happened to a run; `events` says what.

    Attributes:
        at: when, UTC, as ISO 8601 text.
        account: whose it is, or None.
        data: JSON.
    """

    at: str
    kind: str
    account: str | None
    data: str | None
