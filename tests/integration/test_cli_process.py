# ruff: noqa: F811 - fixtures come by import
"""The command as a process of its own: signals, pipes, terminals, and the sandbox that it serves."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xmediameta.sandbox import Sandbox

from .commandline import TOKEN, folder, records, rows, serve, until  # noqa: F401 - fixtures

Serve = Callable[..., Sandbox]
Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and terminals as POSIX has them")


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """`start("apply", "a.jsonl")`: a process; all that still run end with the test."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*argv: str, **options: object) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([sys.executable, "-m", "xmediameta.cli", *argv], text=True, **pipes)  # type: ignore[call-overload]
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_in_order(folder: Path, serve: Serve, start: Start, number: signal.Signals, code: int):
    (folder / "a.jsonl").write_text(rows(2_000))
    sandbox = serve(limit=None, latency=0.2)
    process = start(
        "apply", "a.jsonl", "--base-url", sandbox.url, "--json", "--results", "out.jsonl", "--concurrency", "8"
    )
    until(lambda: sandbox.counts.applied >= 8)
    process.send_signal(number)
    out, err = process.communicate(timeout=40)
    assert process.returncode == code
    told = json.loads(out.splitlines()[-1])
    assert told["applied"] == sandbox.counts.applied == sandbox.counts.requests
    assert told["applied"] + told["pending"] == told["total"] == 2_000
    assert told["stopped"]["reason"] == "interrupted"
    assert "in flight will finish; once more ends it at once" in err
    assert f"{told['applied']:,} applied, {told['pending']:,} pending" in err
    outcomes = [record["outcome"] for record in records(folder / "out.jsonl")]
    assert len(outcomes) == 2_000
    assert outcomes.count("applied") == told["applied"]
    assert TOKEN not in out + err


@pytest.mark.parametrize("journal", ["runs.db", "none"])
def test_a_second_signal_ends_it_at_once(folder: Path, serve: Serve, start: Start, journal: str):
    (folder / "a.jsonl").write_text(rows(20))
    sandbox = serve(script={json.loads(line)["id"]: ["slow:60"] for line in rows(13, first=8).splitlines()})
    process = start("apply", "a.jsonl", "--base-url", sandbox.url, "--journal", journal)
    until(lambda: sandbox.counts.requests >= 20)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "ended at once: 7 applied, 13 pending" in err


def test_a_signal_while_waiting_for_a_window(folder: Path, serve: Serve, start: Start):
    (folder / "a.jsonl").write_text(rows(20))
    sandbox = serve(limit=5, window=600)
    process = start("apply", "a.jsonl", "--base-url", sandbox.url, "--json")
    until(lambda: sandbox.counts.applied >= 5)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=40)
    assert process.returncode == 130
    assert json.loads(out)["pending"] == 15


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_anything_was_sent(start: Start, number: signal.Signals, code: int):
    process = start("apply", "-", "--sandbox", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(rows(4_000))  # more than a pipe holds: once it is written, it is being read, and does not end
    process.stdin.flush()
    process.send_signal(number)
    process.wait(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in process.communicate()[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_single_update(serve: Serve, start: Start, number: signal.Signals, code: int):
    sandbox = serve(latency=60)
    process = start("set", "1", "--alt-text", "A dancing cat", "--base-url", sandbox.url)
    until(lambda: sandbox.counts.requests == 1)
    process.send_signal(number)
    process.communicate(timeout=40)
    assert process.returncode == code


def test_nobody_reads_standard_output(folder: Path, serve: Serve, start: Start):
    (folder / "a.jsonl").write_text(rows(3))
    process = start("apply", "a.jsonl", "--base-url", serve().url, "--results", "-", "--json")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=40)
    assert process.stderr is not None
    err = process.stderr.read()
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_the_sandbox_serves_until_it_is_told_to_stop(folder: Path, start: Start):
    (folder / "script.json").write_text('{"2": ["404"]}')
    (folder / "a.jsonl").write_text(rows(3))
    server = start("sandbox", "--port", "0", "--limit", "10", "--window", "60", "--script", "script.json")
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        assert "/2/media/metadata" in json.load(answer)["paths"]
    out, _ = start("apply", "a.jsonl", "--base-url", url, "--json").communicate(timeout=40)
    assert json.loads(out)["failed"] == 1
    server.send_signal(signal.SIGINT)
    _, err = server.communicate(timeout=30)
    assert server.returncode == 0
    assert f"curl -H 'Authorization: Bearer any' -H 'Content-Type: application/json' {url}/2/media/metadata" in err
    assert "3 requests, 2 applied" in err
    assert TOKEN not in err


def test_the_sandbox_has_outages(folder: Path, start: Start):
    server = start("sandbox", "--port", "0", "--outage", "402=0-1h", "--outage", "2h-3h")
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    _, err = start("set", "1", "--alt-text", "a cat", "--base-url", url).communicate(timeout=40)
    assert "402 CreditsDepleted" in err
    server.send_signal(signal.SIGINT)
    _, err = server.communicate(timeout=30)
    assert "1 request, 0 applied" in err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--latency", "1-2-3"], "--latency is seconds"),
        (["--fail", "often"], "--fail a share"),
        (["--fail", "2"], "share"),
        (["--fail", "nonsense=0.1"], "no fault is called 'nonsense'"),
        (["--script", "none.json"], "none.json: No such file"),
        (["--window", "soon"], "'soon' is not a duration"),
        (["--outage", "60"], "'60' is not an outage"),
        (["--outage", "60-soon"], "'soon' is not a duration"),
        (["--outage", "90-60"], "an outage is from a start to a later end"),
        (["--outage", "nonsense=0-1"], "no fault is called 'nonsense'"),
    ],
)
def test_sandbox_options_that_make_no_sense(start: Start, argv: list[str], said: str):
    process = start("sandbox", "--port", "0", *argv)
    out, err = process.communicate(timeout=40)
    assert process.returncode == 2
    assert said in err
    assert out == ""


