"""The README's web backends, each as it stands, against a sandbox in the place of X."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Thread
from types import ModuleType
from wsgiref.simple_server import WSGIServer

import httpx
import prometheus_client
import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import start_http_server

from tests.docs.readme import Block, block, run_python
from xmediameta import Client, MediaNotFound, Metadata, Sandbox, Update

CAT = "1146654567674912769"


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    async with Sandbox(limit=3, window=900) as sandbox:
        monkeypatch.setenv("XMEDIAMETA_TOKEN", "TOKEN")
        monkeypatch.setenv("XMEDIAMETA_BASE_URL", sandbox.url)
        yield sandbox


def module(shown: Block) -> ModuleType:
    """A block as the module that it is in a backend."""
    found = ModuleType(shown.name)
    exec(compile("\n" * shown.line + shown.text, "README.md", "exec", dont_inherit=True), found.__dict__)
    return found


async def test_batcher(sandbox: Sandbox) -> None:
    async with Client.from_env() as client:
        space = await run_python(block("python", "batcher"), client=client)
    assert space["applied"].id == CAT
    assert sandbox.applied == {CAT: {"alt_text": {"text": "A dancing cat"}}}


async def test_batcher_journal(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with Client.from_env() as client:
        sandbox.deplete()
        await run_python(block("python", "batcher-journal"), client=client)
        assert sandbox.applied == {}
    sandbox.heal()
    async with Client.from_env() as client, client.batcher(journal="web.db", run="web") as batcher:
        await batcher.flush()
    assert sandbox.applied == {CAT: {"alt_text": {"text": "A dancing cat"}}}


async def test_aiohttp(sandbox: Sandbox) -> None:
    sandbox.script("2", ["404"])
    async with TestClient(TestServer(module(block("python", "web-aiohttp.py")).app)) as browser:

        async def put(media: str, text: str) -> tuple[int, dict[str, str], str | None]:
            async with browser.put(f"/media/{media}/alt-text", json={"alt_text": text}) as answer:
                return answer.status, await answer.json(), answer.headers.get("Retry-After")

        assert (await put(CAT, "A dancing cat"))[0] == 200
        assert await put("2", "A dog") == (404, {"error": "404 Not Found"}, None)
        status, said, _ = await put("3", "x" * 1001)
        assert (status, said["error"]) == (422, "alt_text: 1,001 characters, 1 too many (at most 1,000)")
        await put("4", "A bird")
        status, said, retry_after = await put("5", "A fish")
        assert status == 503
        assert "longer than max_wait=5 s" in said["error"]
        assert retry_after is not None
        assert 800 < int(retry_after) <= 902
    assert sandbox.applied == {CAT: {"alt_text": {"text": "A dancing cat"}}, "4": {"alt_text": {"text": "A bird"}}}


async def test_fastapi(sandbox: Sandbox) -> None:
    app = module(block("python", "web-fastapi.py")).app
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://backend") as browser,
    ):

        async def put(media: str, text: str) -> httpx.Response:
            return await browser.put(f"/media/{media}/alt-text", params={"alt_text": text})

        answers = await asyncio.gather(*(put(CAT, f"cat {number}") for number in range(40)))
        assert {answer.status_code for answer in answers} == {200}
        assert sandbox.counts.requests <= 2  # the first, and the newest of all that came while it was on its way
        assert sandbox.applied == {CAT: {"alt_text": {"text": "cat 39"}}}
        answer = await put("x", "y")
        assert (answer.status_code, answer.json()) == (422, {"error": "id: 'x' is not a media id (1 to 19 digits)"})


async def test_worker(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    queue: asyncio.Queue[Update] = asyncio.Queue()
    for number in range(5):
        queue.put_nowait(Update(str(number), Metadata.of(managed=True), ref=number))
    async with Client.from_env() as client:
        working = asyncio.ensure_future(run_python(block("python", "worker"), client=client, queue=queue))
        async with asyncio.timeout(20):
            while len(sandbox.applied) < 3:
                await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        await working
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert sorted(capsys.readouterr().out.splitlines()) == ["put back: 3", "put back: 4"]
    assert sandbox.counts.requests == 3


async def test_upload_to_post(sandbox: Sandbox) -> None:
    done: list[object] = []

    async def upload(name: str) -> dict[str, object]:
        done.append(name)
        return {"id": CAT, "expires_after_secs": 86_400}

    async def post(text: str, media_ids: list[str]) -> None:
        done.append((text, media_ids, dict(sandbox.applied)))

    async with Client.from_env() as client:
        await run_python(block("python", "upload-to-post"), client=client, upload=upload, post=post)
        assert done == ["cat.jpg", ("Look at this", [CAT], {CAT: {"alt_text": {"text": "A dancing cat"}}})]
        sandbox.script(CAT, ["404"])
        with pytest.raises(MediaNotFound):
            await run_python(block("python", "upload-to-post"), client=client, upload=upload, post=post)
    assert len(done) == 3  # uploaded once more, and not posted


async def test_listeners(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    async with Client.from_env() as client:
        await run_python(block("python", "listeners"), client=client)
        await client.create(CAT, Metadata.of(managed=True))
    assert re.fullmatch(rf"{CAT} 200 \d\.\d s\n", capsys.readouterr().out)


async def test_prometheus(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    serving: list[tuple[WSGIServer, Thread]] = []

    def on_a_free_port(port: int, addr: str) -> None:
        assert port == 9464
        serving.append(start_http_server(0, addr=addr))

    monkeypatch.setattr(prometheus_client, "start_http_server", on_a_free_port)
    async with Client.from_env() as client:
        await run_python(block("python", "prometheus"), client=client)
        await client.create(CAT, Metadata.of(managed=True))
    ((server, thread),) = serving
    try:
        async with httpx.AsyncClient() as scraper:
            scraped = (await scraper.get(f"http://127.0.0.1:{server.server_port}/metrics")).text
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    before, _, after = block("text", "prometheus").text.strip().partition("...")
    assert any(line.startswith(before) and line.endswith(after) for line in scraped.splitlines()), scraped
