# ruff: noqa: F811 - fixtures come by import
"""`status`: how a run stands, once, for all runs, and followed until it ends."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest

from xmediameta.journal import Drawn, Finished, Journal
from xmediameta.sandbox import Sandbox

from .commandline import Ran, folder, rows, run, serve  # noqa: F401 - fixtures
from .journals import HOSTILE, X, finish, ill, incoming, invalid, made, well

Run = Callable[..., Ran]
Serve = Callable[..., Sandbox]
STOPPED = {
    "reason": "budget-money", "account": None, "action": "Run the rest with a higher bound.", "resume_at": None,
    "message": "the budget of 0.04 USD is reached (0.04 spent)",
}  # fmt: skip


def mixed(task: Drawn) -> Finished | None:
    """Two kinds of failures, one expired, some pending."""
    if task.seq in {1, 3}:
        return ill(task)
    if task.seq == 2:
        return ill(task, status=503, error="ServerFault", problem=json.dumps({"title": HOSTILE}), attempts=5)
    if task.seq == 4:
        return ill(task, state="expired", status=None, problem=None)
    return well(task) if task.seq < 8 else None


@pytest.fixture
def journal(folder: Path) -> Path:
    path = folder / "journal.db"
    rows = [*incoming(12, accounts=("shop", None)), invalid(14)]
    made(path, rows, mixed, requests=9, retries=1, stopped=STOPPED)
    return path


class Holder:
    """A run that is worked on in a thread of this process."""

    def __init__(self, path: Path, number: int = 40, *, waits: Mapping[str, float] | None = None) -> None:
        self.more = threading.Event()
        self.end = threading.Event()
        self.begun = threading.Event()
        self._path, self._number = path, number
        self._waits = waits or {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))

    async def _work(self) -> None:
        async with await Journal.open(self._path) as journal:
            held = await journal.start("held.csv", X, incoming(self._number, accounts=("shop", *self._waits)))
            for account, until in self._waits.items():
                at = datetime.fromtimestamp(until, UTC).isoformat()
                held.note("wait", account, window="user-15min", until=at)
            await finish(held, well, 10)
            self.begun.set()
            while not self.end.is_set():
                if self.more.is_set():
                    self.more.clear()
                    held.count(20, 0)
                    await finish(held, lambda task: ill(task) if task.seq == 10 else well(task), 10)
                await asyncio.sleep(0.01)
            await finish(held, well)
            await held.aclose()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self.begun.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self._thread.join(10)


def test_a_stopped_run_says_what_happened_and_what_to_do(run: Run, journal: Path):
    ran = run("status", "--journal", journal)
    assert ran.code == 0, ran.err
    assert not ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "updates.csv to https://api.x.com"
    assert lines[1].startswith("stopped at 20")
    assert lines[1].endswith("UTC: the budget of 0.04 USD is reached (0.04 spent)")
    assert lines[2] == "Run the rest with a higher bound."
    assert "13 rows: 4 applied, 3 failed, 1 expired, 4 pending, 1 invalid" in lines
    assert "9 requests (1 retry), 0.045 USD at most" in lines
    header = next(line for line in lines if line.startswith("account")).split()
    assert header == ["account", "rows", "applied", "failed", "expired", "pending", "invalid"]
    assert any(line.split() == ["shop", "6", "2", "2", "0", "2", "0"] for line in lines)
    assert any(line.startswith("(none named)") for line in lines)
    at = lines.index("2 failed: 400 invalid-request (UpdateRejected)")
    assert (
        lines[at + 1]
        == "  e.g. updates.csv:3, media 1146654567674912770, account shop, ref r2: Invalid Request: alt_text: no"
    )
    assert "Correct the rows" in lines[at + 2]
    assert any(line.startswith("1 invalid: invalid metadata.alt_text.text") for line in lines)
    assert any(line.startswith("1 expired: send_before had passed") for line in lines)


def test_where_a_run_sends_to_is_told_once(run: Run, folder: Path, serve: Serve):
    (folder / "a.jsonl").write_text(rows(1))
    url = serve().url
    assert run("apply", "a.jsonl", "--base-url", url + "/").code == 0
    assert run("status").out.splitlines()[0] == f"{folder / 'a.jsonl'} to {url}/"
    assert run("apply", "a.jsonl", "--base-url", url, "--run", "mine", "--force").code == 0
    assert run("status").out.splitlines()[0] == f"mine to {url}"
    mine, other = run("status", "--all").out.splitlines()[1:]
    assert mine.split()[0] == "mine"
    assert mine.count(url) == other.count(url) == 1
    journal = folder / "named.db"
    assert run("apply", "a.jsonl", "--sandbox", "--journal", journal).code == 0
    ran = run("status", "--journal", journal)
    assert ran.out.splitlines()[0] == f"{folder / 'a.jsonl'} in a sandbox"
    assert "1 request, nothing was sent to X" in ran.out
    assert run("status", "--journal", journal, "--json").json["cost_usd"] == 0


def test_what_a_server_said_cannot_drive_a_terminal(run: Run, journal: Path):
    for options in ((), ("--json",), ("--all",)):
        out = run("status", "--journal", journal, *options).out
        assert "\x1b" not in out
        assert "\u202e" not in out
    assert "\\x1b[31mred" in run("status", "--journal", journal).out


def test_json(run: Run, journal: Path):
    ran = run("status", "updates.csv", "--journal", journal, "--json")
    assert ran.out.count("\n") == 1
    found = ran.json
    problems = found.pop("problems")
    assert 0 < found.pop("seconds_left") < 5  # four requests, in windows that are open
    times = {name: found.pop(name) for name in ("created_at", "started_at", "ended_at")}
    assert found == {
        "schema_version": 1, "run": "updates.csv", "base_url": X, "state": "stopped", "total": 13, "applied": 4,
        "unchanged": 0, "failed": 3, "expired": 1, "pending": 4, "invalid": 1, "requests": 9, "retries": 1,
        "waiting": [],
        "cost_usd": 0.045,
        "by_account": {
            "": {"applied": 2, "unchanged": 0, "failed": 1, "expired": 1, "pending": 2, "invalid": 1},
            "shop": {"applied": 2, "unchanged": 0, "failed": 2, "expired": 0, "pending": 2, "invalid": 0},
        },
        "working": None, "stopped": STOPPED, "journal": str(journal),
    }  # fmt: skip
    assert all(time.endswith("Z") for time in times.values())
    assert problems[0] == {
        "problem": "invalid-request", "state": "failed", "status": 400, "error": "UpdateRejected", "rows": 2,
        "example": {
            "source": "updates.csv:3", "id": "1146654567674912770", "account": "shop", "ref": "r2",
            "text": "Invalid Request: alt_text: no",
        },
        "action": "Sent again as they are, they fail again. Correct the rows, then run the same command.",
    }  # fmt: skip
    assert sum(problem["rows"] for problem in problems) == 5


def test_a_run_that_is_worked_on_names_its_process(run: Run, folder: Path):
    with Holder(folder / "j.db") as holder:
        ran = run("status", "--journal", folder / "j.db")
        who = f"process {os.getpid()} on {socket.gethostname()} works on it, since 20"
        assert ran.out.splitlines()[1].startswith(who)
        found = run("status", "--journal", folder / "j.db", "--json").json
        assert found["state"] == "working"
        assert found["working"] == {
            "pid": os.getpid(), "host": socket.gethostname(), "since": found["started_at"],
        }  # fmt: skip
        # Looking has not taken the run away from who holds it.
        holder.more.set()
    assert run("status", "--journal", folder / "j.db", "--json").json["state"] == "complete"


def test_who_waits_for_a_window_is_told_while_it_lasts(run: Run, folder: Path):
    later = time.time() + 800
    at = f"{datetime.fromtimestamp(later, UTC):%Y-%m-%d %H:%M:%S} UTC"
    with Holder(folder / "j.db", waits={"shop": later, "news": time.time() - 5}):
        assert f"shop waits for the rate limit until {at}" in run("status", "--journal", folder / "j.db").out
        found = run("status", "--journal", folder / "j.db", "--json").json
        assert [(one["account"], one["window"]) for one in found["waiting"]] == [("shop", "user-15min")]
    assert "waits" not in run("status", "--journal", folder / "j.db").out


def test_several_that_wait_are_counted(run: Run, folder: Path):
    later = time.time() + 800
    at = f"{datetime.fromtimestamp(later, UTC):%Y-%m-%d %H:%M:%S} UTC"
    with Holder(folder / "j.db", waits={"a": later + 50, "b": later}):
        told = run("status", "--journal", folder / "j.db").out
        assert f"2 accounts wait for the rate limit, the first until {at}" in told


def test_a_run_whose_process_was_killed_is_cut_off(run: Run, folder: Path):
    code = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.integration.journals import X, Journal, finish, incoming, well\n"
        "async def main():\n"
        "    journal = await Journal.open(Path(sys.argv[1]))\n"
        "    held = await journal.start('held.csv', X, incoming(5))\n"
        "    await finish(held, well, 2)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-c", code, str(folder / "j.db")], cwd=root, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL
    ran = run("status", "--journal", folder / "j.db")
    assert "cut off: process" in ran.out
    assert "is gone, and left 3 rows pending" in ran.out
    assert "The same command goes on with what is left." in ran.out
    assert run("status", "--journal", folder / "j.db", "--json").json["state"] == "cut-off"


def test_time_left_at_the_documented_limits(run: Run, folder: Path):
    made(folder / "j.db", incoming(1_900, accounts=("a", "a", "a", "b")), lambda _: None)
    ran = run("status", "--journal", folder / "j.db")
    # 1,425 of account a: what is open now, then two more windows.
    assert "about 30:0" in ran.out
    assert "left once it goes on, at X's documented limits" in ran.out
    assert 1_800 <= run("status", "--journal", folder / "j.db", "--json").json["seconds_left"] < 1_810


def test_time_left_knows_what_is_spent_of_a_window(run: Run, folder: Path):
    async def spent() -> None:
        async with await Journal.open(folder / "j.db") as journal:
            held = await journal.start("held.csv", X, incoming(520))
            opens = {"opens_at": time.time() + 600, "kept_at": time.time() - 1, "told": True, "closed": False}
            window = {"name": "user-15min", "limit": 500, "remaining": 0, **opens}
            held.windows = lambda _: {"account": json.dumps([window])}
            await finish(held, well, 500)
            await held.aclose()

    asyncio.run(spent())
    left = run("status", "--journal", folder / "j.db", "--json").json["seconds_left"]
    assert 590 < left < 610  # 20 rows, which would be nothing in a window that is open


def test_a_run_to_this_machine_costs_nothing_and_has_no_documented_limits(run: Run, folder: Path):
    made(folder / "j.db", incoming(1_900), lambda _: None, base_url="http://127.0.0.1:8777", requests=7)
    ran = run("status", "--journal", folder / "j.db")
    assert "nothing was sent to X" in ran.out
    assert "left" not in ran.out.replace("with what is left", "")
    found = run("status", "--journal", folder / "j.db", "--json").json
    assert (found["cost_usd"], found["seconds_left"]) == (0, None)


def test_the_price_can_be_said(run: Run, journal: Path):
    assert run("status", "--journal", journal, "--price", "1", "--json").json["cost_usd"] == 9


def test_the_last_run_is_meant_where_none_is_named(run: Run, journal: Path):
    time.sleep(0.01)  # begun times are in milliseconds
    made(journal, incoming(2), name="later.jsonl")
    assert run("status", "--journal", journal).out.startswith("later.jsonl to")
    ran = run("status", "--all", "--journal", journal)
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[0] == ["run", "state", "rows", "applied", "failed", "pending", "requests", "started", "to"]
    assert rows[1][:7] == ["later.jsonl", "complete", "2", "2", "0", "0", "0"]
    assert rows[2][:7] == ["updates.csv", "stopped", "13", "4", "3", "4", "9"]
    ran = run("status", "--all", "--journal", journal, "--json")
    assert [json.loads(line)["run"] for line in ran.out.splitlines()] == ["later.jsonl", "updates.csv"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("update.csv", "there is no run 'update.csv' in"),
        ("update.csv", "did you mean 'updates.csv'?"),
        ("zzz", "it holds 'updates.csv'"),
        ("\x1b[31m", "there is no run '\\\\x1b[31m'"),
    ],
)
def test_an_unknown_run_gets_a_suggestion(run: Run, journal: Path, name: str, said: str):
    for command in (("status",), ("results",), ("report", "--html", "out.html")):
        ran = run(command[0], name, "--journal", journal, *command[1:])
        assert ran.code == 2
        assert said in ran.err
        assert not ran.out


def test_a_missing_journal_is_said_and_not_made(run: Run, folder: Path):
    for command in (("status",), ("results",), ("report", "--html", "out.html"), ("status", "--watch")):
        ran = run(*command, "--journal", folder / "none" / "j.db")
        assert ran.code == 2
        assert "there is no journal at" in ran.err
        assert "--journal PATH or XMEDIAMETA_JOURNAL" in ran.err
    assert list(folder.iterdir()) == []


def test_the_journal_can_be_named_in_the_environment(run: Run, journal: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XMEDIAMETA_JOURNAL", str(journal))
    assert run("status").out.startswith("updates.csv to")
    monkeypatch.setenv("XMEDIAMETA_JOURNAL", "none")
    ran = run("status")
    assert ran.code == 2
    assert "a run without a journal leaves nothing to look at" in ran.err


def test_what_is_no_journal_is_refused(run: Run, folder: Path):
    (folder / "x.db").write_text("this is no database, and longer than a page header needs to be to be looked at" * 20)
    ran = run("status", "--journal", folder / "x.db")
    assert ran.code == 2
    assert "x.db" in ran.err
    assert "Traceback" not in ran.err


def test_a_journal_without_runs(run: Run, folder: Path):
    async def empty() -> None:
        await (await Journal.open(folder / "j.db")).aclose()

    asyncio.run(empty())
    ran = run("status", "--journal", folder / "j.db")
    assert ran.code == 2
    assert "holds no run yet" in ran.err
    assert run("status", "--all", "--journal", folder / "j.db").out == "no runs yet\n"


@pytest.mark.parametrize(
    "options", [("--every", "1s"), ("--watch", "--every", "0"), ("--all", "--watch"), ("x.csv", "--all")]
)
def test_options_that_do_not_go_together(run: Run, journal: Path, options: tuple[str, ...]):
    assert run("status", "--journal", journal, *options).code == 2


# --watch


@contextmanager
def watching(path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "xmediameta.cli", "status", "--journal", str(path), "--watch", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_watch_tells_a_line_for_each_change_and_ends_with_the_run(folder: Path):
    with Holder(folder / "j.db") as holder, watching(folder / "j.db", "--every", "50ms") as process:
        assert read_line(process).startswith("10 of 40 done, 0.00 USD at most")
        holder.more.set()
        assert read_line(process).startswith("20 of 40 done, 1 failed, 0.1 USD at most")
        time.sleep(0.25)  # several looks, at which nothing has changed
        holder.end.set()
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert not err
    lines = out.splitlines()
    start = lines.index("held.csv to https://api.x.com")
    assert not any(line.startswith("20 of 40") for line in lines[:start])
    assert lines[start + 1].startswith("complete since")
    assert "40 rows: 39 applied, 1 failed" in lines
    assert any(line.startswith("1 failed: 400 invalid-request") for line in lines)


def test_watch_with_json_prints_an_object_a_line(folder: Path):
    with Holder(folder / "j.db") as holder, watching(folder / "j.db", "--every", "50ms", "--json") as process:
        first = json.loads(read_line(process))
        assert (first["state"], first["applied"], first["working"]["pid"]) == ("working", 10, os.getpid())
        holder.end.set()
        out, _ = process.communicate(timeout=20)
    last: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert (last["state"], last["applied"]) == ("complete", 40)


def test_ctrl_c_leaves_the_watch_and_not_the_run(run: Run, folder: Path):
    with Holder(folder / "j.db") as holder:
        with watching(folder / "j.db", "--every", "50ms") as process:
            read_line(process)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        assert process.returncode == 130
        assert err == "no longer watching; a run that is under way goes on\n"
        assert not holder.end.is_set()
    assert run("status", "--journal", folder / "j.db", "--json").json["applied"] == 40


def test_a_run_that_is_over_is_shown_once(run: Run, journal: Path):
    ran = run("status", "--watch", "--journal", journal)
    assert ran.code == 0
    assert ran.out == run("status", "--journal", journal).out


def test_watch_redraws_on_a_terminal_and_leaves_the_whole_of_it(folder: Path):
    ours, theirs = pty.openpty()
    with Holder(folder / "j.db") as holder:
        process = subprocess.Popen(
            [sys.executable, "-m", "xmediameta.cli", "status", "--journal", str(folder / "j.db"), "--watch",
             "--every", "50ms"],
            stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
        )  # fmt: skip
        os.close(theirs)
        seen = b""
        while b"10 applied" not in seen:
            seen += os.read(ours, 65_536)
        holder.end.set()
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # nobody writes any more
                break
            if not part:
                break
            seen += part
        assert process.wait(20) == 0
        os.close(ours)
    text = seen.decode()
    assert "\x1b[?25l" in text  # the cursor is hidden, and comes back
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "40 applied" in text[text.rindex("\x1b[?25h") :]
