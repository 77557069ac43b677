"""The caller's iterable, drawn from one item at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Final, cast

from xmediameta.models import Update

from .rows import Given

Updates = Iterable[Given] | AsyncIterable[Given]

END: Final = object()
LATER: Final = object()
# After so many items at a stretch everybody else in the loop has a turn.
_STRETCH: Final = 256


def check_updates(updates: object) -> None:
    """Refuse what cannot be a stream of updates.

    Raises:
        TypeError: a single update, a text, or nothing that can be iterated.
    """
    kind = type(updates)
    if issubclass(kind, str | bytes | bytearray | Mapping | Update) or not issubclass(kind, Iterable | AsyncIterable):
        raise TypeError(f"updates must be an iterable or async iterable of updates, not {kind.__name__}")


class Source:
    """What is left of an iterable or async iterable.

    Attributes:
        waits: whether the next item may have to be waited for.
        slow: whether it is worth waiting for the next one while all who may send do so.
        busy: whether it is being waited for now.
        ended: whether there are no more items.
        error: what it failed with, if it did.
    """

    __slots__ = ("_items", "_since", "_task", "busy", "ended", "error", "slow", "waits")

    def __init__(self, updates: Updates) -> None:
        self.waits = self.slow = isinstance(updates, AsyncIterable)
        self._items = aiter(updates) if isinstance(updates, AsyncIterable) else iter(updates)
        self._since = 0
        self._task: asyncio.Task[object] | None = None
        self.busy = self.ended = False
        self.error: Exception | None = None

    @property
    def ready(self) -> bool:
        """Whether there may be a next item, which could be sent whoever's it is."""
        return not (self.busy or self.ended)

    def at_once(self) -> object:
        """The next item or `END`; or `LATER` where it is to be waited for, or others in the loop are to have a turn."""
        self._since += 1
        if self.waits or self._since >= _STRETCH:
            return LATER
        try:
            return next(cast("Iterator[Given]", self._items))
        except StopIteration:
            return self._end(None)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the caller's own: it is raised at the end of the run
            return self._end(error)

    async def draw(self) -> object:
        """As `at_once`, and it is waited for."""
        self.busy = True
        self._task = asyncio.current_task()
        try:
            if self.waits:
                return await anext(cast("AsyncIterator[Given]", self._items))
            self._since = 0
            await asyncio.sleep(0)
            return self.at_once()
        except StopAsyncIteration:
            return self._end(None)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # it is the run that is left
            return self._end(error)
        except Exception as error:  # noqa: BLE001 - as above
            return self._end(error)
        finally:
            self.busy = False
            self._task = None

    def abandon(self) -> None:
        """Draw no more: what is being waited for is left to the caller."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _end(self, error: BaseException | None) -> object:
        self.ended = True
        if isinstance(error, asyncio.CancelledError):
            error = RuntimeError("the iterable of updates was cancelled")
        self.error = cast("Exception | None", error)
        return END

    def __repr__(self) -> str:
        return f"<Source {'ended' if self.ended else 'waited for' if self.busy else 'open'}>"
