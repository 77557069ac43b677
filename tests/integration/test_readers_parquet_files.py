"""Parquet files as a whole: damaged ones are one clear line, large ones are read in flat memory."""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from xmediameta.errors import MissingExtra
from xmediameta.readers import Inputs, Reject, Row

from .reading import lines, only_fault, read

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAME = "u.parquet"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(columns: dict[str, Any], **options: Any) -> str:
    pq.write_table(pa.table(columns), NAME, **options)
    return NAME


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a Parquet file"),
        (b"id,alt_text\n1,a\n", "is not a Parquet file"),
        (b"PARE" + bytes(20), "is encrypted"),
        (b"PAR1", "the Parquet data is broken: "),
        (b"PAR1" + bytes(60) + b"PAR1", "the Parquet data is broken: "),
    ],
)
def test_files_that_are_not_parquet(content: bytes, said: str):
    Path(NAME).write_bytes(content)
    assert str(only_fault(read(NAME))).startswith(f"u.parquet: {said}")


def test_a_file_cut_off_and_a_file_damaged_in_the_middle():
    whole = Path(
        put({"id": pa.array(range(3000)), "alt_text": ["a picture"] * 3000}, compression="snappy")
    ).read_bytes()
    Path(NAME).write_bytes(whole[:-100])
    assert "the Parquet data is broken" in str(only_fault(read(NAME)))
    Path(NAME).write_bytes(whole[:60] + b"\xff" * 200 + whole[260:])
    last = read(NAME)[-1]
    assert isinstance(last, Reject)
    assert last.fatal
    assert str(last).startswith("u.parquet: the Parquet data is broken: ")


def test_no_bytes_make_reading_raise():
    chance = random.Random(3)
    seed = Path(put({"id": [1, 2], "alt_text": ["a", "b"], "shared": [True, None]}, compression="zstd")).read_bytes()
    seen: dict[Any, int] = {Row: 0, Reject: 0}
    for _ in range(300):
        mutated = bytearray(seed)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(4, len(mutated))
            mutated[at : at + 1] = chance.randbytes(1)
        Path(NAME).write_bytes(mutated)
        for item in read(NAME):
            seen[type(item)] += 1
            assert isinstance(item, Row) or str(item).isprintable()
    assert min(seen.values()) > 50


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    put({"id": [1], "alt_text": ["a"]})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r"reading Parquet files needs the extra \[parquet\]: pip install"):
        read(NAME)


def test_standard_input_is_kept_and_read_twice():
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": [1], "alt_text": ["a"]}), sink)
    with Inputs(["-"], kind="parquet", stdin=io.BytesIO(sink.getvalue())) as inputs:
        for _ in range(2):
            assert lines(list(inputs.rows())) == ["stdin: row 1: ok"]


def test_memory_does_not_grow_with_the_file():
    """One row group of 40,000 rows holds more than Arrow ever does at once."""
    texts = [f"A dancing cat, picture no. {number} of the day " * 20 for number in range(40_000)]
    put({"id": pa.array(range(40_000)), "alt_text": texts}, compression="none", use_dictionary=False)
    assert pq.ParquetFile(NAME).num_row_groups == 1
    assert Path(NAME).stat().st_size > 30_000_000
    before = pa.total_allocated_bytes()
    most = count = 0
    with Inputs([NAME]) as inputs:
        for item in inputs.rows():
            count += isinstance(item, Row)
            if count % 1000 == 0:
                most = max(most, pa.total_allocated_bytes() - before)
    assert count == 40_000
    assert 0 < most < 6_000_000
