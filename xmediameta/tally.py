"""Counts for where the server tells nothing: neither when a window ends, nor whether it counted a request."""

from __future__ import annotations

from typing import Final

# A burst is one bin and falls out as a whole; a trickle falls out in steps of a sixteenth of the span.
_BINS: Final = 16
_MOST_ENTRIES: Final = 16


class Tally:
    """How many requests ended within the last `span` seconds.

    As long as no stretch of `span` seconds has more than the limit, no fixed window of that length has, wherever its
    edges lie. Requests are put in bins that fall out as late as their last request would, so the count is never too
    low, and small whatever the limit.
    """

    __slots__ = ("_bins", "_grain", "count", "span")

    def __init__(self, span: float) -> None:
        self.span = span
        self.count = 0
        self._grain = span / _BINS
        self._bins: list[tuple[float, float, int]] = []  # (first, last, how many)

    def add(self, now: float, count: int = 1) -> None:
        """Count requests that ended now."""
        self.count += count
        bins = self._bins
        if bins and now - bins[-1][0] < self._grain:
            first, _, before = bins.pop()
            bins.append((first, now, before + count))
        else:
            bins.append((now, now, count))

    def expire(self, now: float) -> int:
        """Let fall out what is older than the span; returns how many that were."""
        gone = 0
        bins = self._bins
        while bins and now >= bins[0][1] + self.span:
            gone += bins.pop(0)[2]
        self.count -= gone
        return gone

    def clear(self) -> None:
        """Forget all."""
        self.count = 0
        self._bins.clear()

    @property
    def next_at(self) -> float | None:
        """When the oldest fall out; None if there are none."""
        return self._bins[0][1] + self.span if self._bins else None

    @property
    def empty_at(self) -> float | None:
        """When the newest have fallen out; None if there are none."""
        return self._bins[-1][1] + self.span if self._bins else None

    def __repr__(self) -> str:
        return f"<Tally {self.count} in {self.span:g} s>"


class Unsure:
    """How many requests ended without headers, so that the server may have counted them or not.

    An answer to a request that was sent after their end settles them: they are in what it tells, or never will be.
    """

    __slots__ = ("_entries", "count")

    def __init__(self) -> None:
        self.count = 0
        self._entries: list[tuple[int, int]] = []  # (serial of the last request sent before they ended, how many)

    def add(self, serial: int, count: int = 1) -> None:
        """Count requests that ended now; beyond sixteen entries the last takes them in, and is settled a bit later."""
        self.count += count
        entries = self._entries
        if entries and (entries[-1][0] == serial or len(entries) >= _MOST_ENTRIES):
            count += entries.pop()[1]
        entries.append((serial, count))

    def settle(self, mark: int) -> int:
        """Forget what had ended before the request `mark` was sent; returns how many that were."""
        count, entries = 0, self._entries
        while entries and entries[0][0] < mark:
            count += entries.pop(0)[1]
        self.count -= count
        return count

    def __repr__(self) -> str:
        return f"<Unsure {self.count}>"
