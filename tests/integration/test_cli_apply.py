# ruff: noqa: F811 - fixtures come by import
"""`apply` against the sandbox: what is sent, what is told, what the results hold, and each exit code."""

from __future__ import annotations

import asyncio
import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xmediameta.cli import apply as apply_module
from xmediameta.cli import looping
from xmediameta.sandbox import Sandbox

from .commandline import TOKEN, Ran, folder, records, rows, run, serve  # noqa: F401 - fixtures

Run = Callable[..., Ran]
Serve = Callable[..., Sandbox]

KEYS = [
    "schema_version", "run", "total", "applied", "unchanged", "failed", "expired", "pending", "invalid", "requests",
    "retries", "cost_usd", "seconds", "by_account", "stopped", "journal",
]  # fmt: skip


@pytest.fixture
def apply(folder: Path, run: Run) -> Callable[..., Ran]:
    """`apply(sandbox, text, *options)`: applies a JSONL file of this text."""

    def command(sandbox: Sandbox, text: str, *options: object, path: str = "") -> Ran:
        (folder / "updates.jsonl").write_text(text)
        return run("apply", "updates.jsonl", "--base-url", sandbox.url + path, *options)

    return command


# Success


def test_all_applied(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    ran = apply(sandbox, rows(40), "--json")
    assert ran.code == 0
    assert list(ran.json) == KEYS
    assert ran.out.count("\n") == 1
    assert 0 < ran.json["seconds"] < 30
    assert ran.json["run"].endswith(f"updates.jsonl to {sandbox.url}")
    assert ran.json["journal"] == os.environ["XMEDIAMETA_JOURNAL"]
    assert {**ran.json, "seconds": 0, "run": None, "journal": None} == {
        "schema_version": 1, "run": None, "total": 40, "applied": 40, "unchanged": 0, "failed": 0, "expired": 0,
        "pending": 0, "invalid": 0, "requests": 40, "retries": 0, "cost_usd": 0.0, "seconds": 0,
        "by_account": {"": {"applied": 40, "unchanged": 0, "failed": 0, "expired": 0, "pending": 0}},
        "stopped": None, "journal": None,
    }  # fmt: skip
    assert sandbox.counts.applied == 40
    assert "sending 40 updates to http://127.0.0.1" in ran.err
    assert "nothing is sent to X" in ran.err
    assert "40 applied; 40 requests" in ran.err


def test_without_json_nothing_is_on_standard_output(apply: Callable[..., Ran], serve: Serve):
    assert apply(serve(), rows(2)).out == ""


def test_the_order_of_one_media_id_is_kept(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve(latency=(0.0, 0.02))
    lines = [{"id": "7", "metadata": {"alt_text": {"text": f"version {number}"}}} for number in range(20)]
    assert apply(sandbox, "\n".join(map(json.dumps, lines))).code == 0
    assert [told["alt_text"]["text"] for told in sandbox.history("7")] == [f"version {n}" for n in range(20)]


def test_coalesce_last_sends_only_the_newest(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    lines = [{"id": "7", "metadata": {"alt_text": {"text": f"version {number}"}}} for number in range(20)]
    ran = apply(sandbox, "\n".join(map(json.dumps, lines)), "--coalesce", "last", "--journal", "none", "--json")
    assert (ran.code, ran.json["applied"]) == (0, 20)
    assert sandbox.applied["7"] == {"alt_text": {"text": "version 19"}}
    assert sandbox.counts.requests < 5


def test_nothing_to_do(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    ran = apply(sandbox, "\n\n", "--json")
    assert (ran.code, ran.json["total"], sandbox.counts.requests) == (0, 0, 0)


# Results


def test_results_are_in_the_order_of_the_input(apply: Callable[..., Ran], serve: Serve, folder: Path):
    sandbox = serve(latency=(0.0, 0.05))
    sandbox.script("3", ["404"])
    text = "".join(rows(1, index) for index in (5, 3, 9, 1, 4, 8, 2, 7, 6)) * 3
    ran = apply(sandbox, text, "--results", "out.jsonl", "--journal", "none")
    found = records(folder / "out.jsonl")
    assert [record["line"] for record in found] == list(range(1, 28))
    assert [record["ref"] for record in found[:4]] == ["r5", "r3", "r9", "r1"]
    assert ran.code == 1
    assert {record["ref"] for record in found if record["outcome"] == "failed"} == {"r3"}
    assert list(found[0]) == [
        "file", "line", "id", "account", "ref", "outcome", "status", "problem", "attempts", "transaction_id",
    ]  # fmt: skip
    assert found[0]["outcome"] == "applied"
    assert found[0]["status"] == 200
    assert found[0]["transaction_id"]
    assert not (folder / "out.jsonl.part").exists()


def test_results_as_csv_cannot_run_as_formulas(folder: Path, run: Run, serve: Serve):
    (folder / "in.csv").write_text(
        "id,alt_text,ref,status\n"
        '1,a,"=HYPERLINK(""http://evil"")",+1\n2,b,-3,@SUM(A1)\n3,c,fine,"quoted, ""cell"""\n4,d,"\tx","two\nlines"\n'
    )
    ran = run("apply", "in.csv", "--base-url", serve().url, "--pass", "status", "--results", "out.csv",
              "--journal", "none")  # fmt: skip
    assert ran.code == 0, ran.err
    with (folder / "out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == [
        "file", "line", "id", "account", "ref", "input_status", "outcome", "status", "problem", "attempts",
        "transaction_id",
    ]  # fmt: skip
    assert [record["ref"] for record in found] == ['\'=HYPERLINK("http://evil")', "'-3", "fine", "x"]
    assert [record["input_status"] for record in found] == ["'+1", "'@SUM(A1)", 'quoted, "cell"', "two\nlines"]
    assert {record["status"] for record in found} == {"200"}


def test_results_on_standard_output_with_the_summary_last(apply: Callable[..., Ran], serve: Serve):
    ran = apply(serve(), rows(3), "--results", "-", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["outcome"] for line in lines[:3]] == ["applied"] * 3
    assert list(lines[3]) == KEYS


def test_results_that_cannot_be_written(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    ran = apply(sandbox, rows(1), "--results", "no/such/folder/out.jsonl")
    assert (ran.code, sandbox.counts.requests) == (2, 0)
    assert "--results: cannot be written: No such file or directory" in ran.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_results_that_can_no_longer_be_written(apply: Callable[..., Ran], serve: Serve, folder: Path, name: str):
    """Without results nobody would know what became of further rows: the run ends, and says why."""
    (folder / name).symlink_to("/dev/full")
    sandbox = serve(limit=None, latency=0.01)
    ran = apply(sandbox, rows(2_000), "--results", name, "--json", "--journal", "none")
    assert ran.code == 4
    assert ran.json["stopped"]["reason"] == "results-failed"
    assert "the results cannot be written: No space left on device" in ran.err
    assert ran.json["applied"] == sandbox.counts.applied < 2_000
    assert ran.json["applied"] + ran.json["pending"] == 2_000
    assert "Traceback" not in ran.err
    ran = apply(sandbox, rows(2, first=5_000), "--results", name, "--json", "--journal", "none")
    assert (ran.code, ran.json["applied"]) == (4, 2)


# Exit code 1


def test_some_failed(apply: Callable[..., Ran], serve: Serve, folder: Path):
    sandbox = serve()
    sandbox.script("2", ["404"])
    ran = apply(sandbox, rows(3), "--json", "--results", "out.jsonl")
    assert ran.code == 1
    assert (ran.json["applied"], ran.json["failed"], ran.json["stopped"]) == (2, 1, None)
    assert "updates.jsonl:2: 404" in ran.err
    failed = records(folder / "out.jsonl")[1]
    assert (failed["outcome"], failed["status"], failed["attempts"]) == ("failed", 404, 1)
    assert failed["problem"] == "Not Found"


def test_failures_are_told_up_to_a_bound(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    for index in range(1, 31):
        sandbox.script(str(index), ["400"])
    ran = apply(sandbox, rows(31))
    assert ran.code == 1
    assert len([line for line in ran.err.splitlines() if line.startswith("updates.jsonl:")]) == 20
    assert "further failures are counted" in ran.err
    assert "1 applied, 30 failed" in ran.err


def test_advice_is_told_once(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    for index in (1, 2, 3):
        sandbox.script(str(index), ["404-unknown-media"])
    ran = apply(sandbox, rows(4))
    assert ran.code == 1
    assert ran.err.count("A media id lives a limited time") == 1


def test_what_expired(apply: Callable[..., Ran], serve: Serve):
    line = {"id": "1", "metadata": {"alt_text": {"text": "late"}}, "send_before": "2020-01-01T00:00:00Z"}
    sandbox = serve()
    ran = apply(sandbox, json.dumps(line), "--json")
    assert (ran.code, ran.json["expired"], sandbox.counts.requests) == (1, 1, 0)


# Exit code 2


def test_no_token(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XMEDIAMETA_TOKEN")
    (folder / "a.jsonl").write_text(rows(1))
    ran = run("apply", "a.jsonl")
    assert ran.code == 2
    assert "set XMEDIAMETA_TOKEN" in ran.err
    assert "--sandbox" in ran.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "give at least one file"),
        (["a.jsonl", "--journal", "none", "--run", "x"], "--run needs a journal, and there is none (--journal none)"),
        (["-", "--retry-failed"], "--retry-failed needs a journal, and there is none (standard input without --run"),
        (["a.jsonl", "--journal", "none", "--force"], "--force needs a journal, and there is none"),
        (["a.jsonl", "--max-invalid", "3"], "--max-invalid goes with --skip-invalid"),
        (["a.jsonl", "--sandbox", "--base-url", "http://localhost"], "--sandbox and --base-url exclude each other"),
        (["a.jsonl", "--max-wait", "soon"], "'soon' is not a duration; write it as 90, 90s, 15m or 2h"),
        (["a.jsonl", "--pace", "fast"], "'fast' is not burst, even, none, or a number of starts a second"),
        (["a.jsonl", "--map", "ID"], '--map\': must be written as "HEADER=name"'),
        (["a.jsonl", "--max-cost", "0.004"], "the budget pays for no request at all"),
        (["a.jsonl", "--base-url", "http://example.com"], "the base URL must be https"),
        (["a.jsonl", "--base-url", "ftp://x"], "the base URL must begin with https://"),
        (["a.jsonl", "--account", f"shop={TOKEN}"], "a token itself is never given on the command line"),
        (["a.jsonl", "--account", TOKEN], "must be written as NAME=FILE|env:VAR"),
        (["a.jsonl", "--token-file", TOKEN], "--token-file: the file cannot be read"),
        (["a.jsonl", "--account", "shop=env:NOT_SET"], "--account shop: the environment variable is not set"),
        (["a.jsonl", "--nonsense"], "No such option"),
    ],
)
def test_usage_errors(run: Run, folder: Path, argv: list[str], said: str):
    (folder / "a.jsonl").write_text(rows(1))
    ran = run("apply", *argv)
    assert ran.code == 2
    assert said in ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err


def test_journal_none_is_what_this_version_does(apply: Callable[..., Ran], serve: Serve):
    assert apply(serve(), rows(1), "--journal", "none").code == 0


def test_a_great_cost_needs_a_yes(folder: Path, run: Run):
    """The price is made absurd, so that three updates are expensive; no address is ever reached."""
    (folder / "a.jsonl").write_text(rows(3))
    common = ("apply", "a.jsonl", "--base-url", "https://sandbox.invalid", "--price", "100")
    ran = run(*common, "--json")
    assert ran.code == 2
    assert "3 updates cost 300.00 USD, retries aside (100 USD a request, the price of 2026-11)" in ran.err
    assert "above 10.00 USD, --yes or --max-cost USD is needed; nothing was sent" in ran.err
    assert ran.json["stopped"]["reason"] == "not-confirmed"
    ran = run(*common, "--ask-above", "299")
    assert ran.code == 2


def test_a_loopback_address_never_asks(apply: Callable[..., Ran], serve: Serve):
    ran = apply(serve(), rows(3), "--price", "100", "--json")
    assert (ran.code, ran.json["cost_usd"]) == (0, 0.0)


# Exit code 3


def test_budget_of_requests(apply: Callable[..., Ran], serve: Serve, folder: Path):
    sandbox = serve()
    ran = apply(sandbox, rows(10), "--max-requests", "4", "--json", "--results", "out.jsonl")
    assert ran.code == 3
    assert sandbox.counts.requests == 4
    assert (ran.json["applied"], ran.json["pending"], ran.json["total"]) == (4, 6, 10)
    assert ran.json["stopped"]["reason"] == "budget-requests"
    assert "6 updates pending: the same command goes on with them, with a higher bound" in ran.err
    assert sorted(record["outcome"] for record in records(folder / "out.jsonl")) == ["applied"] * 4 + ["pending"] * 6


def test_budget_of_money(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    ran = apply(sandbox, rows(10), "--max-cost", "0.02", "--json")
    assert (ran.code, sandbox.counts.requests) == (3, 4)
    assert ran.json["stopped"]["reason"] == "budget-money"
    assert "the budget of 0.02 USD is reached" in ran.err


def test_budget_of_time(apply: Callable[..., Ran], serve: Serve):
    ran = apply(serve(latency=0.1), rows(100), "--max-duration", "300ms", "--concurrency", "2", "--json")
    assert ran.code == 3
    assert ran.json["stopped"]["reason"] == "budget-duration"
    assert ran.json["pending"] > 50


def test_a_wait_that_is_too_long(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve(limit=5, window=600)
    ran = apply(sandbox, rows(8), "--max-wait", "30s", "--json")
    assert ran.code == 3
    assert (ran.json["applied"], ran.json["pending"]) == (5, 3)
    assert ran.json["stopped"]["reason"] == "rate-limit-wait-too-long"
    assert ran.json["stopped"]["resume_at"]
    assert "longer than max_wait=30 s" in ran.err


# Exit code 4


@pytest.mark.parametrize(
    ("fault", "reason", "advice"),
    [
        ("402", "credits-depleted", "Top up the credits"),
        ("usage-capped", "usage-capped", "Raise the cap"),
        ("401", "unauthorized", "Log the account in again"),
        ("403-suspended", "account-suspended", "X has suspended the account"),
    ],
)
def test_somebody_must_act(apply: Callable[..., Ran], serve: Serve, fault: str, reason: str, advice: str):
    sandbox = serve()
    sandbox.refuse_with(fault)
    ran = apply(sandbox, rows(50), "--json")
    assert ran.code == 4
    assert (ran.json["applied"], ran.json["pending"], ran.json["failed"]) == (0, 50, 0)
    assert ran.json["stopped"]["reason"] == reason
    assert advice in ran.json["stopped"]["action"]
    assert advice in ran.err
    assert sandbox.counts.requests <= 33


def test_a_wrong_address(apply: Callable[..., Ran], serve: Serve):
    ran = apply(serve(), rows(50), "--json", path="/wrong")
    assert ran.code == 4
    assert ran.json["stopped"]["reason"] == "endpoint-not-found"
    assert "Check the base URL" in ran.err


# Accounts


def test_accounts_have_their_own_tokens(folder: Path, run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch):
    (folder / "shop.token").write_text("shop-token\nanything else\n")
    (folder / "shop.token").chmod(0o644)
    monkeypatch.setenv("PRESS", "press-token")
    lines = [
        {"id": str(index), "metadata": {"alt_text": {"text": "a"}}, **({"account": name} if name else {})}
        for index, name in enumerate(["shop", "press", None, "shop"], 1)
    ]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    sandbox = serve(token=["shop-token", "press-token", TOKEN])
    accounts = ("--account", "shop=shop.token", "--account", "press=env:PRESS")
    ran = run("apply", "a.jsonl", "--base-url", sandbox.url, "--json", *accounts)
    assert ran.code == 0, ran.err
    assert {name: told["applied"] for name, told in ran.json["by_account"].items()} == {"shop": 2, "press": 1, "": 1}
    assert "--account shop: other users of this machine can read the file; chmod 600 it" in ran.err
    assert "shop-token" not in ran.err + ran.out
    ran = run("apply", "a.jsonl", "--base-url", sandbox.url, *accounts[:2])
    assert (ran.code, sandbox.counts.requests) == (0, 4)  # nothing is left to do, so that nobody's token is missing
    ran = run("apply", "a.jsonl", "--base-url", sandbox.url, "--force", *accounts[:2])
    assert ran.code == 2
    assert "no credential for the account press: type `xmediameta login --account press`, or pass" in ran.err
    monkeypatch.delenv("XMEDIAMETA_TOKEN")
    ran = run("apply", "a.jsonl", "--base-url", sandbox.url, "--force", *accounts)
    assert ran.code == 2
    assert "some rows name no account, and there is no token for these" in ran.err


def test_one_account_stops_and_the_others_go_on(folder: Path, run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PRESS", "press-token")
    monkeypatch.setenv("SHOP", "shop-token")
    lines = [
        {"id": str(index), "metadata": {"alt_text": {"text": "a"}}, "account": ("shop", "press")[index % 2]}
        for index in range(1, 61)
    ]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    sandbox = serve()
    sandbox.revoke("shop-token")
    ran = run("apply", "a.jsonl", "--base-url", sandbox.url, "--json", "--account", "shop=env:SHOP",
              "--account", "press=env:PRESS")  # fmt: skip
    assert ran.code == 4
    assert ran.json["by_account"]["press"]["applied"] == 30
    assert ran.json["by_account"]["shop"]["pending"] == 30
    assert ran.json["stopped"]["reason"] == "unauthorized"
    assert ran.json["stopped"]["account"] == "shop"


# What is told


def test_waits_are_told_in_plain_lines(apply: Callable[..., Ran], serve: Serve):
    ran = apply(serve(limit=10, window=1), rows(12))
    assert ran.code == 0
    waits = [line for line in ran.err.splitlines() if "waiting until" in line]
    assert len(waits) >= 1
    assert waits[0].startswith("10 of 12 done; waiting until ")


def test_quiet_says_nothing_but_errors(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    assert apply(sandbox, rows(2), "-q").err == ""
    sandbox.script("2", ["404"])
    assert apply(sandbox, rows(2), "-q", "--force").err.count("\n") == 1


def test_json_log_lines(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    sandbox.script("2", ["503", "ok"])
    ran = apply(sandbox, rows(3), "--log-format", "json", "-v")
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert lines[-1]["summary"]["applied"] == 3
    retried = [line for line in lines if line["logger"] == "xmediameta"]
    assert any(line.get("media_id") == "2" for line in retried)


def test_verbose_shows_retries(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    sandbox.script("2", ["503", "ok"])
    ran = apply(sandbox, rows(3), "-v", "--json")
    assert (ran.code, ran.json["retries"], ran.json["requests"]) == (0, 1, 4)
    assert any(" info: " in line and "media_id 2, ref r2, attempt 1" in line for line in ran.err.splitlines())
    assert "4 requests (1 retry)" in ran.err


def test_warnings_beside_a_success_are_told(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    sandbox.script("1", ["200-warnings"])
    ran = apply(sandbox, rows(1))
    assert ran.code == 0
    assert "media 1: applied, and X says: " in ran.err


def test_a_file_that_changes_after_the_check_is_not_sent(
    apply: Callable[..., Ran], serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    checked = apply_module.check

    def meddled(*args: Any, **options: Any) -> Any:
        found = checked(*args, **options)
        (folder / "updates.jsonl").write_text(rows(4, first=90))
        return found

    monkeypatch.setattr(apply_module, "check", meddled)
    sandbox = serve()
    ran = apply(sandbox, rows(3), "--json")
    assert (ran.code, sandbox.counts.requests) == (2, 0)
    assert ran.json["stopped"]["reason"] == "input-changed"
    assert "was changed after it had been checked" in ran.err


def test_uvloop_is_not_needed(apply: Callable[..., Ran], serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(looping, "find_spec", lambda _: None)
    made: list[asyncio.AbstractEventLoop] = []
    monkeypatch.setattr(asyncio, "new_event_loop", lambda make=asyncio.new_event_loop: made.append(make()) or made[-1])
    assert apply(serve(), rows(2)).code == 0
    assert made


def test_an_input_that_its_run_holds_already_is_not_checked_again(
    apply: Callable[..., Ran], serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    checked = apply_module.check
    seen: list[object] = []
    monkeypatch.setattr(apply_module, "check", lambda *args, **options: seen.append(args) or checked(*args, **options))
    sandbox = serve()
    assert apply(sandbox, rows(4), "--max-requests", "2").code == 3
    assert apply(sandbox, rows(4)).code == 0
    assert (len(seen), sandbox.counts.requests) == (1, 4)
    # Rows that are skipped are told each time, and a changed input is another one.
    assert apply(sandbox, rows(4) + "{\n", "--skip-invalid").code == 1
    assert apply(sandbox, rows(4) + "{\n", "--skip-invalid").code == 1
    assert apply(sandbox, rows(5)).code == 0
    assert (len(seen), sandbox.counts.requests) == (4, 5)


def test_how_to_send_again_what_failed_is_told(apply: Callable[..., Ran], serve: Serve):
    sandbox = serve()
    sandbox.script("2", ["404"])
    hint = "what failed is sent again only with --retry-failed"
    assert hint in apply(sandbox, rows(3)).err.splitlines()
    ran = apply(sandbox, rows(3))
    assert (ran.code, sandbox.counts.requests) == (1, 3)
    assert hint in ran.err
    ran = apply(sandbox, rows(3), "--retry-failed")
    assert (ran.code, sandbox.counts.requests) == (0, 4)
    assert hint not in ran.err
