"""Outcomes that end together share a commit, and each of them is told how it went."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.journals import X, finish, incoming, well
from xmediameta.errors import JournalError
from xmediameta.journal import Drawn, Journal, JournalRun


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[JournalRun]:
    async with await Journal.open(tmp_path / "journal.db") as journal:
        yield await journal.start("r", X, incoming(100))


@pytest.fixture
def batches(run: JournalRun, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many outcomes each commit held."""
    sizes: list[int] = []
    record = run._work.finish

    def recorded(batch: list[Any], *others: Any) -> None:
        sizes.append(len(batch))
        record(batch, *others)

    monkeypatch.setattr(run._work, "finish", recorded)
    return sizes


async def drawn(run: JournalRun, most: int) -> list[Drawn]:
    tasks = [await run.draw(()) for _ in range(most)]
    return [task for task in tasks if task is not None]


async def test_what_the_next_turns_of_the_loop_bring_shares_a_commit(run: JournalRun, batches: list[int]) -> None:
    for task in await drawn(run, 10):
        run.finish(well(task))
        await asyncio.sleep(0)
    await run.flush()
    assert batches == [10]


async def test_a_single_outcome_waits_for_no_other(run: JournalRun, batches: list[int]) -> None:
    for task in await drawn(run, 3):
        await run.finish(well(task))
    assert batches == [1, 1, 1]


async def test_a_stream_without_an_end_is_recorded_all_the_same(run: JournalRun, batches: list[int]) -> None:
    for task in await drawn(run, 90):
        run.finish(well(task))
        await asyncio.sleep(0)
    await run.flush()
    assert sum(batches) == 90
    assert len(batches) > 1


async def test_what_is_at_hand_is_taken_without_waiting(run: JournalRun) -> None:
    assert run.take(()) is None  # nothing was fetched yet
    first = await run.draw(())
    second = run.take(())
    assert [task.seq for task in (first, second) if task is not None] == [0, 1]
    assert run.take({None}) is None
    assert await finish(run, well) == 98
    assert run.take(()) is None
    await run.aclose()
    with pytest.raises(JournalError, match="was let go"):
        run.take(())


async def test_a_committer_that_is_cancelled_before_it_begins_tells_who_waits(run: JournalRun) -> None:
    (task,) = await drawn(run, 1)
    recorded = run.finish(well(task))
    await asyncio.sleep(0)
    assert run._committer is not None
    run._committer.cancel()
    with pytest.raises(JournalError, match="loop was closed"):
        await recorded
    assert [each.task for each in run.unrecorded] == [task]
