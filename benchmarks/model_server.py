"""A strict fixed-window server in virtual time, which shares no code with the client's arithmetic.

It serves the simulations here and the property tests. Times are seconds of one true clock, on which the client's
monotonic clock runs; the server's wall clock is `skew` ahead of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, floor
from typing import Literal

from xmediameta.limits import RateLimit, WindowName

Rounding = Literal["down", "up", "nearest"]


@dataclass
class Period:
    """One window of one user or app."""

    start: float
    end: float
    count: int = 0
    by_others: int = 0
    refused: int = 0


@dataclass
class Quota:
    """The windows of one user or app.

    Attributes:
        phase: where windows begin on the clock (modulo `span`); None: with the first request after the last has ended.
    """

    limit: int
    span: float
    phase: float | None = None
    periods: list[Period] = field(default_factory=list)

    def at(self, now: float) -> Period:
        if not self.periods or now >= self.periods[-1].end:
            start = now
            if self.phase is not None:
                start = self.phase + floor((now - self.phase) / self.span) * self.span
            self.periods.append(Period(start, start + self.span))
        return self.periods[-1]

    def remaining(self, now: float) -> int:
        if not self.periods or now >= self.periods[-1].end:
            return self.limit
        return self.limit - self.periods[-1].count


@dataclass
class Answer:
    """What the server says; `date` and `told` are as they stand in the headers."""

    status: int
    told: dict[WindowName, RateLimit]
    periods: dict[WindowName, Period]
    spent: tuple[WindowName, ...] = ()


class ModelServer:
    """Counts requests in fixed windows and refuses what exceeds them.

    Args:
        skew: its wall clock less the true clock.
        rounding: of resets to whole seconds.
        counts_faults: whether its own 503s are counted.
    """

    def __init__(self, *, skew: float = 0.0, rounding: Rounding = "down", counts_faults: bool = True) -> None:
        self.skew = skew
        self.rounding: Rounding = rounding
        self.counts_faults = counts_faults
        self.quotas: dict[tuple[WindowName, str], Quota] = {}
        self.refused = 0
        self.served = 0

    def date(self, now: float) -> int:
        return floor(now + self.skew)

    def reset(self, end: float) -> int:
        unix = end + self.skew
        return {"down": floor(unix), "up": ceil(unix), "nearest": round(unix)}[self.rounding]

    def arrive(self, who: dict[WindowName, str], now: float, *, fault: bool = False) -> Answer:
        """Count one request, or refuse it.

        Args:
            who: for each window that binds it, whose it is.
            fault: whether it is answered with a 503, without headers.
        """
        quotas = {name: self.quotas[name, owner] for name, owner in who.items()}
        periods = {name: quota.at(now) for name, quota in quotas.items()}
        spent = tuple(name for name, period in periods.items() if period.count >= quotas[name].limit)
        if spent:
            self.refused += 1
            for name in spent:
                periods[name].refused += 1
        elif not fault or self.counts_faults:
            for period in periods.values():
                period.count += 1
        if fault and not spent:
            return Answer(503, {}, periods)
        self.served += not spent
        told = {
            name: RateLimit(quotas[name].limit, quotas[name].limit - period.count, self.reset(period.end))
            for name, period in periods.items()
        }
        return Answer(429 if spent else 200, told, periods, spent)

    def spend(self, who: dict[WindowName, str], now: float, count: int = 1) -> None:
        """Somebody else sends `count` requests."""
        for _ in range(count):
            answer = self.arrive(who, now)
            if answer.status == 200:
                self.served -= 1
                for period in answer.periods.values():
                    period.by_others += 1
            else:
                self.refused -= 1
                for name in answer.spent:
                    answer.periods[name].refused -= 1
