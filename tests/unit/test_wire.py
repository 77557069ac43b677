"""Requests as bytes, answers as a reply or an error."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tests.samples.load import MEDIA_ID, SAMPLES, Sample
from xmediameta import (
    AllowDownloadStatus,
    AltText,
    AudiencePolicy,
    ContentExpiration,
    DomainRestrictions,
    GeoRestrictions,
    InvalidUpdate,
    Metadata,
    ProblemError,
    ServerFault,
    Sticker,
    StickerInfo,
    UnreadableResponse,
    Update,
)
from xmediameta.outcomes import read_echo
from xmediameta.wire import PATH, Reply, decipher, encode, encode_checked, retry_after, server_date

CAT = Metadata.of(alt_text="A dancing cat")
DATE = "Wed, 25 Nov 2026 08:37:32 GMT"
NOW = 1_795_595_852.0


def headers(**values: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict({name.replace("_", "-"): value for name, value in values.items()}))


def built(**members: object) -> Update:
    """An update built by hand from whatever a caller may put there."""
    return Update(MEDIA_ID, Metadata(**cast("dict[str, Any]", members)))


class TestEncode:
    def test_the_body_alone_never_the_notes(self) -> None:
        update = Update(MEDIA_ID, CAT, account="main", ref="row 7", send_before=1_900_000_000)
        assert encode(update) == b'{"id":"1146654567674912769","metadata":{"alt_text":{"text":"A dancing cat"}}}'
        assert PATH == "/2/media/metadata"

    def test_text_in_any_script_is_sent_as_it_is(self) -> None:
        text = "貓 \U0001f469\u200d\U0001f469\u200d\U0001f467 קו\nשני \x00 \u2028"
        assert json.loads(encode(Update("1", Metadata.of(alt_text=text))))["metadata"]["alt_text"]["text"] == text

    def test_what_a_reader_has_checked_is_written_the_same(self) -> None:
        for update in (Update(MEDIA_ID, CAT, account="main", ref=7), Update("7"), Update("7", Metadata())):
            assert encode_checked(update) == encode(update, strict=False)

    def test_absent_metadata_is_sent_only_when_not_strict(self) -> None:
        assert encode(Update("7"), strict=False) == b'{"id":"7"}'
        with pytest.raises(InvalidUpdate, match="metadata: is missing"):
            encode(Update("7"))

    def test_empty_metadata_is_sent_only_when_not_strict(self) -> None:
        assert encode(Update("7", Metadata()), strict=False) == b'{"id":"7","metadata":{}}'
        with pytest.raises(InvalidUpdate, match="metadata: is empty"):
            encode(Update("7", Metadata()))

    def test_tuples_serve_as_lists(self) -> None:
        update = built(
            geo_restrictions=GeoRestrictions(whitelisted_country_codes=("us", "DE"), blacklisted_country_codes=()),
            sticker_info=StickerInfo(stickers=(Sticker(id="1", transform_a=1), Sticker(aspect_ratio=0.5))),
            audience_policy=AudiencePolicy(creator_subscriptions=("Any",)),
        )
        assert json.loads(encode(update))["metadata"] == {
            "geo_restrictions": {"whitelisted_country_codes": ["us", "DE"], "blacklisted_country_codes": []},
            "sticker_info": {"stickers": [{"id": "1", "transform_a": 1}, {"aspect_ratio": 0.5}]},
            "audience_policy": {"creator_subscriptions": ["Any"]},
        }

    def test_the_geo_rule_is_set_aside_by_strict_false_and_no_other(self) -> None:
        both = GeoRestrictions(whitelisted_country_codes=["us"], blacklisted_country_codes=["us"])
        with pytest.raises(InvalidUpdate) as caught:
            encode(built(geo_restrictions=both))
        assert caught.value.member == "metadata.geo_restrictions"
        assert "whitelisted_country_codes and blacklisted_country_codes" in caught.value.rule
        assert b'"whitelisted_country_codes":["us"]' in encode(built(geo_restrictions=both), strict=False)
        wrong = GeoRestrictions(whitelisted_country_codes=["usa"], blacklisted_country_codes=["us"])
        with pytest.raises(InvalidUpdate, match="'usa' is not a country code"):
            encode(built(geo_restrictions=wrong), strict=False)

    @pytest.mark.parametrize("strict", [True, False])
    @pytest.mark.parametrize(
        ("update", "member", "rule"),
        [
            (Update(""), "id", "is empty"),
            (Update("12a", CAT), "id", "is not a media id"),
            (Update("1\n", CAT), "id", "is not a media id"),
            (Update("\u0661\u0662", CAT), "id", "is not a media id"),
            (Update("1" * 20, CAT), "id", "20 digits, 1 too many (at most 19)"),
            (Update(cast("Any", 7), CAT), "id", "must be text in quotes"),
            (Update(cast("Any", b"\xd7m\xf8"), CAT), "id", "must be text"),
            (Update(cast("Any", None), CAT), "id", "must be text, not null"),
            (Update("1", cast("Any", None)), "metadata", "not null"),
            (Update("1", cast("Any", {"alt_text": {"text": "x"}})), "metadata", "of the class Metadata, not dict"),
            (Update("1", cast("Any", "alt")), "metadata", "must be an object, not text"),
            (built(alt_text={"text": "x"}), "metadata.alt_text", "must be of the class AltText, not dict"),
            (built(alt_text=None), "metadata.alt_text", "not null"),
            (built(alt_text="x"), "metadata.alt_text", "must be an object, not text"),
            (built(alt_text=AltText("x" * 1001)), "metadata.alt_text.text", "1,001 characters, 1 too many"),
            (built(alt_text=AltText(cast("Any", b"text"))), "metadata.alt_text.text", "must be text"),
            (built(alt_text=AltText(cast("Any", uuid.UUID(int=1)))), "metadata.alt_text.text", "not uuid"),
            (built(alt_text=AltText(cast("Any", datetime(2026, 1, 1, tzinfo=UTC)))), "metadata.alt_text.text", "text"),
            (built(alt_text=AltText("\ud800")), "", "lone surrogate"),
            (built(allow_download_status=AllowDownloadStatus(cast("Any", 1))),
             "metadata.allow_download_status.allow_download", "must be true or false, not a whole number"),
            (built(content_expiration=ContentExpiration(2**63)), "metadata.content_expiration.timestamp_sec", "large"),
            (built(content_expiration=ContentExpiration(cast("Any", 1.5))),
             "metadata.content_expiration.timestamp_sec", "without a point or an exponent (1.5)"),
            (built(content_expiration=ContentExpiration(cast("Any", True))),
             "metadata.content_expiration.timestamp_sec", "must be a whole number, not true or false"),
            (built(domain_restrictions=DomainRestrictions("a.example")),
             "metadata.domain_restrictions.whitelist", "must be a list, not text"),
            (built(domain_restrictions=DomainRestrictions(cast("Any", {"a.example"}))),
             "metadata.domain_restrictions.whitelist", "must be a list, not set"),
            (built(domain_restrictions=DomainRestrictions(cast("Any", [object()]))), "", "object is unsupported"),
            (built(sticker_info=StickerInfo([])), "metadata.sticker_info.stickers", "is empty (at least 1 sticker)"),
            (built(sticker_info=StickerInfo([Sticker()] * 26)), "metadata.sticker_info.stickers",
             "26 stickers, 1 too many (at most 25)"),
            (built(sticker_info=StickerInfo([Sticker(), Sticker(transform_a=float("nan"))])),
             "metadata.sticker_info.stickers[].transform_a", "must be a finite number"),
            (built(sticker_info=StickerInfo([Sticker(transform_a=float("-inf"))])),
             "metadata.sticker_info.stickers[].transform_a", "must be a finite number"),
            (built(sticker_info=StickerInfo([cast("Any", {"id": "1"})])),
             "metadata.sticker_info.stickers[]", "must be of the class Sticker, not dict"),
            (built(audience_policy=AudiencePolicy(x_subscriptions=cast("Any", ["any"]))),
             "metadata.audience_policy.x_subscriptions[]", 'must be "Any"'),
            (Update("1", CAT, account=cast("Any", 7)), "account", "must be text, not int"),
            (Update("1", CAT, account="\udfff"), "account", "lone surrogate"),
            (Update("1", CAT, ref=cast("Any", True)), "ref", "must be text or a whole number, not bool"),
            (Update("1", CAT, ref=cast("Any", 1.5)), "ref", "must be text or a whole number, not float"),
            (Update("1", CAT, ref=2**63), "ref", "too large to be kept"),
            (Update("1", CAT, send_before=datetime(2026, 1, 1)), "send_before", "a time needs its zone"),
            (Update("1", CAT, send_before=float("nan")), "send_before", "not a time in Unix seconds"),
            (Update("1", CAT, send_before=float("inf")), "send_before", "not a time in Unix seconds"),
            (Update("1", CAT, send_before=1_900_000_000_000), "send_before", "this looks like milliseconds"),
            (Update("1", CAT, send_before=cast("Any", "2026-01-01T00:00:00Z")), "send_before", "not str"),
        ],
    )  # fmt: skip
    def test_what_a_constructor_let_through_is_refused(
        self, update: Update, member: str, rule: str, strict: bool
    ) -> None:
        for refuse in (encode, Update.check):
            with pytest.raises(InvalidUpdate) as caught:
                refuse(update, strict=strict)
            assert caught.value.member == member
            assert rule in caught.value.rule

    def test_a_look_alike_of_another_class_is_refused(self) -> None:
        @dataclass
        class Alt:
            text: str

        with pytest.raises(InvalidUpdate, match="must be of the class AltText, not Alt"):
            encode(built(alt_text=Alt("x")))

    def test_a_structure_that_holds_itself_is_refused(self) -> None:
        domains: list[Any] = []
        domains.append(domains)
        with pytest.raises(InvalidUpdate):
            encode(built(domain_restrictions=DomainRestrictions(domains)))

    @pytest.mark.parametrize(
        "notes",
        [
            {"account": "Zoë", "ref": -(2**63), "send_before": 0},
            {"account": "", "ref": 2**63 - 1, "send_before": 1_900_000_000.5},
            {"ref": "", "send_before": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5)))},
        ],
    )
    def test_fitting_notes_pass(self, notes: dict[str, Any]) -> None:
        assert encode(Update("1", CAT, **notes)) == encode(Update("1", CAT))


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_every_sample_is_taken_for_what_it_is(sample: Sample) -> None:
    result, expect = sample.decipher(), sample.expect
    assert type(result).__name__ == expect["class"]
    told = sample.headers.get("x-transaction-id")
    assert result.transaction_id == told
    if isinstance(result, Reply):
        assert [warning.said() for warning in result.warnings] == expect.get("warnings", [])
        assert bool(result.raw_metadata) == expect["echo"]
        assert result.raw_metadata in sample.body
        return
    assert result.status == sample.status
    assert str(sample.status) in str(result)
    assert result.scope == expect["scope"]
    assert result.problem.slug == expect["slug"]
    for name in ("title", "detail"):
        if name in expect:
            assert getattr(result.problem, name) == expect[name]
    assert expect.get("says", "") in str(result)
    assert expect.get("excerpt", "") in result.body_excerpt
    assert bool(result.body_excerpt) == bool(sample.body)
    assert ("user-15min" in result.windows) == ("x-rate-limit-limit" in sample.headers)
    assert result.date == (NOW if "date" in sample.headers else None)


class TestDecipher:
    def test_the_echo_stays_as_it_came(self) -> None:
        body = b'{"data": {"id": "%b", "associated_metadata": {"alt_text" : 1}}}' % MEDIA_ID.encode()
        assert decipher(200, {}, body, media_id=MEDIA_ID) == Reply(None, (), b'{"alt_text" : 1}')

    def test_the_pages_echo_decodes_when_asked_for(self) -> None:
        reply = SAMPLES["200-applied"].decipher()
        assert isinstance(reply, Reply)
        echo = read_echo(reply.raw_metadata)
        assert echo is not None
        assert json.loads(SAMPLES["200-applied"].body)["data"]["associated_metadata"].keys() == {
            name for name in echo.__struct_fields__ if getattr(echo, name)
        }

    @pytest.mark.parametrize("depth", [2_000, 100_000])
    @pytest.mark.parametrize(
        "body",
        [
            b'{"data":{"id":"1","associated_metadata":%b%b}}',
            b'{"data":{"id":"1"},"errors":%b%b}',
            b'{"data":%b%b}',
            b"%b%b",
        ],
    )
    def test_deep_nesting_does_not_raise(self, body: bytes, depth: int) -> None:
        nested = body % (b"[" * depth, b"]" * depth)
        assert isinstance(decipher(200, {}, nested, media_id="1"), UnreadableResponse | Reply)
        assert isinstance(decipher(500, {}, nested, media_id="1"), ServerFault)

    def test_half_a_character_does_not_hide_a_success(self) -> None:
        body = b'{"data":{"id":"1","associated_metadata":{"alt_text":{"text":"\\ud83d\\ud83d\\ude00"}}}}'
        reply = decipher(200, {}, body, media_id="1")
        assert isinstance(reply, Reply)
        assert read_echo(reply.raw_metadata) == Metadata.of(alt_text="\ufffd\U0001f600")
        error = decipher(400, {}, b'{"title":"half \\ude00"}', media_id="1")
        assert str(error) == "400 half \ufffd"

    @pytest.mark.parametrize("number", [b"9" * 5_000, b"1e999", b"-" + b"9" * 400 + b".5"])
    def test_absurd_numbers_do_not_raise(self, number: bytes) -> None:
        assert isinstance(decipher(200, {}, b'{"data":{"id":%b}}' % number, media_id="1"), UnreadableResponse)
        assert isinstance(decipher(400, {}, b'{"status":%b}' % number, media_id="1"), ProblemError)

    def test_a_520_with_html_is_a_server_fault_with_its_body(self) -> None:
        page = b"<html>\n<body>error 520</body></html>"
        error = decipher(520, headers(content_type="text/html"), page, media_id="1")
        assert isinstance(error, ServerFault)
        assert error.body_excerpt == "<html>\\n<body>error 520</body></html>"
        assert str(error) == "520: <html>\\n<body>error 520</body></html>"

    def test_every_status_is_an_error_or_a_success(self) -> None:
        for status in range(-1, 1_000):
            result = decipher(status, {}, b"", media_id="1")
            assert isinstance(result, Reply if 200 <= status < 300 else ProblemError)
            if status >= 500:
                assert isinstance(result, ServerFault)

    def test_the_transaction_id_is_safe_to_show(self) -> None:
        hostile = "\x1b[31m" + "9" * 5_000
        for status in (200, 503):
            told = decipher(status, headers(x_transaction_id=hostile), b"", media_id="1").transaction_id
            assert told is not None
            assert told.startswith("\\x1b[31m999")
            assert len(told) < 120

    def test_header_names_ignore_case(self) -> None:
        error = decipher(429, headers(**{"X-RATE-LIMIT-REMAINING": "3"}), b"", media_id="1")
        assert isinstance(error, ProblemError)
        assert error.windows["user-15min"].remaining == 3

    def test_warnings_keep_their_problems(self) -> None:
        body = b'{"data":{"id":"1"},"errors":[{"title":"A","type":"https://api.x.com/2/problems/conflict"},"b",3]}'
        reply = decipher(200, {}, body, media_id="1")
        assert isinstance(reply, Reply)
        assert [(warning.slug, warning.said()) for warning in reply.warnings] == [("conflict", "A"), ("", "b")]


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("0", 0.0),
            (" 120 ", 120.0),
            ("1.5", 1.5),
            ("86401", 86_400.0),
            ("9" * 5_000, 86_400.0),
            ("Wed, 25 Nov 2026 08:39:32 GMT", 120.0),
            ("Wed, 25 Nov 2026 08:00:00 GMT", 0.0),
            ("Wed, 25 Nov 2027 08:00:00 GMT", 86_400.0),
            ("", None),
            ("-5", None),
            ("1e3", None),
            ("inf", None),
            ("nan", None),
            ("٣", None),
            ("soon", None),
            ("Wed, 99 Nov 2026 08:39:32 GMT", None),
        ],
    )
    def test_seconds_or_a_date(self, text: str, seconds: float | None) -> None:
        assert retry_after(headers(retry_after=text), date=NOW) == seconds

    def test_a_date_needs_the_servers_own(self) -> None:
        assert retry_after(headers(retry_after=DATE), date=None) is None

    def test_absent(self) -> None:
        assert retry_after({}, date=NOW) is None


class TestServerDate:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            (DATE, NOW),
            ("Wednesday, 25-Nov-26 08:37:32 GMT", NOW),
            ("Wed, 25 Nov 2026 08:37:32 -0000", NOW),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
            ("", None),
            ("now", None),
            ("1795595852", None),
            ("Wed, 25 Nov 99999 08:37:32 GMT", None),
            ("Wed, 25 Nov 2026 25:37:32 GMT", None),
            (DATE + "x" * 1_000_000, None),
            ("\ud800" * 10, None),
        ],
    )
    def test_dates(self, text: str, seconds: float | None) -> None:
        assert server_date(headers(date=text)) == seconds
        assert server_date(headers(date=text)) == seconds

    def test_another_date_is_another_time(self) -> None:
        one: Mapping[str, str] = {"date": DATE}
        other: Mapping[str, str] = {"date": DATE.replace(":32", ":33")}
        assert [server_date(each) for each in (one, other, one)] == [NOW, NOW + 1, NOW]
        assert server_date({}) is None
