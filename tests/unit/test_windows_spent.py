"""What is told of a window for the record: how much of it was spent, and by whom."""

from __future__ import annotations

from xmediameta.permits import Spent

from .desk import Desk


def test_what_was_sent_and_what_all_have_used() -> None:
    desk = Desk()
    assert desk.window.spent() is None
    desk.answer(desk.ticket(), 480)
    waiting = desk.all(most=2)
    assert desk.window.spent() == Spent("user-15min", 900.0, 500, 1, 20)
    desk.answer(waiting[1], 478)
    assert desk.window.spent() == Spent("user-15min", 900.0, 500, 2, 22)
    assert desk.window.past is None


def test_a_window_that_has_ended_is_kept_until_it_is_taken() -> None:
    desk = Desk()
    for remaining in (499, 498, 497):
        desk.answer(desk.ticket(), remaining)
    desk.now = 950.0
    desk.answer(desk.ticket(), 499, reset=1_800)
    assert desk.window.past == Spent("user-15min", 900.0, 500, 3, 3)
    assert desk.window.spent() == Spent("user-15min", 1_800.0, 500, 1, 1)
    # What knows nothing takes nothing of it away.
    desk.now = 2_900.0
    desk.answer(desk.ticket(), 499, reset=3_700)
    assert desk.window.past == Spent("user-15min", 1_800.0, 500, 1, 1)


def test_an_answer_that_is_of_the_next_window_already_is_counted_there() -> None:
    desk = Desk()
    desk.answer(desk.ticket(), 499)
    early, late = desk.all(most=2)
    desk.now = 899.5
    desk.answer(early, 498)
    desk.answer(late, 499, reset=1_800)
    assert desk.window.past == Spent("user-15min", 900.0, 500, 2, 2)
    assert desk.window.spent() == Spent("user-15min", 1_800.0, 500, 1, 1)
    assert desk.window.left() == 499


def test_a_window_that_a_429_closes_was_used_as_far_as_it_was_told() -> None:
    desk = Desk()
    desk.answer(desk.ticket(), 3)
    desk.refuse(desk.ticket(), 900)
    assert desk.window.past == Spent("user-15min", 900.0, 500, 1, 497)
    assert desk.window.spent() is None


def test_what_an_earlier_process_sent_is_used_and_not_sent() -> None:
    desk = Desk()
    desk.answer(desk.ticket(), 300)
    desk.window.recalled()
    assert desk.window.spent() is None
    desk.answer(desk.ticket(), 299)
    assert desk.window.spent() == Spent("user-15min", 900.0, 500, 1, 201)


def test_nothing_is_told_where_no_end_is_known() -> None:
    desk = Desk()
    desk.silent(desk.ticket())
    assert desk.window.spent() is None
