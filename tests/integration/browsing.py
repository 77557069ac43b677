"""People who log in: with an HTTP client that fills in the authorise page, and with headless Chromium."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, build_opener

import aiohttp
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class _Staying(HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        return None


def _opener(*handlers: HTTPRedirectHandler) -> OpenerDirector:
    return build_opener(ProxyHandler({}), *handlers)


def decided(url: str, user: str = "alice", decision: str = "allow") -> str:
    """The address to which the authorise page sends the browser."""
    with _opener().open(url, timeout=10) as page:
        assert b"wants to act for you" in page.read()
    form = urlencode({"user": user, "decision": decision}).encode()
    with pytest.raises(HTTPError) as caught:
        _opener(_Staying()).open(url, form, timeout=10)
    with caught.value as answer:
        assert answer.code == 302
        return answer.headers["Location"]


def visited(url: str) -> tuple[int, str]:
    """A page that is opened: its status and text."""
    try:
        with _opener().open(url, timeout=10) as page:
            return page.status, page.read().decode()
    except HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as trying:
        return trying.connect_ex(("127.0.0.1", port)) == 0


class Page:
    """A tab of Chromium, driven by its debugging protocol."""

    def __init__(self, wire: aiohttp.ClientWebSocketResponse, session: str) -> None:
        self._wire, self._session, self._numbers = wire, session, count(100)

    async def run(self, script: str) -> Any:
        """What a script comes to in the page."""
        parts = {"expression": script, "returnByValue": True}
        answer = await _told(self._wire, next(self._numbers), "Runtime.evaluate", parts, self._session)
        return answer["result"].get("value")

    async def until(self, script: str, tries: int = 200) -> Any:
        """Wait until a script comes to something."""
        for _ in range(tries):
            found = await self.run(script)
            if found:
                return found
            await asyncio.sleep(0.05)
        page = await self.run("document.documentElement.outerHTML")
        raise AssertionError(f"{script} came to nothing in {page}")


async def _told(wire: aiohttp.ClientWebSocketResponse, number: int, method: str, parts: Any, session: str = "") -> Any:
    at = {"sessionId": session} if session else {}
    await wire.send_json({"id": number, "method": method, "params": parts, **at})
    async for message in wire:
        answer = message.json()
        if answer.get("id") == number:
            return answer["result"]
    raise AssertionError("Chromium has gone")


@asynccontextmanager
async def chromium(folder: Path, url: str) -> AsyncIterator[Page]:
    """A page in headless Chromium."""
    assert CHROMIUM is not None
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--no-proxy-server", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    try:
        assert browser.stderr is not None
        async with asyncio.timeout(60):
            found = None
            while found is None:
                line = await browser.stderr.readline()
                assert line, "Chromium did not start"
                found = re.search(rb"DevTools listening on (ws://\S+)", line)
        drain = asyncio.create_task(browser.stderr.read())
        async with aiohttp.ClientSession() as http, http.ws_connect(found[1].decode()) as wire:
            target = await _told(wire, 1, "Target.createTarget", {"url": url})
            asked = {"targetId": target["targetId"], "flatten": True}
            yield Page(wire, (await _told(wire, 2, "Target.attachToTarget", asked))["sessionId"])
    finally:
        browser.terminate()
        await browser.wait()
    await drain
