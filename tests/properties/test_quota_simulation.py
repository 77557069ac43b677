"""500 per 900 s in virtual time: the whole of every window, and not one request in vain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.virtual import Scenario, run

SERVERS = [
    Scenario("down", (), skew=0.0, rounding="down", phase=None, seed=1),
    Scenario("up", (), skew=600.34, rounding="up", phase=321.98, seed=2),
    Scenario("nearest", (), skew=-600.02, rounding="nearest", phase=899.99, seed=3),
]


def named(shares: tuple[int, ...]) -> str:
    return f"{len(shares)} accounts with up to {max(shares)}"


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
@pytest.mark.parametrize("shares", [(2_000,), (1_500,) * 4, (1_100,) * 16, (150, 450, 1_100, 2_300)], ids=named)
def test_it_takes_the_lower_bound_and_sends_nothing_in_vain(server: Scenario, shares: tuple[int, ...]) -> None:
    result = run(replace(server, shares=shares), "xmediameta")
    assert result.refused == 0
    assert result.requests == sum(shares)
    assert 1 <= result.over_bound <= 1.005


def test_an_app_window_that_binds_is_used_whole() -> None:
    result = run(Scenario("app", (1_000,) * 4, app=(1_500, 3_600.0)), "xmediameta")
    assert result.refused == 0
    assert 1 <= result.over_bound <= 1.005


@pytest.mark.parametrize("counts", [True, False])
def test_faults_cost_their_requests_and_what_is_unsure_at_the_end_of_a_window(counts: bool) -> None:
    result = run(Scenario("faults", (1_900,), faults=0.05, counts_faults=counts), "xmediameta")
    assert result.refused == 0
    assert result.faults > 50
    assert result.requests == 1_900 + result.faults
    assert 1 <= result.over_bound <= 1.01


@pytest.mark.parametrize("rate", [0.3, 2.0, 20.0])
def test_an_outside_spender_costs_at_most_what_was_in_flight(rate: float) -> None:
    result = run(Scenario("outside", (1_200,), outside=(rate, 1e9), concurrency=32), "xmediameta")
    assert result.most_refused <= 32
    assert 1 <= result.over_bound <= 1.005


def test_the_client_written_by_hand_sends_hundreds_in_vain() -> None:
    """Which shows that the server is strict, and the bound one for others too."""
    result = run(Scenario("one", (2_000,)), "by hand")
    assert result.refused > 300
    assert result.over_bound > 1.15
