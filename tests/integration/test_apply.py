"""`apply`, the command as a function."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from xmediameta import (
    ConfigurationError,
    InvalidInput,
    JournalError,
    Metadata,
    Progress,
    Sandbox,
    Update,
    apply,
)

from .commandline import rows

TOKEN = "canary-55e1-never-shown"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "journal.db"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_text(rows(5))
    return path


def updates(count: int, text: str = "a cat") -> Iterator[Update]:
    return (Update(str(number), Metadata.of(alt_text=text)) for number in range(1, count + 1))


async def test_a_file_is_sent_once(file: Path, journal: Path) -> None:
    async with Sandbox() as sandbox:
        first = await apply(file, auth=TOKEN, journal=journal, base_url=sandbox.url)
        second = await apply([str(file)], auth=TOKEN, journal=journal, base_url=sandbox.url)
    assert (first.total, first.applied, first.requests, first.ok) == (5, 5, 5, True)
    assert (second.unchanged, second.requests, second.ok) == (5, 0, True)
    assert first.stopped is None
    assert first.journal == str(journal)
    assert first.run is not None
    assert first.run.startswith(f"{file} to http://127.0.0.1:")
    assert sandbox.counts.requests == 5


async def test_the_summary_is_the_object_of_json(file: Path, journal: Path) -> None:
    """DESIGN names its members, in this order; see also the command's own test."""
    async with Sandbox() as sandbox:
        summary = await apply(file, auth=TOKEN, journal=journal, base_url=sandbox.url)
    told: dict[str, Any] = json.loads(msgspec.json.encode(summary))
    assert list(told) == [
        "schema_version", "run", "total", "applied", "unchanged", "failed", "expired", "pending", "invalid",
        "requests", "retries", "cost_usd", "seconds", "by_account", "stopped", "journal",
    ]  # fmt: skip
    assert told["by_account"] == {"": {"applied": 5, "unchanged": 0, "failed": 0, "expired": 0, "pending": 0}}
    with pytest.raises(AttributeError):
        summary.total = 6  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


async def test_a_bound_stops_it_and_a_higher_one_goes_on(file: Path, journal: Path) -> None:
    async with Sandbox() as sandbox:
        options: dict[str, Any] = {"auth": TOKEN, "journal": journal, "base_url": sandbox.url, "price": 0.01}
        first = await apply(file, max_cost=0.02, **options)
        assert first.stopped is not None
        assert (first.applied, first.pending, first.ok) == (2, 3, False)
        assert (first.stopped.reason, first.stopped.account) == ("budget-money", None)
        second = await apply(file, max_requests=10, **options)
        assert (second.applied, second.unchanged, second.requests) == (5, 0, 3)
        assert sandbox.counts.requests == 5
        with pytest.raises(ConfigurationError, match="pays for no request"):
            await apply(file, max_cost=0.001, **options)


