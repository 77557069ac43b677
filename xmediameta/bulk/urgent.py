"""Entries of a run that interactive calls wait for: they are sent ahead of bulk, in tasks of their own.

A call that finds a row of a bulk run before it in its lane must not wait for the run's turn: the run may be far behind,
or its reader may be the very task that makes the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from xmediameta.account import Account
from xmediameta.coalesce import Entry
from xmediameta.errors import XMediaMetaError
from xmediameta.ledger import Ticket

from .dispatch import Dispatch, Job
from .endings import Endings
from .queues import AccountQueue, Queues


class Urgent:
    """The entries of one run that wait at their gates as interactive calls do.

    Args:
        start: runs a job in a task.
        ended: called when a request has ended: none of the workers awaited it, and there is room for one more.
        wall: gives Unix seconds.
        max_wait: of the run.
    """

    __slots__ = ("_at_gate", "_dispatch", "_ended", "_endings", "_max_wait", "_queues", "_start", "_wall")

    def __init__(
        self,
        dispatch: Dispatch,
        queues: Queues,
        endings: Endings,
        *,
        start: Callable[[Job], asyncio.Task[None]],
        ended: Callable[[], None],
        wall: Callable[[], float],
        max_wait: float | None,
    ) -> None:
        self._dispatch = dispatch
        self._queues = queues
        self._endings = endings
        self._start = start
        self._ended = ended
        self._wall = wall
        self._max_wait = max_wait
        self._at_gate: dict[Entry, tuple[AccountQueue, asyncio.Task[None]]] = {}

    def take(self, entry: Entry) -> bool:
        """Send an entry ahead, where it can be; it is at the head of its lane, and nobody sends it now."""
        queue = self._queues[entry.account]
        account = queue.account
        if account is None or account.stopped or queue.stopped or self._dispatch.spent:
            return False
        if entry.ticket:
            queue.take(entry)
        queue.busy += 1
        self._at_gate[entry] = queue, self._start(self._send(queue, account, entry))
        return True

    async def _send(self, queue: AccountQueue, account: Account, entry: Entry) -> None:
        ticket: Ticket | None = None
        try:
            ticket = await account.gate.enter(interactive=True, max_wait=self._patience(entry))
        except XMediaMetaError:
            entry.urgent = False  # as bulk it expires, or stops its account
        finally:
            # Where the run was halted meanwhile, the entry has ended, and this task is being cancelled.
            here = self._at_gate.pop(entry, None) is not None
            queue.busy -= here
            if here and ticket is None and entry.urgent:
                self._endings.unsent(entry, self._endings.reason or "closed")
        if ticket is not None:
            await self._dispatch.serve(queue, entry, ticket, smooth=False)
            self._ended()
        elif here:
            self._dispatch.push(entry)

    def _patience(self, entry: Entry) -> float | None:
        due = entry.due
        if due is None:
            return self._max_wait
        left = max(0.0, due - self._wall())
        return left if self._max_wait is None else min(left, self._max_wait)

    def drop_all(self) -> None:
        """Nothing that waits is sent."""
        while self._at_gate:
            entry, (queue, task) = self._at_gate.popitem()
            queue.busy -= 1
            task.cancel()
            self._endings.unsent(entry, self._endings.reason or "closed")

    def __repr__(self) -> str:
        return f"<Urgent {len(self._at_gate)} at the gate>"
