"""Refusals in a person's words: the member, the rule, by how much, and what was meant."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from xmediameta import InvalidUpdate, Metadata, Update
from xmediameta.explain import explain, is_media_id, suggestion
from xmediameta.models import decode_update
from xmediameta.shortform import SHORT_FORMS, complete, expand, put, short_name

DIGITS = "1146654567674912769"


def fault(plain: Any) -> tuple[str, str]:
    """What is said about an input line, read from JSON and, the same, from a mapping."""
    with pytest.raises(InvalidUpdate) as from_json:
        decode_update(json.dumps(plain).encode(), strict=False)
    with pytest.raises(InvalidUpdate) as from_mapping:
        Update.from_mapping(plain)
    assert str(from_json.value) == str(from_mapping.value)
    return from_json.value.member, from_json.value.rule


def within(**metadata: Any) -> dict[str, Any]:
    return {"id": "7", "metadata": metadata}


class TestDidYouMean:
    @pytest.mark.parametrize(
        ("plain", "member", "hint"),
        [
            ({"id": "7", "metdata": {}}, "metdata", "; did you mean 'metadata'?"),
            ({"id": "7", "Metadata": {}}, "Metadata", "; did you mean 'metadata'?"),
            ({"id": "7", "media_id": "7"}, "media_id", "; did you mean 'id'?"),
            ({"id": "7", "media_id_string": "7"}, "media_id_string", "; did you mean 'id'?"),
            ({"id": "7", "reff": "7"}, "reff", "; did you mean 'ref'?"),
            ({"id": "7", "sendbefore": 7}, "sendbefore", "; did you mean 'send_before'?"),
            ({"id": "7", "zzzz": 7}, "zzzz", ""),
            (within(alttext={}), "metadata.alttext", "; did you mean 'alt_text'?"),
            (within(geo_restriction={}), "metadata.geo_restriction", "; did you mean 'geo_restrictions'?"),
            (within(alt_text={"txt": "x"}), "metadata.alt_text.txt", "; did you mean 'text'?"),
            (within(sticker_info={"stickers": [{"transform_x": 1}]}), "metadata.sticker_info.stickers[].transform_x",
             "; did you mean 'transform_tx'?"),
            (within(preview_image={"media_key": {"medium": "7"}}), "metadata.preview_image.media_key.medium",
             "; did you mean 'media'?"),
        ],
    )  # fmt: skip
    def test_a_name_that_is_near(self, plain: Any, member: str, hint: str) -> None:
        assert fault(plain) == (member, f"is not a member of the contract{hint}")

    @pytest.mark.parametrize("name", sorted(set(SHORT_FORMS) - {"alt_text", "upload_source"}))
    def test_a_short_form_in_the_wires_shape(self, name: str) -> None:
        shape = "is not a member of the contract; the wire's shape is metadata." + ".".join(SHORT_FORMS[name])
        assert fault({"id": "7", name: "x"}) == (name, shape)
        assert fault(within(**{name: "x"})) == (f"metadata.{name}", shape)

    @pytest.mark.parametrize("name", sorted(set(Metadata.__struct_fields__) - set(SHORT_FORMS)))
    def test_a_member_beside_metadata(self, name: str) -> None:
        assert fault({"id": "7", name: {}}) == (name, "is not a member of the contract; it belongs in metadata")

    @pytest.mark.parametrize(
        ("name", "known", "hint"),
        [
            ("alt_txt", ["alt_text", "id"], "; did you mean 'alt_text'?"),
            (" ALT_TEXT ", ["alt_text"], "; did you mean 'alt_text'?"),
            ("media_id", ["alt_text"], ""),
            ("", ["id"], ""),
            ("x" * 1_000_000, ["id"], ""),
        ],
    )
    def test_suggestion(self, name: str, known: list[str], hint: str) -> None:
        assert suggestion(name, known) == hint


class TestRules:
    @pytest.mark.parametrize(
        ("plain", "member", "rule"),
        [
            ({}, "id", "is missing"),
            ({"id": ""}, "id", "is empty; a media id has 1 to 19 digits"),
            ({"id": "1" * 22}, "id", "22 digits, 3 too many (at most 19)"),
            ({"id": f"3_{DIGITS}"}, "id",
             f"'3_{DIGITS}' is a media key; the media id is what follows the underscore: '{DIGITS}'"),
            ({"id": "3_" + "1" * 20}, "id", f"{'3_' + '1' * 20!r} is not a media id (1 to 19 digits)"),
            ({"id": "seven"}, "id", "'seven' is not a media id (1 to 19 digits)"),
            ({"id": "x" * 1000}, "id", f"'{'x' * 39}… is not a media id (1 to 19 digits)"),
            ({"id": "1.5e18"}, "id", "'1.5e18' is not a media id (1 to 19 digits)"),
            ({"id": "7", "metadata": []}, "metadata", "must be an object, not a list"),
            (within(alt_text={"text": "x" * 1001}), "metadata.alt_text.text",
             "1,001 characters, 1 too many (at most 1,000)"),
            (within(alt_text={"text": 1.25}), "metadata.alt_text.text", "must be text in quotes, not a number (1.25)"),
            (within(alt_text={"text": True}), "metadata.alt_text.text", "must be text, not true or false"),
            (within(alt_text={"text": {}}), "metadata.alt_text.text", "must be text, not an object"),
            (within(sensitive_media_warning={"other": "yes"}), "metadata.sensitive_media_warning.other",
             "must be true or false, not text"),
            (within(content_expiration={"timestamp_sec": 2**63}), "metadata.content_expiration.timestamp_sec",
             "a number too large for the contract"),
            (within(content_expiration={"timestamp_sec": 1e30}), "metadata.content_expiration.timestamp_sec",
             "must be a whole number, without a point or an exponent"),
            (within(found_media_origin={"provider": "x" * 9, "id": "1"}), "metadata.found_media_origin.provider",
             "9 characters, 1 too many (at most 8)"),
            (within(geo_restrictions={"whitelisted_country_codes": ["us", "gb", "uk2"]}),
             "metadata.geo_restrictions.whitelisted_country_codes[]",
             "'uk2' is not a country code of two letters (ISO 3166-1 alpha-2)"),
            (within(sticker_info={"stickers": [{}] * 30}), "metadata.sticker_info.stickers",
             "30 stickers, 5 too many (at most 25)"),
            (within(sticker_info={"stickers": [{"id": "1"}, {"id": 12}]}), "metadata.sticker_info.stickers[].id",
             "must be text in quotes, not a number (12): a number may lose its last digits on the way"),
            (within(preview_image={"media_key": {"media_category": "TweetGif"}}),
             "metadata.preview_image.media_key.media_category",
             'must be "TweetImage", the only value that X publishes'),
        ],
    )  # fmt: skip
    def test_what_is_said(self, plain: Any, member: str, rule: str) -> None:
        assert fault(plain) == (member, rule)


class TestHostileInput:
    @pytest.mark.parametrize(
        "name",
        [
            "\x1b[31m\x07",
            "a` - at `$.metadata",
            "a\nb",
            "\u202eevil",
            "`",
            "",
            "[0]",
            "x" * 1_000_000,
            "Expected `str`, got `int` - at `$.id`",
        ],
    )
    def test_names_are_escaped_and_bounded(self, name: str) -> None:
        for plain in ({"id": "7", name: 1}, within(**{name: 1}), within(alt_text={name: 1})):
            with pytest.raises(InvalidUpdate) as caught:
                decode_update(json.dumps(plain).encode())
            text = str(caught.value)
            assert text.isprintable()
            assert len(text) < 300

    @pytest.mark.parametrize("value", ["\x1b[31m" * 100_000, "\u202e\n" * 500_000, "\u2028"])
    def test_values_are_escaped_and_bounded(self, value: str) -> None:
        for plain in ({"id": value}, within(geo_restrictions={"whitelisted_country_codes": [value]})):
            member, rule = fault(plain)
            assert rule.isprintable()
            assert len(member + rule) < 300

    def test_what_msgspec_may_say_one_day_is_passed_on(self) -> None:
        error = msgspec.ValidationError("A `new` complaint\x1b - at `$.metadata.alt_text`")
        assert explain(error, {}, Update) == ("metadata.alt_text", "A new complaint\\x1b")
        assert explain(RecursionError(), {}, Update) == ("", "nested too deeply")
        assert explain(msgspec.DecodeError("odd\n"), None, Update) == ("", "odd\\n")


@pytest.mark.parametrize(
    ("text", "good"),
    [("7", True), ("1" * 19, True), ("1" * 20, False), ("", False), ("7\n", False), ("٣", False), (" 7", False)],
)
def test_is_media_id(text: str, good: bool) -> None:
    assert is_media_id(text) is good


class TestShortForms:
    @pytest.mark.parametrize(
        ("member", "short"),
        [
            ("alt_text.text", "alt_text"),
            ("upload_source.upload_source", "upload_source"),
            ("geo_restrictions.whitelisted_country_codes[]", "allowed_countries"),
            ("sticker_info.stickers[].id", "stickers[].id"),
            ("preview_image.media_key.media", "preview_media_id"),
            ("preview_image.media_key.media_category", "preview_image.media_key.media_category"),
            ("alt_text", "alt_text"),
            ("", ""),
        ],
    )
    def test_short_name(self, member: str, short: str) -> None:
        assert short_name(member) == short

    def test_put_makes_the_objects_on_the_way(self) -> None:
        wire: dict[str, object] = {}
        put(wire, ("preview_image", "media_key", "media"), "7")
        put(wire, ("preview_image", "media_key", "media_category"), "TweetImage")
        assert wire == {"preview_image": {"media_key": {"media": "7", "media_category": "TweetImage"}}}

    def test_put_leaves_alone_what_is_no_object(self) -> None:
        wire: dict[str, object] = {"alt_text": "x"}
        put(wire, ("alt_text", "text"), "y")
        assert wire == {"alt_text": "x"}

    def test_complete_fills_in_what_is_implied_and_no_more(self) -> None:
        wire: dict[str, object] = {
            "geo_restrictions": {"whitelisted_country_codes": ["us"]},
            "preview_image": {"media_key": {"media": "7"}},
        }
        complete(wire)
        assert wire == {
            "geo_restrictions": {"whitelisted_country_codes": ["us"], "blacklisted_country_codes": []},
            "preview_image": {"media_key": {"media": "7", "media_category": "TweetImage"}},
        }
        for odd in ({}, {"geo_restrictions": {}}, {"geo_restrictions": 7, "preview_image": {"media_key": "7"}}):
            before = json.dumps(odd)
            complete(odd)
            assert json.dumps(odd) == before

    def test_expand_does_not_touch_its_input(self) -> None:
        stickers = [{"id": "1"}]
        flat = {"stickers": stickers, "alt_text": None}
        assert expand(flat) == {"sticker_info": {"stickers": [{"id": "1"}]}}
        assert flat == {"stickers": [{"id": "1"}], "alt_text": None}
