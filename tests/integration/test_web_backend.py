"""A web backend under load whose window runs out, and one that is told to stop: every request has its answer."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from blockbuster import blockbuster_ctx

from tests.docs.readme import block, environment
from xmediameta import Batcher, Client, Metadata, Sandbox, Update, XMediaMetaError

from .clients import client_of, nothing_left

BATCHER = web.AppKey("BATCHER", Batcher)
TIMEOUT, MAX_WAIT = 5.0, 1.0


@pytest.fixture
def nothing_blocks() -> Iterator[None]:
    """Whatever would block the event loop raises."""
    with blockbuster_ctx():
        yield


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The longest turn that anything kept the loop, in seconds of its own CPU time, whatever else the machine does."""
    found = [0.0]
    run = asyncio.events.Handle._run

    def timed(handle: asyncio.events.Handle) -> None:
        began = time.thread_time()
        run(handle)
        found[0] = max(found[0], time.thread_time() - began)

    monkeypatch.setattr(asyncio.events.Handle, "_run", timed)
    gc.collect()
    gc.freeze()  # else a collection goes through what all tests have left in memory
    yield found
    gc.unfreeze()


async def describe(request: web.Request) -> web.Response:
    update = Update(request.match_info["id"], Metadata.of(alt_text=await request.text()))
    try:
        await request.app[BATCHER].submit(update, max_wait=MAX_WAIT)
    except XMediaMetaError as error:
        return web.Response(status=error.http_status)
    return web.Response()


def backend(client: Client) -> web.Application:
    async def batcher(app: web.Application) -> AsyncIterator[None]:
        async with client.batcher(coalesce="last") as app[BATCHER]:
            yield

    app = web.Application()
    app.cleanup_ctx.append(batcher)
    app.add_routes([web.put("/{id}", describe)])
    return app


@pytest.mark.slow
@pytest.mark.looptime  # sockets are real; the windows and the pace of the requests are not
@pytest.mark.usefixtures("nothing_blocks")
async def test_two_hundred_requests_a_second_while_the_window_runs_out(longest: list[float]) -> None:
    took: list[float] = []
    answers: Counter[int] = Counter()
    async with (
        Sandbox(limit=250, window=2.0, app_limit=None, latency=(0.02, 0.2), keep=100) as sandbox,
        client_of(sandbox, timeout=TIMEOUT, pace="burst") as client,
    ):
        runner = web.AppRunner(backend(client))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as browser:

            async def put(number: int) -> None:
                began = loop.time()
                async with browser.put(f"{url}/{number}", data=f"text {number}") as answer:
                    answers[answer.status] += 1
                took.append(loop.time() - began)

            for first in (0, 400):
                if first:
                    tracemalloc.start()  # what is alive at the end and was not before
                async with asyncio.TaskGroup() as tasks:
                    began = loop.time()
                    for number in range(400):
                        tasks.create_task(put(first + number))
                        await asyncio.sleep(began + number / 200 - loop.time())
            blocked = longest[0]
            gc.collect()
            ours = [tracemalloc.Filter(True, "*/xmediameta/*"), tracemalloc.Filter(False, "*/xmediameta/sandbox/*")]
            alive = tracemalloc.take_snapshot().filter_traces(ours)
        tracemalloc.stop()
        await runner.cleanup()
        await nothing_left(client)
        # Four seconds of windows of two: each used, none beyond its last request.
        assert sandbox.counts.limited == 0
        assert answers.total() == 800
        assert set(answers) == {200, 503}
        assert answers[200] == sandbox.counts.applied
        assert answers[200] >= 2 * 250
        assert max(took) <= MAX_WAIT + TIMEOUT
        assert blocked < 0.05
        assert sum(trace.size for trace in alive.traces) < 100_000


@pytest.mark.slow
async def test_sigterm_while_requests_are_under_way(tmp_path: Path) -> None:
    """The README's own backend, as a process: what it has accepted is answered before it ends."""
    (tmp_path / "backend.py").write_text(
        block("python", "web-aiohttp.py").text
        + textwrap.dedent("""
            import sys

            web.run_app(app, host="127.0.0.1", port=0, print=lambda said: print(said, flush=True))
        """)
    )
    async with Sandbox(latency=1.0) as sandbox:
        env = environment() | {"XMEDIAMETA_TOKEN": "TOKEN", "XMEDIAMETA_BASE_URL": sandbox.url}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "backend.py", cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            url = (await process.stdout.readline()).decode().split()[-2]
            async with aiohttp.ClientSession() as browser:

                async def put(number: int) -> int:
                    async with browser.put(f"{url}/media/{number}/alt-text", json={"alt_text": "a"}) as answer:
                        return answer.status

                putting = [asyncio.ensure_future(put(number)) for number in range(60)]
                async with asyncio.timeout(20):
                    while sandbox.counts.requests < 5:
                        await asyncio.sleep(0.01)
                os.kill(process.pid, signal.SIGTERM)
                answers = Counter(await asyncio.gather(*putting))
            _, err = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, err.decode()
        assert answers.total() == 60
        assert answers[200] == sandbox.counts.applied
        assert set(answers) <= {200, 503}
        assert "Traceback" not in err.decode()
