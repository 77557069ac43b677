"""Counts for where the server tells nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xmediameta.tally import Tally, Unsure


def test_a_burst_falls_out_as_one() -> None:
    tally = Tally(900.0)
    tally.add(10.0, 300)
    tally.add(12.0, 200)
    assert (tally.count, tally.next_at, tally.empty_at) == (500, 912.0, 912.0)
    assert tally.expire(911.99) == 0
    assert tally.expire(912.0) == 500
    assert (tally.count, tally.next_at, tally.empty_at) == (0, None, None)


def test_a_trickle_falls_out_in_steps_and_stays_small() -> None:
    tally = Tally(900.0)
    for second in range(900):
        tally.add(float(second))
    assert tally.count == 900
    assert len(tally._bins) <= 17
    gone = tally.expire(1000.0)
    assert 100 - 57 <= gone <= 101


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5)), max_size=60))
def test_it_never_counts_too_few(steps: list[tuple[float, int]]) -> None:
    tally, now, sent = Tally(60.0), 0.0, []
    for pause, count in steps:
        now += pause
        tally.expire(now)
        tally.add(now, count)
        sent.append((now, count))
        within = sum(number for at, number in sent if now < at + 60.0)
        within_longer = sum(number for at, number in sent if now < at + 60.0 + 60.0 / 16)
        assert within <= tally.count <= within_longer


def test_what_ended_before_a_later_request_was_sent_is_settled() -> None:
    unsure = Unsure()
    unsure.add(3)
    unsure.add(3)
    unsure.add(5)
    assert unsure.count == 3
    assert unsure.settle(3) == 0
    assert unsure.settle(4) == 2
    assert unsure.settle(9) == 1
    assert unsure.count == 0


def test_many_that_nothing_settles_take_little_room_and_none_is_forgotten() -> None:
    unsure = Unsure()
    for serial in range(10_000):
        unsure.add(serial)
    assert unsure.count == 10_000
    assert len(unsure._entries) <= 16
    assert unsure.settle(9_999) == 15
    assert unsure.settle(10_000) == 9_985
