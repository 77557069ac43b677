"""The benchmark of runs in a journal does what it says, on a few updates."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.durable import send
from benchmarks.speed.server import serving
from xmediameta import Sandbox
from xmediameta.journal import Journal


@pytest.mark.parametrize("kept", [False, True])
async def test_both_ways_send_each_update(tmp_path: Path, kept: bool) -> None:
    path = tmp_path / "journal.db"
    with serving(None) as url:
        took = await send(url, 50, 8, path if kept else None)
    assert took.seconds > 0
    assert path.exists() is kept
    if kept:
        async with await Journal.open(path) as journal:
            record = await journal.run("benchmark")
            assert record is not None
            assert {one.state: one.rows for one in await journal.counts(record)} == {"applied": 50}


async def test_an_update_that_is_not_applied_fails_it(tmp_path: Path) -> None:
    async with Sandbox(fail={"400": 1.0}) as sandbox:
        with pytest.raises(SystemExit, match="0 of 3 applied"):
            await send(sandbox.url, 3, 1, tmp_path / "journal.db")
