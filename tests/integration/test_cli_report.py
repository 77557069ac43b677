# ruff: noqa: F811 - fixtures come by import
"""`report`: the page as the command writes it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xmediameta.journal import Journal

from .commandline import Ran, folder, run  # noqa: F401 - fixtures
from .journals import HOSTILE, PEAK, X, finish, ill, incoming, invalid, linux, made, well

Run = Callable[..., Ran]


@pytest.fixture
def journal(folder: Path) -> Path:
    path = folder / "journal.db"
    hostile = json.dumps({"title": HOSTILE})
    made(
        path, [*incoming(30, accounts=("shop", "news")), invalid(31)],
        lambda task: ill(task, problem=hostile) if task.seq == 7 else well(task), requests=30,
    )  # fmt: skip
    return path


def test_the_page_is_written_whole(run: Run, journal: Path, folder: Path):
    ran = run("report", "--journal", journal, "--html", "out.html")
    assert ran.code == 0, ran.err
    html = (folder / "out.html").read_text("utf-8")
    assert html.startswith('<!doctype html>\n<html lang="en">')
    assert html.endswith("</html>\n")
    assert "29 of 31 rows applied or unchanged; 1 failed, 1 invalid." in html
    assert "0.15" in html
    assert not list(folder.glob("*.part"))


def test_hostile_text_is_text(run: Run, journal: Path, folder: Path):
    run("report", "--journal", journal, "--html", "out.html")
    html = (folder / "out.html").read_text("utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\x1b[31mred\\x1b[0m \\u202egnp" in html
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_the_page_to_standard_output(run: Run, journal: Path):
    ran = run("report", "updates.csv", "--journal", journal, "--html", "-")
    assert ran.out.startswith("<!doctype html>")


def test_a_page_that_cannot_be_written(run: Run, journal: Path, folder: Path):
    ran = run("report", "--journal", journal, "--html", folder / "none" / "out.html")
    assert ran.code == 2
    assert "cannot be written: No such file or directory" in ran.err
    ran = run("report", "--journal", journal, "--html", journal)
    assert "is the journal itself" in ran.err
    assert run("report", "--journal", journal).code == 2


def test_waits_are_those_that_the_journal_keeps(run: Run, folder: Path):
    path = folder / "journal.db"

    async def waited() -> None:
        async with await Journal.open(path) as journal, await journal.start("nightly", X, incoming(3)) as held:
            held.note("wait", "shop", window="user-15min", until="2100-01-01T00:00:00Z")
            await finish(held, well)

    asyncio.run(waited())
    run("report", "--journal", path, "--html", "out.html")
    assert "Waits for windows, by account" in (folder / "out.html").read_text("utf-8")


def test_help_and_version_bring_nothing_heavy():
    code = (
        "import sys\n"
        "from xmediameta.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "heavy = {'rich', 'sqlite3', 'aiohttp', 'asyncio', 'xlsxwriter', 'xmediameta.report', 'xmediameta.journal'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    for argv in (["--version"], ["status", "--help"], ["results", "--help"], ["report", "--help"]):
        ran = subprocess.run(
            [sys.executable, "-c", code, *argv], capture_output=True, text=True, timeout=60, check=False
        )
        assert (ran.returncode, ran.stderr) == (0, ""), argv


@linux
@pytest.mark.slow
def test_fifty_thousand_rows_make_a_small_page_in_flat_memory(folder: Path):
    made(folder / "j.db", incoming(50_000), lambda task: ill(task) if task.seq % 10 == 0 else well(task))
    code = (
        "import sys\n"
        "from xmediameta.cli import main\n"
        "assert main(['report', '--journal', sys.argv[1], '--html', 'out.html']) == 0\n"
    ) + PEAK
    ran = subprocess.run(
        [sys.executable, "-c", code, str(folder / "j.db")], capture_output=True, text=True, timeout=120, check=True
    )
    assert int(ran.stdout) < 90_000  # kilobytes, with the interpreter and all that is imported
    html = (folder / "out.html").read_text("utf-8")
    assert len(html) < 1_000_000
    assert "4,000 more are not shown here" in html
