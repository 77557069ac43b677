"""The engine of a journal: an input comes in, is settled, drawn and finished. What is decided is tested in chains."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.journal_desk import START, URL, Desk, bad, row, shown
from xmediameta.errors import JournalError
from xmediameta.journal import Counted, Finished, Incoming, Loaded, TaskRecord, drawing, schema, store
from xmediameta.journal.work import Work
from xmediameta.models import Metadata, Update
from xmediameta.wire import encode

OTHER = "http://127.0.0.1:8080"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "journal.db")
    yield desk
    desk.store.close()


def rows_of(desk: Desk, table: str) -> int:
    return int(desk.store._file.one(f"SELECT count(*) FROM {table}"))


# An input comes in


def test_a_new_run(desk: Desk) -> None:
    loaded = desk.start([row(1, "A", ref="r1", source="u.csv:2"), bad("x"), row(2, "B", account="shop")])
    assert loaded == Loaded(total=3, resumed=False, same=False, new=3)
    record = desk.record
    assert (record.name, record.base_url, record.total, record.requests, record.retries) == ("run", URL, 3, 0, 0)
    assert record.started_at is not None
    assert record.ended_at is record.stopped is None
    assert desk.states == ["pending", "invalid", "pending"]


def test_an_error_in_the_rows_loads_nothing_of_them(desk: Desk) -> None:
    loading = desk.store.load("run", URL, None, lambda: False)
    assert not isinstance(loading, Loaded)
    loading.add([row(1, "A"), row(2, "B")])
    # Nobody sees it before its end.
    assert desk.store.runs() == []
    loading.sweep()
    assert (rows_of(desk, "task"), rows_of(desk, "outcome"), rows_of(desk, "load")) == (0, 0, 0)


def test_what_a_killed_load_left_is_swept_away_by_the_next(desk: Desk) -> None:
    for _ in range(2):
        loading = desk.store.load("run", URL, None, lambda: False)
        assert not isinstance(loading, Loaded)
        loading.add([row(n, "A") for n in range(10)] + [bad()])
    assert rows_of(desk, "load") == 1
    desk.start([row(1, "A")])
    assert (rows_of(desk, "task"), rows_of(desk, "outcome"), rows_of(desk, "load")) == (1, 0, 1)


def test_a_load_of_another_run_under_way_is_left_alone(desk: Desk) -> None:
    loading = desk.store.load("other", URL, None, lambda: False)
    assert not isinstance(loading, Loaded)
    loading.add([row(1, "A"), row(2, "B")])
    desk.start([row(3, "C")])
    loading.finish(None)
    assert sorted((record.name, record.total) for record in desk.store.runs()) == [("other", 2), ("run", 1)]
    desk.start([row(1, "A"), row(2, "B")], name="other")
    assert desk.waiting() == ["1:A", "2:B"]


def test_the_same_input_is_compared_and_not_written(desk: Desk) -> None:
    given = [
        row(1, "A", ref="a", source="u:1", passed={"sku": 7}),
        bad("x"),
        row(2, "B", ref=5, send_before=100.0),
        row(3, "C", account="shop"),
        row(1, "A"),
    ]
    desk.start(given)
    load, changes = desk.record.load, desk.store._file.db.total_changes
    assert desk.load(given) == Loaded(total=5, resumed=True, same=True, new=0)
    assert desk.store._file.db.total_changes - changes <= 5  # the accounts' names, the place and the fingerprint
    desk.start(given)
    assert desk.record.load == load


@pytest.mark.parametrize(
    ("at", "other"),
    [
        (0, row(1, "Z", ref="a")),
        (0, row(9, "A", ref="a")),
        (0, row(1, "A", ref="b")),
        (0, row(1, "A", ref="a", account="shop")),
        (0, row(1, "A", ref="a", send_before=5.0)),
        (0, row(1, "A", ref="a", source="elsewhere:1")),
        (0, row(1, "A", ref="a", passed={"sku": 1})),
        (0, bad("1")),
        (1, bad("x", "is something else")),
        (1, bad("y")),
        (1, row(8, "A")),
        (2, row(2, "B", ref="5")),
    ],
)
def test_a_row_that_differs_in_anything_is_another_input(desk: Desk, at: int, other: Incoming) -> None:
    given = [row(1, "A", ref="a"), bad("x"), row(2, "B", ref=5), row(3, "C"), row(4, "D")]
    desk.start(given)
    given[at] = other
    assert not desk.start(given).same
    seen = [(task.id, task.ref, task.account, task.send_before) for task in desk.store.tasks(desk.record.load, -1, 9)]
    assert seen == [(r.update.id, r.update.ref, r.update.account, r.update.deadline) for r in given]
    assert rows_of(desk, "task") == 5


def test_rows_that_come_or_go_at_the_end(desk: Desk) -> None:
    given = [row(n, "A") for n in range(5)]
    desk.start(given)
    assert desk.start(given[:4]) == Loaded(total=4, resumed=True, same=False, new=0, removed=1)
    assert desk.start(given) == Loaded(total=5, resumed=True, same=False, new=1, removed=0)
    assert desk.start([]) == Loaded(total=0, resumed=True, same=False, new=0, removed=5)
    assert rows_of(desk, "task") == 0
    assert desk.start(given) == Loaded(total=5, resumed=False, same=False, new=5, removed=0)


def test_a_fingerprint_saves_reading(desk: Desk) -> None:
    def never() -> Iterator[Incoming]:
        pytest.fail("the rows were asked for")
        yield

    desk.start([row(1, "A")], fingerprint="one")
    assert desk.start(never(), fingerprint="one") == Loaded(total=1, resumed=True, same=True, new=0)
    assert desk.start([row(1, "B")], fingerprint="two").new == 1
    # Without one the rows are looked at, and the old one is forgotten.
    assert desk.start([row(1, "C")]).new == 1
    assert desk.start([row(1, "D")], fingerprint="two").new == 1


def test_the_order_of_copied_rows_is_kept_when_the_ways_part(desk: Desk) -> None:
    given = [row(1, "A", send_before=300.0), row(2, "B", account="shop"), row(3, "C"), row(4, "D", account="shop")]
    desk.start(given)
    desk.start([*given, row(1, "E", send_before=100.0), bad("x"), row(5, "F", send_before=200.0)])
    assert [(shown(task), task.due) for task in desk.draw()] == [
        ("1:A", 100.0), ("1:E", 100.0), ("5:F", 200.0), ("3:C", schema.NEVER),
    ]  # fmt: skip
    assert [shown(task) for task in desk.draw(account="shop")] == ["2:B", "4:D"]


def test_odd_text_and_numbers_do_not_stop_a_load(desk: Desk) -> None:
    desk.start(
        [
            row(1, "A", source="caf\udce9.csv:1", passed={"note": "half \ud83d", "many": 10**30}),
            Incoming(update=Update("\ud800" * 300, ref="\udfff"), body=None, fault=("id", "\ud800 is odd")),
            Incoming(update=Update("2", ref=10**30), body=None),
            Incoming(update=Update("3", ref=["list"]), body=None, fault=("ref", "no")),  # type: ignore[arg-type]
            Incoming(update=Update(None), body=None, fault=("id", "no")),  # type: ignore[arg-type]
            row(4, "nul \0 and \u2028 and \U0001f600", ref="nul \0"),
        ]
    )
    tasks = desk.store.tasks(desk.record.load, -1, 9)
    assert [task.source for task in tasks[:1]] == ["caf\\udce9.csv:1"]
    assert tasks[0].passed is not None
    assert "half" in tasks[0].passed
    assert [task.ref for task in tasks] == [None, "\\udfff", "1" + "0" * 30, "['list']", None, "nul \0"]
    assert len(tasks[1].id) <= 100
    assert [task.state for task in tasks] == ["pending", *["invalid"] * 4, "pending"]
    assert tasks[1].problem == '{"member": "id", "rule": "\\ud800 is odd"}'
    drawn = desk.draw()
    assert drawn[1].update.ref == "nul \0"
    assert shown(drawn[1]) == "4:nul \0 and \u2028 and \U0001f600"


def test_an_invalid_row_keeps_no_request(desk: Desk) -> None:
    update = Update("1", Metadata.of(alt_text="A"))
    desk.start([Incoming(update=update, body=encode(update), fault=("id", "no")), row(1, "A")])
    assert desk.states == ["invalid", "pending"]
    assert desk.waiting() == ["1:A"]
    assert desk.store.tasks(desk.record.load, -1, 1)[0].body is None


def test_a_run_stays_with_its_base_url(desk: Desk) -> None:
    desk.start([row(1, "A")])
    with pytest.raises(JournalError, match=r"the run 'run' sends to https://api.x.com, not to http://127"):
        desk.start([row(1, "A")], url=OTHER)


def test_a_run_that_is_not_there(desk: Desk) -> None:
    with pytest.raises(JournalError, match="there is no run 'run'"):
        desk.store.begin("run", force=False, retry_failed=False, anew=False, stopped=lambda: False, work=Work)
    assert desk.store.run("run") is None


def test_a_long_statement_can_be_stopped(desk: Desk) -> None:
    loading = desk.store.load("run", URL, None, lambda: True)
    assert not isinstance(loading, Loaded)
    for start in range(0, 60_000, 5000):
        loading.add([row(n, "A") for n in range(start, start + 5000)])
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        loading.finish(None)
    assert desk.store.runs() == []
    # Other statements are not concerned.
    assert rows_of(desk, "task") == 60_000


# What is left to be sent


def test_the_same_again_costs_nothing(desk: Desk) -> None:
    given = [row(n, "A") for n in range(6)]
    assert len(desk.apply(*given)) == 6
    assert desk.apply(*given) == []
    assert desk.states == ["unchanged"] * 6
    assert desk.apply(*given) == []
    # Nor in another file, in another order; what is new or changed is sent.
    assert desk.apply(row(9, "N"), row(2, "changed"), *reversed(given[3:]), name="other") == ["9:N", "2:changed"]
    # And what the first file says is not what media 2 has now.
    assert desk.apply(*given) == ["2:A"]


def test_an_unchanged_row_says_when_the_same_was_sent(desk: Desk) -> None:
    desk.apply(row(1, "A"))
    sent = desk.store.tasks(desk.record.load, -1, 1)[0]
    desk.apply(row(1, "A"), name="other")
    again = desk.store.tasks(desk.record.load, -1, 1)[0]
    assert (again.state, again.settled_at, again.attempts) == ("unchanged", sent.settled_at, 0)


def test_force_sends_all_the_same_and_resumes_all_the_same(desk: Desk) -> None:
    given = [row(n, "A") for n in range(4)]
    desk.apply(*given)
    assert desk.apply(*given, most=3, force=True) == ["0:A", "1:A", "2:A"]
    assert desk.apply(*given, force=True) == ["3:A"]
    assert desk.apply(*given) == []


def test_requests_count_from_zero_when_a_run_begins_anew(desk: Desk) -> None:
    desk.start([row(1, "A"), row(2, "B")])
    first, second = desk.draw()
    desk.work.finish([Finished(task=first, state="applied")], 3, 1)
    desk.work.end([second], '{"reason": "x"}', 4, 2)
    desk.start([row(1, "A"), row(2, "B")])
    assert (desk.record.requests, desk.record.retries, desk.record.stopped) == (4, 2, None)
    desk.work.finish([Finished(task=desk.draw()[0], state="applied")], 5, 2)
    desk.end()
    desk.start([row(1, "A"), row(2, "B")])
    assert (desk.record.requests, desk.record.retries) == (0, 0)


def test_failures_stay_until_they_are_tried_again(desk: Desk) -> None:
    given = [row(1, "A"), row(2, "B"), row(3, "C")]
    desk.start(given)
    one, two, three = desk.draw()
    desk.finish(one)
    desk.finish(two, state="failed")
    desk.end(three)
    assert desk.apply(*given) == ["3:C"]
    assert desk.states == ["applied", "failed", "applied"]
    assert desk.apply(*given) == []
    assert desk.states == ["unchanged", "failed", "unchanged"]
    assert desk.apply(*given, retry_failed=True) == ["2:B"]


def test_a_failed_sister_does_not_make_a_row_be_sent_again(desk: Desk) -> None:
    desk.start([row(1, "A"), row(1, "B")])
    one, two = desk.draw()
    desk.finish(one)
    desk.finish(two, state="failed")
    desk.end()
    assert desk.apply(row(1, "A"), row(1, "B")) == []


def test_a_changed_input_in_the_middle_of_a_run(desk: Desk) -> None:
    given = [row(n, "A") for n in range(6)]
    assert desk.apply(*given, most=4) == ["0:A", "1:A", "2:A", "3:A"]
    # Row 0 is gone, row 1 changed, row 3 sent already, row 7 new.
    changed = [row(1, "B"), row(2, "A"), row(7, "A"), row(3, "A"), row(4, "A"), row(5, "A")]
    desk.start(changed)
    assert desk.loaded == Loaded(total=6, resumed=True, same=False, new=2, removed=2)
    assert desk.waiting() == ["1:B", "7:A", "4:A", "5:A"]
    assert desk.states == ["pending", "applied", "pending", "applied", "pending", "pending"]


def test_a_row_that_is_applied_but_now_comes_later_is_sent_again(desk: Desk) -> None:
    desk.apply(row(1, "A"), row(2, "x"), most=1)
    assert desk.apply(row(1, "C"), row(1, "A"), row(1, "D"), row(2, "x")) == ["1:C", "1:A", "1:D", "2:x"]
    # But where it is the last, the media has it.
    desk.apply(row(5, "A"), row(6, "x"), most=1, name="other")
    assert desk.apply(row(5, "C"), row(5, "A"), row(6, "x"), name="other") == ["6:x"]


def test_expired_rows_have_a_new_chance_with_another_deadline(desk: Desk) -> None:
    desk.start([row(1, "A", send_before=100.0), row(2, "B", send_before=100.0)])
    desk.finish(*desk.draw(), state="expired")
    desk.end()
    assert desk.apply(row(1, "A", send_before=200.0), row(2, "B", send_before=100.0)) == ["1:A"]
    assert desk.states == ["applied", "expired"]


def test_what_was_sent_is_remembered_by_place_and_account(desk: Desk) -> None:
    assert desk.apply(row(1, "A"), name="rehearsal", url=OTHER) == ["1:A"]
    assert desk.apply(row(1, "A")) == ["1:A"]
    desk.start([row(1, "A", account="shop")], name="shop")
    assert desk.waiting(account="shop") == ["1:A"]


# The order of the draw


def test_the_earliest_first_then_the_order_of_the_input(desk: Desk) -> None:
    desk.start(
        [
            row(1, "A"),
            row(2, "A", send_before=300.0),
            row(3, "A", send_before=100.0),
            row(4, "A"),
            row(5, "A", send_before=300.0),
            row(6, "A", account="shop"),
            row(7, "A", account="shop", send_before=50.0),
            row(8, "A", account="shop"),
        ]
    )
    for size in (1, 2, 3, 4, 100):
        assert [t.update.id for t in desk.draw(size=size)] == ["3", "2", "5", "1", "4"]
        assert [t.update.id for t in desk.draw(size=size, account="shop")] == ["7", "6", "8"]


def test_nothing_is_due_after_what_comes_behind_it_for_its_media(desk: Desk) -> None:
    desk.start(
        [row(1, "A"), row(2, "A", send_before=150.0), row(1, "B", send_before=200.0), row(1, "C", send_before=100.0)]
    )
    assert [(shown(t), t.due) for t in desk.draw()] == [
        ("1:A", 100.0), ("1:B", 100.0), ("1:C", 100.0), ("2:A", 150.0),
    ]  # fmt: skip


def test_equal_neighbours_share_a_leader(desk: Desk) -> None:
    desk.start(
        [
            row(1, "A", ref="a"),
            row(1, "A", ref="b", account=None),
            row(2, "A"),
            row(1, "B"),
            row(1, "A", ref="c"),
            row(1, "A"),
        ]
    )
    tasks = desk.draw()
    assert [shown(task) for task in tasks] == ["1:A+1", "2:A", "1:B", "1:A+1"]
    assert [update.ref for update in tasks[0].followers] == ["b"]
    assert tasks[0].update.ref == "a"
    desk.work.finish(
        [
            Finished(
                task=tasks[0],
                state="failed",
                status=400,
                error="UpdateRejected",
                problem="{}",
                attempts=2,
                transaction_id="t",
            )
        ],
        1,
        0,
    )
    one, two = desk.store.tasks(desk.record.load, -1, 2)
    assert (one.state, one.status, one.error, one.problem, one.attempts, one.transaction_id) == (
        "failed", 400, "UpdateRejected", "{}", 2, "t",
    )  # fmt: skip
    assert (one.status, one.error, one.problem, one.attempts, one.transaction_id, one.settled_at) == (
        two.status, two.error, two.problem, two.attempts, two.transaction_id, two.settled_at,
    )  # fmt: skip
    assert desk.states == ["failed", "failed", "pending", "pending", "pending", "pending"]


@pytest.mark.parametrize(
    ("first", "second", "latest"),
    [(100.0, 200.0, 200.0), (200.0, 100.0, 200.0), (100.0, None, None), (None, 9.0, None)],
)
def test_equals_share_the_latest_of_their_deadlines(
    desk: Desk, first: float | None, second: float | None, latest: float | None
) -> None:
    desk.start([row(1, "A", send_before=first), row(1, "A", send_before=second), row(1, "A", send_before=first)])
    (task,) = desk.draw()
    assert [update.send_before for update in (task.update, *task.followers)] == [latest] * 3
    assert task.due == min(due for due in (first, second) if due is not None)


def test_a_drawn_task_is_what_was_given(desk: Desk) -> None:
    given = [row(1, "A"), row(2, "B", ref="r"), row(3, "C", send_before=5.0), row(4, "D", ref=7, send_before=9.0)]
    desk.start(given)
    assert sorted((t.seq, t.update, t.body) for t in desk.draw()) == [
        (n, r.update, r.body) for n, r in enumerate(given)
    ]
    desk.start([row(1, "A", account="shop", ref="r")], name="shop")
    assert desk.draw(account="shop")[0].update == row(1, "A", account="shop", ref="r").update


def test_a_request_that_cannot_be_read_is_told(desk: Desk) -> None:
    desk.start([row(1, "A")])
    desk.store._file.db.execute("""UPDATE task SET body = '{"id": "x'""")
    with pytest.raises(JournalError, match="row 0 of the run 'run' holds a request that cannot be read: broken JSON"):
        desk.draw()


# What is sure


def again(desk: Desk, text: str) -> list[str]:
    """What a run named after it would send for media 1."""
    desk.start([row(1, text)], name=f"check {text}")
    return desk.waiting()


def test_a_kill_between_draw_and_finish_makes_unsure(desk: Desk) -> None:
    desk.apply(row(1, "A"), name="first")
    desk.start([row(1, "B")], name="second")
    desk.draw()
    assert desk.known(1) is False
    # The process was killed, and B may have been sent: A is not known to be there, and neither is B.
    assert again(desk, "A") == ["1:A"]
    assert again(desk, "B") == ["1:B"]
    # Drawn and given back since, which makes nothing sure that was not.
    assert desk.known(1) is False
    assert desk.apply(row(1, "A"), name="check A") == ["1:A"]
    assert again(desk, "A") == []


def test_what_is_given_back_is_sure_again(desk: Desk) -> None:
    desk.apply(row(1, "A"), name="first")
    desk.start([row(1, "B")])
    (task,) = desk.draw()
    desk.end(task)
    assert desk.known(1)
    assert again(desk, "A") == []


@pytest.mark.parametrize(("maybe", "known"), [(False, True), (True, False)])
@pytest.mark.parametrize("state", ["failed", "expired", "pending"])
def test_a_failure_that_may_have_been_applied_makes_unsure(desk: Desk, state: str, maybe: bool, known: bool) -> None:
    desk.apply(row(1, "A"), name="first")
    desk.start([row(1, "B")])
    desk.finish(*desk.draw(), state=state, maybe=maybe)  # type: ignore[arg-type]
    desk.end()
    assert desk.known(1) is known
    assert desk.states == [state]
    assert again(desk, "A") == ([] if known else ["1:A"])


def test_a_later_failure_does_not_make_sure_what_an_earlier_one_left_unsure(desk: Desk) -> None:
    desk.apply(row(1, "A"), name="first")
    desk.start([row(1, "B"), row(1, "C")])
    one, two = desk.draw()
    desk.finish(one, state="failed", maybe=True)
    desk.finish(two, state="failed")
    desk.end()
    assert desk.known(1) is False


def test_a_success_is_not_sure_while_a_later_row_is_out(desk: Desk) -> None:
    desk.start([row(1, "A"), row(1, "B"), row(1, "C")])
    one, two, three = desk.draw()
    desk.finish(one)
    assert desk.known(1) is False
    desk.finish(two, state="failed")
    assert desk.known(1) is False
    desk.end(three)
    assert desk.known(1)
    assert again(desk, "A") == []


def test_a_success_settles_what_was_unsure_before_it_in_the_same_commit(desk: Desk) -> None:
    desk.apply(row(1, "Z"), name="first")
    desk.start([row(1, "A"), row(1, "B")])
    one, two = desk.draw()
    desk.work.finish(
        [Finished(task=one, state="failed", maybe_applied=True), Finished(task=two, state="applied")], 0, 0
    )
    assert desk.known(1)
    assert again(desk, "B") == []


# Looking


def test_counts(desk: Desk) -> None:
    desk.start([row(1, "A"), row(1, "A"), row(1, "A"), bad(), row(2, "B"), row(3, "C"), row(3, "C")])
    one, two, _ = desk.draw()
    assert desk.store.counts(desk.record.load) == [
        Counted(account="", state="invalid", rows=1, requests_needed=0),
        Counted(account="", state="pending", rows=6, requests_needed=3),
    ]
    desk.finish(one)
    desk.finish(two, state="failed")
    assert desk.store.counts(desk.record.load) == [
        Counted(account="", state="applied", rows=3, requests_needed=0),
        Counted(account="", state="failed", rows=1, requests_needed=0),
        Counted(account="", state="invalid", rows=1, requests_needed=0),
        Counted(account="", state="pending", rows=2, requests_needed=1),
    ]


def test_counts_by_account_and_run(desk: Desk) -> None:
    desk.start([row(n, "A", account=account) for account in ("b", None, "a") for n in range(4)], name="one")
    desk.finish(*desk.draw(3, account="a"))
    desk.finish(*desk.draw(1, account="b"), state="failed")
    load = desk.record.load
    desk.start([row(1, "A", account="a"), row(1, "A", account="a")], name="two")
    assert [(c.account, c.state, c.rows, c.requests_needed) for c in desk.store.counts(load)] == [
        ("", "pending", 4, 4), ("a", "applied", 3, 0), ("a", "pending", 1, 1), ("b", "failed", 1, 0),
        ("b", "pending", 3, 3),
    ]  # fmt: skip
    # The other run is looked at with what the first has applied.
    assert [(c.account, c.state, c.rows) for c in desk.store.counts(desk.record.load)] == [("a", "unchanged", 2)]
    assert desk.store.counts(99) == []


def test_results(desk: Desk) -> None:
    desk.start(
        [
            row(1, "A", ref=7, source="u:1", passed={"sku": "S"}),
            bad("x", ref="r"),
            row(3, "C", account="shop"),
            row(4, "D"),
        ]
    )
    desk.work.finish([Finished(task=desk.draw()[0], state="applied", attempts=2, transaction_id="t")], 2, 1)
    load = desk.record.load
    first, second, third, fourth = desk.store.tasks(load, -1, 10)
    assert first.settled_at is not None
    assert first == TaskRecord(
        seq=0, source="u:1", id="1", account=None, ref=7, state="applied", attempts=2, status=None, error=None,
        problem=None, transaction_id="t", settled_at=first.settled_at, passed='{"sku":"S"}',
        body='{"id":"1","metadata":{"alt_text":{"text":"A"}}}', send_before=None,
    )  # fmt: skip
    assert (second.state, second.error, second.problem, second.body, second.ref) == (
        "invalid", "InvalidUpdate", '{"member": "id", "rule": "must be digits"}', None, "r",
    )  # fmt: skip
    assert (third.account, third.state, third.settled_at) == ("shop", "pending", None)
    # In pieces, and some of them.
    assert [task.seq for task in desk.store.tasks(load, 1, 1)] == [2]
    assert [task.seq for task in desk.store.tasks(load, -1, 10, ("pending",))] == [2, 3]
    assert [task.seq for task in desk.store.tasks(load, -1, 10, ("applied", "invalid"))] == [0, 1]
    assert [task.seq for task in desk.store.tasks(load, 0, 10, ("invalid", "pending"))] == [1, 2, 3]
    assert [task.seq for task in desk.store.tasks(load, -1, 10, ("expired",))] == []
    assert fourth.id == "4"


def test_results_of_an_input_that_was_loaded_anew(desk: Desk) -> None:
    desk.start([row(n, "A") for n in range(4)])
    load = desk.record.load
    assert len(desk.store.tasks(load, -1, 2)) == 2
    desk.start([row(9, "B")])
    with pytest.raises(JournalError, match="loaded anew"):
        desk.store.tasks(load, 1, 2)


def test_runs_are_told_the_last_started_first(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(f"2026-11-25T09:00:{n:02}.000Z" for n in range(60))
    monkeypatch.setattr("xmediameta.journal.store.now_text", lambda: next(times))
    for name in ("one", "two", "one", "three"):
        desk.start([row(1, "A")], name=name)
    assert [record.name for record in desk.store.runs()] == ["three", "one", "two"]
    assert len({record.sitting for record in desk.store.runs()}) == 3


def test_how_a_run_ended(desk: Desk) -> None:
    desk.start([row(1, "A")])
    desk.end(stopped='{"reason": "budget"}')
    record = desk.store.run("run")
    assert record is not None
    assert record.ended_at is not None
    assert record.stopped == '{"reason": "budget"}'
    desk.start([row(1, "A")])
    assert desk.record.ended_at is desk.record.stopped is None


def test_windows_are_kept_by_place(desk: Desk) -> None:
    desk.start([row(1, "A"), row(2, "B")])
    assert desk.work.quota() == {}
    one, two = desk.draw()
    desk.work.finish([Finished(task=one, state="applied")], 1, 0, {"account": "[1]", "app:a": "[2]"})
    desk.work.finish([Finished(task=two, state="applied")], 2, 0, {"account": "[3]"})
    assert desk.work.quota() == {"account": "[3]", "app:a": "[2]"}
    desk.start([row(1, "A")], name="other")
    assert desk.work.quota() == {"account": "[3]", "app:a": "[2]"}
    desk.start([row(1, "A")], name="rehearsal", url=OTHER)
    assert desk.work.quota() == {}


def test_the_queries_of_the_schema_work(desk: Desk) -> None:
    desk.start([row(1146654567674912769, "A", source="u:1"), row(2, "B")], name="updates.csv")
    one, two = desk.draw()
    desk.finish(one)
    desk.work.finish(
        [Finished(task=two, state="failed", status=404, error="MediaNotFound", problem='{"detail": "no"}')], 2, 0
    )
    assert schema.__doc__ is not None
    text = schema.__doc__[schema.__doc__.index("    -- ") :]
    queries = [query for query in text.split(";") if "SELECT" in query]
    found = [desk.store._file.db.execute(query).fetchall() for query in queries]
    assert found[0] == [("updates.csv", "applied", 1), ("updates.csv", "failed", 1)]
    assert found[1] == [(None, "2", "", "MediaNotFound", 404, "no", None)]
    assert [(kind, account) for _, kind, account, _ in found[2]] == [("begun", None)]
    assert [(url, name, unsure) for url, name, _, unsure in found[3]] == [(URL, "", 0)]


def test_a_plan_of_the_database_that_uses_its_indexes(desk: Desk) -> None:
    """A draw, and a look at a page of results, must not read a run from its beginning each time."""
    db = desk.store._file.db
    values: dict[str, object] = {"load": 1, "account": 1, "due": 5.0, "after": 9, "beyond": 99, "most": 5}
    values |= {"states": "[]", "account_member": ""}
    plans = {
        name: " / ".join(step[3] for step in db.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall())
        for name, query in {
            "same": drawing._SAME_DUE,
            "later": drawing._LATER,
            "plain": drawing._PLAIN,
            "all": store._ALL_TASKS,
            "ended": store._ENDED_TASKS,
        }.items()
    }
    assert "USING INDEX task_draw (load=? AND account=? AND due=? AND rowid>?)" in plans["same"]
    assert "USING INDEX task_draw (load=? AND account=? AND due>?)" in plans["later"]
    assert "SEARCH task USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plans["plain"]
    assert "SEARCH task USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plans["all"]
    assert "SEARCH outcome USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in plans["ended"]
    for plan in plans.values():
        assert "SCAN" not in plan.replace("SCAN json_each", "").replace("SCAN (subquery-1)", "")
        assert "TEMP B-TREE" not in plan


def test_after_the_last_there_is_nothing(desk: Desk) -> None:
    desk.start([row(1, "A"), row(2, "A", send_before=5.0)])
    tasks = desk.work.draw("", START, 2)
    assert [task.update.id for task in tasks] == ["2", "1"]
    assert desk.work.draw("", (tasks[-1].due, tasks[-1].seq), 2) == []


def test_many_end_in_one_commit(desk: Desk) -> None:
    """More than one statement takes."""
    rows = [row(n, "text", ref=f"\x00 ref \U0001f600 {n}") for n in range(250)]
    desk.start(rows)
    tasks = desk.draw(size=250)
    assert [task.update.ref for task in tasks] == [given.update.ref for given in rows]
    desk.finish(*tasks)
    assert desk.states == ["applied"] * 250
    assert [desk.known(n) for n in range(251)] == [True] * 250 + [None]


def test_a_request_that_is_gone_is_told(desk: Desk) -> None:
    desk.start([row(1, "A")])
    desk.store._file.db.execute("UPDATE task SET body = NULL")
    with pytest.raises(JournalError, match="holds a request that cannot be read"):
        desk.draw()
