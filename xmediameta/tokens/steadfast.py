"""A task that cannot be cancelled while it holds what would be lost."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


class Steadfast(asyncio.Task[Any]):
    """A task that cannot be cancelled while it holds something: then it must end by itself, within bounds.

    A loop that is shut down cancels every task and waits for them, so that this one still comes to its end.
    """

    _holds = _asked = False

    def cancel(self, msg: Any = None) -> bool:
        """Cancel it, at once or as soon as it holds nothing."""
        if self._holds:
            self._asked = True
            return False
        return super().cancel(msg)

    def expire(self) -> bool:
        """Cancel it all the same; for its own time-outs."""
        return super().cancel()

    def hold(self) -> None:
        """From here on it is not cancelled."""
        self._holds = True

    def let_go(self) -> None:
        """From here on it is, and at once where that was asked for meanwhile."""
        self._holds = False
        if self._asked:
            self._asked = False
            super().cancel()


@contextmanager
def let_go() -> Generator[None]:
    """Within, the current task holds nothing that would be lost."""
    task = asyncio.current_task()
    if not isinstance(task, Steadfast):
        yield
        return
    task.let_go()
    try:
        yield
    finally:
        task.hold()
