"""How bulk slows down and comes back, against a model of a server in virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from math import inf

import pytest

from xmediameta.congestion import Congestion


class Model:
    """Workers that send as soon as they may, to a server that answers after `latency` as `answers` says.

    Attributes:
        log: when each request left, how it ended, and how many were in flight then.
    """

    def __init__(
        self,
        answers: Callable[[float, int], bool],
        *,
        concurrency: int = 64,
        latency: Callable[[], float] = lambda: 0.1,
        failing: Callable[[], float] | None = None,
    ) -> None:
        self.congestion = Congestion()
        self._answers, self._concurrency = answers, concurrency
        self._latency, self._failing = latency, failing or latency
        self.log: list[tuple[float, bool, int]] = []
        self._ends: list[tuple[float, int, float, bool]] = []
        self.now = 0.0
        self._sent = 0

    def run(self, until: float) -> None:
        while True:
            again = self._fill()
            ends = self._ends[0][0] if self._ends else inf
            self.now = min(ends, again)
            if self.now >= until:
                self.now = until
                return
            if ends <= again:
                self._end()

    def _fill(self) -> float:
        while len(self._ends) < self._concurrency:
            wait = self.congestion.room(len(self._ends), self.now)
            if wait:
                return self.now + wait
            self.congestion.sent(self.now)
            good = self._answers(self.now, len(self._ends))
            self._sent += 1
            ends = self.now + (self._latency if good else self._failing)()
            heapq.heappush(self._ends, (ends, self._sent, self.now, good))
        return inf

    def _end(self) -> None:
        _, number, sent_at, good = heapq.heappop(self._ends)
        in_flight = len(self._ends) + 1
        self.log.append((sent_at, good, in_flight))
        if good:
            self.congestion.succeeded(in_flight, self.now)
        else:
            self.congestion.failed(str(number), in_flight, sent_at, self.now)

    def sent_between(self, start: float, end: float) -> int:
        return sum(start <= sent_at < end for sent_at, _, _ in self.log)

    def failed_between(self, start: float, end: float) -> int:
        return sum(start <= sent_at < end and not good for sent_at, good, _ in self.log)


def test_without_trouble_there_is_no_bound() -> None:
    congestion = Congestion()
    assert congestion.room(1_000_000, 0.0) == 0.0
    congestion.sent(0.0)
    congestion.succeeded(64, 0.1)
    assert congestion.limit == inf
    assert not congestion.outage
    assert congestion.outage_seconds(9.0) == 0.0
    assert repr(congestion) == "<Congestion limit=inf>"


@pytest.mark.parametrize("fast", [True, False])
def test_an_outage_costs_few_requests_and_is_over_at_once(fast: bool) -> None:
    """30 s, of which failures come after a millisecond (refused) or after the usual latency (503)."""
    model = Model(lambda now, _: not 5.0 <= now < 35.0, failing=(lambda: 0.001) if fast else None)
    model.run(50.0)
    assert model.failed_between(5.0, 35.0) < 200
    assert model.sent_between(5.5, 35.0) <= 40
    usual = model.sent_between(0.0, 5.0) / 5
    assert model.sent_between(36.5, 37.5) > 0.9 * usual
    assert model.failed_between(35.0, 50.0) == 0
    assert model.congestion.limit >= 64


def test_an_outage_of_requests_that_hang_is_over_within_seconds() -> None:
    model = Model(lambda now, _: not 5.0 <= now < 65.0, failing=lambda: 30.0)
    model.run(80.0)
    usual = model.sent_between(0.0, 5.0) / 5
    assert model.failed_between(5.0, 65.0) < 200
    assert model.sent_between(67.0, 68.0) > 0.5 * usual  # the rest of the workers wait for those that hang
    assert model.sent_between(75.0, 80.0) / 5 > 0.5 * usual


def test_an_outage_begins_with_its_tenth_media_and_ends_with_a_success() -> None:
    congestion = Congestion()
    for number in range(9):
        congestion.failed(str(number), 20, 0.0, 1.0)
    assert not congestion.outage
    congestion.failed("9", 20, 0.0, 5.0)
    assert congestion.outage
    assert "outage" in repr(congestion)
    assert congestion.outage_seconds(7.5) == 2.5
    congestion.failed("10", 20, 0.0, 8.0)
    assert congestion.outage_seconds(9.0) == 4.0
    congestion.succeeded(2, 9.0)
    assert not congestion.outage
    assert congestion.outage_seconds(10.0) == 0.0


def test_a_few_media_that_always_fail_are_no_outage() -> None:
    congestion = Congestion()
    for attempt in range(100):
        for number in range(9):
            congestion.failed(str(number), 9, float(attempt), float(attempt))
    assert not congestion.outage


def test_probes_go_about_once_a_second_while_it_lasts() -> None:
    congestion = Congestion()
    for number in range(10):
        congestion.failed(str(number), 64, 0.0, 0.0)
    times = []
    now = 0.0
    while now < 10.0:
        now += congestion.room(0, now)
        congestion.sent(now)
        times.append(now)
        congestion.failed("x", 1, now, now)
    assert times == [0.25, 0.75, *(0.75 + second for second in range(1, 11))]
    assert 0 < congestion.room(63, now) <= 1.0  # those that hang do not keep it back
    assert congestion.room(64, now) == inf


def test_one_burst_halves_once_whatever_the_latency() -> None:
    congestion = Congestion()
    congestion.succeeded(64, 0.0)
    for number in range(64):
        congestion.failed(str(number % 8), 64, 1.0, 1.0 + number / 10)  # all had left before
    assert congestion.limit == 32
    congestion.failed("9", 32, 8.0, 9.0)  # this one left since
    assert congestion.limit == 16


def test_scattered_failures_slow_nobody_down() -> None:
    chance = random.Random(7)
    model = Model(lambda *_: chance.random() >= 0.05, latency=lambda: chance.uniform(0.05, 0.15))
    model.run(60.0)
    assert model.sent_between(0, 60) > 0.85 * 64 / 0.1 * 60


def test_a_burst_that_an_overloaded_server_refuses_is_no_outage() -> None:
    congestion = Congestion()
    for _ in range(20):
        congestion.succeeded(64, 0.1)
    for number in range(44):
        congestion.failed(str(number), 44 - number, 0.0, 0.1)  # sent with those that succeeded
    assert not congestion.outage
    assert 1 <= congestion.limit <= 32


def test_an_overloaded_server_is_given_what_it_bears() -> None:
    """It bears 20 at once and refuses the rest."""
    chance = random.Random(5)
    model = Model(lambda _, in_flight: in_flight < 20, latency=lambda: chance.uniform(0.05, 0.15))
    model.run(60.0)
    share = model.failed_between(20, 60) / model.sent_between(20, 60)
    assert share < 0.2
    good = model.sent_between(20, 60) - model.failed_between(20, 60)
    assert good > 0.6 * 20 / 0.1 * 40


def test_it_never_stands_still_and_never_passes_the_limit() -> None:
    chance = random.Random(11)
    for _ in range(20):
        share = chance.random()
        model = Model(lambda *_, share=share: chance.random() >= share, latency=lambda: chance.expovariate(10))
        model.run(30.0)
        assert model.sent_between(25, 30) >= 2
        assert model.congestion.limit >= 1


def test_trouble_is_forgotten_in_the_end() -> None:
    model = Model(lambda now, _: not 1.0 <= now < 2.0, concurrency=4)
    model.run(60.0)
    assert model.congestion.limit == inf
    assert model.congestion.room(1_000, 60.0) == 0.0
