"""The server's side of quota: strict fixed windows, with the time as an argument.

A window opens with its first request (or on the clock, when aligned) and admits `limit` requests until it has lasted
`length` seconds. A request that any of its windows refuses takes from none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Final, Literal

from multidict import istr

Rounding = Literal["floor", "ceil", "round"]
Family = Literal["user-15min", "user-24hour", "app-24hour"]

DAY: Final = 86_400.0
STEMS: Final[dict[Family, str]] = {
    "user-15min": "x-rate-limit-",
    "user-24hour": "x-user-limit-24hour-",
    "app-24hour": "x-app-limit-24hour-",
}
_NAMES: Final = {
    family: (istr(f"{stem}limit"), istr(f"{stem}remaining"), istr(f"{stem}reset")) for family, stem in STEMS.items()
}
ROUNDINGS: Final[dict[Rounding, Callable[[float], int]]] = {"floor": math.floor, "ceil": math.ceil, "round": round}


class FixedWindow:
    """At most `limit` requests in each `length` seconds."""

    __slots__ = ("aligned", "family", "length", "limit", "opened", "used")

    def __init__(self, family: Family, limit: int, length: float, *, aligned: bool = False) -> None:
        self.family: Family = family
        self.limit, self.length, self.aligned = limit, length, aligned
        self.opened: float | None = None
        self.used = 0

    def __repr__(self) -> str:
        return f"<FixedWindow {self.family} {self.used}/{self.limit} in {self.length:g} s>"

    def left(self, now: float) -> int:
        """How many requests the window would still admit."""
        return self.limit - self.used if self._open(now) else self.limit

    def take(self, now: float, number: int = 1) -> None:
        """Count requests; the caller has made sure that there is room."""
        if not self._open(now):
            self.opened = math.floor(now / self.length) * self.length if self.aligned else now
            self.used = 0
        self.used += number

    def standing(self, now: float) -> tuple[int, float]:
        """How many remain, and when the window ends; one that no request has opened would end `length` from now."""
        if self.opened is not None and now < self.opened + self.length:
            return self.limit - self.used, self.opened + self.length
        start = math.floor(now / self.length) * self.length if self.aligned else now
        return self.limit, start + self.length

    def _open(self, now: float) -> bool:
        return self.opened is not None and now < self.opened + self.length


def admit(windows: Sequence[FixedWindow], now: float) -> bool:
    """Count one request in every window, or in none when one of them is full."""
    for window in windows:
        if window.left(now) <= 0:
            return False
    for window in windows:
        window.take(now)
    return True


def spend(windows: Sequence[FixedWindow], now: float, number: int) -> int:
    """Count up to `number` requests of somebody else; returns how many there was room for."""
    room = min([number, *(max(0, window.left(now)) for window in windows)])
    for window in windows:
        if room:
            window.take(now, room)
    return room


def rate_headers(
    windows: Sequence[FixedWindow], now: float, rounding: Rounding, families: Collection[str]
) -> dict[str, str]:
    """The header families of the windows; only those named in `families`."""
    whole = ROUNDINGS[rounding]
    headers: dict[str, str] = {}
    for window in windows:
        if window.family in families:
            limit, remaining, reset = _NAMES[window.family]
            left, end = window.standing(now)
            headers[limit], headers[remaining], headers[reset] = str(window.limit), str(left), str(whole(end))
    return headers
