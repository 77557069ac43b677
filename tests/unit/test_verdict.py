"""What a failure means and what happens next."""

from __future__ import annotations

from xmediameta.errors import ServerFault, UsageCapped
from xmediameta.problems import Problem
from xmediameta.verdict import FailUpdate, Retry, StopRun, judge


def test_a_server_fault_is_retried_until_the_attempts_are_used_up() -> None:
    error = ServerFault(503, Problem())
    assert [judge(error, attempt=attempt) for attempt in range(1, 7)] == [Retry()] * 4 + [FailUpdate()] * 2


def test_a_cap_stops_the_run() -> None:
    assert judge(UsageCapped(429, Problem()), attempt=1) == StopRun()
