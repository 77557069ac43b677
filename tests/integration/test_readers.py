"""Files as they come from people: every fault one clear line, every harmless oddity tolerated, memory constant."""

from __future__ import annotations

import gzip
import io
import os
import random
import threading
import tracemalloc
from pathlib import Path

import pytest

from xmediameta.models import Metadata, Update
from xmediameta.readers import LINE_LIMIT, Inputs, Reject, Row, split_where

from .reading import Put, lines, read

GOOD = b'{"id":"1","metadata":{"alt_text":{"text":"a"}}}'
BOTH_LISTS = (
    b'{"id":"1","metadata":{"geo_restrictions":'
    b'{"whitelisted_country_codes":["us"],"blacklisted_country_codes":["us"]}}}'
)
BOM = b"\xef\xbb\xbf"

# JSONL


def test_bom_crlf_empty_lines_and_no_last_newline(put: Put):
    name = put("a.jsonl", BOM + GOOD + b"\r\n\r\n  \n" + GOOD + b"\n\n" + GOOD)
    assert lines(read(name)) == ["a.jsonl:1: ok", "a.jsonl:4: ok", "a.jsonl:6: ok"]


ORIGIN = b'{"id":"1","metadata":{"found_media_origin":{"provider":"giphy","id":"2"}}}'
STICKERS = b'{"id":"1","metadata":{"sticker_info":{"stickers":[{"id":"2"},{"id":"3"}]}}}'
NAMED = b'{"id":"1","ref":"id","metadata":{"alt_text":{"text":"an \\"id\\""}}}'
TWO = b'{"id":"1","metadata":{"alt_text":{"text":"a"}},"id":"2"}'


@pytest.mark.parametrize(
    "line", [TWO, ORIGIN[:-1] + b',"id":"2"}', STICKERS[:-1] + b',"id":"1"}', NAMED[:-1] + b', "id" : "2"}\r']
)
@pytest.mark.parametrize("around", [b"", GOOD + b"\n", GOOD + b"\n\n\r\n", (GOOD + b"\n") * 5_000, ORIGIN + b"\n"])
def test_a_line_that_names_two_media(put: Put, line: bytes, around: bytes):
    """A decoder lets the last of them win; what was meant nobody knows."""
    found = read(put("two.jsonl", around + line + b"\n" + around))
    [bad] = [item for item in found if isinstance(item, Reject)]
    before = around.count(b"\n")
    assert str(bad) == f"two.jsonl:{before + 1}: id: is there twice; one line is about one media"
    assert len(found) == 1 + 2 * around.count(b'"metadata"')


def test_a_line_that_names_two_media_beside_what_is_passed_on(put: Put):
    line = TWO[:-1] + b',"note":{"id":"4"}}'
    [bad] = read(put("two.jsonl", line), passed=("note",))
    assert str(bad) == "two.jsonl:1: id: is there twice; one line is about one media"
    [row] = read(put("one.jsonl", line.replace(b',"id":"2"', b"")), passed=("note",))
    assert isinstance(row, Row)
    assert row.passed == {"note": {"id": "4"}}


@pytest.mark.parametrize("line", [ORIGIN, STICKERS, NAMED])
def test_other_ids_are_no_second_one(put: Put, line: bytes):
    assert lines(read(put("one.jsonl", line + b"\n" + line))) == ["one.jsonl:1: ok", "one.jsonl:2: ok"]


