"""One window: what may go, and what is shown of it."""

from __future__ import annotations

from xmediameta.permits import Ticket, WaitUntil

from .desk import Desk

# First contact


def test_one_request_goes_ahead_into_an_unknown_window() -> None:
    desk = Desk()
    probe = desk.ticket()
    assert desk.refused() == WaitUntil(None, "user-15min")
    desk.answer(probe, 499)
    assert len(desk.all()) == 499


def test_of_interactive_calls_four_go_ahead() -> None:
    desk = Desk()
    assert len(desk.all(interactive=True)) == 4
    assert desk.refused(interactive=True).at is None


def test_bulk_waits_for_the_probes_of_interactive_calls() -> None:
    desk = Desk()
    first = desk.ticket(interactive=True)
    assert desk.refused().at is None
    assert len(desk.all(interactive=True)) == 3
    desk.answer(first, 499)
    assert isinstance(desk.ask(), Ticket)


def test_the_next_probe_goes_when_one_told_nothing() -> None:
    desk = Desk()
    for end in (
        lambda ticket: desk.silent(ticket, conclusive=False),
        desk.window.give_back,
        lambda ticket: desk.window.lost(ticket, 0.0),
    ):
        ticket = desk.ticket()
        assert desk.refused().at is None
        end(ticket)
    assert isinstance(desk.ask(), Ticket)


def test_there_is_no_deadlock_when_every_answer_is_a_503_without_headers() -> None:
    desk = Desk(None)
    for _ in range(3_000):
        desk.silent(desk.ticket(), conclusive=False)


def test_503s_are_counted_where_limits_are_assumed_and_no_deadlock_either() -> None:
    desk = Desk((10, 60.0))
    for minute in (0.0, 60.0, 120.0):
        desk.now = minute
        for _ in range(10):
            desk.silent(desk.ticket(), conclusive=False)
        assert desk.refused() == WaitUntil(minute + 60.0, "user-15min")


# What is left


def test_the_whole_window_is_used_and_no_more() -> None:
    desk = Desk()
    desk.learn(499)
    tickets = desk.all()
    assert len(tickets) == 499
    for number, ticket in enumerate(tickets):
        desk.answer(ticket, 498 - number)
        assert desk.refused() == WaitUntil(901.0, "user-15min")


def test_answers_in_any_order_are_one_sum() -> None:
    desk = Desk()
    desk.learn(499)
    tickets = desk.all(most=99)
    for number in (*range(50, 99), *range(50)):  # the server counted them in the order sent
        desk.answer(tickets[number], 498 - number)
    assert len(desk.all()) == 400


def test_in_flight_over_what_was_told_is_not_counted_twice_once_it_is_answered() -> None:
    desk = Desk((10, 900.0))
    desk.learn(9, limit=10)
    first, second, third = desk.all(most=3)
    desk.answer(third, 6, limit=10)
    assert len(desk.all()) == 4, "the first two may or may not be in the 6 that are left"
    desk.answer(first, 8, limit=10)
    desk.answer(second, 7, limit=10)
    assert len(desk.all()) == 2


def test_a_remaining_above_the_limit_is_not_believed() -> None:
    desk = Desk()
    desk.learn(1_000_000, limit=300)
    assert len(desk.all()) == 300


def test_a_limit_of_nought_is_not_believed_so_nobody_waits_for_ever() -> None:
    desk = Desk(None)
    desk.learn(0, limit=0)
    assert desk.refused() == WaitUntil(901.0, "user-15min")
    desk.now = 901.0
    assert len(desk.all()) == 1


def test_a_limit_that_is_not_told_is_at_least_what_remains() -> None:
    desk = Desk(None)
    desk.answer(desk.ticket(), 299, limit=None)
    assert len(desk.all()) == 299
    assert desk.window.status(0.0).limit == 300


def test_a_changed_limit_is_taken_over() -> None:
    desk = Desk()
    desk.learn(499)
    desk.learn(98, limit=100)
    assert len(desk.all()) == 98


def test_a_window_without_remaining_is_counted_here() -> None:
    desk = Desk()
    desk.answer(desk.ticket(), None)
    assert len(desk.all()) == 499
    assert desk.refused().at == 901.0


def test_what_never_left_is_given_back() -> None:
    desk = Desk()
    desk.learn(499)
    tickets = desk.all()
    desk.window.give_back(tickets[7])
    assert len(desk.all()) == 1


