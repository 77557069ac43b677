"""Zstandard: read as it stands, in constant memory; what is cut off, damaged or absurd is one clear line."""

from __future__ import annotations

import io
import random
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from xmediameta.errors import MissingExtra
from xmediameta.readers import LINE_LIMIT, Inputs, Reject, Row

from .reading import lines, only_fault, read

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    zstd = pytest.importorskip("backports.zstd")

GOOD = b'{"id":"1","metadata":{"alt_text":{"text":"a"}}}\n'
NOISE = random.Random(5).randbytes(4000).hex().encode()
LONG = b'{"id":"1","metadata":{"alt_text":{"text":"%s"}}}\n' % NOISE


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(name: str, content: bytes) -> str:
    Path(name).write_bytes(content)
    return name


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zstd.compress(LONG)[:-5], "the zstd data ends too early; was a copy or a download cut off?"),
        (zstd.compress(LONG)[:4], "the zstd data ends too early"),
        (zstd.compress(LONG)[:6] + b"\xff" * 40 + zstd.compress(LONG)[46:], "the zstd data is broken: "),
        (zstd.compress(GOOD) + b"more and more", "the zstd data is broken: "),
        (GOOD, "is not a zstd file, though its name ends in .zst"),
        (b"", "is not a zstd file, though its name ends in .zst"),
    ],
)
def test_broken_files(content: bytes, said: str):
    bad = read(put("u.jsonl.zst", content))[-1]
    assert isinstance(bad, Reject)
    assert bad.fatal
    assert bad.line is None
    assert str(bad).startswith(f"u.jsonl.zst: {said}")
    assert str(bad).isprintable()


def test_what_stood_before_the_damage_was_read():
    many = b"".join(
        b'{"id":"%d","metadata":{"alt_text":{"text":"%s"}}}\n' % (n, NOISE[n : n + 900]) for n in range(900)
    )
    packed = zstd.compress(many)
    found = read(put("u.jsonl.zst", packed[: len(packed) // 2]))
    assert len(found) > 100
    assert all(isinstance(item, Row) for item in found[:-1])
    assert "ends too early" in str(found[-1])


def test_a_file_that_asks_for_too_much_memory():
    parameters = zstd.CompressionParameter
    packer = zstd.ZstdCompressor(options={parameters.window_log: 29, parameters.content_size_flag: 0})
    packed = packer.compress(GOOD) + packer.flush()
    assert "Frame requires too much memory" in str(only_fault(read(put("u.jsonl.zst", packed))))


@pytest.mark.parametrize("name", ["u.jsonl.zst", "u.csv.zst"])
def test_a_small_file_that_unpacks_to_a_quarter_gigabyte_meets_the_bounds_of_a_line(name: str):
    head = b"id,alt_text\n" if ".csv" in name else GOOD
    packer = zstd.ZstdCompressor()
    parts = [packer.compress(head)]
    parts += [packer.compress(bytes(1 << 24)) for _ in range(16)]
    packed = b"".join([*parts, packer.compress(b"\n" + GOOD), packer.flush()])
    assert len(packed) < 200_000
    tracemalloc.start()
    try:
        found = read(put(name, packed))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * LINE_LIMIT
    told = " / ".join(lines(found))
    if ".csv" in name:
        assert told == "u.csv.zst:2: a line of more than 1,048,576 bytes, or a row of more than 4,194,304"
    else:
        assert told == (
            "u.jsonl.zst:1: ok / u.jsonl.zst:2: the line has 268,435,456 bytes; at most 1,048,576 are read as one "
            "update / u.jsonl.zst:3: ok"
        )


def test_it_is_told_by_its_bytes_in_frames_and_behind_skippable_ones():
    frames = b"\x5a\x2a\x4d\x18\x03\0\0\0abc" + zstd.compress(b"\xef\xbb\xbf" + GOOD) + zstd.compress(GOOD)
    assert lines(read(put("a.jsonl.zst", frames), put("b.jsonl", frames))) == [
        "a.jsonl.zst:1: ok", "a.jsonl.zst:2: ok", "b.jsonl:1: ok", "b.jsonl:2: ok",
    ]  # fmt: skip
    assert lines(read(put("c.tsv.zst", zstd.compress(b"id\talt_text\n1\ta\n")))) == ["c.tsv.zst:2: ok"]


def test_standard_input_is_read_twice():
    with Inputs(["-"], stdin=io.BytesIO(zstd.compress(GOOD * 2))) as inputs:
        for _ in range(2):
            assert lines(list(inputs.rows())) == ["stdin:1: ok", "stdin:2: ok"]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, zstd.__name__, None)
    put("u.jsonl.zst", zstd.compress(GOOD))
    with pytest.raises(
        MissingExtra, match=r"reading .zst files needs the extra \[cli\]: pip install 'xmediameta\[cli\]'"
    ):
        read("u.jsonl.zst")
    assert lines(read(put("u.jsonl", GOOD))) == ["u.jsonl:1: ok"]


def test_no_bytes_make_reading_raise():
    chance = random.Random(11)
    seed = zstd.compress(LONG * 3)
    seen: dict[Any, int] = {Row: 0, Reject: 0}
    for _ in range(300):
        mutated = bytearray(seed)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(4, len(mutated))
            mutated[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
        for item in read(put("m.jsonl.zst", bytes(mutated))):
            seen[type(item)] += 1
            assert isinstance(item, Row) or str(item).isprintable()
    assert seen[Reject] > 100
