"""Tasks of a run that were fetched from its journal before they are asked for."""

from __future__ import annotations

import asyncio
from collections import deque

from xmediameta.errors import JournalError

from .records import Drawn
from .schema import NEVER


class Shelf:
    """Tasks of one account that were fetched and not drawn yet.

    Attributes:
        after: (due, seq) of the last one that was fetched.
        drawn_out: whether that was the last of all.
        fetch: brings more, while it runs.
        error: why it did not.
    """

    __slots__ = ("account", "after", "drawn_out", "error", "fetch", "name", "tasks")

    def __init__(self, name: str) -> None:
        self.name = name
        self.account = name or None
        self.tasks: deque[Drawn] = deque()
        self.after: tuple[float, int] = (-NEVER, -1)
        self.drawn_out = False
        self.fetch: asyncio.Task[None] | None = None
        self.error: JournalError | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing more will come."""
        return self.drawn_out and not self.tasks
