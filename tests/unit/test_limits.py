"""The rate-limit headers of one answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from xmediameta.limits import HEADER_STEMS, RateLimit, WindowName, read_windows


def headers(stem: str, limit: str | None, remaining: str | None, reset: str | None) -> dict[str, str]:
    values = {"limit": limit, "remaining": remaining, "reset": reset}
    return {stem + name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("user-15min", "x-rate-limit-"),
        ("user-24hour", "x-user-limit-24hour-"),
        ("app-24hour", "x-app-limit-24hour-"),
    ],
)
class TestEveryWindow:
    def test_it_is_read(self, name: WindowName, stem: str) -> None:
        told = headers(stem, "500", "487", "1795596452")
        assert RateLimit.from_headers(told, name) == RateLimit(500, 487, 1_795_596_452)
        assert read_windows(told) == {name: RateLimit(500, 487, 1_795_596_452)}

    @pytest.mark.parametrize("absent", range(3))
    def test_any_header_may_be_absent(self, name: WindowName, stem: str, absent: int) -> None:
        values: list[str | None] = ["500", "0", "1795596452"]
        values[absent] = None
        expected: list[int | None] = [500, 0, 1_795_596_452]
        expected[absent] = None
        assert RateLimit.from_headers(headers(stem, *values), name) == RateLimit(*expected)

    def test_all_absent(self, name: WindowName, stem: str) -> None:
        assert RateLimit.from_headers({}, name) is None
        assert read_windows({}) == {}


@pytest.mark.parametrize(
    "text", ["", " ", "-1", "+1", "1.5", "1e3", "0x10", "many", "²", "٣", "1 000", "1,000", "9" * 17, "9" * 5_000]
)
def test_what_is_no_whole_number_is_not_there(text: str) -> None:
    assert read_windows(headers("x-rate-limit-", text, text, text)) == {}
    assert read_windows(headers("x-rate-limit-", "500", text, text)) == {"user-15min": RateLimit(500, None, None)}


def test_white_space_around_a_number() -> None:
    assert read_windows(headers("x-rate-limit-", " 500 ", "\t7", None)) == {"user-15min": RateLimit(500, 7, None)}


@pytest.mark.parametrize(
    ("text", "reset"),
    [
        ("1795596452", 1_795_596_452),
        ("1795596452123", 1_795_596_452),
        ("99999999999", 99_999_999_999),
        ("100000000000", 100_000_000),
        ("0", 0),
    ],
)
def test_a_reset_in_milliseconds_is_told_by_its_size(text: str, reset: int) -> None:
    assert read_windows(headers("x-rate-limit-", None, None, text))["user-15min"].reset == reset


def test_all_windows_at_once_whatever_the_case() -> None:
    told = CIMultiDictProxy(CIMultiDict({f"{stem}Remaining".upper(): "3" for stem in HEADER_STEMS.values()}))
    assert read_windows(told) == {name: RateLimit(remaining=3) for name in HEADER_STEMS}


@pytest.mark.parametrize(
    ("reset", "moment"),
    [
        (None, None),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1_795_595_852, datetime(2026, 11, 25, 8, 37, 32, tzinfo=UTC)),
        (10**15, None),
        (2**80, None),
    ],
)
def test_reset_at_is_aware_or_none(reset: int | None, moment: datetime | None) -> None:
    assert RateLimit(reset=reset).reset_at == moment
