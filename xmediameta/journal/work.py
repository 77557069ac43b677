"""The tasks of a run on their way out and back: drawn, finished or given back, while what was sent stays known.

Theory. From the draw of a task until its end nobody knows what its media was last sent: a kill in between must not
leave `sent` with something that looks sure. So a draw marks the row of `sent` with the number of this sitting, and the
end takes the mark away, unless another task of the same media id is still out. A mark of another sitting is not taken
away by anything but a success: its holder was killed, or is another run that is under way. Of what two runs send to
one media id at the same time, nothing is sure (`rivals`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec

from xmediameta.errors import InvalidUpdate, JournalError
from xmediameta.models import Update, decode_update
from xmediameta.text import printable

from . import events
from .events import Note
from .file import JournalFile, now_text
from .records import Drawn, Finished, RunRecord
from .rivals import Rivals
from .schema import DOUBTFUL, NEVER, SURE, beyond, first, seq_of

_COLUMNS: Final = (
    "SELECT task.task, task.due, task.media_id, CAST(task.body AS BLOB), task.digest, task.ref, task.send_before,"
    " task.last, sent.unsure FROM task LEFT JOIN outcome ON outcome.task = task.task"
    " LEFT JOIN sent ON sent.account = task.account AND sent.media_id = task.media_id"
)
_WAITING: Final = "AND task.leader IS NULL AND outcome.task IS NULL"
# SQLite does not seek by (due, task) together, since the task is in the index only as the row's number.
_SAME_DUE: Final = (
    f"{_COLUMNS} WHERE task.load = :load AND task.account = :account AND task.due = :due AND task.task > :after"
    f" {_WAITING} ORDER BY task.task LIMIT :most"
)
_LATER: Final = (
    f"{_COLUMNS} WHERE task.load = :load AND task.account = :account AND task.due > :due"
    f" {_WAITING} ORDER BY task.due, task.task LIMIT :most"
)
# Of the account whose undated rows are in no index; digest IS NULL: an invalid row, which has an outcome too.
# Batches come as one text, and go in one statement: SQLite lets go of the interpreter for each step, and a busy loop is
# slow to give it back. (Not so rows with times, which would lose their last digits in a text.)
_PLAIN: Final = (
    "SELECT json_group_array(json_array(task, media_id, body, hex(digest), ref, last, unsure)) FROM ("  # noqa: S608
    " SELECT task.task, task.media_id, task.body, task.digest, task.ref, task.last, sent.unsure"
    " FROM task LEFT JOIN outcome ON outcome.task = task.task"
    " LEFT JOIN sent ON sent.account = task.account AND sent.media_id = task.media_id"
    " WHERE task.task > :after AND task.task < :beyond AND task.account = :account AND task.due IS NULL"
    f" {_WAITING} AND task.digest IS NOT NULL ORDER BY task.task LIMIT :most)"
)
_APPLIED: Final = "INSERT OR REPLACE INTO outcome (task, state, settled_at, attempts, transaction_id, seconds) VALUES "
_APPLIED_ROW: Final = "(?, 'applied', ?, ?, ?, ?)"
_SENT: Final = "INSERT OR REPLACE INTO sent (account, media_id, digest, sent_at, unsure) VALUES "
_SENT_ROW: Final = "(?, ?, ?, ?, ?)"
_AT_ONCE: Final = (
    100  # rows in one statement, each number of them a statement that is kept; SQLite 3.31 binds 999 values
)
_FINISH: Final = (
    "INSERT OR REPLACE INTO outcome"
    " (task, settled_at, attempts, transaction_id, seconds, state, status, error, problem)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
# As their leader's, unless they have their own.
_FOLLOW: Final = (
    "INSERT OR IGNORE INTO outcome (task, settled_at, attempts, transaction_id, seconds, state, status, error, problem)"
    " SELECT task.task, settled_at, attempts, transaction_id, seconds, state, status, error, problem"
    " FROM task JOIN outcome ON outcome.task = task.leader WHERE task.leader = ?"
)
# From a draw, or an append, on nobody knows what the media was sent, until the task has ended.
MARK: Final = "UPDATE sent SET unsure = ? WHERE account = ? AND media_id = ? AND unsure = ?"
_DOUBT: Final = f"UPDATE sent SET unsure = {DOUBTFUL} WHERE account = ? AND media_id = ?"  # noqa: S608

_KEEP_QUOTA: Final = (
    "INSERT INTO quota (owner, windows, place) SELECT ?, ?, place FROM run WHERE run = ?"
    " ON CONFLICT DO UPDATE SET windows = excluded.windows"
)

_Plain = tuple[int, str, str, str, str | int | None, int | None, int | None]
_read_plain: Final = msgspec.json.Decoder(list[_Plain]).decode
_NO_WINDOWS: Final[Mapping[str, str]] = {}
_Key = tuple[int, str]


class Work:
    """What one sitting of a run has drawn; made for each start of the run.

    Args:
        rivals: other runs that are under way.
        accounts: the numbers of its accounts by name; the empty name for rows without one.
        plain: the account whose undated rows are drawn in the order of the input.
    """

    def __init__(
        self, file: JournalFile, record: RunRecord, rivals: Rivals, accounts: dict[str, int], plain: int | None
    ) -> None:
        self._file = file
        self._record = record
        self._accounts = accounts
        self._plain = plain
        self._rivals = rivals
        # How many tasks are out, for media ids that have several.
        self._out: dict[_Key, int] = {}

    def draw(self, name: str, after: tuple[float, int], most: int) -> list[Drawn]:
        """The next pending tasks of an account, by `due` and then in the order of the input.

        Args:
            name: of the account.
            after: (due, seq) of the last one drawn.

        Raises:
            JournalError: a row is damaged.
        """
        account = self._accounts[name]
        rows = self._next(account, after, most)
        tasks = [self._drawn(name, row) for row in rows]
        marks = [(self._record.sitting, account, row[2], SURE) for row in rows if row[8] == SURE]
        if marks:
            with self._file.transaction() as db:
                db.executemany(MARK, marks)
        for row in rows:
            if row[7] is not None:
                key = account, row[2]
                self._out[key] = self._out.get(key, 0) + 1
        return tasks

    def finish(
        self,
        batch: Sequence[Finished],
        requests: int,
        retries: int,
        windows: Mapping[str, str] = _NO_WINDOWS,
        notes: Sequence[Note] = (),
    ) -> None:
        """Record how tasks ended, in one transaction.

        Args:
            batch: in the order in which they ended.
            requests, retries: of the run so far.
            windows: how the windows stand, as JSON by owner.
            notes: what happened beside.
        """
        when, base, sitting = now_text(), first(self._record.load), self._record.sitting
        applied: list[Any] = []
        sent: list[Any] = []
        others: list[tuple[Any, ...]] = []
        leading: list[tuple[int]] = []
        sure: list[tuple[Any, ...]] = []
        doubtful: set[_Key] = set()
        for f in batch:
            task = f.task
            number = base + task.seq
            if task.followers:
                leading.append((number,))
            key = self._accounts[task.update.account or ""], task.update.id
            alone = not self._out or self._back(key)
            if f.state == "applied":
                applied += number, when, f.attempts, f.transaction_id, f.seconds
                sent += *key, task.digest, when, SURE if alone else sitting
                doubtful.discard(key)  # a success settles what was unsure before
                continue
            if f.state != "pending":
                told = f.transaction_id, f.seconds, f.state, f.status, f.error, f.problem
                others.append((number, when, f.attempts, *told))
            if f.maybe_applied:
                doubtful.add(key)
            elif alone:
                sure.append((SURE, *key, sitting))
        with self._file.transaction() as db:
            rivals = self._rivals.look()
            if rivals:
                sure = [mark for mark in sure if mark[1:3] not in rivals]
                for at in range(0, len(sent), 5):
                    if (sent[at], sent[at + 1]) in rivals:
                        sent[at + 4] = DOUBTFUL
            for start in range(0, len(applied) // 5, _AT_ONCE):
                rows = min(_AT_ONCE, len(applied) // 5 - start)
                db.execute(_many(_APPLIED, _APPLIED_ROW, rows), applied[5 * start : 5 * (start + rows)])
                db.execute(_many(_SENT, _SENT_ROW, rows), sent[5 * start : 5 * (start + rows)])
            for statement, changes in ((_FINISH, others), (_FOLLOW, leading), (MARK, sure), (_DOUBT, doubtful)):
                if changes:
                    db.executemany(statement, changes)
            if windows:
                db.executemany(_KEEP_QUOTA, [(owner, text, self._record.run) for owner, text in windows.items()])
            events.keep(db, self._record.run, notes)
            self._count(requests, retries)

    def quota(self) -> dict[str, str]:
        """The windows that were kept for the place of this run, as JSON by owner."""
        return quota_of(self._file, self._record.run)

    def end(
        self, left: Sequence[Drawn], stopped: str | None, requests: int, retries: int, notes: Sequence[Note] = ()
    ) -> None:
        """Note that the sitting has ended.

        Args:
            left: tasks that were drawn and never sent.
            stopped: why it stopped early (JSON).
            notes: what happened and is not recorded yet.
        """
        marks: list[tuple[Any, ...]] = []
        for task in left:
            key = self._accounts[task.update.account or ""], task.update.id
            if self._back(key):
                marks.append((SURE, *key, self._record.sitting))
        with self._file.transaction() as db:
            rivals = self._rivals.look()
            db.executemany(MARK, [mark for mark in marks if mark[1:3] not in rivals])
            self._count(requests, retries)
            when, run, sitting = now_text(), self._record.run, self._record.sitting
            db.execute("UPDATE run SET ended_at = ?, stopped = ? WHERE run = ?", (when, stopped, run))
            told = events.data(sitting=sitting, requests=requests, retries=retries)
            stops = [] if stopped is None else [Note(at=when, kind="stop", data=stopped)]
            events.keep(db, run, [*notes, *stops, Note(at=when, kind="ended", data=told)])

    def _next(self, account: int, after: tuple[float, int], most: int) -> list[Any]:
        due, seq = after
        load = self._record.load
        values = {"load": load, "account": account, "due": due, "after": first(load) + seq, "beyond": beyond(load)}
        values["most"] = most
        rows = self._file.db.execute(_SAME_DUE, values).fetchall()
        if len(rows) < most:
            rows += self._file.db.execute(_LATER, values | {"most": most - len(rows)}).fetchall()
        if len(rows) < most and account == self._plain:
            if due < NEVER:
                values["after"] = first(load) - 1
            told = self._file.db.execute(_PLAIN, values | {"most": most - len(rows)}).fetchone()[0]
            try:
                plain = _read_plain(told)
            except msgspec.MsgspecError as error:
                raise self._unreadable(f"a row of the run {printable(self._record.name)!r}", error) from error
            rows += [
                (task, None, media_id, body.encode(), bytes.fromhex(hashed), ref, None, last, unsure)
                for task, media_id, body, hashed, ref, last, unsure in plain
            ]
        return rows

    def _drawn(self, name: str, row: tuple[Any, ...]) -> Drawn:
        number, due, _, body, hashed, ref, send_before, last, _ = row
        try:
            wire = decode_update(body, strict=False)
        except InvalidUpdate as error:
            which = f"row {seq_of(number)} of the run {printable(self._record.name)!r}"
            raise self._unreadable(which, error) from error
        account = name or None
        if last is None:
            update = wire
            if ref is not None or account is not None or send_before is not None:
                update = Update(wire.id, wire.metadata, account, ref, send_before)
            return Drawn(seq_of(number), update, body, hashed, NEVER if due is None else due)
        others = self._followers(number)
        # One request serves them all, so it makes sense as long as it does for one of them.
        for _, deadline in others:
            send_before = None if send_before is None or deadline is None else max(send_before, deadline)
        followers = tuple(Update(wire.id, wire.metadata, account, other, send_before) for other, _ in others)
        update = Update(wire.id, wire.metadata, account, ref, send_before)
        return Drawn(seq_of(number), update, body, hashed, NEVER if due is None else due, followers)

    def _unreadable(self, which: str, error: Exception) -> JournalError:
        shown = printable(str(self._file.path))
        return JournalError(f"the journal {shown}: {which} holds a request that cannot be read: {error}")

    def _followers(self, leader: int) -> list[tuple[Any, float | None]]:
        return self._file.db.execute(
            "SELECT ref, send_before FROM task LEFT JOIN outcome USING (task)"
            " WHERE leader = ? AND outcome.task IS NULL ORDER BY task",
            (leader,),
        ).fetchall()

    def _back(self, key: _Key) -> bool:
        """One task of a media id is no longer out; whether it was the only one."""
        out = self._out.get(key)
        if out is None:
            return True
        if out > 1:
            self._out[key] = out - 1
            return False
        del self._out[key]
        return True

    def _count(self, requests: int, retries: int) -> None:
        self._file.db.execute(
            "UPDATE run SET requests = ?, retries = ? WHERE run = ?", (requests, retries, self._record.run)
        )


def quota_of(file: JournalFile, run: int) -> dict[str, str]:
    """The windows that were kept for the place of a run, as JSON by owner."""
    query = "SELECT owner, windows FROM quota WHERE place = (SELECT place FROM run WHERE run = ?)"
    return dict(file.db.execute(query, (run,)).fetchall())


@cache
def _many(statement: str, row: str, rows: int) -> str:
    """An INSERT of so many rows."""
    return statement + ", ".join([row] * rows)
