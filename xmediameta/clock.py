"""What time it is at the server, told without trusting the local wall clock; and in which order things were sent."""

from __future__ import annotations

from math import inf
from typing import Final

_SPAN: Final = 900.0


class ServerClock:
    """A lower bound of the server's clock on the local monotonic one: `server(now) >= now + offset`.

    `Date` is cut to the second and old by the time it arrives, so each answer gives a bound, and the largest of the
    last quarter to half hour is the sharpest. Older ones are dropped, since two clocks drift apart.

    Args:
        fallback: what is taken for the offset until a `Date` was seen: the local wall clock less the monotonic one.

    Attributes:
        offset: seconds to add to the monotonic clock for a time that the server's clock has surely reached.
        serial: how many requests were sent to this server; tells what was sent before what, even at one time.
    """

    __slots__ = ("_before", "_best", "_turn", "offset", "serial")

    def __init__(self, fallback: float = 0.0) -> None:
        self.offset = fallback
        self.serial = 0
        self._best = -inf
        self._before = -inf
        self._turn = -inf

    def observe(self, date: float, now: float) -> None:
        """Take in the `Date` (Unix seconds) of an answer received at `now`."""
        bound = date - now
        if now >= self._turn:
            self._before = self._best if now < self._turn + _SPAN else -inf
            self._best = bound
            self._turn = now + _SPAN
            self.offset = max(bound, self._before)
        elif bound > self._best:
            self._best = bound
            self.offset = max(bound, self._before)

    def __repr__(self) -> str:
        return f"<ServerClock offset={self.offset:.3f}{'' if self._best > -inf else ' (local clock)'}>"
