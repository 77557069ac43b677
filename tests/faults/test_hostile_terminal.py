# ruff: noqa: F811 - fixtures come by import
"""What a server says reaches a terminal, a log and a file of results through the command: escaped in each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.commandline import TOKEN, Ran, folder, run, serve  # noqa: F401 - fixtures
from xmediameta.sandbox import Sandbox

from .test_hostile import harmless

Run = Callable[..., Ran]
Serve = Callable[..., Sandbox]

ROW = '{"id":"%s","metadata":{"alt_text":{"text":"a cat"}},"ref":"%s"}\n'


def shown(ran: Ran) -> list[str]:
    """Every line that a terminal is given, on either stream."""
    return [*ran.out.split("\n"), *ran.err.split("\n")]


@pytest.mark.parametrize(("fault", "log_format"), [("400-hostile", "text"), ("hostile-header", "json")])
def test_a_command_shows_no_control_character_of_a_server(run: Run, serve: Serve, fault: str, log_format: str) -> None:
    sandbox = serve(token=TOKEN, script={"1": ["503", fault], "2": ["ok"]})
    Path("rows.jsonl").write_text(ROW % ("1", "one") + ROW % ("2", "two"))
    common = ("--base-url", sandbox.url, "-v", "-v", "--log-format", log_format)
    applied = run("apply", "rows.jsonl", *common, "--results", "results.csv", "--json")
    assert applied.code == (1 if fault == "400-hostile" else 0)
    assert sandbox.unmet == {}
    assert "attempt 1" in applied.err
    for line in (*shown(applied), *Path("results.csv").read_text().split("\n")):
        assert harmless(line.rstrip("\r")), line
    for line in applied.err.splitlines() if log_format == "json" else ():
        if line.startswith("{"):
            assert all(harmless(str(value)) for value in json.loads(line).values()), line
    for command in (("status",), ("results",), ("results", "--format", "csv")):
        told = run(*command)
        assert told.code in {0, 1}, told.err
        for line in shown(told):
            assert harmless(line.rstrip("\r")), line


def test_set_shows_none_either(run: Run, serve: Serve) -> None:
    sandbox = serve(token=TOKEN, script={"1": ["400-hostile"]})
    ran = run("set", "1", "--alt-text", "a cat", "--base-url", sandbox.url)
    assert ran.code == 1
    assert r"\x1b" in ran.err, "it is shown, as escapes"
    assert all(harmless(line) for line in shown(ran))
