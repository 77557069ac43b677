"""What the README says of names, options and numbers, against the code."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import get_args

import click
import pytest

import xmediameta
from tests.docs.readme import README, ROOT, block, blocks, headings, links, run_python, table, tree
from tests.faults.every import LIMITED
from tests.faults.test_every_fault import ENDS
from xmediameta import Client, Limits, NotSent, Sandbox, XMediaMetaError, errors, outcomes
from xmediameta.applying.order import PRICE
from xmediameta.cli.app import cli
from xmediameta.cli.options import ASK_ABOVE
from xmediameta.members import AltText
from xmediameta.sandbox import FAULTS
from xmediameta.shortform import SHORT_FORMS

# What the rows of the table have in common.
KINDS = {"XMediaMetaError", "ProblemError", "TransportError"}


def test_every_block_is_run() -> None:
    """A block is run by the test that names it: `block("python", "create")`."""
    asked: set[tuple[str, str]] = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "block":
                values = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                if len(values) == 2:
                    asked.add((str(values[0]), str(values[1])))
    shown = [(one.language, one.name) for one in blocks()]
    assert len(shown) == len(set(shown))
    assert set(shown) == asked


def test_links() -> None:
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings()}
    for link in links():
        if link.startswith("#"):
            assert link[1:] in anchors
        elif not link.startswith("https://"):
            assert (ROOT / link).exists()


def test_short_forms() -> None:
    rows = table("What can be set")
    assert {row[0]: tuple(row[1].split(".")) for row in rows} == SHORT_FORMS


def test_options_of_the_client() -> None:
    defaults = {
        "max_wait": (10.0, "create (10 s), bulk (no bound)"),
        "reserve": (0, "Client (0)"),
        "pace": ("burst", 'Client ("burst")'),
        "limits": (Limits(), "Client (X's documented ones)"),
        "on_wait": (None, "Client"),
        "concurrency": (32, "Client (32), bulk"),
    }
    methods = {"Client": Client.__init__, "create": Client.create, "bulk": Client.bulk}
    rows = table("Rate limits")
    assert {row[0]: row[1] for row in rows} == {name: of for name, (_, of) in defaults.items()}
    for name, of, _ in rows:
        holders = [methods[holder] for holder in re.findall(r"Client|create|bulk", of)]
        assert inspect.signature(holders[0]).parameters[name].default == defaults[name][0]
        assert all(name in inspect.signature(holder).parameters for holder in holders)
    assert inspect.signature(Client.bulk).parameters["max_wait"].default is None
    assert inspect.signature(Client.bulk).parameters["lookahead"].default == 10_000


def test_numbers_of_retrying() -> None:
    policy = xmediameta.RetryPolicy()
    wait = xmediameta.wait_for_verdict()
    assert (policy.attempts, policy.max_outage, wait.base, wait.cap) == (5, 15 * 60, 0.5, 30)


def test_what_becomes_of_an_update() -> None:
    """Each fault that the table names ends as one run over all of them shows that it does."""
    named: set[str] = set()
    for what, faults, becomes in table("Retries"):
        for fault in faults.split(", ") if faults else ():
            ends = ENDS[fault]
            words = "applied" if ends == 1 else "waits" if fault in LIMITED else "tried again"
            if fault in {"last", "connection-close"}:  # whoever comes after one of them may be tried again
                words = "tried again"
            assert (ends if isinstance(ends, str) else words) in becomes, what
            named.add(fault)
    assert {end for end in map(str, ENDS.values()) if not end.isdigit()} == {
        end for end in map(str, map(ENDS.get, named)) if not end.isdigit()
    }, "every error that a fault ends in has a row"
    assert len(named) > 50


def test_outcomes() -> None:
    rows = table("Outcomes")
    assert {row[0] for row in rows} == {kind.__name__ for kind in get_args(xmediameta.Outcome)}
    for name, fields, _ in rows:
        assert all(hasattr(getattr(xmediameta, name), field) for field in fields.split(", "))


def test_reasons() -> None:
    (said,) = (text for text in _paragraphs() if text.startswith("NotSent.reason is"))
    assert tuple(re.findall(r'"(\w+)"', said)) == get_args(outcomes.Reason)
    assert "reason" in inspect.signature(NotSent).parameters


def test_errors() -> None:
    tree_of_errors = {
        name: kind for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, XMediaMetaError) and not name.startswith("_")
    }  # fmt: skip
    assert {row[0] for row in table("Errors")} == set(tree_of_errors) - KINDS
    for name, scope, _, _ in table("Errors"):
        assert (name, tree_of_errors[name].scope) == (name, scope)


def test_what_errors_carry() -> None:
    (said,) = (text for text in _paragraphs() if text.startswith("Every error is an XMediaMetaError"))
    error = XMediaMetaError("")
    assert all(hasattr(error, name) for name in ("media_id", "ref", "account", "attempts", "advice", "scope"))
    named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", said))
    parameters = {*inspect.signature(errors.ProblemError).parameters} - {"retry_after", "date"}
    assert parameters <= named
    assert "maybe_applied" in inspect.signature(errors.TransportError).parameters


def test_options_of_apply() -> None:
    options = [option for option in cli.commands["apply"].params if isinstance(option, click.Option)]
    said = dict(table("Options of apply"))
    assert set(said) == {max(option.opts, key=len) for option in options if not option.hidden} - {"--help"}
    assert f"({ASK_ABOVE:g})" in said["--ask-above"]
    assert f"({PRICE:g})" in said["--price"]
    assert "(32)" in said["--concurrency"]
    assert next(option.default for option in options if "--concurrency" in option.opts) == 32


def test_commands_that_are_named() -> None:
    named = set(re.findall(r"\bxmediameta ([a-z]+)\b", "\n".join(one.text for one in blocks() if one.language == "sh")))
    assert named <= set(cli.commands)
    assert {"apply", "set", "validate", "sandbox"} <= named


def test_limits_and_price() -> None:
    rows = dict(table("Limits and price"))
    limits = Limits()
    assert limits.user_15min == (500, 900.0)
    assert limits.app_24hour == (50_000, 86_400.0)
    assert rows["requests per account"] == "500 in 15 minutes"
    assert rows["requests per app"] == "50,000 in 24 hours"
    assert rows["price"].startswith(f"{PRICE:g} USD a request, so {1000 * PRICE:g} USD for a thousand")
    assert "two-letter" in {row[0]: row[2] for row in table("What can be set")}["allowed_countries"]
    assert AltText("x" * 1000).text


def test_sandbox_defaults_are_the_documented_limits() -> None:
    parameters = inspect.signature(Sandbox).parameters
    assert (parameters["limit"].default, parameters["window"].default) == Limits().user_15min
    assert (parameters["app_limit"].default, parameters["app_window"].default) == Limits().app_24hour


def test_faults_that_are_named() -> None:
    named = [name for row in table("Testing with the sandbox") for name in row[1].split(", ")]
    assert len(named) > 30
    known = [name for name in (name.partition(":")[0] for name in named) if not name.startswith("and any other")]
    assert set(known) - {"and any other from 400 to 599"} <= set(FAULTS)
    assert len(FAULTS) > 100


def test_methods_of_the_sandbox_that_are_named() -> None:
    text = README.read_text()
    named = set(re.findall(r"`sandbox\.([a-z_]+)", text)) | {"suspend", "deplete", "cap", "heal"}
    assert {"script", "schedule", "received", "applied", "history", "counts", "unmet"} <= named
    assert all(hasattr(Sandbox(), name) for name in named)


async def test_faults(capsys: pytest.CaptureFixture[str]) -> None:
    await run_python(block("python", "faults"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(FAULTS)


def test_layers() -> None:
    """The table has the layers that CI keeps, in their order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = (one["layers"] for one in project["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    depth = {name.strip("() "): number for number, layer in enumerate(layers) for name in layer.split(":")}
    rows = [[name for name in row[1].split(", ") if name != "…"] for row in table("Contributing")]
    depths = [{depth[name] for name in names} for names in rows]
    assert all(max(upper) < min(lower) for upper, lower in pairwise(depths))
    assert {number for numbers in depths for number in numbers} == set(depth.values())


def test_variables_of_the_environment_that_are_named() -> None:
    named = set(re.findall(r"XMEDIAMETA_[A-Z_]+", README.read_text()))
    code = "\n".join(path.read_text() for path in (ROOT / "xmediameta").rglob("*.py"))
    assert named
    assert all(name in code for name in named)


def test_the_bounds_of_text() -> None:
    """The README is kept to lines that an editor shows, tables and links aside."""
    lines = README.read_text().splitlines()
    inside = False
    for line in lines:
        inside ^= line.startswith("```")
        assert inside or line.startswith("|") or len(line) <= 120, line


def test_schema_is_printed() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "xmediameta.cli", "schema"], capture_output=True, text=True, check=True
    )
    assert '"$schema"' in ended.stdout


def _paragraphs() -> list[str]:
    def text(node: object) -> str:
        children = getattr(node, "children", [])
        if not children:
            kind = getattr(node, "type", "")
            return "\n" if kind == "softbreak" else str(getattr(node, "content", ""))
        return "".join(text(child) for child in children)

    return [text(node) for node in tree().walk() if node.type == "paragraph"]
