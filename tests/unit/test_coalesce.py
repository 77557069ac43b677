"""Lanes: order per media id, what is the same request, and who gets its outcome."""

from __future__ import annotations

import pytest

from xmediameta.coalesce import Coalesce, Entry, Lanes, merged
from xmediameta.errors import XMediaMetaError
from xmediameta.models import Metadata, Update
from xmediameta.wire import Reply, encode

REPLY = Reply(None, (), b"")


class Taker:
    """One who waits for an outcome, and notes what it is told."""

    def __init__(self, update: Update, owner: object = None) -> None:
        self.update = update
        self.owner = self if owner is None else owner
        self.led: list[Entry] = []
        self.hurried: list[Entry] = []
        self.told: list[object] = []

    def lead(self, entry: Entry) -> None:
        self.led.append(entry)

    def hurry(self, entry: Entry) -> None:
        self.hurried.append(entry)

    def deliver(self, entry: Entry, result: Reply | XMediaMetaError) -> None:
        self.told.append(result)


class Road:
    """Lanes, and how to put updates in them."""

    def __init__(self, coalesce: Coalesce = None, owner: object = None) -> None:
        self.lanes = Lanes()
        self.coalesce: Coalesce = coalesce
        self.owner = owner

    def add(self, text: str, *, id: str = "1", account: str | None = None, **more: object) -> tuple[Taker, Entry, bool]:  # noqa: A002
        update = Update(id, Metadata.of(alt_text=text, **more), account)  # type: ignore[arg-type]
        taker = Taker(update, self.owner)
        entry, leads = self.lanes.add(update, encode(update), account, taker, self.coalesce, encode)
        return taker, entry, leads

    def settle(self, entry: Entry) -> Entry | None:
        for sharer in entry.sharers:
            sharer.deliver(entry, REPLY)
        return self.lanes.finish(entry)


def body(entry: Entry | None) -> bytes:
    assert entry is not None
    return entry.body


def test_a_new_id_leads_and_its_lane_ends_with_it() -> None:
    road = Road()
    taker, entry, leads = road.add("a")
    assert leads
    assert entry.head
    assert len(road.lanes) == 1
    assert road.settle(entry) is None
    assert taker.told == [REPLY]
    assert len(road.lanes) == 0


def test_ids_do_not_wait_for_each_other() -> None:
    road = Road()
    assert road.add("a", id="1")[2]
    assert road.add("a", id="2")[2]
    assert len(road.lanes) == 2


def test_an_identical_update_joins_and_shares_the_outcome() -> None:
    road = Road()
    first, entry, _ = road.add("a")
    second, same, leads = road.add("a")
    assert same is entry
    assert not leads
    assert [sharer is taker for sharer, taker in zip(entry.sharers, (first, second), strict=True)] == [True, True]
    road.settle(entry)
    assert first.told == second.told == [REPLY]


def test_it_joins_one_that_is_under_way() -> None:
    road = Road()
    _, entry, _ = road.add("a")
    entry.started = True
    assert road.add("a")[1] is entry


def test_a_b_a_ends_as_a() -> None:
    road = Road()
    _, a, _ = road.add("a")
    _, b, leads_b = road.add("b")
    _, again, leads_again = road.add("a")
    assert again is not a
    assert not leads_b
    assert not leads_again
    assert (a.head, b.head, again.head) == (True, False, False)
    assert road.settle(a) is b
    assert b.head
    assert b.ahead is None
    assert road.settle(b) is again
    assert body(again) == body(a)
    assert road.settle(again) is None
    assert len(road.lanes) == 0


def test_only_the_newest_is_joined() -> None:
    road = Road()
    _, a, _ = road.add("a")
    _, b, _ = road.add("b")
    assert road.add("b")[1] is b
    assert road.add("a")[1] is not a


def test_another_account_is_another_request() -> None:
    road = Road("last", owner := object())
    _, one, _ = road.add("a", account="one")
    _, two, leads = road.add("a", account="two")
    assert owner is not None
    assert two is not one
    assert not leads
    assert one.update.account == "one"


@pytest.mark.parametrize("gone_from", ["head", "behind", "newest"])
def test_an_abandoned_entry_is_passed_over(gone_from: str) -> None:
    road = Road()
    _, a, _ = road.add("a")
    _, b, _ = road.add("b")
    _, c, _ = road.add("c")
    if gone_from == "head":
        a.sharers.clear()
        assert road.lanes.finish(a) is b
    elif gone_from == "behind":
        b.sharers.clear()
        assert road.settle(a) is c
    else:
        c.sharers.clear()
        assert road.settle(a) is b
        assert road.settle(b) is None
        assert len(road.lanes) == 0


def test_after_an_abandoned_one_the_one_before_it_is_the_newest() -> None:
    road = Road()
    _, a, _ = road.add("a")
    _, b, _ = road.add("b")
    b.sharers.clear()
    taker, again, leads = road.add("a")
    assert again is a, "A, B, A where B was given up is one request"
    assert not leads
    assert road.settle(a) is None
    assert taker.told == [REPLY]
    assert len(road.lanes) == 0


def test_a_different_one_takes_the_place_of_an_abandoned_one() -> None:
    road = Road()
    _, a, _ = road.add("a")
    _, b, _ = road.add("b")
    b.sharers.clear()
    _, c, _ = road.add("c")
    assert c.ahead is a
    assert road.settle(a) is c


# coalesce=


