"""A run that grows: rows come in one at a time while it is under way, and those that are settled go.

Its input is a queue's and never at an end, so it is loaded empty, under a fingerprint that no file has. A row that is
appended counts as drawn at once. What is applied is remembered in `sent`, as in any run; its row is deleted, so that a
run of months stays small. What failed stays until the run is started next, for `results` and `status`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from xmediameta.models import Update

from .events import Note
from .file import JournalFile
from .records import Drawn, Finished, RunRecord, digest
from .rivals import Rivals
from .schema import NEVER, SURE, beyond, first
from .work import MARK, Work

FINGERPRINT: Final = "a queue"  # a digest of a file has no space

_APPEND: Final = (
    "INSERT INTO task (task, account, media_id, ref, digest, send_before, due, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_NOTHING: Final[Mapping[str, str]] = {}


class Growing(Work):
    """The work of a run that grows; see `Work`."""

    def __init__(
        self, file: JournalFile, record: RunRecord, rivals: Rivals, accounts: dict[str, int], plain: int | None
    ) -> None:
        super().__init__(file, record, rivals, accounts, plain)
        load = record.load
        with file.transaction():
            self._forget(
                "SELECT task, account FROM outcome JOIN task USING (task) WHERE task >= ? AND task < ?",
                (first(load), beyond(load)),
            )
        last = file.one("SELECT max(task) FROM task WHERE task >= ? AND task < ?", first(load), beyond(load))
        self._next_task: int = first(load) if last is None else last + 1
        # Rows of one media id that are not settled: the last of them is what the media shall have in the end.
        self._lines: dict[tuple[int, str], list[int]] = {}

    def append(self, rows: Sequence[tuple[Update, bytes]]) -> list[Drawn]:
        """Take rows in, in one transaction; they are drawn."""
        drawn: list[Drawn] = []
        base = first(self._record.load)
        with self._file.transaction() as db:
            for update, body in rows:
                account, task = self._account(update.account or ""), self._next_task
                self._next_task += 1
                due = NEVER if update.deadline is None else update.deadline
                hashed = digest(body)
                values = (task, account, update.id, update.ref, hashed, update.deadline, due, body.decode())
                db.execute(_APPEND, values)
                db.execute(MARK, (self._record.sitting, account, update.id, SURE))
                self._join((account, update.id), task)
                drawn.append(Drawn(task - base, update, body, due))
            db.execute("UPDATE load SET total = total + ? WHERE load = ?", (len(rows), self._record.load))
        return drawn

    def draw(self, name: str, after: tuple[float, int], most: int) -> list[Drawn]:
        """As `Work.draw`: what an earlier process has left."""
        tasks = super().draw(name, after, most)
        base, account = first(self._record.load), self._accounts[name]
        for task in tasks:
            self._lines.setdefault((account, task.update.id), []).append(base + task.seq)
        return tasks

    def finish(
        self,
        batch: Sequence[Finished],
        requests: int,
        retries: int,
        windows: Mapping[str, str] = _NOTHING,
        notes: Sequence[Note] = (),
    ) -> None:
        """As `Work.finish`; rows that are settled and have not failed go."""
        super().finish(batch, requests, retries, windows, notes)
        base = first(self._record.load)
        done = [f for f in batch if f.state not in {"pending", "failed"}]
        for f in batch:
            key = self._accounts[f.task.update.account or ""], f.task.update.id
            line = self._lines.get(key)
            if line is not None and base + f.task.seq in line:
                line.remove(base + f.task.seq)
                if not line:
                    del self._lines[key]
        if done:
            with self._file.transaction():
                for f in done:
                    number = base + f.task.seq
                    self._forget("SELECT task, account FROM task WHERE task = ? OR leader = ?", (number, number))

    # Within

    def _account(self, name: str) -> int:
        number = self._accounts.get(name)
        db, load = self._file.db, self._record.load
        if number is None:
            place = self._file.one("SELECT place FROM run WHERE run = ?", self._record.run)
            db.execute("INSERT INTO account (place, name) VALUES (?, ?) ON CONFLICT DO NOTHING", (place, name))
            number = int(self._file.one("SELECT account FROM account WHERE place = ? AND name = ?", place, name))
            self._accounts[name] = number
        db.execute(
            "INSERT INTO portion (load, account, total) VALUES (?, ?, 1)"
            " ON CONFLICT (load, account) DO UPDATE SET total = total + 1",
            (load, number),
        )
        return number

    def _join(self, key: tuple[int, str], task: int) -> None:
        line = self._lines.setdefault(key, [])
        line.append(task)
        self._out[key] = self._out.get(key, 0) + 1
        if len(line) > 1:
            self._file.db.executemany("UPDATE task SET last = ? WHERE task = ?", [(task, each) for each in line])

    def _forget(self, which: str, values: tuple[int, ...]) -> None:
        """Delete rows with their outcomes, within a transaction, and count them no more."""
        db, load = self._file.db, self._record.load
        rows = db.execute(which, values).fetchall()
        db.executemany("DELETE FROM outcome WHERE task = ?", [(task,) for task, _ in rows])
        db.executemany("DELETE FROM task WHERE task = ?", [(task,) for task, _ in rows])
        db.executemany(
            "UPDATE portion SET total = total - 1 WHERE load = ? AND account = ?",
            [(load, account) for _, account in rows],
        )
        db.execute("UPDATE load SET total = total - ? WHERE load = ?", (len(rows), load))