async def test_failed_rows_are_sent_again_only_when_asked(
    file: Path, journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Sandbox() as sandbox:
        sandbox.script("3", ["404"])
        options: dict[str, Any] = {"auth": TOKEN, "journal": journal, "base_url": sandbox.url}
        assert (await apply(file, **options)).failed == 1
        assert [record.getMessage() for record in caplog.records if "a.jsonl:3" in record.getMessage()]
        assert (await apply(file, **options)).requests == 0
        last = await apply(file, retry_failed=True, **options)
    assert (last.failed, last.requests, last.ok) == (0, 1, True)
    assert TOKEN not in caplog.text


async def test_updates_that_are_no_files(journal: Path) -> None:
    async def awaited() -> AsyncIterator[Update]:
        for update in updates(3):
            await asyncio.sleep(0)
            yield update

    async with Sandbox() as sandbox:
        options: dict[str, Any] = {"auth": TOKEN, "base_url": sandbox.url}
        first = await apply(updates(3), journal=journal, run="tonight", **options)
        again = await apply(awaited(), journal=journal, run="tonight", **options)
        plain = await apply([{"id": "9", "metadata": {"alt_text": {"text": "b"}}}], journal="none", **options)
        assert (first.applied, again.unchanged, again.requests, plain.applied) == (3, 3, 0, 1)
        assert (first.run, plain.run, plain.journal) == ("tonight", None, None)
        with pytest.raises(ConfigurationError, match="run='NAME'"):
            await apply(updates(3), journal=journal, **options)
        with pytest.raises(ConfigurationError, match="need a journal"):
            await apply(updates(3), journal="none", force=True, **options)
        assert sandbox.counts.requests == 4


async def test_nothing_is_sent_of_an_invalid_input(tmp_path: Path, journal: Path) -> None:
    (tmp_path / "bad.csv").write_text("id,alt_text\n1,a\nx,b\n2,c\ny,d\n")
    told: list[str] = []
    async with Sandbox() as sandbox:
        options: dict[str, Any] = {"auth": TOKEN, "journal": journal, "base_url": sandbox.url}
        with pytest.raises(InvalidInput) as caught:
            await apply(tmp_path / "bad.csv", on_invalid=lambda reject: told.append(reject.where), **options)
        assert (caught.value.invalid, len(caught.value.rejects), len(told)) == (2, 2, 2)
        assert "bad.csv:3: id: " in str(caught.value)
        assert "and 1 more invalid row; nothing was sent" in str(caught.value)
        assert pickle.loads(pickle.dumps(caught.value)).invalid == 2
        with pytest.raises(InvalidInput, match="updates: update 2: id: "):
            await apply([*updates(1), {"id": "x"}], run="bad", **options)
        with pytest.raises(InvalidInput, match="no such file"):
            await apply(tmp_path / "none.csv", skip_invalid=True, **options)
        with pytest.raises(InvalidInput):
            await apply(tmp_path / "bad.csv", skip_invalid=True, max_invalid=1, **options)
        assert sandbox.counts.requests == 0
        skipped = await apply(tmp_path / "bad.csv", skip_invalid=True, **options)
    assert (skipped.total, skipped.applied, skipped.invalid, skipped.ok) == (4, 2, 2, False)


async def test_a_mapping_must_have_every_account(tmp_path: Path, journal: Path) -> None:
    lines = [
        {"id": str(number), "metadata": {"shared_info": {"shared": True}}, "account": name}
        for number, name in enumerate(["a", "b"], 1)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    async with Sandbox() as sandbox:
        options: dict[str, Any] = {"journal": journal, "base_url": sandbox.url}
        with pytest.raises(ConfigurationError, match="auth names no credential for b; nothing was sent"):
            await apply(tmp_path / "a.jsonl", auth={"a": TOKEN}, **options)
        with pytest.raises(ConfigurationError, match="auth names no credential for b"):
            await apply(lines, auth={"a": TOKEN}, run="x", **options)
        assert sandbox.counts.requests == 0
        done = await apply(tmp_path / "a.jsonl", auth={"a": TOKEN, "b": "B", "c": "C"}, **options)
    assert {name: counts.applied for name, counts in done.by_account.items()} == {"a": 1, "b": 1}


async def test_progress_is_told(tmp_path: Path, journal: Path) -> None:
    (tmp_path / "a.jsonl").write_text(rows(60))
    seen: list[Progress] = []
    async with Sandbox(limit=30, window=1) as sandbox:
        summary = await apply(
            tmp_path / "a.jsonl", auth=TOKEN, journal=journal, base_url=sandbox.url, on_progress=seen.append
        )
    assert seen[-1].summary == summary
    assert {one.summary.total for one in seen} == {60}
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert any(one.waiting_until is not None and one.done == 30 for one in seen[:-1])
    assert summary.applied == 60


async def test_a_progress_that_fails_is_logged(file: Path, journal: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Progress) -> None:
        raise ZeroDivisionError

    async with Sandbox() as sandbox:
        summary = await apply(file, auth=TOKEN, journal=journal, base_url=sandbox.url, on_progress=fail)
    assert summary.ok
    assert "on_progress failed" in caplog.text


async def test_a_cancelled_call_goes_on_later(tmp_path: Path, journal: Path) -> None:
    (tmp_path / "a.jsonl").write_text(rows(40))
    async with Sandbox(latency=0.05) as sandbox:
        options: dict[str, Any] = {"auth": TOKEN, "journal": journal, "base_url": sandbox.url, "concurrency": 4}
        task = asyncio.create_task(apply(tmp_path / "a.jsonl", **options))
        while sandbox.counts.applied < 8:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        done = await apply(tmp_path / "a.jsonl", **options)
        assert (done.applied, done.ok) == (40, True)
        assert sandbox.counts.requests <= 44


async def test_one_run_twice_at_once(tmp_path: Path, journal: Path) -> None:
    (tmp_path / "a.jsonl").write_text(rows(20))
    async with Sandbox(latency=0.1) as sandbox:
        options: dict[str, Any] = {"auth": TOKEN, "journal": journal, "base_url": sandbox.url, "concurrency": 2}
        first = asyncio.create_task(apply(tmp_path / "a.jsonl", **options))
        while not sandbox.counts.requests:
            await asyncio.sleep(0.01)
        with pytest.raises(JournalError, match="is under way already in process"):
            await apply(tmp_path / "a.jsonl", **options)
        assert (await first).applied == 20


async def test_the_loop_goes_on_while_files_are_read(tmp_path: Path, journal: Path) -> None:
    """Reading is done by other threads: whoever shares the loop has turns all the while."""
    (tmp_path / "a.jsonl").write_text(rows(20_000) + "{")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    with pytest.raises(InvalidInput):
        await apply(tmp_path / "a.jsonl", auth=TOKEN, journal=journal, base_url="http://127.0.0.1:9")
    task.cancel()
    assert turns > 20


async def test_a_tight_place_leaves_no_token_behind(file: Path, tmp_path: Path) -> None:
    """A journal that cannot be used: said before anything is sent, and no frame shows the token."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(JournalError, match="is a folder; name a file in it") as caught:
        await apply(file, auth=TOKEN, journal=tmp_path / "folder", base_url="http://127.0.0.1:9")
    frame = caught.value.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename.startswith(str(Path(sys.modules["xmediameta"].__path__[0]))):
            assert all(TOKEN not in repr(value) for value in frame.tb_frame.f_locals.values())
        frame = frame.tb_next


async def test_standard_input_is_for_the_command(journal: Path) -> None:
    with pytest.raises(ConfigurationError, match="standard input"):
        await apply("-", auth=TOKEN, journal=journal)


def test_it_needs_no_extra_of_the_command() -> None:
    """In a program of its own, where neither click nor rich can be imported."""
    code = (
        "import sys\nsys.modules['click'] = sys.modules['rich'] = sys.modules['platformdirs'] = None\n"
        "from xmediameta import apply, Summary, Progress, InvalidInput\nprint(apply.__name__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.stdout, ran.stderr) == ("apply\n", "")
