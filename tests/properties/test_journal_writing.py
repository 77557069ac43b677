"""Rows written in one statement are those that were to be written, value by value."""

from __future__ import annotations

import tempfile
from math import isnan
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from xmediameta.journal.file import JournalFile
from xmediameta.journal.schema import NEVER
from xmediameta.journal.writing import Row, storable, write

COLUMNS = "account, media_id, ref, source, passed, digest, send_before, NULL, body, due, task"
FRACTION = 1790000000.123457  # ends otherwise, read as the sum of its digits

texts = st.text(st.characters(codec=None), max_size=8)  # half characters, NUL, and all others
times = st.none() | st.sampled_from([FRACTION, NEVER, 1e300, -0.5]) | st.floats(allow_nan=False) | st.integers(0, 2**53)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Valid rows of a load, odd ones among them."""
    result: list[Row] = []
    for task in range(draw(st.integers(1, 4))):
        due = draw(times)
        send_before = due  # a number as a caller gives it: an int stays one
        ref = draw(st.none() | texts | st.integers() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats())
        source, passed = draw(st.none() | texts), draw(st.none() | texts)
        digest = draw(st.binary(min_size=16, max_size=16))
        body = draw(texts).encode("utf-8", "replace").decode()
        result.append((1, str(task), ref, source, passed, digest, send_before, None, body, due, task))
    return result


def same(one: object, other: object) -> bool:
    """Whether what SQLite holds is what it was given: NaN is NULL to it, and true 1."""
    if isinstance(one, float) and isnan(one):
        return other is None
    kinds = {type(one), type(other)} - {bool, int}
    return one == other and len(kinds) <= 1


@settings(max_examples=150)
@given(rows())
@example([(1, "7", 2**63 - 1, "a\0b", None, b"\0" * 16, FRACTION, None, "{}", FRACTION, 0)])
@example([(1, "7", 2**63, None, None, b"\xff" * 16, None, None, "{}", NEVER, 0)])
@example([(1, "7", None, "\ud83d", "\\u0000", b"'" * 16, 2.0**53, None, '"\\', 2.0**53, 0)])
def test_what_is_written_is_read_again(given_rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = JournalFile(Path(folder) / "journal.db")
        write(file, given_rows)
        read = file.db.execute(f"SELECT {COLUMNS} FROM task ORDER BY task").fetchall()
        file.close()
    odd = any(isinstance(value, str) and value != storable(value) for row in given_rows for value in row)
    large = any(isinstance(row[2], int) and not -(2**63) <= row[2] < 2**63 for row in given_rows)
    shown = [tuple(storable(value) for value in row) for row in given_rows] if odd or large else given_rows
    assert len(read) == len(shown)
    for before, after in zip(shown, read, strict=True):
        assert all(same(one, other) for one, other in zip(before, after, strict=True)), (before, after)
