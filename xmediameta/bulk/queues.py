"""Where the entries of a run wait to be sent: a heap for each account, earliest `send_before` first.

A queue is open while its account might be sent for. One that met a closed gate is set aside until the gate calls back,
so that an account which waits for its window holds nobody up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from heapq import heappop, heappush
from math import inf

from xmediameta.accounts import Account
from xmediameta.coalesce import Entry
from xmediameta.errors import XMediaMetaError

from .rows import Row


class AccountQueue:
    """One account's entries that are at the head of their lanes.

    Attributes:
        stopped: why nothing of this account is sent any more in this run.
        withheld: rows refused with a plain 403, which may yet turn out to be the account's fault (`ForbiddenStreak`).
    """

    __slots__ = ("_ready", "account", "open_again", "stopped", "waiting", "withheld")

    def __init__(self, account: Account, opened: Callable[[AccountQueue], None]) -> None:
        self.account = account
        self.open_again = partial(opened, self)  # what the gate calls
        self.waiting = False
        self.stopped: XMediaMetaError | None = None
        self.withheld: list[tuple[Row, XMediaMetaError]] = []
        self._ready: list[tuple[float, int, Entry]] = []

    def __len__(self) -> int:
        return len(self._ready)

    def push(self, entry: Entry) -> None:
        """Add an entry; equal deadlines keep the order in which entries first came."""
        due = entry.due
        heappush(self._ready, (inf if due is None else due, entry.order, entry))

    def pop(self) -> Entry:
        """The entry that is due first."""
        return heappop(self._ready)[2]

    def late(self, wall: float) -> Iterator[Entry]:
        """Take out, one by one, what is due by `wall` (Unix seconds)."""
        while self._ready and self._ready[0][0] <= wall:
            yield self.pop()

    def drain(self) -> Iterator[Entry]:
        """Take out everything."""
        while self._ready:
            yield self.pop()


class Queues:
    """All queues of a run.

    Args:
        wake: called when a queue has opened again.
    """

    __slots__ = ("_by_name", "_open", "_order", "_wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self._by_name: dict[str | None, AccountQueue] = {}
        self._open: deque[AccountQueue] = deque()
        self._order = 0
        self._wake = wake

    def __iter__(self) -> Iterator[AccountQueue]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str | None) -> AccountQueue:
        return self._by_name[name]

    def of(self, account: Account) -> AccountQueue:
        """The account's queue."""
        queue = self._by_name.get(account.name)
        if queue is None:
            queue = self._by_name[account.name] = AccountQueue(account, self._opened)
        return queue

    def push(self, queue: AccountQueue, entry: Entry) -> None:
        """Add an entry to a queue that is not stopped."""
        if not entry.order:
            self._order += 1
            entry.order = self._order
        if not queue and not queue.waiting:
            self._open.append(queue)
        queue.push(entry)

    def first(self) -> AccountQueue | None:
        """The open queue whose turn it is; it has entries."""
        while self._open:
            if self._open[0]:
                return self._open[0]
            self._open.popleft()
        return None

    def turn(self) -> None:
        """The first queue has had its turn."""
        if len(self._open) > 1:
            self._open.rotate(-1)

    def set_aside(self) -> AccountQueue:
        """Take the first queue out of the open ones."""
        return self._open.popleft()

    def close(self, queue: AccountQueue) -> None:
        """Take a queue out for good."""
        if queue in self._open:
            self._open.remove(queue)

    def wait(self, queue: AccountQueue) -> None:
        """Open a queue that was set aside when its gate calls back."""
        queue.waiting = True
        queue.account.gate.call_when_open(queue.open_again)

    def forget(self) -> None:
        """No gate calls back any more."""
        for queue in self:
            queue.account.gate.forget(queue.open_again)

    @property
    def waiting_until(self) -> datetime | None:
        """When the first account goes on, where all wait for a window; else None."""
        if self._open:
            return None
        gates = [queue.account.gate for queue in self if queue.waiting]
        times = [(gate.waiting_until, gate) for gate in gates if gate.waiting_until is not None]
        if not times:
            return None
        at, gate = min(times, key=lambda pair: pair[0])
        return gate.local_time(at)

    def _opened(self, queue: AccountQueue) -> None:
        queue.waiting = False
        if queue:
            self._open.append(queue)
            self._wake()
