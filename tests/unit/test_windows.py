"""One window: what may go, and until when the rest waits."""

from __future__ import annotations

from math import floor
from typing import Final

import pytest

from xmediameta.clock import ServerClock
from xmediameta.limits import RateLimit
from xmediameta.permits import Ticket, WaitUntil
from xmediameta.windows import Window

UNIX: Final = 1_700_000_000


class Desk:
    """One window, asked and told as a `Ledger` would. Unless told otherwise the server's clock is known exactly."""

    def __init__(self, assumed: tuple[int, float] | None = (500, 900.0), *, clock: ServerClock | None = None) -> None:
        self.clock = clock or ServerClock(UNIX)
        self.window = Window("user-15min", self.clock, assumed)
        self.now = 0.0

    def ask(self, *, interactive: bool = False, keep: int = 0) -> Ticket | WaitUntil:
        window = self.window
        if window.credit <= keep or self.now >= window.credit_until:
            refusal = window.refusal(self.now, 4 if interactive else 1, keep)
            if refusal is not None:
                return refusal
        window.taken += 1
        window.credit -= 1
        self.clock.serial += 1
        return Ticket(self.clock.serial, self.now)

    def ticket(self, *, interactive: bool = False) -> Ticket:
        ticket = self.ask(interactive=interactive)
        assert isinstance(ticket, Ticket), f"refused until {ticket}"
        return ticket

    def refused(self, *, interactive: bool = False, keep: int = 0) -> WaitUntil:
        refusal = self.ask(interactive=interactive, keep=keep)
        assert isinstance(refusal, WaitUntil)
        return refusal

    def all(self, *, most: int = 10_000, interactive: bool = False) -> list[Ticket]:
        """As many tickets as are to be had."""
        tickets: list[Ticket] = []
        while len(tickets) < most and isinstance(leave := self.ask(interactive=interactive), Ticket):
            tickets.append(leave)
        return tickets

    def answer(self, ticket: Ticket, remaining: int | None, reset: int | None = 900, limit: int | None = 500) -> None:
        """`reset` in seconds after `UNIX`."""
        told = RateLimit(limit, remaining, None if reset is None else UNIX + reset)
        self.window.answered(ticket, told, self.now, True)

    def silent(self, ticket: Ticket, *, conclusive: bool = True) -> None:
        self.window.answered(ticket, None, self.now, conclusive)

    def refuse(self, ticket: Ticket, reset: int | None = None, *, retry_after: float | None = None) -> None:
        told = None if reset is None else RateLimit(500, 0, UNIX + reset)
        self.window.refused(ticket, told, self.now, retry_after)

    def learn(self, remaining: int, reset: int = 900, limit: int = 500) -> None:
        """One request and its answer."""
        self.answer(self.ticket(), remaining, reset, limit)


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


def test_a_lost_probe_may_be_counted_after_the_answer_that_tells_first() -> None:
    desk = Desk((4, 900.0))
    first, second = desk.all(interactive=True, most=2)
    desk.silent(second, conclusive=False)
    desk.answer(first, 3, limit=4)
    assert desk.window.left() == 2


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


# 429


def test_a_429_closes_the_window_until_its_own_reset_even_if_a_later_one_was_told() -> None:
    desk = Desk()
    desk.learn(499, reset=900)
    desk.refuse(desk.ticket(), reset=300)
    assert desk.refused() == WaitUntil(301.0, "user-15min")
    assert desk.window.status(0.0).closed


def test_a_429_closes_the_window_until_its_own_reset_even_if_an_earlier_one_was_told() -> None:
    desk = Desk()
    desk.learn(499, reset=300)
    desk.refuse(desk.ticket(), reset=900)
    assert desk.refused().at == 901.0


def test_after_a_429_one_probe_goes_ahead_whoever_calls_and_then_the_rest() -> None:
    desk = Desk()
    desk.learn(499)
    desk.refuse(desk.ticket(), reset=900)
    desk.now = 901.0
    assert len(desk.all(interactive=True)) == 1
    probe = desk.clock.serial
    assert desk.refused(interactive=True).at is None
    desk.answer(Ticket(probe, 901.0), 499, reset=1800)
    assert len(desk.all()) == 499


def test_a_burst_that_is_refused_together_waits_once() -> None:
    desk = Desk()
    desk.learn(499)
    for ticket in desk.all(most=20):
        desk.refuse(ticket)
        desk.now += 0.1
    assert desk.refused().at == 60.0
    desk.now = 60.0
    desk.refuse(desk.ticket())
    assert desk.refused().at == 60.0 + 120.0


def test_the_rest_of_a_burst_may_name_the_reset() -> None:
    desk = Desk()
    desk.learn(499)
    first, second = desk.all(most=2)
    desk.refuse(first)
    desk.refuse(second, reset=900)
    assert desk.refused().at == 901.0


def test_429s_without_headers_back_off_from_a_minute_to_a_quarter_of_an_hour() -> None:
    desk = Desk()
    waits = []
    for _ in range(12):
        desk.refuse(desk.ticket())
        at = desk.refused().at
        assert at is not None
        waits.append(at - desk.now)
        desk.now = at
    assert waits == [60, 120, 240, 480, *[900] * 8]
    desk.learn(499, reset=int(desk.now) + 900)
    desk.refuse(desk.ticket())
    assert desk.refused().at == desk.now + 60


@pytest.mark.parametrize("reset", [-UNIX, -100, -2, 10_000, 10**11])
def test_a_reset_in_the_past_or_absurdly_far_is_none(reset: int) -> None:
    desk = Desk()
    desk.learn(499)
    desk.refuse(desk.ticket(), reset=reset)
    assert desk.refused().at == 60.0


