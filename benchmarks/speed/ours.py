"""xmediameta with everything on: checks, order per media id, windows, retries, outcomes; the pace is not smoothed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from xmediameta import Applied, Client, Metadata, Update

from .bare import in_tasks
from .work import TOKEN, Job, media_ids

CAT: Final = Metadata.of(alt_text="A dancing cat")


def _client(job: Job, timeout: float | None) -> Client:
    return Client(TOKEN, base_url=job.url, concurrency=job.concurrency, pace=None, timeout=timeout)


async def create(job: Job, timeout: float | None = None) -> None:
    """`client.create` from as many tasks."""
    async with _client(job, timeout) as client:
        await in_tasks(job, lambda media_id: client.create(media_id, CAT))


async def create_deadline(job: Job) -> None:
    """The same with a deadline of 30 s for each request."""
    await create(job, 30.0)


async def bulk(job: Job, timeout: float | None = None, **options: Any) -> None:
    """`client.bulk` on a generator of updates."""
    async with _client(job, timeout) as client:
        given = (Update(media_id, CAT) for media_id in media_ids(job.requests))
        async with client.bulk(given, **options) as outcomes:
            applied = sum([type(outcome) is Applied async for outcome in outcomes])
    assert applied == job.requests


async def bulk_deadline(job: Job) -> None:
    """The same with a deadline of 30 s for each request."""
    await bulk(job, 30.0)


@contextmanager
def _plain_http() -> Generator[None]:
    """Through `ClientSession`, as with a version of aiohttp that the fast lane was not tested with."""
    os.environ["XMEDIAMETA_PLAIN_HTTP"] = "1"
    try:
        yield
    finally:
        del os.environ["XMEDIAMETA_PLAIN_HTTP"]


async def create_plain(job: Job) -> None:
    """`create` with a deadline, without the fast lane."""
    with _plain_http():
        await create(job, 30.0)


async def bulk_plain(job: Job) -> None:
    """`bulk` with a deadline, without the fast lane."""
    with _plain_http():
        await bulk(job, 30.0)


async def bulk_journal(job: Job) -> None:
    """`client.bulk` with a journal, loading included."""
    with tempfile.TemporaryDirectory() as folder:
        await bulk(job, None, journal=Path(folder) / "journal.db", run="benchmark")


async def batcher(job: Job) -> None:
    """`batcher.submit` from as many tasks."""
    async with _client(job, None) as client, client.batcher() as outcomes:
        await in_tasks(job, lambda media_id: outcomes.submit(Update(media_id, CAT)))


VARIANTS: Final = {
    "create": create,
    "create, 30 s": create_deadline,
    "bulk": bulk,
    "bulk, 30 s": bulk_deadline,
    "create, 30 s, ClientSession": create_plain,
    "bulk, 30 s, ClientSession": bulk_plain,
    "bulk with journal": bulk_journal,
    "batcher": batcher,
}
