"""An input on its way into a run: loaded whole or not at all, and in pieces, so that other runs are not kept waiting.

Theory. Rows go into a load of their own, which becomes the run's with one last transaction; until then nobody sees
them, and what a killed process left behind is swept away when the run is loaded next. As long as the rows that come in
are those of the run's present load, nothing is written: a second time costs a comparison. The first row that differs
parts the ways: what was the same is copied within SQLite, and the rest is inserted.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, groupby
from operator import itemgetter, lt
from typing import Final

import msgspec

from xmediameta.coalesce import Coalesce
from xmediameta.text import printable

from .chains import Link, keep
from .file import Changes, JournalFile, now_text
from .records import Incoming, Loaded, RunRecord, digest
from .schema import NEVER, beyond, first
from .sequences import clashes, have_sequences, put_in_order
from .writing import Row, storable, write

_PIECE: Final = 20_000  # rows that are copied or deleted in one transaction
_LONGEST_ID: Final = 100  # of an invalid row, where it may be anything

# What makes two rows of an input the same, in the order of Row; of an invalid row also what is wrong with it.
_SAME: Final = (
    "SELECT account, media_id, ref, source, passed, digest, send_before, CASE WHEN digest IS NULL"
    " THEN (SELECT problem FROM outcome WHERE outcome.task = task.task) END"
    " FROM task WHERE task >= ? AND task < ? ORDER BY task"
)
_COMPARED: Final = 8
_KEEP: Final = (
    "INSERT OR REPLACE INTO outcome"
    " (task, state, settled_at, attempts, transaction_id, seconds, status, error, problem)"
    " SELECT ?, state, settled_at, attempts, transaction_id, seconds, status, error, problem"
    " FROM outcome WHERE task = ?"
)
_BY_MEDIA: Final = (
    "SELECT account, media_id, task, digest, coalesce(state, 'pending'), send_before"
    " FROM task LEFT JOIN outcome USING (task) WHERE task >= ? AND task < ? AND digest IS NOT NULL"
    " ORDER BY account, media_id, task"
)

_Group = tuple[tuple[int, str], list[Link]]
_write_passed: Final = msgspec.json.Encoder(enc_hook=str).encode


class Loading:
    """Takes the rows of an input in order, then makes them the run's.

    Args:
        file: the journal's.
        name: of the run, which the caller holds.
        place: the number of the base URL.
        known: the run, where it was there before.
        unfinished: whether it had rows left.
        coalesce: what becomes of different rows of one media id.
        stopped: asked now and then while a long statement runs; true ends it.
    """

    def __init__(
        self,
        file: JournalFile,
        name: str,
        place: int,
        *,
        known: RunRecord | None,
        unfinished: bool,
        coalesce: Coalesce,
        stopped: Callable[[], bool],
    ) -> None:
        self._file = file
        self._db = file.db
        self._name = name
        self._place = place
        self._known = known
        self._unfinished = unfinished
        self._coalesce: Coalesce = coalesce
        self._stopped = stopped
        self._accounts: dict[str, int] = {}
        self._count = 0
        self._plain: int | None = None
        self._highest: str | None = ""  # the last media id as long as each is above the one before: none comes twice
        self._load: int | None = None  # None as long as the rows are those of the known load
        self._base = 0
        if known is not None:
            self._plain = file.one("SELECT plain FROM load WHERE load = ?", known.load)
        # Rows of a media id that has several may have been joined in another way than they now are.
        self._compared = known is not None and (coalesce is None or not have_sequences(file, known.load))

    # Rows come in

    def add(self, rows: Sequence[Incoming]) -> None:
        """Take some more rows.

        Raises:
            sqlite3.Error: they cannot be written.
        """
        self._name_accounts({row.update.account or "" for row in rows})
        if self._load is None:
            same = 0 if self._known is None or not self._compared else self._same(self._known.load, rows)
            self._count += same
            if same == len(rows):
                return
            self._part_ways()
            rows = rows[same:]
        self._insert(rows)

    def finish(self, fingerprint: str | None) -> Loaded:
        """The input is at its end: the run has it from now on.

        Args:
            fingerprint: what tells whether it changes.
        """
        known = self._known
        if known is not None and self._load is None:
            if known.total == self._count:
                with self._file.transaction():
                    self._db.execute("UPDATE run SET fingerprint = ? WHERE run = ?", (fingerprint, known.run))
                return Loaded(
                    total=self._count,
                    resumed=self._unfinished,
                    same=True,
                    new=0,
                    clashes=clashes(self._file, known.load),
                )
            self._part_ways()  # rows at the end are gone
        load = self._load if self._load is not None else self._begin()
        new, removed = self._count, 0
        with self._file.interruptible(self._stopped), self._file.transaction() as db:
            if self._highest is None:
                put_in_order(self._file, load, self._coalesce)
            if known is not None:
                new, removed = self._keep(known.load, load)
            db.execute(
                "INSERT INTO portion (load, account, total)"
                " SELECT ?, account, count(*) FROM task WHERE task >= ? AND task < ? GROUP BY account",
                (load, first(load), beyond(load)),
            )
            db.execute("UPDATE load SET plain = ?, total = ? WHERE load = ?", (self._plain, self._count, load))
            if known is None:
                db.execute(
                    "INSERT INTO run (name, place, load, fingerprint, created_at) VALUES (?, ?, ?, ?, ?)",
                    (self._name, self._place, load, fingerprint, now_text()),
                )
            else:
                db.execute("UPDATE run SET load = ?, fingerprint = ? WHERE run = ?", (load, fingerprint, known.run))
        with suppress(sqlite3.Error):  # it is loaded; the old rows are swept away the next time
            self.sweep()
        return Loaded(
            total=self._count,
            resumed=self._unfinished,
            same=False,
            new=new,
            removed=removed,
            clashes=clashes(self._file, load),
        )

    def sweep(self) -> None:
        """Remove what loads of this run's name have left behind, in pieces."""
        old = self._db.execute(
            "SELECT load FROM load WHERE name = ? AND load NOT IN (SELECT load FROM run)", (self._name,)
        ).fetchall()
        for (load,) in old:
            task, end = first(load), self._file.one("SELECT max(task) FROM task WHERE task < ?", beyond(load))
            while end is not None and task <= end:
                if self._stopped():
                    return
                with self._file.transaction() as db:
                    for table in ("outcome", "task"):
                        db.execute(f"DELETE FROM {table} WHERE task >= ? AND task < ?", (task, task + _PIECE))  # noqa: S608
                task += _PIECE
            with self._file.transaction() as db:
                db.execute("DELETE FROM portion WHERE load = ?", (load,))
                db.execute("DELETE FROM load WHERE load = ?", (load,))

    # Within

    def _name_accounts(self, names: set[str]) -> None:
        missing = names - self._accounts.keys()
        if not missing:
            return
        with self._file.transaction() as db:
            for name in missing:
                db.execute(
                    "INSERT INTO account (place, name) VALUES (?, ?) ON CONFLICT DO NOTHING", (self._place, name)
                )
                self._accounts[name] = self._file.one(
                    "SELECT account FROM account WHERE place = ? AND name = ?", self._place, name
                )

    def _begin(self) -> int:
        with self._file.transaction() as db:
            load = int(self._file.one("SELECT coalesce(max(load), 0) + 1 FROM load"))
            db.execute("INSERT INTO load (load, name) VALUES (?, ?)", (load, self._name))
        self._load, self._base = load, first(load)
        return load

    def _same(self, load: int, rows: Sequence[Incoming]) -> int:
        """How many of these rows, from the first on, are those of a load."""
        at = first(load) + self._count
        before = self._db.execute(_SAME, (at, at + len(rows))).fetchall()
        for number, (one, other) in enumerate(zip(self._rows(rows), before, strict=False)):
            if one[:_COMPARED] != other:
                return number
        return len(before)

    def _part_ways(self) -> None:
        """Begin a load, with the rows that were the same."""
        load = self._begin()
        if self._known is None or not self._count:
            self._plain = None
            return
        self._highest = None
        old = first(self._known.load)
        values = {"shift": first(load) - old, "plain": self._plain, "never": NEVER}
        for start in range(old, old + self._count, _PIECE):
            piece = values | {"start": start, "end": min(start + _PIECE, old + self._count)}
            with self._file.transaction() as db:
                db.execute(
                    "INSERT INTO task (task, account, media_id, ref, source, passed, digest, send_before, body, due)"
                    " SELECT task + :shift, account, media_id, ref, source, passed, digest, send_before, body,"
                    " CASE WHEN send_before IS NULL AND account IS NOT :plain THEN :never ELSE send_before END"
                    " FROM task WHERE task >= :start AND task < :end",
                    piece,
                )
                db.execute(
                    "INSERT INTO outcome (task, state, error, problem) SELECT task + :shift, state, error, problem"
                    " FROM outcome WHERE task >= :start AND task < :end AND state = 'invalid'",
                    piece,
                )

    def _insert(self, rows: Sequence[Incoming]) -> None:
        values = list(self._rows(rows))
        write(self._file, values)
        self._count += len(values)
        if self._highest is not None:
            ids = [self._highest, *(row[1] for row in values)]
            self._highest = ids[-1] if all(map(lt, ids, ids[1:])) else None

    def _rows(self, rows: Iterable[Incoming]) -> Iterator[Row]:
        accounts = self._accounts
        for task, row in enumerate(rows, self._base + self._count):
            update, body = row.update, row.body
            account = accounts[update.account or ""]
            if row.fault is not None or body is None:
                yield self._invalid(task, account, row)
                continue
            if self._plain is None:
                self._plain = account
            due = update.send_before
            if due is not None:
                due = update.deadline
            passed = _passed(row.passed) if row.passed else None
            yield (
                account, update.id, update.ref, row.source, passed, digest(body), due, None, body.decode(),
                NEVER if due is None and account != self._plain else due, task,
            )  # fmt: skip

    def _invalid(self, task: int, account: int, row: Incoming) -> Row:
        member, rule = row.fault or ("", "is not valid")
        problem = json.dumps({"member": member, "rule": rule})
        update = row.update
        shown = printable(str(update.id), _LONGEST_ID)[:_LONGEST_ID]
        passed = _passed(row.passed) if row.passed else None
        source = storable(row.source)
        return (account, shown, storable(update.ref), source, passed, None, None, problem, None, None, task)

    def _keep(self, old: int, new: int) -> tuple[int, int]:
        """Give the rows of a new load what still holds of the old one.

        Returns:
            How many valid rows are new, and how many are gone.
        """
        changes = Changes(self._db, _KEEP)
        before, now = self._by_media(old), self._by_media(new)
        added = removed = 0
        one, other = next(before, None), next(now, None)
        while one is not None and other is not None:
            if one[0] < other[0]:
                removed += len(one[1])
                one = next(before, None)
            elif one[0] > other[0]:
                added += len(other[1])
                other = next(now, None)
            else:
                kept = keep(one[1], other[1], applied=self._unfinished)
                added += len(other[1]) - kept.known
                removed += len(one[1]) - kept.known
                changes.add(kept.pairs)
                one, other = next(before, None), next(now, None)
        removed += sum(len(links) for _, links in _with(one, before))
        added += sum(len(links) for _, links in _with(other, now))
        changes.make()
        return added, removed

    def _by_media(self, load: int) -> Iterator[_Group]:
        # Sorted before the first row is given, so that outcomes may be written meanwhile.
        rows = self._db.execute(_BY_MEDIA, (first(load), beyond(load)))
        for key, group in groupby(rows, key=itemgetter(0, 1)):
            yield key, [Link(task, hashed, state, due) for _, _, task, hashed, state, due in group]


def _with(group: _Group | None, rest: Iterator[_Group]) -> Iterator[_Group]:
    return rest if group is None else chain((group,), rest)


def _passed(passed: object) -> str:
    try:
        return _write_passed(passed).decode()
    except (UnicodeEncodeError, TypeError, ValueError):
        return json.dumps(passed, default=str)
