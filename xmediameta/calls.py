"""One update in its caller's own task: `create`, and whatever else waits for one result.

A call shares an entry of its lane with whoever sends the same. The first of them sends it; one that is cancelled, or
would wait no longer, leaves it to the next.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Final, cast

from .account import Account
from .coalesce import Entry
from .errors import BatcherFull, InvalidUpdate, JournalError, RateLimitWaitTooLong, XMediaMetaError
from .hooks import tell
from .ledger import Ticket
from .models import Update
from .outcomes import Applied
from .sender import Result, Sender
from .told import asked_for, too_long, unsuccessful
from .verdict import Retry, WaitForWindow
from .wire import Reply

# Why one call ends while others who share its entry may have more time.
_OF_ITS_OWN: Final = (RateLimitWaitTooLong, BatcherFull, InvalidUpdate, JournalError)


class Call:
    """One update on its way, as one who shares an entry.

    Args:
        sender: of the client.
        update, body: what is sent.
        max_wait: seconds to wait for a window at most; None waits as long as it takes.
        places: on the wire, where they are bounded.
    """

    __slots__ = ("_body", "_ended_by", "_future", "_max_wait", "_places", "_sender", "_task", "_timer", "update")

    def __init__(
        self,
        sender: Sender,
        update: Update,
        body: bytes,
        max_wait: float | None,
        *,
        places: asyncio.Semaphore | None = None,
    ) -> None:
        self._sender = sender
        self.update = update
        self._body = body
        self._max_wait = max_wait
        self._places = places
        self._future: asyncio.Future[Result | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._ended_by: XMediaMetaError | None = None

    @property
    def owner(self) -> object:
        """Itself: what one call gave is never replaced by what another gave."""
        return self

    def lead(self, entry: Entry) -> None:  # noqa: ARG002 - of the protocol
        """The entry is at the head of its lane: this call sends it."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def hurry(self, entry: Entry) -> None:
        """It is sent ahead of bulk anyway."""

    def deliver(self, entry: Entry, result: Result) -> None:  # noqa: ARG002 - of the protocol
        """The entry is settled."""
        if self._future is not None and not self._future.done():
            self._future.set_result(result)

    async def send(self) -> Applied:
        """Send the update, or share the outcome of the same one.

        Raises:
            XMediaMetaError: what became of it instead.
        """
        sender = self._sender
        task = self._task = asyncio.current_task(sender.loop)
        cancelling = task.cancelling() if task is not None else 0
        try:
            applied = await self._sent()
        except asyncio.CancelledError:
            # The same care as asyncio.timeout takes: a cancellation from outside wins over ours.
            if self._ended_by is None or task is None or task.uncancel() > cancelling:
                raise
            error = self._ended()
        except XMediaMetaError as failed:
            error = failed
        else:
            if sender.hooks.outcome:
                tell(sender.hooks.outcome, applied)
            return applied
        if sender.hooks.outcome:
            tell(sender.hooks.outcome, unsuccessful(self.update, error))
        raise error

    def close(self, error: XMediaMetaError) -> None:
        """The client or the batcher is closed: the call ends with this error, whatever it waits for."""
        if self._ended_by is None:
            self._ended_by = error
            if self._task is not None:
                self._task.cancel()

    async def _sent(self) -> Applied:
        entry, leads = self._lane()
        settled = False
        try:
            if self._ended_by is not None:
                raise self._ended()
            result = None if leads else await self._turn(entry)
            if result is not None:
                settled = True
                return self._told(entry, result, shared=True)
            result = await self._delivered(entry)
            settled = not isinstance(result, _OF_ITS_OWN)
        finally:
            if not settled:
                self._withdrawn(entry)
        if settled:
            self._sender.settle(entry, result)
        return self._told(entry, result, shared=False)

    def _ended(self) -> XMediaMetaError:
        """Why the call was closed, as its own error."""
        error: XMediaMetaError = copy.copy(cast("XMediaMetaError", self._ended_by))
        error.about(self.update.id, self.update.ref, self.update.account)
        return error

    def _lane(self) -> tuple[Entry, bool]:
        """The entry that this call shares, and whether it leads it."""
        return self._sender.lanes.add(self.update, self._body, self.update.account, self)

    def _withdrawn(self, entry: Entry) -> None:
        """This call waits no more."""
        self._sender.withdraw(entry, (self,))

    async def _delivered(self, entry: Entry) -> Result:
        """Send an entry that this call leads."""
        accounts, name = self._sender.accounts, self.update.account
        try:
            account = accounts.peek(name) or await accounts.get(name)
        except XMediaMetaError as error:
            return error
        account.users += 1
        try:
            return await self._until_settled(account, entry)
        finally:
            account.users -= 1

    async def _until_settled(self, account: Account, entry: Entry) -> Result:
        """Send an entry until it is settled.

        Windows, a place, and what `Retry-After` asks for take `max_wait` seconds at most, together.
        """
        sender, max_wait = self._sender, self._max_wait
        waited = 0.0
        while True:
            if account.stopped and (refusal := account.refusal(sender.loop.time(), entry)) is not None:
                return refusal
            ticket = account.gate.at_once()
            if ticket is None:
                began = sender.loop.time()
                try:
                    patience = None if max_wait is None else max(0.0, max_wait - waited)
                    ticket = await account.gate.enter(interactive=True, max_wait=patience)
                except RateLimitWaitTooLong as error:
                    return too_long(error, entry, account.name, max_wait or 0.0)
                except XMediaMetaError as error:
                    error.about(entry.update.id, entry.update.ref, account.name, entry.attempts)
                    return error
                waited += sender.loop.time() - began
            if self._places is None:
                result = await sender.attempt(account, entry, ticket)
            else:
                patience = None if max_wait is None else max(0.0, max_wait - waited)
                result = await self._attempt_in_place(self._places, account, entry, ticket, patience)
            if isinstance(result, Reply | BatcherFull):
                return result
            verdict, result = await sender.step(account, entry, result, bulk=False)
            if isinstance(verdict, Retry):
                after = verdict.after or 0.0
                if max_wait is not None and asked_for(result):
                    waited += after
                    if waited > max_wait:
                        return result  # with `Retry-After` it is longer than the caller would wait
                await asyncio.sleep(after)
            elif not isinstance(verdict, WaitForWindow):
                return result

    async def _attempt_in_place(
        self, places: asyncio.Semaphore, account: Account, entry: Entry, ticket: Ticket, patience: float | None
    ) -> Result:
        sender = self._sender
        try:
            if places.locked():
                async with asyncio.timeout(patience):
                    await places.acquire()
            else:
                await places.acquire()
        except BaseException as error:
            account.gate.ledger.release(ticket, sender.loop.time(), maybe_sent=False)
            account.gate.changed()
            if isinstance(error, TimeoutError):
                full = BatcherFull(f"no place on the wire came free within {patience:g} s")
                full.about(entry.update.id, entry.update.ref, account.name, entry.attempts)
                return full
            raise
        try:
            result = await sender.attempt(account, entry, ticket)
            if isinstance(result, Reply):
                await self._succeeded(entry, result)
            return result
        finally:
            places.release()

    async def _succeeded(self, entry: Entry, reply: Reply) -> None:
        """A success, told while its place on the wire is still held."""

    async def _turn(self, entry: Entry) -> Result | None:
        """Wait for the outcome that another brings, or (None) until this one must lead."""
        future = self._future = self._future or self._sender.loop.create_future()
        self._sender.lanes.hurry(entry)
        self._look(self._max_wait)
        try:
            return await future
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _look(self, patience: float | None) -> None:
        """Wait no longer where the account's window opens too late; a server that is slow to answer is another matter.

        Args:
            patience: seconds that the call would wait for a window from now on.
        """
        future = self._future
        if patience is None or self._max_wait is None or future is None or future.done():
            return
        account, loop = self._sender.accounts.seen(self.update.account), self._sender.loop
        until = None if account is None else account.gate.shut_until(interactive=True)
        if account is not None and until is not None and until - loop.time() > patience:
            error = account.gate.too_long(self._max_wait)
            error.about(self.update.id, self.update.ref, self.update.account)
            future.set_exception(error)
        else:
            self._timer = loop.call_later(max(self._max_wait, 0.1), self._look, 0.0)

    def _told(self, entry: Entry, result: Result, *, shared: bool) -> Applied:
        update = self.update
        if isinstance(result, Reply):
            return Applied(
                update=update,
                transaction_id=result.transaction_id,
                attempts=entry.attempts,
                warnings=result.warnings,
                raw_metadata=result.raw_metadata,
            )
        # One exception object must not be raised in two tasks: each would add its frames to the same traceback.
        error = copy.copy(result) if shared else result
        error.about(update.id, update.ref, update.account, entry.attempts)
        raise error

    def __repr__(self) -> str:
        return f"<Call for {self.update.id}>"
