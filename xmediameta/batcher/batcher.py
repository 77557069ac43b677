"""Updates in the background of a web backend: handed in one at a time, sent as the windows allow, each with its answer.

A submission is a call (`calls`) that may wait a little for others of the same media id before it is sent, and for one
of a bounded number of places on the wire. Each runs in a task of its own, which outlives a caller that gives up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Self

from xmediameta.bulk.rows import as_update
from xmediameta.calls import Call
from xmediameta.coalesce import Coalesce
from xmediameta.errors import BatcherClosed, BatcherFull, InvalidUpdate, XMediaMetaError
from xmediameta.journal import Drawn
from xmediameta.journal.thread import to_the_end
from xmediameta.models import Update
from xmediameta.outcomes import Applied, NotSent
from xmediameta.sender import Sender
from xmediameta.settings import check_coalesce, check_seconds, check_whole
from xmediameta.text import counted
from xmediameta.told import about
from xmediameta.wire import encode

from .book import Book
from .submission import Submission

log: Final = logging.getLogger("xmediameta")

Given = Update | Mapping[str, Any]


class Batcher(AbstractAsyncContextManager["Batcher", None]):
    """Takes updates one at a time and sends them in the background: `Client.batcher` makes one.

    Use it as an async context manager. Leaving the block takes no more, sends what is pending for up to `drain`
    seconds, and then hands back the rest in `unsent`.

    Attributes:
        unsent: what was accepted and not settled, once the block was left.
    """

    def __init__(
        self,
        opened: Callable[[], Sender],
        calls: set[Call],
        *,
        strict: bool,
        concurrency: int,
        max_pending: int,
        max_delay: float,
        coalesce: Coalesce,
        drain: float,
        keep: Callable[[], Awaitable[Book]] | None = None,
    ) -> None:
        check_whole("max_pending", max_pending, 1)
        check_whole("concurrency", concurrency, 1)
        check_seconds("max_delay", max_delay)
        check_seconds("drain", drain)
        check_coalesce(coalesce)
        self.unsent: tuple[NotSent, ...] = ()
        self.coalesce: Coalesce = coalesce
        self.max_delay = max_delay
        self._opened = opened
        self._calls = calls
        self._strict = strict
        self._max_pending = max_pending
        self._drain = drain
        self.places = asyncio.Semaphore(concurrency)
        self._taken = 0  # accepted and not settled, and places promised to who waits for one
        self._pending: dict[Submission, None] = {}
        self._rooms: dict[asyncio.Future[None], None] = {}
        self._held: dict[asyncio.Future[None], None] = {}
        self._flushes: list[_Flush] = []
        self._tasks: set[asyncio.Task[Applied]] = set()
        self._closed = False
        self._keep = keep
        self._book: Book | None = None

    # The ways in

    async def submit(self, update: Given, *, max_wait: float | None = 10.0) -> Applied:
        """Send an update, and wait for what becomes of it.

        A caller that is cancelled takes back what was not sent yet; what is on the wire comes to its end, and whoever
        else waits for the same request has its answer.

        Args:
            update: an `Update`, or a mapping in the shape of an input line.
            max_wait: seconds to wait at most for room, for a window, and for a place on the wire; None waits as long
                as it takes.

        Raises:
            InvalidUpdate: the contract is broken, or `send_before` has passed; nothing was sent.
            BatcherFull: there was no room within `max_wait`; nothing was sent.
            BatcherClosed: the block was left before the update was settled.
            XMediaMetaError: as `Client.create`.
        """
        loop = self._opened().loop
        began = loop.time()
        checked, body = self._checked(update)
        if self._full:
            await self._room(max_wait)
            if max_wait is not None:
                max_wait = max(0.0, max_wait - (loop.time() - began))
        else:
            self._taken += 1
        return await self._launched(checked, body, max_wait)

    def submit_nowait(self, update: Given, *, max_wait: float | None = None) -> asyncio.Future[Applied]:
        """Send an update in the background; the future gives what `submit` returns or raises.

        Failures are logged as warnings too, since nobody may look at the future.

        Raises:
            InvalidUpdate: the contract is broken.
            BatcherFull: as many are pending as `max_pending` allows.
            BatcherClosed: the block was left.
        """
        checked, body = self._checked(update)
        if self._full:
            raise BatcherFull(f"{counted(self._taken, 'update')} pending, as many as max_pending allows")
        self._taken += 1
        future = self._launched(checked, body, max_wait)
        future.add_done_callback(_told)
        return future

    async def flush(self) -> None:
        """Send at once what is held back, and wait until all that was accepted so far is settled."""
        if not self._pending:
            return
        flush = _Flush(self._opened().loop.create_future(), set(self._pending))
        self._flushes.append(flush)
        try:
            self._let_go()
            await flush.future
        finally:
            self._flushes.remove(flush)

    @property
    def pending(self) -> int:
        """How many updates were accepted and are not settled."""
        return len(self._pending)

    # Its life

    async def aclose(self, *, drain: float | None = None) -> None:
        """Take no more, send what is pending, and hand back what is not settled after so many seconds.

        Args:
            drain: seconds; by default those of the batcher.
        """
        self._close()
        try:
            async with asyncio.timeout(self._drain if drain is None else drain):
                await self.flush()
        except TimeoutError:
            pass
        finally:
            self._give_up()
            await to_the_end(asyncio.get_running_loop().create_task(self._end()))

    async def _end(self) -> None:
        """Once all that was given up has ended, and is noted as pending where there is a journal."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        book, self._book = self._book, None
        if book is not None:
            lost = await book.close()
            if lost is not None:
                log.error("%s", lost)

    async def __aenter__(self) -> Self:
        self._opened()
        if self._keep is not None and self._book is None:
            self._book = await self._keep()
            async for task in self._book.left():  # ahead of all that is handed in from now on
                self._taken += 1
                self._launched(task.update, task.body, None, task).add_done_callback(_told)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _close(self) -> None:
        self._closed = True
        for room in list(self._rooms):
            if not room.done():
                room.set_exception(BatcherClosed("the batcher was closed before there was room for the update"))

    def _give_up(self) -> None:
        left = list(self._pending)
        error = BatcherClosed("the batcher was closed before the update was settled")
        self.unsent += tuple(NotSent(update=call.update, reason="closed", error=error) for call in left)
        for call in left:
            call.close(error)
        if left:
            log.warning("the batcher was closed with %s not settled", counted(len(left), "update"))

    # Within

    def _checked(self, given: Given) -> tuple[Update, bytes]:
        if self._closed:
            raise BatcherClosed("the batcher is closed")
        if self._keep is not None and self._book is None:
            raise RuntimeError("a batcher with a journal is used within its block: async with client.batcher(...)")
        update = as_update(given)
        try:
            body = encode(update, strict=self._strict)
        except InvalidUpdate as error:
            error.about(update.id, update.ref, update.account)
            raise
        return update, body

    async def _room(self, max_wait: float | None) -> None:
        """Wait in line until there is room for one more."""
        room: asyncio.Future[None] = self._opened().loop.create_future()
        self._rooms[room] = None
        try:
            async with asyncio.timeout(max_wait):
                await room
        except BaseException as error:
            self._rooms.pop(room, None)
            if room.done() and not room.cancelled() and room.exception() is None:
                self._free()  # it was promised and is not taken
            if isinstance(error, TimeoutError):
                full = f"{counted(self._taken, 'update')} pending, as many as max_pending allows, for {max_wait:g} s"
                raise BatcherFull(full) from None
            raise

    def _free(self) -> None:
        """A place is free: whoever has waited longest for it has it."""
        while self._rooms and not self._closed:
            room = next(iter(self._rooms))
            del self._rooms[room]
            if not room.done():
                room.set_result(None)
                return
        self._taken -= 1

    @property
    def _full(self) -> bool:
        return self._taken >= self._max_pending or bool(self._rooms)

    def _launched(
        self, update: Update, body: bytes, max_wait: float | None, left: Drawn | None = None
    ) -> asyncio.Future[Applied]:
        """A future of an update that was accepted; cancelling it takes back what was not sent yet.

        Args:
            left: what an earlier process has left of it in the journal.
        """
        sender, book = self._opened(), self._book
        call = Submission(sender, update, body, max_wait, self, sender.loop.time() + self.max_delay)
        self._pending[call] = None
        self._calls.add(call)
        if book is not None:
            call.keep(book, left)
        # A task of its own: a request on the wire is not given up because one of its callers was.
        task = sender.loop.create_task(call.send() if book is None else call.recorded())
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._settled(call, done))
        future = asyncio.shield(task)
        future.add_done_callback(lambda done: call.abandon(task) if done.cancelled() else None)
        return future

    def _settled(self, call: Submission, task: asyncio.Task[Applied]) -> None:
        self._tasks.discard(task)
        call.forsake()
        self._calls.discard(call)
        del self._pending[call]
        self._free()
        for flush in self._flushes:
            flush.left.discard(call)
            if not flush.left and not flush.future.done():
                flush.future.set_result(None)

    async def held(self, until: float) -> None:
        """Wait for others of the same media id, until then or until all is flushed."""
        loop = self._opened().loop
        if self._closed or self._flushes or until <= loop.time():
            return
        future: asyncio.Future[None] = loop.create_future()
        self._held[future] = None
        timer = loop.call_at(until, _wake, future)
        try:
            await future
        finally:
            timer.cancel()
            self._held.pop(future, None)

    def _let_go(self) -> None:
        for future in self._held:
            _wake(future)

    def __repr__(self) -> str:
        return f"<Batcher {'closed, ' if self._closed else ''}{self.pending} pending>"


class _Flush:
    __slots__ = ("future", "left")

    def __init__(self, future: asyncio.Future[None], left: set[Submission]) -> None:
        self.future = future
        self.left = left


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _told(done: asyncio.Future[Applied]) -> None:
    error = None if done.cancelled() else done.exception()
    if isinstance(error, XMediaMetaError):
        log.warning("not applied: %s", error, extra=about(error))
