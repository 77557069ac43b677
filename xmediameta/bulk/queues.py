"""Where the entries of a run wait to be sent: a heap for each account, earliest `send_before` first.

A queue is open while its account might be sent for. One that met a closed gate is set aside until the gate calls back,
so that an account which waits for its window holds nobody up; so is one whose credential is being asked for, or that
has sent a probe to see whether a stop still holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from heapq import heappop, heappush
from math import inf

from xmediameta.account import Account
from xmediameta.coalesce import Entry
from xmediameta.errors import XMediaMetaError
from xmediameta.text import printable

from .rows import Row

_KEPT = 256  # queues that are kept although they have nothing to do


class AccountQueue:
    """One account's entries that are at the head of their lanes.

    Attributes:
        name: of the account.
        account: its state, held while there is something to do.
        busy: how many of its entries are in flight or wait to be tried again.
        aside: whether it is not to be asked now.
        listed: whether it is among the open ones.
        probe: the entry that tries whether the account is still stopped.
        stopped: why nothing of this account is sent any more in this run.
        withheld: rows refused with a plain 403, which may yet turn out to be the account's fault (`ForbiddenStreak`).
    """

    __slots__ = (
        "_heap", "_length", "account", "aside", "busy", "listed", "name", "open_again", "probe", "stopped",
        "withheld",
    )  # fmt: skip

    def __init__(self, name: str | None, opened: Callable[[AccountQueue], None]) -> None:
        self.name = name
        self.account: Account | None = None
        self.open_again = partial(opened, self)  # what the gate calls
        self.busy = 0
        self.aside = self.listed = False
        self.probe: Entry | None = None
        self.stopped: XMediaMetaError | None = None
        self.withheld: list[tuple[Row, XMediaMetaError, float | None]] = []
        self._heap: list[tuple[float, int, int, Entry]] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def hold(self, account: Account) -> None:
        """Hold the account's state, so that it is not forgotten."""
        if self.account is None:
            self.account = account
            account.users += 1

    def let_go(self) -> None:
        """Let go of the account's state."""
        if self.account is not None:
            self.account.users -= 1
            self.account = None

    def push(self, entry: Entry, ticket: int) -> None:
        """Add an entry, or move it ahead; equal deadlines keep the order in which entries first came.

        Args:
            ticket: a number that was not used before; only the entry's newest is valid.
        """
        if not entry.ticket:
            self._length += 1
        entry.ticket = ticket
        due = entry.due
        heappush(self._heap, (inf if due is None else due, entry.order, ticket, entry))

    def first(self) -> Entry:
        """The entry that is due first; there must be one."""
        heap = self._heap
        while heap[0][3].ticket != heap[0][2]:
            heappop(heap)
        return heap[0][3]

    def next(self) -> Entry:
        """The entry to send next: a probe that is to be tried again, else what is due first; there must be one."""
        probe = self.probe
        return probe if probe is not None and probe.ticket else self.first()

    def take(self, entry: Entry) -> Entry:
        """Take an entry of this queue out."""
        entry.ticket = 0
        self._length -= 1
        if not self._length:
            self._heap.clear()
        return entry

    def late(self, wall: float) -> Iterator[Entry]:
        """Take out, one by one, what is due by `wall` (Unix seconds)."""
        while self._length:
            entry = self.first()
            if self._heap[0][0] > wall:
                return
            yield self.take(entry)

    def drain(self) -> Iterator[Entry]:
        """Take out everything."""
        while self._length:
            yield self.take(self.first())

    def __repr__(self) -> str:
        name = "the account" if self.name is None else printable(self.name, 60)
        return f"<AccountQueue {name}: {self._length} waiting, {self.busy} busy>"


