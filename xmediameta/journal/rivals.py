"""Media ids to which another run, under way at the same time, sends something else.

Theory. Within a run the rows of a media id go out one after the other, so what came last is known. Two runs do not
wait for each other: whichever outcome is recorded last, X may hold what the other sent. So for these media ids nothing
counts as sure while both are under way, and the next run sends them again. A run looks for others when it begins, and
again whenever another has begun since. One that began after it was under way beside it, whether it has ended since, was
killed, or goes on; one that began before it counts if it is under way at the first look.

What a run has sent in a sitting before its last one is not looked at: one that was killed, started anew with another
input, and overlapped with this one twice, may go unnoticed. Nor are rows that come into a run later (`growing`): what a
batcher and a run send to one media id at the very same time is remembered as of whoever was recorded last.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from .file import JournalFile
from .lock import RunLock
from .records import RunRecord
from .schema import beyond, first

_OTHERS: Final = "SELECT name, load, sitting, ended_at FROM run WHERE run <> ? AND sitting > ?"
_SHARED: Final = (
    "SELECT DISTINCT mine.account, mine.media_id FROM task AS theirs"
    " JOIN task AS mine ON mine.account = theirs.account AND mine.media_id = theirs.media_id"
    " WHERE theirs.task >= ? AND theirs.task < ? AND mine.task >= ? AND mine.task < ? AND mine.digest <> theirs.digest"
)


class Rivals:
    """The media ids that one sitting of a run shares with others.

    Args:
        file: the journal's.
        record: the run.

    Attributes:
        shared: the account and id of each, as of the last look.
        newest: the newest sitting that was there then.
    """

    def __init__(self, file: JournalFile, record: RunRecord) -> None:
        self._file = file
        self._record = record
        self.newest = -1
        self.shared: set[tuple[int, str]] = set()

    def look(self) -> set[tuple[int, str]]:
        """`shared`, as of now."""
        newest = self._file.one("SELECT max(sitting) FROM run")
        if newest != self.newest:
            mine = self._record
            others = self._file.db.execute(_OTHERS, (mine.run, self.newest)).fetchall()
            for name, load, sitting, ended_at in others:
                if sitting > mine.sitting or (ended_at is None and self._is_under_way(name)):
                    spans = first(load), beyond(load), first(mine.load), beyond(mine.load)
                    self.shared.update(self._file.db.execute(_SHARED, spans).fetchall())
            self.newest = newest
        return self.shared

    def _is_under_way(self, name: str) -> bool:
        """Whether a run is held, and was not killed."""
        try:
            return RunLock(self._file.path, name).is_held()
        except (sqlite3.Error, OSError):
            return True  # to be on the safe side
