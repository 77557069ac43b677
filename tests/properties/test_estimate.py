"""The estimate against a run of single requests, and what more of anything does to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.virtual import Scenario, run
from xmediameta.ledger import Limits
from xmediameta.reckon import estimate

LATENCY = 0.5


@pytest.mark.parametrize(
    ("shares", "app"),
    [
        ((300,), None),
        ((2_000,), None),
        ((700,) * 4, None),
        ((50, 400, 900, 1_600), None),
        ((600,) * 4, (1_000, 3_600.0)),
        ((1_100,) * 16, None),
    ],
)
@pytest.mark.parametrize("concurrency", [8, 32])
def test_it_is_what_a_run_of_single_requests_takes(
    shares: tuple[int, ...], app: tuple[int, float] | None, concurrency: int
) -> None:
    scenario = Scenario("", shares, app=app, latency=(LATENCY, LATENCY), concurrency=concurrency, skew=0.5)
    simulated = run(scenario, "xmediameta")
    counts = {str(account): share for account, share in enumerate(shares)}
    reckoned = estimate(
        counts,
        Limits(app_24hour=app),
        apps=dict.fromkeys(counts, "app"),
        concurrency=concurrency,
        latency=LATENCY,
    )
    assert simulated.refused == 0
    assert reckoned.requests == simulated.requests
    windows = 1 + simulated.makespan // 900
    assert reckoned.seconds == pytest.approx(simulated.makespan, rel=0.01, abs=2 * windows)


COUNTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 120), min_size=1)
LIMITS = st.builds(
    lambda user, day, app: Limits(user_15min=(user, 60.0), user_24hour=day and (day, 600.0), app_24hour=(app, 600.0)),
    st.integers(1, 50),
    st.none() | st.integers(1, 200),
    st.integers(1, 400),
)
# How far two estimates may lie apart by the turns that accounts take.
TURNS = 5.0


@given(counts=COUNTS, limits=LIMITS, shared=st.booleans(), more=st.integers(1, 200))
def test_more_updates_take_no_less(counts: dict[str, int], limits: Limits, shared: bool, more: int) -> None:
    apps = dict.fromkeys(counts, "app") if shared else {}
    account = min(counts)
    fewer = estimate(counts, limits, apps=apps)
    all_of_them = estimate({**counts, account: counts[account] + more}, limits, apps=apps)
    assert fewer.seconds <= all_of_them.seconds + TURNS
    assert fewer.cost_usd < all_of_them.cost_usd
    assert fewer.requests == sum(counts.values()), "without deadlines every update is sent"


@given(counts=COUNTS, limits=LIMITS, factor=st.integers(2, 5))
def test_higher_limits_take_no_longer(counts: dict[str, int], limits: Limits, factor: int) -> None:
    def higher(assumed: tuple[int, float] | None) -> tuple[int, float] | None:
        return None if assumed is None else (assumed[0] * factor, assumed[1])

    apart = estimate(counts, limits)
    raised = Limits(
        user_15min=higher(limits.user_15min),
        user_24hour=higher(limits.user_24hour),
        app_24hour=higher(limits.app_24hour),
    )
    assert estimate(counts, raised).seconds <= apart.seconds + TURNS


@given(
    count=st.integers(1, 300),
    limits=LIMITS,
    deadlines=st.lists(st.floats(0, 3_000), max_size=300),
    later=st.floats(0, 2_000),
)
def test_later_deadlines_let_no_more_expire(count: int, limits: Limits, deadlines: list[float], later: float) -> None:
    deadlines = deadlines[:count]
    sooner = estimate(count, limits, deadlines={None: deadlines})
    relaxed = estimate(count, limits, deadlines={None: [deadline + later for deadline in deadlines]})
    assert relaxed.expired <= sooner.expired
    assert sooner.expired + sooner.requests == count


@given(counts=COUNTS, limits=LIMITS)
def test_it_is_never_below_what_the_windows_allow(counts: dict[str, int], limits: Limits) -> None:
    reckoned = estimate(counts, limits)
    for name, count in counts.items():
        for assumed in (limits.user_15min, limits.user_24hour, limits.app_24hour):
            if assumed is not None and count:
                assert reckoned.accounts[name].seconds >= (count - 1) // assumed[0] * assumed[1]
