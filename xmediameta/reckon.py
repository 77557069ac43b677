"""How long a piece of work will take, what it costs, and what would expire before its turn.

The same `Ledger` that paces real requests is asked in virtual time, and told what a server would tell that knows no
other client, begins each window with its first request, and refuses nothing. Requests are reckoned in batches, since
within one nothing can change: the server takes `concurrency / latency` requests a second in all, each account starts
`starts_per_second`, and accounts take turns.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import count
from math import inf
from typing import Final, cast

from msgspec import Struct

from .clock import ServerClock
from .errors import ConfigurationError
from .ledger import DOCUMENTED, Ledger, Limits
from .limits import RateLimit, WindowName
from .memory import KeptWindow, recall
from .permits import Ticket
from .text import printable
from .windows import Window

__all__ = ["AccountEstimate", "Estimate", "estimate"]

# Accounts take turns after a batch. Small pieces of work are reckoned one by one, large ones in about so many batches.
_BATCHES: Final = 20_000


class AccountEstimate(Struct, frozen=True, gc=False, kw_only=True):
    """What is reckoned for one account.

    Attributes:
        seconds: until its last update is answered.
        requests: that it sends.
        expired: updates whose deadline passes before their turn; they are not sent, nor paid for.
        binding: the window that it waits for most, or None where it never waits for one.
    """

    seconds: float
    requests: int
    expired: int
    binding: WindowName | None


class Estimate(Struct, frozen=True, kw_only=True):
    """What is reckoned for a piece of work, if nothing fails and nobody else spends of the same windows.

    Attributes:
        seconds: until the last update of all is answered.
        requests, expired: of all accounts.
        cost_usd: of all requests.
        binding: the window that the slowest account waits for most, or None.
        accounts: each by its name; the one account of a plain number is None.
    """

    seconds: float
    requests: int
    expired: int
    cost_usd: float
    binding: WindowName | None
    accounts: dict[str | None, AccountEstimate]


def estimate(
    counts: Mapping[str, int] | Mapping[str | None, int] | int,
    limits: Limits = DOCUMENTED,
    *,
    apps: Mapping[str, str] | Mapping[str | None, str] | None = None,
    starts_per_second: float | None = 250.0,
    concurrency: int = 32,
    latency: float = 0.25,
    price: float | Decimal = 0.005,
    deadlines: Mapping[str, Sequence[float]] | Mapping[str | None, Sequence[float]] | None = None,
    kept: Mapping[str | None, Sequence[KeptWindow]] | None = None,
    wall: float = 0.0,
) -> Estimate:
    """Reckon a piece of work before it is begun. A million updates of a few accounts take about half a second.

    Args:
        counts: updates per account, or of the one account.
        limits: of each window; what is None does not bind.
        apps: the app of an account, whose 24-hour window it shares; an account without one has a window of its own.
        starts_per_second: of one account; None: as many as the server takes.
        concurrency: requests in flight at once, of all accounts.
        latency: seconds from a request to its answer. The default is a guess: X's has not been measured.
        price: USD a request.
        deadlines: seconds from now until which updates must be sent, for as many of an account's updates as have one;
            they go ahead of its others, the earliest first.
        kept: windows of accounts as they stood, of which something may be spent already.
        wall: the time now, by the clock of `kept`.

    Raises:
        ConfigurationError: an argument makes no sense.
    """
    work: Mapping[str | None, int] = (
        {None: counts} if isinstance(counts, int) else cast("Mapping[str | None, int]", counts)
    )
    times = cast("Mapping[str | None, Sequence[float]]", deadlines or {})
    groups = cast("Mapping[str | None, str]", apps or {})
    _check(work, times, starts_per_second, concurrency, latency, price)
    run = _Run(limits, 1 / starts_per_second if starts_per_second else 0.0, concurrency, latency)
    run.batch = 1 + sum(work.values()) // _BATCHES
    for name, updates in work.items():
        lane = run.add(name, updates, groups.get(name), times.get(name, ()))
        lane.stand(run.clock, (kept or {}).get(name, ()), wall)
    run.to_the_end()
    return run.result(price)


def _check(
    counts: Mapping[str | None, int],
    deadlines: Mapping[str | None, Sequence[float]],
    starts_per_second: float | None,
    concurrency: int,
    latency: float,
    price: float | Decimal,
) -> None:
    wrong = [f"{updates} updates of {_named(name)}" for name, updates in counts.items() if updates < 0]
    wrong += [
        f"{len(times)} deadlines for {counts.get(name, 0)} updates of {_named(name)}"
        for name, times in deadlines.items()
        if len(times) > counts.get(name, 0)
    ]
    if starts_per_second is not None and not 0 < starts_per_second < inf:
        wrong.append(f"{starts_per_second} starts a second")
    if concurrency < 1:
        wrong.append(f"a concurrency of {concurrency}")
    if not 0 <= latency < inf:
        wrong.append(f"a latency of {latency} s")
    if not 0 <= price < inf:
        wrong.append(f"a price of {price} USD")
    if wrong:
        raise ConfigurationError(f"cannot be reckoned: {'; '.join(wrong[:5])}")


def _named(name: str | None) -> str:
    return "the account" if name is None else printable(name, 60)


class _Counter:
    """A window at the server."""

    __slots__ = ("_count", "_end", "_limit", "_span")

    def __init__(self, assumed: tuple[int, float]) -> None:
        self._limit, self._span = assumed
        self._count = 0
        self._end = -inf

    def stand(self, kept: KeptWindow, wall: float) -> None:
        if kept.opens_at > wall and self._end < 0:
            self._limit, self._count, self._end = kept.limit, kept.limit - kept.remaining, kept.opens_at - wall

    def spend(self, now: float, count: int) -> RateLimit:
        if now >= self._end:
            self._count, self._end = 0, now + self._span
        self._count += count
        return RateLimit(self._limit, self._limit - self._count, int(self._end))


class _Group:
    """The accounts of one app."""

    __slots__ = ("counter", "held_up", "window")

    def __init__(self, clock: ServerClock, assumed: tuple[int, float] | None) -> None:
        self.window = Window("app-24hour", clock, assumed)
        self.counter = None if assumed is None else _Counter(assumed)
        self.held_up: deque[_Lane] = deque()


class _Lane:
    """One account's work."""

    __slots__ = (
        "counters", "deadlines", "expired", "finish", "group", "ledger", "left", "next_deadline", "next_start",
        "requests", "since", "turn", "waited", "waits_for",
    )  # fmt: skip

    def __init__(self, ledger: Ledger, group: _Group, limits: Limits, updates: int, deadlines: Sequence[float]) -> None:
        self.ledger = ledger
        self.group = group
        self.counters: list[tuple[WindowName, _Counter]] = []
        if limits.user_15min is not None:
            self.counters.append(("user-15min", _Counter(limits.user_15min)))
        if limits.user_24hour is not None:
            self.counters.append(("user-24hour", _Counter(limits.user_24hour)))
        if group.counter is not None:
            self.counters.append(("app-24hour", group.counter))
        self.left = updates
        self.deadlines = sorted(deadlines)
        self.next_deadline = 0
        self.next_start = 0.0
        self.expired = 0
        self.requests = 0
        self.finish = 0.0
        self.turn = True  # whether it is among those that are ready
        self.waits_for: WindowName | None = None
        self.since = 0.0
        self.waited: dict[WindowName, float] = {}

    def stand(self, clock: ServerClock, kept: Sequence[KeptWindow], wall: float) -> None:
        """Begin with windows of which something is spent."""
        for one in kept:
            for name, counter in self.counters:
                if name == one.name:
                    counter.stand(one, wall)
        recall(self.ledger.windows, clock, kept, 0.0, wall)

    def expire(self, now: float) -> None:
        """Pass over what can no longer be sent in time."""
        late = bisect_left(self.deadlines, now, self.next_deadline) - self.next_deadline
        self.next_deadline += late
        self.left -= late
        self.expired += late

    def in_time(self, now: float, each: float, most: int) -> int:
        """How many of the next, up to `most`, are in time if one starts each `each` seconds, the first now."""
        first = self.next_deadline
        dated = min(most, len(self.deadlines) - first)
        if dated and self.deadlines[first] < now + dated * each:
            return next((n for n in range(1, dated) if self.deadlines[first + n] < now + n * each), most)
        return most

    def take(self, now: float, most: int) -> tuple[Ticket, dict[WindowName, RateLimit]]:
        """Send a batch of up to `most`; returns what its last answer will tell, too."""
        ticket = self.ledger.take_many(most)
        self.left -= ticket.count
        self.next_deadline = min(len(self.deadlines), self.next_deadline + ticket.count)
        self.requests += ticket.count
        return ticket, {name: counter.spend(now, ticket.count) for name, counter in self.counters}


