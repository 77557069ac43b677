"""Order per media id: what may be sent now, what waits for its turn, and what is the same request.

Each media id has a lane: a chain of entries, of which only the head may be under way. An update that equals the newest
entry of its lane joins it and shares its outcome; any other is put behind it, so A, B, A ends as A. Retries keep the
head of the lane; nothing for that id overtakes.

With `coalesce="last"` a newer update takes the place of one that has not been sent, and the older ones share its
outcome; `"merge"` joins the two member by member, the newer wins. Only updates of one owner (a bulk run) are coalesced:
whoever did not ask for it gets what it gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Literal, Protocol

import msgspec
from msgspec import UNSET

from .errors import XMediaMetaError
from .models import Metadata, Update
from .wire import Reply

Coalesce = Literal["last", "merge"] | None


class Sharer(Protocol):
    """Somebody who waits for the outcome of an entry."""

    update: Update

    @property
    def owner(self) -> object:
        """On whose behalf: updates of one owner may be coalesced."""

    def lead(self, entry: Entry) -> None:
        """The entry is at the head of its lane: see that it is sent."""

    def hurry(self, entry: Entry) -> None:
        """An interactive call waits for the entry, which this one leads: send it ahead of bulk."""

    def deliver(self, entry: Entry, result: Reply | XMediaMetaError) -> None:
        """The entry is settled: this came of it."""


class Entry:
    """One request to be: the head of a lane, or in line behind it.

    Attributes:
        update, body, account: what is sent, and with whose credential.
        sharers: who gets the outcome, in the order in which they came; the first of them sends it.
        due: the earliest `send_before` of those who share it (Unix seconds), or None.
        moved: whether the last who came made it due earlier.
        owner: of all that share it, or None where they differ.
        coalesced: how different updates became one in it, if they did.
        started: whether a request may have left.
        ahead, behind: its neighbours in the lane.
        head: whether it is at the head of its lane.
        urgent: whether an interactive call waits for it.
        attempts: requests sent for it.
        began: when the first of them was sent (the loop's clock).
        seconds: from then to the last answer so far; None before the first.
        signed_with: the credential of the last of them.
        course: what the retries keep between attempts.
        order: its place among entries of one deadline.
        ticket: its valid place in a queue, or 0.
    """

    __slots__ = (
        "account", "ahead", "attempts", "began", "behind", "body", "coalesced", "course", "due", "head", "moved",
        "order", "owner", "seconds", "sharers", "signed_with", "started", "ticket", "update", "urgent",
    )  # fmt: skip

    def __init__(self, update: Update, body: bytes, account: str | None, sharer: Sharer) -> None:
        self.update = update
        self.body = body
        self.account = account
        self.sharers = [sharer]
        self.owner: object = sharer.owner
        self.coalesced: Coalesce = None
        self.due = update.deadline if update.send_before is not None else None
        self.started = self.head = self.urgent = self.moved = False
        self.ahead: Entry | None = None
        self.behind: Entry | None = None
        self.attempts = 0
        self.began = 0.0
        self.seconds: float | None = None
        self.signed_with: object = None
        self.course: object = None
        self.order = self.ticket = 0

    def join(self, sharer: Sharer) -> None:
        """One more shares it."""
        self.sharers.append(sharer)
        if self.owner is not sharer.owner:
            self.owner = None
        due = sharer.update.deadline
        self.moved = due is not None and (self.due is None or due < self.due)
        if self.moved:
            self.due = due

    def left(self, encode: Callable[[Update], bytes]) -> None:
        """Some who shared it have gone: it may be due later, and what was coalesced is made of what the others gave."""
        self.due = min((d for s in self.sharers if (d := s.update.deadline) is not None), default=None)
        if self.coalesced is None or self.started or not self.sharers:
            return
        updates = [sharer.update for sharer in self.sharers]
        self.update = updates[-1] if self.coalesced == "last" else reduce(merged, updates)
        self.body = encode(self.update)

    def __repr__(self) -> str:
        return f"<Entry {self.update.id}{' started' if self.started else ''} shared by {len(self.sharers)}>"


class Lanes:
    """All lanes of one client."""

    __slots__ = ("_newest",)

    def __init__(self) -> None:
        self._newest: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def add(
        self,
        update: Update,
        body: bytes,
        account: str | None,
        sharer: Sharer,
        coalesce: Coalesce = None,
        encode: Callable[[Update], bytes] | None = None,
    ) -> tuple[Entry, bool]:
        """Put an update in its lane.

        Args:
            update, body, account: what is to be sent.
            sharer: who waits for it; its `lead` is not called here.
            coalesce: what becomes of an older update of that id and owner that has not been sent.
            encode: makes the body of a merged update.

        Returns:
            The entry, and whether it is the head of its lane and new: the caller then leads it.
        """
        newest = self._newest.get(update.id)
        if newest is None:
            entry = self._newest[update.id] = Entry(update, body, account, sharer)
            entry.head = True
            return entry, True
        while not newest.sharers and newest.ahead is not None:
            newest = newest.ahead  # all who waited for the last one have gone: it is not sent
        if newest.account == account:
            if newest.body == body:
                return self._join(newest, sharer), False
            if coalesce is not None and not newest.started and newest.owner is sharer.owner:
                if coalesce == "merge":
                    update = merged(newest.update, update)
                    body = encode(update) if encode is not None else body
                newest.update, newest.body, newest.coalesced = update, body, coalesce
                return self._join(newest, sharer), False
        entry = newest.behind = self._newest[update.id] = Entry(update, body, account, sharer)
        entry.ahead = newest
        return entry, False

    def finish(self, entry: Entry) -> Entry | None:
        """The head of a lane is settled; returns the entry that is now the head, to be led by its first sharer."""
        head = entry.behind
        while head is not None and not head.sharers:  # all who waited for it have gone
            head = head.behind
        if head is None:
            # A lane whose last entries were abandoned ends with them.
            self._newest.pop(entry.update.id, None)
        else:
            head.head, head.ahead = True, None
        entry.behind, entry.head = None, False
        return head

    @staticmethod
    def hurry(entry: Entry) -> None:
        """An interactive call waits for an entry that another leads: all that is ahead of it becomes urgent."""
        for one in _with_all_ahead(entry):
            if one.urgent:
                return
            one.urgent = True
            if one.head and one.sharers:
                one.sharers[0].hurry(one)

    def _join(self, newest: Entry, sharer: Sharer) -> Entry:
        self._newest[newest.update.id] = newest
        newest.behind = None
        newest.join(sharer)
        return newest


def merged(older: Update, newer: Update) -> Update:
    """Two updates of one media as one: member by member, the newer wins."""
    if older.metadata is UNSET or newer.metadata is UNSET:
        return newer if older.metadata is UNSET else msgspec.structs.replace(newer, metadata=older.metadata)
    members = {
        name: value
        for source in (older.metadata, newer.metadata)
        for name in source.__struct_fields__
        if (value := getattr(source, name)) is not UNSET
    }
    return msgspec.structs.replace(newer, metadata=Metadata(**members))


def _with_all_ahead(entry: Entry) -> Iterator[Entry]:
    one: Entry | None = entry
    while one is not None:
        yield one
        one = one.ahead
