"""A run in one pass over its rows: everything that the page shows, in flat memory however many rows there are."""

from __future__ import annotations

import heapq
from typing import Final

from msgspec import Struct

from xmediameta.journal import STATES, RunRecord, State, TaskRecord

from .problem import TROUBLED, ProblemGroup, Problems
from .quota import Pause, Wait, WindowUse, derived, pauses
from .sittings import Noted, Sitting, Stop
from .timeline import Bins, unix

SETTLED: Final[tuple[State, ...]] = ("applied", "failed", "expired")
FAILED_SHOWN: Final = 1_000
SLOWEST_SHOWN: Final = 20
_MOST_FOLLOWED: Final = 12
_FINE: Final = 8_192


class Slow(Struct, frozen=True, order=True):
    """A row that took many requests, or long."""

    seconds: float
    attempts: int
    neg_seq: int
    row: TaskRecord


class Story(Struct, frozen=True, kw_only=True):
    """What the page tells.

    Attributes:
        running: whether a process is working on it.
        counts: rows by state.
        accounts: rows by account and state.
        bins: rows that ended, over time; the counters are those of `SETTLED`.
        windows: as recorded, or derived where `windows_recorded` says no.
        waits, sittings, stops: as recorded.
        slowest: the rows that took the longest, with seconds where the journal knows them, or the most requests.
        failed: the first rows that failed, expired or were invalid, in the order of the input.
        unit_price: USD a request; 0 where nothing is sent to X.
        retried: rows that took more than one request.
    """

    record: RunRecord
    running: bool
    counts: dict[State, int]
    accounts: dict[str, dict[State, int]]
    problems: list[ProblemGroup]
    bins: Bins
    windows: list[WindowUse]
    windows_recorded: bool
    waits: list[Wait]
    pauses: list[Pause]
    sittings: list[Sitting]
    stops: list[Stop]
    slowest: list[tuple[TaskRecord, float | None]]
    failed: list[TaskRecord]
    unit_price: float
    retried: int

    @property
    def total(self) -> int:
        """Rows of the input."""
        return sum(self.counts.values())

    @property
    def troubled(self) -> int:
        """Rows that failed, expired or were invalid."""
        return sum(self.counts[state] for state in TROUBLED)

    @property
    def cost(self) -> float:
        """USD, at most."""
        return self.record.requests * self.unit_price


class Gathering:
    """Takes the rows of a run one after the other.

    Args:
        record: the run.
        noted: what the journal noted beside; without windows in it, requests are counted from when rows ended.
        local: whether it was sent to a server on this machine, whose windows are not those of X.
    """

    def __init__(
        self,
        record: RunRecord,
        noted: Noted | None = None,
        *,
        local: bool = False,
    ) -> None:
        self._record = record
        self._noted = noted or Noted()
        self._local = local
        self._counts = dict.fromkeys(STATES, 0)
        self._accounts: dict[str, dict[State, int]] = {}
        self._problems = Problems()
        self._bins = Bins(len(SETTLED))
        self._requests: dict[str, Bins] = {}
        self._slow: list[Slow] = []
        self._failed: list[TaskRecord] = []
        self._retried = 0

    def add(self, row: TaskRecord) -> None:
        """Take the next row, in the order of the input."""
        account = row.account or ""
        self._counts[row.state] += 1
        if account not in self._accounts:
            self._accounts[account] = dict.fromkeys(STATES, 0)
        self._accounts[account][row.state] += 1
        if row.state in TROUBLED:
            self._problems.add(row)
            if len(self._failed) < FAILED_SHOWN:
                self._failed.append(row)
        if row.state in SETTLED and (at := unix(row.settled_at)) is not None:
            self._bins.add(at, SETTLED.index(row.state))
            self._count_requests(account, at, row.attempts)
        self._note_slow(row)

    def story(self, *, running: bool, unit_price: float) -> Story:
        """What it came to."""
        noted = self._noted
        recorded, windows = bool(noted.windows), list(noted.windows)
        if not recorded and not self._local:
            windows = [use for account, bins in self._requests.items() for use in derived(account, bins)]
        return Story(
            record=self._record,
            running=running,
            counts=self._counts,
            accounts=dict(sorted(self._accounts.items(), key=lambda item: -sum(item[1].values()))),
            problems=self._problems.groups(),
            bins=self._bins,
            windows=sorted(windows, key=lambda use: (use.account, use.name, use.opened)),
            windows_recorded=recorded,
            waits=list(noted.waits),
            pauses=pauses(self._bins),
            sittings=list(noted.sittings),
            stops=list(noted.stops),
            slowest=[(slow.row, slow.row.seconds) for slow in sorted(self._slow, reverse=True)],
            failed=self._failed,
            unit_price=unit_price,
            retried=self._retried,
        )

    def _count_requests(self, account: str, at: float, attempts: int) -> None:
        if not attempts:
            return
        if account not in self._requests:
            if len(self._requests) >= _MOST_FOLLOWED:
                return
            self._requests[account] = Bins(1, most=_FINE)
        self._requests[account].add(at, 0, attempts)

    def _note_slow(self, row: TaskRecord) -> None:
        seconds = row.seconds
        self._retried += row.attempts > 1
        if row.attempts < 2 and seconds is None:
            return
        slow = Slow(seconds or 0.0, row.attempts, -row.seq, row)
        if len(self._slow) < SLOWEST_SHOWN:
            heapq.heappush(self._slow, slow)
        elif self._slow[0] < slow:
            heapq.heapreplace(self._slow, slow)
