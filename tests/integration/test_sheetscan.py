"""What calamine does not tell of a workbook: failed formulas, formulas never computed, and cells that are far away."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from xmediameta.readers import Reject, odsscan, sheetscan
from xmediameta.readers.findings import Findings, letters
from xmediameta.readers.rows import Unreadable

from .reading import lines, only_fault, read, updates
from .workbooks import ERROR, FORMATS, Rows, ods, put, xlsx

pytest.importorskip("python_calamine")

NAME = "u.xlsx"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", FORMATS)
def test_a_formula_that_failed_is_not_an_empty_cell(name: str):
    rows: Rows = [["id", "alt_text", "shared"], ["1", "a", ERROR], ["2", ERROR, True], ["3", "c", True]]
    assert lines(read(put(rows, name))) == [
        f"{name}: Sheet1!C2: '#N/A' is not true, false, yes, no, 1 or 0",
        f"{name}: Sheet1!B3: #N/A is what a formula shows that failed, and no value",
        f"{name}: Sheet1 row 4: ok",
    ]


def test_a_failed_formula_far_down_and_with_much_around_it():
    rows: list[list[Any]] = [["id", "alt_text"], *([str(number), "a picture " * 90] for number in range(3000))]
    rows[2500][1] = ERROR
    found = read(put(rows))
    assert len(found) == 3000
    assert [str(item) for item in found if isinstance(item, Reject)] == [
        "u.xlsx: Sheet1!B2501: #N/A is what a formula shows that failed, and no value"
    ]


@pytest.mark.parametrize("size", [7, 100, 4096])
def test_a_block_may_end_anywhere(size: int):
    rows: Rows = [["id", "alt_text"], *[["1", ERROR]] * 50, [None, None, "<&>", ERROR]]
    wanted = {**{row: {2: "#N/A"} for row in range(2, 52)}, 52: {4: "#N/A"}}
    xml = zipfile.ZipFile(io.BytesIO(xlsx({"Sheet1": rows}))).read("xl/worksheets/sheet1.xml")
    findings = Findings()
    sheetscan._scan((xml[at : at + size] for at in range(0, len(xml), size)), findings)
    assert findings.failed == wanted
    xml = zipfile.ZipFile(io.BytesIO(ods(rows))).read("content.xml")
    findings = Findings()
    odsscan.scan((xml[at : at + size] for at in range(0, len(xml), size)), 0, findings)
    # What stands in the cell may come with the next block.
    assert {row: set(found) for row, found in findings.failed.items()} == {row: set(wanted[row]) for row in wanted}


def test_repeated_rows_and_cells_of_an_ods():
    cell = '<table:table-cell table:number-columns-repeated="2" office:value-type="string" calcext:value-type="error">'
    xml = (
        '<table:table table:name="Other"><table:table-row><table:table-cell office:value-type="float"/>'
        '</table:table-row></table:table><table:table table:name="Sheet1"><table:table-column/>'
        '<table:table-row table:number-rows-repeated="3"><table:table-cell/></table:table-row>'
        f'<table:table-row table:number-rows-repeated="2"><table:covered-table-cell/>{cell}<text:p>Err:502</text:p>'
        '</table:table-cell></table:table-row>'
        '<table:table-row table:number-rows-repeated="1048570"><table:table-cell '
        'table:number-columns-repeated="16384"/></table:table-row></table:table>'
    )  # fmt: skip
    findings = Findings()
    odsscan.scan(iter([xml.encode()]), 1, findings)
    assert findings.failed == {4: {2: "Err:502", 3: "Err:502"}, 5: {2: "Err:502", 3: "Err:502"}}


@pytest.mark.parametrize(("row", "column"), [(1_048_576, 16_384), (1, 16_385), (40_000_001, 1)])
def test_what_is_too_far_away(row: int, column: int):
    Findings().reach(1_048_576, 38)
    with pytest.raises(Unreadable, match=f"as far away as {letters(column)}{row}"):
        Findings().reach(row, column)


def test_too_many_failed_formulas(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("xmediameta.readers.findings._MOST_FAILED", 3)
    assert len(read(put([["id", "alt_text"], *[["1", ERROR]] * 3]))) == 3
    fault = only_fault(read(put([["id", "alt_text"], *[["1", ERROR]] * 4])))
    assert str(fault) == "u.xlsx: more than 3 cells show a formula that failed"


def test_names_of_columns():
    assert [letters(column) for column in (1, 26, 27, 52, 702, 703, 16_384)] == [
        "A",
        "Z",
        "AA",
        "AZ",
        "ZZ",
        "AAA",
        "XFD",
    ]


def test_a_formula_that_was_never_computed_is_not_an_empty_cell():
    """As openpyxl writes them; `t="str"` marks an empty text that a formula came to."""
    cells = '<c r="A2"><f>1</f><v>7</v></c>{}<c r="C2" t="b"><v>1</v></c>'
    never = (
        "u.xlsx: Sheet1!B2: holds a formula that was never computed; open the file in a spreadsheet, and save it there"
    )
    for cell, said in (
        ('<c r="B2"><f>A1&amp;"x"</f><v></v></c>', never),
        ('<c r="B2" s="1"><f t="shared" si="0"/><v/></c>', never),
        ('<c r="B2"><f>A1</f></c>', never),
        ('<c r="B2" t="str"><f>A1</f><v></v></c>', "u.xlsx: Sheet1 row 2: ok"),
        ('<c r="B2"><f>A1</f><v>5</v></c>', "u.xlsx: Sheet1 row 2: ok"),
    ):
        Path(NAME).write_bytes(_with_row(cells.format(cell)))
        assert lines(read(NAME)) == [said]
    # Where calamine sees nothing at all: to the right of the table, and below it.
    beyond = (
        '<c r="E2"><f>A1</f><v></v></c></row><row r="3"><c r="A3"><f>A2</f><v></v></c><c r="B3"><f>B2</f><v></v></c>'
    )
    Path(NAME).write_bytes(_with_row(cells.format('<c r="B2" t="str"><v>a</v></c>') + beyond))
    assert lines(read(NAME)) == ["u.xlsx: Sheet1 row 2: ok", never.replace("B2", "E2"), never.replace("B2", "A3")]
    findings = Findings()
    xml = (
        b'<table:table><table:table-row><table:table-cell/><table:table-cell table:formula="of:=1"/></table:table-row>'
    )
    odsscan.scan(iter([xml]), 0, findings)
    assert findings.failed == {1: {2: None}}


def _with_row(cells: str) -> bytes:
    """A workbook of one row, its cells as they stand in the XML."""
    whole, sink = xlsx({"Sheet1": [["id", "alt_text", "shared"], ["1", "a", True]]}), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(sink, "w") as new:
        for name in old.namelist():
            part = old.read(name).decode()
            if name.endswith("sheet1.xml"):
                start, end = part.index('<row r="2">') + 11, part.rindex("</row>")
                part = part[:start] + cells + part[end:]
            new.writestr(name, part)
    return sink.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_a_cell_far_away_is_refused_before_it_takes_all_memory(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("xmediameta.readers.findings._MOST_CELLS", 100)
    rows: Rows = [["id", "alt_text"], *[["1", "a"]] * 30]
    assert len(updates(read(put(rows, name)))) == 30
    rows = [*rows, *[[]] * 19, ["1", "a"]]
    assert str(only_fault(read(put(rows, name)))).startswith(f"{name}: a cell stands as far away as B51, and all cells")


def test_a_bomb_is_refused_by_its_size(monkeypatch: pytest.MonkeyPatch):
    put([["id", "alt_text"], ["1", "a" * 100_000]])
    monkeypatch.setattr(sheetscan, "_MOST_BYTES", 50_000)
    assert "bytes, and at most 50,000 are read; save it as CSV" in str(only_fault(read(NAME)))
