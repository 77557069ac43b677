"""The journal as a state machine, against a model of its rules and against what a server was really sent.

Runs share media ids, one sitting at a time (two side by side are in `test_journal_rivals`). A sitting draws, finishes,
is killed or ends; after a kill the file is copied as it lies on the disk, log and all, and the machine goes on with the
copy.

Two things are checked. The rules: which rows are pending, in which order they are drawn, what shares a request, what is
remembered of each media id. And the truth: what the journal is sure that a media was last sent is what the server has,
whatever was killed or failed in between; and a run that comes to its end leaves each media with its last row.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.journal_desk import START, Desk, bad, row, text_of
from xmediameta.coalesce import Coalesce
from xmediameta.journal import Drawn, Finished, Incoming, Loaded, State, digest
from xmediameta.journal.schema import NEVER

PLACES = ("https://api.x.com", "http://127.0.0.1:8080")
ACCOUNTS = ("", "shop")
IDS = "12"
DONE = ("applied", "unchanged")
Key = tuple[str, str, str]  # base URL, account, media id
Ending = Literal["applied", "refused", "lost", "landed", "expired", "unsure"]


@dataclass(eq=False)
class Line:
    """One row of an input, and how it ended; no text: an invalid one.

    `text` is what is to be sent for it, which is not what it asks for where rows are coalesced.
    """

    media_id: str
    text: str
    account: str = ""
    send_before: float | None = None
    state: State = "pending"
    asked: str | None = None

    @property
    def given(self) -> Incoming:
        asked = self.text if self.asked is None else self.asked
        if not asked:
            return bad(self.media_id, ref=self.account)
        return row(self.media_id, asked, account=self.account or None, send_before=self.send_before)

    @property
    def same(self) -> tuple[object, ...]:
        return self.media_id, self.text, self.account, self.send_before if self.text else None

    def copy(self) -> Line:
        return Line(self.media_id, self.text if self.asked is None else self.asked, self.account, self.send_before)


@dataclass
class Media:
    """What can be known of a media id: it has one of `may`, or one of what is `out`."""

    may: list[str] = field(default_factory=list)
    out: list[str] = field(default_factory=list)

    @property
    def known(self) -> str | None:
        return self.may[0] if len(self.may) == 1 and not self.out else None


@dataclass
class Sitting:
    """A run that is held: what is still to be drawn, and what is out."""

    url: str
    lines: list[Line]
    plan: dict[str, deque[list[Line]]]
    after: dict[str, tuple[float, int]] = field(default_factory=dict)
    out: list[tuple[Drawn, list[Line]]] = field(default_factory=list)
    decided: set[Key] = field(default_factory=set)  # the media that were looked at when it began
    failed: set[Key] = field(default_factory=set)

    def first_out(self) -> list[tuple[Drawn, list[Line]]]:
        """Of each media id what may end next."""
        firsts: dict[tuple[str, str], tuple[Drawn, list[Line]]] = {}
        for one in sorted(self.out, key=lambda each: each[0].seq):
            firsts.setdefault((one[1][0].account, one[1][0].media_id), one)
        return list(firsts.values())


A_LINE = st.builds(
    Line,
    media_id=st.sampled_from(IDS),
    text=st.sampled_from(["A", "A", "A", "B", "B", "C", ""]),
    account=st.sampled_from(["", "", "", "shop"]),
    send_before=st.sampled_from([None, None, None, 100.0, 200.0]),
)
LINES = st.lists(A_LINE, min_size=1, max_size=7)
OPTIONS = st.fixed_dictionaries(
    {
        "force": st.sampled_from([False, False, False, True]),
        "retry_failed": st.booleans(),
        "killed": st.sampled_from([False, False, False, True]),
        # What the rows set is one member, so that to merge them is to take the last.
        "coalesce": st.sampled_from([None, None, None, "last", "merge"]),
    }
)
ENDINGS = st.sampled_from(["applied", "applied", "applied", "refused", "lost", "landed", "expired", "unsure"])


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.copies = 0
        self.path = self.folder / "0.db"
        self.desk = Desk(self.path)
        self.runs: dict[tuple[str, str], list[Line]] = {}
        self.media: dict[Key, Media] = {}
        self.server: dict[Key, str] = {}
        self.sitting: Sitting | None = None

    def teardown(self) -> None:
        try:
            if self.sitting is not None:
                self.bring_to_its_end(self.sitting)
        finally:
            self.desk.store.close()
            shutil.rmtree(self.folder)

    # What is always so

    @invariant()
    def what_is_known_is_true(self) -> None:
        for key, media in self.media.items():
            if media.known is not None:
                assert self.server[key] == media.known

    @precondition(lambda self: self.sitting is None)
    @invariant()
    def what_is_known_is_remembered(self) -> None:
        rows = self.desk.store._file.db.execute(
            "SELECT base_url, name, media_id, digest FROM sent JOIN account USING (account) JOIN place USING (place)"
            " WHERE unsure = 0"
        ).fetchall()
        assert {(url, name, media_id): hashed for url, name, media_id, hashed in rows} == {
            key: hash_of(key, media.known) for key, media in self.media.items() if media.known is not None
        }

    @precondition(lambda self: self.sitting is not None)
    @invariant()
    def rows_are_as_they_ended(self) -> None:
        assert self.sitting is not None
        lines = self.sitting.lines
        assert self.desk.states == [line.state for line in lines]
        counts = {(c.account, c.state): c.rows for c in self.desk.store.counts(self.desk.record.load)}
        assert counts == Counter((line.account if line.text else "", line.state) for line in lines)

    # Starting

    @initialize(lines=LINES)
    def first_input(self, lines: list[Line]) -> None:
        self.begin([line.copy() for line in lines], PLACES[0], "one")

    @precondition(lambda self: self.sitting is None)
    @rule(lines=LINES, at=st.sampled_from([0, 0, 1]), name=st.sampled_from(["one", "two"]), options=OPTIONS)
    def other_input(self, lines: list[Line], at: int, name: str, options: dict[str, Any]) -> None:
        self.begin([line.copy() for line in lines], PLACES[at], name, **options)

    @precondition(lambda self: self.sitting is None)
    @rule(
        data=st.data(),
        edit=st.sampled_from(["none", "none", "none", "drop", "add", "change", "repeat", "swap", "date"]),
        options=OPTIONS,
    )
    def same_input(self, data: st.DataObject, edit: str, options: dict[str, Any]) -> None:
        """The same command again, the file as it was or a little edited."""
        url, name = data.draw(st.sampled_from(sorted(self.runs)))
        lines = [line.copy() for line in self.runs[url, name]]
        if lines:
            at = data.draw(st.integers(0, len(lines) - 1))
            if edit == "drop":
                del lines[at]
            elif edit == "add":
                lines.insert(at, data.draw(A_LINE).copy())
            elif edit == "change":
                lines[at].text = data.draw(st.sampled_from("ABC"))
            elif edit == "repeat":
                lines.append(lines[at].copy())
            elif edit == "swap":
                lines[0], lines[at] = lines[at], lines[0]
            elif edit == "date":
                lines[at].send_before = data.draw(st.sampled_from([None, 100.0, 200.0]))
        self.begin(lines, url, name, **options)

    def begin(
        self,
        lines: list[Line],
        url: str,
        name: str,
        *,
        force: bool = False,
        retry_failed: bool = False,
        killed: bool = False,
        coalesce: Coalesce = None,
    ) -> None:
        known = self.runs.get((url, name))
        called = f"{name} of {url}"
        if killed:
            # Another process began to load the same, and was killed in the middle.
            loading = self.desk.store.load(called, url, None, lambda: False)
            assert not isinstance(loading, Loaded)
            loading.add([line.given for line in lines[: len(lines) // 2 + 1]])
            self.reopen()
        unfinished = known is not None and any(line.state == "pending" for line in known)
        loaded = self.desk.start(
            [line.given for line in lines],
            name=called,
            url=url,
            force=force,
            retry_failed=retry_failed,
            coalesce=coalesce,
        )
        same = known is not None and [line.same for line in known] == [line.same for line in lines]
        if coalesce is not None:
            # Rows that may have been coalesced in another way are not compared, but loaded anew.
            same = (
                same and max(Counter((one.account, one.media_id) for one in lines if one.text).values(), default=1) < 2
            )
            for line in lines:
                line.asked = line.text
            for line in lines:
                line.text = of(lines, line.account, line.media_id)[-1].text if line.text else ""
        assert (loaded.total, loaded.resumed, loaded.same) == (len(lines), unfinished, same)
        if known is None:
            assert (loaded.new, loaded.removed) == (len(lines), 0)
        elif same:
            assert (loaded.new, loaded.removed) == (0, 0)
            for line, asked in zip(known, lines, strict=True):
                line.asked = asked.asked
            lines = known
        else:
            before = Counter((line.account, line.media_id, line.text) for line in known if line.text)
            now = Counter((line.account, line.media_id, line.text) for line in lines if line.text)
            assert (loaded.new, loaded.removed) == ((now - before).total(), (before - now).total())
            carry(known, lines, applied=unfinished)
        self.runs[url, name] = lines
        again: set[State] = {"failed"} if retry_failed else set()
        if known is not None and not unfinished:
            again |= {"applied", "unchanged"}
        if force:
            again |= {"unchanged"}
        decided = self.decide(lines, url, force=force, again=again)
        plan = {account: deque(in_order(lines, account)) for account in ACCOUNTS}
        self.sitting = Sitting(url, lines, plan, decided=decided)

    def decide(self, lines: list[Line], url: str, *, force: bool, again: set[State]) -> set[Key]:
        decided: set[Key] = set()
        for line in lines:
            line.state = "invalid" if not line.text else "pending" if line.state in again else line.state
        for account in ACCOUNTS:
            for media_id in IDS:
                counting = [line for line in of(lines, account, media_id) if line.state in {"pending", *DONE}]
                known = self.media.get((url, account, media_id), Media()).known
                waiting = False
                if any(line.state == "pending" for line in counting):
                    decided.add((url, account, media_id))
                for line in counting:
                    if not force and known == counting[-1].text:
                        line.state = "unchanged" if line.state == "pending" else line.state
                    else:
                        waiting = waiting or line.state == "pending"
                        line.state = "pending" if waiting else line.state
        return decided

    # Working

    @precondition(lambda self: self.sitting is not None)
    @rule(account=st.sampled_from(ACCOUNTS), most=st.integers(1, 3))
    def draw(self, account: str, most: int) -> None:
        sitting = self.sitting
        assert sitting is not None
        if not any(line.account == account for line in sitting.lines if line.text):
            return
        tasks = self.desk.work.draw(account, sitting.after.get(account, START), most)
        plan = sitting.plan[account]
        expected = [plan.popleft() for _ in range(min(most, len(plan)))]
        assert [task.seq for task in tasks] == [sitting.lines.index(waiting[0]) for waiting in expected]
        for task, waiting in zip(tasks, expected, strict=True):
            assert (task.update.id, task.update.account or "") == (waiting[0].media_id, account)
            assert text_of(task) == waiting[0].text
            assert len(task.followers) == len(waiting) - 1
            deadlines = [line.send_before for line in waiting]
            latest = None if None in deadlines else max(d for d in deadlines if d is not None)
            assert {update.send_before for update in (task.update, *task.followers)} == {latest}
            sitting.after[account] = task.due, task.seq
            sitting.out.append((task, waiting))
            self.media_of(waiting[0]).out.append(waiting[0].text)

    @precondition(lambda self: self.sitting is not None and self.sitting.out)
    @rule(data=st.data(), several=st.integers(1, 3))
    def finish(self, data: st.DataObject, several: int) -> None:
        """Some tasks end and are recorded in one commit; of each media id in order."""
        sitting = self.sitting
        assert sitting is not None
        batch: list[Finished] = []
        for _ in range(several):
            if sitting.out:
                task, lines = data.draw(st.sampled_from(sitting.first_out()))
                batch.append(self.ended(sitting, task, lines, data.draw(ENDINGS)))
        self.desk.work.finish(batch, 0, 0)

    @precondition(lambda self: self.sitting is not None)
    @rule(most=st.integers(1, 9))
    def work(self, most: int) -> None:
        """Draw and apply, one after the other."""
        sitting = self.sitting
        assert sitting is not None
        for account in ACCOUNTS:
            self.draw(account, most)
        while sitting.out and most:
            most -= 1
            self.desk.work.finish([self.ended(sitting, *sitting.first_out()[0], "applied")], 0, 0)

    def ended(self, sitting: Sitting, task: Drawn, lines: list[Line], ending: Ending) -> Finished:
        sitting.out = [one for one in sitting.out if one[0] is not task]
        key, media, text = self.key(lines[0]), self.media_of(lines[0]), lines[0].text
        media.out.remove(text)
        state: State = "pending" if ending == "unsure" else "failed"
        if ending in {"applied", "expired"}:
            state = ending  # type: ignore[assignment]
        if ending == "applied":
            media.may = [text]
        if ending in {"applied", "landed", "unsure"}:
            self.server[key] = text
        maybe = ending in {"lost", "landed", "unsure"}
        if maybe:
            media.may = [*(media.may or ["?"]), text]
        if ending != "applied":
            sitting.failed.add(key)
        for line in lines:
            line.state = state
        return Finished(task=task, state=state, attempts=1, maybe_applied=maybe)

    # Ending

    @precondition(lambda self: self.sitting is not None)
    @rule(data=st.data(), killed=st.booleans())
    def stop(self, data: st.DataObject, killed: bool) -> None:
        """The run is let go, and what is out was not sent; or the process ends, and some of it has come through."""
        sitting = self.sitting
        assert sitting is not None
        for _, lines in sorted(sitting.out, key=lambda each: each[0].seq):
            key, media = self.key(lines[0]), self.media_of(lines[0])
            media.out.remove(lines[0].text)
            if killed:
                media.may = [*(media.may or ["?"]), lines[0].text]
                if data.draw(st.booleans()):
                    self.server[key] = lines[0].text
        if killed:
            self.reopen()
        else:
            self.desk.work.end([task for task, _ in sitting.out], None, 0, 0)
        self.sitting = None

    def bring_to_its_end(self, sitting: Sitting) -> None:
        for account in ACCOUNTS:
            while sitting.plan[account]:
                self.draw(account, 3)
        while sitting.out:
            self.desk.work.finish([self.ended(sitting, *sitting.first_out()[0], "applied")], 0, 0)
        self.rows_are_as_they_ended()
        self.what_is_known_is_true()
        for account in ACCOUNTS:
            for media_id in IDS:
                done = [line for line in of(sitting.lines, account, media_id) if line.state in DONE]
                key = sitting.url, account, media_id
                if done and key in sitting.decided - sitting.failed:
                    assert self.server[key] == done[-1].text
        self.desk.end()

    # Help

    def key(self, line: Line) -> Key:
        assert self.sitting is not None
        return self.sitting.url, line.account, line.media_id

    def media_of(self, line: Line) -> Media:
        return self.media.setdefault(self.key(line), Media())

    def reopen(self) -> None:
        """Go on with a copy of the file and its log as they lie on the disk."""
        self.copies += 1
        path = self.folder / f"{self.copies}.db"
        for ending in ("", "-wal"):
            old = self.path.with_name(self.path.name + ending)
            if old.exists():
                shutil.copy(old, path.with_name(path.name + ending))
        self.desk.store.close()
        self.path, self.desk = path, Desk(path)


def of(lines: list[Line], account: str, media_id: str) -> list[Line]:
    """The valid rows of a media id."""
    return [line for line in lines if line.text and (line.account, line.media_id) == (account, media_id)]


def collapsed(lines: list[Line]) -> list[list[Line]]:
    """Equal neighbours together."""
    groups: list[list[Line]] = []
    for line in lines:
        if groups and groups[-1][0].text == line.text:
            groups[-1].append(line)
        else:
            groups.append([line])
    return groups


def carry(old: list[Line], new: list[Line], *, applied: bool) -> None:
    """What the rows of a changed input keep."""
    for account in ACCOUNTS:
        for media_id in IDS:
            before = of(old, account, media_id)
            spare = [line for line in before if line.state in {"failed", "expired"}]
            others: list[Line] = []
            for line in of(new, account, media_id):
                equal = [one for one in spare if one.text == line.text]
                fit = [one for one in equal if one.state == "failed"] + [
                    one for one in equal if one.state == "expired" and one.send_before == line.send_before
                ]
                if fit:
                    spare.remove(fit[0])
                    line.state = fit[0].state
                else:
                    others.append(line)
            done, now = collapsed([line for line in before if line.state in DONE]), collapsed(others)
            fits = [
                length
                for length in range(1, min(len(done), len(now)) + 1)
                if [group[0].text for group in now[:length]] == [group[0].text for group in done[-length:]]
            ]
            if applied and fits:
                for group, former in zip(now[: fits[-1]], done[-fits[-1] :], strict=True):
                    for line in group:
                        line.state = former[0].state


def in_order(lines: list[Line], account: str) -> list[list[Line]]:
    """What is to be drawn for an account, each with those that share it: the earliest due first."""
    tasks: list[tuple[float, int, list[Line]]] = []
    for media_id in IDS:
        mine = of(lines, account, media_id)
        for group in collapsed([line for line in mine if line.state in {"pending", *DONE}]):
            waiting = [line for line in group if line.state == "pending"]
            if waiting:
                later = mine[mine.index(waiting[0]) :]
                due = min((line.send_before for line in later if line.send_before is not None), default=NEVER)
                tasks.append((due, lines.index(waiting[0]), waiting))
    return [waiting for _, _, waiting in sorted(tasks, key=lambda task: task[:2])]


def hash_of(key: Key, text: str | None) -> bytes:
    body = row(key[2], text or "", account=key[1] or None).body
    assert body is not None
    return digest(body)


TestJournal = JournalMachine.TestCase
