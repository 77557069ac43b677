# ruff: noqa: F811 - fixtures come by import
"""Journals that cannot be used, runs that are taken, disks that are full, and budgets that a run outlives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xmediameta.sandbox import Sandbox

from .commandline import Ran, folder, records, rows, run, serve, until  # noqa: F401 - fixtures

Run = Callable[..., Ran]
Serve = Callable[..., Sandbox]
Start = Callable[..., "subprocess.Popen[str]"]

CLI = [sys.executable, "-m", "xmediameta.cli"]
# An administrator passes over permissions, unless the process has given that right away before it began.
_DROP = """
import ctypes, os, sys
if os.geteuid() == 0:
    for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; 24 is PR_CAPBSET_DROP
        assert ctypes.CDLL(None).prctl(24, right, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-m", "xmediameta.cli", *sys.argv[1:]])
"""
OBEYING = [sys.executable, "-c", _DROP]
# A disk of its own, as large as its first argument says, on the folder that the second one names.
SMALL_DISK = [
    "unshare", "--mount", "--map-root-user", "sh", "-c",
    'mount -t tmpfs -o "size=$1" tmpfs "$2" && shift 2 && exec "$@"', "sh",
]  # fmt: skip

posix = pytest.mark.skipif(os.name != "posix", reason="signals and permissions as POSIX has them")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a limit on a process that runs already")


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """`start("apply", "a.jsonl")`: a process; all that still run end with the test."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*argv: str, by: list[str] = CLI) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = subprocess.Popen([*by, *argv], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
        begun.append(process)
        return process

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def journal() -> Path:
    return Path(os.environ["XMEDIAMETA_JOURNAL"])


def summary(out: str) -> dict[str, Any]:
    return json.loads(out.splitlines()[-1])


# A journal that cannot be used: a clear error, and nothing is sent


def refused(ran: Ran, sandbox: Sandbox, said: str) -> None:
    assert ran.code == 2
    assert said in ran.err
    assert "nothing was sent" in ran.err
    assert "Traceback" not in ran.err
    assert sandbox.counts.requests == 0


def test_a_journal_that_is_a_folder(folder: Path, run: Run, serve: Serve):
    (folder / "a.jsonl").write_text(rows(3))
    (folder / "kept").mkdir()
    sandbox = serve()
    ran = run("apply", "a.jsonl", "--base-url", sandbox.url, "--journal", "kept")
    refused(ran, sandbox, "is a folder; name a file in it")
    assert list((folder / "kept").iterdir()) == []


@pytest.mark.parametrize("content", [b"SQLite format 3\0" + b"\xff" * 500, b"id,alt_text\n1,a cat\n"])
def test_a_journal_that_is_something_else_stays_as_it_is(folder: Path, run: Run, serve: Serve, content: bytes):
    (folder / "a.jsonl").write_text(rows(3))
    path = folder / "other.db"
    path.write_bytes(content)
    sandbox = serve()
    ran = run("apply", "a.jsonl", "--base-url", sandbox.url, "--journal", path)
    refused(ran, sandbox, "other.db")
    assert path.read_bytes() == content
    assert [other.name for other in folder.glob("other*")] == ["other.db"]


@posix
def test_a_read_only_folder(folder: Path, start: Start, serve: Serve):
    if os.geteuid() == 0 and not sys.platform.startswith("linux"):
        pytest.skip("an administrator passes over permissions")
    (folder / "a.jsonl").write_text(rows(3))
    kept = folder / "kept"
    kept.mkdir()
    kept.chmod(0o500)
    sandbox = serve()
    try:
        process = start("apply", "a.jsonl", "--base-url", sandbox.url, "--journal", "kept/journal.db", by=OBEYING)
        out, err = process.communicate(timeout=60)
    finally:
        kept.chmod(0o700)
    refused(Ran(process.returncode, out, err), sandbox, "Permission denied")
    assert list(kept.iterdir()) == []


@posix
def test_a_folder_that_has_become_read_only(folder: Path, run: Run, start: Start, serve: Serve):
    """SQLite keeps files beside a journal, so that a journal alone that can be written does not do."""
    if os.geteuid() == 0 and not sys.platform.startswith("linux"):
        pytest.skip("an administrator passes over permissions")
    (folder / "a.jsonl").write_text(rows(3))
    kept = folder / "kept"
    kept.mkdir()
    sandbox = serve()
    ran = run("apply", "a.jsonl", "--base-url", sandbox.url, "--journal", kept / "journal.db", "--max-requests", 1)
    assert ran.code == 3
    kept.chmod(0o500)
    try:
        process = start("apply", "a.jsonl", "--base-url", sandbox.url, "--journal", "kept/journal.db", by=OBEYING)
        _, err = process.communicate(timeout=60)
    finally:
        kept.chmod(0o700)
    assert process.returncode == 2
    assert "kept/journal.db" in err
    assert "nothing was sent" in err
    assert "Traceback" not in err
    assert sandbox.counts.requests == 1
    assert run("apply", "a.jsonl", "--base-url", sandbox.url, "--journal", kept / "journal.db").code == 0
    assert sandbox.counts.requests == 3


@linux
def test_a_disk_that_is_full_before_anything_was_sent(folder: Path, start: Start, serve: Serve):
    disk = folder / "disk"
    disk.mkdir()
    if (
        shutil.which("unshare") is None
        or subprocess.run([*SMALL_DISK, "64k", str(disk), "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no file system can be mounted here")
    (folder / "a.jsonl").write_text(rows(2_000))
    sandbox = serve()
    command = ["apply", "a.jsonl", "--base-url", sandbox.url, "--journal", str(disk / "journal.db")]
    process = start("256k", str(disk), *CLI, *command, by=SMALL_DISK)
    out, err = process.communicate(timeout=60)
    refused(Ran(process.returncode, out, err), sandbox, "the disk is full")


@linux
def test_a_journal_that_can_be_written_no_more_ends_the_run(folder: Path, run: Run, start: Start, serve: Serve):
    import resource  # noqa: PLC0415 - not on every system

    (folder / "a.jsonl").write_text(rows(300))
    sandbox = serve(limit=None, app_limit=None, latency=0.05)
    options = ["a.jsonl", "--base-url", sandbox.url, "--json", "--concurrency", "8"]
    process = start("apply", *options)
    until(lambda: sandbox.counts.applied >= 24)
    # Its log can grow no more from here on: the next outcome cannot be recorded.
    log = journal().with_name(f"{journal().name}-wal")
    size = log.stat().st_size
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    told = summary(out)
    assert told["stopped"]["reason"] == "journal-error"
    assert "it cannot be read or written (an error of the disk, or no space left)" in err
    assert "Run the rest once the journal can be written again." in err
    assert "Traceback" not in err
    assert told["applied"] + told["pending"] == 300
    # Nothing new was sent: beyond what is recorded there is only what was in flight.
    before = sandbox.counts.requests
    lost = before - told["applied"]
    assert f"error: {lost} updates that were in flight could not be recorded" in err
    named = err.partition("when it goes on: media ")[2].splitlines()[0]
    assert named.count("(applied)") == lost > 1
    assert told["requests"] == before <= told["applied"] + 8
    ran = run("apply", *options)
    assert ran.code == 0
    assert ran.json["applied"] == 300
    assert sandbox.counts.requests == before + told["pending"]
    assert all(sandbox.history(str(media)) for media in range(1, 301))


# One run, one process


@posix
def test_a_run_that_another_process_has_is_refused(folder: Path, run: Run, start: Start, serve: Serve):
    (folder / "a.jsonl").write_text(rows(8))
    (folder / "b.jsonl").write_text(rows(2, first=100))
    sandbox = serve(limit=5, window=600)
    process = start("apply", "a.jsonl", "--base-url", sandbox.url, "--json")
    until(lambda: sandbox.counts.applied >= 5)
    ran = run("apply", "a.jsonl", "--base-url", sandbox.url)
    assert ran.code == 2
    assert f"is under way already in process {process.pid} on " in ran.err
    assert "nothing was sent" in ran.err
    assert sandbox.counts.requests == 5
    # Another run of the same journal is not held up by it, only by the window that they share.
    ran = run("apply", "b.jsonl", "--base-url", sandbox.url, "--max-wait", "1s", "--json")
    assert (ran.code, ran.json["stopped"]["reason"]) == (3, "rate-limit-wait-too-long")
    # The lock dies with its holder.
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    ran = run("apply", "a.jsonl", "--base-url", sandbox.url, "--max-wait", "1s", "--json")
    assert (ran.code, ran.json["applied"], ran.json["pending"]) == (3, 5, 3)
    assert sandbox.counts.requests == 5  # what the killed one had spent of the window is not forgotten


# Budgets


@pytest.mark.parametrize(
    ("option", "low", "high", "reason"),
    [("--max-requests", "4", "10", "budget-requests"), ("--max-cost", "0.02", "0.05", "budget-money")],
)
def test_a_budget_stops_the_run_and_a_higher_one_lets_it_go_on(
    folder: Path, run: Run, serve: Serve, option: str, low: str, high: str, reason: str
):
    (folder / "a.jsonl").write_text(rows(10))
    sandbox = serve()
    command = ["apply", "a.jsonl", "--base-url", sandbox.url, "--json", option]
    for sitting in range(2):  # what was sent in an earlier one counts
        ran = run(*command, low)
        assert ran.code == 3
        assert ran.json["stopped"]["reason"] == reason
        assert (ran.json["applied"], ran.json["pending"]) == (4, 6)
        assert (ran.json["requests"], sandbox.counts.requests) == (0 if sitting else 4, 4)
    ran = run(*command, high)
    assert (ran.code, ran.json["applied"], ran.json["stopped"]) == (0, 10, None)
    assert sorted(request.id for request in sandbox.received) == sorted(map(str, range(1, 11)))


def test_a_bound_of_waiting(folder: Path, run: Run, serve: Serve):
    (folder / "a.jsonl").write_text(rows(6))
    sandbox = serve(limit=4, window=2)
    command = ["apply", "a.jsonl", "--base-url", sandbox.url, "--json", "--max-wait"]
    ran = run(*command, "0.01s")
    assert ran.code == 3
    assert ran.json["stopped"]["reason"] == "rate-limit-wait-too-long"
    assert ran.json["stopped"]["resume_at"] is not None
    assert (ran.json["applied"], ran.json["pending"]) == (4, 2)
    assert "2 updates pending: the same command goes on with them\n" in ran.err
    ran = run(*command, "1m")
    assert (ran.code, ran.json["applied"], sandbox.counts.requests) == (0, 6, 6)


def test_a_bound_of_time(folder: Path, run: Run, serve: Serve):
    (folder / "a.jsonl").write_text(rows(6))
    sandbox = serve(limit=4, window=1)
    command = ["apply", "a.jsonl", "--base-url", sandbox.url, "--json", "--max-duration"]
    ran = run(*command, "0.2s")
    assert ran.code == 3
    assert ran.json["stopped"]["reason"] == "budget-duration"
    assert ran.json["applied"] == sandbox.counts.applied
    ran = run(*command, "1m")
    assert (ran.code, ran.json["applied"], sandbox.counts.requests) == (0, 6, 6)
