"""How the rows of a run end: each once, whoever sends the request that it shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from xmediameta.coalesce import Entry
from xmediameta.errors import AccountForbidden, XMediaMetaError
from xmediameta.hooks import tell
from xmediameta.models import Update
from xmediameta.outcomes import NotSent, Outcome, Reason
from xmediameta.sender import Sender
from xmediameta.told import unsuccessful

from .crew import Shelf
from .queues import AccountQueue
from .rows import Row, Run, about

# Seconds for which a plain 403 is kept back at most once its account has nothing else to send.
_KEPT_BACK: Final = 5.0


class Endings:
    """What becomes of the rows of one run.

    Args:
        run: whose rows.
        sender: moves lanes on.
        shelf: takes the outcomes.
        encode: makes the body of an update.
        settled: called when every row that was taken has its outcome, or one that is withheld.

    Attributes:
        open: rows that were taken and have no outcome.
        reason: why nothing more is sent, or None.
        error: what stopped the run, if it was an error.
    """

    __slots__ = (
        "_encode", "_loop", "_run", "_sender", "_settled", "_shelf", "_timer", "_withheld", "error", "open", "reason",
    )  # fmt: skip

    def __init__(
        self, run: Run, sender: Sender, shelf: Shelf, encode: Callable[[Update], bytes], settled: Callable[[], None]
    ) -> None:
        self._run = run
        self._sender = sender
        self._loop = sender.loop
        self._shelf = shelf
        self._encode = encode
        self._settled = settled
        self._withheld: dict[AccountQueue, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.open = 0
        self.reason: Reason | None = None
        self.error: BaseException | None = None

    @property
    def room(self) -> bool:
        """Whether more may be sent: the run is not halted, and its reader keeps up."""
        return self.reason is None and not self._shelf.full

    @property
    def all_told(self) -> bool:
        """Whether every row that was taken has its outcome, or one that is withheld."""
        return self.open == 0 or self.open == sum(len(queue.withheld) for queue in self._withheld)

    def deliver(self, outcome: Outcome) -> None:
        """A row has its outcome."""
        self.open -= 1
        self._shelf.put(outcome)
        if self._sender.hooks.outcome:
            tell(self._sender.hooks.outcome, outcome)
        if not self.open or self._withheld:
            self._settled()

    def own(self, entry: Entry) -> list[Row]:
        """The rows of this run that share an entry."""
        return [sharer for sharer in entry.sharers if isinstance(sharer, Row) and sharer.run is self._run]

    def unsent(self, entry: Entry, reason: Reason, error: XMediaMetaError | None = None) -> None:
        """This run sends the entry no more: its rows end, and others who share it may go on with it."""
        if error is None and isinstance(self.error, XMediaMetaError):
            error = self.error
        rows = self.own(entry)
        self._withdraw(entry, rows)
        for row in rows:
            row.end(NotSent(update=row.update, reason=reason, error=error), entry.attempts, entry.seconds)

    def expire(self, entry: Entry, wall: float) -> None:
        """The rows that had to be sent by now end, of whichever run; the others go on with the entry."""
        late = [
            sharer
            for sharer in entry.sharers
            if isinstance(sharer, Row) and (due := sharer.update.deadline) is not None and due <= wall
        ]
        self._withdraw(entry, late)
        for row in late:
            row.end(NotSent(update=row.update, reason="expired"), entry.attempts, entry.seconds)

    def _withdraw(self, entry: Entry, rows: list[Row]) -> None:
        """These rows wait for an entry no more that nobody sends now: whoever is left and first must."""
        gone = {id(row) for row in rows}
        entry.sharers = [sharer for sharer in entry.sharers if id(sharer) not in gone]
        entry.left(self._encode)
        self._sender.withdraw(entry, (), lead=True)

    # Plain 403s

    def withhold(self, queue: AccountQueue, entry: Entry, error: XMediaMetaError) -> None:
        """Keep back the outcome of a plain 403 until a success, or the end, shows that it is the row's own."""
        rows = self.own(entry)
        queue.withheld.extend((row, about(row.update, entry, error), entry.seconds) for row in rows)
        entry.sharers = [s for s in entry.sharers if not (isinstance(s, Row) and s.run is self._run)]
        self._withheld[queue] = None
        if self._timer is None:
            self._timer = self._loop.call_later(_KEPT_BACK, self._release_idle)
        self._settled()

    def release(self, queue: AccountQueue) -> None:
        """Tell what was withheld: where the account is forbidden too, the rows are not settled."""
        self._withheld.pop(queue, None)
        withheld, queue.withheld = queue.withheld, []
        for row, error, seconds in withheld:
            told = queue.stopped if isinstance(queue.stopped, AccountForbidden) else error
            row.end(unsuccessful(row.update, told), error.attempts, seconds)

    def release_all(self) -> None:
        """Tell all that was withheld."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for queue in list(self._withheld):
            self.release(queue)

    def _release_idle(self) -> None:
        self._timer = None
        for queue in [queue for queue in self._withheld if not (queue or queue.busy)]:
            self.release(queue)
        if self._withheld:
            self._timer = self._loop.call_later(_KEPT_BACK, self._release_idle)

    def __repr__(self) -> str:
        return f"<Endings {self.open} open{f', {self.reason}' if self.reason else ''}>"
