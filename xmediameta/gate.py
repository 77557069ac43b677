"""Where requests wait for their account's windows, first come first served, interactive calls ahead of bulk.

The `Ledger` decides, this makes tasks wait. Tasks wait in one of two queues, interactive or not; bulk runs do not wait
but ask (`try_enter`), and are called back when it may be worth asking again.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from math import inf

from msgspec import Struct

from .apps import Group
from .errors import ClientClosed, RateLimitWaitTooLong
from .ledger import Ledger, Ticket
from .limits import WindowName
from .pace import AT_ONCE, Pace, Pacer
from .permits import WaitUntil
from .text import printable

__all__ = ["Gate", "Pace", "Wait"]

# Where only the pace holds a call up, it is not for want of a window: it has so many seconds at the least.
_AT_THE_PACE = 1.0


class Wait(Struct, frozen=True, kw_only=True):
    """What `on_wait` is told when an account begins to wait for a window.

    Attributes:
        account: its name, or None.
        window: the name of the window that binds.
        seconds: until it opens.
        reset_at: when it opens, aware (UTC), by the local clock.
        waiting: how many calls wait, bulk runs counted once.
    """

    account: str | None
    window: WindowName
    seconds: float
    reset_at: datetime
    waiting: int


class _Waiter:
    __slots__ = ("future", "max_wait", "since")

    def __init__(self, future: asyncio.Future[Ticket], max_wait: float | None, now: float) -> None:
        self.future = future
        self.max_wait = max_wait
        self.since = now

    @property
    def deadline(self) -> float:
        return inf if self.max_wait is None else self.since + self.max_wait


class Gate:
    """One account's gate.

    Args:
        account: its name, for records.
        ledger: decides.
        group: of the account's app.
        pace: see `Pacer`; None does not smooth.
        on_wait: called once for each wait.
        wall: gives Unix seconds, for the times that people see.

    Attributes:
        ledger: decides.
        waiting_for, waiting_until: the window that refused whoever asked last, and until when (the loop's clock); None
            where none did, or where an answer must come in first.
    """

    __slots__ = (
        "_account", "_bulk", "_closed", "_group", "_interactive", "_left", "_loop", "_on_wait", "_pacer", "_seen_until",
        "_subscribers", "_sure_until", "_time", "_timer", "_timer_at", "_told_until", "_wall", "ledger",
        "waiting_for", "waiting_until",
    )  # fmt: skip

    def __init__(
        self,
        account: str | None,
        ledger: Ledger,
        group: Group,
        *,
        pace: Pace,
        on_wait: Callable[[Wait], None],
        wall: Callable[[], float],
    ) -> None:
        self.ledger = ledger
        self._account = account
        self._group = group
        self._left: tuple[Group, ...] = ()
        self._pacer = None if pace is None else Pacer(pace, ledger.status)
        self._on_wait = on_wait
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        # As dictionaries, so that whoever gives up leaves from the middle at once.
        self._interactive: dict[_Waiter, None] = {}
        self._bulk: dict[_Waiter, None] = {}
        self._subscribers: dict[Callable[[], None], None] = {}
        self._timer: asyncio.Handle | None = None
        self._timer_at: float | None = None
        self._told_until = -inf
        self._sure_until: float | None = None  # as `shut_until` for whoever is at the head
        self._seen_until: float | None = None  # as those who asked to be called back have seen it
        self._closed: ClientClosed | None = None
        self.waiting_for: WindowName | None = None
        self.waiting_until: float | None = None

    # Asking

    def at_once(self) -> Ticket | None:
        """A ticket for an interactive call, where there is neither a queue nor a pace; None where it must `enter`."""
        if self._interactive or self._pacer is not None or self._closed is not None:
            return None
        ticket = self.ledger.at_once(self._time(), True)
        if ticket is not None:
            self.waiting_for = self.waiting_until = self._sure_until = None
        return ticket

    async def enter(self, *, interactive: bool, max_wait: float | None = None) -> Ticket:
        """A ticket, as soon as the windows and the pace allow.

        Args:
            interactive: ahead of bulk, and into the permits that are kept for such calls.
            max_wait: seconds; a longer wait for a window fails at once. For the pace it is a bound as well, of a
                second at the least.

        Raises:
            RateLimitWaitTooLong: the window opens later than `max_wait` allows, or the pace lets it start no sooner.
            ClientClosed: the client was closed meanwhile.
        """
        if self._closed is not None:
            raise copy.copy(self._closed)
        if not self._interactive and (interactive or not self._bulk):
            now = self._time()
            if self._refusal(now, interactive) is None:
                ticket = self._taken(now)
                if self._pacer is not None:
                    await self._started(self._pacer, ticket)
                return ticket
        return await self._queued(interactive=interactive, max_wait=max_wait)

    def try_enter(self) -> Ticket | None:
        """A ticket for bulk if one is to be had at once; `smooth` must be awaited before the request is sent."""
        if self._interactive or self._bulk or self._closed:
            return None
        now = self._time()
        if self._refusal(now, False) is not None:
            return None
        return self._taken(now)

    def smooth(self) -> Awaitable[None]:
        """Count a start for the pace; to be awaited before the request is sent."""
        return AT_ONCE if self._pacer is None else self._pacer.start()

    def call_when_open(self, callback: Callable[[], None]) -> None:
        """Call back once: when `try_enter` may succeed, or it turns out that it will not for a while (`shut_until`)."""
        self._seen_until = self.shut_until(interactive=False)
        self._subscribers[callback] = None
        self.pump()

    def forget(self, callback: Callable[[], None]) -> None:
        """Take back `call_when_open`."""
        self._subscribers.pop(callback, None)

    # Telling

    def changed(self) -> None:
        """The ledger has learned something: let in whom it now allows."""
        if self._interactive or self._bulk or self._subscribers:
            self.pump()
        if self._group.held_up:
            self._group.changed()
        if self._left:
            for group in self._left:
                group.changed()
            if not self.ledger.in_flight:
                self._left = ()

    def move(self, group: Group) -> None:
        """The account is of another app from now on."""
        # What is in flight is of the app that it left, whose other accounts may wait for that.
        if self.ledger.in_flight:
            self._left = (*self._left, self._group)
        self._group.forget(self)
        self._group = group
        self.ledger.move(group.window)
        self.changed()

    def pump(self) -> None:
        """Let in from the head of the queues as long as the ledger allows; then set the timer for the next time."""
        while self._interactive or self._bulk:
            interactive = bool(self._interactive)
            now = self._loop.time()
            wait = self._refusal(now, interactive)
            if wait is not None:
                self._hold(wait, interactive=interactive)
                return
            queue = self._interactive if interactive else self._bulk
            waiter = next(iter(queue))
            del queue[waiter]
            if not waiter.future.done():
                waiter.future.set_result(self._taken(now))
        if self._subscribers:
            wait = self._refusal(self._loop.time(), False)
            if wait is not None:
                self._hold(wait, interactive=False)
                return
            self._call_back()

    def close(self, error: ClientClosed) -> None:
        """Nobody enters any more; who waits gets the error."""
        self._closed = error
        self._set_timer(None)
        self._group.forget(self)
        for waiter in (*self._interactive, *self._bulk):
            if not waiter.future.done():
                waiter.future.set_exception(copy.copy(error))
        self._interactive.clear()
        self._bulk.clear()
        self._call_back()

    @property
    def idle(self) -> bool:
        """Whether nobody waits here."""
        return not (self._interactive or self._bulk or self._subscribers)

    def too_long(self, max_wait: float, *, interactive: bool = True) -> RateLimitWaitTooLong:
        """The error for a caller who would wait `max_wait` seconds at most."""
        now = self._loop.time()
        wait = self.ledger.refusal(now, interactive=interactive)
        pacer = self._pacer
        at = wait.at if wait is not None else None if pacer is None else pacer.wait_until(now) or now
        error = RateLimitWaitTooLong(
            retry_after=None if at is None else max(0.0, at - now),
            max_wait=max_wait,
            reset_at=None if at is None else self.local_time(at),
            window=None if wait is None else wait.window,
        )
        error.about(None, None, self._account)
        return error

    def shut_until(self, *, interactive: bool) -> float | None:
        """Until when a window is closed, whatever the answers on their way tell (the loop's clock); else None."""
        wait = self.ledger.refusal(self._loop.time(), interactive=interactive)
        return wait.at if wait is not None and self._sure(wait, interactive=interactive) else None

    def local_time(self, at: float) -> datetime:
        """A monotonic time as an aware datetime of the local clock."""
        return datetime.fromtimestamp(self._wall() + at - self._loop.time(), UTC)

    # Within

    def _taken(self, now: float) -> Ticket:
        if self._pacer is not None:
            self._pacer.grant(now)
        return self.ledger.take()

    async def _started(self, pacer: Pacer, ticket: Ticket) -> None:
        try:
            await pacer.start()
        except BaseException:
            self.ledger.release(ticket, self._loop.time(), maybe_sent=False)
            self.changed()
            raise

    async def _queued(self, *, interactive: bool, max_wait: float | None) -> Ticket:
        waiter = _Waiter(self._loop.create_future(), max_wait, self._loop.time())
        queue = self._interactive if interactive else self._bulk
        queue[waiter] = None
        timers: list[asyncio.TimerHandle] = []
        if max_wait is not None:
            longer = self._pacer is not None and max_wait < _AT_THE_PACE
            timers.append(self._loop.call_later(max_wait, self._give_up_window if longer else self._give_up, waiter))
            if longer:
                timers.append(self._loop.call_later(_AT_THE_PACE, self._give_up, waiter))
        try:
            self.pump()
            if self._sure_until is not None and self._sure_until > waiter.deadline:
                self._give_up(waiter)
            ticket = await waiter.future
        except BaseException:
            if queue.pop(waiter, waiter) is waiter:  # it was not in the queue any more: it was let in, or refused
                future = waiter.future
                if future.done() and not future.cancelled() and future.exception() is None:
                    if self._pacer is not None:
                        self._pacer.forgo()
                    self.ledger.release(future.result(), self._loop.time(), maybe_sent=False)
            self.changed()
            raise
        finally:
            for timer in timers:
                timer.cancel()
        if self._pacer is not None:
            await self._started(self._pacer, ticket)
        return ticket

    def _refusal(self, now: float, interactive: bool) -> WaitUntil | None:
        wait = self.ledger.refusal(now, interactive)
        if wait is not None:
            self.waiting_until = wait.at
            self.waiting_for = wait.window if wait.at is not None else None
            return wait
        self.waiting_for = self.waiting_until = self._sure_until = None
        if self._pacer is None:
            return None
        at = self._pacer.wait_until(now)
        return None if at is None else WaitUntil(at, "user-15min")

    def _hold(self, wait: WaitUntil, *, interactive: bool) -> None:
        """Whoever waits has to wait on."""
        if wait.window == "app-24hour":
            self._group.hold(self, first=bool(self._interactive))
        # A timer may fire a little early by the loop's resolution; the ledger would then refuse once more.
        self._set_timer(wait.at)
        if wait.at is None or self.waiting_until is None or not self._sure(wait, interactive=interactive):
            self._sure_until = None
            return  # for an answer, or only for the pace
        if wait.at != self._sure_until:
            self._sure_until = wait.at
            for waiter in [w for w in (*self._interactive, *self._bulk) if wait.at > w.deadline]:
                self._give_up(waiter)
        if self._subscribers:
            # What a call waits for is not what a run waits for: of that alone it is to hear.
            shut_until = self.shut_until(interactive=False) if interactive else wait.at
            if shut_until is not None and shut_until != self._seen_until:
                self._seen_until = shut_until
                self._call_back()  # a run may not want to wait so long
        self._tell(wait, wait.at)

    def _sure(self, wait: WaitUntil, *, interactive: bool) -> bool:
        """Whether no answer on its way can change a refusal.

        What is in flight may be in the least `remaining` that was told already: it is counted twice until it is
        answered.
        """
        keep = 0 if interactive else self.ledger.keep
        for window in self.ledger.windows:
            left = window.left()
            if window.name == wait.window and window.in_flight and left is not None:
                return window.blocked or left + window.in_flight <= keep
        return True

    def _tell(self, wait: WaitUntil, at: float) -> None:
        """Tell `on_wait`, once for each wait."""
        if at > self._told_until + 1.0 and not self.idle:
            self._told_until = at
            self._on_wait(
                Wait(
                    account=self._account,
                    window=wait.window,
                    seconds=at - self._loop.time(),
                    reset_at=self.local_time(at),
                    waiting=len(self._interactive) + len(self._bulk) + len(self._subscribers),
                )
            )

    def _set_timer(self, at: float | None) -> None:
        if self._timer is not None:
            if self._timer_at == at:
                return
            self._timer.cancel()
        # Kept beside the timer: uvloop makes one without a time of what is past.
        self._timer_at = at
        self._timer = None if at is None else self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.pump()

    def _call_back(self) -> None:
        callbacks = list(self._subscribers)
        self._subscribers.clear()
        for callback in callbacks:
            callback()

    def _give_up_window(self, waiter: _Waiter) -> None:
        if self.ledger.refusal(self._loop.time(), waiter in self._interactive) is not None:
            self._give_up(waiter)

    def _give_up(self, waiter: _Waiter) -> None:
        self._interactive.pop(waiter, None)
        self._bulk.pop(waiter, None)
        if not waiter.future.done():
            waiter.future.set_exception(self.too_long(waiter.max_wait or 0.0))

    def __repr__(self) -> str:
        waiting = len(self._interactive) + len(self._bulk)
        name = "the account" if self._account is None else printable(self._account, 60)
        return f"<Gate {name}: {waiting} waiting, {self.ledger.in_flight} in flight>"
