"""Where requests wait for their account's windows, first come first served, interactive calls ahead of bulk.

The `Ledger` decides, this makes tasks wait. There are three kinds of callers: interactive calls, retries of bulk, and
bulk runs, which do not wait in a queue but ask (`try_enter`) and are called back when it may be worth asking again.
aiolimiter smooths the starts within a window; it cannot guard the window itself, since a leaky bucket of 500 per 900 s
lets 999 through in 900 s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal

from aiolimiter import AsyncLimiter
from msgspec import Struct

from .errors import ClientClosed, RateLimitWaitTooLong, XMediaMetaError
from .ledger import Ledger, Ticket
from .limits import WindowName
from .windows import WaitUntil, Window

Pace = Literal["burst", "even"] | float | None

_BURST: Final = 250.0
# The bucket of the burst pace holds a tenth of a second, so that a start is smooth from the first request on.
_BUCKET: Final = 0.1
_SPREAD_CHANGE: Final = 0.1


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


class AppGroup:
    """The accounts of one app: their shared window, and the gates that it holds up."""

    __slots__ = ("held_up", "stopped", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.held_up: dict[Gate, None] = {}


class _Waiter:
    __slots__ = ("deadline", "future", "max_wait")

    def __init__(self, future: asyncio.Future[Ticket], max_wait: float | None, deadline: float | None) -> None:
        self.future = future
        self.max_wait = max_wait
        self.deadline = deadline


class Gate:
    """One account's gate.

    Args:
        account: its name, for records.
        ledger: decides.
        group: of the account's app.
        pace: `"burst"` (250 starts a second), `"even"` (spread over what is left of the window), starts a second, or
            None for no smoothing.
        on_wait: called once for each wait.
        wall: gives Unix seconds, for the times that people see.
    """

    __slots__ = (
        "_account", "_bulk", "_closed", "_group", "_interactive", "_limiter", "_loop", "_on_wait", "_pace", "_spacing",
        "_subscribers", "_timer", "_told_until", "_wall", "ledger", "waiting_until",
    )  # fmt: skip

    def __init__(
        self,
        account: str | None,
        ledger: Ledger,
        group: AppGroup,
        *,
        pace: Pace,
        on_wait: Callable[[Wait], None],
        wall: Callable[[], float],
    ) -> None:
        self.ledger = ledger
        self._account = account
        self._group = group
        self._pace = pace
        self._on_wait = on_wait
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._interactive: deque[_Waiter] = deque()
        self._bulk: deque[_Waiter] = deque()
        self._subscribers: dict[Callable[[], None], None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._told_until = 0.0
        self._closed: XMediaMetaError | None = None
        self._limiter = _limiter(pace)
        self._spacing = self._limiter.time_period / self._limiter.max_rate if self._limiter is not None else 0.0
        self.waiting_until: float | None = None

    # Asking

    async def enter(self, *, interactive: bool, max_wait: float | None = None) -> Ticket:
        """A ticket, as soon as the windows and the pace allow.

        Args:
            interactive: ahead of bulk, and into the permits that are kept for such calls.
            max_wait: seconds; a longer wait for a window fails at once.

        Raises:
            RateLimitWaitTooLong: the window opens later than `max_wait` allows.
            ClientClosed: the client was closed meanwhile.
        """
        if self._closed is not None:
            raise self._closed
        if not self._interactive and (interactive or not self._bulk):
            wait = self._refusal(interactive=interactive)
            if wait is None:
                ticket = self.ledger.take()
                if self._limiter is not None:
                    await self._limiter.acquire()  # has capacity, so it does not suspend
                return ticket
        return await self._queued(interactive=interactive, max_wait=max_wait)

    def try_enter(self) -> Ticket | None:
        """A ticket for bulk if one is to be had at once; `smooth` must be awaited before the request is sent."""
        if self._interactive or self._bulk or self._refusal(interactive=False) is not None:
            return None
        return self.ledger.take()

    async def smooth(self) -> None:
        """Count a start for the pace."""
        if self._limiter is not None:
            await self._limiter.acquire()

    def call_when_open(self, callback: Callable[[], None]) -> None:
        """Call back once, when `try_enter` may succeed."""
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
        held_up = self._group.held_up
        if held_up:
            for gate in list(held_up):
                del held_up[gate]
                gate.pump()
                if gate in held_up:
                    break

    def close(self, error: ClientClosed) -> None:
        """Nobody enters any more; who waits gets the error."""
        self._closed = error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._group.held_up.pop(self, None)
        for queue in (self._interactive, self._bulk):
            while queue:
                future = queue.popleft().future
                if not future.done():
                    future.set_exception(error)

    @property
    def idle(self) -> bool:
        """Whether nobody waits here."""
        return not (self._interactive or self._bulk or self._subscribers)

    # Within

    async def _queued(self, *, interactive: bool, max_wait: float | None) -> Ticket:
        now = self._loop.time()
        waiter = _Waiter(self._loop.create_future(), max_wait, None if max_wait is None else now + max_wait)
        queue = self._interactive if interactive else self._bulk
        queue.append(waiter)
        patience = None
        if max_wait is not None:
            patience = self._loop.call_later(max_wait, self._give_up, waiter)
        ticket: Ticket | None = None
        try:
            self.pump()
            ticket = await waiter.future
            await self.smooth()
        except BaseException:
            if ticket is None and waiter.future.done() and not waiter.future.cancelled():
                ticket = None if waiter.future.exception() else waiter.future.result()
            if ticket is not None:
                self.ledger.release(ticket, self._loop.time(), maybe_sent=False)
            waiter.future.cancel()
            self.changed()
            raise
        finally:
            if patience is not None:
                patience.cancel()
        return ticket

    def _refusal(self, *, interactive: bool, ahead: int = 0) -> WaitUntil | None:
        now = self._loop.time()
        wait = self.ledger.refusal(now, interactive=interactive)
        if wait is not None:
            self.waiting_until = wait.at
            return wait
        self.waiting_until = None
        if self._pace == "even":
            self._spread(now)
        if self._limiter is not None and not self._limiter.has_capacity(ahead + 1):
            return WaitUntil(now + self._spacing, "user-15min")
        return None

    def _spread(self, now: float) -> None:
        """Replace the limiter where the even pace has changed (assigning its rate would leave the old drip)."""
        spacing = max(
            (w.opens_in / w.remaining for w in self.ledger.status(now) if w.opens_in and w.remaining), default=0.0
        )
        if abs(spacing - self._spacing) > _SPREAD_CHANGE * self._spacing:
            self._spacing = spacing
            self._limiter = AsyncLimiter(1, spacing) if spacing > 0 else None

    def pump(self) -> None:
        """Let in from the head of the queues as long as the ledger allows; then set the timer for the next time."""
        granted = 0
        while self._interactive or self._bulk:
            interactive = bool(self._interactive)
            queue = self._interactive if interactive else self._bulk
            if queue[0].future.done():
                queue.popleft()
                continue
            wait = self._refusal(interactive=interactive, ahead=granted)
            if wait is not None:
                self._hold(wait)
                return
            queue.popleft().future.set_result(self.ledger.take())
            granted += 1
        if self._subscribers:
            wait = self._refusal(interactive=False, ahead=granted)
            if wait is not None:
                self._hold(wait)
                return
            callbacks = list(self._subscribers)
            self._subscribers.clear()
            for callback in callbacks:
                callback()

    def _hold(self, wait: WaitUntil) -> None:
        now = self._loop.time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait.window == "app-24hour":
            self._group.held_up[self] = None
        if wait.at is None:
            return
        # A timer may fire a little early by the loop's resolution; the ledger would then refuse once more.
        self._timer = self._loop.call_at(wait.at, self._wake)
        if self.waiting_until is None:
            return  # only the pace
        for waiter in (*self._interactive, *self._bulk):
            if waiter.deadline is not None and wait.at > waiter.deadline and not waiter.future.done():
                waiter.future.set_exception(self.too_long(waiter.max_wait or 0.0))
        if wait.at > self._told_until + 1.0 and not self.idle:
            self._told_until = wait.at
            self._on_wait(
                Wait(
                    account=self._account,
                    window=wait.window,
                    seconds=wait.at - now,
                    reset_at=self.local_time(wait.at),
                    waiting=len(self._interactive) + len(self._bulk) + len(self._subscribers),
                )
            )

    def _wake(self) -> None:
        self._timer = None
        self.pump()

    def _give_up(self, waiter: _Waiter) -> None:
        if not waiter.future.done():
            waiter.future.set_exception(self.too_long(waiter.max_wait or 0.0))

    def too_long(self, max_wait: float) -> RateLimitWaitTooLong:
        """The error for a caller who would wait `max_wait` seconds at most."""
        wait = self.ledger.refusal(self._loop.time(), interactive=True)
        at = wait.at if wait is not None else self.waiting_until
        error = RateLimitWaitTooLong(
            retry_after=None if at is None else max(0.0, at - self._loop.time()),
            max_wait=max_wait,
            reset_at=None if at is None else self.local_time(at),
            window=wait.window if wait is not None else None,
        )
        error.about(None, None, self._account)
        return error

    def local_time(self, at: float) -> datetime:
        """A monotonic time as an aware datetime of the local clock."""
        return datetime.fromtimestamp(self._wall() + at - self._loop.time(), UTC)

    def __repr__(self) -> str:
        waiting = len(self._interactive) + len(self._bulk)
        return f"<Gate {self._account or 'the account'}: {waiting} waiting, {self.ledger.in_flight} in flight>"


def _limiter(pace: Pace) -> AsyncLimiter | None:
    rate = _BURST if pace == "burst" else pace
    if rate is None or isinstance(rate, str):
        return None
    return AsyncLimiter(rate * _BUCKET, _BUCKET) if rate * _BUCKET >= 1 else AsyncLimiter(1, 1 / rate)
