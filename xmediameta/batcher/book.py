"""What a batcher keeps in a journal, so that a process that ends takes nothing with it.

An update is in the journal before it is sent and gone from it when it is settled; one that failed stays there to be
looked at until the next start. So what is there at a start was accepted and has no answer: it is sent first.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable

from xmediameta.accounts import Accounts
from xmediameta.bulk.journaled import finished, unrecorded
from xmediameta.coalesce import Entry
from xmediameta.errors import RateLimitWaitTooLong, XMediaMetaError
from xmediameta.journal import Drawn, Finished, Journal, JournalQueue, digest
from xmediameta.models import Update
from xmediameta.outcomes import Applied, Failed
from xmediameta.told import unsuccessful


class Book:
    """A run of a journal as a batcher uses it.

    Args:
        run: that grows.
        journal: where it was opened for this batcher alone.
    """

    def __init__(self, run: JournalQueue, journal: Journal | None) -> None:
        self._run = run
        self._journal = journal

    @classmethod
    async def open(
        cls, journal: Journal | str | os.PathLike[str], name: str, base_url: str, accounts: Accounts
    ) -> Book:
        """Take hold of the run.

        Raises:
            JournalError: the journal cannot be used, or another process has the run.
        """
        mine = None
        if not isinstance(journal, Journal):
            journal = mine = await Journal.open(journal)
        try:
            run = await journal.queue(name, base_url)
        except BaseException:
            if mine is not None:
                await mine.aclose()
            raise
        accounts.recall(await run.quota())
        run.windows = accounts.remembered
        return cls(run, mine)

    async def left(self) -> AsyncIterator[Drawn]:
        """What an earlier process has accepted and not settled, in its order."""
        while (task := await self._run.draw(())) is not None:
            yield task

    def add(self, update: Update, body: bytes) -> asyncio.Future[Drawn]:
        """Keep an update; the future is done when it is.

        Raises:
            JournalError: nothing can be kept any more.
        """
        return self._run.add(update, body)

    def settled(self, task: Drawn, entry: Entry, outcome: Applied | XMediaMetaError | None) -> Awaitable[None]:
        """An update has its answer; or (None) its caller has taken it back.

        Args:
            entry: what was sent in its place: of several that were coalesced, one request.

        Returns:
            Done when that is recorded, or fails with a `JournalError`.
        """
        return self._run.finish(_ended(task, entry, outcome))

    async def close(self) -> str | None:
        """Let the run go, with what is not settled; what could not be recorded, in words."""
        try:
            await self._run.aclose()
        finally:
            if self._journal is not None:
                await self._journal.aclose()
        return unrecorded(self._run.unrecorded) if self._run.unrecorded else None


def _ended(task: Drawn, entry: Entry, outcome: Applied | XMediaMetaError | None) -> Finished:
    if entry.started and entry.body != task.body:  # what the media was sent is what it was coalesced into
        task = Drawn(task.seq, task.update, entry.body, task.due, task.followers, digest(entry.body))
    if isinstance(outcome, Applied):
        return finished(task, outcome, entry.attempts, entry.seconds)
    if outcome is None or isinstance(outcome, RateLimitWaitTooLong):  # nobody wants it any more
        return Finished(task=task, state="unchanged", maybe_applied=entry.attempts > 0)
    told = unsuccessful(task.update, outcome)
    if isinstance(told, Failed):
        return finished(task, told, entry.attempts, entry.seconds)
    # A stopped account, or the end of the batcher: it is sent at the next start.
    return Finished(task=task, state="pending", attempts=entry.attempts, maybe_applied=entry.attempts > 0)
