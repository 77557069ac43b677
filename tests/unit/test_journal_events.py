"""What a journal keeps of a run beside its rows' outcomes, and journals of an earlier version that kept less."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from xmediameta.journal import EventRecord, Finished
from xmediameta.journal import events as kept
from xmediameta.journal.events import Note
from xmediameta.journal.schema import VERSION
from xmediameta.journal.store import Store

from .journal_desk import Desk, row

EARLIER = Path(__file__).with_name("journal-1.sql")


def earlier(path: Path) -> Path:
    """A journal as the first version made it."""
    db = sqlite3.connect(path)
    db.executescript(EARLIER.read_text("utf-8"))
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    return path


def kinds(events: list[EventRecord]) -> list[str]:
    return [event.kind for event in events]


def told(event: EventRecord) -> dict[str, object]:
    return msgspec.json.decode(event.data or "null", type=dict[str, object])


def test_a_sitting_begins_and_ends(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db")
    desk.start([row(1, "a"), row(2, "b")])
    desk.finish(desk.draw(1)[0])
    desk.end(stopped='{"reason":"BudgetReached","message":"enough"}')
    begun, stop, ended = desk.store.events(desk.record.run)
    assert (begun.kind, stop.kind, ended.kind) == ("begun", "stop", "ended")
    assert begun.at == desk.record.started_at
    assert told(begun)["sitting"] == told(ended)["sitting"] == desk.record.sitting
    assert isinstance(told(begun)["pid"], int)
    assert told(stop)["message"] == "enough"
    assert stop.account is None


def test_a_run_that_goes_on_keeps_its_events_and_one_that_begins_anew_does_not(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db")
    rows = [row(1, "a"), row(2, "b")]
    desk.apply(*rows, most=1)
    desk.apply(*rows)
    assert kinds(desk.store.events(desk.record.run)) == ["begun", "ended", "begun", "ended"]
    desk.apply(*rows, force=True)
    assert kinds(desk.store.events(desk.record.run)) == ["begun", "ended"]


def test_a_sitting_that_was_killed_has_no_end(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db")
    desk.start([row(1, "a")])
    desk.store.close()
    again = Desk(tmp_path / "journal.db")
    again.apply(row(1, "a"))
    assert kinds(again.store.events(again.record.run)) == ["begun", "begun", "ended"]


def test_notes_are_committed_with_outcomes_or_without(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db")
    desk.start([row(1, "a", account="shop")])
    (task,) = desk.draw(account="shop")
    wait = Note(at="2026-11-03T09:14:00.000Z", kind="wait", account="shop", data='{"window":"user-15min"}')
    desk.work.finish([], 0, 0, {}, [wait])
    desk.work.finish([Finished(task=task, state="applied")], 1, 0, {}, [msgspec.structs.replace(wait, account=None)])
    begun, *waits = desk.store.events(desk.record.run)
    assert begun.kind == "begun"
    assert [(one.kind, one.account, one.data) for one in waits] == [
        ("wait", "shop", '{"window":"user-15min"}'), ("wait", None, '{"window":"user-15min"}'),
    ]  # fmt: skip


def test_the_oldest_events_go_and_those_of_other_runs_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST", 5)
    desk = Desk(tmp_path / "journal.db")
    desk.start([row(9, "z")], name="other")
    other = desk.record.run
    desk.start([row(1, "a")])
    for n in range(7):
        desk.work.finish([], 0, 0, {}, [Note(at=f"at {n}", kind="wait")])
    assert [event.at for event in desk.store.events(desk.record.run)] == [f"at {n}" for n in range(2, 7)]
    assert kinds(desk.store.events(other)) == ["begun"]


def test_how_long_a_row_took_is_kept_with_all_that_share_its_request(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db")
    desk.start([row(1, "a"), row(2, "b"), row(1, "a"), row(3, "c"), row(4, "d")])
    first, second, third, fourth = desk.draw()
    desk.work.finish(
        [
            Finished(task=first, state="applied", attempts=1, seconds=0.25),
            Finished(task=second, state="failed", attempts=5, seconds=31.5),
            Finished(task=third, state="expired"),
        ],
        6, 4,
    )  # fmt: skip
    assert [task.seconds for task in desk.store.tasks(desk.record.load, -1, 10)] == [0.25, 31.5, 0.25, None, None]
    # An input that has changed is loaded anew, and takes along what has ended.
    desk.end(fourth)
    desk.start([row(2, "b"), row(4, "d"), row(1, "a"), row(5, "e")])
    assert [task.seconds for task in desk.store.tasks(desk.record.load, -1, 10)][:3:2] == [31.5, 0.25]


def test_a_journal_of_the_first_version_goes_on(tmp_path: Path) -> None:
    path = earlier(tmp_path / "journal.db")
    desk = Desk(path)
    run = desk.store.run("run")
    assert run is not None
    before = desk.store.tasks(run.load, -1, 10)
    assert [(task.state, task.seconds) for task in before] == [
        ("applied", None), ("failed", None), ("pending", None), ("pending", None),
    ]  # fmt: skip
    sent = desk.apply(*(row(n, f"text {n}", ref=f"r{n}", source=f"updates.csv:{n + 1}") for n in range(1, 5)))
    assert sent == ["3:text 3", "4:text 4"]
    assert kinds(desk.store.events(run.run)) == ["begun", "ended"]
    desk.store.close()
    old, new = sqlite3.connect(path), sqlite3.connect(Store(tmp_path / "new.db").path)
    assert old.execute("PRAGMA user_version").fetchone() == (VERSION,)
    for table in ("outcome", "event", "status"):
        columns = f"SELECT name, type FROM pragma_table_info('{table}')"
        assert old.execute(columns).fetchall() == new.execute(columns).fetchall()
    old.close()
    new.close()


def test_a_journal_of_the_first_version_is_not_half_upgraded(tmp_path: Path) -> None:
    path = earlier(tmp_path / "journal.db")
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE event (in_the_way)")
    db.commit()
    db.close()
    with pytest.raises(Exception, match="event already exists"):
        Store(path)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert "seconds" not in [name for _, name, *_ in db.execute("PRAGMA table_info(outcome)")]
    db.close()
