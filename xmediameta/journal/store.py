"""The journal's engine for SQLite: plain calls, all made on the journal's own thread.

Everything that belongs together is one transaction: an input is loaded whole or not at all, and a batch of outcomes is
there or it is not. WAL with `synchronous=NORMAL`: a killed process loses nothing that was committed, a power cut may
lose the last few commits, which are then sent again.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from xmediameta.errors import JournalError
from xmediameta.models import Update, decode_update

from .records import Counted, Drawn, Finished, Incoming, Loaded, RunRecord, State, TaskRecord
from .schema import APPLICATION_ID, NEVER, TABLES, VERSION

_RUN_COLUMNS: Final = (
    "run.run, run.name, place.base_url, run.load, run.fingerprint, run.created_at, run.started_at, run.ended_at,"
    " run.pid, run.host, run.requests, run.retries, run.stopped"
)
_Ref = str | int | None
_Note = tuple[_Ref, float | None]
_SETTLED: Final = frozenset(("applied", "unchanged", "failed", "expired"))
_BATCH: Final = 5_000


def digest(body: bytes) -> bytes:
    """What stands for a request in the journal's memory."""
    return hashlib.blake2b(body, digest_size=16).digest()


def now_text() -> str:
    """The time as the journal writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Store:
    """One open journal file.

    Args:
        path: of the file; it is made if it is not there.

    Raises:
        JournalError: it cannot be opened, is damaged, is something else, or comes from a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        new = not path.exists() or path.stat().st_size == 0
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30.0, check_same_thread=False)
        try:
            if not new:
                self._check()
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA temp_store=FILE")
            if new:
                self._make()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # Runs

    def runs(self) -> list[RunRecord]:
        """All runs, the one that was started last first."""
        rows = self._db.execute(
            f"SELECT {_RUN_COLUMNS} FROM run JOIN place USING (place)"
            " ORDER BY coalesce(started_at, created_at) DESC, run DESC"
        )
        return [_run(row) for row in rows]

    def run(self, name: str) -> RunRecord | None:
        """The run of that name."""
        row = self._db.execute(
            f"SELECT {_RUN_COLUMNS} FROM run JOIN place USING (place) WHERE name = ?", (name,)
        ).fetchone()
        return _run(row) if row is not None else None

    def load(self, name: str, base_url: str, incoming: Iterable[Incoming], fingerprint: str | None) -> Loaded:
        """Load an input into a run, all of it or (on any error) nothing.

        Rows that were there before, with the same account, media id and request, keep how they ended.

        Args:
            name: of the run, made if it is new.
            base_url: where it sends to; a run stays with its own.
            incoming: the rows, in the order of the input.
            fingerprint: tells whether the input has changed, or None to load it anyway.
        """
        known = self.run(name)
        if known is not None and known.base_url != base_url:
            raise JournalError(f"the run {name!r} sends to {known.base_url}, not to {base_url}: give it another name")
        unfinished = known is not None and self._pending(known.load) > 0
        if known is not None and fingerprint is not None and known.fingerprint == fingerprint:
            return Loaded(total=self._total(known.load), resumed=unfinished, same=True, new=0)
        with self._transaction():
            load = self._next_load()
            total = self._insert(load, incoming)
            self._order_media(load)
            # A run that had ended is looked at afresh: what it applied is found in `sent`, if it still holds.
            kept = _SETTLED if unfinished else _SETTLED - {"applied", "unchanged"}
            carried = self._carry(known.load, load, kept) if known is not None else 0
            if known is None:
                self._db.execute(
                    "INSERT INTO run (name, place, load, fingerprint, created_at) VALUES (?, ?, ?, ?, ?)",
                    (name, self._place(base_url), load, fingerprint, now_text()),
                )
            else:
                self._db.execute(
                    "UPDATE run SET load = ?, fingerprint = ? WHERE run = ?", (load, fingerprint, known.run)
                )
                self._db.execute("DELETE FROM task WHERE load = ?", (known.load,))
        return Loaded(total=total, resumed=unfinished, same=False, new=total - carried)

    def begin(self, name: str, *, force: bool, retry_failed: bool, anew: bool) -> RunRecord:
        """Make a loaded run ready to be sent: decide what is unchanged, and note who holds it.

        Args:
            force: send what is unchanged too.
            retry_failed: send again what failed.
            anew: the run had ended before: what was applied then is looked at again.
        """
        record = self._known(name)
        load = record.load
        with self._transaction():
            if anew or force:
                self._db.execute(
                    "UPDATE task SET state = 'pending', settled_at = NULL"
                    " WHERE load = ? AND state IN ('applied', 'unchanged')",
                    (load,),
                )
            if retry_failed:
                self._db.execute(
                    "UPDATE task SET state = 'pending', status = NULL, error = NULL, problem = NULL, settled_at = NULL"
                    " WHERE load = ? AND state = 'failed'",
                    (load,),
                )
            if not force:
                self._settle(load, self._place(record.base_url))
            self._db.execute(
                "UPDATE run SET started_at = ?, ended_at = NULL, stopped = NULL, pid = ?, host = ? WHERE run = ?",
                (now_text(), os.getpid(), socket.gethostname(), record.run),
            )
        return self._known(name)

    def end(self, name: str, stopped: str | None) -> None:
        """Note that a run has ended, and why if it stopped early (JSON)."""
        self._db.execute("UPDATE run SET ended_at = ?, stopped = ? WHERE name = ?", (now_text(), stopped, name))

    # Work

    def accounts(self, load: int) -> list[str]:
        """The accounts that have pending rows."""
        rows = self._db.execute(
            "SELECT DISTINCT account FROM task WHERE load = ? AND state = 'pending' ORDER BY account", (load,)
        )
        return [row[0] for row in rows]

    def draw(self, load: int, place: int, account: str, after: tuple[float, int], most: int) -> list[Drawn]:
        """The next pending tasks of an account, by `due` and then in the order of the input.

        What their media ids were last sent counts as unsure from now on, until they are finished or given back.

        Args:
            after: (due, seq) of the last one drawn.
        """
        rows = self._db.execute(
            "SELECT seq, due, body, digest, ref, send_before, followers FROM task"
            " WHERE load = ? AND account = ? AND (due, seq) > (?, ?) AND state = 'pending' AND leader IS NULL"
            " ORDER BY due, seq LIMIT ?",
            (load, account, *after, most),
        ).fetchall()
        drawn = [_drawn(account, row, self._followers(load, row[0]) if row[6] else []) for row in rows]
        with self._transaction():
            self._db.executemany(
                "UPDATE sent SET unsure = 1 WHERE place = ? AND account = ? AND media_id = ? AND unsure = 0",
                [(place, account, task.update.id) for task in drawn],
            )
        return drawn

    def give_back(self, place: int, tasks: Sequence[Drawn]) -> None:
        """Tasks that were drawn and never sent."""
        with self._transaction():
            self._db.executemany(
                "UPDATE sent SET unsure = 0 WHERE place = ? AND account = ? AND media_id = ?",
                [(place, task.update.account or "", task.update.id) for task in tasks],
            )

    def finish(self, record: RunRecord, place: int, batch: Sequence[Finished], requests: int, retries: int) -> None:
        """Record how tasks ended, in one transaction.

        Args:
            requests, retries: of the whole run so far.
        """
        when = now_text()
        values = [
            (f.state, f.status, f.error, f.problem, f.attempts, f.transaction_id, when, record.load, f.task.seq)
            for f in batch
        ]
        with self._transaction():
            self._db.executemany(
                "UPDATE task SET state = ?, status = ?, error = ?, problem = ?, attempts = ?, transaction_id = ?,"
                " settled_at = ? WHERE load = ? AND seq = ?",
                values,
            )
            shared = [value for value, f in zip(values, batch, strict=True) if f.task.followers]
            if shared:
                self._db.executemany(
                    "UPDATE task SET state = ?, status = ?, error = ?, problem = ?, attempts = ?, transaction_id = ?,"
                    " settled_at = ? WHERE load = ? AND leader = ?",
                    shared,
                )
            self._db.executemany(
                "INSERT INTO sent (place, account, media_id, digest, sent_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET digest = excluded.digest, sent_at = excluded.sent_at, unsure = 0",
                [
                    (place, f.task.update.account or "", f.task.update.id, f.task.digest, when)
                    for f in batch
                    if f.state == "applied"
                ],
            )
            sure = [
                (place, f.task.update.account or "", f.task.update.id)
                for f in batch
                if f.state != "applied" and not f.maybe_applied
            ]
            if sure:
                self._db.executemany(
                    "UPDATE sent SET unsure = 0 WHERE place = ? AND account = ? AND media_id = ?", sure
                )
            self._db.execute("UPDATE run SET requests = ?, retries = ? WHERE run = ?", (requests, retries, record.run))

    # Looking

    def counts(self, load: int) -> list[Counted]:
        """How many rows are in each state, by account."""
        rows = self._db.execute(
            "SELECT account, state, count(*), count(*) FILTER (WHERE leader IS NULL AND state = 'pending')"
            " FROM task WHERE load = ? GROUP BY account, state",
            (load,),
        )
        return [Counted(account=a, state=s, rows=n, requests_needed=r) for a, s, n, r in rows]

    def results(self, load: int, states: Sequence[State] = ()) -> Iterator[TaskRecord]:
        """The rows of a run in the order of the input, with how they ended."""
        chosen = f" AND state IN ({', '.join('?' * len(states))})" if states else ""
        rows = self._db.execute(
            "SELECT seq, source, media_id, account, ref, state, attempts, status, error, problem, transaction_id,"
            f" settled_at, passed, body, send_before FROM task WHERE load = ?{chosen} ORDER BY seq",
            (load, *states),
        )
        for row in rows:
            seq, source, media_id, account, ref, state, *rest = row
            attempts, status, error, problem, transaction_id, settled_at, passed, body, send_before = rest
            yield TaskRecord(
                seq=seq, source=source, id=media_id, account=account or None, ref=ref, state=state, attempts=attempts,
                status=status, error=error, problem=problem, transaction_id=transaction_id, settled_at=settled_at,
                passed=passed,
                body=body,
                send_before=send_before,
            )  # fmt: skip

    def place(self, base_url: str) -> int:
        """The number of a base URL."""
        with self._transaction():
            return self._place(base_url)

    def quota(self, place: int) -> dict[str, str]:
        """The windows that were kept, as JSON by owner."""
        return dict(self._db.execute("SELECT owner, windows FROM quota WHERE place = ?", (place,)).fetchall())

    def keep_quota(self, place: int, windows: dict[str, str]) -> None:
        """Keep the windows, as JSON by owner."""
        with self._transaction():
            self._db.executemany(
                "INSERT INTO quota (place, owner, windows) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET windows = excluded.windows",
                [(place, owner, text) for owner, text in windows.items()],
            )

    # Within

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _check(self) -> None:
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION_ID:
            raise JournalError(f"{self.path} is an SQLite file, but not a journal of xmediameta")
        if version > VERSION:
            raise JournalError(
                f"{self.path} was written by a newer version of xmediameta (schema {version}, this one knows {VERSION})"
            )

    def _make(self) -> None:
        with self._transaction():
            for statement in TABLES:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {VERSION}")

    def _known(self, name: str) -> RunRecord:
        record = self.run(name)
        if record is None:
            raise JournalError(f"there is no run {name!r} in {self.path}")
        return record

    def _place(self, base_url: str) -> int:
        self._db.execute("INSERT INTO place (base_url) VALUES (?) ON CONFLICT DO NOTHING", (base_url,))
        return int(self._db.execute("SELECT place FROM place WHERE base_url = ?", (base_url,)).fetchone()[0])

    def _next_load(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(load), 0) + 1 FROM run").fetchone()[0])

    def _pending(self, load: int) -> int:
        return int(
            self._db.execute(
                "SELECT count(*) FROM (SELECT 1 FROM task WHERE load = ? AND state = 'pending' LIMIT 1)", (load,)
            ).fetchone()[0]
        )

    def _total(self, load: int) -> int:
        return int(self._db.execute("SELECT count(*) FROM task WHERE load = ?", (load,)).fetchone()[0])

    def _insert(self, load: int, incoming: Iterable[Incoming]) -> int:
        last = -1

        def rows() -> Iterator[tuple[object, ...]]:
            nonlocal last
            for last, row in enumerate(incoming):
                yield _task(load, last, row)

        self._db.executemany(
            "INSERT INTO task (load, seq, account, media_id, ref, source, passed, body, digest, send_before, due,"
            " state, error, problem) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows(),
        )
        return last + 1

    def _order_media(self, load: int) -> None:
        """For media ids with several rows: equal neighbours share a request, and none is due after a later one."""
        # Sorted by the statement itself, so that changing rows does not disturb it, and no index is kept for it.
        rows = self._db.execute(
            "SELECT account, media_id, seq, digest, due FROM task WHERE load = ? AND state = 'pending'"
            " ORDER BY account, media_id, seq",
            (load,),
        )
        changes = _Changes(
            self._db, "UPDATE task SET leader = ?, followers = ?, due = ?, last = ? WHERE load = ? AND seq = ?"
        )
        for _, group in groupby(rows, key=itemgetter(0, 1)):
            several = list(group)
            if len(several) > 1:
                changes.add(_chain(load, several))
        changes.make()

    def _followers(self, load: int, leader: int) -> list[_Note]:
        return self._db.execute(
            "SELECT ref, send_before FROM task WHERE load = ? AND leader = ? ORDER BY seq", (load, leader)
        ).fetchall()

    def _carry(self, old: int, new: int, kept: AbstractSet[str]) -> int:
        """Give the rows of a new load the outcomes of equal rows of the old one; returns how many were there before."""
        order = "ORDER BY account, media_id, digest, seq"
        before = self._db.execute(
            "SELECT account, media_id, digest, state, status, error, problem, attempts, transaction_id, settled_at"
            f" FROM task WHERE load = ? AND digest IS NOT NULL {order}",
            (old,),
        )
        now = self._db.execute(
            f"SELECT account, media_id, digest, seq FROM task WHERE load = ? AND digest IS NOT NULL {order}", (new,)
        )
        changes = _Changes(
            self._db,
            "UPDATE task SET state = ?, status = ?, error = ?, problem = ?, attempts = ?, transaction_id = ?,"
            " settled_at = ? WHERE load = ? AND seq = ?",
        )
        known = 0
        older, newer = next(before, None), next(now, None)
        while older is not None and newer is not None:
            if older[:3] < newer[:3]:
                older = next(before, None)
            elif older[:3] > newer[:3]:
                newer = next(now, None)
            else:
                known += 1
                if older[3] in kept:
                    changes.add([(*older[3:], new, newer[3])])
                older, newer = next(before, None), next(now, None)
        changes.make()
        return known

    def _settle(self, load: int, place: int) -> None:
        """An id is settled where its last row equals what it was last sent; all its rows are then unchanged."""
        sent = "FROM sent WHERE place = :place AND account = task.account AND media_id = task.media_id AND unsure = 0"
        self._db.execute(
            f"UPDATE task SET state = 'unchanged', settled_at = (SELECT sent_at {sent})"
            f" WHERE load = :load AND state = 'pending' AND last IS NULL AND digest = (SELECT digest {sent})",
            {"load": load, "place": place},
        )
        last = "FROM task AS final WHERE final.load = :load AND final.seq = task.last AND final.state = 'unchanged'"
        self._db.execute(
            f"UPDATE task SET state = 'unchanged', settled_at = (SELECT settled_at {last})"
            f" WHERE load = :load AND state = 'pending' AND last IS NOT NULL AND EXISTS (SELECT 1 {last})",
            {"load": load},
        )