def test_a_reset_that_never_comes_is_not_asked_every_second() -> None:
    desk = Desk()
    desk.learn(499)
    waits = []
    for _ in range(9):
        desk.refuse(desk.ticket(), reset=floor(desk.now))
        at = desk.refused().at
        assert at is not None
        waits.append(at - desk.now)
        desk.now = at
    assert waits == [1, 1, 2, 4, 8, 16, 32, 60, 60]


def test_retry_after_is_honoured_and_an_absurd_one_is_clamped() -> None:
    desk = Desk()
    desk.refuse(desk.ticket(), retry_after=7.0)
    assert desk.refused().at == 7.0
    desk.now = 7.0
    desk.refuse(desk.ticket(), reset=9, retry_after=30.0)
    assert desk.refused().at == 37.0
    desk.now = 37.0
    desk.refuse(desk.ticket(), retry_after=1e12)
    assert desk.refused().at == 37.0 + 1860.0
    desk.now = 37.0 + 1860.0
    desk.refuse(desk.ticket(), retry_after=-5.0)
    assert desk.refused().at == desk.now + 480.0


def test_a_429_from_the_window_before_closes_nothing() -> None:
    desk = Desk()
    desk.learn(499)
    carried = desk.all(most=2)
    desk.now = 901.0
    desk.learn(499, reset=1800)
    desk.refuse(carried[0], reset=900)
    desk.refuse(carried[1])
    assert len(desk.all()) == 499


def test_a_carried_request_may_be_refused_in_the_new_window() -> None:
    desk = Desk()
    desk.learn(499)
    carried = desk.ticket()
    desk.now = 901.0
    desk.learn(300, reset=1800)
    desk.refuse(carried, reset=1800)
    assert desk.refused().at == 1801.0


def test_a_success_that_comes_late_does_not_open_a_closed_window() -> None:
    desk = Desk()
    desk.learn(499)
    slow, refused = desk.all(most=2)
    desk.refuse(refused, reset=900)
    desk.answer(slow, 300, reset=900)
    assert desk.refused().at == 901.0
    desk.now = 901.0
    desk.learn(499, reset=1800)
    assert len(desk.all()) == 499


# Without headers


def test_where_headers_are_absent_the_assumed_limit_holds_for_any_stretch_of_its_length() -> None:
    desk = Desk((500, 900.0))
    desk.silent(desk.ticket())
    sent = [0.0]
    for now in range(0, 4000, 3):
        desk.now = float(now)
        for ticket in desk.all(most=7):
            desk.silent(ticket)
            sent.append(desk.now)
    most = max(sum(at <= other < at + 900 for other in sent) for at in sent)
    assert most == 500
    assert len(sent) > 4 * 450


def test_a_burst_without_headers_waits_for_the_assumed_span_and_no_longer() -> None:
    desk = Desk((500, 900.0))
    desk.silent(desk.ticket())
    for ticket in desk.all():
        desk.silent(ticket)
    assert desk.refused() == WaitUntil(900.0, "user-15min")
    desk.now = 900.0
    assert len(desk.all()) == 500


def test_no_limits_trusts_headers_alone() -> None:
    desk = Desk(None)
    desk.silent(desk.ticket())
    assert len(desk.all(most=2_000)) == 2_000


def test_headers_overrule_what_is_assumed() -> None:
    desk = Desk((500, 900.0))
    desk.learn(1_499, limit=1_500, reset=60)
    assert len(desk.all()) == 1_499
    assert desk.refused().at == 61.0


def test_an_answer_without_headers_among_others_is_unsure() -> None:
    desk = Desk((10, 900.0))
    desk.learn(9, limit=10)
    desk.silent(desk.ticket())
    assert desk.window.left() == 8
    desk.learn(7, limit=10)
    assert desk.window.left() == 7


def test_headers_that_cease_leave_the_last_limit_and_the_documented_span() -> None:
    desk = Desk(None)
    desk.learn(0, limit=10)
    desk.now = 901.0
    desk.silent(desk.ticket())
    for ticket in desk.all():
        desk.silent(ticket)
    assert desk.window.status(desk.now).limit == 10
    assert desk.refused().at == 1801.0


@pytest.mark.parametrize("reset", [None, -UNIX, -UNIX + 900, -2, 10_000, 10**11])
def test_a_success_without_a_usable_reset_is_counted_here(reset: int | None) -> None:
    desk = Desk((10, 900.0))
    desk.answer(desk.ticket(), 9, reset=reset, limit=10)
    tickets = desk.all()
    assert len(tickets) == 9
    for number, ticket in enumerate(tickets):
        desk.answer(ticket, 8 - number, reset=reset, limit=10)
    assert desk.refused().at == 900.0
    desk.now = 900.0
    assert len(desk.all()) == 10


def test_without_a_reset_what_others_spent_is_counted_as_ours() -> None:
    desk = Desk((10, 900.0))
    desk.answer(desk.ticket(), 3, reset=None, limit=10)
    assert len(desk.all()) == 3
    assert desk.refused().at == 900.0


def test_a_bare_429_does_not_make_the_tally_forget() -> None:
    desk = Desk((10, 900.0))
    desk.silent(desk.ticket())
    tickets = desk.all(most=5)
    for ticket in tickets[:4]:
        desk.silent(ticket)
    desk.refuse(tickets[4])
    desk.now = 60.0
    desk.silent(desk.ticket())
    assert len(desk.all()) == 10 - 6


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
