"""Updates that are no files: checked while they are loaded into a journal, all of them or none."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Final

from xmediameta.bulk.rows import as_far_as_known, as_update
from xmediameta.errors import InvalidUpdate
from xmediameta.journal import Incoming
from xmediameta.models import Update
from xmediameta.readers import Reject
from xmediameta.wire import encode

from .faults import InvalidInput
from .order import Order

Given = Update | Mapping[str, Any]
Updates = Iterable[Given] | AsyncIterable[Given]
SHOWN: Final = 100


class Intake:
    """Makes rows for a journal of updates as a caller has them.

    Attributes:
        invalid: how many were none.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._rejects: list[Reject] = []
        self._at = 0
        self.invalid = 0

    def rows(self, updates: Updates) -> Iterable[Incoming] | AsyncIterable[Incoming]:
        """The rows.

        Raises:
            InvalidInput: at their end: some are no updates, and are not to be skipped.
        """
        return self._awaited(updates) if isinstance(updates, AsyncIterable) else self._iterated(updates)

    def _iterated(self, updates: Iterable[Given]) -> Iterator[Incoming]:
        for given in updates:
            yield self._one(given)
        self._judge()

    async def _awaited(self, updates: AsyncIterable[Given]) -> AsyncIterator[Incoming]:
        async for given in updates:
            yield self._one(given)
        self._judge()

    def _one(self, given: object) -> Incoming:
        self._at += 1
        try:
            update = as_update(given)
            return Incoming(update=update, body=encode(update, strict=self._order.strict), source=f"update {self._at}")
        except InvalidUpdate as error:
            self.invalid += 1
            if len(self._rejects) < SHOWN:
                reject = Reject(file="updates", line=self._at, member=error.member, rule=error.rule, unit="update")
                self._rejects.append(reject)
            fault = (error.member, error.rule)
            return Incoming(update=as_far_as_known(given), body=None, source=f"update {self._at}", fault=fault)

    def _judge(self) -> None:
        most = self._order.max_invalid if self._order.skip_invalid else 0
        if most is not None and self.invalid > most:
            raise InvalidInput(self._rejects, self.invalid)
