"""Two runs of one journal at the same time, which send different things to one media id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.journal_desk import Desk, row
from xmediameta.journal.lock import RunLock

OTHER = "https://elsewhere.example"


class Seat:
    """A run that is held, as by a process of its own."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.desk = Desk(path)
        self.lock = RunLock(self.desk.store.path, name)

    def start(self, **texts: str) -> None:
        """`start(m1="A")`: a media id and what it is to be sent."""
        assert self.lock.acquire()
        self.desk.start([row(media[1:], text) for media, text in texts.items()], name=self.name)

    def end(self) -> None:
        """It ends well."""
        self.desk.end()
        self.lock.release()

    def kill(self) -> None:
        """It records nothing any more."""
        self.lock.release()


@pytest.fixture
def seats(tmp_path: Path) -> Iterator[tuple[Seat, Seat]]:
    both = Seat(tmp_path / "journal.db", "one"), Seat(tmp_path / "journal.db", "two")
    yield both
    for seat in both:
        seat.lock.release()
        seat.desk.store.close()


def known(seat: Seat, *media: int) -> list[bool | None]:
    return [seat.desk.known(one) for one in media]


def test_one_that_ends_before_the_other_records_anything(seats: tuple[Seat, Seat]) -> None:
    one, two = seats
    one.start(m1="A")
    two.start(m1="B")
    mine, theirs = one.desk.draw(), two.desk.draw()
    one.desk.finish(*mine)
    one.end()
    two.desk.finish(*theirs)
    assert known(two, 1) == [False]


@pytest.mark.parametrize("order", ["one first", "two first"])
def test_nothing_is_sure_where_both_were_out(seats: tuple[Seat, Seat], order: str) -> None:
    one, two = seats
    one.start(m1="A", m2="same", m3="of one")
    two.start(m1="B", m2="same", m4="of two")
    drawn = [(seat, seat.desk.draw()) for seat in seats]
    for seat, tasks in drawn if order == "one first" else reversed(drawn):
        seat.desk.finish(*tasks)
    assert known(one, 1, 2, 3, 4) == [False, True, True, True]
    one.end()
    two.end()
    # So either is sent again, and settles it.
    assert one.desk.apply(row(1, "A"), name="three") == ["1:A"]
    assert known(one, 1) == [True]
    assert one.desk.apply(row(1, "A"), name="four") == []


def test_one_that_begins_later_is_noticed(seats: tuple[Seat, Seat]) -> None:
    one, two = seats
    one.start(m1="A", m2="A")
    tasks = one.desk.draw()
    one.desk.finish(tasks[0])
    assert known(one, 1) == [True]
    two.start(m1="B", m2="B")
    # What was recorded before is taken back by the draw of the other.
    theirs = two.desk.draw()
    assert known(one, 1, 2) == [False, None]
    one.desk.finish(tasks[1])
    two.kill()
    assert known(one, 1, 2) == [False, False], "the other had them out when it was killed"
    one.end()
    del theirs


def test_what_was_sent_before_is_not_sure_again_when_only_one_fails(seats: tuple[Seat, Seat]) -> None:
    one, two = seats
    one.desk.apply(row(1, "old"), row(2, "old"), name="before")
    one.start(m1="A", m2="A")
    two.start(m1="B")
    mine, theirs = one.desk.draw(), two.desk.draw()
    one.desk.finish(*mine, state="failed")
    assert known(one, 1, 2) == [False, True]
    two.desk.end(*theirs)
    assert known(one, 1) == [False], "it is not known of the other"


def test_one_after_the_other_is_sure(seats: tuple[Seat, Seat]) -> None:
    one, two = seats
    for seat, text in ((one, "A"), (two, "B")):
        seat.start(m1=text)
        seat.desk.finish(*seat.desk.draw())
        seat.end()
    assert known(one, 1) == [True]


def test_one_that_was_killed_long_ago_is_no_rival(seats: tuple[Seat, Seat]) -> None:
    one, two = seats
    one.start(m1="A")
    one.desk.draw()
    one.kill()
    two.start(m1="B")
    two.desk.finish(*two.desk.draw())
    assert known(one, 1) == [True]


def test_a_lock_that_cannot_be_looked_at_counts_as_held(seats: tuple[Seat, Seat]) -> None:
    one, two = seats
    one.start(m1="A")
    one.kill()
    one.lock.path.mkdir()
    two.start(m1="B")
    two.desk.finish(*two.desk.draw())
    assert known(one, 1) == [False]
    one.lock.path.rmdir()


def test_another_place_is_no_rival(seats: tuple[Seat, Seat]) -> None:
    one, two = seats
    one.start(m1="A")
    assert two.lock.acquire()
    two.desk.start([row(1, "B")], name="two", url=OTHER)
    for seat in seats:
        seat.desk.finish(*seat.desk.draw())
    assert [one.desk.known(1), one.desk.known(1, url=OTHER)] == [True, True]
