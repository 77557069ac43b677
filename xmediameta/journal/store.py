"""The journal's engine for SQLite: plain calls, all made on the journal's own thread.

Everything that belongs together is one transaction: an input is a run's whole or not at all, and a batch of outcomes is
there or it is not. Loading is in `loading`, what a start decides in `settling`, drawing and finishing in `work`.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from xmediameta.coalesce import Coalesce
from xmediameta.errors import JournalError
from xmediameta.text import printable

from . import events
from .events import Note
from .file import JournalFile, now_text
from .growing import FINGERPRINT as QUEUE
from .loading import Loading
from .records import STATES, Counted, EventRecord, Loaded, RunRecord, State, TaskRecord
from .rivals import Rivals
from .schema import beyond, first, seq_of
from .sequences import clashes
from .settling import settle_load
from .work import Work, quota_of

AnyWork = TypeVar("AnyWork", bound=Work)

_RUNS: Final = (
    "SELECT run.run, run.name, place.base_url, run.load, run.fingerprint, run.created_at, run.started_at, run.ended_at,"
    " holder.pid, holder.host, run.requests, run.retries, run.stopped, run.sitting, load.total"
    " FROM run JOIN place USING (place) JOIN load USING (load) LEFT JOIN holder ON holder.name = run.name"
)
_TASK: Final = (
    "SELECT task.task, task.source, task.media_id, account.name, task.ref, coalesce(outcome.state, 'pending') AS state,"
    " coalesce(outcome.attempts, 0), outcome.status, outcome.error, outcome.problem, outcome.transaction_id,"
    " outcome.settled_at, task.passed, task.body, task.send_before, outcome.seconds"
)
_ALL_TASKS: Final = (
    f"{_TASK} FROM task JOIN account USING (account) LEFT JOIN outcome ON outcome.task = task.task"
    " WHERE task.task > :after AND task.task < :beyond"
    " AND coalesce(outcome.state, 'pending') IN (SELECT value FROM json_each(:states))"
    " ORDER BY task.task LIMIT :most"
)
# Where no pending row is asked for, the rows that have ended are looked through, which are much smaller.
_ENDED_TASKS: Final = (
    f"{_TASK} FROM outcome CROSS JOIN task ON task.task = outcome.task JOIN account USING (account)"
    " WHERE outcome.task > :after AND outcome.task < :beyond"
    " AND outcome.state IN (SELECT value FROM json_each(:states)) ORDER BY outcome.task LIMIT :most"
)


class Store:
    """One open journal file.

    Args:
        path: of the file; it is made if it is not there.

    Raises:
        JournalError: it cannot be opened, is damaged, is something else, or comes from a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._file = JournalFile(path)
        self.path = self._file.path

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # Runs

    def runs(self) -> list[RunRecord]:
        """All runs, the one that was started last first."""
        rows = self._file.db.execute(f"{_RUNS} ORDER BY coalesce(started_at, created_at) DESC, run DESC").fetchall()
        return [_run(row) for row in rows]

    def run(self, name: str) -> RunRecord | None:
        """The run of that name."""
        row = self._file.db.execute(f"{_RUNS} WHERE run.name = ?", (name,)).fetchone()
        return None if row is None else _run(row)

    def hold(self, name: str) -> None:
        """Note that this process holds a run, which may not be there yet."""
        with self._file.transaction() as db:
            db.execute(
                "INSERT INTO holder (name, pid, host, since) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE"
                " SET pid = excluded.pid, host = excluded.host, since = excluded.since",
                (name, os.getpid(), socket.gethostname(), now_text()),
            )

    def holder(self, name: str) -> str:
        """Who holds a run, or held it last, in words."""
        row = self._file.db.execute("SELECT pid, host, since FROM holder WHERE name = ?", (name,)).fetchone()
        if row is None:
            return "another process"
        pid, host, since = row
        mine = ", this one" if (pid, host) == (os.getpid(), socket.gethostname()) else ""
        return f"process {pid} on {printable(host)}{mine} (since {since})"

    def load(
        self,
        name: str,
        base_url: str,
        fingerprint: str | None,
        stopped: Callable[[], bool],
        coalesce: Coalesce = None,
    ) -> Loading | Loaded:
        """Begin to load an input into a run that the caller holds, or tell that it is the one loaded before.

        Args:
            name: of the run, made if it is new.
            base_url: where it sends to; a run stays with its own.
            fingerprint: tells whether the input has changed, or None to look at its rows.
            stopped: asked now and then while a long statement runs; true ends it.
            coalesce: what becomes of different rows of one media id; part of what tells whether the input has changed.

        Raises:
            JournalError: the run sends to another base URL.
        """
        known = self.run(name)
        if known is not None and known.base_url != base_url:
            raise JournalError(
                f"the run {printable(name)!r} sends to {known.base_url}, not to {printable(base_url)}: give it another"
                " name"
            )
        if known is not None and (known.fingerprint == QUEUE) != (fingerprint == QUEUE):
            kind = "a queue" if known.fingerprint == QUEUE else "an input"
            raise JournalError(f"the run {printable(name)!r} is that of {kind}: give this one another name")
        unfinished = known is not None and known.total > self._ended(known.load)
        loading = Loading(
            self._file,
            name,
            self.place(base_url),
            known=known,
            unfinished=unfinished,
            coalesce=coalesce,
            stopped=stopped,
        )
        loading.sweep()
        if known is not None and fingerprint is not None and known.fingerprint == fingerprint:
            found = clashes(self._file, known.load)
            return Loaded(total=known.total, resumed=unfinished, same=True, new=0, clashes=found)
        return loading

    def begin(
        self,
        name: str,
        *,
        force: bool,
        retry_failed: bool,
        anew: bool,
        stopped: Callable[[], bool],
        work: type[AnyWork],
    ) -> tuple[RunRecord, AnyWork]:
        """Make a loaded run ready to be sent: decide what is unchanged, and open a sitting.

        Args:
            force: send what is unchanged too.
            retry_failed: send again what failed.
            anew: the run had ended before: what was applied then is looked at again, and requests count from 0.
            stopped: as for `load`.
            work: of what kind.

        Raises:
            JournalError: there is no such run.
        """
        again: set[State] = set()
        if anew:
            again |= {"applied", "unchanged"}
        if force:
            again.add("unchanged")
        if retry_failed:
            again.add("failed")
        with self._file.interruptible(stopped), self._file.transaction() as db:
            record = self.run(name)
            if record is None:
                raise JournalError(f"there is no run {printable(name)!r} in {printable(str(self.path))}")
            settle_load(self._file, record.load, force=force, again=frozenset(again))
            if anew:
                db.execute("UPDATE run SET requests = 0, retries = 0 WHERE run = ?", (record.run,))
                events.forget(db, record.run)
            db.execute(
                "UPDATE run SET started_at = ?, ended_at = NULL, stopped = NULL,"
                " sitting = (SELECT max(sitting) + 1 FROM run) WHERE run = ?",
                (now_text(), record.run),
            )
            record = self.run(name) or record
            told = events.data(
                sitting=record.sitting, pid=os.getpid(), host=socket.gethostname(), requests=record.requests
            )
            events.keep(db, record.run, [Note(at=record.started_at or "", kind="begun", data=told)])
            rivals = Rivals(self._file, record)
            rivals.look()  # while those who are under way cannot end unnoticed
        accounts = dict(
            self._file.db.execute(
                "SELECT account.name, account.account FROM portion JOIN account USING (account) WHERE load = ?",
                (record.load,),
            ).fetchall()
        )
        plain = self._file.one("SELECT plain FROM load WHERE load = ?", record.load)
        return record, work(self._file, record, rivals, accounts, plain)

    # Looking

    def counts(self, load: int) -> list[Counted]:
        """How many rows are in each state, by account."""
        total = dict(self._file.db.execute("SELECT account, total FROM portion WHERE load = ?", (load,)).fetchall())
        values = {"first": first(load), "beyond": beyond(load), "account": next(iter(total), None)}
        # The account is in the table of tasks, which is the larger one.
        ended = (
            "SELECT :account, state, count(*) FROM outcome WHERE task >= :first AND task < :beyond GROUP BY state"
            if len(total) == 1
            else "SELECT account, state, count(*) FROM outcome CROSS JOIN task USING (task)"
            " WHERE outcome.task >= :first AND outcome.task < :beyond GROUP BY account, state"
        )
        following = dict(
            self._file.db.execute(
                "SELECT account, count(*) FROM task LEFT JOIN outcome USING (task)"
                " WHERE leader >= :first AND leader < :beyond AND outcome.task IS NULL GROUP BY account",
                values,
            ).fetchall()
        )
        states: dict[int, dict[State, int]] = {account: {} for account in total}
        for account, state, rows in self._file.db.execute(ended, values).fetchall():
            states[account][state] = rows
        names = dict(
            self._file.db.execute(
                "SELECT account, name FROM account JOIN portion USING (account) WHERE load = ?", (load,)
            ).fetchall()
        )
        result: list[Counted] = []
        for account, name in sorted(names.items(), key=lambda item: item[1]):
            pending = total[account] - sum(states[account].values())
            if pending:
                states[account]["pending"] = pending
            needed = {"pending": pending - following.get(account, 0)}
            result.extend(
                Counted(account=name, state=state, rows=rows, requests_needed=needed.get(state, 0))
                for state, rows in sorted(states[account].items())
            )
        return result

    def tasks(self, load: int, after: int, most: int, states: Sequence[State] = ()) -> list[TaskRecord]:
        """The next rows of a load in the order of the input, with how they ended.

        Args:
            after: the `seq` of the last one, or -1.
            states: of what states; all by default.

        Raises:
            JournalError: the load is no longer that of a run: its input was loaded anew.
        """
        chosen = json.dumps(states or STATES)
        values = {"after": first(load) + after, "beyond": beyond(load), "most": most, "states": chosen}
        statement = _ENDED_TASKS if states and "pending" not in states else _ALL_TASKS
        rows = self._file.db.execute(statement, values).fetchall()
        if len(rows) < most and self._file.one("SELECT run FROM run WHERE load = ?", load) is None:
            raise JournalError("the input of the run was loaded anew by another process meanwhile")
        return [_task(row) for row in rows]

    def events(self, run: int) -> list[EventRecord]:
        """What happened to a run, the oldest first."""
        return events.read(self._file.db, run)

    def quota(self, run: int) -> dict[str, str]:
        """The windows that were kept for the place of a run, as JSON by owner."""
        return quota_of(self._file, run)

    # Within

    def place(self, base_url: str) -> int:
        """The number of a base URL."""
        with self._file.transaction() as db:
            db.execute("INSERT INTO place (base_url) VALUES (?) ON CONFLICT DO NOTHING", (base_url,))
            return int(self._file.one("SELECT place FROM place WHERE base_url = ?", base_url))

    def _ended(self, load: int) -> int:
        return int(
            self._file.one("SELECT count(*) FROM outcome WHERE task >= ? AND task < ?", first(load), beyond(load))
        )


def _run(row: tuple[object, ...]) -> RunRecord:
    return msgspec.convert(dict(zip(RunRecord.__struct_fields__, row, strict=True)), RunRecord)


def _task(row: tuple[Any, ...]) -> TaskRecord:
    task, source, media_id, account, ref, state, attempts, *rest = row
    status, error, problem, transaction_id, settled_at, passed, body, send_before, seconds = rest
    return TaskRecord(
        seq=seq_of(task), source=source, id=media_id, account=account or None, ref=ref, state=state, attempts=attempts,
        status=status, error=error, problem=problem, transaction_id=transaction_id, settled_at=settled_at,
        passed=passed, body=body, send_before=send_before, seconds=seconds,
    )  # fmt: skip