class _Changes:
    """Many changes of one kind, made in batches."""

    def __init__(self, db: sqlite3.Connection, statement: str) -> None:
        self._db = db
        self._statement = statement
        self._waiting: list[tuple[object, ...]] = []

    def add(self, changes: Iterable[tuple[object, ...]]) -> None:
        """Make these changes, now or with later ones."""
        self._waiting.extend(changes)
        if len(self._waiting) > _BATCH:
            self.make()

    def make(self) -> None:
        """Make what is left."""
        self._db.executemany(self._statement, self._waiting)
        self._waiting.clear()


def _chain(load: int, rows: list[tuple[str, str, int, bytes, float]]) -> list[tuple[object, ...]]:
    """(leader, followers, due, last, load, seq) of the rows of one media id."""
    leaders: list[int | None] = []
    followers: dict[int, int] = {}
    lead, before = -1, b""
    for _, _, seq, hashed, _ in rows:
        if hashed == before:
            leaders.append(lead)
            followers[lead] = followers.get(lead, 0) + 1
        else:
            leaders.append(None)
            lead, before = seq, hashed
    last = rows[-1][2]
    due = NEVER
    changes: list[tuple[object, ...]] = []
    for (_, _, seq, _, own), leader in zip(reversed(rows), reversed(leaders), strict=True):
        due = min(due, own)
        changes.append((leader, followers.get(seq, 0), due, None if seq == last else last, load, seq))
    return changes


