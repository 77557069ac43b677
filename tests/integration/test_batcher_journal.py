"""A batcher on a journal: what was accepted survives the process, and is paid for once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.readme import environment
from xmediameta import (
    Applied,
    BatcherClosed,
    ConfigurationError,
    CreditsDepleted,
    Journal,
    JournalError,
    MediaNotFound,
    RateLimitWaitTooLong,
    Sandbox,
    Update,
)
from xmediameta.journal import Finished

from .clients import ID, alt, client_of, nothing_left, outcomes_of, settle, updates, wire


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def rows(path: Path, run: str = "web") -> dict[str, int]:
    """How many rows of the run are in each state."""
    async with await Journal.open(path) as journal:
        record = await journal.run(run)
        assert record is not None
        counted = await journal.counts(record)
        assert record.total == sum(one.rows for one in counted)
    return {one.state: one.rows for one in counted}


async def test_what_is_settled_is_gone_and_what_was_sent_is_remembered(path: Path) -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        sandbox.script("2", ["404"])
        async with client.batcher(journal=path, run="web") as batcher:
            found = await asyncio.gather(*(batcher.submit(one) for one in updates(3)), return_exceptions=True)
        assert [type(one) for one in found] == [Applied, MediaNotFound, Applied]
        assert await rows(path) == {"failed": 1}
        # Another run knows what was sent.
        outcomes, _ = await outcomes_of(client, updates(3), journal=path, run="bulk")
        assert sorted(type(one).__name__ for one in outcomes) == ["Applied", "Unchanged", "Unchanged"]
        async with client.batcher(journal=path, run="web"):
            pass
        assert await rows(path) == {}
        await nothing_left(client)


async def test_what_was_pending_goes_on_at_the_next_start_ahead_of_what_is_new(path: Path) -> None:
    async with Sandbox(limit=2, window=900) as sandbox, client_of(sandbox) as client:
        async with client.batcher(journal=path, run="web", drain=0) as batcher:
            given = [*updates(2), Update("3", alt("old"), ref="old")]
            futures = [batcher.submit_nowait(one) for one in given]
            await asyncio.wait(futures[:2])
        assert [one.ref for one in batcher.unsent] == ["old"]
        with pytest.raises(BatcherClosed):
            await futures[2]
        assert await rows(path) == {"pending": 1}
        sandbox.advance(1000)
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        with pytest.raises(JournalError, match="give it another name"):  # of another base URL
            await client.batcher(journal=path, run="web").__aenter__()


async def test_the_order_of_one_media_id_over_a_restart(path: Path) -> None:
    async with Sandbox() as sandbox:
        async with client_of(sandbox) as client:
            sandbox.deplete()
            async with client.batcher(journal=path, run="web") as batcher:
                futures = [batcher.submit_nowait(Update(ID, alt(text), ref=text)) for text in "abc"]
                ended = await asyncio.gather(*futures, return_exceptions=True)
            assert {type(one) for one in ended} == {CreditsDepleted}
        assert await rows(path) == {"pending": 3}
        sandbox.heal()
        heard: list[Any] = []
        async with client_of(sandbox, on_outcome=heard.append) as client:
            async with client.batcher(journal=path, run="web") as batcher:
                assert batcher.pending == 3
                await batcher.submit(Update(ID, alt("d"), ref="d"))
            assert [one.ref for one in heard] == ["a", "b", "c", "d"]
        assert sandbox.history(ID) == [wire(text) for text in "abcd"]
        assert await rows(path) == {}


@pytest.mark.parametrize("coalesce", ["last", "merge"])
async def test_what_was_coalesced_is_remembered_as_it_was_sent(path: Path, coalesce: Any) -> None:
    async with Sandbox(latency=0.05) as sandbox, client_of(sandbox) as client:
        async with client.batcher(journal=path, run="web", coalesce=coalesce, max_delay=0.05) as batcher:
            await asyncio.gather(*(batcher.submit(Update(ID, alt(text))) for text in "abc"))
        assert sandbox.history(ID) == [wire("c")]
        outcomes, _ = await outcomes_of(client, [Update(ID, alt("c"))], journal=path, run="bulk")
        assert [type(one).__name__ for one in outcomes] == ["Unchanged"]
        assert await rows(path) == {}


async def test_what_nobody_wants_any_more_is_gone(path: Path) -> None:
    async with Sandbox(limit=1, window=900) as sandbox, client_of(sandbox) as client:
        async with client.batcher(journal=path, run="web", drain=0) as batcher:
            await batcher.submit(Update("1", alt()))
            with pytest.raises(RateLimitWaitTooLong):
                await batcher.submit(Update("2", alt()), max_wait=1)
            taken_back = [batcher.submit_nowait(Update("3", alt())), batcher.submit_nowait(Update("4", alt()))]
            taken_back[0].cancel()  # before it began
            await settle()
            taken_back[1].cancel()  # while it waits
            await settle()
            assert batcher.pending == 0
        assert await rows(path) == {}
        assert sandbox.counts.requests == 1
        await nothing_left(client)


async def test_a_row_that_is_taken_back_while_it_is_put_in_is_gone_at_the_end(path: Path) -> None:
    async with await Journal.open(path) as journal:
        run = await journal.queue("web", "https://api.x.com")
        recorded: list[asyncio.Future[None]] = []
        kept = run.add(updates(1)[0], b'{"id":"1"}')
        kept.add_done_callback(
            lambda done: recorded.append(run.finish(Finished(task=done.result(), state="unchanged")))
        )
        await run.aclose()  # the row is on its way to the journal
        assert [one.exception() for one in recorded] == [None]
        late = run.finish(Finished(task=kept.result(), state="applied"))
        assert isinstance(late.exception(), JournalError)
    assert await rows(path) == {}


@pytest.mark.parametrize("steps", range(16))
async def test_cancelled_at_every_step_no_row_is_left_and_none_is_lost(path: Path, steps: int) -> None:
    async with Sandbox(latency=0.01) as sandbox, client_of(sandbox) as client:
        async with client.batcher(journal=path, run="web") as batcher:
            futures = [batcher.submit_nowait(one) for one in updates(3)]
            for _ in range(steps):
                await asyncio.sleep(0)
            futures[1].cancel()
            await asyncio.gather(*futures, return_exceptions=True)
        assert {"1", "3"} <= sandbox.applied.keys()
        assert await rows(path) == {}
        await nothing_left(client)


async def test_nothing_is_sent_that_cannot_be_kept(path: Path) -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        async with await Journal.open(path) as journal, client.batcher(journal=journal, run="web") as batcher:
            await batcher.submit(Update("1", alt()))
            await journal._thread.call(lambda: journal._store._file.db.execute("PRAGMA query_only = on"))
            with pytest.raises(JournalError):
                await batcher.submit(Update("2", alt()))
            assert batcher.pending == 0
            await journal._thread.call(lambda: journal._store._file.db.execute("PRAGMA query_only = off"))
        assert sandbox.counts.requests == 1


async def test_names_and_other_runs(path: Path) -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        with pytest.raises(ConfigurationError, match="needs a name"):
            client.batcher(journal=path)
        batcher = client.batcher(journal=path, run="web")
        with pytest.raises(RuntimeError, match="within its block"):
            await batcher.submit(Update("1", alt()))
        await outcomes_of(client, updates(1), journal=path, run="bulk")
        with pytest.raises(JournalError, match="is that of an input"):
            await client.batcher(journal=path, run="bulk").__aenter__()
        async with batcher:
            with pytest.raises(JournalError, match="under way already"):
                await client.batcher(journal=path, run="web").__aenter__()
        _, error = await outcomes_of(client, updates(1), journal=path, run="web")
        assert isinstance(error, JournalError)
        assert "is that of a queue" in str(error)


SCRIPT = """
import asyncio, sys
from xmediameta import Client, Metadata, Update

