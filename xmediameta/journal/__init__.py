"""Runs that survive anything: what was to be sent, what was sent, and how each update ended, in one SQLite file.

Rooms: `schema` (the tables), `store` (the engine), `journal` (its asyncio face), `lock`, `places`, `records`.
"""

from __future__ import annotations

from .journal import Journal, JournalRun
from .places import journal_path
from .records import STATES, Counted, Drawn, Finished, Incoming, Loaded, RunRecord, State, TaskRecord
from .store import digest

__all__ = [
    "STATES",
    "Counted",
    "Drawn",
    "Finished",
    "Incoming",
    "Journal",
    "JournalRun",
    "Loaded",
    "RunRecord",
    "State",
    "TaskRecord",
    "digest",
    "journal_path",
]