def _task(load: int, seq: int, row: Incoming) -> tuple[object, ...]:
    update = row.update
    deadline = update.deadline
    state, error, problem = "pending", None, None
    if row.fault is not None or row.body is None:
        member, rule = row.fault or ("", "")
        state, error = "invalid", "InvalidUpdate"
        problem = json.dumps({"member": member, "rule": rule}, ensure_ascii=False)
    return (
        load,
        seq,
        update.account or "",
        update.id,
        update.ref,
        row.source,
        None if not row.passed else msgspec.json.encode(row.passed).decode(),
        None if row.body is None else row.body.decode(),
        None if row.body is None else digest(row.body),
        deadline,
        NEVER if deadline is None else deadline,
        state,
        error,
        problem,
    )


def _drawn(account: str, row: tuple[int, float, str, bytes, _Ref, float | None, int], others: list[_Note]) -> Drawn:
    seq, due, text, hashed, ref, send_before, _ = row
    body = text.encode()
    wire = decode_update(body, strict=False)
    followers = tuple(Update(wire.id, wire.metadata, account or None, *note) for note in others)
    return Drawn(seq, Update(wire.id, wire.metadata, account or None, ref, send_before), body, hashed, due, followers)


def _run(row: tuple[object, ...]) -> RunRecord:
    names = RunRecord.__struct_fields__
    return msgspec.convert(dict(zip(names, row, strict=True)), RunRecord)
