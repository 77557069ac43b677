"""`Metadata` and `Update`: short forms, the wire's shape, lines of JSON, and the rules that join members."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import jsonschema
import msgspec
import pytest
from msgspec import UNSET

from xmediameta import (
    AltText,
    AudiencePolicy,
    ContentExpiration,
    GeoRestrictions,
    InvalidUpdate,
    MediaKey,
    Metadata,
    PreviewImage,
    Sticker,
    Update,
)
from xmediameta.models import broken_rule, decode_update, line_schema
from xmediameta.shortform import SHORT_FORMS
from xmediameta.wire import encode

PAGE = Path(__file__).parents[3] / "shared" / "spec" / "create-media-metadata.page.txt"
ID = "1146654567674912769"
# The page's sample request: it fills both geo lists.
PAGE_REQUEST = {
    "id": ID,
    "metadata": {
        "allow_download_status": {"allow_download": True},
        "audience_policy": {"creator_subscriptions": [], "x_subscriptions": []},
        "geo_restrictions": {"blacklisted_country_codes": ["us"], "whitelisted_country_codes": ["us"]},
        "sensitive_media_warning": {"adult_content": True, "graphic_violence": True, "other": False},
    },
}


def line(metadata: object, **more: object) -> bytes:
    return json.dumps({"id": ID, "metadata": metadata, **more}).encode()


def refused(work: Any, *args: Any, **options: Any) -> InvalidUpdate:
    with pytest.raises(InvalidUpdate) as caught:
        work(*args, **options)
    # Neither input nor a foreign exception hangs on it.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


class TestShortForms:
    @pytest.mark.parametrize(
        ("flat", "wire"),
        [
            ({"alt_text": "A dancing cat"}, {"alt_text": {"text": "A dancing cat"}}),
            ({"alt_text": ""}, {"alt_text": {"text": ""}}),
            ({"allow_download": False}, {"allow_download_status": {"allow_download": False}}),
            ({"adult_content": True, "other_sensitive": False},
             {"sensitive_media_warning": {"adult_content": True, "other": False}}),
            ({"graphic_violence": True}, {"sensitive_media_warning": {"graphic_violence": True}}),
            ({"allowed_countries": ["us", "DE"]},
             {"geo_restrictions": {"whitelisted_country_codes": ["us", "DE"], "blacklisted_country_codes": []}}),
            ({"blocked_countries": ("fr",)},
             {"geo_restrictions": {"whitelisted_country_codes": [], "blacklisted_country_codes": ["fr"]}}),
            ({"content_expires_at": 1740787200}, {"content_expiration": {"timestamp_sec": 1740787200}}),
            ({"content_expires_at": datetime(2025, 3, 1, tzinfo=UTC)},
             {"content_expiration": {"timestamp_sec": 1740787200}}),
            ({"content_expires_at": datetime(2025, 3, 1, 5, 30, 0, 999_999, timezone(timedelta(hours=5, minutes=30)))},
             {"content_expiration": {"timestamp_sec": 1740787200}}),
            ({"allowed_domains": ["a.example"]}, {"domain_restrictions": {"whitelist": ["a.example"]}}),
            ({"managed": True, "shared": False},
             {"management_info": {"managed": True}, "shared_info": {"shared": False}}),
            ({"upload_source": "gallery"}, {"upload_source": {"upload_source": "gallery"}}),
            ({"origin_provider": "giphy", "origin_id": "u5"},
             {"found_media_origin": {"provider": "giphy", "id": "u5"}}),
            ({"preview_media_id": "7"},
             {"preview_image": {"media_key": {"media": "7", "media_category": "TweetImage"}}}),
            ({"creator_subscriptions": ["Any"], "x_subscriptions": []},
             {"audience_policy": {"creator_subscriptions": ["Any"], "x_subscriptions": []}}),
            ({"stickers": [Sticker(id="1"), {"transform_a": 1}]},
             {"sticker_info": {"stickers": [{"id": "1"}, {"transform_a": 1.0}]}}),
            ({}, {}),
        ],
    )  # fmt: skip
    def test_each_is_the_wires_shape(self, flat: dict[str, Any], wire: dict[str, Any]) -> None:
        metadata = Metadata.of(**flat)
        assert json.loads(msgspec.json.encode(metadata)) == wire
        assert msgspec.convert(wire, Metadata) == metadata

    def test_none_is_absent(self) -> None:
        assert Metadata.of(**cast("dict[str, Any]", dict.fromkeys(SHORT_FORMS))) == Metadata()

    def test_of_takes_every_short_form_and_no_other(self) -> None:
        taken = set(Metadata.of.__func__.__kwdefaults__)  # type: ignore[attr-defined]
        assert taken == set(SHORT_FORMS)

    def test_every_short_form_leads_to_a_member(self) -> None:
        for path in SHORT_FORMS.values():
            schema = msgspec.json.schema(Metadata)
            at = schema["$defs"]["Metadata"]
            for step in path:
                at = at["properties"][step]
                at = schema["$defs"][at["$ref"].rpartition("/")[2]] if "$ref" in at else at

    @pytest.mark.parametrize(
        ("flat", "member", "rule"),
        [
            ({"alt_text": "x" * 1043}, "alt_text", "1,043 characters, 43 too many (at most 1,000)"),
            ({"alt_text": 7}, "alt_text", "must be text in quotes, not a number (7)"),
            ({"alt_text": object()}, "alt_text", "Encoding objects of type object is unsupported"),
            ({"alt_text": b"bytes"}, "alt_text", "must be text, not bytes"),
            ({"alt_text": UUID(int=1)}, "alt_text", "must be text, not uuid"),
            ({"allow_download": 1}, "allow_download", "must be true or false, not a whole number"),
            ({"other_sensitive": "no"}, "other_sensitive", "must be true or false, not text"),
            ({"content_expires_at": datetime(2025, 3, 1)}, "content_expires_at",
             "a time needs its zone, as in 2026-01-31T12:00:00Z"),
            ({"content_expires_at": date(2025, 3, 1)}, "content_expires_at", "must be a whole number, not date"),
            ({"content_expires_at": "tomorrow"}, "content_expires_at", "must be a whole number, not text"),
            ({"content_expires_at": 1.5}, "content_expires_at",
             "must be a whole number, without a point or an exponent (1.5)"),
            ({"content_expires_at": Decimal(7)}, "content_expires_at", "must be a whole number, not decimal"),
            ({"content_expires_at": 2**63}, "content_expires_at", "a number too large for the contract"),
            ({"allowed_countries": "us"}, "allowed_countries", "must be a list, not text"),
            ({"allowed_countries": {"us"}}, "allowed_countries", "must be a list, not a set"),
            ({"allowed_countries": ["us", "USA"]}, "allowed_countries",
             "'USA' is not a country code of two letters (ISO 3166-1 alpha-2)"),
            ({"origin_provider": "giphygiphy", "origin_id": "1"}, "origin_provider",
             "10 characters, 2 too many (at most 8)"),
            ({"origin_provider": "giphy", "origin_id": "x" * 25}, "origin_id",
             "25 characters, 1 too many (at most 24)"),
            ({"origin_provider": "giphy"}, "origin_id", "is missing"),
            ({"origin_id": "1"}, "origin_provider", "is missing"),
            ({"preview_media_id": "3_7"}, "preview_media_id",
             "'3_7' is a media key; the media id is what follows the underscore: '7'"),
            ({"preview_media_id": 7}, "preview_media_id",
             "must be text in quotes, not a number (7): a number may lose its last digits on the way"),
            ({"x_subscriptions": ["All"]}, "x_subscriptions", 'must be "Any", the only value that X publishes'),
            ({"stickers": []}, "stickers", "is empty (at least 1 sticker)"),
            ({"stickers": [{}] * 27}, "stickers", "27 stickers, 2 too many (at most 25)"),
            ({"stickers": [{"ID": "1"}]}, "stickers[].ID", "is not a member of the contract; did you mean 'id'?"),
            ({"stickers": [{}, {"transform_a": "1"}]}, "stickers[].transform_a", "must be a number, not text"),
        ],
    )  # fmt: skip
    def test_what_is_refused_names_the_short_form(self, flat: dict[str, Any], member: str, rule: str) -> None:
        error = refused(Metadata.of, **flat)
        assert (error.member, error.rule) == (member, rule)
        assert str(error) == f"{member}: {rule}"

    def test_it_is_immutable_and_survives_copies(self) -> None:
        metadata = Metadata.of(alt_text="x", stickers=[Sticker(id="1")])
        with pytest.raises(AttributeError):
            metadata.alt_text = AltText("y")  # type: ignore[misc]
        for again in (copy.deepcopy(metadata), pickle.loads(pickle.dumps(metadata))):
            assert again == metadata
            assert again.shared_info is UNSET


class TestPage:
    def test_its_sample_request_is_refused_by_default(self) -> None:
        error = refused(decode_update, json.dumps(PAGE_REQUEST).encode())
        assert error.member == "metadata.geo_restrictions"
        lists = "whitelisted_country_codes and blacklisted_country_codes"
        assert error.rule == f"exactly one of {lists} must hold countries; both are filled"
        assert refused(encode, Update.from_mapping(PAGE_REQUEST)).rule == error.rule
        assert refused(Update.from_mapping(PAGE_REQUEST).check).rule == error.rule

    def test_its_sample_request_is_sent_as_it_is_when_not_strict(self) -> None:
        update = decode_update(json.dumps(PAGE_REQUEST).encode(), strict=False)
        assert json.loads(encode(update, strict=False)) == PAGE_REQUEST

    def test_it_is_the_pages(self) -> None:
        if not PAGE.exists():
            pytest.skip("the page is not here")
        text = PAGE.read_text("utf-8")
        assert json.loads(text.partition("--data '\n")[2].partition("\n'\n")[0]) == PAGE_REQUEST


class TestRules:
    @pytest.mark.parametrize(
        ("metadata", "broken"),
        [
            ({"geo_restrictions": {"whitelisted_country_codes": ["us"], "blacklisted_country_codes": []}}, None),
            ({"geo_restrictions": {"whitelisted_country_codes": [], "blacklisted_country_codes": ["us"]}}, None),
            ({"geo_restrictions": {"whitelisted_country_codes": ["us"], "blacklisted_country_codes": ["de"]}},
             "both are filled"),
            ({"geo_restrictions": {"whitelisted_country_codes": [], "blacklisted_country_codes": []}},
             "both are empty"),
            ({"geo_restrictions": {"whitelisted_country_codes": ["us"]}},
             "blacklisted_country_codes must be there too, as an empty list"),
            ({"geo_restrictions": {"blacklisted_country_codes": ["us"]}},
             "whitelisted_country_codes must be there too, as an empty list"),
            ({"geo_restrictions": {}}, "must be there too"),
            ({"content_expiration": {"timestamp_sec": 253402300799}}, None),
            ({"content_expiration": {"timestamp_sec": 253402300800}}, "is in seconds; this looks like milliseconds"),
            ({"content_expiration": {"timestamp_sec": 0}}, None),
            ({"alt_text": {"text": ""}}, None),
            ({}, "is empty: the update would set nothing"),
        ],
    )  # fmt: skip
    def test_each_is_checked_everywhere_unless_not_strict(self, metadata: dict[str, Any], broken: str | None) -> None:
        update = decode_update(line(metadata), strict=False)
        fault = broken_rule(update)
        assert (fault is None) == (broken is None)
        for check in (lambda: decode_update(line(metadata)), update.check, lambda: encode(update)):
            if broken is None:
                check()
            else:
                assert broken in refused(check).rule
        update.check(strict=False)
        assert json.loads(encode(update, strict=False))["metadata"] == metadata

    def test_missing_metadata(self) -> None:
        assert refused(decode_update, b'{"id":"7"}').rule.startswith("is missing: the update would set nothing")
        assert decode_update(b'{"id":"7"}', strict=False) == Update("7")
        Update("7").check(strict=False)

    def test_the_geo_rule_is_the_contracts_one_of(self) -> None:
        path = PAGE.with_name("media-metadata-2.159.openapi.json")
        if not path.exists():
            pytest.skip("the contract is not here")
        schema = json.loads(path.read_text("utf-8"))["components"]["schemas"]["GeoRestrictions"]
        lists: list[list[str] | None] = [None, [], ["us"], ["us", "DE"]]
        for allowed in lists:
            for blocked in lists:
                named = {"whitelisted_country_codes": allowed, "blacklisted_country_codes": blocked}
                geo = {name: value for name, value in named.items() if value is not None}
                ours = broken_rule(Update.from_mapping({"id": "1", "metadata": {"geo_restrictions": geo}})) is None
                assert ours == jsonschema.Draft4Validator(schema).is_valid(geo)


class TestUpdate:
    def test_it_takes_what_the_wire_and_the_caller_name(self) -> None:
        update = Update.from_mapping(
            {"id": "7", "metadata": {"alt_text": {"text": "x"}}, "account": "main", "ref": 7, "send_before": 1.5}
        )
        assert update == Update("7", Metadata.of(alt_text="x"), account="main", ref=7, send_before=1.5)
        assert Update.from_mapping({"id": "7", "metadata": Metadata.of(alt_text="x")}).metadata == update.metadata

    @pytest.mark.parametrize(
        ("send_before", "deadline"),
        [
            (None, None),
            (1_900_000_000, 1_900_000_000),
            (0.5, 0.5),
            (datetime(2025, 3, 1, tzinfo=UTC), 1740787200.0),
            ("2025-03-01T00:00:00Z", 1740787200.0),
            ("2025-03-01T01:00:00+01:00", 1740787200.0),
        ],
    )
    def test_the_deadline_in_unix_seconds(self, send_before: Any, deadline: float | None) -> None:
        assert Update.from_mapping({"id": "7", "send_before": send_before}).deadline == deadline

    @pytest.mark.parametrize(
        ("more", "member", "rule"),
        [
            ({"send_before": "2025-03-01T00:00:00"}, "send_before",
             "a time needs its zone, as in 2026-01-31T12:00:00Z"),
            ({"send_before": "tomorrow"}, "send_before",
             "not a time; write it as 2026-01-31T12:00:00Z or in Unix seconds"),
            ({"send_before": 1_900_000_000_000}, "send_before", "is in seconds; this looks like milliseconds"),
            ({"send_before": True}, "send_before", "must be a whole number or a number or a time or null"),
            ({"account": 7}, "account", "must be text or null, not a whole number"),
            ({"ref": 1.5}, "ref", "must be a whole number, without a point or an exponent (1.5)"),
            ({"ref": 2**63}, "ref", "a number too large for the contract"),
            ({"ref": [1]}, "ref", "must be a whole number or text or null, not a list"),
            ({"refs": 1}, "refs", "is not a member of the contract; did you mean 'ref'?"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("strict", [True, False])
    def test_notes_that_cannot_be_kept(self, more: dict[str, Any], member: str, rule: str, strict: bool) -> None:
        error = refused(decode_update, line({"alt_text": {"text": "x"}}, **more), strict=strict)
        assert error.member == member
        assert rule in error.rule
        assert str(refused(Update.from_mapping, {"id": "7", **more})) == str(error)

    @pytest.mark.parametrize(
        "odd",
        [{1: 2}, {"id": object()}, {"id": 10**5000}, {"id": "1", "send_before": float("nan")}, {"id": "1", "ref": b"x"},
         {"id": "1", "metadata": {"alt_text": object()}}, {"id": "1", "metadata": [("alt_text", 1)]}, {}],
    )  # fmt: skip
    def test_no_mapping_raises_anything_else(self, odd: dict[str, Any]) -> None:
        refused(Update.from_mapping, odd)

    def test_a_member_may_not_be_null(self) -> None:
        for name in Metadata.__struct_fields__:
            assert refused(decode_update, line({name: None})).rule == "must be an object, not null"

    def test_a_subclass_is_still_an_update(self) -> None:
        class Row(Update, frozen=True):
            number: int = 0

        Row("7", Metadata.of(alt_text="x"), number=3).check()
        error = refused(Row("7x", Metadata.of(alt_text="x"), number=3).check)
        assert error.member == "id"


class TestLines:
    @pytest.mark.parametrize(
        ("text", "member", "rule"),
        [
            (b"", "", "broken JSON: "),
            (b"{", "", "broken JSON: "),
            (b'{"id":"1"}{"id":"2"}', "", "broken JSON: "),
            (b'{"id":"1",}', "", "broken JSON: "),
            (b"[]", "", "must be an object, not a list"),
            (b"null", "", "must be an object, not null"),
            (b'"1"', "", "must be an object, not text"),
            (b"{}", "id", "is missing"),
            (b'{"id":"12345678901234567890"}', "id", "20 digits, 1 too many (at most 19)"),
            (b'{"id":1146654567674912769}', "id",
             "must be text in quotes, not a number (1146654567674912769): a number may lose its last digits"),
            (b'{"id":"caf\xe9"}', "", "is not UTF-8 (byte 11 is 0xe9; the file may be in latin-1 or UTF-16)"),
            (b'{"id":7,"metadata":{"alt_text":{"text":"caf\xe9"}}}', "", "is not UTF-8 (byte 44 is 0xe9"),
            ('{"id":"1"}'.encode("utf-16"), "", "is not UTF-8 (byte 1 is 0xff"),
            (b'\xef\xbb\xbf{"id":"1"}', "", "broken JSON: "),  # the readers take a byte-order mark away
            (b'{"id":7,"metadata":', "", "broken JSON: "),
            (b'{"id":"1","ref":"\\ud83d"}', "", "lone surrogate (half a character, as a cut emoji leaves it)"),
            (b'{"id":"1","ref":"\\ude00\\ud83d"}', "", "lone surrogate"),
            (b'{"id":"1","ref":' + b"1" * 5000 + b"}", "", "a number out of range"),
            (b'{"id":"1","ref":1e400}', "", "a number out of range"),
            (b'{"id":"1","x":' + b"[" * 100_000, "", "nested too deeply"),
            (b'{"id":"1","metadata":' * 100_000, "", "nested too deeply"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_what_is_no_update(self, text: bytes, member: str, rule: str, kind: Any) -> None:
        error = refused(decode_update, kind(text), strict=False)
        assert error.member == member
        assert rule in error.rule

    def test_an_escaped_pair_is_one_character(self) -> None:
        assert decode_update(b'{"id":"1","ref":"\\ud83d\\ude00"}', strict=False).ref == "\U0001f600"


class TestSchema:
    def test_it_is_a_json_schema_that_says_what_we_say(self) -> None:
        schema = line_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        good = [PAGE_REQUEST, {"id": "7"}, {"id": "7", "metadata": {"alt_text": {"text": "x" * 1000}}, "ref": 7}]
        bad: list[Any] = [
            {},
            {"id": "7x"},
            {"id": 7},
            {"id": "7", "metadata": {"alt_text": {"text": "x" * 1001}}},
            {"id": "7", "metadata": {"sticker_info": {"stickers": []}}},
            {"id": "7", "metadata": {"surprise": {}}},
            {"id": "7", "metadata": None},
        ]
        assert [one for one in good if not validator.is_valid(one)] == []
        assert [one for one in bad if validator.is_valid(one)] == []

    def test_its_patterns_are_valid_where_editors_run_them(self) -> None:
        """ECMA's dialect has no `\\Z`, but it has look-ahead."""
        text = json.dumps(line_schema())
        assert "\\\\Z" not in text
        assert '"$schema": "https://json-schema.org/draft/2020-12/schema"' in text


def test_hand_built_members_need_not_be_short_forms() -> None:
    metadata = Metadata(
        audience_policy=AudiencePolicy(x_subscriptions=["Any"]),
        content_expiration=ContentExpiration(1740787200),
        geo_restrictions=GeoRestrictions(["us"], []),
        preview_image=PreviewImage(MediaKey("7")),
    )
    Update(ID, metadata).check()
    assert decode_update(encode(Update(ID, metadata))) == Update(ID, metadata)
