"""What runs in the processes that `test_kill_resume` kills."""

from __future__ import annotations

import asyncio
import random
from multiprocessing.connection import Connection

from xmediameta import Client, Metadata, Update

CONCURRENCY = 8
MEDIA = 400
VERSIONS = 3


def updates() -> list[Update]:
    """Three values for each media id, in an order that is the same each time."""
    order = random.Random(7).sample(range(MEDIA), MEDIA)
    return [
        Update(
            str(1000 + number), Metadata.of(alt_text=f"{number} in its version {version}"), ref=f"{number}/{version}"
        )
        for version in range(VERSIONS)
        for number in order
    ]


def sit(url: str, journal: str, told: Connection) -> None:
    """One sitting: says when the journal is loaded, and when the run has come to its end."""
    asyncio.run(_sit(url, journal, told))


async def _sit(url: str, journal: str, told: Connection) -> None:
    async with (
        Client("token", base_url=url, pace=None, concurrency=CONCURRENCY) as client,
        client.bulk(updates(), journal=journal, run="killed") as outcomes,
    ):
        told.send("begun")
        async for _ in outcomes:
            pass
    told.send("ended")