def test_a_row_holds_its_update():
    [row] = read("-", stdin=b'{"id":"1","metadata":{"alt_text":{"text":"caf\xc3\xa9"}},"ref":7,"account":"shop"}')
    assert isinstance(row, Row)
    assert row.update == Update("1", Metadata.of(alt_text="café"), account="shop", ref=7)
    assert row.passed == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (GOOD.replace(b'"1"', b'"12345678901234567890"'), "id: 20 digits, 1 too many (at most 19)"),
        (
            GOOD.replace(b'"1"', b"1146654567674912769"),
            "id: must be text in quotes, not a number (1146654567674912769)",
        ),
        (GOOD.replace(b'"a"', b'"' + b"x" * 1001 + b'"'), "1,001 characters, 1 too many (at most 1,000)"),
        (
            BOTH_LISTS,
            "exactly one of whitelisted_country_codes and blacklisted_country_codes must hold countries; both are",
        ),
        (
            GOOD.replace(b"alt_text", b"alt_txt"),
            "metadata.alt_txt: is not a member of the contract; did you mean 'alt_text'?",
        ),
        (b'{"id":"1","metadata":', "broken JSON"),
        (GOOD.replace(b'"a"', b'"caf\xe9"'), "is not UTF-8 (byte 46 is 0xe9"),
        (GOOD.replace(b'"a"', b'"a\0"'), "holds a NUL byte"),
        (b'{"id":"1"}', "metadata: is missing"),
        (b'"text"', "an object"),
    ],
)
def test_one_reject_for_each_bad_line(put: Put, line: bytes, said: str):
    name = put("b.jsonl", GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    first, bad, last = read(name)
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert isinstance(bad, Reject)
    assert str(bad).startswith("b.jsonl:2: ")
    assert said in str(bad)
    assert bad.raw == line
    assert not bad.fatal


def test_rules_are_set_aside_on_request():
    [row] = read("-", stdin=b'{"id":"1"}', strict=False)
    assert isinstance(row, Row)


def test_a_line_too_long_is_refused_and_the_next_is_read(put: Put):
    name = put("long.jsonl", GOOD + b"\n" + b"x" * (3 * LINE_LIMIT) + b"\n" + GOOD)
    tracemalloc.start()
    try:
        found = read(name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lines(found) == [
        "long.jsonl:1: ok",
        "long.jsonl:2: the line has 3,145,728 bytes; at most 1,048,576 are read as one update",
        "long.jsonl:3: ok",
    ]
    assert peak < 6 * LINE_LIMIT


def test_a_line_of_just_the_limit_is_read(put: Put):
    name = put("edge.jsonl", GOOD + b" " * (LINE_LIMIT - len(GOOD)) + b"\n" + GOOD)
    assert lines(read(name)) == ["edge.jsonl:1: ok", "edge.jsonl:2: ok"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[\n" + GOOD + b"\n]", "begins a JSON list; write one object per line"),
        (b"[" + GOOD + b"," + GOOD + b"]", "begins a JSON list; write one object per line"),
        (b'{\n  "id": "1"\n}', "begins an object that is spread over several lines"),
    ],
)
def test_json_that_is_not_one_object_per_line(put: Put, content: bytes, said: str):
    [bad] = read(put("whole.json", content))
    assert isinstance(bad, Reject)
    assert bad.fatal
    assert str(bad).startswith(f"whole.json:1: {said}")


def test_members_to_pass_on(put: Put):
    line = GOOD[:-1] + b',"file":"cat.png","note":null}'
    [row] = read(put("p.jsonl", line), passed=("file", "note"))
    assert isinstance(row, Row)
    assert row.passed == {"file": "cat.png", "note": None}
    [bad] = read("p.jsonl", passed=("file",))
    assert str(bad) == "p.jsonl:1: note: is not a member of the contract"


# Files


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("u.jsonl", GOOD.decode().encode("utf-16"), "is in UTF-16; save it as UTF-8"),
        ("u.jsonl", b"\0" + GOOD, "begins with a NUL byte: it may be in UTF-16"),
        ("u.csv", "id,alt_text".encode("utf-16-le"), "begins with a NUL byte: it may be in UTF-16"),
        ("u.jsonl.gz", GOOD, "is not a gzip file, though its name ends in .gz"),
        (
            "u.jsonl.gz",
            gzip.compress(GOOD, mtime=0)[:-5],
            "the gzip data ends too early; was a copy or a download cut off?",
        ),
        ("u.jsonl.gz", gzip.compress(GOOD, mtime=0) + b"more", "the gzip data is broken: Not a gzipped file"),
        ("u.jsonl.gz", gzip.compress(GOOD, mtime=0)[:-8] + b"\xff" * 8, "the gzip data is broken: CRC check failed"),
        ("u.jsonl.gz", gzip.compress(GOOD, mtime=0)[:10] + b"\xff" * 30, "the gzip data is broken: Error -3"),
        ("u.csv", b"PK\x03\x04....", "is an Excel file or a ZIP archive"),
        ("u.csv", b"\xd0\xcf\x11\xe0....", "is an old Excel file, not text; --format excel reads it"),
        ("u.csv", b"PAR1....", "is a Parquet file, not text; --format parquet reads it"),
        ("u.parquet.gz", gzip.compress(b"PAR1", mtime=0), "is packed a second time; unpack it to u.parquet"),
        ("u.xlsx.zst", b"", "is packed a second time; unpack it to u.xlsx"),
        ("u.txt", GOOD, "its name does not tell what it holds"),
        ("u", GOOD, "say it with --format"),
    ],
)
def test_files_that_cannot_be_read(put: Put, name: str, content: bytes, said: str):
    found = read(put(name, content))
    bad = found[-1]
    assert isinstance(bad, Reject)
    assert bad.fatal
    assert str(bad).startswith(f"{name}: ")
    assert said in str(bad)