class Queues:
    """All queues of a run.

    Args:
        wake: called when a queue has opened again.
    """

    __slots__ = ("_by_name", "_last", "_open", "_wake", "away", "forgot_some", "many", "out", "stopped")

    def __init__(self, wake: Callable[[], None]) -> None:
        self._by_name: dict[str | None, AccountQueue] = {}
        self._open: deque[AccountQueue] = deque()
        self._last = 0
        self.many = False  # whether there are more than are kept with nothing to do
        self._wake = wake
        self.away: set[str | None] = set()  # the accounts for which nothing can be sent now
        self.out: set[str | None] = set()  # of these, the ones that are stopped
        self.stopped = 0  # how many accounts are
        self.forgot_some = False  # whether an account was done with, and not stopped

    def __iter__(self) -> Iterator[AccountQueue]:
        return iter(list(self._by_name.values()))

    def __getitem__(self, name: str | None) -> AccountQueue:
        """The queue of an account, made if it is new."""
        queue = self._by_name.get(name)
        if queue is None:
            queue = self._by_name[name] = AccountQueue(name, self.open)
            self.many = len(self._by_name) > _KEPT
        return queue

    def free(self, name: str | None) -> AccountQueue | None:
        """The queue of an account where no queue has anything to send now, and nothing keeps this one; else None."""
        queue = None if self._open and self.first() is not None else self._by_name.get(name)
        return None if queue is None or queue.aside or queue.stopped is not None or queue.probe is not None else queue

    def order(self, entry: Entry) -> int:
        """Give an entry its place among those of one deadline, if it has none; a number that was not used before."""
        self._last += 1
        if not entry.order:
            entry.order = self._last
        return self._last

    def push(self, queue: AccountQueue, entry: Entry) -> None:
        """Add an entry to a queue that is not stopped, or move it ahead in it."""
        queue.push(entry, self.order(entry))
        self._list(queue)

    def first(self) -> AccountQueue | None:
        """The open queue whose turn it is; it has entries."""
        while self._open:
            if self._open[0]:
                return self._open[0]
            self._open.popleft().listed = False
        return None

    def turn(self) -> None:
        """The first queue has had its turn."""
        if len(self._open) > 1:
            self._open.rotate(-1)

    def set_aside(self) -> AccountQueue:
        """Take the first queue out of the open ones."""
        queue = self._open.popleft()
        queue.listed, queue.aside = False, True
        self.away.add(queue.name)
        return queue

    def open(self, queue: AccountQueue) -> None:
        """A queue that was set aside may be asked again."""
        queue.aside = False
        if queue.stopped is None:
            self.away.discard(queue.name)
        if queue:
            self._list(queue)
        self._wake()

    def close(self, queue: AccountQueue) -> None:
        """Take a queue out for good: its account is stopped."""
        self.stopped += 1
        self.away.add(queue.name)
        self.out.add(queue.name)
        if queue.listed:
            self._open.remove(queue)
            queue.listed = False

    def wait(self, queue: AccountQueue) -> None:
        """Open a queue that was set aside when its gate calls back."""
        if queue.account is not None:
            queue.account.gate.call_when_open(queue.open_again)

    def done_with(self, queue: AccountQueue) -> None:
        """Forget a queue that has nothing to do, where there are many: a run may go over any number of accounts."""
        if not (queue or queue.busy or queue.aside or queue.withheld or queue.stopped):
            queue.let_go()
            self.forgot_some = True
            self._by_name.pop(queue.name, None)
            self.many = len(self._by_name) > _KEPT

    def forget(self) -> None:
        """No gate calls back any more, and no account is held."""
        for queue in self:
            if queue.account is not None:
                queue.account.gate.forget(queue.open_again)
                queue.let_go()

    @property
    def none_left(self) -> XMediaMetaError | None:
        """What stopped the last account, where all of them are stopped."""
        stops = [queue.stopped for queue in self._by_name.values()]
        return None if not stops or self.forgot_some or None in stops else stops[-1]

    @property
    def waiting_until(self) -> datetime | None:
        """When the first account goes on, where all wait for a window; else None."""
        if self.first() is not None:
            return None
        gates = [queue.account.gate for queue in self if queue.aside and queue and queue.account is not None]
        times = [(gate.waiting_until, gate) for gate in gates if gate.waiting_until is not None]
        if not times:
            return None
        at, gate = min(times, key=lambda pair: pair[0])
        return gate.local_time(at)

    def _list(self, queue: AccountQueue) -> None:
        if not (queue.listed or queue.aside or queue.stopped):
            queue.listed = True
            self._open.append(queue)

    def __repr__(self) -> str:
        return f"<Queues {len(self._by_name)}, {len(self._open)} open>"
