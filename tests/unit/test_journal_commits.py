"""What a piece of a load, a draw and a commit ask of SQLite, and what they leave in the tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.journal_desk import START, URL, Desk, row
from xmediameta.journal import Drawn, Finished, digest
from xmediameta.journal.loading import Loading


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "journal.db")
    yield desk
    desk.store.close()


class Asked:
    """A connection that notes the first words of what it is asked."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.statements: list[str] = []

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self.statements.append(" ".join(statement.split()[:3]))
        return self._db.execute(statement, *values)

    def executemany(self, statement: str, values: Any) -> sqlite3.Cursor:
        self.statements.append(" ".join(statement.split()[:3]))
        return self._db.executemany(statement, values)

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction


@contextmanager
def asked(desk: Desk) -> Iterator[list[str]]:
    """What is asked of SQLite meanwhile."""
    file = desk.store._file
    db, asking = file.db, Asked(file.db)
    file.db = asking  # type: ignore[assignment]
    yield asking.statements
    file.db = db


def well(task: Drawn) -> Finished:
    return Finished(task=task, state="applied", attempts=2, transaction_id=f"t{task.seq}", seconds=0.25)


FRACTION = 1790000000.123457


@pytest.mark.parametrize(
    ("deadlines", "statements"),
    [
        ([None] * 3, ["INSERT INTO task"]),
        ([1790000000.0, None, 1790000001], ["INSERT INTO task"]),
        ([FRACTION] * 3, ["INSERT INTO task"]),
        ([FRACTION, None, 5.0], ["BEGIN IMMEDIATE", "INSERT INTO task", "COMMIT"]),
    ],
    ids=["none", "whole seconds", "one fraction", "fractions"],
)
def test_a_piece_of_a_load_is_one_statement(desk: Desk, deadlines: list[float | None], statements: list[str]) -> None:
    loading = desk.store.load("run", URL, None, lambda: False)
    assert isinstance(loading, Loading)
    loading.add([row(1, "A")])  # which names the account, and begins the load
    rows = [row(n, "A", ref=n, send_before=due) for n, due in enumerate(deadlines, 2)]
    with asked(desk) as known:
        loading.add(rows)
    assert known == statements
    loading.finish(None)
    read = desk.store._file.db.execute("SELECT send_before FROM task ORDER BY task").fetchall()
    assert [due for (due,) in read] == [None, *deadlines]


def test_rows_that_were_applied_and_the_windows_go_in_one_statement(desk: Desk) -> None:
    desk.start([row(n, "A", account="shop", ref=n) for n in range(5)])
    tasks = desk.draw(account="shop")
    with asked(desk) as statements:
        desk.work.finish([well(task) for task in tasks], 7, 2, {"shop": '{"left": 3}'})
    assert statements == ["INSERT INTO told"]
    told = desk.store.tasks(desk.record.load, -1, 9)
    assert [(one.state, one.attempts, one.transaction_id, one.seconds) for one in told] == [
        ("applied", 2, f"t{n}", 0.25) for n in range(5)
    ]
    assert [desk.known(n, account="shop") for n in range(5)] == [True] * 5
    assert desk.work.quota() == {"shop": '{"left": 3}'}
    record = desk.store.run("run")
    assert record is not None
    assert (record.requests, record.retries) == (7, 2)


def test_a_draw_is_one_statement_for_undated_rows_after_the_first(desk: Desk) -> None:
    desk.start([row(n, "A", ref=n) for n in range(8)])
    first = desk.work.draw("", START, 3)
    with asked(desk) as statements:
        rest = desk.work.draw("", (first[-1].due, first[-1].seq), 99)
    assert [task.update.ref for task in [*first, *rest]] == list(range(8))
    assert len(statements) <= 3


def test_what_was_sent_in_the_place_of_a_row_is_what_is_remembered(desk: Desk) -> None:
    desk.start([row(n, "A") for n in range(4)])
    tasks = desk.draw()
    other = row(1, "B").body
    assert other is not None
    replaced = Drawn(tasks[1].seq, tasks[1].update, other, tasks[1].due, (), digest(other))
    desk.work.finish([well(task) for task in (tasks[0], replaced, tasks[2], tasks[3])], 4, 0)
    held = dict(desk.store._file.db.execute("SELECT media_id, digest FROM sent").fetchall())
    bodies = {task.update.id: task.body for task in (tasks[0], replaced, tasks[2], tasks[3])}
    assert held == {media_id: digest(body) for media_id, body in bodies.items()}


def test_of_rows_of_one_media_id_in_one_commit_the_last_is_remembered(desk: Desk) -> None:
    desk.start([row(1, "A"), row(1, "B"), row(2, "C")])
    tasks = desk.draw()
    desk.finish(*tasks)
    ((held,),) = desk.store._file.db.execute("SELECT digest FROM sent WHERE media_id = '1'").fetchall()
    assert held == digest(tasks[1].body)
    assert desk.known(1)


def test_one_that_failed_does_not_hold_up_the_others_of_its_commit(desk: Desk) -> None:
    desk.start([row(n, "A") for n in range(6)])
    tasks = desk.draw()
    failed = Finished(task=tasks[2], state="failed", attempts=1, status=404, error="MediaNotFound", problem="{}")
    with asked(desk) as statements:
        desk.work.finish([well(tasks[0]), well(tasks[1]), failed, *map(well, tasks[3:])], 6, 0)
    assert statements.count("INSERT INTO told") == 1
    assert desk.states == ["applied"] * 2 + ["failed"] + ["applied"] * 3


def test_nothing_but_the_count(desk: Desk) -> None:
    desk.start([row(1, "A")])
    desk.work.finish([], 3, 1)
    record = desk.store.run("run")
    assert record is not None
    assert (record.requests, record.retries, desk.states) == (3, 1, ["pending"])


def test_a_run_that_begins_meanwhile_is_seen_before_anything_is_recorded(desk: Desk, tmp_path: Path) -> None:
    desk.start([row(1, "A"), row(2, "A")], name="mine")
    tasks = desk.draw()
    other = Desk(tmp_path / "journal.db")
    other.start([row(1, "B")], name="other")  # and is under way, or was killed
    with asked(desk) as statements:
        desk.finish(*tasks)
    assert statements[0] == "INSERT INTO told"
    assert statements[1:3] == ["BEGIN IMMEDIATE", "SELECT max(sitting) FROM"]
    assert (desk.known(1), desk.known(2)) == (False, True)
    assert desk.states == ["applied"] * 2
    other.store.close()
