"""What runs in the processes of `test_refresh_processes`, which share one account of one store."""

from __future__ import annotations

import asyncio
from multiprocessing.connection import Connection

from xmediameta import Client, FileStore, Metadata, ReconnectRequired, Update

ACCOUNT = "alice"
PACE = 60


def updates(worker: int, number: int) -> list[Update]:
    """What one worker has to send."""
    return [
        Update(str(worker * 1_000_000 + index), Metadata.of(alt_text=f"{index} of {worker}"), account=ACCOUNT)
        for index in range(1, number + 1)
    ]


def work(url: str, accounts: str, journal: str, worker: int, number: int, told: Connection) -> None:
    """Send them all, going on where an earlier sitting was killed; says `begun`, and how it ended."""
    asyncio.run(_work(url, accounts, journal, worker, number, told))


async def _work(url: str, accounts: str, journal: str, worker: int, number: int, told: Connection) -> None:
    store = FileStore(accounts)
    try:
        async with (
            Client(store, base_url=url, limits=None, pace=PACE, concurrency=4) as client,
            client.bulk(updates(worker, number), journal=journal, run="shared") as outcomes,
        ):
            told.send("begun")
            async for _ in outcomes:
                pass
    except ReconnectRequired as error:
        told.send(f"{error}")
    else:
        told.send("ended")


def renew(url: str, accounts: str) -> None:
    """One call, which needs a new token first."""
    asyncio.run(_renew(url, accounts))


async def _renew(url: str, accounts: str) -> None:
    async with Client(FileStore(accounts), base_url=url, limits=None) as client:
        await client.create("1", Metadata.of(alt_text="A dancing cat"), account=ACCOUNT)
