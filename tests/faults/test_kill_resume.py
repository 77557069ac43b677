"""A run on a journal is killed again and again, and goes on each time: nothing is lost, and little is sent twice."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from pathlib import Path

import pytest
from msgspec import UNSET

from tests.faults.killed import CONCURRENCY, sit, updates
from xmediameta import Sandbox

KILLS = 50


async def _sitting(sandbox: Sandbox, journal: Path, seconds: float | None) -> bool:
    """One sitting, killed (SIGKILL) after so many seconds of sending; whether it came to its end."""
    # A server that has the package imported forks each process, which saves a second for each kill.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.killed", "xmediameta.client", "xmediameta.journal"])
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=sit, args=(sandbox.url, str(journal), theirs), daemon=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, child.start)
    theirs.close()
    try:
        assert await loop.run_in_executor(None, ours.recv) == "begun"
        if seconds is not None:
            await asyncio.sleep(seconds)
            child.kill()
        await loop.run_in_executor(None, child.join)
        return ours.poll() and ours.recv() == "ended"
    except EOFError:
        return False
    finally:
        child.kill()
        ours.close()


@pytest.mark.slow
async def test_killed_at_fifty_points_and_nothing_is_lost(tmp_path: Path) -> None:
    chance = random.Random(11)
    async with Sandbox(limit=1_000_000, app_limit=None, latency=(0.002, 0.03)) as sandbox:
        journal = tmp_path / "journal.db"
        kills = 0
        while kills < KILLS and not await _sitting(sandbox, journal, chance.uniform(0.0, 0.08)):
            kills += 1
        assert kills == KILLS, "the run ended before it was killed often enough"
        assert await _sitting(sandbox, journal, None)
        last = {row.id: row.metadata for row in updates()}
        assert set(sandbox.applied) == set(last)
        for media_id, metadata in last.items():
            assert metadata is not UNSET
            assert metadata.alt_text is not UNSET
            assert sandbox.applied[media_id] == {"alt_text": {"text": metadata.alt_text.text}}
        assert sandbox.counts.most_per_id == 1
        assert sandbox.counts.requests <= len(updates()) + CONCURRENCY * kills
        before = sandbox.counts.requests
        assert await _sitting(sandbox, journal, None)
        assert sandbox.counts.requests == before, "the same again costs nothing"
