"""The lock of an account, under processes that take it all the time."""

from __future__ import annotations

import asyncio
import multiprocessing
from pathlib import Path

from xmediameta.tokens.lock import held

PROCESSES = 4
TIMES = 25


def count_up(folder: Path) -> None:
    """Count in a file, which goes wrong where two do so at once."""

    async def main() -> None:
        for _ in range(TIMES):
            async with held(folder / "alice.json"):
                number = int((folder / "count").read_text())
                await asyncio.sleep(0)
                (folder / "count").write_text(str(number + 1))

    asyncio.run(main())


async def test_one_at_a_time_and_none_in_vain(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.integration.test_tokens_lock"])
    processes = [context.Process(target=count_up, args=(tmp_path,), daemon=True) for _ in range(PROCESSES)]
    loop = asyncio.get_running_loop()
    try:
        for process in processes:
            await loop.run_in_executor(None, process.start)
        for process in processes:
            await loop.run_in_executor(None, process.join, 60)
        assert [process.exitcode for process in processes] == [0] * PROCESSES
    finally:
        for process in processes:
            process.kill()
    assert (tmp_path / "count").read_text() == str(PROCESSES * TIMES)
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


async def test_who_waits_for_it_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    turns = 0

    async def wait() -> None:
        async with held(tmp_path / "alice.json"):
            pass

    async with held(tmp_path / "alice.json"):
        waiting = asyncio.create_task(wait())
        while turns < 50:
            await asyncio.sleep(0.001)
            turns += 1
        assert not waiting.done()
    await waiting
