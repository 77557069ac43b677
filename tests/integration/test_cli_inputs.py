# ruff: noqa: F811 - fixtures come by import
"""What `apply` and `validate` do with input that is not as it should be: nothing is sent, and each line says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xmediameta.sandbox import Sandbox

from .commandline import Ran, folder, records, rows, run, serve  # noqa: F401 - fixtures

Run = Callable[..., Ran]
Serve = Callable[..., Sandbox]

GOOD = b'{"id":"1","metadata":{"alt_text":{"text":"a"}}}'
COLOUR = (
    'a.csv:1: colour: is not a column of the contract; keep it beside the row with --pass "colour", '
    'or say what it is with --map "colour=NAME"'
)
BOTH_LISTS = (
    b'{"id":"1","metadata":{"geo_restrictions":{"whitelisted_country_codes":["us"],'
    b'"blacklisted_country_codes":["us"]}}}'
)
BAD_LINES = [
    (GOOD.replace(b'"1"', b'"12345678901234567890"'), "id: 20 digits, 1 too many (at most 19)"),
    (GOOD.replace(b'"1"', b"1146654567674912769"), "id: must be text in quotes, not a number (1146654567674912769)"),
    (GOOD.replace(b'"a"', b'"' + b"x" * 1001 + b'"'), "metadata.alt_text.text: 1,001 characters, 1 too many"),
    (BOTH_LISTS, "metadata.geo_restrictions: exactly one of"),
    (
        GOOD.replace(b"alt_text", b"alt_txt"),
        "metadata.alt_txt: is not a member of the contract; did you mean 'alt_text'?",
    ),
    (GOOD[:-4], "broken JSON"),
    (GOOD.replace(b'"a"', b'"caf\xe9"'), "is not UTF-8"),
]


def test_one_clear_line_for_each_fault_and_nothing_is_sent(folder: Path, run: Run, serve: Serve):
    """Issue 2, "It holds when": the seven bad lines, and a CSV row of too few cells."""
    (folder / "bad.jsonl").write_bytes(b"\n".join([GOOD, *(line for line, _ in BAD_LINES), GOOD]))
    (folder / "bad.csv").write_bytes(b"id,alt_text,ref\n1,a,b\n2,a\n")
    sandbox = serve()
    ran = run("apply", "bad.jsonl", "bad.csv", "--base-url", sandbox.url)
    assert ran.code == 2
    lines = ran.err.splitlines()
    for number, (_, said) in enumerate(BAD_LINES, 2):
        [line] = [line for line in lines if line.startswith(f"bad.jsonl:{number}: ")]
        assert said in line
    assert "bad.csv:3: the row has 2 cells, the header has 3" in lines
    assert lines[-1] == "8 invalid rows; nothing was sent"
    assert len(lines) == 9
    assert sandbox.counts.requests == 0


def test_validate_says_the_same_without_a_token(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XMEDIAMETA_TOKEN")
    (folder / "bad.jsonl").write_bytes(b"\n".join(line for line, _ in BAD_LINES))
    (folder / "good.jsonl").write_text(rows(3))
    ran = run("validate", "good.jsonl", "bad.jsonl")
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == "3 valid updates, 7 invalid rows"
    ran = run("validate", "good.jsonl")
    assert (ran.code, ran.err) == (0, "3 valid updates\n")


def test_a_bom_empty_lines_and_crlf_are_tolerated(folder: Path, run: Run, serve: Serve):
    sandbox = serve()
    (folder / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + GOOD + b"\r\n\r\n\n" + GOOD.replace(b'"1"', b'"2"'))
    (folder / "b.csv").write_bytes(b"\xef\xbb\xbfID;Alt Text\r\n3;a\r\n;\r\n")
    ran = run("apply", "a.jsonl", "b.csv", "--base-url", sandbox.url)
    assert ran.code == 0, ran.err
    assert set(sandbox.applied) == {"1", "2", "3"}


def test_faults_are_shown_up_to_a_bound_and_all_are_counted(folder: Path, run: Run):
    (folder / "bad.jsonl").write_text("{\n" * 2 + "{}\n" * 150)
    ran = run("validate", "bad.jsonl")
    assert ran.code == 2
    assert len(ran.err.splitlines()) <= 103
    (folder / "bad.jsonl").write_text("{}\n" * 150)
    ran = run("validate", "bad.jsonl")
    assert ran.err.splitlines()[-2:] == ["and 50 more invalid rows", "0 valid updates, 150 invalid rows"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.jsonl", None, "none.jsonl: no such file"),
        ("folder.jsonl", "folder", "folder.jsonl: is a folder"),
        ("a.text", GOOD, "a.text: its name does not tell what it holds"),
        ("a.jsonl.gz", GOOD, "a.jsonl.gz: is not a gzip file"),
        ("a.jsonl", GOOD.decode().encode("utf-16"), "a.jsonl: is in UTF-16; save it as UTF-8"),
        ("a.csv", b"id,colour\n1,red\n", COLOUR),
        ("a.csv", b'id,alt_text\n1,"a\n', "a.csv:2: a quoted cell is opened here and never closed"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read_are_not_skipped(
    folder: Path, run: Run, serve: Serve, name: str, content: object, said: str
):
    if content == "folder":
        (folder / name).mkdir()
    elif isinstance(content, bytes):
        (folder / name).write_bytes(content)
    sandbox = serve()
    ran = run("apply", name, "--base-url", sandbox.url, "--skip-invalid")
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.splitlines()[-1] == "1 fault in what could not be read on; nothing was sent"
    assert sandbox.counts.requests == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id,alt_text\n1.14665E+18,a\n", "a.csv:2: id: '1.14665E+18' was written as a number by a spreadsheet"),
        (b"id,alt_text\n3_1146654567674912769,a\n", "a.csv:2: id: '3_1146654567674912769' is a media key"),
        (b"id,alt_text,send_before\n1,a,2030-01-01T00:00\n", "a.csv:2: send_before: '2030-01-01T00:00' has no zone"),
        (b"id,alt_text,ref\n1,,r\n", "a.csv:2: the row sets nothing"),
    ],
)
def test_rows_that_cannot_be_sent(folder: Path, run: Run, serve: Serve, content: bytes, said: str):
    (folder / "a.csv").write_bytes(content)
    sandbox = serve()
    ran = run("apply", "a.csv", "--base-url", sandbox.url)
    assert ran.code == 2
    assert ran.err.splitlines()[0].startswith(said)
    assert ran.err.splitlines()[-1] == "1 invalid row; nothing was sent"
    assert sandbox.counts.requests == 0


def test_skip_invalid_sends_the_rest_and_writes_the_rejects(folder: Path, run: Run, serve: Serve):
    sandbox = serve()
    (folder / "mixed.jsonl").write_bytes(b"\n".join([GOOD, *(line for line, _ in BAD_LINES)]))
    (folder / "mixed.csv").write_bytes("id,alt_text\n2,b\nx,né\n".encode("latin-1"))
    ran = run("apply", "mixed.jsonl", "mixed.csv", "--base-url", sandbox.url, "--skip-invalid", "--json",
              "--results", "out.jsonl")  # fmt: skip
    assert ran.code == 1
    assert set(sandbox.applied) == {"1", "2"}
    assert (ran.json["applied"], ran.json["invalid"], ran.json["pending"], ran.json["total"]) == (2, 8, 0, 10)
    assert "8 invalid rows set aside in mixed.jsonl.rejects.jsonl, mixed.csv.rejects.jsonl" in ran.err
    rejects = records(folder / "mixed.jsonl.rejects.jsonl")
    assert [reject["line"] for reject in rejects] == list(range(2, 9))
    assert rejects[0] == {
        "file": "mixed.jsonl", "line": 2, "member": "id", "rule": "20 digits, 1 too many (at most 19)",
        "input": BAD_LINES[0][0].decode(),
    }  # fmt: skip
    assert "caf\\xe9" in rejects[6]["input"]
    [reject] = records(folder / "mixed.csv.rejects.jsonl")
    assert reject["input"] == {"id": "x", "alt_text": "n\\xe9"}
    outcomes = [record["outcome"] for record in records(folder / "out.jsonl")]
    assert outcomes == ["applied", *["invalid"] * 7, "applied", "invalid"]


def test_all_rejects_to_one_file(folder: Path, run: Run, serve: Serve):
    (folder / "a.jsonl").write_text(rows(1) + "{}\n")
    (folder / "b.jsonl").write_text("[1]x\n{}\n")
    ran = run("apply", "a.jsonl", "--base-url", serve().url, "--skip-invalid", "--rejects", "bad.jsonl")
    assert ran.code == 1
    assert [record["file"] for record in records(folder / "bad.jsonl")] == ["a.jsonl"]
    assert not list(folder.glob("*.rejects.jsonl"))


def test_rejects_and_results_never_write_over_an_input(folder: Path, run: Run, serve: Serve):
    (folder / "a.jsonl").write_text(rows(1) + "{}\n")
    sandbox = serve()
    before = (folder / "a.jsonl").read_bytes()
    for options in (["--rejects", "a.jsonl"], ["--results", "./a.jsonl"]):
        ran = run("apply", "a.jsonl", "--base-url", sandbox.url, "--skip-invalid", *options)
        assert ran.code == 2
        assert "is an input" in ran.err
        assert (folder / "a.jsonl").read_bytes() == before
    assert sandbox.counts.requests == 0


def test_max_invalid_bounds_what_may_be_skipped(folder: Path, run: Run, serve: Serve):
    (folder / "a.jsonl").write_text(rows(2) + "{}\n" * 3)
    sandbox = serve()
    common = ("apply", "a.jsonl", "--base-url", sandbox.url, "--skip-invalid", "--max-invalid")
    ran = run(*common, 2, "--json")
    assert ran.code == 2
    assert "3 invalid rows, more than --max-invalid 2; nothing was sent" in ran.err
    assert ran.json["stopped"]["reason"] == "invalid-input"
    assert (ran.json["pending"], ran.json["requests"]) == (2, 0)
    assert sandbox.counts.requests == 0
    assert run(*common, 3).code == 1
    assert sandbox.counts.applied == 2


def test_a_file_that_cannot_be_read_on_cannot_be_skipped(folder: Path, run: Run, serve: Serve):
    (folder / "a.jsonl").write_text(rows(2))
    (folder / "b.csv").write_text('id,alt_text\n3,b\n4,"c\n')
    sandbox = serve()
    ran = run("apply", "a.jsonl", "b.csv", "--base-url", sandbox.url, "--skip-invalid")
    assert ran.code == 2
    assert sandbox.counts.requests == 0


def test_standard_input_is_checked_first_too(run: Run, serve: Serve):
    sandbox = serve()
    ran = run("apply", "-", "--base-url", sandbox.url, stdin=rows(3).encode() + b"{}\n")
    assert (ran.code, sandbox.counts.requests) == (2, 0)
    assert "stdin:4: id: is missing" in ran.err
    ran = run("apply", "-", "--base-url", sandbox.url, stdin=rows(3).encode())
    assert (ran.code, sandbox.counts.applied) == (0, 3)
    ran = run("apply", "-", "--format", "csv", "--base-url", sandbox.url, stdin=b"id,alt_text\n9,nine\n")
    assert (ran.code, sandbox.counts.applied) == (0, 4)


def test_map_and_pass_reach_the_results(folder: Path, run: Run, serve: Serve):
    (folder / "a.csv").write_text("Media,Text,File\n5,five,=cat.png\n6,six,dog.png\n")
    options = ["--map", "Media=id", "--map", "Text=alt_text", "--pass", "File"]
    sandbox = serve()
    ran = run("apply", "a.csv", "--base-url", sandbox.url, *options, "--results", "out.jsonl")
    assert ran.code == 0, ran.err
    assert [record["passed"] for record in records(folder / "out.jsonl")] == [{"File": "=cat.png"}, {"File": "dog.png"}]
    assert sandbox.applied["5"] == {"alt_text": {"text": "five"}}


def test_no_strict_sends_what_breaks_a_rule_that_joins_members(folder: Path, run: Run, serve: Serve):
    (folder / "a.jsonl").write_bytes(BAD_LINES[3][0])
    sandbox = serve(lenient=True)
    assert run("apply", "a.jsonl", "--base-url", sandbox.url).code == 2
    assert run("apply", "a.jsonl", "--base-url", sandbox.url, "--no-strict").code == 0
    assert sandbox.applied["1"]["geo_restrictions"]["whitelisted_country_codes"] == ["us"]


def test_text_from_a_file_cannot_drive_the_terminal(folder: Path, run: Run):
    (folder / "a.jsonl").write_text('{"id":"[red]\\u001b[2Jx","metadata":{"alt_text":{"text":"a"}}}\n')
    (folder / "b.csv").write_text("id,alt_text,\x1b]0;title\x07\n1,a,b\n")
    ran = run("validate", "a.jsonl", "b.csv")
    assert ran.code == 2
    assert "\x1b" not in ran.err
    assert "\x07" not in ran.err
    assert "[red]\\x1b[2Jx" in ran.err
