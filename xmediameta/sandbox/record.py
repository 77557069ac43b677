"""What the sandbox saw and did: every request in order of arrival, every update in order of application, and counts.

Counts are exact for ever; of requests and of applied updates only the newest `keep` are remembered.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct

from .exchange import transaction_id

ENDPOINT: Final = "POST /2/media/metadata"


class Received(Struct, kw_only=True, gc=False):
    """One request, as far as it was read; filled in while it is answered.

    Attributes:
        number: its ordinal, from 1.
        time: when it arrived, in Unix seconds of the server's clock.
        target: method and path.
        token: the label of the account, or None where it was not accepted.
        id: the media id, or None where there was none.
        raw: the body.
        status: the status that was sent, or None while, or where, none was.
        fault: the entry of a script, schedule or rate that it met.
        applied: whether the update was applied.
    """

    number: int
    time: float
    target: str = ENDPOINT
    token: str | None = None
    id: str | None = None
    raw: bytes = b""
    status: int | None = None
    fault: str | None = None
    applied: bool = False

    @property
    def body(self) -> Any:
        """The body as plain objects, or None where it is not JSON."""
        try:
            return msgspec.json.decode(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    @property
    def transaction_id(self) -> str:
        """The `x-transaction-id` that the answer carried."""
        return transaction_id(self.number)


class Counts(Struct, frozen=True, kw_only=True):
    """A snapshot of what was counted since the sandbox started.

    Attributes:
        requests: all that arrived, on whatever path.
        applied: updates applied; one that was sent twice counts twice.
        limited: requests that a window refused, in vain.
        by_status: answers by status; a connection that was cut has none.
        faults: injected faults that were met, by name.
        most_in_flight: the largest number of updates being answered at once.
        most_per_id: the largest number being answered at once for any one media id: 1 unless a client lets two overlap.
    """

    requests: int
    applied: int
    limited: int
    by_status: dict[int, int]
    faults: dict[str, int]
    most_in_flight: int
    most_per_id: int


class Applied(Mapping[str, Any]):
    """Media id to the metadata that was applied last, as plain objects; a live view."""

    def __init__(self, history: dict[str, list[bytes]]) -> None:
        self._history = history

    def __getitem__(self, media_id: str) -> Any:
        return msgspec.json.decode(self._history[media_id][-1])

    def __iter__(self) -> Iterator[str]:
        return iter(self._history)

    def __len__(self) -> int:
        return len(self._history)

    def __contains__(self, media_id: object) -> bool:
        return media_id in self._history

    def __repr__(self) -> str:
        return f"<Applied {len(self)} media ids>"


class Logbook:
    """The memory of a sandbox."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.received: deque[Received] = deque(maxlen=keep)
        self._history: dict[str, list[bytes]] = {}
        self._order: deque[str] = deque()
        self._open: dict[str, list[web.Request]] = {}
        self._by_status: Counter[int] = Counter()
        self._faults: Counter[str] = Counter()
        self._requests = self._applied = self._limited = 0
        self._in_flight = self._most_in_flight = self._most_per_id = 0
        self.applied = Applied(self._history)

    def arrive(self, time: float, target: str = ENDPOINT) -> Received:
        """Note a request."""
        self._requests += 1
        record = Received(number=self._requests, time=time, target=target)
        self.received.append(record)
        return record

    def enter(self, media_id: str, request: web.Request) -> None:
        """An update is in hand; those for the same id whose client has gone away no longer count as in flight."""
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)
        others = self._open.setdefault(media_id, [])
        others.append(request)
        alive = len(others) if len(others) == 1 else 1 + sum(_connected(other) for other in others[:-1])
        self._most_per_id = max(self._most_per_id, alive)

    def leave(self, media_id: str, request: web.Request) -> None:
        """The update is answered, or its client is gone."""
        self._in_flight -= 1
        others = self._open[media_id]
        others.remove(request)
        if not others:
            del self._open[media_id]

    def apply(self, record: Received, media_id: str, metadata: bytes) -> None:
        """An update takes effect."""
        record.applied = True
        self._applied += 1
        self._history.setdefault(media_id, []).append(metadata)
        self._order.append(media_id)
        if len(self._order) > self._keep:
            oldest = self._order.popleft()
            del self._history[oldest][0]
            if not self._history[oldest]:
                del self._history[oldest]

    def meet(self, record: Received, entry: str, fault: str) -> None:
        """An injected fault was met: the entry of a script, and the name of the fault that it stands for."""
        record.fault = entry
        self._faults[fault] += 1

    def limit(self) -> None:
        """A window refused a request."""
        self._limited += 1

    def answer(self, record: Received, status: int) -> None:
        """A status is sent."""
        record.status = status
        self._by_status[status] += 1

    def history(self, media_id: str) -> list[Any]:
        """All that was applied to a media id, in order, as plain objects."""
        return [msgspec.json.decode(metadata) for metadata in self._history.get(media_id, ())]

    def counts(self) -> Counts:
        """The counts so far."""
        return Counts(
            requests=self._requests,
            applied=self._applied,
            limited=self._limited,
            by_status=dict(sorted(self._by_status.items())),
            faults=dict(self._faults),
            most_in_flight=self._most_in_flight,
            most_per_id=self._most_per_id,
        )


def _connected(request: web.Request) -> bool:
    transport = request.transport
    return transport is not None and not transport.is_closing()
