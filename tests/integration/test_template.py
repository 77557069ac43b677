"""The empty table: all columns, harmless when filled in by a spreadsheet, and read back to the letter."""

from __future__ import annotations

import csv
import io
import re
import sys
import zipfile
from pathlib import Path

import pytest

from xmediameta.errors import MissingExtra
from xmediameta.models import Metadata, Update
from xmediameta.readers.template import TemplateKind, template
from xmediameta.shortform import SHORT_FORMS

from .reading import lines, read, updates

calamine = pytest.importorskip("python_calamine")
pytest.importorskip("xlsxwriter")

NAMES = ["id", *SHORT_FORMS, "account", "ref", "send_before"]
FILLED = {
    "id": "1146654567674912769", "alt_text": "A cat,\n\"dancing\"", "allow_download": "TRUE", "adult_content": "FALSE",
    "allowed_countries": "us|de", "content_expires_at": "2030-01-02T12:00:00Z", "stickers": '[{"id":"7"}]',
    "preview_media_id": "9223372036854775807", "ref": "0017", "send_before": "1893585600",
}  # fmt: skip
UPDATE = Update(
    "1146654567674912769",
    Metadata.of(
        alt_text='A cat,\n"dancing"', allow_download=True, adult_content=False, allowed_countries=["us", "de"],
        content_expires_at=1893585600, stickers=[{"id": "7"}], preview_media_id="9223372036854775807",
    ),
    ref="0017",
    send_before=1893585600,
)  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_it_reads_back_as_a_table_without_rows(kind: TemplateKind):
    Path(f"t.{kind}").write_bytes(template(kind))
    assert read(f"t.{kind}") == []


def test_filled_in_as_csv():
    text = template("csv").decode()
    assert text == ",".join(NAMES) + "\r\n"
    sink = io.StringIO(newline="")
    csv.DictWriter(sink, NAMES).writerow(FILLED)
    Path("t.csv").write_text(text + sink.getvalue(), newline="")
    assert updates(read("t.csv")) == [UPDATE]


def test_filled_in_as_a_workbook():
    """A row put into the sheet as Excel puts what is typed into cells of the format text."""
    row = "".join(
        f'<c r="{chr(65 + NAMES.index(name))}2" t="inlineStr"><is><t>{cell.replace(chr(34), "&quot;")}</t></is></c>'
        for name, cell in sorted(FILLED.items(), key=lambda item: NAMES.index(item[0]))
    )
    filled = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(template("xlsx"))) as old, zipfile.ZipFile(filled, "w") as new:
        for name in old.namelist():
            part = old.read(name).decode()
            if name == "xl/worksheets/sheet1.xml":
                assert "</row></sheetData>" in part
                part = part.replace("</row></sheetData>", f'</row><row r="2">{row}</row></sheetData>')
            new.writestr(name, part)
    Path("t.xlsx").write_bytes(filled.getvalue())
    assert updates(read("t.xlsx")) == [UPDATE]
    assert lines(read("t.xlsx")) == ["t.xlsx: updates row 2: ok"]


def test_the_workbook_keeps_ids_and_tells_what_each_column_takes():
    with zipfile.ZipFile(io.BytesIO(template("xlsx"))) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
        styles = archive.read("xl/styles.xml").decode()
        notes = archive.read("xl/comments1.xml").decode()
        strings = archive.read("xl/sharedStrings.xml").decode()
    formats = re.findall(r'<xf numFmtId="(\d+)"', styles.partition("<cellXfs")[2])
    columns = re.findall(r'<col min="(\d+)" max="(\d+)" [^>]*style="(\d+)"', sheet)
    covered = [at for first, last, _ in columns for at in range(int(first), int(last) + 1)]
    assert covered == list(range(1, len(NAMES) + 1))
    assert {formats[int(style)] for _, _, style in columns} == {"49"}  # text
    assert re.findall(r"<t>(.*?)</t>", strings) == NAMES
    assert re.findall(r'<comment ref="([A-Z]+)1"', notes) == [chr(65 + place) for place in range(len(NAMES))]
    assert 'numberStoredAsText="1"' in sheet
    assert len(re.findall(r'<dataValidation type="list"', sheet)) == 6  # the booleans


def test_it_is_the_same_whenever_it_is_made():
    assert template("xlsx") == template("xlsx")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(MissingExtra, match=r"writing .xlsx files needs the extra \[cli\]"):
        template("xlsx")
    assert template("csv")
