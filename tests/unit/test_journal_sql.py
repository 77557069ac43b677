"""What the journal asks of SQLite is understood by the oldest version that it takes."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from xmediameta.journal.schema import OLDEST_SQLITE

SOURCES = sorted(
    (file.name, file.read_text("utf-8")) for file in files("xmediameta.journal").iterdir() if file.name.endswith(".py")
)
# By the version that brought it (the release notes of SQLite).
NEWER = {
    (3, 35): r"ON CONFLICT DO UPDATE|\bRETURNING\b|\bDROP COLUMN\b|\bMATERIALIZED\b",
    (3, 37): r"\) STRICT\b",
    (3, 38): r"->>|\bunixepoch\(",
    (3, 39): r"\b(?:RIGHT|FULL) (?:OUTER )?JOIN\b|IS (?:NOT )?DISTINCT FROM",
    (3, 41): r"\bunhex\(",
    (3, 44): r"\b(?:concat|concat_ws|string_agg)\(",
    (3, 45): r"\bjsonb",
}


@pytest.mark.parametrize("since", NEWER)
def test_nothing_newer_is_used(since: tuple[int, int]) -> None:
    assert since > OLDEST_SQLITE
    used = {name: found for name, text in SOURCES if (found := re.findall(NEWER[since], text))}
    assert used == {}


def test_the_patterns_find_what_they_are_for() -> None:
    assert re.search(NEWER[3, 35], "VALUES (?) ON CONFLICT DO UPDATE SET a = 1")
    assert not re.search(NEWER[3, 35], "VALUES (?) ON CONFLICT (a) DO UPDATE SET a = 1")
    assert any("ON CONFLICT" in text for _, text in SOURCES)


def test_no_placeholder_has_a_number() -> None:
    """Python 3.14 takes no sequence of values for these, and 3.12 warns of it."""
    assert {name: found for name, text in SOURCES if (found := re.findall(r"\?\d", text))} == {}