def terminal(argv: list[str], answer: bytes | signal.Signals | None = None) -> tuple[int, str]:
    """Run the command on a terminal of its own; its exit code and all that it showed.

    Args:
        answer: what is typed at the question, or the signal that is sent instead.
    """
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "xmediameta.cli", *argv], stdin=follower, stdout=follower, stderr=follower,
        env=environment,
    )  # fmt: skip
    os.close(follower)
    shown = b""
    try:
        while True:
            ready, _, _ = select.select([leader], [], [], 30)
            assert ready, f"nothing more was shown after {shown!r}"
            try:
                block = os.read(leader, 4096)
            except OSError:  # the terminal's other end is closed
                break
            if not block:
                break
            shown += block
            if answer is not None and b"[y/N]" in shown:
                time.sleep(0.3)  # a signal between the prompt and the first look for input is only seen at the next
                process.send_signal(answer) if isinstance(answer, signal.Signals) else os.write(leader, answer)
                answer = None
    finally:
        os.close(leader)
    return process.wait(timeout=30), shown.decode()


def test_progress_on_a_terminal(folder: Path, serve: Serve):
    (folder / "a.jsonl").write_text(rows(30))
    sandbox = serve(limit=20, window=1)
    sandbox.script("3", ["404"])
    code, shown = terminal(["apply", "a.jsonl", "--base-url", sandbox.url])
    assert code == 1
    assert "20 of 30  66 %" in shown
    assert "waiting until" in shown
    assert "1 failed" in shown
    assert "nothing is sent to X" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") > 0  # the cursor is given back
    assert "29 applied, 1 failed; 30 requests" in shown


@pytest.mark.parametrize(
    ("answer", "code", "said"), [(b"n\n", 2, "not confirmed; nothing was sent"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_terminal_is_asked(folder: Path, answer: bytes | signal.Signals, code: int, said: str):
    (folder / "a.jsonl").write_text(rows(3))
    options = ["--price", "100", "--base-url", "https://sandbox.invalid"]
    found, shown = terminal(["apply", "a.jsonl", *options], answer)
    assert found == code
    assert "3 updates cost 300.00 USD" in shown
    assert "Send them? [y/N]" in shown
    assert said in shown


def test_a_yes_on_the_terminal_sends(folder: Path):
    (folder / "a.jsonl").write_text(rows(1))
    # Nothing resolves here, so that a yes is seen by what it leads to, and nothing leaves this machine.
    options = ["--price", "100", "--base-url", "https://sandbox.invalid", "--max-duration", "1"]
    code, shown = terminal(["apply", "a.jsonl", *options], b"y\n")
    assert code in {1, 3, 4}
    assert "nothing was sent" not in shown
