"""One update of a batcher on its way: its place in the order, its row in the journal, its wait for others like it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from xmediameta.calls import Call
from xmediameta.coalesce import Coalesce, Entry
from xmediameta.errors import InvalidUpdate, JournalError, XMediaMetaError
from xmediameta.journal import Drawn
from xmediameta.models import Update
from xmediameta.outcomes import Applied
from xmediameta.sender import Result, Sender
from xmediameta.wire import Reply, encode

from .book import Book


class Owner(Protocol):
    """The batcher, as it is seen from here.

    Attributes:
        places: on the wire.
        coalesce: what becomes of different pending updates of one media id.
    """

    places: asyncio.Semaphore
    coalesce: Coalesce

    async def held(self, until: float) -> None:
        """Wait for others of the same media id."""


class Submission(Call):
    """One update of a batcher: it takes its place in the order of its media id when it is accepted.

    Attributes:
        entry: that it shares.
        kept: its row in the journal, once that is committed.
    """

    __slots__ = ("_batcher", "_begun", "_book", "_leads", "_lost", "_noted", "_until", "entry", "kept")

    def __init__(
        self, sender: Sender, update: Update, body: bytes, max_wait: float | None, batcher: Owner, until: float
    ) -> None:
        super().__init__(sender, update, body, max_wait, places=batcher.places)
        self._batcher = batcher
        self._until = until
        self._begun = self._noted = False
        self._book: Book | None = None
        self._lost: JournalError | None = None
        self.kept: asyncio.Future[Drawn] | None = None
        # What comes before the task begins is kept in it.
        self._future = sender.loop.create_future()
        self.entry, self._leads = sender.lanes.add(update, body, update.account, self, batcher.coalesce, _encoded)

    @property
    def owner(self) -> object:
        """The batcher, which may coalesce what it was given."""
        return self._batcher

    def keep(self, book: Book, left: Drawn | None) -> None:
        """Keep it in a journal, unless it is there already."""
        self._book = book
        self.kept = self._sender.loop.create_future()
        if left is not None:
            self.kept.set_result(left)
            return
        try:
            self.kept = book.add(self.update, self._body)
        except JournalError as error:
            self.kept.set_exception(error)

    async def note(self, outcome: Applied | XMediaMetaError) -> None:
        """Have the answer recorded, if there is a row of it.

        Raises:
            JournalError: it cannot be.
        """
        if not self._noted:
            self._noted = True
            if self._book is not None and await self._is_kept() is None and self.kept is not None:
                await self._book.settled(self.kept.result(), self.entry, outcome)
        elif self._lost is not None:
            raise self._lost

    async def _succeeded(self, entry: Entry, reply: Reply) -> None:
        # No more is on the wire or unrecorded than there are places, so a kill repeats no more than that.
        try:
            await self.note(self._told(entry, reply, shared=False))
        except JournalError as error:
            self._lost = error  # it was applied all the same, and is not sent again for those who share it

    async def recorded(self) -> Applied:
        """As `send`, and the answer is recorded before it is told."""
        try:
            applied = await self.send()
        except XMediaMetaError as error:
            await self.note(error)
            raise
        await self.note(applied)
        return applied

    def abandon(self, task: asyncio.Task[Applied]) -> None:
        """Nobody waits any more: give up, unless a request may have left."""
        if not self.entry.started:
            task.cancel()

    def forsake(self) -> None:
        """Its task has ended: leave the lane, if it never began, and the journal, if it was taken back."""
        if not self._begun:
            self._withdrawn(self.entry)
        if self.kept is not None and not self._noted:
            self._noted = True
            self.kept.add_done_callback(self._taken_back)

    def _taken_back(self, kept: asyncio.Future[Drawn]) -> None:
        if self._book is not None and not kept.cancelled() and kept.exception() is None:
            self._book.settled(kept.result(), self.entry, None)

    async def _is_kept(self) -> JournalError | None:
        """Wait until it is in the journal; why it is not."""
        kept = self.kept
        if kept is None:
            return None
        if not kept.done():
            await asyncio.wait((kept,))
        error = JournalError("the event loop was closed") if kept.cancelled() else kept.exception()
        return error if error is None or isinstance(error, JournalError) else JournalError(type(error).__name__)

    def _lane(self) -> tuple[Entry, bool]:
        self._begun = True
        return self.entry, self._leads

    def _withdrawn(self, entry: Entry) -> None:
        super()._withdrawn(entry)
        entry.left(_encoded)

    async def _delivered(self, entry: Entry) -> Result:
        lost = await self._is_kept()
        if lost is not None:
            return lost  # nothing is sent that could not be recorded
        await self._batcher.held(self._until)
        deadline = self.update.deadline
        if deadline is not None and deadline <= self._sender.accounts.wall():
            return InvalidUpdate("send_before", "has passed before it was its turn; nothing was sent")
        return await super()._delivered(entry)


def _encoded(update: Update) -> bytes:
    return encode(update, strict=False)  # what it is made of was checked
