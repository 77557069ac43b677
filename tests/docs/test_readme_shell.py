"""The README's shell blocks, run as they stand against a sandbox, and what they are said to print."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.docs.readme import ROOT, block, environment, run_shell, table
from tests.integration.browsing import free_port
from xmediameta import Sandbox

CAT = "1146654567674912769"
DOG = "1146654567674912770"
CI = ROOT / ".ci" / "run"


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """A sandbox in the place of X: what the command sends without `--base-url` arrives here."""
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the README shows."""
    (tmp_path / "updates.csv").write_text(block("csv", "updates.csv").text)
    (tmp_path / "updates.jsonl").write_text(block("jsonl", "updates.jsonl").text)
    (tmp_path / "news.token").write_text("NEWS-TOKEN\n")
    (tmp_path / "news.token").chmod(0o600)
    return tmp_path


def timeless(text: str) -> str:
    """The text without its times."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "_", text)
    text = re.sub(r'"seconds":\d+\.\d+\b', '"seconds":_', text)
    return re.sub(r"\b\d+\.\d+ s\b", "_ s", text)


async def test_validate(folder: Path) -> None:
    ended = await run_shell("exec 2>&1\n" + block("sh", "validate").text, folder)
    assert ended.out == block("text", "validate").text


async def test_plan(folder: Path) -> None:
    ended = await run_shell(block("sh", "plan").text, folder, {"XMEDIAMETA_TOKEN": ""})
    assert ended.out == block("text", "plan").text
    assert ended.err == ""
    assert not list((folder / "state").rglob("*.db"))


async def test_apply(folder: Path, sandbox: Sandbox) -> None:
    ended = await run_shell(block("sh", "apply"), folder, {"XMEDIAMETA_BASE_URL": sandbox.url})
    assert ended.code == 0, ended.err
    tokens = [sandbox.label(token) for token in ("ACCESS-TOKEN", "NEWS-TOKEN", "ANOTHER-TOKEN")]
    seen = [(received.token, received.id) for received in sandbox.received]
    assert sorted(seen[:2]) == sorted([(tokens[0], CAT), (tokens[0], DOG)])
    assert seen[2] == (tokens[0], CAT)
    assert sorted(seen[3:]) == sorted([(tokens[1], CAT), (tokens[2], DOG)])
    assert sandbox.history(CAT) == [
        {"alt_text": {"text": "A dancing cat"}},
        {"alt_text": {"text": "A dancing cat"}, "sensitive_media_warning": {"adult_content": True}},
        {"alt_text": {"text": "A dancing cat"}},
    ]
    assert sandbox.history(DOG) == [
        {
            "alt_text": {"text": "A sleeping dog, seen from above"},
            "sensitive_media_warning": {"adult_content": False},
            "geo_restrictions": {"whitelisted_country_codes": [], "blacklisted_country_codes": ["de", "at"]},
        },
        {"sensitive_media_warning": {"adult_content": True}},
    ]


async def test_login(folder: Path, sandbox: Sandbox) -> None:
    """In the place of the browser stands a program that logs in as whom the test says."""
    (folder / "users").write_text("news\nsports\n")
    (folder / "browser.py").write_text(
        "import pathlib, sys\nfrom tests.integration.browsing import decided, visited\n"
        "users = pathlib.Path('users')\nuser, *others = users.read_text().split()\n"
        "users.write_text(' '.join(others))\nassert visited(decided(sys.argv[1], user))[0] == 200\n"
    )
    env = {
        "XMEDIAMETA_BASE_URL": sandbox.url,
        "XMEDIAMETA_CLIENT_ID": "the-app",
        "XMEDIAMETA_LOGIN_PORT": str(free_port()),
        "BROWSER": f"{sys.executable} browser.py %s",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "120",
    }
    ended = await run_shell(block("sh", "login"), folder, env)
    assert ended.code == 0, ended.err
    assert in_hours(ended.out) == in_hours(block("text", "login").text)
    assert set(sandbox.applied) == {CAT, DOG}
    assert len({received.token for received in sandbox.received if received.id in {CAT, DOG}}) == 2
    kept = list((folder / "state" / "xmediameta" / "accounts").glob("*.json"))
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o600, 0o600]


def in_hours(text: str) -> list[str]:
    """The lines without the time that a token has left, nor the spaces that end them."""
    return [re.sub(r"in [12]:\d\d:\d\d", "in _", line).rstrip() for line in text.splitlines()]


async def test_apply_sandbox(folder: Path) -> None:
    ended = await run_shell(block("sh", "apply-sandbox"), folder)
    assert ended.code == 0, ended.err
    assert timeless(ended.err) == timeless(block("text", "apply-sandbox").text)
    (line,) = ended.out.splitlines()
    shown = json.loads(block("json", "apply-sandbox").text)
    shown["run"] = shown["run"].replace("/home/you", str(folder))
    assert json.loads(line) | {"seconds": 0.1} == shown
    assert list(json.loads(line)) == list(shown)
    assert timeless((folder / "results.jsonl").read_text()) == timeless(block("jsonl", "results.jsonl").text)


async def test_journal(folder: Path, sandbox: Sandbox) -> None:
    env = {"XMEDIAMETA_TOKEN": "TOKEN", "XMEDIAMETA_BASE_URL": sandbox.url}
    ended = await run_shell(block("sh", "journal"), folder, env)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("exit code 3\n")
    assert "2 applied" in ended.out
    assert sandbox.counts.requests == 2
    lines = (folder / "results.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["file", "updates.csv", "updates.csv"]
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert (folder / "state" / "xmediameta" / "journal.db").exists()
    ended = await run_shell("cp updates.csv other.csv; xmediameta apply other.csv --json", folder, env)
    assert json.loads(ended.out)["unchanged"] == 2
    assert sandbox.counts.requests == 2
    ended = await run_shell("xmediameta apply updates.csv --force", folder, env)
    assert sandbox.counts.requests == 4


async def test_template(folder: Path) -> None:
    ended = await run_shell("exec 2>&1\n" + block("sh", "template").text, folder)
    assert ended.out == block("text", "template").text


async def test_formats(folder: Path) -> None:
    convert = """
