"""The server's clock: the loop's, a caller's, or one that stands still until it is moved."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from xmediameta.errors import ConfigurationError


class ServerClock:
    """Unix seconds as the server sees them.

    Args:
        given: a clock, or a time at which to stand still. By default the time of day at the first look, carried on by
            the event loop's clock: it never jumps, and it follows a loop whose time is faked.
        ahead: seconds to add.
    """

    def __init__(self, given: Callable[[], float] | float | None, ahead: float) -> None:
        if not (given is None or callable(given) or math.isfinite(given)) or not math.isfinite(ahead):
            raise ConfigurationError("clock is a function or Unix seconds, clock_skew is seconds")
        self._given = given
        self._ahead = float(ahead)
        self._epoch: float | None = None

    def __call__(self) -> float:
        """The time."""
        given = self._given
        if given is None:
            now = asyncio.get_running_loop().time()
            if self._epoch is None:
                self._epoch = time.time() - now
            return self._epoch + now + self._ahead
        return (given() if callable(given) else given) + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the clock ahead."""
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ConfigurationError(f"a clock is advanced by seconds of at least 0, not by {seconds!r}")
        self._ahead += seconds