class _Run:
    """All accounts in virtual time."""

    def __init__(self, limits: Limits, spacing: float, concurrency: int, latency: float) -> None:
        self._limits = limits
        self._latency = latency
        self._busy = latency / concurrency  # for so long one request takes one of the server's places
        self._each = max(spacing, self._busy)
        self.clock = ServerClock(0.0)
        self._groups: dict[str, _Group] = {}
        self._lanes: dict[str | None, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._order = count()
        self.batch = 1
        # (when, in which order, whose, and for an answer its ticket and what it tells)
        self._events: list[tuple[float, int, _Lane, Ticket | None, dict[WindowName, RateLimit]]] = []

    def add(self, name: str | None, updates: int, app: str | None, deadlines: Sequence[float]) -> _Lane:
        group = self._groups.get(app) if app is not None else None
        if group is None:
            group = _Group(self.clock, self._limits.app_24hour)
            if app is not None:
                self._groups[app] = group
        ledger = Ledger(self.clock, self._limits, group.window)
        lane = self._lanes[name] = _Lane(ledger, group, self._limits, updates, deadlines)
        self._ready.append(lane)
        return lane

    def to_the_end(self) -> None:
        events, ready, now, free_at = self._events, self._ready, 0.0, 0.0
        while ready or events:
            if ready and (not events or events[0][0] > max(now, free_at)):
                now = max(now, free_at)
                lane = ready.popleft()
                lane.turn = False
                free_at = now + self._busy * self._step(lane, now)
                continue
            at, _, lane, ticket, told = heapq.heappop(events)
            now = max(now, at)
            if ticket is not None:
                lane.ledger.observe(ticket, told, now)
                self._let_next(lane.group)
            elif lane.waits_for is not None and not lane.turn:
                lane.waited[lane.waits_for] = lane.waited.get(lane.waits_for, 0.0) + now - lane.since
            self._make_ready(lane)

    def _let_next(self, group: _Group) -> None:
        """The app's window may be open: let one of those that it holds up ask; if it may send, so may the next."""
        if group.held_up:
            self._make_ready(group.held_up.popleft())

    def _make_ready(self, lane: _Lane) -> None:
        if not lane.turn and lane.left:
            lane.turn = True
            self._ready.append(lane)

    def _step(self, lane: _Lane, now: float) -> int:
        """Let an account send a batch, or wait; returns how many it sends."""
        lane.expire(now)
        if not lane.left or now < lane.next_start:
            return 0
        wait = lane.ledger.refusal(now)
        if wait is not None:
            lane.waits_for, lane.since = wait.window, now
            if wait.at is not None:
                self._event(wait.at, lane)
            if wait.window == "app-24hour":
                lane.group.held_up.append(lane)
            return 0
        lane.waits_for = None
        ticket, told = lane.take(now, lane.in_time(now, self._each, min(self.batch, lane.left)))
        lane.finish = now + (ticket.count - 1) * self._each + self._latency
        self._event(lane.finish, lane, ticket, told)
        lane.next_start = now + ticket.count * self._each
        self._event(lane.next_start, lane)
        self._let_next(lane.group)
        return ticket.count

    def _event(
        self, at: float, lane: _Lane, ticket: Ticket | None = None, told: dict[WindowName, RateLimit] | None = None
    ) -> None:
        heapq.heappush(self._events, (at, next(self._order), lane, ticket, told or {}))

    def result(self, price: float | Decimal) -> Estimate:
        accounts = {
            name: AccountEstimate(
                seconds=lane.finish,
                requests=lane.requests,
                expired=lane.expired,
                binding=max(lane.waited, key=lane.waited.get, default=None),  # type: ignore[arg-type]
            )
            for name, lane in self._lanes.items()
        }
        slowest = max(accounts.values(), key=lambda account: account.seconds, default=None)
        requests = sum(account.requests for account in accounts.values())
        return Estimate(
            seconds=slowest.seconds if slowest else 0.0,
            requests=requests,
            expired=sum(account.expired for account in accounts.values()),
            cost_usd=float(Decimal(str(price)) * requests),
            binding=slowest.binding if slowest else None,
            accounts=accounts,
        )
