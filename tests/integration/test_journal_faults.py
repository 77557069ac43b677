"""A journal that can be written no more: nothing new is sent, and what was in flight is told."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.clients import TOKEN
from tests.integration.journals import X, incoming, well
from xmediameta import Applied, Client, Metadata, NotSent, Outcome, Sandbox, Update
from xmediameta.bulk import BulkRun
from xmediameta.bulk.journaled import unrecorded
from xmediameta.errors import JournalError
from xmediameta.journal import Drawn, Finished, Journal, JournalRun

CONCURRENCY = 8
UPDATES = [Update(str(1000 + n), Metadata.of(alt_text=f"picture {n}"), ref=f"row-{n}") for n in range(600)]


async def fill(journal: Journal) -> None:
    """The file cannot grow any more, as on a disk that is full."""
    await journal._thread.call(lambda: journal._store._file.db.execute("PRAGMA max_page_count = 1").fetchall())


async def room(journal: Journal) -> None:
    """There is room again."""
    await journal._thread.call(lambda: journal._store._file.db.execute("PRAGMA max_page_count = 100000").fetchall())


async def states(journal: Journal) -> dict[str, int]:
    record = await journal.run("nightly")
    assert record is not None
    return {counted.state: counted.rows for counted in await journal.counts(record)}


async def send(client: Client, journal: Journal, runs: list[BulkRun], outcomes: list[Outcome]) -> None:
    """Send all, on a disk that is full as soon as the input is on it."""
    async with client.bulk(UPDATES, journal=journal, run="nightly") as run:
        runs.append(run)
        await fill(journal)
        async for outcome in run:
            outcomes.append(outcome)  # noqa: PERF401 - those before the error are to be kept


async def test_a_disk_that_fills_up_stops_the_run_and_tells_what_was_in_flight(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "xmediameta")
    outcomes: list[Outcome] = []
    runs: list[BulkRun] = []
    async with (
        Sandbox(limit=100_000, app_limit=None, latency=(0.0, 0.004)) as sandbox,
        Client(TOKEN, base_url=sandbox.url, pace=None, concurrency=CONCURRENCY) as client,
        await Journal.open(tmp_path / "journal.db") as journal,
    ):
        with pytest.raises(JournalError, match="the disk is full") as raised:
            await send(client, journal, runs, outcomes)
        held = runs[0].journal_run
        assert held is not None
        assert held.failed is raised.value
        requests = sandbox.counts.requests
        kept = await states(journal)
        # Some commits found room in the pages that were there.
        assert 0 < kept["applied"] < requests
        # All that was sent is either recorded or told.
        assert kept["applied"] + len(held.unrecorded) == requests
        assert len(held.unrecorded) <= CONCURRENCY
        told = {finished.task.update.id for finished in held.unrecorded}
        assert told <= set(sandbox.applied)
        assert kept == {"applied": kept["applied"], "pending": len(UPDATES) - kept["applied"]}
        # Every row that was taken has an outcome, and what is told as applied was.
        applied = {outcome.id for outcome in outcomes if isinstance(outcome, Applied)}
        assert applied == set(sandbox.applied)
        assert all(isinstance(outcome, Applied | NotSent) for outcome in outcomes)
        # A person can read which.
        (message,) = [
            record.getMessage() for record in caplog.records if "could not be recorded" in record.getMessage()
        ]
        assert f"{len(told)} " in message
        assert all(f"{media_id} " in message for media_id in told)

        await room(journal)
        async with client.bulk(UPDATES, journal=journal, run="nightly") as run:
            again = [outcome async for outcome in run]
        assert sum(isinstance(outcome, Applied) for outcome in again) == len(UPDATES) - kept["applied"]
        assert set(sandbox.applied) == {update.id for update in UPDATES}
        assert sandbox.counts.requests == len(UPDATES) + len(told)


async def start(journal: Journal, rows: int = 5) -> JournalRun:
    return await journal.start("nightly", X, incoming(rows))


async def test_nothing_is_drawn_or_recorded_after_a_commit_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Journal.open(tmp_path / "journal.db") as journal:
        run = await start(journal)
        tasks = [task for _ in range(3) if (task := await run.draw(())) is not None]
        record = run._work.finish
        monkeypatch.setattr(run._work, "finish", broken)
        first = run.finish(well(tasks[0]))
        with pytest.raises(JournalError, match="the disk is full"):
            await first
        monkeypatch.setattr(run._work, "finish", record)
        with pytest.raises(JournalError, match="the disk is full"):
            await run.draw(())
        run.unsure(tasks[1])
        with pytest.raises(JournalError, match="the disk is full"):
            await run.finish(well(tasks[2]))
        assert [(one.task.seq, one.state) for one in run.unrecorded] == [(0, "applied"), (1, "pending"), (2, "applied")]
        await run.aclose()
        assert await states(journal) == {"pending": 5}


def broken(*_: object) -> None:
    raise OSError(28, "No space left on device")


async def test_what_waits_for_a_commit_when_the_loop_ends_is_told(tmp_path: Path) -> None:
    """As when `asyncio.run` is interrupted and cancels all that is left."""
    runs: list[tuple[Journal, JournalRun]] = []
    waiting: list[asyncio.Future[None]] = []

    async def main() -> None:
        journal = await Journal.open(tmp_path / "journal.db")
        run = await start(journal)
        runs.append((journal, run))
        tasks = [task for _ in range(2) if (task := await run.draw(())) is not None]
        waiting.append(run.finish(well(tasks[0])))
        while run._recording is None:
            await asyncio.sleep(0)
        waiting.append(run.finish(well(tasks[1])))

    await asyncio.get_running_loop().run_in_executor(None, asyncio.run, main())
    ((journal, run),) = runs
    assert [one.task.seq for one in run.unrecorded] == [1]
    assert waiting[0].exception() is None
    assert isinstance(waiting[1].exception(), JournalError)
    run._lock.release()
    journal._store.close()


async def test_a_start_on_a_full_disk_sends_nothing_and_leaves_no_run(tmp_path: Path) -> None:
    async with (
        Sandbox() as sandbox,
        Client(TOKEN, base_url=sandbox.url, pace=None) as client,
        await Journal.open(tmp_path / "journal.db") as journal,
    ):
        await fill(journal)
        with pytest.raises(JournalError, match="the disk is full"):
            async with client.bulk(UPDATES, journal=journal, run="nightly"):
                raise AssertionError("it has begun")
        assert sandbox.counts.requests == 0
        await room(journal)
        assert await journal.run("nightly") is None
        assert [file.name for file in tmp_path.iterdir() if ".lock" in file.name] == []


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    if os.name != "posix" or os.geteuid() == 0:
        pytest.skip("nothing is read-only for an administrator")
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    yield folder
    folder.chmod(stat.S_IRWXU)


async def nothing_is_sent(path: Path, match: str) -> None:
    async with Sandbox() as sandbox, Client(TOKEN, base_url=sandbox.url, pace=None) as client:
        with pytest.raises(JournalError, match=match):
            async with client.bulk(UPDATES, journal=path, run="nightly"):
                raise AssertionError("it has begun")
        assert sandbox.counts.requests == 0


async def test_a_folder_that_is_read_only(read_only: Path) -> None:
    await nothing_is_sent(read_only / "journal.db", "cannot be written: Permission denied")


async def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    await nothing_is_sent(tmp_path, "is a folder; name a file in it")


async def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with await Journal.open(path) as journal:
        await (await start(journal, 400)).aclose()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    await nothing_is_sent(path, "the file is damaged")
    assert path.read_bytes() == whole[: len(whole) // 2]


async def test_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with await Journal.open(path) as journal:
        await journal._thread.call(lambda: journal._store._file.db.execute("PRAGMA user_version = 999").fetchall())
    before = path.read_bytes()
    await nothing_is_sent(path, "was written by a newer version of xmediameta")
    assert path.read_bytes() == before


def test_what_could_not_be_recorded_is_told_in_a_bounded_way() -> None:
    update = Update("1146654567674912769", Metadata.of(alt_text="A"))
    tasks = [
        Finished(task=Drawn(n, update, b"{}", b"", 0.0), state="pending" if n else "applied", maybe_applied=n > 0)
        for n in range(100)
    ]
    text = unrecorded(tasks)
    assert text.startswith("100 updates that were in flight could not be recorded")
    assert f"media {update.id} (applied), {update.id} (maybe applied)" in text
    assert text.endswith(" and 90 more")
    assert len(text) < 1_000
