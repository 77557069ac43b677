"""Workbooks of four formats: a fault names its cell, nothing that Excel changed is sent, nothing is left out."""

from __future__ import annotations

import io
import random
import sys
import zipfile
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from xmediameta.errors import MissingExtra
from xmediameta.models import Metadata, Update
from xmediameta.readers import Inputs, ReadOptions, Reject, Row

from .reading import lines, only_fault, read, updates
from .workbooks import ERROR, FORMATS, Rows, put, xls, xlsx

pytest.importorskip("python_calamine")
xlsxwriter = pytest.importorskip("xlsxwriter")

NAME = "u.xlsx"
ID = "1146654567674912769"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def by_excel(*rows: tuple[Any, ...], formats: dict[type, str] | None = None) -> str:
    """A workbook by XlsxWriter, for dates and formulas as Excel itself has them."""
    with xlsxwriter.Workbook(NAME) as workbook:
        sheet = workbook.add_worksheet("Sheet1")
        dates = workbook.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        for number, row in enumerate(rows):
            for column, cell in enumerate(row):
                if isinstance(cell, date | time):
                    sheet.write_datetime(number, column, cell, dates)
                else:
                    sheet.write(number, column, cell)
    return NAME


# Bad input


def test_a_text_too_long_names_its_cell():
    rows = [["id", None, "Alt Text"], *[["1", None, "a"]] * 12, ["1", None, "x" * 1043]]
    fault = read(put(rows))[-1]
    assert str(fault) == "u.xlsx: Sheet1!C14: 1,043 characters, 43 too many (at most 1,000)"
    assert isinstance(fault, Reject)
    assert (fault.line, fault.member, fault.fatal) == (14, "Alt Text", False)
    assert fault.raw == {"id": "1", "Alt Text": "x" * 1043}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"id": float(ID)}, "C3: is a number of 19 digits, of which Excel keeps only 15: the last are lost;"),
        ({"id": 1e15}, "C3: is a number of 16 digits, of which Excel keeps only 15"),
        ({"id": 1.5}, "C3: is the number 1.5, which may be shown in another way; format the column as text"),
        ({"id": -1.0}, "C3: '-1' is not a media id (1 to 19 digits)"),
        ({"id": True}, "C3: 'TRUE' is not a media id (1 to 19 digits)"),
        ({"id": "1.14665E+18"}, "C3: '1.14665E+18' was written as a number by a spreadsheet"),
        ({"id": "12345678901234567890"}, "C3: 20 digits, 1 too many (at most 19)"),
        ({"id": "3_12"}, "C3: '3_12' is a media key"),
        ({"id": None}, "C3: is empty; a media id has 1 to 19 digits"),
        ({"alt_text": 0.25}, "D3: is the number 0.25, which may be shown in another way"),
        ({"ref": 1e18}, "E3: is a number of 19 digits, of which Excel keeps only 15"),
        ({"alt_text": None}, "row 3: the row sets nothing"),
        ({"adult_content": 2.0}, "F3: '2' is not true, false, yes, no, 1 or 0"),
        ({"content_expires_at": 1893456000.5}, "G3: must be whole seconds"),
        ({"content_expires_at": 1893456000000.0}, "G3: is in seconds; this looks like milliseconds"),
        ({"content_expires_at": "2030-01-01T00:00:00"}, "G3: '2030-01-01T00:00:00' has no zone"),
        ({"content_expires_at": 1e-9}, "G3: '1e-09' is not a time"),
        ({"allowed_countries": "us", "blocked_countries": "de"}, "H3 and I3: exactly one of allowed_countries and"),
        ({"allowed_countries": "usa"}, "H3: 'usa' is not a country code of two letters"),
        ({"origin_id": "x"}, "row 3: origin_provider: is missing"),
        ({"origin_id": 12345.0}, "row 3: origin_provider: is missing"),
    ],
)  # fmt: skip
def test_every_fault_names_its_cell(name: str, cells: dict[str, Any], said: str):
    headers = ["id", "alt_text", "ref", "adult_content", "content_expires_at", "allowed_countries",
               "blocked_countries", "origin_id"]  # fmt: skip
    row = {"id": "1", "alt_text": "a", **cells}
    fault = only_fault(read(put([[], [None, None, *headers], [None, None, *map(row.get, headers)]], name)))
    place = f"{name}: Sheet1 " if said.startswith("row") else f"{name}: Sheet1!"
    assert str(fault).startswith(place + said)


