"""One window of a server that does not tell all of it."""

from __future__ import annotations

import pytest

from xmediameta.permits import WaitUntil

from .desk import UNIX, Desk


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


def test_what_is_answered_while_a_429_holds_falls_out_of_the_tally_too() -> None:
    desk = Desk((10, 900.0))
    desk.silent(desk.ticket())
    slow, refused = desk.all(most=2)
    desk.refuse(refused)
    desk.answer(slow, 5, reset=None, limit=10)
    desk.now = 960.0
    desk.silent(desk.ticket())
    assert len(desk.all()) == 9
