"""The server's clock, known only from `Date` headers."""

from __future__ import annotations

from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmediameta.clock import ServerClock


def test_until_a_date_was_seen_the_local_clock_stands_in() -> None:
    clock = ServerClock(fallback=1000.0)
    assert clock.offset == 1000.0
    assert "local clock" in repr(clock)
    clock.observe(1_700_000_000, 10.0)
    assert clock.offset == 1_700_000_000 - 10.0
    assert "local clock" not in repr(clock)


def test_the_local_clock_is_not_trusted_once_a_date_was_seen() -> None:
    ahead, behind = ServerClock(fallback=1_700_000_600.0), ServerClock(fallback=1_699_999_400.0)
    for clock in (ahead, behind):
        clock.observe(1_700_000_000, 0.0)
    assert ahead.offset == behind.offset


def test_an_old_answer_does_not_blunt_a_sharp_bound() -> None:
    clock = ServerClock()
    clock.observe(2000, 1000.0)
    clock.observe(2001, 1003.5)
    assert clock.offset == 1000.0


def test_many_answers_find_the_offset_to_milliseconds() -> None:
    clock, offset = ServerClock(), 1_700_000_000.37
    for step in range(100):
        at = step * 0.043
        clock.observe(floor(at + offset), at + 0.02)
    assert offset - 0.06 < clock.offset <= offset


def test_bounds_older_than_half_an_hour_are_dropped() -> None:
    clock = ServerClock()
    clock.observe(2000, 0.0)
    for quarter, kept in ((900.0, 2000.0), (1800.0, 1999.0)):
        clock.observe(quarter + 1999, quarter)
        assert clock.offset == kept


def test_after_a_long_silence_the_old_bound_is_dropped_at_once() -> None:
    clock = ServerClock()
    clock.observe(2000, 0.0)
    clock.observe(86_400 + 1990, 86_400.0)
    assert clock.offset == 1990.0


@given(
    offset=st.floats(-1e6, 2e9),
    answers=st.lists(st.tuples(st.floats(0, 2000), st.floats(0, 60)), min_size=1, max_size=20),
)
def test_it_never_runs_ahead_of_the_server(offset: float, answers: list[tuple[float, float]]) -> None:
    clock, now = ServerClock(fallback=3e9), 0.0
    for pause, latency in answers:
        now += pause + latency
        clock.observe(floor(now - latency + offset), now)
        assert clock.offset <= offset + 1e-6
    assert clock.offset >= offset - 1 - max(latency for _, latency in answers) - 1e-6


def test_serials_begin_at_zero() -> None:
    assert ServerClock().serial == 0
    with pytest.raises(AttributeError):
        ServerClock().wall = 1.0  # type: ignore[attr-defined]