def test_last_takes_the_place_of_what_was_not_sent() -> None:
    road = Road("last", object())
    first, entry, _ = road.add("a", allow_download=True)
    second, same, leads = road.add("b")
    assert same is entry
    assert not leads
    assert body(entry) == encode(second.update)
    assert entry.update is second.update
    road.settle(entry)
    assert first.told == second.told == [REPLY]


def test_last_does_not_touch_what_may_have_been_sent() -> None:
    road = Road("last", object())
    _, entry, _ = road.add("a")
    entry.started = True
    _, other, _ = road.add("b")
    assert other is not entry
    _, third, _ = road.add("c")
    assert third is other, "the one behind has not been sent"


def test_merge_joins_member_by_member() -> None:
    road = Road("merge", object())
    _, entry, _ = road.add("a", allow_download=True)
    second, same, _ = road.add("b", upload_source="phone")
    assert same is entry
    expected = Metadata.of(alt_text="b", allow_download=True, upload_source="phone")
    assert entry.update.metadata == expected
    assert body(entry) == encode(Update("1", expected))
    assert entry.update.ref == second.update.ref


def test_without_coalesce_different_ones_stay_apart() -> None:
    road = Road(None, object())
    _, entry, _ = road.add("a")
    assert road.add("b")[1] is not entry


def test_nobody_is_coalesced_who_did_not_ask() -> None:
    road = Road("last")  # every taker is its own owner, as a call is
    _, entry, _ = road.add("a")
    assert road.add("b")[1] is not entry


def test_one_that_others_share_is_not_replaced() -> None:
    road = Road("last", object())
    _, entry, _ = road.add("a")
    road.owner = None
    call, same, _ = road.add("a")
    assert same is entry
    road.owner = entry.sharers[0].owner
    _, other, _ = road.add("b")
    assert other is not entry
    road.settle(entry)
    assert call.told == [REPLY]
    assert body(entry) == encode(call.update)


@pytest.mark.parametrize(
    ("mode", "left", "expected"),
    [
        ("last", (0,), Metadata.of(alt_text="a", allow_download=True)),
        ("last", (0, 1), Metadata.of(alt_text="b")),
        ("merge", (0, 1), Metadata.of(alt_text="b", allow_download=True)),
        ("merge", (1, 2), Metadata.of(alt_text="c")),
    ],
)
def test_what_is_sent_is_made_of_those_who_are_left(mode: Coalesce, left: tuple[int, ...], expected: Metadata) -> None:
    road = Road(mode, object())
    _, entry, _ = road.add("a", allow_download=True)
    road.add("b")
    road.add("c")
    entry.sharers = [entry.sharers[number] for number in left]
    entry.left(encode)
    assert entry.update.metadata == expected
    assert body(entry) == encode(Update("1", expected))


def test_what_may_have_been_sent_stays_as_it_is() -> None:
    road = Road("last", object())
    _, entry, _ = road.add("a")
    road.add("b")
    entry.started = True
    sent = entry.body
    entry.sharers.pop()
    entry.left(encode)
    assert entry.body == sent


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        (Update("1"), Update("1", Metadata.of(alt_text="n")), Metadata.of(alt_text="n")),
        (Update("1", Metadata.of(alt_text="o")), Update("1"), Metadata.of(alt_text="o")),
        (Update("1", Metadata.of(alt_text="o")), Update("1", Metadata()), Metadata.of(alt_text="o")),
    ],
)
def test_merged_with_an_absent_metadata(older: Update, newer: Update, expected: Metadata) -> None:
    assert merged(older, newer).metadata == expected


def test_merged_keeps_the_newer_notes() -> None:
    older = Update("1", Metadata.of(alt_text="o"), ref="old", send_before=5)
    newer = Update("1", Metadata.of(alt_text="n"), ref="new")
    both = merged(older, newer)
    assert (both.ref, both.send_before) == ("new", None)


# Deadlines and urgency


def test_due_is_the_earliest_of_all_who_share() -> None:
    lanes = Lanes()
    entry = None
    for before in (None, 30, 20.5, None):
        update = Update("1", Metadata.of(alt_text="a"), send_before=before)
        entry, _ = lanes.add(update, encode(update), None, Taker(update))
    assert entry is not None
    assert entry.due == 20.5
    entry.sharers = [sharer for sharer in entry.sharers if sharer.update.send_before is None]
    entry.left(encode)
    assert entry.due is None


def test_who_comes_may_make_it_due_earlier() -> None:
    lanes = Lanes()
    moved = []
    for before in (30, 40, None, 30, 20):
        update = Update("1", Metadata.of(alt_text="a"), send_before=before)
        entry, _ = lanes.add(update, encode(update), None, Taker(update))
        moved.append(entry.moved)
    assert moved == [False, False, False, False, True]


def test_all_that_is_ahead_of_an_urgent_one_is_urgent() -> None:
    road = Road()
    first, a, _ = road.add("a")
    second, b, _ = road.add("b")
    _, c, _ = road.add("c")
    _, d, _ = road.add("d")
    road.lanes.hurry(c)
    assert [entry.urgent for entry in (a, b, c, d)] == [True, True, True, False]
    assert first.hurried == [a], "the one that leads is told, once"
    assert second.hurried == []
    road.lanes.hurry(c)
    assert first.hurried == [a]
    road.settle(a)
    road.lanes.hurry(d)
    assert d.urgent
    assert second.hurried == [], "what is urgent already knows"
