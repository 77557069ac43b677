"""What is kept of windows from one process to the next."""

from __future__ import annotations

from xmediameta.clock import ServerClock
from xmediameta.ledger import NO_LIMITS, Ledger, Limits, Ticket
from xmediameta.limits import RateLimit
from xmediameta.memory import recall, remember
from xmediameta.permits import WaitUntil

WALL = 1_800_000_000.0
LIMITS = Limits(user_15min=(5, 900.0), app_24hour=None)


def ledger(limits: Limits = LIMITS, skew: float = 0.0) -> tuple[Ledger, ServerClock]:
    clock = ServerClock(WALL + skew)
    return Ledger(clock, limits), clock


def spend(one: Ledger, clock: ServerClock, count: int, *, told: bool, limit: int = 5, now: float = 0.0) -> None:
    for number in range(1, count + 1):
        ticket = one.reserve(now)
        assert isinstance(ticket, Ticket)
        clock.observe(int(WALL + now), now)
        headers = {"user-15min": RateLimit(limit, limit - number, int(WALL) + 900)} if told else {}
        one.observe(ticket, headers, now)


def left(one: Ledger, now: float) -> int | None:
    """Of the user's window."""
    return one.status(now)[0].remaining


def passed_on(one: Ledger, seconds: float, skew: float = 0.0, limits: Limits = LIMITS) -> Ledger:
    """The ledger of a process that begins so many seconds after the other was killed; its clock starts anew."""
    other, clock = ledger(limits, seconds)
    recall(other.windows, clock, remember(one.windows, 0.0, WALL + skew), 0.0, WALL + skew + seconds)
    return other


def test_a_window_that_is_used_up_stays_so_until_its_end() -> None:
    one, clock = ledger()
    spend(one, clock, 5, told=True)
    other = passed_on(one, 60.0)
    wait = other.reserve(0.0)
    assert isinstance(wait, WaitUntil)
    assert wait.at is not None
    assert 839.0 <= wait.at <= 842.0
    assert isinstance(other.reserve(843.0), Ticket)


def test_what_is_left_of_a_window_is_left_after_a_restart() -> None:
    one, clock = ledger()
    spend(one, clock, 2, told=True)
    assert left(passed_on(one, 60.0), 0.0) == 3


def test_a_local_clock_that_is_off_changes_nothing() -> None:
    one, clock = ledger()
    spend(one, clock, 5, told=True)
    wait = passed_on(one, 60.0, skew=-600.0).reserve(0.0)
    assert isinstance(wait, WaitUntil)
    assert wait.at is not None
    assert 839.0 <= wait.at <= 842.0


def test_a_window_that_has_ended_meanwhile_is_forgotten() -> None:
    one, clock = ledger()
    spend(one, clock, 5, told=True)
    other = passed_on(one, 950.0)
    assert isinstance(other.reserve(0.0), Ticket)


def test_where_the_server_tells_nothing_what_was_counted_here_is_kept() -> None:
    one, clock = ledger()
    spend(one, clock, 4, told=False)
    other = passed_on(one, 100.0)
    assert left(other, 0.0) == 1
    assert left(other, 790.0) == 1
    assert left(other, 801.0) == 5


def test_a_window_that_a_429_closed_stays_closed() -> None:
    one, _ = ledger()
    ticket = one.reserve(0.0)
    assert isinstance(ticket, Ticket)
    one.refuse(ticket, {}, 0.0)
    wait = passed_on(one, 20.0).reserve(0.0)
    assert isinstance(wait, WaitUntil)
    assert wait.at is not None
    assert 39.0 <= wait.at <= 41.0


def test_nothing_is_kept_of_windows_that_nothing_limits() -> None:
    one, clock = ledger(NO_LIMITS)
    spend(one, clock, 4, told=False)
    assert remember(one.windows, 0.0, WALL) == "[]"


def test_what_is_damaged_or_from_the_future_is_passed_over() -> None:
    one, clock = ledger()
    spend(one, clock, 5, told=True)
    for text, wall in (("[{", WALL), ('[{"name": 1}]', WALL), (remember(one.windows, 0.0, WALL + 9.0), WALL)):
        other, its_clock = ledger()
        recall(other.windows, its_clock, text, 0.0, wall)
        assert isinstance(other.reserve(0.0), Ticket)


def test_a_window_that_is_in_use_is_not_touched() -> None:
    one, clock = ledger()
    spend(one, clock, 5, told=True)
    other, its_clock = ledger()
    spend(other, its_clock, 1, told=True)
    recall(other.windows, its_clock, remember(one.windows, 0.0, WALL), 0.0, WALL)
    assert left(other, 0.0) == 4
