"""What time it is at the server, told without trusting the local wall clock."""

from __future__ import annotations

from typing import Final

_SPAN: Final = 900.0


class ServerClock:
    """A lower bound of the server's clock on the local monotonic one: `server(now) >= now + offset`.

    `Date` is cut to the second and old by the time it arrives, so each answer gives a bound, and the largest of the
    last quarter to half hour is the sharpest. Older ones are dropped, since two clocks drift apart.

    Args:
        fallback: what is taken for the offset until a `Date` was seen: the local wall clock less the monotonic one.
    """

    __slots__ = ("_best", "_before", "_fallback", "_since")

    def __init__(self, fallback: float = 0.0) -> None:
        self._fallback = fallback
        self._best: float | None = None
        self._before: float | None = None
        self._since = 0.0

    @property
    def offset(self) -> float:
        """Seconds to add to the monotonic clock for a time that the server's clock has surely reached."""
        if self._best is None:
            return self._fallback
        return self._best if self._before is None or self._best > self._before else self._before

    def observe(self, date: float, now: float) -> None:
        """Take in the `Date` (Unix seconds) of an answer received at `now`."""
        bound = date - now
        if self._best is None:
            self._best, self._since = bound, now
        elif now - self._since > _SPAN:
            self._before, self._best, self._since = self._best, bound, now
        elif bound > self._best:
            self._best = bound

    def __repr__(self) -> str:
        return f"<ServerClock offset={self.offset:.3f}{'' if self._best is not None else ' (local clock)'}>"