def test_dates_have_no_zone():
    noon = datetime(2030, 1, 2, 12)
    name = by_excel(
        ("id", "content_expires_at", "send_before", "alt_text", "ref", "File"),
        ("1", noon, None, "a"),
        ("1", None, noon.date(), "a"),
        ("1", None, None, noon),
        ("1", None, None, "a", noon.time()),
        ("1", None, None, "a", None, noon),
    )
    found = read(name, passed=("file",))
    text = "format the column as text, and fill it in again"
    assert lines(found) == [
        f"u.xlsx: Sheet1!B2: is a date, with which Excel keeps no zone; {text} as 2026-01-31T12:00:00Z",
        f"u.xlsx: Sheet1!C3: is a date, with which Excel keeps no zone; {text} as 2026-01-31T12:00:00Z",
        f"u.xlsx: Sheet1!D4: is a date, and not the text that is shown; {text}",
        f"u.xlsx: Sheet1!E5: is a date, and not the text that is shown; {text}",
        "u.xlsx: Sheet1 row 6: ok",
    ]
    assert isinstance(found[-1], Row)
    assert found[-1].passed == {"File": "2030-01-02T12:00:00"}


def test_headers():
    unknown, twice = lines(read(put([["id", "colour", "Alt Text", "alt_text"]])))
    assert unknown.startswith(
        "u.xlsx: Sheet1 row 1: colour: is not a column of the contract; keep it beside the row with"
    )
    assert twice == "u.xlsx: Sheet1 row 1: alt_text: sets the same as the column 'Alt Text'"
    assert all(isinstance(item, Reject) and item.fatal for item in read(NAME))
    stray = read(put([["id", "alt_text"], ["1", "a", None, "x"]]))
    assert lines(stray) == ["u.xlsx: Sheet1!D2: the cell 'x' stands in a column that has no header"]
    assert lines(read(put([[], []]))) == [
        "u.xlsx: the sheet 'Sheet1' is empty; a table begins with a row of column names"
    ]


def test_which_sheet():
    table: Rows = [["id", "alt_text"], ["1", "a"]]
    bad: Rows = [["id", "alt_text"], ["x", "a"]]
    put(table, Other=table, Third=[])
    assert lines(read(NAME)) == ["u.xlsx: has 2 sheets that hold something; --sheet says which, of 'Sheet1', 'Other'"]
    assert lines(read(NAME, sheet="other")) == ["u.xlsx: Other row 2: ok"]
    assert lines(read(NAME, sheet="no\x1b")) == ["u.xlsx: has no sheet 'no\\x1b'; it has 'Sheet1', 'Other', 'Third'"]
    assert lines(read(NAME, sheet="Third")) == [
        "u.xlsx: the sheet 'Third' is empty; a table begins with a row of column names"
    ]
    Path(NAME).write_bytes(xlsx({"Help": [["Read me"]], "It's & mine": bad}, hidden=["Help"]))
    assert str(only_fault(read(NAME))) == "u.xlsx: 'It''s & mine'!A2: 'x' is not a media id (1 to 19 digits)"
    Path(NAME).write_bytes(xlsx({"A": table, "B": table}, hidden=["A", "B"]))
    assert lines(read(NAME)) == ["u.xlsx: has no sheet that is not hidden; --sheet says which, of 'A', 'B'"]
    assert lines(read(NAME, sheet="A")) == ["u.xlsx: A row 2: ok"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a workbook (.xlsx, .xls, .xlsb, .ods)"),
        (b"id,alt_text\n1,a\n", "is not a workbook"),
        (b"PK\x03\x04 and nothing", "the workbook is broken: "),
        (b"\xd0\xcf\x11\xe0" + bytes(2000), "the workbook is broken: "),
        (xlsx({"Sheet1": [["id"]]})[:-40], "the workbook is broken: "),
        (xls([["id"]])[:600], "the workbook is broken"),
    ],
)
def test_files_that_are_no_workbooks(content: bytes, said: str):
    Path(NAME).write_bytes(content)
    assert str(only_fault(read(NAME))).startswith(f"u.xlsx: {said}")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    put([["id"]])
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(MissingExtra, match=r"reading Excel files needs the extra \[cli\]"):
        read(NAME)


