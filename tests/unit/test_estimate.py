"""What a piece of work takes, reckoned before it is begun."""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from xmediameta.errors import ConfigurationError
from xmediameta.ledger import NO_LIMITS, Limits
from xmediameta.memory import KeptWindow
from xmediameta.reckon import Estimate, estimate

NOON = 1_900_000_000.0


def test_nothing_takes_no_time() -> None:
    assert estimate(0) == Estimate(
        seconds=0.0, requests=0, expired=0, cost_usd=0.0, binding=None, accounts=estimate(0).accounts
    )
    assert estimate({}).seconds == 0.0


def test_what_fits_into_one_window_waits_for_none() -> None:
    reckoned = estimate(500)
    assert (reckoned.requests, reckoned.cost_usd, reckoned.binding) == (500, 2.5, None)
    assert 500 / 128 <= reckoned.seconds <= 500 / 128 + 1


def test_each_window_is_waited_for() -> None:
    reckoned = estimate(2_000)
    assert reckoned.binding == "user-15min"
    assert 3 * 900 <= reckoned.seconds <= 3 * 902 + 10


def test_accounts_have_windows_of_their_own() -> None:
    reckoned = estimate({"busy": 1_600, "idle": 10})
    busy, idle = reckoned.accounts["busy"], reckoned.accounts["idle"]
    assert 2_700 <= busy.seconds == reckoned.seconds <= 2_710
    assert idle.seconds < 2
    assert (busy.binding, idle.binding, reckoned.binding) == ("user-15min", None, "user-15min")
    assert (busy.requests, idle.requests, reckoned.requests) == (1_600, 10, 1_610)


def test_accounts_of_one_app_share_its_window() -> None:
    counts = {str(number): 2_000 for number in range(4)}
    limits = Limits(app_24hour=(5_000, 86_400.0))
    apart = estimate(counts, limits)
    together = estimate(counts, limits, apps=dict.fromkeys(counts, "app"))
    assert apart.seconds < 2_720 < 86_400 < together.seconds < 86_400 + 1_000
    assert (apart.binding, together.binding) == ("user-15min", "app-24hour")


def test_a_24_hour_window_of_the_user_binds() -> None:
    reckoned = estimate(50, Limits(user_24hour=(17, 86_400.0)))
    assert reckoned.binding == "user-24hour"
    assert 2 * 86_400 <= reckoned.seconds <= 2 * 86_402 + 1


def standing(remaining: int, opens_in: float, *, told: bool = True, closed: bool = False) -> KeptWindow:
    return KeptWindow(
        name="user-15min", limit=500, remaining=remaining, opens_at=NOON + opens_in, kept_at=NOON - 5, told=told,
        closed=closed,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("updates", "window", "seconds"),
    [
        (400, standing(400, 300), 0),  # all fits what is left
        (600, standing(400, 300), 300),  # 200 wait for the next window
        (1_200, standing(400, 300), 300 + 900),
        (50, standing(0, 300), 300),
        (50, standing(0, 300, closed=True), 300),  # by a 429
        (600, standing(400, 895, told=False), 895),  # the server told nothing: counted here
        (500, standing(0, -1), 0),  # it has ended since
    ],
)
def test_a_window_may_be_partly_spent_already(updates: int, window: KeptWindow, seconds: float) -> None:
    reckoned = estimate(updates, kept={None: [window]}, wall=NOON)
    assert seconds <= reckoned.seconds <= seconds + 6
    assert reckoned.binding == ("user-15min" if seconds else None)


def test_what_another_account_has_spent_is_its_own_matter() -> None:
    reckoned = estimate({"a": 10, "b": 10}, kept={"a": [standing(0, 300)]}, wall=NOON)
    assert reckoned.accounts["a"].seconds > 300
    assert reckoned.accounts["b"].seconds < 1


def test_without_limits_the_server_alone_is_waited_for() -> None:
    reckoned = estimate(10_000, NO_LIMITS, concurrency=64, latency=0.5)
    assert reckoned.binding is None
    assert reckoned.seconds == pytest.approx(10_000 / 128, rel=0.05)


