"""What the journal noted of a run beside its rows (`xmediameta.journal.events`): sittings, windows, waits and stops.

What cannot be read is passed over. A wait is noted when it begins, with the time at which its window opens; it ends
there, or with the sitting, whichever is first. The same wait may be noted again when a later answer has moved that
time, so those of one window that touch are one. A window is noted when it has ended, and by each sitting that ends
within it. When it was opened is reckoned from its length on X: not before the window before it had ended, nor before
the run was begun.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Final

import msgspec
from msgspec import Struct

from xmediameta.journal import EventRecord
from xmediameta.memory import KeptWindow
from xmediameta.problems import as_object
from xmediameta.text import printable
from xmediameta.windows import NOMINAL

from .quota import Wait, WindowUse
from .timeline import unix

_EARLY: Final = 1.0  # seconds by which what is kept is on the safe side (`windows`)
_SAME: Final = 2.0  # seconds by which two tellings of one end may differ


class Sitting(Struct, frozen=True, kw_only=True):
    """A process worked on the run.

    Attributes:
        began, ended: Unix seconds; `ended` is None where nothing was noted, since it goes on or was killed.
        who: the process, in words.
        requests: that it sent, or None where that is not known yet.
        stopped: why it stopped early, or an empty text.
    """

    began: float
    ended: float | None
    who: str
    requests: int | None
    stopped: str


class Stop(Struct, frozen=True, kw_only=True):
    """An account was out, or (None) the run stopped.

    Attributes:
        at: Unix seconds.
        why, action: what happened, and what a person can do about it.
    """

    at: float
    account: str | None
    why: str
    action: str


class Noted(Struct, frozen=True, kw_only=True):
    """What the journal noted of a run."""

    sittings: tuple[Sitting, ...] = ()
    windows: tuple[WindowUse, ...] = ()
    waits: tuple[Wait, ...] = ()
    stops: tuple[Stop, ...] = ()


def read_events(events: Iterable[EventRecord], *, until: float = inf, requests: int | None = None) -> Noted:
    """What the events of a run say.

    Args:
        events: the oldest first.
        until: Unix seconds; waits that go on are counted up to then.
        requests: of the run by then.
    """
    reading = _Reading()
    for event in events:
        at, told = unix(event.at), as_object(_json(event.data))
        if at is not None:
            reading.take(event.kind, at, None if event.account is None else printable(event.account, 200), told)
    reading.close(until, None, requests)
    return Noted(
        sittings=tuple(reading.sittings),
        windows=tuple(_whole_windows(reading.windows, reading.first)),
        waits=tuple(_joined(reading.waits)),
        stops=tuple(reading.stops),
    )


def with_open_windows(noted: Noted, kept: Mapping[str, Iterable[KeptWindow]], since: float) -> Noted:
    """What was noted, and the windows of which a sitting that goes on, or was killed, has noted nothing.

    Args:
        kept: the windows of accounts as they stood last; all that is used of them counts as sent.
        since: when the run was worked on last (Unix seconds); what was kept before is of no account.
    """
    known = {(use.account, use.name): use.closed for use in noted.windows}  # the last one of each
    found = [
        WindowUse(
            account=account,
            name=one.name,
            opened=max(one.opens_at - _EARLY - NOMINAL[one.name], since),
            closed=one.opens_at - _EARLY,
            limit=one.limit,
            sent=one.limit - one.remaining,
        )
        for account, windows in kept.items()
        for one in windows
        if one.told and one.limit > one.remaining and one.kept_at >= since and one.opens_at - _EARLY > since
        if one.opens_at - _EARLY > known.get((account, one.name), -inf) + _SAME
    ]
    return msgspec.structs.replace(noted, windows=(*noted.windows, *found))


class _Reading:
    def __init__(self) -> None:
        self.sittings: list[Sitting] = []
        self.windows: list[WindowUse] = []
        self.waits: list[Wait] = []
        self.stops: list[Stop] = []
        self.first = -inf  # when the first sitting that is known began
        self._began: float | None = None
        self._who = self._stopped = ""
        self._requests = 0  # of the run when the present sitting began
        self._open: list[Wait] = []  # of the present sitting

    def take(self, kind: str, at: float, account: str | None, told: dict[str, Any]) -> None:
        match kind:
            case "begun":
                requests = _whole(told.get("requests"))
                self.close(at, None, requests)
                self._began, self._requests = at, requests or 0
                self.first = at if self.first == -inf else self.first
                host = printable(_text(told.get("host")) or "an unknown machine", 100)
                self._who = f"process {_whole(told.get('pid'))} on {host}"
            case "ended":
                self.close(at, at, _whole(told.get("requests")))
            case "stop":
                self._take_stop(at, account, told)
            case "wait":
                ended = unix(_text(told.get("until")))
                if ended is not None and ended > at:
                    name = printable(_text(told.get("window")), 40)
                    self._open.append(Wait(account=account or "", began=at, ended=ended, window=name))
            case "window":
                self._take_window(account or "", told)
            case _:
                pass

    def close(self, until: float, ended: float | None, requests: int | None) -> None:
        """The present sitting is over, by then at the latest."""
        self.waits += [
            msgspec.structs.replace(wait, ended=min(wait.ended, until)) for wait in self._open if wait.began <= until
        ]
        self._open = []
        if self._began is not None:
            sent = None if requests is None else max(requests - self._requests, 0)
            self.sittings.append(
                Sitting(began=self._began, ended=ended, who=self._who, requests=sent, stopped=self._stopped)
            )
        self._began, self._stopped = None, ""

    def _take_stop(self, at: float, account: str | None, told: dict[str, Any]) -> None:
        reason = printable(_text(told.get("reason")), 100)
        why = printable(_text(told.get("message")), 500) or reason
        self.stops.append(Stop(at=at, account=account, why=why, action=printable(_text(told.get("action")), 500)))
        if account is None:
            self._stopped = why

    def _take_window(self, account: str, told: dict[str, Any]) -> None:
        opened, closed = unix(_text(told.get("opened"))), unix(_text(told.get("closed")))
        sent, limit = _whole(told.get("sent")), _whole(told.get("limit"))
        if opened is not None and closed is not None and sent is not None and closed > opened:
            self.windows.append(
                WindowUse(
                    account=account,
                    name=printable(_text(told.get("window")), 40),
                    opened=opened,
                    closed=closed,
                    limit=limit,
                    sent=sent,
                    others=max((_whole(told.get("used")) or 0) - sent, 0),
                )
            )


def _joined(waits: Iterable[Wait]) -> list[Wait]:
    groups: dict[tuple[str, str], list[Wait]] = defaultdict(list)
    for wait in sorted(waits, key=lambda wait: wait.began):
        found = groups[wait.account, wait.window]
        if found and wait.began <= found[-1].ended:
            found[-1] = msgspec.structs.replace(found[-1], ended=max(found[-1].ended, wait.ended))
        else:
            found.append(wait)
    return sorted((wait for found in groups.values() for wait in found), key=lambda wait: (wait.began, wait.account))


def _whole_windows(windows: Iterable[WindowUse], first: float) -> list[WindowUse]:
    found: dict[tuple[str, str], list[WindowUse]] = defaultdict(list)
    for use in sorted(windows, key=lambda use: use.closed):
        before = found[use.account, use.name]
        if before and use.closed - before[-1].closed <= _SAME:
            used = max(one.sent + one.others for one in (before[-1], use))
            sent = before[-1].sent + use.sent
            before[-1] = msgspec.structs.replace(before[-1], sent=sent, others=max(used - sent, 0))
            continue
        opened = max(use.opened, before[-1].closed if before else first)
        before.append(use if opened >= use.closed else msgspec.structs.replace(use, opened=opened))
    return [use for uses in found.values() for use in uses]


def _json(text: str | None) -> Any:
    try:
        return msgspec.json.decode(text or "null")
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
