"""Lanes under any interleaving, held against what each caller may expect, and against the server's own record."""

from __future__ import annotations

from collections import defaultdict
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from xmediameta.coalesce import Coalesce, Entry, Lanes
from xmediameta.errors import XMediaMetaError
from xmediameta.models import Metadata, Update
from xmediameta.sender import Sender
from xmediameta.wire import Reply, encode

REPLY = Reply(None, (), b"")
RUNS = ("run with last", "run with merge", "run without")
MODES: dict[str, Coalesce] = {"run with last": "last", "run with merge": "merge"}


class Taker:
    """One who waits, either for itself or as a row of a run."""

    def __init__(self, number: int, update: Update, owner: str | None, led: dict[Entry, Taker]) -> None:
        self.number = number
        self.update = update
        self.owner: object = self if owner is None else owner
        self.told: list[bytes] = []
        self.gone = False
        self._led = led

    def lead(self, entry: Entry) -> None:
        self._led[entry] = self

    def hurry(self, entry: Entry) -> None:
        assert entry.head

    def deliver(self, entry: Entry, result: Reply | XMediaMetaError) -> None:
        self.told.append(entry.body)


class LanesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.sender = Sender.__new__(Sender)  # only what moves lanes on: no loop, no transport
        self.sender.lanes = self.lanes = Lanes()
        self.sender.applied = self.sender.failed = 0
        self.led: dict[Entry, Taker] = {}
        self.takers: list[Taker] = []
        self.applied: dict[str, list[bytes]] = defaultdict(list)
        self.told: dict[str, list[Taker]] = defaultdict(list)

    @rule(
        id=st.sampled_from(["1", "2"]),
        text=st.sampled_from(["a", "b"]),
        download=st.sampled_from([None, True]),
        account=st.sampled_from([None, None, None, "other"]),
        owner=st.sampled_from([None, *RUNS]),
        urgent=st.booleans(),
    )
    def add(
        self,
        id: str,  # noqa: A002
        text: str,
        download: bool | None,
        account: str | None,
        owner: str | None,
        urgent: bool,
    ) -> None:
        update = Update(id, Metadata.of(alt_text=text, allow_download=download), account)
        taker = Taker(len(self.takers), update, owner, self.led)
        self.takers.append(taker)
        mode = MODES.get(owner or "")
        entry, leads = self.lanes.add(update, encode(update), account, taker, mode, encode)
        if leads:
            taker.lead(entry)
        elif urgent:
            self.lanes.hurry(entry)

    @precondition(lambda self: self.led)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(list(self.led)))
        entry.started = True

    @precondition(lambda self: self.led)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(list(self.led)))
        entry.started = True
        self._settle(entry)

    def _settle(self, entry: Entry) -> None:
        assert entry.head
        del self.led[entry]
        self.applied[entry.update.id].append(entry.body)
        self.told[entry.update.id].extend(cast("list[Taker]", entry.sharers))
        self.sender.settle(entry, REPLY)

    @precondition(lambda self: any(not (taker.told or taker.gone) for taker in self.takers))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        taker = data.draw(st.sampled_from([taker for taker in self.takers if not (taker.told or taker.gone)]))
        entry = self._entry_of(taker)
        taker.gone = True
        if self.led.get(entry) is taker:
            del self.led[entry]
        self.sender.withdraw(entry, [taker])
        entry.left(encode)

    def _entry_of(self, taker: Taker) -> Entry:
        entry: Entry | None = self.lanes._newest[taker.update.id]
        while entry is not None and all(sharer is not taker for sharer in entry.sharers):
            entry = entry.ahead
        assert entry is not None, "whoever waits is in its lane"
        return entry

    @invariant()
    def one_leads_each_lane(self) -> None:
        ids = [entry.update.id for entry in self.led]
        assert sorted(ids) == sorted(self.lanes._newest), "each lane has one head under way, and only one"
        for entry, taker in self.led.items():
            assert entry.head
            assert entry.sharers[0] is taker, "the first who shares it leads"

    @invariant()
    def none_is_told_twice_nor_after_leaving(self) -> None:
        for taker in self.takers:
            assert len(taker.told) <= (0 if taker.gone else 1)

    @invariant()
    def outcomes_of_one_id_come_in_the_order_given(self) -> None:
        for told in self.told.values():
            numbers = [taker.number for taker in told]
            assert numbers == sorted(numbers)

    @invariant()
    def each_gets_what_it_gave(self) -> None:
        for taker in self.takers:
            if not taker.told or taker.owner in MODES:
                continue
            assert taker.told == [encode(taker.update)], "who did not ask for it is never coalesced"

    def teardown(self) -> None:
        while self.led:
            self._settle(next(iter(self.led)))
        assert len(self.lanes) == 0
        for taker in self.takers:
            assert taker.gone or len(taker.told) == 1, "nobody is forgotten"
        for media_id, applied in self.applied.items():
            # What the server has in the end is what the last one who stayed gave, alone or merged into what was before.
            last = [taker for taker in self.takers if taker.update.id == media_id and not taker.gone]
            if not last:
                continue
            told = last[-1].told[0]
            assert applied.index(told) >= 0
            if last[-1].owner not in MODES:
                assert told == encode(last[-1].update)
            assert applied[-1] == told
            # Nothing is sent that nobody asked for: an entry with nobody left is not led.
            assert len(applied) <= len([taker for taker in self.takers if taker.update.id == media_id])


TestLanes = pytest.mark.slow(LanesMachine.TestCase)
TestLanes.settings = settings(stateful_step_count=30)
