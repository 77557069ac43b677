"""Counts over time in flat memory, and intervals that read well on an axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from msgspec import Struct

_FINEST: Final = 0.05
_MOST_BINS: Final = 4_096
_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0
_DAY: Final = 86_400.0
_NICE: Final = (
    0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE,
    30 * _MINUTE, _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY,
)  # fmt: skip


class Bins:
    """How much of each kind happened when, in at most `most` bins; where there would be more, neighbours are joined.

    Args:
        kinds: how many counters each bin has.

    Attributes:
        width: of a bin, in seconds.
        extent: the first and the last time, in Unix seconds.
    """

    def __init__(self, kinds: int, *, most: int = _MOST_BINS) -> None:
        self.width = _FINEST
        self._kinds = kinds
        self._most = most
        self._bins: dict[int, list[int]] = {}
        self._first = self._last = 0
        self.extent = (math.inf, -math.inf)

    def add(self, at: float, kind: int, number: int = 1) -> None:
        """Count something.

        Args:
            at: Unix seconds.
        """
        self.extent = min(self.extent[0], at), max(self.extent[1], at)
        index = int(at // self.width)
        if not self._bins:
            self._first = self._last = index
        first, last = min(self._first, index), max(self._last, index)
        while last - first >= self._most:
            self._join()
            index, first, last = index // 2, first // 2, last // 2
        self._first, self._last = first, last
        if index not in self._bins:
            self._bins[index] = [0] * self._kinds
        self._bins[index][kind] += number

    def __bool__(self) -> bool:
        return bool(self._bins)

    def __iter__(self) -> Iterator[tuple[float, list[int]]]:
        """(when it begins, counters) of every bin that is not empty, in order."""
        for index in sorted(self._bins):
            yield index * self.width, self._bins[index]

    @property
    def span(self) -> tuple[float, float]:
        """Where the first bin begins and the last one ends, in Unix seconds."""
        return self._first * self.width, (self._last + 1) * self.width

    def _join(self) -> None:
        self.width *= 2
        joined: dict[int, list[int]] = {}
        for index, counters in self._bins.items():
            into = joined.setdefault(index // 2, [0] * self._kinds)
            for kind, number in enumerate(counters):
                into[kind] += number
        self._bins = joined
        self._first, self._last = self._first // 2, self._last // 2


class Intervals(Struct, frozen=True):
    """Counters by interval, empty ones included, for a chart.

    Attributes:
        begin: of the first interval, in Unix seconds.
        width: of each, in seconds.
        counters: one list for each interval.
    """

    begin: float
    width: float
    counters: list[list[int]]

    @property
    def end(self) -> float:
        """Of the last interval, in Unix seconds."""
        return self.begin + self.width * len(self.counters)


def intervals(bins: Bins, kinds: int, most: int, *, also: tuple[float, float] | None = None) -> Intervals:
    """The bins in at most `most` intervals of a length that reads well.

    Args:
        also: from when to when the intervals are to reach at the least (Unix seconds).
    """
    begin, end = bins.span
    if also is not None:
        begin, end = min(begin, also[0]), max(end, also[1])
    width = nice_width(end - begin, most - 1, bins.width)
    first = begin // width
    number = int((end - bins.width / 2) // width - first) + 1
    counters = [[0] * kinds for _ in range(number)]
    for at, found in bins:
        # The middle of a bin decides where it belongs: bins and intervals need not begin together.
        into = counters[min(max(int((at + bins.width / 2) // width - first), 0), number - 1)]
        for kind, value in enumerate(found):
            into[kind] += value
    return Intervals(first * width, width, counters)


def nice_width(seconds: float, most: int, least: float = 0.0) -> float:
    """The shortest length that reads well of which `most` cover these seconds."""
    for width in _NICE:
        if width >= least and width * most >= seconds:
            return width
    weeks = 7 * _DAY
    return weeks * max(1.0, -(-seconds // (weeks * most)))


def unix(text: str | None) -> float | None:
    """A time of the journal in Unix seconds; None where there is none."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
