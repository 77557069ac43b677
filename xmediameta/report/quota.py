"""Windows, waits and pauses: as the journal recorded them, or as far as they show in when rows ended.

Theory. What was sent in which window is known to the client while it sends, and to the journal only if it was told: an
event `window` for each window that has ended, an event `wait` for each wait (`sittings` reads them). Without these,
requests are counted in stretches of 15 minutes (FACTS: 500 per 15 minutes per user), each beginning with the first row
that ended after the stretch before it: close to the truth while a run goes on, and labelled as counted. For a server on
this machine not even that is done, since its windows may have any length; nor for runs of several days, whose times
are kept too coarsely.

A pause is a time in which no row of the run ended at all; it shows waits of all accounts, and the hours in which nobody
worked on the run.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from xmediameta.limits import WindowName

from .timeline import Bins

LENGTHS: Final[dict[WindowName, float]] = {"user-15min": 900.0, "user-24hour": 86_400.0, "app-24hour": 86_400.0}
LIMIT_15_MIN: Final = 500
_COARSEST: Final = 30.0
_MOST_PAUSES: Final = 500


class WindowUse(Struct, frozen=True, gc=False, kw_only=True):
    """What was sent in one window.

    Attributes:
        account: whose it is: an account, or an app; may be empty.
        name: `user-15min`, `user-24hour` or `app-24hour`.
        opened, closed: Unix seconds.
        limit: requests that it allows, or None.
        sent: by this run.
        others: by others with the same token or app, as far as the headers told.
    """

    account: str
    name: str
    opened: float
    closed: float
    limit: int | None
    sent: int
    others: int = 0


class Wait(Struct, frozen=True, gc=False, kw_only=True):
    """An account waited for a window.

    Attributes:
        began, ended: Unix seconds.
        window: which one it waited for, or an empty text.
    """

    account: str
    began: float
    ended: float
    window: str = ""

    @property
    def seconds(self) -> float:
        """How long."""
        return self.ended - self.began


class Pause(Struct, frozen=True, gc=False):
    """No row ended from `began` to `ended` (Unix seconds)."""

    began: float
    ended: float


def derived(account: str, bins: Bins) -> list[WindowUse]:
    """Requests of an account in stretches of 15 minutes, counted when rows ended; none where that is too coarse."""
    length = LENGTHS["user-15min"]
    if bins.width > _COARSEST:
        return []
    found: list[list[float]] = []
    for at, (number,) in bins:
        # A bin's beginning may lie before what it counts, at either end of the stretch.
        if not found or at + 2 * bins.width >= found[-1][0] + length:
            found.append([at, 0])
        found[-1][1] += number
    return [
        WindowUse(
            account=account, name="user-15min", opened=at, closed=at + length, limit=LIMIT_15_MIN, sent=int(number)
        )
        for at, number in found
    ]


def pauses(bins: Bins) -> list[Pause]:
    """Times in which no row ended, of at least a second and a hundredth of the whole."""
    if not bins:
        return []
    begin, end = bins.span
    least = max(1.0, (end - begin) / 100, 2 * bins.width)
    found: list[Pause] = []
    before: float | None = None
    for at, _ in bins:
        if before is not None and at - before >= least:
            found.append(Pause(before, at))
        before = at + bins.width
    return found[:_MOST_PAUSES]
