"""How many requests of bulk may be in flight while the server is in trouble.

Additive increase, multiplicative decrease, for the whole client. Where more than one answer in five of late was a
failure that may be tried again, the number in flight is halved; requests that had left before do not halve it once
more. Successes bring it back: one more for each as far as half of what there was (so it doubles with each round trip),
then one more per round trip. A few scattered failures slow nobody down: they are the retry quota's affair, which bears
one in six. (Halving for each failure would cost seven eighths of the throughput at one in twenty.) Without trouble
there is no bound here; the run's concurrency is one.

An outage is a row of failures of many different media without one success; what had left before the last success does
not count, since a server that refuses what is too much fails a burst in a row as well. While it lasts, single requests
probe the server about once a second, and their failures do not count against the updates that made them. An outage says
nothing of how much the server bears once it is back, so the number doubles up to what it was before.
"""

from __future__ import annotations

from math import inf
from typing import Final

_MEMORY: Final = 1 / 48  # the weight of one answer in the share of failures
_TOO_MANY: Final = 1 / 5
_OUTAGE_FROM: Final = 10
_PROBE_FIRST: Final = 0.25
_PROBE_LONGEST: Final = 1.0


class Congestion:
    """The state of the whole client; times are of one monotonic clock.

    Attributes:
        good_at: when the last usable answer came.
        limit: how many may be in flight; inf without trouble.
    """

    __slots__ = (
        "_before", "_decreased_at", "_failing", "_next_probe", "_probe_wait", "_row", "_share", "_since", "_threshold",
        "good_at", "limit",
    )  # fmt: skip

    def __init__(self) -> None:
        self.limit = inf
        self._threshold = inf
        self._share = 0.0
        self._row = False  # whether the last answer was a failure
        self._before = 0  # in flight at the first failure of the row
        self._decreased_at = -inf
        self.good_at = -inf
        self._failing: set[str] = set()
        self._since = 0.0  # when the outage began
        self._next_probe = -inf
        self._probe_wait = _PROBE_FIRST

    def room(self, in_flight: int, now: float) -> float:
        """0.0 where one more request may go; else how many seconds until it is worth asking again (or inf)."""
        if self.limit == inf:
            return 0.0
        if self.outage:
            # Probes that hang must not keep the next one back.
            return max(0.0, self._next_probe - now) if in_flight < max(self._before, 1) else inf
        return inf if in_flight >= self.limit else 0.0

    def sent(self, now: float) -> None:
        """A request of bulk leaves."""
        if self.outage:
            self._next_probe = now + self._probe_wait
            self._probe_wait = min(_PROBE_LONGEST, 2 * self._probe_wait)

    def failed(self, media_id: str, in_flight: int, sent_at: float, now: float) -> None:
        """A request failed in a way that may be tried again.

        Args:
            in_flight: how many were in flight, this one included.
            sent_at: when it left.
        """
        if not self._row:
            self._row, self._before = True, in_flight
        self._share += (1.0 - self._share) * _MEMORY
        if self.outage:
            if sent_at >= self._since:  # a probe: it is not that there were too many at once
                self._threshold = max(float(self._before), 1.0)
            return
        if sent_at >= self.good_at:
            self._failing.add(media_id)
        if self.outage or (self._share > _TOO_MANY and sent_at >= self._decreased_at):
            self._threshold = self.limit = max(1.0, min(self.limit, in_flight) / 2)
            self._decreased_at = now
        if self.outage:
            self._since, self.limit = now, 1.0
            self._next_probe, self._probe_wait = now + _PROBE_FIRST, 2 * _PROBE_FIRST

    def succeeded(self, in_flight: int, now: float) -> None:
        """A request got a usable answer.

        Args:
            in_flight: how many were in flight, this one included.
        """
        self.good_at = now
        if self.calm:
            return
        self._row = False
        if self.outage:
            # Probes that hang still are in flight, and are not to fill the room that this success makes.
            self.limit, self._share, self._decreased_at = float(in_flight), 0.0, now
        self._failing.clear()
        self._share -= self._share * _MEMORY
        if self.limit == inf:
            if self._share < _MEMORY / 2:
                self._share = 0.0  # the way of the usual success is short again
            return
        self.limit += 1.0 if self.limit < self._threshold else 1.0 / self.limit
        if self.limit > 4 * max(in_flight, self._threshold, 8.0):
            self.limit = self._threshold = inf

    @property
    def calm(self) -> bool:
        """Whether nothing has failed of late: a success then changes nothing but `good_at`."""
        return not self._share and self.limit == inf

    @property
    def outage(self) -> bool:
        """Whether many different media have failed in a row without one success."""
        return len(self._failing) >= _OUTAGE_FROM

    def outage_seconds(self, now: float) -> float:
        """How long the present outage lasts."""
        return now - self._since if self.outage else 0.0

    def __repr__(self) -> str:
        return f"<Congestion limit={self.limit:g}{' outage' if self.outage else ''}>"