def test_missing_files_and_folders(put: Put, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    assert lines(read("none.csv", "folder", put("a.jsonl", GOOD))) == [
        "none.csv: no such file",
        "folder: is a folder; give the files in it",
        "a.jsonl:1: ok",
    ]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(put: Put, tmp_path: Path):
    name = put("a.jsonl", GOOD)
    (tmp_path / name).chmod(0)
    assert lines(read(name)) == ["a.jsonl: no permission to read it"]


def test_gzip_is_seen_by_its_bytes(put: Put):
    packed = gzip.compress(BOM + GOOD, mtime=0) + gzip.compress(b"\n" + GOOD, mtime=0)
    assert lines(read(put("a.jsonl.gz", packed), put("b.jsonl", packed))) == [
        "a.jsonl.gz:1: ok", "a.jsonl.gz:2: ok", "b.jsonl:1: ok", "b.jsonl:2: ok",
    ]  # fmt: skip
    [row] = read(put("c.csv.gz", gzip.compress(b"id,alt_text\n1,a\n", mtime=0)))
    assert isinstance(row, Row)


def test_standard_input_is_read_twice_from_what_was_kept():
    source = io.BytesIO(gzip.compress(b"\n".join([GOOD] * 3), mtime=0))
    with Inputs(["-"], stdin=source) as inputs:
        first, second = lines(list(inputs.rows())), lines(list(inputs.rows()))
        assert first == second == [f"stdin:{number}: ok" for number in (1, 2, 3)]
        assert inputs.changed() is None


def test_standard_input_given_twice(put: Put):
    assert lines(read("-", "-", stdin=GOOD))[1:] == ["stdin: standard input can be read once only; is - given twice?"]


def test_standard_input_as_csv():
    [row] = read("-", kind="csv", stdin=b"id,alt_text\n1,a\n")
    assert isinstance(row, Row)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_kept_aside_too(put: Put, tmp_path: Path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(GOOD,))
    writer.start()
    with Inputs(["pipe.jsonl"]) as inputs:
        assert lines(list(inputs.rows())) == ["pipe.jsonl:1: ok"]
        assert lines(list(inputs.rows())) == ["pipe.jsonl:1: ok"]
    writer.join()


def test_a_file_that_changed_between_the_passes(put: Put):
    name = put("a.jsonl", GOOD)
    with Inputs([name]) as inputs:
        assert lines(list(inputs.rows())) == ["a.jsonl:1: ok"]
        assert inputs.changed() is None
        put(name, GOOD + b"\n" + GOOD)
        assert "was changed after it had been checked" in str(inputs.changed())
        [bad] = inputs.rows()
        assert isinstance(bad, Reject)
        assert bad.fatal
        Path(name).unlink()
        assert inputs.changed() is not None


def test_memory_does_not_grow_with_the_file(put: Put):
    name = put("many.jsonl.gz", gzip.compress((GOOD + b"\n") * 60_000, 1, mtime=0))

    def peak() -> tuple[int, int]:
        tracemalloc.start()
        try:
            with Inputs([name]) as inputs:
                count = sum(1 for row in inputs.rows() if isinstance(row, Row))
            return count, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    count, used = peak()
    assert count == 60_000
    assert used < 2_000_000


def test_no_bytes_make_reading_raise(put: Put):
    """Mutated files yield rows and rejects, and never an exception."""
    chance = random.Random(7)
    seeds = (
        ("m.jsonl", b"\n".join([GOOD] * 4)),
        ("m.csv", b'id,alt_text,ref\n1,"a\nb",c\n2,d,e\n'),
        ("m.jsonl.gz", gzip.compress(GOOD, mtime=0)),
        ("m.tsv", b"id\talt_text\n1\ta\n"),
    )
    seen = {Row: 0, Reject: 0}
    for name, content in seeds:
        for _ in range(250):
            mutated = bytearray(content)
            for _ in range(chance.randint(1, 6)):
                at = chance.randrange(len(mutated) + 1)
                mutated[at : at + chance.randint(0, 2)] = chance.choice(
                    [b"\0", b'"', b"\n", b"\r", b",", b"\xff", b"\xe9", b"{", b"]", b"\t", b"\x1b[2J", b"9" * 30]
                )
            for item in read(put(name, bytes(mutated))):
                seen[type(item)] += 1
                assert isinstance(item, Row) or str(item).isprintable()
    assert min(seen.values()) > 100


@pytest.mark.parametrize("file", ["u.csv", "a: b/u:3.csv", "C:\\u.csv", "s3://bucket/u.parquet", "row 7"])
@pytest.mark.parametrize(
    ("unit", "cell"), [("", ""), ("row", ""), ("Sheet1 row", ""), ("'My row' row", ""), ("S row", "'My S'!C3 and D3")]
)
def test_a_place_is_taken_apart_again(file: str, unit: str, cell: str):
    bad = Reject(file=file, line=3, member="", rule="r", unit=unit, cell=cell)
    assert split_where(bad.where) == (file, 3)
    if not cell:
        assert Row(file, 3, Update("1"), {}, unit).where == bad.where
    assert split_where(file) == (file, None)
