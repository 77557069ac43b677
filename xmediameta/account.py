"""One account's state: what signs its requests, its gate, and what has stopped it.

A stop (401, 402, a suspension …) fails later calls at once with the same error. One probe is let through each minute,
and another credential clears it, so that a long-lived client needs no restart once somebody has acted.
"""

from __future__ import annotations

import copy
from asyncio import TimerHandle
from collections.abc import Callable
from math import inf

from .apps import Group, Stop
from .credentials import Credential, RequestSigner, Secret
from .errors import XMediaMetaError
from .gate import Gate
from .permits import WindowStatus
from .text import printable
from .tokens.keeper import StoredToken
from .transport import Session
from .verdict import ForbiddenStreak


class Signature:
    """A credential as it signs now; it compares by what it signs with, so that a renewed one is another.

    Attributes:
        sign: makes the header of one request, where each has its own.
    """

    __slots__ = ("_authorization", "_signer", "app", "sign")

    def __init__(self, credential: Credential) -> None:
        self.app = credential.app
        self.sign: Callable[[str, str], Secret] | None = None
        self._signer: RequestSigner | None = None
        if isinstance(credential, StoredToken):
            credential = credential.token
        if isinstance(credential, RequestSigner):
            # Of what is sent with each request the access token alone stays the same.
            self._signer, self.sign = credential, credential.sign
            self._authorization = Secret(f"OAuth {getattr(credential, 'access_token', '')}")
        else:
            self._authorization = credential.authorization()

    def authorization(self) -> Secret:
        """The value of the `Authorization` header, unless each request has its own."""
        return self._authorization

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signature) and (self._authorization, self.app, self._signer) == (
            other._authorization,
            other.app,
            other._signer,
        )

    def __hash__(self) -> int:
        return hash((self._authorization, self.app))

    def __repr__(self) -> str:
        return "<Signature ****>"


class Account:
    """One account's state.

    Attributes:
        name: the caller's name for it, or None for the only one or the default.
        credential: what its requests are signed with.
        given: the caller's own object that it was made from, where a mapping has it.
        session, gate, group: its HTTP session, its windows, its app.
        stop: why it is out, or None.
        streak: its plain 403s in a row.
        calm: whether none of its requests has failed since its last success.
        users: how many calls and runs hold it now; it is not forgotten meanwhile.
        asked_at: when another credential was last looked for (the loop's clock).
        keeper: what renews its token, where that can be renewed or is kept in a store.
        due: when the token is to be renewed (Unix seconds).
        timer: wakes for that.
    """

    __slots__ = (
        "__weakref__", "asked_at", "calm", "credential", "due", "gate", "given", "group", "keeper", "name", "session",
        "stop", "streak", "timer", "users",
    )  # fmt: skip

    def __init__(self, name: str | None, credential: Signature, session: Session, gate: Gate, group: Group) -> None:
        self.name = name
        self.credential = credential
        self.given: object = None
        self.session = session
        self.gate = gate
        self.group = group
        self.stop: Stop | None = None
        self.streak = ForbiddenStreak()
        self.calm = True
        self.users = 0
        self.asked_at = -inf
        self.keeper: StoredToken | None = None
        self.due = inf
        self.timer: TimerHandle | None = None

    @property
    def stopped(self) -> bool:
        """Whether it, or its app, is out."""
        return self.stop is not None or self.group.stop is not None

    def blocked(self, now: float, who: object = None) -> XMediaMetaError | None:
        """What stops this account now for `who`, or None where it may go, if only as a probe."""
        for stop in (self.stop, self.group.stop):
            if stop is not None and stop.holds(now, who):
                return copy.copy(stop.error)  # it is raised in many tasks, and each adds its frames
        return None

    def refusal(self, now: float, who: object = None) -> XMediaMetaError | None:
        """As `blocked`; whoever is let through to an account that is out is its probe, the only one for a minute."""
        if self.stop is None and self.group.stop is None:
            return None
        error = self.blocked(now, who)
        if error is None:
            self.probe(now, who)
        return error

    def probe(self, now: float, who: object) -> None:
        """`who` goes, to see whether what stopped the account still holds."""
        for stop in (self.stop, self.group.stop):
            if stop is not None:
                stop.probe(now, who)

    def healed(self) -> None:
        """A request of this account succeeded, or it has another credential."""
        self.stop = self.group.stop = None

    def __repr__(self) -> str:
        name = "(the only one)" if self.name is None else printable(self.name, 60)
        return f"<Account {name}{' stopped' if self.stop else ''} {self.gate!r}>"


def binds(account: Account, now: float) -> bool:
    """Whether the state of an account must be kept."""
    if account.keeper is not None and account.keeper.renewing:
        return True
    if account.users or account.stopped or not account.gate.idle or not account.gate.ledger.droppable(now):
        return True
    if account.credential.app is not None:
        return False  # the app's window outlives it
    window = account.group.window
    return not (window.settled(now) or _plenty(window.status(now)))


def _plenty(status: WindowStatus) -> bool:
    """Whether a day's window is so far from its end that its next headers tell in time what was forgotten."""
    return not status.in_flight and status.limit is not None and 2 * (status.remaining or 0) >= status.limit
