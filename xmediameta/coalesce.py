"""Order per media id: what may be sent now, what waits for its turn, and what is the same request.

Each media id has a lane: a chain of entries, of which only the head may be under way. An update that equals the newest
entry of its lane joins it and shares its outcome; any other is put behind it, so A, B, A ends as A. Retries keep the
head of the lane; nothing for that id overtakes.

With `coalesce="last"` a newer update takes the place of one that has not been sent, and the older ones share its
outcome; `"merge"` joins the two member by member, the newer wins.
"""

from __future__ import annotations

from collections.abc import Callable
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

    def lead(self, entry: Entry) -> None:
        """The entry is at the head of its lane: see that it is sent."""

    def deliver(self, entry: Entry, result: Reply | XMediaMetaError) -> None:
        """The entry is settled: this came of it."""


class Entry:
    """One request to be: the head of a lane, or in line behind it.

    Attributes:
        update, body, account: what is sent, and with whose credential.
        sharers: who gets the outcome; the first of them sends it.
        started: whether a request may have left.
        behind: the next entry of the lane.
        head: whether it is at the head of its lane.
        attempts: requests sent for it.
        signed_with: the credential of the last of them.
        course: what the retries keep between attempts.
        order: its place among entries of one deadline.
    """

    __slots__ = (
        "account", "attempts", "behind", "body", "course", "head", "order", "sharers", "signed_with", "started",
        "update",
    )  # fmt: skip

    def __init__(self, update: Update, body: bytes, account: str | None, sharer: Sharer) -> None:
        self.update = update
        self.body = body
        self.account = account
        self.sharers = [sharer]
        self.started = False
        self.behind: Entry | None = None
        self.head = False
        self.attempts = 0
        self.signed_with: object = None
        self.course: object = None
        self.order = 0

    @property
    def due(self) -> float | None:
        """The earliest `send_before` of those who share it (Unix seconds), or None."""
        return min((d for s in self.sharers if (d := s.update.deadline) is not None), default=None)

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
            coalesce: what becomes of an older update of that id that has not been sent.
            encode: makes the body of a merged update.

        Returns:
            The entry, and whether it is the head of its lane and new: the caller then leads it.
        """
        newest = self._newest.get(update.id)
        if newest is None:
            entry = self._newest[update.id] = Entry(update, body, account, sharer)
            entry.head = True
            return entry, True
        if newest.account == account:
            if newest.body == body:
                newest.sharers.append(sharer)
                return newest, False
            if coalesce is not None and not newest.started:
                if coalesce == "merge":
                    update = merged(newest.update, update)
                    body = encode(update) if encode is not None else body
                newest.update, newest.body = update, body
                newest.sharers.append(sharer)
                return newest, False
        newest.behind = self._newest[update.id] = Entry(update, body, account, sharer)
        return newest.behind, False

    def finish(self, entry: Entry) -> Entry | None:
        """The head of a lane is settled; returns the entry that is now the head, to be led by its first sharer."""
        head = entry.behind
        while head is not None and not head.sharers:  # all who waited for it have gone
            head = head.behind
        if head is None:
            # A lane whose last entries were abandoned ends with them.
            self._newest.pop(entry.update.id, None)
        else:
            head.head = True
        entry.behind, entry.head = None, False
        return head


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
