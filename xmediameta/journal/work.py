"""The tasks of a run on their way out and back: drawn, finished or given back, while what was sent stays known.

Theory. From the draw of a task until its end nobody knows what its media was last sent: a kill in between must not
leave `sent` with something that looks sure. So a draw marks the row of `sent` with the number of this sitting, and the
end takes the mark away, unless another task of the same media id is still out. A mark of another sitting is not taken
away by anything but a success: its holder was killed, or is another run that is under way. Of what two runs send to
one media id at the same time, nothing is sure (`rivals`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from . import events
from .applied import Outcome, Unsure, prepare, tell
from .drawing import Drawing
from .events import Note
from .file import JournalFile, now_text
from .records import Drawn, Finished, RunRecord
from .rivals import Rivals
from .schema import DOUBTFUL, SURE, first

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
        self._drawing = Drawing(file, record, plain)
        self._rivals = rivals
        prepare(file.db)
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
        found = self._drawing.next(account, name, after, most)
        marks = [(self._record.sitting, account, task.update.id, SURE) for task, _, unsure in found if unsure == SURE]
        if marks:
            with self._file.transaction() as db:
                db.executemany(MARK, marks)
        for task, last, _ in found:
            if last is not None:
                key = account, task.update.id
                self._out[key] = self._out.get(key, 0) + 1
        return [task for task, _, _ in found]

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
        when, run, rivals = now_text(), self._record.run, self._rivals
        ends = self._sorted(batch, when)
        beside = ends.digests, windows, (requests, retries)
        if not (ends.more or notes or rivals.shared):
            try:
                tell(self._file.db, run, when, ends.outcomes, ends.sure, ends.unsure, *beside, rivals.newest)
            except sqlite3.IntegrityError:
                pass  # to be looked at first
            else:
                return
        with self._file.transaction() as db:
            shared = rivals.look()
            if shared:
                self._doubt(ends, shared)
            tell(db, run, when, ends.outcomes, ends.sure, ends.unsure, *beside, rivals.newest)
            told = (_FINISH, ends.others), (_FOLLOW, ends.leading), (MARK, ends.marks), (_DOUBT, ends.doubtful)
            for statement, changes in told:
                if changes:
                    db.executemany(statement, changes)
            events.keep(db, run, notes)

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
            key = self._key(task)
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

    def _sorted(self, batch: Sequence[Finished], when: str) -> _Ends:
        base, sitting = first(self._record.load), self._record.sitting
        ends = _Ends()
        for f in batch:
            task = f.task
            number = base + task.seq
            if task.followers:
                ends.leading.append((number,))
            alone = not self._out or self._back(self._key(task))
            if f.state == "applied":
                ends.applied.append(task)
                ends.outcomes.append((number, f.attempts, f.transaction_id, f.seconds))
                if alone and task.digest is None:
                    ends.sure.append(number)
                else:
                    ends.unsure.append((number, SURE if alone else sitting, ends.place(task.digest)))
                if ends.doubtful:
                    ends.doubtful.discard(self._key(task))  # a success settles what was unsure before
                continue
            if f.state != "pending":
                told = f.transaction_id, f.seconds, f.state, f.status, f.error, f.problem
                ends.others.append((number, when, f.attempts, *told))
            if f.maybe_applied:
                ends.doubtful.add(self._key(task))
            elif alone:
                ends.marks.append((SURE, *self._key(task), sitting))
        return ends

    def _doubt(self, ends: _Ends, shared: Collection[_Key]) -> None:
        """Of media ids that are shared with rivals nothing is sure."""
        base = first(self._record.load)
        theirs = {base + task.seq for task in ends.applied if self._key(task) in shared}
        unsure = [(task, DOUBTFUL if task in theirs else unsure, place) for task, unsure, place in ends.unsure]
        ends.unsure = unsure + [(task, DOUBTFUL, None) for task in ends.sure if task in theirs]
        ends.sure = [task for task in ends.sure if task not in theirs]
        ends.marks = [mark for mark in ends.marks if mark[1:3] not in shared]

    def _key(self, task: Drawn) -> _Key:
        return self._accounts[task.update.account or ""], task.update.id

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


class _Ends:
    """How the tasks of a batch ended, as it is written.

    Attributes:
        applied: those that were; `outcomes`, `sure`, `unsure` and `digests` tell of them (see `tell`).
        others: outcomes of the rest.
        leading: those whose outcome others share.
        marks: that are taken away.
        doubtful: media that may have been sent something.
    """

    __slots__ = ("applied", "digests", "doubtful", "leading", "marks", "others", "outcomes", "sure", "unsure")

    def __init__(self) -> None:
        self.applied: list[Drawn] = []
        self.outcomes: list[Outcome] = []
        self.sure: list[int] = []
        self.unsure: list[Unsure] = []
        self.digests = bytearray()
        self.others: list[tuple[Any, ...]] = []
        self.leading: list[tuple[int]] = []
        self.marks: list[tuple[Any, ...]] = []
        self.doubtful: set[_Key] = set()

    @property
    def more(self) -> bool:
        """Whether there is more to write than what was applied."""
        return bool(self.others or self.leading or self.marks or self.doubtful)

    def place(self, digest: bytes | None) -> int | None:
        """Where a digest begins, among `digests` from now on."""
        if digest is None:
            return None
        self.digests += digest
        return len(self.digests) - len(digest) + 1
