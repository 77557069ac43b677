"""Runs that survive anything: what was to be sent, what was sent, and how each update ended, in one SQLite file.

Rooms, from the bottom: `schema` (the tables, and how to read them), `records`, `events` (what else happened), `places`,
`file` (opening and checking), `chains` (what is decided about the rows of one media id) and `sequences` (how these are
found and joined), `lock` and `rivals` (who else is at work), `loading`, `settling` and `work` (an input comes in, is
compared with what was sent, and goes out), `growing` (rows come in one at a time), `store` (the whole engine),
`rehearsal` (the same on a throw-away copy), `thread`, and `journal` with `run`, `shelf` and `queue`, the asyncio face.
"""

from __future__ import annotations

from .file import time_text
from .journal import Journal
from .places import journal_path
from .queue import JournalQueue
from .records import (
    STATES,
    Clash,
    Clashes,
    Counted,
    Drawn,
    EventRecord,
    Finished,
    Incoming,
    Loaded,
    RunRecord,
    State,
    TaskRecord,
    digest,
)
from .rehearsal import Rehearsal
from .run import JournalRun

__all__ = [
    "STATES",
    "Clash",
    "Clashes",
    "Counted",
    "Drawn",
    "EventRecord",
    "Finished",
    "Incoming",
    "Journal",
    "JournalQueue",
    "JournalRun",
    "Loaded",
    "Rehearsal",
    "RunRecord",
    "State",
    "TaskRecord",
    "digest",
    "journal_path",
    "time_text",
]
