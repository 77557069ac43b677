"""How the starts of one account are spread within its windows.

aiolimiter smooths them; it cannot guard a window, since a leaky bucket of 500 per 900 s lets 999 through in 900 s. The
even pace changes with what is left, and a limiter that is replaced forgets the last start, so that one is arithmetic.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from math import inf
from typing import Final, Literal

from aiolimiter import AsyncLimiter

from .permits import WindowStatus

Smoothing = Literal["burst", "even"] | float
Pace = Smoothing | None

_BURST: Final = 250.0
# The bucket of the burst pace holds a tenth of a second, so that a start is smooth from the first request on.
_BUCKET: Final = 0.1
# A timer that fires just as the bucket has leaked enough may find it a rounding error too full.
_HAIR: Final = 1e-6


class _AtOnce:
    """An await that does not wait, of which one is enough: a coroutine would be made for each request."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


AT_ONCE: Final = _AtOnce()


class Pacer:
    """Says when the next request may start.

    Args:
        pace: `"burst"` (250 starts a second), `"even"` (spread over what is left of the windows), or starts a second.
        windows: tells how the windows stand.
    """

    __slots__ = ("_even", "_granted", "_last", "_limiter", "_spacing", "_windows")

    def __init__(self, pace: Smoothing, windows: Callable[[float], Iterable[WindowStatus]]) -> None:
        self._windows = windows
        self._even = pace == "even"
        self._last = -inf
        self._granted = 0  # starts that were allowed and have not begun
        self._limiter: AsyncLimiter | None = None
        self._spacing = 0.0
        rate = _BURST if pace == "burst" else pace
        if not isinstance(rate, str):
            full = rate * _BUCKET
            self._limiter = AsyncLimiter(full, _BUCKET) if full >= 1 else AsyncLimiter(1, 1 / rate)
            self._spacing = 1 / rate + _HAIR

    def wait_until(self, now: float) -> float | None:
        """When to ask again, or None where one more may start now."""
        if self._even:
            at = self._last + self._even_spacing(now)
            return at if at > now else None
        if self._limiter is None or self._limiter.has_capacity(self._granted + 1):
            return None
        return now + self._spacing

    def grant(self, now: float) -> None:
        """One more start is allowed; `start` or `forgo` follows."""
        self._granted += 1
        self._last = now

    def forgo(self) -> None:
        """What was granted does not start."""
        self._granted -= 1

    def start(self) -> Awaitable[None]:
        """Count a start that was granted, at once; to be awaited before the request is sent."""
        self._granted -= 1
        return AT_ONCE if self._limiter is None else self._limiter.acquire()

    def _even_spacing(self, now: float) -> float:
        """Seconds between two starts, so that what is left of each window lasts until it opens again."""
        return max((w.opens_in / w.remaining for w in self._windows(now) if w.opens_in and w.remaining), default=0.0)