def test_what_may_have_been_sent_stays_charged_until_a_later_answer_tells() -> None:
    desk = Desk((10, 900.0))
    desk.learn(9, limit=10)
    tickets = desk.all(most=3)
    for ticket in tickets:
        desk.window.lost(ticket, 0.0)
    assert desk.window.left() == 6
    desk.learn(8, limit=10)  # they were not counted
    assert desk.window.left() == 8


def test_an_answer_to_an_earlier_request_does_not_tell_about_a_lost_one() -> None:
    desk = Desk((10, 900.0))
    early, first = desk.ticket(interactive=True), desk.ticket(interactive=True)
    desk.answer(first, 9, limit=10)
    lost = desk.ticket()
    desk.window.lost(lost, 0.0)
    desk.answer(early, 8, limit=10)
    assert desk.window.left() == 7, "the server may have counted the lost one after the early one"


def test_what_is_unsure_is_settled_by_the_first_later_answer_after_earlier_ones() -> None:
    desk = Desk((10, 900.0))
    desk.learn(9, limit=10)
    early, lost = desk.all(most=2)
    desk.window.lost(lost, 0.0)
    desk.answer(early, 8, limit=10)
    assert desk.window.left() == 7
    desk.learn(7, limit=10)
    assert desk.window.left() == 7, "it was not counted"


def test_a_lost_probe_may_be_counted_after_the_answer_that_tells_first() -> None:
    desk = Desk((4, 900.0))
    first, second = desk.all(interactive=True, most=2)
    desk.silent(second, conclusive=False)
    desk.answer(first, 3, limit=4)
    assert desk.window.left() == 2


# What is shown, and what may be forgotten


def test_the_permits_that_are_kept_are_not_for_bulk() -> None:
    desk = Desk((10, 900.0))
    desk.learn(9, limit=10)
    taken = 0
    while isinstance(desk.ask(keep=3), Ticket):
        taken += 1
    assert taken == 6
    assert desk.refused(keep=3).at == 901.0
    assert len(desk.all(interactive=True)) == 3


def test_keeping_more_than_the_limit_does_not_stop_bulk() -> None:
    desk = Desk((2, 900.0))
    desk.learn(1, limit=2)
    assert isinstance(desk.ask(keep=5), Ticket)
    assert desk.refused(keep=5).at == 901.0


def test_status_shows_what_is_known() -> None:
    desk = Desk(None)
    before = desk.window.status(0.0)
    assert (before.limit, before.remaining, before.opens_in, before.closed) == (None, None, None, False)
    desk.learn(0)
    spent = desk.window.status(100.0)
    assert (spent.limit, spent.remaining, spent.opens_in, spent.closed) == (500, 0, 801.0, True)
    over = desk.window.status(901.0)
    assert (over.remaining, over.opens_in, over.closed) == (500, 0.0, False)


def test_status_of_a_window_that_a_429_closed() -> None:
    desk = Desk()
    desk.learn(499)
    desk.refuse(desk.ticket(), reset=300)
    closed = desk.window.status(100.0)
    assert (closed.remaining, closed.opens_in, closed.closed, closed.in_flight) == (0, 201.0, True, 0)
    assert "blocked" in repr(desk.window)


def test_status_without_headers_lets_the_old_fall_out() -> None:
    desk = Desk((10, 900.0))
    for _ in range(3):
        desk.silent(desk.ticket())
    assert desk.window.status(0.0).remaining == 7
    assert desk.window.status(900.0).remaining == 10


def test_a_window_is_settled_when_nothing_of_it_binds() -> None:
    desk = Desk()
    assert desk.window.settled(0.0)
    ticket = desk.ticket()
    assert not desk.window.settled(0.0)
    desk.answer(ticket, 499)
    assert not desk.window.settled(900.9)
    assert desk.window.settled(901.0)


def test_a_tally_is_settled_when_its_last_has_fallen_out() -> None:
    desk = Desk((500, 900.0))
    for desk.now in (0.0, 600.0):
        desk.silent(desk.ticket())
    assert not desk.window.settled(900.0)
    assert desk.window.settled(1500.0)


def test_a_closed_window_is_not_settled() -> None:
    desk = Desk()
    desk.refuse(desk.ticket())
    assert not desk.window.settled(59.0)
    assert desk.window.settled(60.0)
