"""What happened to a run, beside how its rows ended: who worked on it and when, and what held it up.

    kind    account   data
    begun   -         sitting, pid, host, requests (of the run so far)
    wait    waits     window, until (when that opens)
    window  or app    window, opened, closed, limit, sent (from here), used (by all who share it)
    stop    is out    reason, message, action, all_of_its_app; without an account: why the run stopped early
    ended   -         sitting, requests, retries (of the run so far)

A sitting without an end was killed, or is under way. So that a run of months stays small, only the last events of a run
are kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from .records import EventRecord

MOST: Final = 5_000  # events of one run that are kept


class Note(Struct, frozen=True, gc=False, kw_only=True):
    """An event to be recorded; see `EventRecord`."""

    at: str
    kind: str
    account: str | None = None
    data: str = "null"


def data(**members: object) -> str:
    """What an event tells, as JSON."""
    return msgspec.json.encode(members).decode()


def keep(db: sqlite3.Connection, run: int, notes: Sequence[Note]) -> None:
    """Write events down, within a transaction, and let go of the oldest where there are too many."""
    if not notes:
        return
    db.executemany(
        "INSERT INTO event (run, at, kind, account, data) VALUES (?, ?, ?, ?, ?)",
        [(run, note.at, note.kind, note.account, note.data) for note in notes],
    )
    db.execute(
        "DELETE FROM event WHERE run = ? AND event <= ("
        " SELECT event FROM event WHERE run = ? ORDER BY event DESC LIMIT 1 OFFSET ?)",
        (run, run, MOST),
    )


def forget(db: sqlite3.Connection, run: int) -> None:
    """The run begins anew."""
    db.execute("DELETE FROM event WHERE run = ?", (run,))


def read(db: sqlite3.Connection, run: int) -> list[EventRecord]:
    """The events of a run, the oldest first."""
    rows = db.execute("SELECT at, kind, account, data FROM event WHERE run = ? ORDER BY event", (run,))
    return [EventRecord(at=at, kind=kind, account=account, data=told) for at, kind, account, told in rows]
