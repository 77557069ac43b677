"""How an update ended, and X's echo of it."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.samples.load import SAMPLES
from xmediameta import AltText, Applied, Failed, InvalidUpdate, Metadata, NotSent, Unchanged, Update
from xmediameta.outcomes import Outcome, read_echo

UPDATE = Update("7", Metadata.of(alt_text="x"), account="main", ref="row 7")
OUTCOMES: list[Outcome] = [
    Applied(UPDATE, transaction_id="9f3c", attempts=2),
    Unchanged(UPDATE, sent_at=datetime(2026, 11, 25, tzinfo=UTC)),
    Failed(UPDATE, error=InvalidUpdate("id", "is empty")),
    NotSent(UPDATE, reason="expired"),
]
PAGE = Path(__file__).parents[3] / "shared" / "spec" / "create-media-metadata.page.txt"


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
class TestEveryOutcome:
    def test_it_carries_the_update_and_the_ref(self, outcome: Outcome) -> None:
        assert outcome.update is UPDATE
        assert (outcome.id, outcome.ref) == ("7", "row 7")

    def test_it_is_immutable(self, outcome: Outcome) -> None:
        with pytest.raises(AttributeError):
            outcome.update = UPDATE  # type: ignore[misc]

    def test_it_survives_pickling(self, outcome: Outcome) -> None:
        again = pickle.loads(pickle.dumps(outcome))
        assert type(again) is type(outcome)
        assert repr(again) == repr(outcome)


class TestEcho:
    def test_the_pages_sample_response_decodes_into_the_structs(self) -> None:
        plain = json.loads(SAMPLES["200-with-warnings"].body)["data"]["associated_metadata"]
        echo = read_echo(json.dumps(plain).encode())
        assert echo is not None
        assert echo.alt_text == AltText("A dancing cat")
        assert json.loads(msgspec.json.encode(echo)) == plain
        assert plain.keys() == set(Metadata.__struct_fields__)

    def test_the_sample_is_the_pages(self) -> None:
        if not PAGE.exists():
            pytest.skip("the page is not here")
        text = PAGE.read_text("utf-8").partition("\n'\n")[2].partition("\n\n")[0]
        assert json.loads(text) == json.loads(SAMPLES["200-with-warnings"].body)

    def test_it_is_read_when_asked_for(self) -> None:
        applied = Applied(UPDATE, raw_metadata=b'{"alt_text":{"text":"y"}}')
        assert applied.associated_metadata == Metadata.of(alt_text="y")
        assert Applied(UPDATE).associated_metadata is None

    @pytest.mark.parametrize(
        ("plain", "flat"),
        [
            ({}, {}),
            ({"alt_text": {"text": "y", "language": "en"}, "novel": {"x": 1}}, {"alt_text": "y"}),
            ({"alt_text": {"text": "x" * 2000}, "shared_info": {"shared": True}}, {"shared": True}),
            ({"alt_text": None, "shared_info": {"shared": True}}, {"shared": True}),
            ({"alt_text": "y", "management_info": {"managed": False}}, {"managed": False}),
            (
                {"sticker_info": {"stickers": [{"id": "1", "novel": 2, "transform_a": None}]}},
                {"stickers": [{"id": "1"}]},
            ),
            ({"content_expiration": {"timestamp_sec": "soon"}}, {}),
        ],
    )
    def test_what_does_not_fit_is_left_out(self, plain: Any, flat: dict[str, Any]) -> None:
        assert read_echo(json.dumps(plain).encode()) == Metadata.of(**flat)

    @pytest.mark.parametrize(
        "raw",
        [b"", b"null", b"[]", b"7", b"{", b"\xff", b'{"a":1e999}', b'{"alt_text":{"text":"\xe9"}}', b"[" * 100_000,
         b'{"a":' * 100_000],
    )  # fmt: skip
    def test_what_cannot_be_read_is_none(self, raw: bytes) -> None:
        assert read_echo(raw) is None

    def test_deep_nesting_of_what_the_contract_knows(self) -> None:
        nested = b'{"preview_image":' * 900 + b"{}" + b"}" * 900
        assert read_echo(nested) in (Metadata(), None)
