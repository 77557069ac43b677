"""Windows, waits and pauses: as the journal recorded them, or as far as they show in when rows ended.

Theory. What was sent in which window is known to the client while it sends, and to the journal only if it was told: an
event `window` for each window that has ended, an event `wait` for each wait. Without these, requests are counted in
stretches of 15 minutes (FACTS: 500 per 15 minutes per user), each beginning with the first row that ended after the
stretch before it: close to the truth while a run goes on, and labelled as counted. For a server on this machine not
even that is done, since its windows may have any length; nor for runs of several days, whose times are kept too
coarsely.

A pause is a time in which no row of the run ended at all; it shows waits of all accounts, and the hours in which nobody
worked on the run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from xmediameta.journal import EventRecord
from xmediameta.limits import WindowName
from xmediameta.problems import as_object
from xmediameta.text import printable

from .timeline import Bins, unix

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


def recorded(events: Iterable[EventRecord]) -> tuple[list[WindowUse], list[Wait]]:
    """Windows and waits from the journal's events; what cannot be read is passed over.

    An event `window` has the data `{"window", "opened", "closed", "limit", "sent", "others"}`, an event `wait` has
    `{"window", "until"}`; times are those of the journal. `at` is when the wait began.
    """
    windows: list[WindowUse] = []
    waits: list[Wait] = []
    for event in events:
        data = as_object(_json(event.data))
        account = printable(event.account or "", 200)
        name = printable(_text(data.get("window")), 40)
        if event.kind == "window":
            opened, closed = unix(_text(data.get("opened"))), unix(_text(data.get("closed")))
            sent = _whole(data.get("sent"))
            limit, others = _whole(data.get("limit")), _whole(data.get("others")) or 0
            if opened is not None and closed is not None and sent is not None and closed > opened:
                use = WindowUse(
                    account=account, name=name, opened=opened, closed=closed, limit=limit, sent=sent, others=others
                )
                windows.append(use)
        elif event.kind == "wait":
            began, ended = unix(event.at), unix(_text(data.get("until")))
            if began is not None and ended is not None and ended > began:
                waits.append(Wait(account=account, began=began, ended=ended, window=name))
    return windows, waits


def _json(text: str | None) -> Any:
    try:
        return msgspec.json.decode(text or "null")
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
