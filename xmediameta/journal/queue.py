"""A run that grows, as asyncio sees it: rows that come in together share a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from xmediameta.models import Update

from .growing import Growing
from .lock import RunLock
from .records import Drawn, Loaded, RunRecord
from .run import JournalRun, Keeper
from .thread import JournalThread


class JournalQueue(JournalRun):
    """A run of a journal into which rows are put while it is held; made by `Journal.queue`."""

    def __init__(
        self,
        journal: Keeper,
        thread: JournalThread,
        lock: RunLock,
        record: RunRecord,
        work: Growing,
        accounts: Iterable[str],
        loaded: Loaded,
    ) -> None:
        super().__init__(journal, thread, lock, record, work, accounts, loaded)
        self._growing = work
        self._coming: list[tuple[Update, bytes, asyncio.Future[Drawn]]] = []
        self._adder: asyncio.Task[None] | None = None

    def add(self, update: Update, body: bytes) -> asyncio.Future[Drawn]:
        """Put one row in; the future gives it once it is committed, or fails with a `JournalError`.

        Rows stand in the order of these calls. Each must be finished (`finish`), or stays for the next sitting.

        Raises:
            JournalError: nothing can be recorded any more, or the run was let go.
        """
        self._check()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Drawn] = loop.create_future()
        self._coming.append((update, body, future))
        if self._adder is None or self._adder.done():
            self._adder = loop.create_task(self._add())
        return future

    async def _add(self) -> None:
        while self._coming:
            batch = self._coming[:]
            self._coming.clear()
            try:
                rows = await self._thread.call(self._growing.append, [(update, body) for update, body, _ in batch])
            except asyncio.CancelledError:
                for _, _, future in batch:
                    future.cancel()
                raise
            except Exception as met:  # noqa: BLE001 - whatever it is, nobody may wait for ever
                error = self._thread.ours(met)
                for _, _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, _, future), row in zip(batch, rows, strict=True):
                    self._drawn[row.seq] = row
                    if not future.done():
                        future.set_result(row)

    async def _end(self, stopped: str | None) -> None:
        if self._adder is not None and not self._adder.done():
            await asyncio.wait((self._adder,))
            # Rows that were taken back while they were put in are finished as soon as that is known.
            await asyncio.sleep(0)
        await super()._end(stopped)
