"""One window: when it ends, and what is in flight over its edge."""

from __future__ import annotations

import pytest

from xmediameta.clock import ServerClock
from xmediameta.permits import Ticket, WaitUntil

from .desk import UNIX, Desk

# When it ends


def test_a_window_ends_when_the_server_has_surely_passed_its_reset() -> None:
    desk = Desk(clock=ServerClock(5.0))
    desk.clock.observe(UNIX, 0.75)  # the server's clock was at UNIX at the latest then
    desk.now = 0.75
    desk.learn(0, reset=900)
    assert desk.refused() == WaitUntil(901.75, "user-15min")


@pytest.mark.parametrize("local", [-600.0, 0.0, 600.0, 1e9])
def test_a_local_clock_that_is_wrong_or_jumps_changes_nothing(local: float) -> None:
    desk = Desk(clock=ServerClock(UNIX + local))
    desk.clock.observe(UNIX, 0.0)
    desk.learn(0, reset=900)
    assert desk.refused().at == 901.0


def test_after_the_reset_the_whole_window_goes_at_once_if_nobody_else_spent() -> None:
    desk = Desk()
    desk.learn(499)
    for number, ticket in enumerate(desk.all()):
        desk.answer(ticket, 498 - number)
    desk.now = 901.0
    assert len(desk.all()) == 500


def test_after_the_reset_one_goes_ahead_if_others_spent() -> None:
    desk = Desk()
    desk.learn(400)
    desk.now = 901.0
    assert len(desk.all()) == 1
    assert desk.refused().at is None
    assert len(desk.all(interactive=True)) == 3
    assert desk.window.in_flight == 4


def test_after_two_resets_others_are_forgotten() -> None:
    desk = Desk()
    desk.learn(400)
    desk.now = 901.0
    desk.learn(499, reset=1800)
    desk.now = 1801.0
    assert len(desk.all()) == 500


def test_the_server_may_be_in_the_next_window_before_it_is_surely_so_here() -> None:
    desk = Desk()
    desk.learn(1)
    desk.now = 900.5
    desk.answer(desk.ticket(), 499, reset=1800)
    assert len(desk.all()) == 499
    assert desk.refused().at == 1801.0


def test_the_answer_that_tells_of_the_next_window_is_ours_and_not_somebody_elses() -> None:
    desk = Desk()
    desk.learn(1)
    desk.now = 900.5
    desk.answer(desk.ticket(), 499, reset=1800)
    desk.now = 1801.0
    assert len(desk.all()) == 500


def test_in_flight_answers_may_tell_a_reset_a_second_early() -> None:
    desk = Desk((10, 900.0))
    first, second = desk.all(interactive=True, most=2)
    desk.answer(first, 9, reset=900, limit=10)
    desk.answer(second, 8, reset=899, limit=10)
    assert desk.window.left() == 8


def test_two_tellings_of_one_reset_may_differ_by_a_second() -> None:
    desk = Desk()
    for number, reset in enumerate((900, 901, 899, 900)):
        desk.learn(499 - number, reset)
    assert desk.window.left() == 496
    desk.all()
    assert desk.refused().at == 901.0


def test_windows_of_one_second_are_told_apart() -> None:
    desk = Desk((10, 1.0))
    desk.learn(0, reset=1, limit=10)
    desk.now = 1.2
    assert desk.refused().at == 2.0
    desk.now = 2.0
    first = desk.ticket()
    desk.answer(first, 9, reset=3, limit=10)
    desk.now = 2.9
    late = desk.ticket()
    desk.now = 3.1
    desk.answer(late, 9, reset=4, limit=10)
    assert desk.window.left() == 9
    assert desk.window.end() == 5.0


def test_a_reset_that_moves_with_each_answer_is_followed() -> None:
    desk = Desk((10, 900.0))
    for second in range(9):
        desk.now = float(second * 2)
        desk.answer(desk.ticket(), 9 - second, reset=900 + second * 2, limit=10)
    assert len(desk.all()) == 1


# Over the edge


def test_in_flight_over_the_edge_is_charged_to_the_new_window_until_its_answer_tells() -> None:
    desk = Desk()
    desk.learn(499)
    carried = desk.all(most=3)
    desk.now = 901.0
    assert len(desk.all()) == 497
    desk.answer(carried[0], 498, reset=900)
    assert len(desk.all()) == 1
    desk.answer(carried[1], 0, reset=1800)
    assert desk.refused().at == 1801.0


def test_what_was_lost_just_before_the_edge_may_be_counted_after_it() -> None:
    desk = Desk((5, 900.0))
    desk.learn(4, limit=5)
    lost = desk.ticket()
    desk.now = 900.5
    desk.window.lost(lost, desk.now)
    desk.now = 901.0
    assert len(desk.all()) == 4


def test_what_was_lost_two_windows_ago_is_not_charged_any_more() -> None:
    desk = Desk((5, 900.0))
    desk.learn(4, limit=5)
    desk.window.lost(desk.ticket(), 0.0)
    desk.window.give_back(desk.ticket())
    desk.now = 901.0
    ticket = desk.ticket()
    assert desk.window.left() == 3, "this one, and the one lost in the window before, of which nothing is sure"
    desk.now = 901.5
    desk.answer(ticket, None, reset=1800, limit=5)
    desk.now = 1801.0
    assert len(desk.all()) == 5


def test_what_was_lost_before_a_request_of_the_old_window_was_counted_there_too() -> None:
    desk = Desk((5, 900.0))
    desk.learn(4, limit=5)
    desk.window.lost(desk.ticket(), 0.0)
    carried = desk.ticket()
    desk.now = 901.0
    assert desk.window.left() == 2
    assert len(desk.all(most=1)) == 1
    desk.answer(carried, 2, reset=900, limit=5)
    assert desk.window.left() == 4


def test_what_is_charged_over_an_edge_falls_out_where_headers_cease() -> None:
    desk = Desk((5, 900.0))
    desk.learn(4, limit=5)
    lost = desk.ticket()
    desk.now = 900.5
    desk.window.lost(lost, desk.now)
    desk.now = 901.0
    for ticket in desk.all():
        desk.silent(ticket)
    desk.now = 1801.0
    assert len(desk.all()) == 5


def test_answers_of_two_windows_in_the_wrong_order_free_nothing() -> None:
    desk = Desk((6, 900.0))
    early, later = desk.all(interactive=True, most=2)
    desk.now = 900.2
    desk.answer(later, 5, reset=1800, limit=6)
    desk.answer(early, 5, reset=900, limit=6)
    assert desk.window.end() == 1801.0
    assert len(desk.all()) == 5


def test_a_reset_told_too_far_is_corrected_by_requests_sent_since() -> None:
    desk = Desk()
    desk.learn(499, reset=1700)
    assert desk.window.end() == 1701.0
    desk.learn(498, reset=900)
    assert desk.window.end() == 901.0
    assert desk.window.left() == 498


def test_a_first_answer_may_be_older_than_its_window() -> None:
    desk = Desk()
    probe = desk.ticket()
    desk.now = 20.0
    desk.answer(probe, 0, reset=15)
    assert isinstance(desk.ask(), Ticket), "that window is over, so nothing is to be waited for"


def test_a_server_still_in_a_window_that_was_over_here_is_asked_one_at_a_time() -> None:
    desk = Desk()
    desk.learn(499)
    desk.now = 901.0
    tickets = desk.all(most=2)
    desk.answer(tickets[0], 490, reset=900)
    assert len(desk.all()) == 1
    assert desk.refused().at is None
