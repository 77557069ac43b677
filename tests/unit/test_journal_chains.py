"""What is decided about the rows of one media id: pure arithmetic on their digests."""

from __future__ import annotations

import pytest

from xmediameta.journal import State
from xmediameta.journal.chains import Link, dues, keep, settle

STATES: dict[str, State] = {
    "-": "pending", "a": "applied", "u": "unchanged", "f": "failed", "x": "expired",
}  # fmt: skip
ANEW: frozenset[State] = frozenset(("applied", "unchanged"))
RETRY: frozenset[State] = frozenset(("failed",))


def links(told: str, first: int = 0) -> list[Link]:
    """`A- Bf` -> a pending A, a failed B; `Bx2`: expired, with a `send_before` of 2."""
    return [
        Link(first + n, word[0].encode(), STATES[word[1]], float(word[2:]) if word[2:] else None)
        for n, word in enumerate(told.split())
    ]


def settled(told: str, sent: str | None, again: frozenset[State] = frozenset()) -> str:
    """The states after a start, and the followers in brackets."""
    given = links(told)
    changes = settle(given, sent.encode() if sent else None, again)
    states = [link.state for link in given]
    for task in changes.pending:
        states[task] = "pending"
    for task in changes.unchanged:
        states[task] = "unchanged"
    following = {task for leader, task in changes.leaders if leader is not None}
    letters = {state: letter for letter, state in STATES.items()}
    return " ".join(f"({letters[state]})" if n in following else letters[state] for n, state in enumerate(states))


@pytest.mark.parametrize(
    ("told", "sent", "expected"),
    [
        # The last row is what was sent: nothing to do, whatever comes before it.
        ("A-", "A", "u"),
        ("A- B-", "B", "u u"),
        ("A- B- A-", "A", "u u u"),
        ("Aa B- A-", "A", "a u u"),
        # It is not, or is not known: all are sent in order, less what this run has applied already.
        ("A-", None, "-"),
        ("A-", "B", "-"),
        ("A- B-", "A", "- -"),
        ("Aa B-", "A", "a -"),
        ("Aa B-", None, "a -"),
        ("Aa Ba", "C", "a a"),
        ("Aa Ba", None, "a a"),
        # What was applied after something that is still to be sent goes out again.
        ("A- Ba C-", "B", "- - -"),
        ("A- Ba", "C", "- -"),
        ("A- Bu", None, "- -"),
        ("A- Ba", "B", "u a"),
        # Rows that failed or expired are left out.
        ("Af", "A", "f"),
        ("Aa Bf", "A", "a f"),
        ("A- Bf", "A", "u f"),
        ("A- Bx2", "A", "u x"),
        ("Af B-", "A", "f -"),
        ("Ax1 Bf", "B", "x f"),
        # Equal neighbours share a request, and those that wait are led by one that waits.
        ("A- A- A-", None, "- (-) (-)"),
        ("A- A- B- B- A-", None, "- (-) - (-) -"),
        ("Aa A- A-", None, "a - (-)"),
        ("A- Bf A-", None, "- f (-)"),
        ("Af A- A-", None, "f - (-)"),
    ],
)
def test_settle(told: str, sent: str | None, expected: str) -> None:
    assert settled(told, sent) == expected


@pytest.mark.parametrize(
    ("told", "sent", "again", "expected"),
    [
        ("Aa", "A", ANEW, "u"),
        ("Aa", "B", ANEW, "-"),
        ("Aa", None, ANEW, "-"),
        ("Aa Ba", "B", ANEW, "u u"),
        ("Aa Bu", "A", ANEW, "- -"),
        # A sister that has failed does not make it be sent again by each further start.
        ("Aa Bf", "A", ANEW, "u f"),
        ("Af Ba", "B", ANEW, "f u"),
        ("Aa Bf", "A", ANEW | RETRY, "- -"),
        ("Af", "B", RETRY, "-"),
        ("Af", "A", RETRY, "u"),
        ("Af Ba", "B", RETRY, "u a"),
        ("Af Ba C-", "B", RETRY, "- - -"),
        ("Aa Bx2", "A", ANEW | RETRY, "u x"),
        ("Au B-", "A", frozenset({"unchanged"}), "- -"),
    ],
)
def test_settle_again(told: str, sent: str | None, again: frozenset[State], expected: str) -> None:
    assert settled(told, sent, again) == expected


