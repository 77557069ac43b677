"""What is left to be sent of a loaded input, decided when the run starts.

Rows of media ids that have no others, nearly all, are settled by SQLite itself; the sequences are decided in `chains`.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Final

from .chains import Link, settle
from .file import Changes, JournalFile
from .records import State
from .schema import beyond, first

# What was sent last is known and is what the row asks for.
_MATCH: Final = (
    "FROM task JOIN sent USING (account, media_id)"
    " WHERE task.task = outcome.task AND sent.digest = task.digest AND sent.unsure = 0"
)
_TAKE_BACK_ALL: Final = (
    "DELETE FROM outcome WHERE task >= :first AND task < :beyond AND state IN (:again1, :again2, :again3)"
    " AND (SELECT last FROM task WHERE task.task = outcome.task) IS NULL"
)
_TAKE_BACK_OTHERS: Final = f"{_TAKE_BACK_ALL} AND NOT EXISTS (SELECT 1 {_MATCH})"
# An outcome that says the same already is not written again.
_UNCHANGED: Final = (
    "INSERT OR REPLACE INTO outcome (task, state, settled_at)"
    " SELECT task.task, 'unchanged', sent.sent_at"
    " FROM task JOIN sent USING (account, media_id) LEFT JOIN outcome ON outcome.task = task.task"
    " WHERE task.task >= :first AND task.task < :beyond AND task.last IS NULL AND task.digest = sent.digest"
    " AND sent.unsure = 0 AND (outcome.task IS NULL OR (outcome.state IN (:again1, :again2, :again3)"
    " AND NOT (outcome.state = 'unchanged' AND outcome.settled_at = sent.sent_at)))"
)
_SEQUENCES: Final = (
    "SELECT task.last, sent.sent_at, CASE WHEN sent.unsure = 0 THEN sent.digest END,"
    " task.task, task.digest, coalesce(outcome.state, 'pending'), task.send_before, task.leader"
    " FROM task LEFT JOIN outcome ON outcome.task = task.task"
    " LEFT JOIN sent ON sent.account = task.account AND sent.media_id = task.media_id"
    " WHERE task.last >= :first AND task.last < :beyond ORDER BY task.last, task.task"
)


def settle_load(file: JournalFile, load: int, *, force: bool, again: frozenset[State]) -> None:
    """Decide what is unchanged and what is pending; within a transaction of the caller's.

    Args:
        force: nothing is unchanged.
        again: the states that are looked at afresh.
    """
    padded = [*sorted(again), "", "", ""][:3]
    values = {"first": first(load), "beyond": beyond(load)} | {f"again{n}": s for n, s in enumerate(padded, 1)}
    if again:
        file.db.execute(_TAKE_BACK_ALL if force else _TAKE_BACK_OTHERS, values)
    if not force:
        file.db.execute(_UNCHANGED, values)
    _settle_sequences(file, load, force=force, again=again)


def _settle_sequences(file: JournalFile, load: int, *, force: bool, again: frozenset[State]) -> None:
    unchanged = Changes(file.db, "INSERT OR REPLACE INTO outcome (task, state, settled_at) VALUES (?, 'unchanged', ?)")
    pending = Changes(file.db, "DELETE FROM outcome WHERE task = ?")
    leaders = Changes(file.db, "UPDATE task SET leader = ? WHERE task = ?")
    # What is changed here are rows of sequences that were read to their end.
    rows = file.db.execute(_SEQUENCES, {"first": first(load), "beyond": beyond(load)})
    for _, group in groupby(rows, key=itemgetter(0)):
        members = list(group)
        sent_at, sent = members[0][1:3]
        result = settle([Link(*member[3:]) for member in members], None if force else sent, again)
        unchanged.add((task, sent_at) for task in result.unchanged)
        pending.add((task,) for task in result.pending)
        leaders.add(result.leaders)
    for changes in (unchanged, pending, leaders):
        changes.make()
