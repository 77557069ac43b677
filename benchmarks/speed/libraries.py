"""What people use today for X: the client written by hand, X's own SDK, and tweepy; sequential and from threads.

The last two block, and speak to X alone: their requests are led to the server of the benchmark by an adapter of
`requests`, which costs the same with either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.handwritten import HandwrittenClient

from .work import METADATA, TOKEN, Job, media_ids

PLENTY: Final = 10**9


async def handwritten(job: Job) -> None:
    """aiohttp, msgspec, tenacity and aiolimiter, put together by hand."""
    async with HandwrittenClient(job.url, {None: TOKEN}, limit=PLENTY, concurrency=job.concurrency) as client:
        applied = await client.run((None, media_id, METADATA) for media_id in media_ids(job.requests))
    assert applied == job.requests


def _led_to(url: str, pool: int) -> Any:
    from requests.adapters import HTTPAdapter

    class Led(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            request.url = url + urlsplit(request.url).path
            return super().send(request, *args, **kwargs)

    return Led(pool_connections=pool, pool_maxsize=pool)


def _xdk(job: Job) -> Callable[[str], object]:
    from xdk import Client

    client = Client(base_url=job.url, access_token=TOKEN)
    adapter = _led_to(job.url, job.concurrency)
    client.session.mount("http://", adapter)
    return lambda media_id: client.media.create_metadata(body={"id": media_id, "metadata": METADATA})


def _tweepy(job: Job) -> Callable[[str], object]:
    import tweepy

    mine = local()

    def send(media_id: str) -> object:
        if not hasattr(mine, "api"):  # it closes its session after each request, so threads cannot share one
            auth = tweepy.OAuth1UserHandler("key", "secret", "token", "secret")
            mine.api = tweepy.API(auth, parser=tweepy.parsers.RawParser())
            mine.api.session.mount("https://", _led_to(job.url, job.concurrency))
        return mine.api.create_media_metadata(media_id, "A dancing cat")

    return send


async def _sequential(job: Job, send: Callable[[str], object]) -> None:
    def all_of_them() -> None:
        for media_id in media_ids(job.requests):
            send(media_id)

    await asyncio.get_running_loop().run_in_executor(None, all_of_them)


async def _threaded(job: Job, send: Callable[[str], object]) -> None:
    source = media_ids(job.requests)  # `next` of it is one step of the interpreter

    def some(mine: Iterator[str]) -> None:
        for media_id in mine:
            send(media_id)

    with ThreadPoolExecutor(job.concurrency) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(pool, some, source) for _ in range(job.concurrency)))


async def xdk(job: Job) -> None:
    """X's SDK, one after the other."""
    await _sequential(job, _xdk(job))


async def xdk_threaded(job: Job) -> None:
    """X's SDK from threads."""
    await _threaded(job, _xdk(job))


async def tweepy(job: Job) -> None:
    """tweepy, one after the other (OAuth 1.0a, the 1.1 endpoint: it has no other for this)."""
    await _sequential(job, _tweepy(job))


async def tweepy_threaded(job: Job) -> None:
    """tweepy from threads."""
    await _threaded(job, _tweepy(job))


VARIANTS: Final = {
    "written by hand": handwritten,
    "xdk, sequential": xdk,
    "xdk, threads": xdk_threaded,
    "tweepy, sequential": tweepy,
    "tweepy, threads": tweepy_threaded,
}
