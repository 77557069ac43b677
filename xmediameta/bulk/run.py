"""A stream of updates, many in flight, one outcome for each: what the caller of `client.bulk` holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self

from xmediameta.errors import ClientClosed
from xmediameta.journal import JournalRun
from xmediameta.outcomes import Outcome
from xmediameta.sender import Sender
from xmediameta.wire import encode

from .engine import Engine
from .journaled import Held, Journaled
from .options import Options
from .source import Updates, check_updates


class BulkRun:
    """The outcomes of a stream of updates; made by `client.bulk`.

    An async context manager and iterator. When the run must stop, it yields what has finished, then `NotSent` for what
    it had taken, then raises the error that stopped it. Leaving the block early ends what is in flight.
    """

    def __init__(
        self,
        opened: Callable[[], Sender],
        updates: Updates,
        options: Options,
        running: set[BulkRun],
        *,
        base_url: str = "",
        journaled: Journaled | None = None,
    ) -> None:
        check_updates(updates)
        self._base_url = base_url
        self._journaled = journaled
        self._held: Held | None = None
        self._opened = opened
        self._updates = updates
        self._options = options
        self._running = running
        self._engine: Engine | None = None
        self._stopped = False

    def stop(self) -> None:
        """Send nothing more: what is in flight finishes, the rest that was taken ends as `NotSent("closed")`."""
        self._stopped = True
        if self._engine is not None:
            self._engine.halt(None, "closed")

    def close(self, error: ClientClosed) -> None:
        """The client is closed: the run ends with this error."""
        if self._engine is not None:
            self._engine.halt(error, "closed")

    @property
    def requests(self) -> int:
        """Sent for this run so far, retries and refusals included."""
        return 0 if self._engine is None else self._engine.dispatch.requests

    @property
    def retries(self) -> int:
        """Requests that repeated an earlier one of the same update."""
        return 0 if self._engine is None else self._engine.dispatch.retries

    @property
    def in_flight(self) -> int:
        """Requests of this run on the wire now."""
        return 0 if self._engine is None else self._engine.dispatch.in_flight

    @property
    def taken(self) -> int:
        """Updates drawn from the iterable."""
        return 0 if self._engine is None else self._engine.taken

    @property
    def journal_run(self) -> JournalRun | None:
        """The run in its journal, if it has one: its name, what loading changed, what was spent in all sittings."""
        return None if self._held is None else self._held.run

    @property
    def waiting_until(self) -> datetime | None:
        """When the first account goes on, where all that have work wait for a window; else None."""
        return None if self._engine is None else self._engine.waiting_until

    async def __aenter__(self) -> Self:
        if self._engine is not None:
            raise RuntimeError("a bulk run is used once")
        sender, kept = self._opened(), self._journaled
        if kept is not None:
            encode_strictly = partial(encode, strict=self._options.strict)
            self._held = await kept.start(self._base_url, self._updates, encode_strictly)
            await self._held.join(sender.accounts, sender.hooks)
        self._engine = Engine(
            sender,
            self._updates,
            self._options,
            self._finished,
            held=None if self._held is None else self._held.run,
            tell_settled=kept is None or kept.tell_settled,
        )
        self._running.add(self)
        if self._stopped:
            self._engine.halt(None, "closed")
        self._engine.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is None:
            return
        stopped = self._engine.stopped_by
        try:
            await self._engine.leave()
        finally:
            if self._held is not None:
                await self._held.let_go(stopped)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        if self._engine is None:
            raise RuntimeError("a bulk run is read within its block: async with client.bulk(...) as outcomes")
        shelf = self._engine.shelf
        outcome = shelf.at_hand() or await shelf.take()
        if outcome is not None:
            return outcome
        error = self._engine.told_error()
        raise error if error is not None else StopAsyncIteration

    def _finished(self) -> None:
        self._running.discard(self)

    def __repr__(self) -> str:
        engine = self._engine
        state = "new" if engine is None else "done" if engine.done else f"{self.in_flight} in flight"
        return f"<BulkRun {self.taken} taken, {self.requests} requests, {state}>"
