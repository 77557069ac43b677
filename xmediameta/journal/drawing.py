"""The next tasks of a run, rebuilt from their rows.

Most are undated and have their media id to themselves. These come as one text and in one statement: SQLite lets go of
the interpreter for each step, and a busy loop is slow to give it back. In that text stand each request as it goes out
and the update as an input line, so that one call decodes all of them. (Not so rows with times, which would lose their
last digits in a text.) What cannot be decoded in that way is read row by row, which tells what is wrong with which.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from xmediameta.errors import InvalidUpdate, JournalError
from xmediameta.models import Update, decode_update
from xmediameta.text import printable

from .file import JournalFile
from .records import Drawn, RunRecord
from .schema import NEVER, beyond, first, seq_of

# A task, whether its media id has several rows (or None), and what `sent` says of it (or None).
Found = tuple[Drawn, int | None, int | None]

_SOURCES: Final = (
    " FROM task LEFT JOIN outcome ON outcome.task = task.task"
    " LEFT JOIN sent ON sent.account = task.account AND sent.media_id = task.media_id"
)
_COLUMNS: Final = (
    "SELECT task.task, task.due, CAST(task.body AS BLOB), task.ref, task.send_before, task.last, sent.unsure" + _SOURCES
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
_UNDATED: Final = (
    " WHERE task.task > :after AND task.task < :beyond AND task.account = :account AND task.due IS NULL"
    f" {_WAITING} AND task.digest IS NOT NULL ORDER BY task.task LIMIT :most"
)
_PLAIN: Final = (
    "SELECT '[' || group_concat(told) || ']' FROM ("  # noqa: S608
    " SELECT '[' || task.task || ',' || coalesce(task.last, 'null') || ',' || coalesce(sent.unsure, 'null') || ','"
    " || coalesce(task.body, '') || ',' || coalesce(substr(task.body, 1, length(task.body) - 1), '') || :account_member"
    " || CASE WHEN task.ref IS NULL THEN '' ELSE ',\"ref\":' || json_quote(task.ref) END || '}]' AS told"
    f"{_SOURCES}{_UNDATED})"
)
_PLAIN_ROWS: Final = f"{_COLUMNS}{_UNDATED}"

_read: Final = msgspec.json.Decoder(list[tuple[int, int | None, int | None, msgspec.Raw, Update]]).decode


class Drawing:
    """Reads the tasks of one load that are pending.

    Args:
        plain: the account whose undated rows are drawn in the order of the input.
    """

    def __init__(self, file: JournalFile, record: RunRecord, plain: int | None) -> None:
        self._file = file
        self._record = record
        self._plain = plain

    def next(self, account: int, name: str, after: tuple[float, int], most: int) -> list[Found]:
        """The next tasks of an account, by `due` and then in the order of the input.

        Args:
            name: of the account.
            after: (due, seq) of the last one drawn.

        Raises:
            JournalError: a row is damaged.
        """
        due, seq = after
        load = self._record.load
        values: dict[str, Any] = {"load": load, "account": account, "due": due, "after": first(load) + seq}
        values |= {"beyond": beyond(load), "most": most}
        found: list[Found] = []
        for statement in (_SAME_DUE, _LATER):
            if len(found) < most:
                found += self._rows(name, statement, values | {"most": most - len(found)})
        if len(found) < most and account == self._plain:
            if due < NEVER:
                values["after"] = first(load) - 1
            found += self._undated(name, values | {"most": most - len(found)})
        return found

    def _undated(self, name: str, values: dict[str, Any]) -> list[Found]:
        member = f',"account":{msgspec.json.encode(name).decode()}' if name else ""
        told = self._file.db.execute(_PLAIN, values | {"account_member": member}).fetchone()[0]
        if told is None:
            return []
        try:
            rows = _read(told)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._rows(name, _PLAIN_ROWS, values)
        found: list[Found] = []
        for number, last, unsure, body, update in rows:
            task = Drawn(seq_of(number), update, bytes(body), NEVER)
            found.append((task if last is None else self._with_followers(number, task), last, unsure))
        return found

    def _rows(self, name: str, statement: str, values: dict[str, Any]) -> list[Found]:
        found: list[Found] = []
        for number, due, body, ref, send_before, last, unsure in self._file.db.execute(statement, values).fetchall():
            try:
                wire = decode_update(body, strict=False)
            except (InvalidUpdate, TypeError) as error:  # TypeError: it is gone
                raise self._unreadable(number, error) from error
            update = Update(wire.id, wire.metadata, name or None, ref, send_before)
            task = Drawn(seq_of(number), update, body, NEVER if due is None else due)
            found.append((task if last is None else self._with_followers(number, task), last, unsure))
        return found

    def _with_followers(self, number: int, task: Drawn) -> Drawn:
        others: list[tuple[Any, float | None]] = self._file.db.execute(
            "SELECT ref, send_before FROM task LEFT JOIN outcome USING (task)"
            " WHERE leader = ? AND outcome.task IS NULL ORDER BY task",
            (number,),
        ).fetchall()
        # One request serves them all, so it makes sense as long as it does for one of them.
        mine = task.update
        send_before = mine.deadline
        for _, deadline in others:
            send_before = None if send_before is None or deadline is None else max(send_before, deadline)
        followers = tuple(Update(mine.id, mine.metadata, mine.account, ref, send_before) for ref, _ in others)
        update = Update(mine.id, mine.metadata, mine.account, mine.ref, send_before)
        return Drawn(task.seq, update, task.body, task.due, followers)

    def _unreadable(self, number: int, error: Exception) -> JournalError:
        shown, run = printable(str(self._file.path)), printable(self._record.name)
        return JournalError(
            f"the journal {shown}: row {seq_of(number)} of the run {run!r} holds a request that cannot be read: {error}"
        )
