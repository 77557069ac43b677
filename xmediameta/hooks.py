"""What a client tells whoever listens: one frozen record for each attempt, retry, wait, stop and outcome.

Listeners are called in the task in which it happens, and are to be quick. What they raise is logged, and changes
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, TypedDict, TypeVar

from msgspec import Struct

from .coalesce import Entry
from .errors import ProblemError, XMediaMetaError
from .gate import Wait
from .limits import RateLimit, WindowName, read_windows
from .outcomes import Outcome
from .wire import Reply

log: Final = logging.getLogger("xmediameta")

T = TypeVar("T")


class Attempt(Struct, frozen=True, kw_only=True):
    """One request, and what came of it.

    Attributes:
        account, id, ref: of the update; of several that share the request, of one.
        attempt: which request of the update it was, from 1.
        seconds: from its start to the end of its answer.
        status: of the answer; None where none could be read.
        transaction_id: `x-transaction-id`, where there is one.
        windows: the rate-limit headers of the answer, by window name.
        error: what the answer or its absence means, or None for a success.
    """

    account: str | None
    id: str
    ref: str | int | None
    attempt: int
    seconds: float
    status: int | None
    transaction_id: str | None
    windows: Mapping[WindowName, RateLimit]
    error: XMediaMetaError | None


class Retrying(Struct, frozen=True, kw_only=True):
    """A request is going to be repeated.

    Attributes:
        account, id, ref: of the update.
        attempt: which request has failed, from 1.
        after: seconds until the next one at the earliest; None where it waits for a window.
        error: why.
    """

    account: str | None
    id: str
    ref: str | int | None
    attempt: int
    after: float | None
    error: XMediaMetaError


class Stopped(Struct, frozen=True, kw_only=True):
    """An account is out, until it heals.

    Attributes:
        account: its name, or None.
        all_of_its_app: whether all accounts of its app are out with it.
        error: why, and in its advice what a person can do.
    """

    account: str | None
    all_of_its_app: bool
    error: XMediaMetaError


class HookOptions(TypedDict, total=False):
    """The listeners that `Client` takes."""

    on_attempt: Callable[[Attempt], object] | None
    on_retry: Callable[[Retrying], object] | None
    on_wait: Callable[[Wait], object] | None
    on_stop: Callable[[Stopped], object] | None
    on_outcome: Callable[[Outcome], object] | None


class Hooks:
    """The listeners of one client, by what they listen for; an empty tuple costs nothing but a look."""

    __slots__ = ("attempt", "outcome", "retry", "stop", "wait")

    def __init__(self) -> None:
        self.attempt: tuple[Callable[[Attempt], object], ...] = ()
        self.retry: tuple[Callable[[Retrying], object], ...] = ()
        self.wait: tuple[Callable[[Wait], object], ...] = ()
        self.stop: tuple[Callable[[Stopped], object], ...] = ()
        self.outcome: tuple[Callable[[Outcome], object], ...] = ()

    def add(self, listeners: HookOptions) -> None:
        """Listen with these too."""
        for name, listener in listeners.items():
            if listener is not None:
                kind = name.removeprefix("on_")
                setattr(self, kind, (*getattr(self, kind), listener))

    def remove(self, listeners: HookOptions) -> None:
        """Listen with these no more."""
        for name, listener in listeners.items():
            kind = name.removeprefix("on_")
            setattr(self, kind, tuple(other for other in getattr(self, kind) if other != listener))

    def attempted(
        self,
        account: str | None,
        entry: Entry,
        answer: tuple[int, Mapping[str, str]] | None,
        result: Reply | XMediaMetaError,
        seconds: float,
    ) -> None:
        """A request has ended, with an answer (its status and headers) or without one."""
        tell(
            self.attempt,
            Attempt(
                account=account,
                id=entry.update.id,
                ref=entry.update.ref,
                attempt=entry.attempts,
                seconds=seconds,
                status=None if answer is None else answer[0],
                transaction_id=result.transaction_id if isinstance(result, Reply | ProblemError) else None,
                windows={} if answer is None else read_windows(answer[1]),
                error=None if isinstance(result, Reply) else result,
            ),
        )

    def retrying(self, account: str | None, entry: Entry, error: XMediaMetaError, after: float | None) -> None:
        """A request is going to be repeated."""
        update = entry.update
        tell(
            self.retry,
            Retrying(account=account, id=update.id, ref=update.ref, attempt=entry.attempts, after=after, error=error),
        )


def tell(listeners: tuple[Callable[[T], object], ...], record: T) -> None:
    """Tell all of them; what one raises is logged."""
    for listener in listeners:
        try:
            listener(record)
        except Exception:
            log.exception("a listener failed")
