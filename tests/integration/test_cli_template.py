# ruff: noqa: F811 - fixtures come by import
"""`template`: a table to fill in, and what becomes of it once it is filled in."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from xmediameta.cli import template as template_module
from xmediameta.readers.template import template
from xmediameta.sandbox import Sandbox

from .commandline import Ran, folder, run, serve  # noqa: F401 - fixtures

Run = Callable[..., Ran]
Serve = Callable[..., Sandbox]


def fill(path: Path, *cells: str) -> None:
    """Write a row into a workbook, as Excel writes text."""
    row = "".join(f'<c r="{chr(65 + at)}2" t="inlineStr"><is><t>{cell}</t></is></c>' for at, cell in enumerate(cells))
    filled = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(filled, "w") as new:
        for name in old.namelist():
            part = old.read(name).decode()
            new.writestr(name, part.replace("</row></sheetData>", f'</row><row r="2">{row}</row></sheetData>'))
    path.write_bytes(filled.getvalue())


def test_a_workbook_is_filled_in_and_sent(folder: Path, run: Run, serve: Serve):
    ran = run("template", "-o", "my updates.xlsx")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "my updates.xlsx: fill it in, then type: xmediameta validate 'my updates.xlsx'\n"
    fill(folder / "my updates.xlsx", "1146654567674912769", "A dancing cat")
    assert run("validate", "my updates.xlsx").code == 0
    sandbox = serve()
    assert run("apply", "my updates.xlsx", "--base-url", sandbox.url).code == 0
    assert sandbox.applied["1146654567674912769"]["alt_text"] == {"text": "A dancing cat"}


def test_csv(folder: Path, run: Run):
    assert run("template", "--output", "updates.csv").code == 0
    assert (folder / "updates.csv").read_bytes() == template("csv")
    with (folder / "updates.csv").open("a") as file:
        file.write("1146654567674912769,A dancing cat" + "," * (template("csv").count(b",") - 1) + "\n")
    assert run("validate", "updates.csv").code == 0


@pytest.mark.parametrize(
    ("argv", "kind"), [([], "xlsx"), (["--format", "csv"], "csv"), (["-o", "-", "--format", "xlsx"], "xlsx")]
)
def test_to_standard_output(folder: Path, argv: list[str], kind: str):
    command = [sys.executable, "-m", "xmediameta.cli", "template", *argv]
    ran = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert ran.stdout == template("csv" if kind == "csv" else "xlsx")
    assert ran.stderr == b""


def test_a_workbook_is_not_written_to_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(template_module.sys.stdout, "isatty", lambda: True, raising=False)
    ran = run("template")
    assert ran.code == 2
    assert "a workbook is no text for a terminal: name a file with --output updates.xlsx" in ran.err
    assert ran.out == ""
    assert run("template", "--format", "csv").out.startswith("id,alt_text,")


def test_no_file_is_written_over(folder: Path, run: Run):
    (folder / "updates.xlsx").write_text("work of a week")
    ran = run("template", "-o", "updates.xlsx")
    assert ran.code == 2
    assert "updates.xlsx: is there already, and is not written over" in ran.err
    assert (folder / "updates.xlsx").read_text() == "work of a week"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["-o", "updates"], "updates: the name must end with .xlsx or .csv"),
        (["-o", "updates.xls"], "updates.xls: the name must end with .xlsx or .csv"),
        (["-o", "updates.csv", "--format", "xlsx"], "the name says .csv, and --format says xlsx"),
        (["-o", "none/updates.csv"], "none/updates.csv: cannot be written: No such file or directory"),
    ],
)
def test_names_that_do_not_do(folder: Path, run: Run, argv: list[str], said: str):
    ran = run("template", *argv)
    assert ran.code == 2
    assert said in ran.err
    assert not list(folder.iterdir())


def test_without_xlsxwriter(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    ran = run("template", "-o", "updates.xlsx")
    assert ran.code != 0
    assert "needs the extra [cli]" in ran.err
    assert not list(folder.iterdir())
