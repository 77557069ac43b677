"""What a run tells whoever looks on."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from xmediameta.bulk import BulkRun
from xmediameta.client import Client
from xmediameta.outcomes import Outcome
from xmediameta.readers import Reject, Row

from .course import Course


class Watch(Protocol):
    """Looks on while a run goes on."""

    def running(
        self, run: BulkRun, client: Client, accounts: Mapping[str | None, int], course: Course
    ) -> AbstractContextManager[None]:
        """Entered while updates are sent.

        Args:
            accounts: updates by account, of the whole run.
        """
        ...

    def told(self, where: str, outcome: Outcome, nth: int) -> None:
        """A failure, or a success with warnings.

        Args:
            where: the row in its input.
            nth: which failure it is.
        """
        ...


class Rows(Protocol):
    """Takes what became of each row, where no journal does."""

    failed: bool

    def settled(self, index: int, row: Row, outcome: Outcome | None) -> None:
        """What became of a row; None where it was not taken up at all.

        Args:
            index: the row's place in the input.

        Raises:
            OSError: it cannot be written.
        """
        ...

    def invalid(self, index: int, reject: Reject) -> None:
        """A row was skipped.

        Raises:
            OSError: it cannot be written.
        """
        ...


@contextmanager
def timed(run: BulkRun, course: Course) -> Generator[None]:
    """Note how long it took, and how many requests were sent."""
    started = time.monotonic()
    try:
        yield
    finally:
        course.seconds = time.monotonic() - started
        course.requests, course.retries = run.requests, run.retries
