"""The benchmark of the quota runs, and the library sends nothing in vain."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.quota", "--quick", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_in_virtual_time_ours_takes_the_bound_and_sends_nothing_in_vain(report: dict[str, Any]) -> None:
    ours = [row for row in report["virtual"] if row["client"] == "xmediameta"]
    assert len(ours) >= 5
    for row in ours:
        assert row["in_vain"] == 0, row["scenario"]
        assert 1 <= row["over_bound"] <= 1.005, row["scenario"]


def test_by_hand_the_same_work_takes_longer_and_sends_in_vain(report: dict[str, Any]) -> None:
    rows = {(row["scenario"], row["client"]): row for row in report["virtual"]}
    for (scenario, client), row in rows.items():
        if client == "by hand":
            assert row["in_vain"] > 100, scenario
            assert row["over_bound"] > rows[scenario, "xmediameta"]["over_bound"], scenario


def test_against_the_sandbox_ours_loses_at_most_two_seconds_a_window_and_nothing_in_vain(
    report: dict[str, Any],
) -> None:
    ours, theirs = report["real"]
    assert (ours["client"], ours["in_vain"], ours["requests"]) == ("xmediameta", 0, ours["updates"])
    # Besides the two seconds of whole-second headers, there is what a busy machine takes for the requests themselves.
    assert ours["per_window"] <= 2 + 1
    assert theirs["in_vain"] > 0


def test_what_the_arithmetic_costs_is_told(report: dict[str, Any]) -> None:
    # How much it is is for a quiet machine to say.
    assert {"ledger", "call", "bulk", "smoothed", "limiter", "one", "crowd"} < report["microseconds"].keys()


def test_the_benchmark_of_speed_runs() -> None:
    """Against its own server, next to tuned aiohttp, which needs no peer."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--json", "--only", "create", "--only", "batcher"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout)
    named = {(line["name"], line["loop"]) for line in found["requests"]}
    assert {("tuned aiohttp", "asyncio"), ("create", "asyncio"), ("create", "uvloop"), ("batcher", "asyncio")} <= named
    assert all(line["least"] <= line["ratio"] <= line["most"] for line in found["requests"])
    assert found["requests"][0]["ratio"] == 1
    assert found["codecs"]["lines"] > 0
    assert found["scheduling"]["steps"] > 0
