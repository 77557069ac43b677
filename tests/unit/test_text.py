"""Foreign text made safe to show."""

from __future__ import annotations

import unicodedata

import pytest

from xmediameta.text import HALF_PAIR, counted, excerpt, printable


class TestPrintable:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "A dancing cat",
            "Zoë, 貓, שלום, हिन्दी, ไทย",
            "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308",
            "می\u200cخواهم",
        ],
    )
    def test_readable_text_is_left_alone(self, text: str) -> None:
        assert printable(text) == text

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\x1b[2Jgone", "\\x1b[2Jgone"),
            ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
            ("\u202eevil\u2066\u200f", "\\u202eevil\\u2066\\u200f"),
            ("\u2028\u2029\ufeff", "\\u2028\\u2029\\ufeff"),
            ("\ud800\udfff", "\\ud800\\udfff"),
            ("\U000e0041\ue000\U0010ffff", "\\U000e0041\\ue000\\U0010ffff"),
        ],
    )
    def test_what_drives_a_terminal_is_escaped(self, text: str, shown: str) -> None:
        assert printable(text) == shown

    def test_no_character_gets_through_that_is_hidden(self) -> None:
        for code in (*range(0x10000), *range(0x1D000, 0x1D200), *range(0xE0000, 0xE0200), 0x10FFFF):
            shown = printable(chr(code))
            assert shown.isprintable() or shown in ("\u200c", "\u200d") or unicodedata.category(shown) == "Zs"

    def test_it_is_bounded(self) -> None:
        assert printable("x" * 10_000_000, 5) == "xxxxx…"
        assert printable("x" * 5, 5) == "xxxxx"
        assert len(printable("\x00" * 10_000_000)) == 500 * 4 + 1


class TestExcerpt:
    @pytest.mark.parametrize(
        ("body", "shown"),
        [
            (b"", ""),
            (b"<html>\n", "<html>\\n"),
            ("café".encode("latin-1"), "caf\\xe9"),
            ("ok".encode("utf-16"), "\\xff\\xfeo\\x00k\\x00"),
            ("貓".encode(), "貓"),
        ],
    )
    def test_bytes_of_any_kind(self, body: bytes, shown: str) -> None:
        assert excerpt(body) == shown

    def test_it_is_bounded(self) -> None:
        assert excerpt(b"x" * 1_048_576) == "x" * 300 + "…"
        assert excerpt("貓".encode() * 400, 300) == "貓" * 300 + "…"
        assert excerpt("\U0001f408".encode() * 301, 300) == "\U0001f408" * 300 + "…"


@pytest.mark.parametrize(("number", "text"), [(0, "0 digits"), (1, "1 digit"), (2, "2 digits"), (1043, "1,043 digits")])
def test_counted(number: int, text: str) -> None:
    assert counted(number, "digit") == text


@pytest.mark.parametrize(
    ("escaped", "mended"),
    [
        (rb"\ud83d", b"?"),
        (rb"\ude00", b"?"),
        (rb"\ud83d\ude00", rb"\ud83d\ude00"),
        (rb"\uD83D\uDE00", rb"\uD83D\uDE00"),
        (rb"\ud83d\ud83d\ude00", rb"?\ud83d\ude00"),
        (rb"\ud83d\ude00\ude00", rb"\ud83d\ude00?"),
        (rb"\ude00\ud83d", b"??"),
        (rb"\ud83dx\ude00", b"?x?"),
        (rb"\ud7ff\ue000", rb"\ud7ff\ue000"),
        (b"plain", b"plain"),
    ],
)
def test_half_pair(escaped: bytes, mended: bytes) -> None:
    assert HALF_PAIR.sub(b"?", escaped) == mended
