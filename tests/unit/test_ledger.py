"""All windows of an account together."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from random import Random
from typing import Final

import pytest

from xmediameta.clock import ServerClock
from xmediameta.errors import ConfigurationError
from xmediameta.ledger import NO_LIMITS, Ledger, Limits
from xmediameta.limits import RateLimit, WindowName, read_windows
from xmediameta.permits import Ticket, WaitUntil
from xmediameta.windows import Window

UNIX: Final = 1_700_000_000
DAY: Final = 86_400


def told(
    user: tuple[int, int] | None = None, *, app: tuple[int, int] | None = None, day: tuple[int, int] | None = None
) -> dict[WindowName, RateLimit]:
    """Headers: (limit, remaining) of each window that is told of."""
    found: dict[WindowName, RateLimit] = {}
    if user is not None:
        found["user-15min"] = RateLimit(*user, UNIX + 900)
    if app is not None:
        found["app-24hour"] = RateLimit(*app, UNIX + DAY)
    if day is not None:
        found["user-24hour"] = RateLimit(*day, UNIX + DAY)
    return found


def a_ledger(limits: Limits = NO_LIMITS, *, app: Window | None = None, keep: int = 0) -> Ledger:
    return Ledger(app._clock if app else ServerClock(UNIX), limits, app, keep=keep)


def take(ledger: Ledger, now: float = 0.0, *, interactive: bool = False) -> Ticket:
    leave = ledger.reserve(now, interactive=interactive)
    assert isinstance(leave, Ticket), f"refused until {leave}"
    return leave


def take_all(ledger: Ledger, now: float = 0.0, *, interactive: bool = False) -> list[Ticket]:
    tickets: list[Ticket] = []
    while isinstance(leave := ledger.reserve(now, interactive=interactive), Ticket):
        tickets.append(leave)
    return tickets


def learn(ledger: Ledger, headers: Mapping[WindowName, RateLimit], now: float = 0.0) -> None:
    ledger.observe(take(ledger, now), headers, now)


def test_the_tightest_window_binds() -> None:
    ledger = a_ledger()
    learn(ledger, told((500, 499), app=(50_000, 20)))
    assert len(take_all(ledger)) == 20
    assert ledger.refusal(0.0) == WaitUntil(DAY + 1.0, "app-24hour")


def test_the_user_15min_pair_may_look_enormous_while_the_24_hour_cap_binds() -> None:
    ledger = a_ledger()
    learn(ledger, told((1_200_000, 1_199_998), app=(50_000, 49_999), day=(17, 16)))
    assert len(take_all(ledger)) == 16
    assert ledger.refusal(0.0) == WaitUntil(DAY + 1.0, "user-24hour")


def test_of_two_closed_windows_the_later_is_named() -> None:
    ledger = a_ledger()
    learn(ledger, told((500, 0), app=(50_000, 0)))
    assert ledger.refusal(0.0) == WaitUntil(DAY + 1.0, "app-24hour")
    ledger = a_ledger()
    learn(ledger, told((500, 0), app=(50_000, 1)))
    assert ledger.refusal(0.0) == WaitUntil(901.0, "user-15min")


def test_a_time_says_more_than_an_answer_that_is_awaited() -> None:
    app = Window("app-24hour", ServerClock(UNIX))
    first, second = a_ledger(app=app), a_ledger(app=app)
    learn(first, told((500, 0), app=(50_000, 40_000)))
    for ledger in (first, second):
        assert isinstance(ledger.reserve(DAY + 1.0), Ticket if ledger is first else WaitUntil)
    learned = take(first, DAY + 1.0, interactive=True)
    first.refuse(learned, {}, DAY + 1.0)
    assert first.refusal(DAY + 1.0) == WaitUntil(DAY + 61.0, "user-15min")


def test_first_contact_is_one_request_and_four_of_interactive_calls() -> None:
    assert len(take_all(a_ledger())) == 1
    ledger = a_ledger()
    assert len(take_all(ledger, interactive=True)) == 4
    assert ledger.in_flight == 4


def test_first_contact_with_a_shared_app_window_is_one_request_of_all_accounts() -> None:
    app = Window("app-24hour", ServerClock(UNIX))
    ledgers = [a_ledger(app=app) for _ in range(3)]
    tickets = [ticket for ledger in ledgers for ticket in take_all(ledger)]
    assert len(tickets) == 1
    ledgers[0].observe(tickets[0], told((500, 499), app=(50_000, 49_999)), 0.0)
    assert [len(take_all(ledger)) for ledger in ledgers] == [499, 1, 1]


def test_what_one_account_spends_of_the_app_the_others_cannot() -> None:
    app = Window("app-24hour", ServerClock(UNIX))
    first, second = a_ledger(app=app), a_ledger(app=app)
    learn(first, told((500, 499), app=(10, 9)))
    learn(second, told((500, 499), app=(10, 8)))
    assert len(take_all(first)) == 8
    assert second.refusal(0.0) == WaitUntil(DAY + 1.0, "app-24hour")
    assert (first.in_flight, second.in_flight, app.in_flight) == (8, 0, 8)


def test_a_429_for_the_app_closes_it_for_all_its_accounts() -> None:
    app = Window("app-24hour", ServerClock(UNIX))
    first, second = a_ledger(app=app), a_ledger(app=app)
    learn(first, told((500, 499), app=(50_000, 49_999)))
    learn(second, told((500, 499), app=(50_000, 49_998)))
    first.refuse(take(first), told((500, 498), app=(50_000, 0)), 0.0)
    assert second.refusal(0.0) == WaitUntil(DAY + 1.0, "app-24hour")


def test_a_429_closes_only_the_windows_with_nothing_left() -> None:
    ledger = a_ledger()
    learn(ledger, told((500, 499), app=(50_000, 49_999)))
    ledger.refuse(take(ledger), told((500, 0), app=(50_000, 49_999)), 0.0)
    assert ledger.refusal(0.0) == WaitUntil(901.0, "user-15min")
    assert ledger.app.refusal(0.0, 1, 0) is None


def test_a_429_that_lies_closes_the_users_window() -> None:
    ledger = a_ledger()
    learn(ledger, told((500, 499)))
    ledger.refuse(take(ledger), told((500, 400)), 0.0)
    assert ledger.refusal(0.0) == WaitUntil(901.0, "user-15min")


def test_a_429_without_headers_waits_a_minute_and_once_for_all_in_flight() -> None:
    ledger = a_ledger()
    learn(ledger, told((500, 499), app=(50_000, 49_999)))
    for number, ticket in enumerate(take_all(ledger)):
        ledger.refuse(ticket, {}, number / 100)
    assert ledger.refusal(5.0) == WaitUntil(60.0, "user-15min")
    assert len(take_all(ledger, 60.0)) == 1


def test_a_429_may_name_a_24_hour_window_that_was_not_known() -> None:
    ledger = a_ledger()
    learn(ledger, told((1_200_000, 1_199_999)))
    ledger.refuse(take(ledger), told((1_200_000, 1_199_998), day=(17, 0)), 0.0)
    assert ledger.refusal(0.0) == WaitUntil(DAY + 1.0, "user-24hour")


def test_a_24_hour_window_that_becomes_known_late_counts_what_is_in_flight() -> None:
    ledger = a_ledger()
    learn(ledger, told((500, 499), app=(50_000, 49_999)))
    before = [take(ledger) for _ in range(4)]
    ledger.observe(before[0], told((500, 498), app=(50_000, 49_998), day=(10, 8)), 0.0)
    assert len(take_all(ledger)) == 5, "of the eight that are left three are in flight"
    for number, ticket in enumerate(before[1:]):
        ledger.observe(ticket, told((500, 497 - number), app=(50_000, 49_997 - number), day=(10, 7 - number)), 0.0)
    assert isinstance(ledger.reserve(0.0), WaitUntil)


def test_limits_may_name_a_24_hour_window_of_the_user() -> None:
    ledger = a_ledger(Limits(user_15min=(500, 900.0), user_24hour=(20, 86_400.0), app_24hour=None))
    learn(ledger, {})
    tickets = take_all(ledger)
    assert len(tickets) == 19
    for ticket in tickets:
        ledger.observe(ticket, {}, 3.0)
    assert ledger.refusal(3.0) == WaitUntil(DAY + 3.0, "user-24hour")


def test_documented_limits_are_assumed_where_headers_are_absent() -> None:
    ledger = a_ledger(Limits())
    learn(ledger, {})
    for ticket in take_all(ledger):
        ledger.observe(ticket, {}, 1.0)
    assert ledger.refusal(1.0) == WaitUntil(901.0, "user-15min")
    assert ledger.app.left() == 50_000 - 500


def test_limits_override_what_is_documented() -> None:
    ledger = a_ledger(Limits(user_15min=(7, 30.0)))
    learn(ledger, {})
    for ticket in take_all(ledger):
        ledger.observe(ticket, {}, 0.0)
    assert ledger.refusal(0.0) == WaitUntil(30.0, "user-15min")
    assert len(take_all(ledger, 30.0)) == 7


def test_no_limits_trusts_headers_alone() -> None:
    ledger = a_ledger()
    learn(ledger, {})
    for _ in range(2_000):
        learn(ledger, {})
    learn(ledger, told((500, 3)))
    assert len(take_all(ledger)) == 3


@pytest.mark.parametrize("assumed", [(0, 900.0), (-1, 900.0), (500, 0.0), (500, -1.0), (500, float("inf"))])
def test_limits_that_could_never_be_met_are_refused(assumed: tuple[int, float]) -> None:
    with pytest.raises(ConfigurationError, match="user_15min must be at least 1 request"):
        Limits(user_15min=assumed)


def test_permits_are_kept_for_interactive_calls() -> None:
    ledger = a_ledger(keep=50)
    learn(ledger, told((500, 499), app=(50_000, 100)))
    assert len(take_all(ledger)) == 50
    assert ledger.refusal(0.0) == WaitUntil(DAY + 1.0, "app-24hour")
    assert len(take_all(ledger, interactive=True)) == 50


def test_a_ticket_that_never_left_gives_its_permits_back() -> None:
    ledger = a_ledger()
    learn(ledger, told((500, 3), app=(50_000, 49_999)))
    tickets = take_all(ledger)
    ledger.release(tickets[1], 0.0, maybe_sent=False)
    assert ledger.in_flight == 2
    assert len(take_all(ledger)) == 1


def test_a_ticket_that_may_have_been_sent_keeps_them() -> None:
    ledger = a_ledger()
    learn(ledger, told((500, 3), app=(50_000, 49_999)))
    tickets = take_all(ledger)
    ledger.release(tickets[1], 0.0, maybe_sent=True)
    assert ledger.in_flight == 2
    assert take_all(ledger) == []


def test_there_is_no_deadlock_when_every_answer_is_a_503_without_headers() -> None:
    ledger = a_ledger(Limits())
    now, sent = 0.0, 0
    while sent < 1_200:
        leave = ledger.reserve(now)
        if isinstance(leave, WaitUntil):
            assert leave.at is not None
            now = leave.at
            continue
        sent += 1
        now += 0.5
        ledger.observe(leave, {}, now, conclusive=False)
    assert 1_800 + 100 <= now <= 1_800 + 250, "500 in any 900 s, in steps of a sixteenth"


def test_an_account_is_droppable_when_nothing_is_in_flight_and_nothing_binds() -> None:
    app = Window("app-24hour", ServerClock(UNIX))
    ledger = a_ledger(app=app)
    assert ledger.droppable(0.0)
    ticket = take(ledger)
    assert not ledger.droppable(0.0)
    ledger.observe(ticket, told((500, 499), app=(50_000, 49_999)), 0.0)
    assert not ledger.droppable(900.0)
    assert ledger.droppable(901.0), "the app's window is not the account's to forget"
    learn(ledger, told(day=(10, 5)), 901.0)
    assert not ledger.droppable(902.0)


def test_status_shows_every_window() -> None:
    ledger = a_ledger()
    learn(ledger, told((500, 499), app=(50_000, 49_999), day=(10, 9)))
    assert [(status.name, status.remaining) for status in ledger.status(0.0)] == [
        ("user-15min", 499),
        ("app-24hour", 49_999),
        ("user-24hour", 9),
    ]
    assert "user-15min" in repr(ledger)


ODD: Final = ["", " ", "abc", "-1", "1.5", "1e3", "nan", "inf", "٥", "0", "9" * 16, "9" * 17, "500\x00", "499, 499"]


@pytest.mark.parametrize("seed", range(40))
def test_no_headers_whatever_break_it_or_stop_it(seed: int) -> None:
    random = Random(seed)
    ledger, now = Ledger(ServerClock(UNIX), keep=random.choice([0, 5])), 0.0
    in_flight: list[Ticket] = []
    for _ in range(400):
        leave = ledger.reserve(now, interactive=random.random() < 0.3)
        if isinstance(leave, Ticket):
            in_flight.append(leave)
        elif leave.at is None:
            assert in_flight, "nothing can come in, so this would wait for ever"
        else:
            assert now < leave.at < now + 3 * DAY
            now = leave.at if random.random() < 0.5 else now
        now += random.choice([0.0, 0.1, 5.0])
        while in_flight and random.random() < 0.6:
            ticket = in_flight.pop(random.randrange(len(in_flight)))
            headers: dict[str, str] = {}
            for stem in ("x-rate-limit-", "x-app-limit-24hour-", "x-user-limit-24hour-"):
                for member, good in (("limit", "500"), ("remaining", "40"), ("reset", str(UNIX + int(now) + 60))):
                    choice = random.choice(["good", "odd", "absent", "milliseconds", "past", "far"])
                    if choice == "good" or (choice != "odd" and choice != "absent" and member != "reset"):
                        headers[stem + member] = good
                    elif choice == "odd":
                        headers[stem + member] = random.choice(ODD)
                    elif choice != "absent":
                        unix = UNIX + int(now)
                        headers[stem + member] = str(
                            {"milliseconds": (unix + 60) * 1000, "past": unix - 9, "far": unix + 10**8}[choice]
                        )
            if random.random() < 0.1:
                ledger.refuse(ticket, read_windows(headers), now, random.choice([None, 5.0]))
            elif random.random() < 0.1:
                ledger.release(ticket, now, maybe_sent=random.random() < 0.5)
            else:
                ledger.observe(ticket, read_windows(headers), now, conclusive=random.random() < 0.9)
        assert ledger.in_flight == len(in_flight)


def test_a_reset_before_the_request_was_sent_is_none() -> None:
    ledger = a_ledger(Limits(user_15min=(10, 900.0)))
    learn(ledger, {"user-15min": RateLimit(10, 9, UNIX + 500)}, 1_000.0)
    tickets = take_all(ledger, 1_000.0)
    assert len(tickets) == 9
    for ticket in tickets:
        ledger.observe(ticket, {}, 1_000.0)
    assert ledger.refusal(1_000.0) == WaitUntil(1_900.0, "user-15min")


def test_a_reset_in_milliseconds_is_a_reset() -> None:
    ledger = a_ledger()
    headers = {"x-rate-limit-limit": "500", "x-rate-limit-remaining": "0", "x-rate-limit-reset": f"{UNIX + 900}000"}
    learn(ledger, read_windows(headers))
    assert ledger.refusal(0.0) == WaitUntil(901.0, "user-15min")


def test_ten_thousand_accounts_are_small() -> None:
    app = Window("app-24hour", ServerClock(UNIX))
    ledger = a_ledger(app=app)
    learn(ledger, told((500, 499), app=(50_000, 49_999)))
    window = ledger.windows[0]
    parts = [
        ledger,
        ledger.windows,
        window,
        window._tally,
        window._tally._bins,
        window._unsure,
        window._unsure._entries,
    ]
    assert sum(map(sys.getsizeof, parts)) < 1_000


def test_who_moves_to_another_app_counts_there_from_then_on() -> None:
    clock = ServerClock(UNIX)
    left, joined = (Window("app-24hour", clock, (10, DAY)) for _ in range(2))
    ledger, other = a_ledger(app=left), a_ledger(app=left)
    before = [take(ledger, interactive=True) for _ in range(2)]
    ledger.move(joined)
    assert (left.in_flight, joined.in_flight, ledger.app) == (2, 0, joined)
    after = take(ledger, interactive=True)
    assert (left.in_flight, joined.in_flight, ledger.in_flight) == (2, 1, 3)
    ledger.observe(after, told(app=(10, 4)), 1.0)
    ledger.observe(before[0], told(app=(10, 7)), 1.0)
    assert (left.in_flight, joined.in_flight) == (1, 0)
    assert other.status(1.0)[1].remaining == 6, "told to whose it is, and one is in flight"
    assert ledger.status(1.0)[1].remaining == 4
    ledger.release(before[1], 1.0, maybe_sent=False)
    assert (left.in_flight, joined.in_flight, ledger.in_flight) == (0, 0, 0)
    assert ledger._former == ()


def test_who_moves_on_before_the_first_answers_have_come() -> None:
    clock = ServerClock(UNIX)
    apps = [Window("app-24hour", clock, (10, DAY)) for _ in range(3)]
    ledger = a_ledger(app=apps[0])
    tickets = [take(ledger, interactive=True)]
    for app in apps[1:]:
        ledger.move(app)
        tickets.append(take(ledger, interactive=True))
    assert [app.in_flight for app in apps] == [1, 1, 1]
    ledger.refuse(tickets[1], told(app=(10, 0)), 1.0)
    ledger.release(tickets[0], 1.0, maybe_sent=True)
    ledger.observe(tickets[2], told(app=(10, 9)), 1.0)
    assert [app.in_flight for app in apps] == [0, 0, 0]
    assert [app.status(1.0).refused for app in apps] == [False, True, False]


def test_who_moves_with_nothing_in_flight_leaves_nothing_behind() -> None:
    clock = ServerClock(UNIX)
    left, joined = (Window("app-24hour", clock, (10, DAY)) for _ in range(2))
    ledger = a_ledger(app=left)
    learn(ledger, told(app=(10, 9)))
    ledger.move(joined)
    assert ledger._former == ()
    assert isinstance(take(ledger), Ticket), "how the other app's window stands is not known yet"