import pyarrow.csv, pyarrow.parquet, xlsxwriter
table = pyarrow.csv.read_csv("updates.csv", convert_options=pyarrow.csv.ConvertOptions(column_types={"id": "string"}))
pyarrow.parquet.write_table(table, "updates.parquet")
with xlsxwriter.Workbook("updates.xlsx") as book:
    sheet = book.add_worksheet()
    for number, row in enumerate([table.column_names, *(one.values() for one in table.to_pylist())]):
        for column, cell in enumerate(row):
            sheet.write_string(number, column, cell or "")
"""
    (folder / "convert.py").write_text(convert)
    commands = """
python convert.py
gzip -k updates.csv
exec 2>&1
for file in updates.parquet updates.xlsx updates.csv.gz; do xmediameta validate $file; done
xmediameta validate - < updates.jsonl
"""
    ended = await run_shell(commands, folder)
    assert ended.out.splitlines() == ["2 valid updates"] * 3 + ["2 valid updates for 2 accounts"]


async def test_sandbox(folder: Path, tmp_path: Path) -> None:
    (folder / "faults.json").write_text(block("json", "faults.json").text)
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", "exec " + block("sh", "sandbox").text, cwd=folder, env=environment(),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            assert process.stdout is not None
            url = (await process.stdout.readline()).decode().strip()
            env = {"XMEDIAMETA_TOKEN": "ANY", "XMEDIAMETA_BASE_URL": url}
            ended = await run_shell(f"xmediameta set {CAT} --alt-text Cat -v", folder, env)
            assert ended.code == 0, ended.err
            assert "after attempt 2" in ended.err, "both faults of the script were met"
            script = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())"
            (tmp_path / "get.py").write_text(script)
            document = await run_shell(f"python get.py {url}/openapi.json", folder)
            assert "/2/media/metadata" in json.loads(document.out)["paths"]
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
        assert process.returncode == 0
        assert b"1 applied" in err
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.slow
async def test_try_it(tmp_path: Path) -> None:
    ended = await _with_stubs(block("sh", "try-it").text, tmp_path, real="xmediameta")
    assert ended[:2] == ["python3 -m venv .venv", "pip install -q .[cli]"]
    assert any("nothing is sent to X" in line for line in ended)
    (sent,) = re.findall(r"(\d+) applied; \1 requests", ended[-1])
    assert 250 <= int(sent) <= 350


async def test_run_the_tests(tmp_path: Path) -> None:
    ended = await _with_stubs(block("sh", "run-the-tests").text, tmp_path)
    assert ended == [
        "python3 -m venv .venv",
        "pip install -q -c tests/constraints.txt -e .[all,test]",
        "pytest -n auto --dist loadfile",
    ]
    assert (ROOT / "tests" / "constraints.txt").is_file()


async def _with_stubs(command: str, folder: Path, real: str = "") -> list[str]:
    """Run a command of set-up where python3 and what is in .venv only say how they were called, all but one."""
    for name, at in (("python3", "stubs"), ("pip", ".venv/bin"), ("pytest", ".venv/bin"), ("xmediameta", ".venv/bin")):
        stub = folder / at / name
        stub.parent.mkdir(parents=True, exist_ok=True)
        if name == real:
            stub.symlink_to(Path(sys.executable).parent / name)
        else:
            stub.write_text(f'#!/bin/sh\necho "{name} $*" | sed "s/ *$//"\n')
            stub.chmod(0o755)
    ended = await run_shell(f'export PATH="$PWD/stubs:$PATH"\nexec 2>&1\n{command}', folder)
    assert ended.code == 0, ended.out
    return ended.out.splitlines()


@pytest.mark.parametrize("name", ["try-it", "run-the-tests"])
def test_ci_takes_its_commands_from_the_readme(name: str) -> None:
    function = re.search(r"^command_of\(\) \{\n.*?^\}\n", CI.read_text(), re.MULTILINE | re.DOTALL)
    assert function is not None
    script = f'here="$1"\n{function[0]}\ncommand_of {name}'
    taken = subprocess.run(["bash", "-euc", script, "-", str(ROOT)], capture_output=True, text=True, check=True)
    assert taken.stdout == block("sh", name).text
    assert f"command_of {name})" in CI.read_text()


def test_ci() -> None:
    assert block("sh", "ci").text == "bash .ci/run\n"
    subprocess.run(["bash", "-n", str(CI)], check=True)
    assert CI.stat().st_mode & 0o111


def test_checks() -> None:
    commands = [command for line in block("sh", "checks").text.splitlines() for command in line.split(" && ")]
    assert len(commands) == 5
    steps = re.findall(r'^step "[^"]+" checked (.+)$', CI.read_text(), re.MULTILINE)
    assert set(commands) <= set(steps)


async def test_columns(folder: Path) -> None:
    named = [row[0] for row in table("From a shell")]
    (folder / "all.csv").write_text(",".join([*named, "alt_text"]) + "\n")
    ended = await run_shell("xmediameta validate all.csv", folder)
    assert ended.code == 0, ended.err


async def test_columns_that_are_not_known(folder: Path) -> None:
    (folder / "odd.csv").write_text("id,alt_text,photo,_note\n1,A cat,cat.jpg,mine\n")
    assert (await run_shell("xmediameta validate odd.csv", folder)).code == 2
    assert (await run_shell("xmediameta validate odd.csv --pass photo", folder)).code == 0
    assert (await run_shell('xmediameta validate odd.csv --map "photo=ref"', folder)).code == 0


async def test_a_wrong_row_sends_nothing(folder: Path, sandbox: Sandbox) -> None:
    env = {"XMEDIAMETA_TOKEN": "TOKEN", "XMEDIAMETA_BASE_URL": sandbox.url}
    wrong = 'printf \'{"id": "x"}\\n\' >> updates.jsonl; sed -i "s/, \\"account\\": \\"[a-z]*\\"//" updates.jsonl\n'
    ended = await run_shell(wrong + "xmediameta apply updates.jsonl", folder, env)
    assert ended.code == 2
    assert "updates.jsonl:3: id" in ended.err
    assert not sandbox.received
    ended = await run_shell("xmediameta apply updates.jsonl --skip-invalid", folder, env)
    assert ended.code == 1
    assert sandbox.counts.applied == 2
    assert (folder / "updates.jsonl.rejects.jsonl").exists()


@pytest.mark.parametrize(
    ("faults", "code"), [([], 0), (["400"], 1), (["402"], 4), (["404-empty"], 4), (["401"], 4), (["usage-capped"], 4)]
)
async def test_exit_codes(folder: Path, sandbox: Sandbox, faults: list[str], code: int) -> None:
    sandbox.script("*", faults)
    env = {"XMEDIAMETA_TOKEN": "TOKEN", "XMEDIAMETA_BASE_URL": sandbox.url}
    ended = await run_shell("xmediameta apply updates.csv", folder, env)
    assert ended.code == code, ended.err


async def test_exit_code_of_a_bound(folder: Path, sandbox: Sandbox) -> None:
    env = {"XMEDIAMETA_TOKEN": "TOKEN", "XMEDIAMETA_BASE_URL": sandbox.url}
    ended = await run_shell("xmediameta apply updates.csv --max-requests 1 --json", folder, env)
    assert ended.code == 3, ended.err
    told = json.loads(ended.out)
    assert (told["applied"], told["pending"]) == (1, 1)
    assert set(told["stopped"]) == {"reason", "account", "action", "resume_at"}
    sandbox.spend("TOKEN", 499)
    ended = await run_shell("xmediameta apply updates.csv --max-wait 1s --json", folder, env)
    assert ended.code == 3, ended.err
    assert json.loads(ended.out)["stopped"]["resume_at"] is not None


async def test_money_is_asked_about(folder: Path) -> None:
    env = {"XMEDIAMETA_TOKEN": "TOKEN", "XMEDIAMETA_BASE_URL": "https://x.invalid"}
    ended = await run_shell("xmediameta apply updates.csv --ask-above 0.009", folder, env)
    assert ended.code == 2
    assert "--yes or --max-cost" in ended.err


def test_exit_code_rows() -> None:
    rows = table("Exit codes")
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "130, 143"]
