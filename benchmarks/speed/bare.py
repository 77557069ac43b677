"""HTTP without anything else: the floor, aiohttp as it can be tuned and as it comes, and other HTTP clients.

All send the same body, `concurrency` at a time, from as many tasks; none checks, paces, retries or reads headers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
from yarl import URL

from .work import BODY, HEADERS, METADATA, PATH, TOKEN, Job, media_ids


async def in_tasks(job: Job, send: Callable[[str], Awaitable[object]]) -> None:
    """Send each from one of `concurrency` tasks on one iterator."""
    source = media_ids(job.requests)

    async def work() -> None:
        for media_id in source:
            await send(media_id)

    await asyncio.gather(*(work() for _ in range(job.concurrency)))


async def floor(job: Job) -> None:
    """A raw asyncio protocol: one write and one read for each request, prepared bytes."""
    loop, url = asyncio.get_running_loop(), URL(job.url)
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    request = f"POST {PATH} HTTP/1.1\r\nHost: {url.host}\r\n{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    left = job.requests
    done = loop.create_future()

    class Asking(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.ask()

        def ask(self) -> None:
            nonlocal left
            if left > 0:
                left -= 1
                self.transport.write(request)
            else:
                self.transport.close()
                open_ones.discard(self)
                if not open_ones and not done.done():
                    done.set_result(None)

        def data_received(self, data: bytes) -> None:
            assert data.startswith(b"HTTP/1.1 200")
            self.ask()

    open_ones: set[Asking] = set()

    def asking() -> Asking:
        one = Asking()
        open_ones.add(one)
        return one

    for _ in range(job.concurrency):
        await loop.create_connection(asking, url.host, url.port)
    await done


async def _tuned(job: Job, timeout: float | None) -> None:
    url = URL(job.url + PATH)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers=HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=None),
    ) as session:

        async def send(_: str) -> None:
            async with session.post(url, data=BODY, allow_redirects=False) as response:
                await response.read()
                assert response.status == 200

        await in_tasks(job, send)


async def tuned(job: Job) -> None:
    """aiohttp tuned: one session, no cookies, an encoded URL, a body of bytes, prepared headers, no deadline."""
    await _tuned(job, None)


async def tuned_deadline(job: Job) -> None:
    """The same with a deadline of 30 s for each request."""
    await _tuned(job, 30.0)


async def naive(job: Job) -> None:
    """aiohttp as its front page shows it: a text as URL, `json=`, and the default deadline of five minutes."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:

        async def send(media_id: str) -> None:
            async with session.post(job.url + PATH, json={"id": media_id, "metadata": METADATA}) as response:
                await response.json()
                assert response.status == 200

        await in_tasks(job, send)


async def pyreqwest(job: Job) -> None:
    """pyreqwest, an HTTP client in Rust."""
    from pyreqwest.client import ClientBuilder

    async with ClientBuilder().default_headers(HEADERS).build() as client:

        async def send(_: str) -> None:
            response = await client.post(job.url + PATH).body_bytes(BODY).build().send()
            assert response.status == 200
            await response.bytes()

        await in_tasks(job, send)


async def httpx(job: Job) -> None:
    """httpx."""
    import httpx as library

    limits = library.Limits(max_connections=job.concurrency, max_keepalive_connections=job.concurrency)
    async with library.AsyncClient(headers=HEADERS, limits=limits, timeout=30.0) as client:

        async def send(_: str) -> None:
            response = await client.post(job.url + PATH, content=BODY)
            assert response.status_code == 200

        await in_tasks(job, send)


async def niquests(job: Job) -> None:
    """niquests."""
    import niquests as library

    async with library.AsyncSession(pool_maxsize=job.concurrency, pool_connections=job.concurrency) as session:
        session.headers.update(HEADERS)

        async def send(_: str) -> None:
            response = await session.post(job.url + PATH, data=BODY)
            assert response.status_code == 200

        await in_tasks(job, send)


VARIANTS: Final = {
    "floor": floor,
    "tuned aiohttp": tuned,
    "tuned aiohttp, 30 s": tuned_deadline,
    "naive aiohttp": naive,
    "pyreqwest": pyreqwest,
    "httpx": httpx,
    "niquests": niquests,
}
