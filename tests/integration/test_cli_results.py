# ruff: noqa: F811 - fixtures come by import
"""`results`: one row for each input row, in its order, as JSONL, CSV and XLSX."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from python_calamine import CalamineWorkbook

from xmediameta.cli import tables
from xmediameta.journal import Drawn, Finished, Incoming
from xmediameta.models import Metadata, Update
from xmediameta.wire import encode

from .commandline import Ran, folder, run  # noqa: F401 - fixtures
from .journals import HOSTILE, PEAK, ill, incoming, invalid, linux, made, well

Run = Callable[..., Ran]
COLUMNS = [
    "file", "line", "id", "account", "ref", "sku", "outcome", "status", "error", "problem", "attempts",
    "transaction_id", "settled_at", "seconds",
]  # fmt: skip


def third_fails(task: Drawn) -> Finished | None:
    """Rows 0, 3, 6 … fail, the rest is applied, the last three stay pending."""
    return None if task.seq >= 9 else ill(task) if task.seq % 3 == 0 else well(task)


@pytest.fixture
def journal(folder: Path) -> Path:
    path = folder / "journal.db"
    made(path, [*incoming(12, accounts=("b", "a"), passed=True), invalid(14)], third_fails, requests=9)
    return path


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def sheets(path: Path) -> list[list[list[Any]]]:
    book = CalamineWorkbook.from_path(path)
    return [book.get_sheet_by_name(name).to_python() for name in book.sheet_names]


def test_jsonl_has_every_row_in_the_order_of_the_input(run: Run, journal: Path):
    ran = run("results", "--journal", journal)
    assert ran.code == 0, ran.err
    assert not ran.err
    found = objects(ran.out)
    assert [row["line"] for row in found] == [*range(2, 14), 14]
    assert [row["outcome"] for row in found] == [*(["failed", "applied", "applied"] * 3), *["pending"] * 3, "invalid"]
    assert found[0] == {
        "file": "updates.csv",
        "line": 2,
        "id": "1146654567674912769",
        "account": "a",
        "ref": "r1",
        "passed": {"sku": "S-1"},
        "outcome": "failed",
        "status": 400,
        "error": "UpdateRejected",
        "problem": "Invalid Request: alt_text: no",
        "attempts": 1,
        "transaction_id": "tx-9",
        "settled_at": found[0]["settled_at"],
        "seconds": 0.25,
    }
    assert found[0]["settled_at"].endswith("Z")
    assert found[1]["problem"] is None
    assert found[9]["settled_at"] is None
    assert "passed" not in found[12]
    assert found[12]["problem"] == "metadata.alt_text.text: 1,043 characters, 43 too many"


def test_only_some_states(run: Run, journal: Path):
    found = objects(run("results", "updates.csv", "--journal", journal, "--only", "failed, INVALID").out)
    assert [row["ref"] for row in found] == ["r1", "r4", "r7", "bad14"]
    ran = run("results", "--journal", journal, "--only", "failed,lost")
    assert ran.code == 2
    assert "'lost' is none of pending, applied" in ran.err


def test_csv_has_the_passed_columns_between_ours(run: Run, journal: Path):
    ran = run("results", "--journal", journal, "--format", "csv")
    header, *rows = table(ran.out)
    assert header == COLUMNS
    assert len(rows) == 13
    assert rows[0][:12] == [
        "updates.csv", "2", "1146654567674912769", "a", "r1", "S-1", "failed", "400", "UpdateRejected",
        "Invalid Request: alt_text: no", "1", "tx-9",
    ]  # fmt: skip
    assert rows[0][13] == "0.25"
    assert rows[12][5] == ""  # an invalid row without that column
    assert ran.out.count("\r\n") == 14


def odd_rows() -> Iterator[Incoming]:
    cells: list[dict[str, Any]] = [
        {"note": "=HYPERLINK(\"http://evil\")", "id": "own id"},
        {"note": "+1", "more": -5},
        {"note": "-1", "more": 2.5},
        {"note": "@x", "more": True},
        {"note": "\t=1", "more": None},
        {"note": "＝1+1", "more": [1, "a"]},
        {"note": 'two\nlines, "quoted"', "more": 1146654567674912769},
        {"note": "\x1b[31m\u202e\x00\uffff", "more": "x" * 40_000},
    ]  # fmt: skip
    for seq, passed in enumerate(cells):
        update = Update(str(10 + seq), Metadata.of(alt_text="a"), None, 1146654567674912769 if seq else "=cmd")
        yield Incoming(update=update, body=encode(update), source="C:\\a.csv" if seq else "a.csv:1", passed=passed)


def test_csv_neutralises_formulas_and_keeps_numbers(run: Run, folder: Path):
    path = folder / "j.db"
    made(path, odd_rows(), lambda task: ill(task, problem=json.dumps({"title": "=SUM(A1)"})))
    ran = run("results", "--journal", path, "--format", "csv")
    header, *rows = table(ran.out)
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert header[5:8] == ["note", "input_id", "more"]
    assert [row["note"] for row in found[:7]] == [
        "'=HYPERLINK(\"http://evil\")", "'+1", "'-1", "'@x", "'\t=1", "'＝1+1", 'two\nlines, "quoted"',
    ]  # fmt: skip
    assert [row["more"] for row in found[:7]] == [
        "", "-5", "2.5", "true", "", '[1,"a"]', "1146654567674912769",
    ]  # fmt: skip
    assert found[0]["input_id"] == "own id"
    assert found[0]["ref"] == "'=cmd"
    assert found[0]["problem"] == "'=SUM(A1)"
    assert (found[0]["file"], found[0]["line"]) == ("a.csv", "1")
    assert (found[1]["file"], found[1]["line"]) == ("C:\\a.csv", "")


def test_xlsx_holds_text_and_no_formulas(run: Run, folder: Path):
    path, out = folder / "j.db", folder / "out.xlsx"
    made(path, odd_rows(), lambda task: ill(task, problem=json.dumps({"title": "=SUM(A1)"})))
    ran = run("results", "--journal", path, "--output", out)
    assert ran.code == 0, ran.err
    assert list(folder.glob("out*")) == [out]
    ((header, *rows),) = sheets(out)
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["id"] for row in found] == [str(10 + seq) for seq in range(8)]
    assert found[1]["ref"] == "1146654567674912769"  # never rounded to a float
    assert found[0]["note"] == '=HYPERLINK("http://evil")'
    assert found[0]["problem"] == "=SUM(A1)"
    assert [row["more"] for row in found[1:7]] == [-5, 2.5, True, "", '[1,"a"]', "1146654567674912769"]
    assert found[7]["more"] == "x" * 32_766 + "…"
    assert found[7]["note"].startswith("\ufffd[31m\u202e\ufffd")
    assert found[0]["status"] == 400
    with zipfile.ZipFile(out) as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml").decode()
        assert "<f>" not in sheet
        assert "<hyperlink" not in sheet
        assert "<autoFilter" in sheet


def test_xlsx_goes_on_in_a_second_sheet(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "_MOST_ROWS", 5)
    made(folder / "j.db", incoming(10))
    run("results", "--journal", folder / "j.db", "--output", folder / "out.xlsx")
    found = sheets(folder / "out.xlsx")
    assert [len(rows) for rows in found] == [5, 5, 3]
    assert len({tuple(rows[0]) for rows in found}) == 1
    assert [row[4] for rows in found for row in rows[1:]] == [f"r{index}" for index in range(1, 11)]


def test_xlsx_to_standard_output(run: Run, journal: Path, folder: Path):
    ran = subprocess.run(
        [sys.executable, "-m", "xmediameta.cli", "results", "--journal", str(journal), "--format", "xlsx"],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    (folder / "piped.xlsx").write_bytes(ran.stdout)
    assert len(sheets(folder / "piped.xlsx")[0]) == 14


def test_what_a_server_said_cannot_drive_a_terminal(run: Run, folder: Path):
    path = folder / "j.db"
    made(path, incoming(1), lambda task: ill(task, problem=json.dumps({"title": HOSTILE})))
    for kind in ("jsonl", "csv"):
        out = run("results", "--journal", path, "--format", kind).out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "<script>" in out  # as text it is harmless


def test_a_file_that_cannot_be_written_is_not_half_written(run: Run, journal: Path, folder: Path):
    ran = run("results", "--journal", journal, "--output", folder / "none" / "out.csv")
    assert ran.code == 2
    assert "cannot be written: No such file or directory" in ran.err
    (folder / "out.csv").write_text("kept")
    (folder / "out.csv.part").mkdir()
    ran = run("results", "--journal", journal, "--output", folder / "out.csv")
    assert ran.code == 2
    assert (folder / "out.csv").read_text() == "kept"


def test_the_journal_is_never_written_over(run: Run, journal: Path):
    before = journal.read_bytes()
    ran = run("results", "--journal", journal, "--output", journal)
    assert ran.code == 2
    assert "is the journal itself" in ran.err
    assert journal.read_bytes() == before


def test_a_closed_pipe_is_quiet(folder: Path):
    made(folder / "j.db", incoming(3_000))
    process = subprocess.Popen(
        [sys.executable, "-m", "xmediameta.cli", "results", "--journal", str(folder / "j.db")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b'{"file":"updates.csv"')
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 141
    assert said == b""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "j.db"
    made(path, incoming(50_000, passed=True))
    return path


@linux
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jsonl", "csv", "xlsx"])
def test_fifty_thousand_rows_in_flat_memory(folder: Path, large: Path, kind: str):
    code = "import sys; from xmediameta.cli import main; main(['results', *sys.argv[1:]])\n" + PEAK
    out = folder / f"out.{kind}"
    argv = [sys.executable, "-c", code, "--journal", str(large), "--output", str(out)]
    # In processes of their own, so that nothing else counts: without rows it is what is imported.
    few, all_of_them = (
        int(subprocess.run([*argv, *more], capture_output=True, text=True, timeout=300, check=True).stdout)
        for more in (("--only", "expired"), ())
    )
    if kind == "xlsx":
        assert len(sheets(out)[0]) == 50_001
    else:
        assert len(out.read_bytes().splitlines()) == 50_000 + (kind == "csv")
    assert all_of_them - few < 30_000  # kilobytes
