"""Who may work on a run: one process at a time, and none that is dead."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.journal_holders import LOADED, another, hold, load, send, updates
from tests.integration.journals import X, finish, incoming, well
from xmediameta import Sandbox
from xmediameta.errors import JournalError
from xmediameta.journal import Incoming, Journal
from xmediameta.journal.intake import _AHEAD, _PIECE
from xmediameta.journal.thread import JournalThread


async def counts(journal: Journal, name: str) -> dict[str, int]:
    record = await journal.run(name)
    assert record is not None
    return {counted.state: counted.rows for counted in await journal.counts(record)}


async def in_turn(told: Callable[[], object]) -> object:
    """A blocking call, while the loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(None, told)


async def test_a_second_process_is_refused_and_told_which_has_the_run(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with another(hold, str(path), "nightly", 3) as other:
        assert await in_turn(other.told) is True
        async with await Journal.open(path) as journal:
            with pytest.raises(
                JournalError, match=rf"'nightly' is under way already in process {other.process.pid} on .* \(since 20"
            ):
                await journal.start("nightly", X, incoming(3))
            # A refusal changes nothing: the holder is still named as it was.
            record = await journal.run("nightly")
            assert record is not None
            assert record.pid == other.process.pid
            # Another run of the same journal may begin meanwhile.
            run = await journal.start("daily", X, incoming(3))
            assert await finish(run, well) == 3
            await run.aclose()
        other.pipe.send("let go")
        assert await in_turn(other.told) == "let go"
        async with await Journal.open(path) as journal:
            run = await journal.start("nightly", X, incoming(3))
            await run.aclose()
    assert [file.name for file in tmp_path.iterdir()] == ["journal.db"]


async def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with another(hold, str(path), "nightly", 5) as other:
        assert await in_turn(other.told) is True
        other.kill()
        async with await Journal.open(path) as journal:
            run = await journal.start("nightly", X, incoming(5))
            assert run.loaded.resumed
            # What it had drawn was not sent for sure, so it is drawn again.
            assert await finish(run, well) == 5
            await run.aclose()
            assert await counts(journal, "nightly") == {"applied": 5}


async def test_a_load_that_is_killed_leaves_no_run_and_is_swept_away(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with another(load, str(path), "nightly") as other:
        assert await in_turn(other.told) == "loading"
        other.kill()
    async with await Journal.open(path) as journal:
        assert await journal.run("nightly") is None
        assert rows_in(path) >= LOADED - (_AHEAD + 2) * _PIECE, "it was in the middle"
        run = await journal.start("nightly", X, incoming(7))
        assert (run.loaded.total, run.loaded.resumed) == (7, False)
        assert await finish(run, well) == 7
        await run.aclose()
    assert rows_in(path) == 7


async def test_a_load_that_is_killed_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with await Journal.open(path) as journal:
        run = await journal.start("nightly", X, incoming(7))
        assert await finish(run, well, 4) == 4
        await run.aclose()
        with another(load, str(path), "nightly") as other:
            assert await in_turn(other.told) == "loading"
            other.kill()
        assert await counts(journal, "nightly") == {"applied": 4, "pending": 3}
        run = await journal.start("nightly", X, incoming(7))
        assert run.loaded.same
        assert await finish(run, well) == 3
        await run.aclose()
    assert rows_in(path) == 7


async def test_two_processes_send_two_runs_of_one_journal(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.db")
    async with Sandbox(limit=10_000, app_limit=None) as sandbox:
        with (
            another(send, path, sandbox.url, "one", 150) as first,
            another(send, path, sandbox.url, "two", 150) as second,
        ):
            both = (first, second)
            for other in both:
                assert await in_turn(other.told) == "ready"
            for other in both:
                other.pipe.send("go")
            for other in both:
                assert await in_turn(other.told) == ["Applied"] * 150
        assert set(sandbox.applied) == {update.id for name in ("one", "two") for update in updates(name, 150)}
        assert sandbox.counts.requests == 300
    async with await Journal.open(path) as journal:
        assert [await counts(journal, name) for name in ("one", "two")] == [{"applied": 150}] * 2


async def test_a_doubt_is_logged_when_the_journal_is_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "xmediameta")
    async with await Journal.open(tmp_path / "plain" / "journal.db"):
        assert caplog.messages == []
    async with await Journal.open(tmp_path / "Dropbox" / "journal.db"):
        (message,) = caplog.messages
    assert "synced with other machines (Dropbox)" in message


# Cancelled at each step


class AtCall:
    """Cancels a task at the nth thing that it asks the journal's thread for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.left = number
        self.task: asyncio.Task[object] | None = None
        plain = JournalThread.plain

        def counting(thread: JournalThread, *given: object, **options: object) -> asyncio.Future[object]:
            future = plain(thread, *given, **options)  # type: ignore[arg-type]
            if self.task is not None:
                self.left -= 1
                if self.left == 0:
                    # Not before it waits for this.
                    asyncio.get_running_loop().call_soon(self.task.cancel)
            return future

        monkeypatch.setattr(JournalThread, "plain", counting)


@pytest.mark.parametrize("number", range(1, 16))
async def test_a_start_that_is_cancelled_lets_go_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "journal.db"
    async with await Journal.open(path) as journal:
        run = await journal.start("nightly", X, incoming(4_100))
        assert await finish(run, well, 100) == 100
        await run.aclose()

        def changed() -> Iterator[Incoming]:
            for nth, row in enumerate(incoming(4_200)):
                yield row if nth != 200 else next(incoming(1))

        at = AtCall(monkeypatch, number)
        at.task = task = asyncio.create_task(journal.start("nightly", X, changed()))
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        at.task = None
        if at.left > 0:
            assert not isinstance(ended, BaseException), "it was cancelled although it had ended"
            await ended.aclose()
            return
        assert isinstance(ended, asyncio.CancelledError)
        assert sorted(file.name for file in tmp_path.iterdir() if ".lock" in file.name) == []
        run = await journal.start("nightly", X, incoming(4_100))
        assert 4_000 <= await finish(run, well) <= 4_100
        await run.aclose()
        assert await counts(journal, "nightly") == {"applied": 4_100}
    assert rows_in(path) == 4_100


async def test_a_worker_that_is_cancelled_while_it_waits_for_a_commit_loses_nothing(tmp_path: Path) -> None:
    async with await Journal.open(tmp_path / "journal.db") as journal:
        run = await journal.start("nightly", X, incoming(3))

        async def work() -> None:
            task = await run.draw(())
            assert task is not None
            await run.finish(well(task))

        worker = asyncio.create_task(work())
        while not run._batch and run._recording is None:
            await asyncio.sleep(0)
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker
        await run.aclose()
        assert await counts(journal, "nightly") == {"applied": 1, "pending": 2}


def rows_in(path: Path) -> int:
    """How many rows lie in the file, of whatever load."""
    db = sqlite3.connect(path)
    try:
        return int(db.execute("SELECT count(*) FROM task").fetchone()[0])
    finally:
        db.close()