async def main():
    async with Client.from_env() as client, client.batcher(journal=sys.argv[1], run="web", concurrency=8) as batcher:
        futures = []
        for number in range(int(sys.argv[2])):
            futures.append(batcher.submit_nowait(Update(str(number % 40), Metadata.of(alt_text=f"text {number}"))))
        await asyncio.gather(*futures)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_killed_and_gone_on_with(path: Path) -> None:
    """Killed in the middle, a few times: in the end each media has its last text, and few requests are repeated."""
    async with Sandbox(latency=(0.005, 0.03), limit=None, app_limit=None) as sandbox:
        env = environment() | {"XMEDIAMETA_TOKEN": "TOKEN", "XMEDIAMETA_BASE_URL": sandbox.url}
        accepted, kills = 200, 0
        for number in (accepted, 0, 0):
            before = sandbox.counts.requests
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SCRIPT, str(path), str(number), env=env, stderr=subprocess.PIPE
            )
            async with asyncio.timeout(30):
                while sandbox.counts.requests < before + 40 and process.returncode is None:
                    await asyncio.sleep(0.005)
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            await process.communicate()
        async with client_of(sandbox) as client, client.batcher(journal=path, run="web"):
            pass
        assert kills >= 2
        assert sandbox.applied == {str(media): wire(f"text {accepted - 40 + media}") for media in range(40)}
        assert sandbox.counts.requests <= accepted + 8 * kills
        assert await rows(path) == {}
