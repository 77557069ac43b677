"""Media ids with several rows: coalesced, or told of where they set different members."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.journal_desk import Desk, bad, row, shown
from xmediameta.coalesce import Coalesce
from xmediameta.journal import Clash, Clashes, Incoming
from xmediameta.models import Metadata, Update
from xmediameta.wire import encode


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "journal.db")
    yield desk
    desk.store.close()


def setting(media_id: int, *, account: str | None = None, source: str | None = None, **members: Any) -> Incoming:
    """A row that sets these."""
    update = Update(str(media_id), Metadata.of(**members), account)
    return Incoming(update=update, body=encode(update), source=source)


def requests(desk: Desk) -> list[Any]:
    """What would be sent for each row."""
    return [json.loads(task.body or "null") for task in desk.store.tasks(desk.record.load, -1, 1000)]


ABC = [row(1, "A"), row(2, "X"), row(1, "B"), row(1, "C")]


@pytest.mark.parametrize("coalesce", ["last", "merge"])
def test_one_request_whose_outcome_all_share(desk: Desk, coalesce: Coalesce) -> None:
    assert desk.apply(*ABC, coalesce=coalesce) == ["1:C+2", "2:X"]
    assert desk.states == ["applied"] * 4
    assert [request["metadata"]["alt_text"]["text"] for request in requests(desk)] == ["C", "X", "C", "C"]
    assert desk.apply(*ABC, coalesce=coalesce) == []
    assert desk.apply(row(1, "C"), name="another") == []


def test_last_leaves_out_what_only_an_earlier_row_sets(desk: Desk) -> None:
    desk.start([setting(1, alt_text="A", allow_download=True), setting(1, alt_text="B")], coalesce="last")
    assert requests(desk) == [{"id": "1", "metadata": {"alt_text": {"text": "B"}}}] * 2


def test_merge_keeps_it_and_the_newer_wins(desk: Desk) -> None:
    desk.start(
        [
            setting(1, alt_text="A", allow_download=True),
            setting(1, alt_text="B"),
            setting(1, managed=True),
            setting(1, account="shop", shared=True),
        ],
        coalesce="merge",
    )
    joined = {
        "allow_download_status": {"allow_download": True},
        "alt_text": {"text": "B"},
        "management_info": {"managed": True},
    }
    assert requests(desk) == [
        *[{"id": "1", "metadata": joined}] * 3,
        {"id": "1", "metadata": {"shared_info": {"shared": True}}},
    ]
    assert [len(task.followers) for task in desk.draw()] == [2]


def test_invalid_rows_are_out_of_it(desk: Desk) -> None:
    desk.start([row(1, "A"), bad("1"), row(1, "B")], coalesce="last")
    assert [shown(task) for task in desk.draw()] == ["1:B+1"]
    assert desk.states == ["pending", "invalid", "pending"]


def test_rows_that_come_later_are_merged_with_those_that_were_there(desk: Desk) -> None:
    first = setting(1, alt_text="A", allow_download=True)
    desk.start([first, row(2, "X")], coalesce="merge")
    desk.start([first, row(2, "X"), setting(1, alt_text="B")], coalesce="merge")
    assert not desk.loaded.same
    assert requests(desk)[0] == requests(desk)[2]
    assert requests(desk)[0]["metadata"]["allow_download_status"] == {"allow_download": True}
    assert [shown(task) for task in desk.draw()] == ["1:B+1", "2:X"]


@pytest.mark.parametrize("coalesce", ["last", "merge"])
def test_the_same_again_goes_on_where_it_stopped(desk: Desk, coalesce: Coalesce) -> None:
    rows = [*ABC, row(3, "Y")]
    assert desk.apply(*rows, most=2, coalesce=coalesce) == ["1:C+2", "2:X"]
    assert desk.apply(*rows, coalesce=coalesce) == ["3:Y"]
    assert desk.loaded.resumed
    assert (desk.loaded.new, desk.loaded.removed) == (0, 0)


@pytest.mark.parametrize(
    ("before", "after", "sent"),
    [
        (None, "last", ["1:C+2"]),  # A was sent, C is to be
        (None, "merge", ["1:C+2"]),
        ("last", None, []),  # C was sent, which is what the media is to have in the end
        ("last", "merge", []),
    ],
)
def test_to_resume_in_another_way(desk: Desk, before: Coalesce, after: Coalesce, sent: list[str]) -> None:
    rows = [*ABC, row(3, "Y")]
    desk.apply(*rows, most=1, coalesce=before)
    assert desk.apply(*rows, coalesce=after) == [*sent, "2:X", "3:Y"]
    assert desk.known(1)


def test_without_media_ids_of_several_rows_the_same_is_only_compared(desk: Desk) -> None:
    rows = [row(1, "A"), row(2, "B")]
    desk.start(rows)
    assert desk.start(rows, coalesce="merge").same
    assert desk.start(rows).same


def test_different_members_are_told(desk: Desk) -> None:
    rows = [
        setting(1, alt_text="A", source="a.csv:2"),
        setting(2, alt_text="B"),
        setting(1, alt_text="C", source="a.csv:4"),  # the same members
        setting(3, alt_text="D", source="a.csv:5", account="shop"),
        setting(3, alt_text="E", managed=True, source="a.csv:6", account="shop"),
        setting(1, account="shop", shared=True),  # another account's
        setting(4, alt_text="F"),
        setting(4, alt_text="F"),
        setting(4, shared=True),
    ]
    expected = Clashes(
        count=2,
        examples=(
            Clash(id="4", account=None, sources=("row 7", "row 9"), members=(("alt_text",), ("shared_info",))),
            Clash(
                id="3",
                account="shop",
                sources=("a.csv:5", "a.csv:6"),
                members=(("alt_text",), ("alt_text", "management_info")),
            ),
        ),
    )
    told = desk.start(rows, fingerprint="one").clashes
    assert (told.count, set(told.examples)) == (2, set(expected.examples))
    # Each time, whether the rows are read, compared, or known by their fingerprint.
    assert desk.start(rows, fingerprint="two").clashes == told
    assert desk.start((), fingerprint="two").clashes == told
    assert desk.start(rows, name="others").clashes == told
    assert desk.start(rows, coalesce="merge").clashes == Clashes()


def test_a_few_examples_of_many(desk: Desk) -> None:
    rows = [each for n in range(50) for each in (setting(n, alt_text="A"), setting(n, shared=True))]
    told = desk.start(rows).clashes
    assert (told.count, len(told.examples)) == (50, 3)
