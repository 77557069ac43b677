# ruff: noqa: F811 - fixtures come by import
"""`set`, `schema`, `sandbox`, `--version`, the bundled sample, and the command without its extra."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import msgspec
import pytest

from xmediameta import __version__
from xmediameta.cli.opening import SAMPLE
from xmediameta.models import Metadata
from xmediameta.readers import Inputs, Row
from xmediameta.sandbox import Sandbox

from .commandline import TOKEN, Ran, folder, records, rows, run, serve  # noqa: F401 - fixtures

Run = Callable[..., Ran]
Serve = Callable[..., Sandbox]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


# set


def test_set_sends_every_short_form(run: Run, serve: Serve):
    sandbox = serve(token=TOKEN)
    ran = run(
        "set", "1146654567674912769", "--base-url", sandbox.url, "--alt-text", "A dancing cat", "--allow-download",
        "--no-adult-content", "--graphic-violence", "--other-sensitive", "--allowed-countries", "us|de",
        "--content-expires-at", "2035-01-01T00:00:00Z", "--allowed-domains", "example.com", "--managed", "--no-shared",
        "--upload-source", "desk", "--origin-provider", "giphy", "--origin-id", "x1", "--preview-media-id", "2",
        "--creator-subscriptions", "Any", "--x-subscriptions", "Any", "--stickers", '[{"id":"7"}]', "--ref", "mine",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.err.startswith("applied to media 1146654567674912769 (transaction ")
    expected = Metadata.of(
        alt_text="A dancing cat", allow_download=True, adult_content=False, graphic_violence=True, other_sensitive=True,
        allowed_countries=["us", "de"], content_expires_at=datetime(2035, 1, 1, tzinfo=UTC),
        allowed_domains=["example.com"], managed=True, shared=False, upload_source="desk", origin_provider="giphy",
        origin_id="x1", preview_media_id="2", creator_subscriptions=["Any"], x_subscriptions=["Any"],
        stickers=[{"id": "7"}],
    )  # fmt: skip
    assert sandbox.applied["1146654567674912769"] == msgspec.to_builtins(expected)


def test_set_to_an_empty_text(run: Run, serve: Serve):
    sandbox = serve()
    assert run("set", "1", "--alt-text", "", "--base-url", sandbox.url).code == 0
    assert sandbox.applied["1"] == {"alt_text": {"text": ""}}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["1"], "nothing to set: give at least one option such as --alt-text TEXT"),
        (["1", "--ref", "x"], "nothing to set"),
        (["x", "--alt-text", "a"], "ID: 'x' is not a media id"),
        (["3_114", "--alt-text", "a"], "ID: '3_114' is a media key"),
        (["1", "--alt-text", "x" * 1001], "--alt-text: 1,001 characters, 1 too many"),
        (["1", "--origin-id", "x"], "--origin-provider: is missing"),
        (["1", "--allowed-countries", "us", "--blocked-countries", "de"],
         "exactly one of --allowed-countries and --blocked-countries must hold countries"),
        (["1", "--alt-text", "a", "--account", "shop"], "no credential for the account shop"),
        (["1", "--alt-text", "a", "--sandbox", "--base-url", "http://localhost"], "exclude each other"),
    ],
)  # fmt: skip
def test_set_refuses_what_cannot_be_sent(run: Run, argv: list[str], said: str):
    ran = run("set", *argv)
    assert ran.code == 2
    assert said in ran.err


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("404", 1, "404"),
        ("402", 4, "Top up the credits"),
        ("401", 4, "Log the account in again"),
        ("usage-capped", 4, "Raise the cap"),
    ],
)
def test_set_tells_what_went_wrong(run: Run, serve: Serve, fault: str, code: int, said: str):
    sandbox = serve()
    sandbox.refuse_with(fault)
    ran = run("set", "1", "--alt-text", "a", "--base-url", sandbox.url, "--json")
    assert ran.code == code
    assert said in ran.err
    assert ran.json["outcome"] == "failed"


def test_set_does_not_wait_for_long(run: Run, serve: Serve):
    sandbox = serve(limit=1, window=600)
    assert run("set", "1", "--alt-text", "a", "--base-url", sandbox.url).code == 0
    ran = run("set", "2", "--alt-text", "a", "--base-url", sandbox.url, "--max-wait", "1")
    assert ran.code == 3
    assert "longer than max_wait=1 s" in ran.err


def test_set_json_and_sandbox(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XMEDIAMETA_TOKEN")
    ran = run("set", "1", "--alt-text", "a", "--sandbox", "--json", "--account", "shop")
    assert ran.code == 0
    assert (ran.json["id"], ran.json["account"], ran.json["outcome"], ran.json["status"]) == (
        "1",
        "shop",
        "applied",
        200,
    )
    assert "nothing is sent to X" in ran.err


# schema


def test_schema_accepts_what_is_accepted_and_refuses_what_is_not(run: Run):
    ran = run("schema")
    assert ran.code == 0
    schema = json.loads(ran.out)
    assert "(?!" not in ran.out
    assert "^[0-9]{1,19}$" in ran.out
    validator = jsonschema.Draft202012Validator(schema)
    for line in SAMPLE.read_text("utf-8").splitlines():
        validator.validate(json.loads(line))
    good = {"id": "1", "metadata": {"alt_text": {"text": "a"}}, "account": "x", "ref": 1, "send_before": 1893456000}
    assert validator.is_valid(good)
    for bad in (
        {**good, "id": 1}, {**good, "id": "1" * 20}, {**good, "colour": 1}, {**good, "metadata": {"alt_txt": {}}},
        {**good, "metadata": {"alt_text": {"text": "x" * 1001}}}, {"metadata": {}},
    ):  # fmt: skip
        assert not validator.is_valid(bad)


# The bundled sample


def test_the_sample_is_valid_and_varied():
    with Inputs([str(SAMPLE)]) as inputs:
        found = list(inputs.rows())
    sample = [row.update for row in found if isinstance(row, Row)]
    assert len(sample) == len(found)
    assert 250 <= len(sample) <= 300
    assert len({update.id for update in sample}) == len(sample)
    assert all(len(update.id) == 19 for update in sample)
    wire = [msgspec.to_builtins(update.metadata) for update in sample]
    assert set().union(*wire) == set(Metadata.__struct_fields__)
    texts = [metadata["alt_text"]["text"] for metadata in wire if "alt_text" in metadata]
    assert len(set(texts)) == len(texts) > 200
    assert len({text.split()[0:3].__repr__() for text in texts}) > 0.95 * len(texts)  # no template
    scripts = {unicodedata.name(letter).split()[0] for text in texts for letter in text if letter.isalpha()}
    assert len(scripts) >= 12
    assert {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "THAI", "CJK", "HANGUL"} <= scripts
    assert sum(any(unicodedata.category(letter) == "So" for letter in text) for text in texts) > 50
    refs = [update.ref for update in sample]
    assert {str, int, type(None)} == {type(ref) for ref in refs}


@pytest.mark.slow
def test_apply_sandbox_without_a_file(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XMEDIAMETA_TOKEN")
    ran = run("apply", "--sandbox", "--json", "--results", "out.jsonl")
    assert ran.code == 0, ran.err
    assert ran.json["applied"] == ran.json["requests"] == ran.json["total"] >= 250
    assert 5 < ran.json["seconds"] < 20
    assert "waiting until" in ran.err
    assert "nothing is sent to X" in ran.err
    assert len(records(folder / "out.jsonl")) == ran.json["total"]


def test_apply_sandbox_with_a_file_that_names_accounts(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XMEDIAMETA_TOKEN")
    (folder / "a.csv").write_text("id,alt_text,account\n1,a,shop\n2,b,press\n3,c,\n")
    ran = run("apply", "--sandbox", "a.csv", "--json")
    assert ran.code == 0, ran.err
    assert set(ran.json["by_account"]) == {"shop", "press", ""}


# The command itself


def test_version(run: Run):
    assert run("--version").out == f"xmediameta {__version__}\n"


def test_help_names_every_command(run: Run):
    ran = run("--help")
    assert ran.code == 0
    assert {"apply", "sandbox", "schema", "set", "validate"} <= set(re.findall(r"^  (\w+)", ran.out, re.MULTILINE))
    for command in ("apply", "sandbox", "schema", "set", "validate"):
        assert run(command, "--help").code == 0


def test_help_and_version_do_not_import_aiohttp():
    for argv in (["--version"], ["--help"], ["apply", "--help"], ["set", "--help"]):
        done = python(
            "import sys\nfrom xmediameta.cli import main\n"
            f"code = main({argv!r})\n"
            "heavy = {'aiohttp', 'asyncio', 'rich', 'tenacity'} & set(sys.modules)\n"
            "sys.exit(f'imported {heavy}' if heavy else code)"
        )
        assert done.returncode == 0, done.stderr


def test_without_the_extra():
    done = python(
        "import sys\nsys.modules['click'] = None\nfrom xmediameta.cli import main\nsys.exit(main(['--version']))"
    )
    assert done.returncode == 2
    assert done.stderr == "xmediameta: the command line needs the extra [cli]: pip install 'xmediameta[cli]'\n"


def test_without_rich():
    done = python("import sys\nsys.modules['rich'] = None\nfrom xmediameta.cli import main\nsys.exit(main(['schema']))")
    assert done.returncode == 2
    assert "pip install 'xmediameta[cli]'" in done.stderr


def test_unknown_command(run: Run):
    ran = run("aply")
    assert ran.code == 2
    assert "No such command" in ran.err