def test_starts_are_smoothed_per_account() -> None:
    one = estimate(1_000, NO_LIMITS, starts_per_second=10.0)
    two = estimate({"a": 500, "b": 500}, NO_LIMITS, starts_per_second=10.0)
    none = estimate(1_000, NO_LIMITS, starts_per_second=None, latency=0.0)
    assert one.seconds == pytest.approx(100, rel=0.05)
    assert two.seconds == pytest.approx(50, rel=0.05)
    assert none.seconds == 0.0


def test_what_cannot_be_sent_in_time_is_not_paid_for() -> None:
    reckoned = estimate(1_200, deadlines={None: [600.0] * 1_100})
    assert (reckoned.expired, reckoned.requests, reckoned.cost_usd) == (600, 600, 3.0)
    assert 901 <= reckoned.seconds <= 910, "the hundred without a deadline come last"


def test_the_earliest_deadlines_go_first() -> None:
    deadlines = [10_000.0] * 500 + [300.0] * 500
    assert estimate(1_000, deadlines={None: deadlines}).expired == 0
    assert estimate(1_001, deadlines={None: [*deadlines, 300.0]}).expired == 1


def test_a_deadline_may_pass_in_the_middle_of_a_batch() -> None:
    reckoned = estimate(100, NO_LIMITS, starts_per_second=1.0, deadlines={None: [30.5] * 100})
    assert reckoned.requests == 31
    assert reckoned.expired == 69


def test_all_may_be_too_late() -> None:
    reckoned = estimate(3, deadlines={None: [-1.0, -1.0, -1.0]})
    assert (reckoned.seconds, reckoned.requests, reckoned.expired) == (0.0, 0, 3)


@pytest.mark.parametrize("price", [0.005, Decimal("0.005")])
def test_money_is_exact(price: float | Decimal) -> None:
    assert estimate(30_007, NO_LIMITS, price=price).cost_usd == 150.035


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"counts": -1}, "-1 updates of the account"),
        ({"counts": {"a\x1b": -2}}, r"-2 updates of a\\x1b"),
        ({"counts": 1, "deadlines": {None: [1.0, 2.0]}}, "2 deadlines for 1 updates of the account"),
        ({"counts": {"a": 1}, "deadlines": {"b": [1.0]}}, "1 deadlines for 0 updates of b"),
        ({"counts": 1, "starts_per_second": 0.0}, "0.0 starts a second"),
        ({"counts": 1, "concurrency": 0}, "a concurrency of 0"),
        ({"counts": 1, "latency": -0.1}, "a latency of -0.1 s"),
        ({"counts": 1, "latency": float("nan")}, "a latency of nan s"),
        ({"counts": 1, "price": -1}, "a price of -1 USD"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        estimate(**arguments)


def counting_calls(work: Callable[[], Estimate]) -> tuple[Estimate, int]:
    """What work gives, and how many Python functions it called: the machine's speed must not matter."""
    calls = 0

    def count(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        result = work()
    finally:
        sys.setprofile(None)
    return result, calls


def test_a_million_updates_are_reckoned_in_a_moment() -> None:
    counts = {str(number): 250_000 for number in range(4)}
    reckoned, calls = counting_calls(lambda: estimate(counts, apps=dict.fromkeys(counts, "app")))
    assert calls < reckoned.requests  # it takes many at once, as many as a window holds
    assert reckoned.requests == 1_000_000
    assert 19 * 86_400 <= reckoned.seconds <= 20 * 86_400


def test_a_thousand_accounts_take_no_more_than_a_few_steps_each() -> None:
    counts = {str(number): 100 for number in range(1_000)}
    reckoned, calls = counting_calls(lambda: estimate(counts, apps=dict.fromkeys(counts, "app")))
    assert reckoned.requests == 100_000
    assert calls < 600 * len(counts)