@pytest.mark.parametrize("name", FORMATS)
def test_no_bytes_make_reading_raise(name: str):
    chance = random.Random(name)
    seed = FORMATS[name]([["id", "alt_text", "shared"], ["1", "a", True], [2.0, ERROR, None]])
    seen: dict[Any, int] = {Row: 0, Reject: 0}
    for number in range(120):
        mutated = bytearray(seed)
        if seed.startswith(b"PK") and number % 2:  # inside an archive that is whole
            mutated = bytearray(_with_a_part_changed(seed, chance))
        else:
            for _ in range(chance.randint(1, 3)):
                at = chance.randrange(4, len(mutated))
                mutated[at : at + 1] = chance.randbytes(1)
        Path(name).write_bytes(mutated)
        for item in read(name):
            seen[type(item)] += 1
            assert isinstance(item, Row) or str(item).isprintable()
    assert seen[Reject] > 30


def _with_a_part_changed(archive: bytes, chance: random.Random) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(sink, "w") as new:
        chosen = chance.choice(old.namelist())
        for name in old.namelist():
            part = bytearray(old.read(name))
            if name == chosen:
                at = chance.randrange(len(part))
                part[at : at + chance.randint(0, 2)] = chance.choice([b"<", b"", b"9", b"\xff", b'"', b"\x00"])
            new.writestr(name, bytes(part))
    return sink.getvalue()


# Good input


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_read_alike(name: str):
    rows: Rows = [
        [],
        [None, " ID ", "Alt Text", "adult-content", "content_expires_at", "allowed_countries", "ref", "_note"],
        [None, ID, " é🙂\nline ", True, 1893456000.0, "us|DE", 12.0, 3.5],
        [],
        [None, 999_999_999_999_999.0, 2024.0, "no", None, None, "r", True],
    ]
    found = read(put(rows, name))
    assert updates(found) == [
        Update(
            ID,
            Metadata.of(
                alt_text=" é🙂\nline ",
                adult_content=True,
                content_expires_at=1893456000,
                allowed_countries=["us", "DE"],
            ),
            ref="12",
        ),
        Update("999999999999999", Metadata.of(alt_text="2024", adult_content=False), ref="r"),
    ]
    assert [item.where for item in found] == [f"{name}: Sheet1 row 3", f"{name}: Sheet1 row 5"]


def test_columns_to_pass_and_to_rename():
    rows: Rows = [
        ["Media", "Text", "File", "n", "ok", "_x"],
        ["1", "a", "=cat.png", 7.0, True, ERROR],
        ["2", "b", ERROR],
    ]
    found = read(put(rows), passed=("File", "n", "ok"), renames={"Media": "id", "Text": "alt_text"})
    assert [item.passed for item in found if isinstance(item, Row)] == [
        {"File": "=cat.png", "n": "7", "ok": "TRUE"},
        {"File": "#N/A", "n": "", "ok": ""},
    ]


def test_values_that_formulas_came_to():
    with xlsxwriter.Workbook(NAME) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["id", "alt_text"])
        sheet.write_formula(1, 0, '="1"&"2"', None, "12")
        sheet.write_formula(1, 1, '="a"&"b"', None, "ab")
    assert updates(read(NAME)) == [Update("12", Metadata.of(alt_text="ab"))]


def test_standard_input_and_several_passes():
    content = FORMATS["u.ods"]([["id", "alt_text"], ["1", "a"]])
    with Inputs(["-"], kind="excel", stdin=io.BytesIO(content)) as inputs:
        for _ in range(2):
            assert lines(list(inputs.rows())) == ["stdin: Sheet1 row 2: ok"]
    put([["id", "alt_text"], ["1", "a"]])
    with Inputs([NAME], ReadOptions(sheet="Sheet1")) as inputs:
        for _ in range(2):
            assert lines(list(inputs.rows())) == ["u.xlsx: Sheet1 row 2: ok"]
        assert inputs.changed() is None


def test_a_sheet_of_blanks():
    assert lines(read(put([[], [" "], [None, "\t"]]))) == [
        "u.xlsx: Sheet1 row 2: id: is missing: a table needs a column of media ids"
    ]
