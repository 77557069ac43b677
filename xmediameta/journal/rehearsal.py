"""What loading an input would make of it: found out in a throw-away journal, so that the real one stays as it is.

Theory. The throw-away journal gets the run as the real one has it, if it is there, and has no memory of its own of what
was sent: it looks into the real one's, attached read-only. So a rehearsal does what a start does, statement for
statement, and takes no lock that a run under way would have to wait for. Each look is one short transaction, except the
one that settles the input.
"""

from __future__ import annotations

import sqlite3
import time
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from .file import JournalFile, failure
from .records import Counted, Loaded, RunRecord, State
from .schema import beyond, first
from .store import Store

_ROWS: Final = "task >= (SELECT load << 32 FROM run) AND task < (SELECT (load + 1) << 32 FROM run)"
# What is copied of the real journal: of the run that is rehearsed, and what it refers to.
_COPIED: Final = {
    "place": "true",
    "account": "true",
    "run": "name = :name",
    "load": "load IN (SELECT load FROM run)",
    "portion": "load IN (SELECT load FROM run)",
    "task": _ROWS,
    "outcome": _ROWS,
}
_BESIDE: Final = (
    # New ones get numbers that the real journal does not give to others meanwhile.
    "INSERT INTO place (place, base_url) VALUES (1 << 40, '')",
    "INSERT INTO account (account, place, name) VALUES (1 << 40, 1 << 40, '')",
    # From here on these names mean the tables of the real journal.
    "DROP TABLE sent",
    "DROP TABLE quota",
)
# Of requests that are to be sent: one that serves several rows makes sense as long as it does for one of them.
_DEADLINES: Final = (
    "SELECT account, CASE WHEN last IS NULL THEN send_before ELSE ("
    " SELECT CASE WHEN count(*) = count(other.send_before) THEN max(other.send_before) END"
    " FROM task AS other LEFT JOIN outcome ON outcome.task = other.task"
    " WHERE (other.task = task.task OR other.leader = task.task) AND outcome.task IS NULL) END AS deadline"
    " FROM task WHERE task >= ? AND task < ? AND leader IS NULL AND send_before IS NOT NULL AND deadline IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM outcome WHERE outcome.task = task.task)"
)


class Rehearsal(Struct, frozen=True, kw_only=True):
    """What a start would make of an input.

    Attributes:
        loaded: what loading it would change.
        counts: rows by account and state, and the requests that they need.
        deadlines: of each account (None for rows that name none), the `send_before` of the requests that have one, in
            seconds from the end of the rehearsal, as `estimate` takes them; in no order.
        windows: how the windows stood when the place was sent to last, as JSON by owner.
        record: the run as a start would leave it; its requests and retries are those that count on.
    """

    loaded: Loaded
    counts: tuple[Counted, ...]
    deadlines: Mapping[str | None, Sequence[float]]
    windows: Mapping[str, str]
    record: RunRecord

    def rows(self, state: State) -> int:
        """How many rows would be in a state: `pending` are those to be sent."""
        return sum(one.rows for one in self.counts if one.state == state)

    @property
    def requests(self) -> dict[str | None, int]:
        """Requests to be sent by account, as `estimate` takes them."""
        needed: dict[str | None, int] = {}
        for one in self.counts:
            if one.requests_needed:
                needed[one.account or None] = needed.get(one.account or None, 0) + one.requests_needed
        return needed

    @property
    def collapsed(self) -> int:
        """Rows to be sent that share the request of another one."""
        return self.rows("pending") - sum(self.requests.values())

    def __repr__(self) -> str:
        return f"<Rehearsal of {self.loaded.total} rows, {sum(self.requests.values())} requests to be sent>"


class Stage(Store):
    """A throw-away journal on which a run is rehearsed.

    Args:
        folder: where it lies.
        journal: the real one, which need not be there.
        name: of the run.

    Raises:
        JournalError: the real journal cannot be opened, is damaged, or comes from a newer version.
    """

    def __init__(self, folder: Path, journal: Path, name: str) -> None:
        # Held open until the end, so that its log is cleared away by one who may.
        self._real = JournalFile(journal) if journal.exists() and not _is_blank(journal) else None
        try:
            super().__init__(folder / "rehearsal.db")
            try:
                # It need not outlive anything, and without a log each page is written once.
                for pragma in ("synchronous = OFF", "journal_mode = TRUNCATE", "locking_mode = EXCLUSIVE"):
                    self._file.db.execute(f"PRAGMA main.{pragma}")
                if self._real is not None:
                    self._copy(self._real, name)
            except BaseException:
                super().close()
                raise
        except sqlite3.Error as error:
            self._let_go()
            raise failure(journal, error) from error
        except BaseException:
            self._let_go()
            raise

    def close(self) -> None:
        """Close both files."""
        super().close()
        self._let_go()

    def rehearsed(self, record: RunRecord, loaded: Loaded, windows: Mapping[str, str]) -> Rehearsal:
        """What became of the input."""
        now = time.time()
        names: dict[int, str] = dict(self._file.db.execute("SELECT account, name FROM account").fetchall())
        deadlines: dict[str | None, array[float]] = {}
        for account, deadline in self._file.db.execute(_DEADLINES, (first(record.load), beyond(record.load))):
            deadlines.setdefault(names[account] or None, array("d")).append(deadline - now)
        return Rehearsal(
            loaded=loaded,
            counts=tuple(self.counts(record.load)),
            deadlines=deadlines,
            windows=windows,
            record=record,
        )

    def _copy(self, real: JournalFile, name: str) -> None:
        # Read-only, so that no transaction of ours takes the real journal's lock for writing.
        self._file.db.execute("ATTACH ? AS kept", (f"{real.path.as_uri()}?mode=ro",))
        with self._file.transaction() as db:
            for table, condition in _COPIED.items():
                # By name: a table that was altered since it was made has them in another order.
                columns = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
                db.execute(
                    f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM kept.{table} WHERE {condition}",  # noqa: S608
                    {"name": name} if ":name" in condition else {},
                )
            for statement in _BESIDE:
                db.execute(statement)

    def _let_go(self) -> None:
        real, self._real = self._real, None
        if real is not None:
            real.close()


def _is_blank(path: Path) -> bool:
    with suppress(OSError):
        return path.is_file() and not path.stat().st_size
    return False