def test_leaders_that_are_right_are_not_told_again() -> None:
    given = [Link(0, b"A"), Link(1, b"A", leader=0), Link(2, b"A", leader=7)]
    assert settle(given, None, frozenset()).leaders == [(0, 2)]


def test_a_follower_whose_leader_is_out_of_it_leads() -> None:
    given = [Link(0, b"A", "expired"), Link(1, b"A", leader=0), Link(2, b"A", leader=0)]
    assert settle(given, None, frozenset()).leaders == [(None, 1), (1, 2)]


@pytest.mark.parametrize(
    ("deadlines", "expected"),
    [
        ([], []),
        ([None, None], [None, None]),
        ([None, 5.0], [5.0, 5.0]),
        ([3.0, 5.0, None], [3.0, 5.0, None]),
        ([5.0, 3.0, 4.0], [3.0, 3.0, 4.0]),
    ],
)
def test_nothing_is_due_after_what_comes_behind_it(deadlines: list[float | None], expected: list[float | None]) -> None:
    assert dues(deadlines) == expected


def kept(old: str, new: str, *, applied: bool = True) -> tuple[str, int]:
    """The states of the new rows, and how many were there before."""
    before, now = links(old), links(new, 100)
    result = keep(before, now, applied=applied)
    states = {task: before[former].state for task, former in result.pairs}
    assert len(states) == len(result.pairs)
    letters = {state: letter for letter, state in STATES.items()}
    return " ".join(letters[states.get(link.task, "pending")] for link in now), result.known


@pytest.mark.parametrize(
    ("old", "new", "expected", "known"),
    [
        ("Aa", "A-", "a", 1),
        ("Au", "A-", "u", 1),
        ("A-", "A-", "-", 1),
        ("Af", "A-", "f", 1),
        ("Aa", "B-", "-", 0),
        ("Aa B-", "A- C-", "a -", 1),
        ("Aa", "A- A- B-", "a a -", 1),
        # The media has the end of what was applied; a leading part of the new rows that is such an end is done.
        ("Aa Ba C-", "B- C-", "a -", 2),
        ("Aa Ba", "A-", "-", 1),
        ("Aa Ba", "A- C-", "- -", 1),
        ("Aa Ba", "A- B- C-", "a a -", 2),
        ("Aa B-", "C- A-", "- -", 1),
        ("Aa Ba Aa Ba", "A- B- C-", "a a -", 2),
        ("Aa Aa Ba", "A- B-", "a a", 2),
        # Failures are kept wherever they stand, but only so many.
        ("Af B-", "C- A- A-", "- f -", 1),
        ("Af Ba C-", "A- B- D-", "f a -", 2),
        ("Aa Bf", "B- A- C-", "f a -", 2),
        # What expired has a new chance with another send_before.
        ("Ax1", "A-1", "x", 1),
        ("Ax1", "A-2", "-", 1),
        ("Ax1", "A-", "-", 1),
        ("Af1", "A-2", "f", 1),
        ("Ax1 B-", "A-2 A-1", "- x", 1),
    ],
)
def test_keep(old: str, new: str, expected: str, known: int) -> None:
    assert kept(old, new) == (expected, known)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [("Aa", "A-", "-"), ("Au", "A-", "-"), ("Af", "A-", "f"), ("Aa Bf", "A- B- C-", "- f -"), ("Ax1", "A-1", "x")],
)
def test_of_a_run_that_had_ended_only_failures_are_kept(old: str, new: str, expected: str) -> None:
    assert kept(old, new, applied=False)[0] == expected


def test_what_expired_without_a_deadline_of_its_own_has_a_new_chance_with_one() -> None:
    """It shared the request, and the deadline, of an equal row."""
    old = [Link(1, b"a", "expired"), Link(2, b"b")]
    assert keep(old, [Link(11, b"a", send_before=5.0), Link(12, b"b")], applied=True).pairs == []
    assert keep(old, [Link(11, b"a"), Link(12, b"b")], applied=True).pairs == [(11, 1)]
