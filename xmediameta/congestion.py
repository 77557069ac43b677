"""How many requests of bulk may be in flight while the server is in trouble.

Additive increase, multiplicative decrease, for the whole client: a failure that may be tried again halves the number
in flight, at most once in a while, and successes bring it back (one more for each success below half of what there was,
then one more per round). Without trouble there is no bound here; the run's concurrency is one.

An outage is a row of failures of many different media without one success. While it lasts, single requests probe the
server about once a second, and their failures do not count against the updates that made them.
"""

from __future__ import annotations

from math import inf
from typing import Final

_HOLD: Final = 0.25  # one burst of failures is one sign of trouble
_OUTAGE_FROM: Final = 10
_PROBE_FIRST: Final = 0.25
_PROBE_LONGEST: Final = 1.0


class Congestion:
    """The state of the whole client; times are of one monotonic clock."""

    __slots__ = ("_failing", "_limit", "_next_probe", "_probe_wait", "_since", "_slow_until", "_threshold")

    def __init__(self) -> None:
        self._limit = inf
        self._threshold = inf
        self._slow_until = -inf  # no second decrease before this
        self._failing: set[str] = set()
        self._since: float | None = None  # of the first failure after the last success
        self._next_probe = -inf
        self._probe_wait = _PROBE_FIRST

    def room(self, in_flight: int, now: float) -> float:
        """0.0 where one more request may go; else how many seconds until it is worth asking again (or inf)."""
        if self._limit == inf:
            return 0.0
        if in_flight >= self._limit:
            return inf
        if self.outage and now < self._next_probe:
            return self._next_probe - now
        return 0.0

    def sent(self, now: float) -> None:
        """A request of bulk leaves."""
        if self.outage:
            self._next_probe = now + self._probe_wait
            self._probe_wait = min(_PROBE_LONGEST, 2 * self._probe_wait)

    def failed(self, media_id: str, in_flight: int, now: float) -> None:
        """A request failed in a way that may be tried again.

        Args:
            in_flight: how many were in flight, this one included.
        """
        if self._since is None:
            self._since = now
        if len(self._failing) < _OUTAGE_FROM:
            self._failing.add(media_id)
        if self.outage:
            self._limit = 1.0
        elif now >= self._slow_until:
            self._threshold = max(1.0, min(self._limit, in_flight) / 2)
            self._limit = self._threshold
            self._slow_until = now + _HOLD

    def succeeded(self, in_flight: int) -> None:
        """A request got a usable answer.

        Args:
            in_flight: how many were in flight, this one included.
        """
        if self._since is None and self._limit == inf:
            return
        self._failing.clear()
        self._since = None
        self._probe_wait = _PROBE_FIRST
        if self._limit == inf:
            return
        self._limit += 1.0 if self._limit < self._threshold else 1.0 / self._limit
        if self._limit > 4 * max(in_flight, self._threshold, 8.0):
            self._limit = self._threshold = inf

    @property
    def outage(self) -> bool:
        """Whether many different media have failed in a row without one success."""
        return len(self._failing) >= _OUTAGE_FROM

    def outage_seconds(self, now: float) -> float:
        """How long the present outage lasts."""
        return now - self._since if self.outage and self._since is not None else 0.0

    @property
    def limit(self) -> float:
        """How many may be in flight; inf without trouble."""
        return self._limit

    def __repr__(self) -> str:
        return f"<Congestion limit={self._limit:g}{' outage' if self.outage else ''}>"
