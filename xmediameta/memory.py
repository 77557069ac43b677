"""What is kept of an account's windows from one process to the next, so that a restart does not forget what was spent.

Times are kept by the local wall clock, which only has to run on in between: the first answer sets everything right.
What comes back is taken in as if the server had told it, or, where the server tells nothing, as requests that were sent
when it was kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil

import msgspec
from msgspec import Struct

from .clock import ServerClock
from .limits import RateLimit, WindowName
from .permits import Ticket
from .windows import NOMINAL, Window


class KeptWindow(Struct, frozen=True, gc=False, kw_only=True):
    """One window as it stood.

    Attributes:
        limit, remaining: requests.
        opens_at: when it has surely ended (Unix seconds of the local clock).
        kept_at: when this was noted.
        told: whether the server tells when the window ends.
        closed: whether a 429 closed it.
    """

    name: WindowName
    limit: int
    remaining: int
    opens_at: float
    kept_at: float
    told: bool
    closed: bool


_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(list[KeptWindow]).decode


def owner(account: str | None) -> str:
    """Under which name an account's windows are kept; that of an app is `app:NAME`."""
    return "account" if account is None else f"account:{account}"


def remember(windows: Iterable[Window], now: float, wall: float) -> str:
    """The windows as JSON.

    Args:
        now: the monotonic clock.
        wall: the local wall clock, Unix seconds.
    """
    kept: list[KeptWindow] = []
    for window in windows:
        status = window.status(now)
        if status.limit is None or status.remaining is None or status.opens_in is None:
            continue
        kept.append(
            KeptWindow(
                name=status.name,
                limit=status.limit,
                remaining=status.remaining,
                opens_at=wall + status.opens_in,
                kept_at=wall,
                told=status.told,
                closed=status.refused,
            )
        )
    return _write(kept).decode()


def read_kept(text: str) -> list[KeptWindow]:
    """What `remember` kept; nothing where it is damaged."""
    try:
        return _read(text)
    except msgspec.MsgspecError:
        return []


def kept_of(kept: Mapping[str, str], account: str | None) -> list[KeptWindow]:
    """The windows of one account among what is kept, by owner."""
    return read_kept(kept.get(owner(account), "[]"))


def recall(
    windows: Iterable[Window], clock: ServerClock, kept: str | Iterable[KeptWindow], now: float, wall: float
) -> None:
    """Take in what `remember` kept, for windows about which nothing is known yet; what is damaged is passed over."""
    named = {window.name: window for window in (read_kept(kept) if isinstance(kept, str) else kept)}
    for window in windows:
        one = named.get(window.name)
        if one is not None and not window.taken and one.kept_at <= wall:
            _recall_one(window, clock, one, now, wall)


def _recall_one(window: Window, clock: ServerClock, kept: KeptWindow, now: float, wall: float) -> None:
    ahead = kept.opens_at - wall
    if 0 < ahead <= 2 * NOMINAL[window.name]:
        told = RateLimit(kept.limit, kept.remaining, ceil(now + ahead + clock.offset - 1.0))
        if kept.closed:
            window.refused(_ticket(window, clock, now), None, now, ahead)
        elif kept.told:
            window.answered(_ticket(window, clock, now), told, now, True)
    if not kept.told and not kept.closed:
        then = now - (wall - kept.kept_at)
        for _ in range(kept.limit - kept.remaining):
            window.lost(_ticket(window, clock, then), then)
    window.recalled()


def _ticket(window: Window, clock: ServerClock, at: float) -> Ticket:
    window.taken += 1
    clock.serial += 1
    return Ticket(clock.serial, at)
