"""CSV and its cousins: any column order, quoted newlines, separators; every fault one clear line."""

from __future__ import annotations

import pytest

from xmediameta.models import Metadata, Update
from xmediameta.readers import LINE_LIMIT, Reject, Row

from .reading import Put, lines, read

BOM = b"\xef\xbb\xbf"


def test_csv_as_rfc_4180_has_it(put: Put):
    content = b'ID,Alt Text,ref\r\n1,"a ""quoted"" cat,\r\non two lines",r1\r\n\r\n2,b,\r\n,,\r\n3,c,r3'
    found = read(put("t.csv", BOM + content))
    assert lines(found) == ["t.csv:2: ok", "t.csv:5: ok", "t.csv:7: ok"]
    assert isinstance(found[0], Row)
    assert found[0].update == Update("1", Metadata.of(alt_text='a "quoted" cat,\r\non two lines'), ref="r1")


def test_the_line_named_is_where_the_row_begins(put: Put):
    found = read(put("t.csv", b'id,alt_text\n1,"a\nb\nc"\nx,"d\ne"\n2,f\n'))
    assert lines(found) == ["t.csv:2: ok", "t.csv:5: id: 'x' is not a media id (1 to 19 digits)", "t.csv:7: ok"]


def test_rows_of_too_few_and_too_many_cells(put: Put):
    found = read(put("t.csv", b"id,alt_text,ref\n1,a\n2,b,c,d\n3,e,\n"))
    assert lines(found) == [
        "t.csv:2: the row has 2 cells, the header has 3",
        "t.csv:3: the row has 4 cells, the header has 3",
        "t.csv:4: ok",
    ]
    assert isinstance(found[0], Reject)
    assert found[0].raw == {"id": "1", "alt_text": "a"}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_the_separator_is_seen_in_the_header(put: Put, separator: str, name: str):
    content = f'"Alt Text"{separator}ID\n"a, b; c"{separator}1\n'.encode()
    [row] = read(put(name, content))
    assert isinstance(row, Row)
    assert row.update == Update("1", Metadata.of(alt_text="a, b; c"))


def test_a_cell_in_latin1_names_its_column_and_harms_no_other_row(put: Put):
    found = read(put("t.csv", 'id,alt_text\n1,"né\nx"\n2,b\n'.encode("latin-1")))
    assert lines(found) == [
        "t.csv:2: alt_text: is not UTF-8 (one byte is 0xe9; the file may be in latin-1 or UTF-16)",
        "t.csv:4: ok",
    ]


@pytest.mark.parametrize(
    ("content", "said", "fatal"),
    [
        (b"", "t.csv: is empty; a table begins with a line of column names", True),
        (b"id,alt_text\n1,a\0\n", "t.csv:2: alt_text: holds a NUL byte", False),
        (b"id,alt_t\xe9xt\n1,a\n", "t.csv:1: the line of column names holds bytes that are not UTF-8", True),
        (b'id,alt_text\n1,"a\n2,b\n', "t.csv:2: a quoted cell is opened here and never closed", True),
        (b'id,alt_text\n1,"a"b\n', "t.csv:2: text follows a closing quote", False),
        (b"id,alt_text\r1,a\r", "t.csv:1: a line ends in CR alone", True),
        (b"id,alt_text\n1," + b"x" * 140_000, "t.csv:2: a cell of more than 131,072 characters", True),
        (b"id,alt_text\n1," + b"x," * LINE_LIMIT, "t.csv:2: a line of more than 1,048,576 bytes", True),
        (b"id,alt_text\n" + b'"x\n",' * 1_500_000, "t.csv:2: a line of more than 1,048,576 bytes", True),
        (b"id,colour\n1,a\n", "t.csv:1: colour: is not a column of the contract; keep it beside", True),
        (b"name,alt_text\n1,a\n", "t.csv:1: name: is not a column of the contract", True),
    ],
)
def test_one_reject_for_each_fault_of_a_table(put: Put, content: bytes, said: str, fatal: bool):
    bad = read(put("t.csv", content))[0]
    assert isinstance(bad, Reject)
    assert str(bad).startswith(said)
    assert bad.fatal is fatal


def test_pass_and_map(put: Put):
    options = {"passed": ("File",), "renames": {"Media": "id", "Text": "alt_text"}}
    [row] = read(put("t.csv", b"Media;Text;File\n1;a;=cat.png\n"), **options)
    assert isinstance(row, Row)
    assert row.update == Update("1", Metadata.of(alt_text="a"))
    assert row.passed == {"File": "=cat.png"}
