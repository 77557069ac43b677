"""One window that a 429 closes."""

from __future__ import annotations

from math import floor

import pytest

from xmediameta.permits import Ticket, WaitUntil

from .desk import UNIX, Desk


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


def test_a_success_without_headers_from_before_the_reset_is_no_first_contact() -> None:
    desk = Desk()
    desk.learn(400)
    carried = desk.ticket()
    desk.now = 901.0
    assert len(desk.all()) == 1, "others had spent of the window before"
    desk.silent(carried)
    assert desk.refused().at is None
