"""What `create` and `bulk` add to the steps of a request: order per media id, places, workers, outcomes, the reader.

The network is left out: a transport's exchange that answers at once. The steps alone (encoding, a ticket, the exchange,
reading the answer and its headers, the books) are made one after the other and taken off what the ways in take.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from statistics import median
from unittest.mock import patch

from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy

from xmediameta import Client, Metadata, Update
from xmediameta.limits import HEADER_STEMS, read_windows
from xmediameta.outcomes import Applied
from xmediameta.transport import Transport
from xmediameta.wire import Reply, decipher, encode, server_date

from .work import FIRST, TOKEN, media_ids

PLENTY = 1_000_000_000
CAT = Metadata.of(alt_text="A dancing cat")


class Scheduling(Struct, frozen=True, kw_only=True):
    """Microseconds of CPU time for each update.

    Attributes:
        steps: those of a request, without the network.
        create, bulk: what these add.
    """

    steps: float
    create: float
    bulk: float


def _headers() -> CIMultiDictProxy[str]:
    told = {"Date": formatdate(usegmt=True), "x-transaction-id": "00f0c0ffee15c0de"}
    for stem in (HEADER_STEMS["user-15min"], HEADER_STEMS["app-24hour"]):
        told |= {
            f"{stem}limit": str(PLENTY),
            f"{stem}remaining": str(PLENTY - 1),
            f"{stem}reset": str(int(time.time()) + 600),
        }
    return CIMultiDictProxy(CIMultiDict(told))


@asynccontextmanager
async def _client() -> AsyncIterator[Client]:
    headers = _headers()

    async def at_once(_: Transport, __: object, body: bytes, **___: object) -> tuple[int, CIMultiDictProxy[str], bytes]:
        began = body.index(b'"id":"') + 6
        return 200, headers, b'{"data":{"id":"%b","associated_metadata":{}}}' % body[began : body.index(b'"', began)]

    with patch.object(Transport, "post", at_once):
        async with Client(TOKEN, base_url="http://127.0.0.1:9", pace=None, concurrency=64) as client:
            await client.create(str(FIRST), CAT)  # the first contact of its window
            yield client


async def _steps(client: Client, number: int) -> None:
    sender = client._opened()  # noqa: SLF001
    account = await sender.accounts.get(None)
    for media_id in media_ids(number):
        update = Update(media_id, CAT)
        body = encode(update)
        ticket = account.gate.at_once() or await account.gate.enter(interactive=True)
        status, headers, payload = await sender.transport.post(account.session, body)
        now = sender.loop.time()
        sender.clock.observe(server_date(headers) or 0.0, now)
        reply = decipher(status, headers, payload, media_id=media_id)
        account.gate.ledger.observe(ticket, read_windows(headers), now)
        sender.quota.refill()
        sender.congestion.succeeded(1, now)
        account.gate.changed()
        assert isinstance(reply, Reply)
        Applied(update=update, transaction_id=reply.transaction_id, attempts=1, raw_metadata=reply.raw_metadata)


async def _create(client: Client, number: int) -> None:
    for media_id in media_ids(number):
        await client.create(media_id, CAT)


async def _bulk(client: Client, number: int) -> None:
    async with client.bulk(Update(media_id, CAT) for media_id in media_ids(number)) as outcomes:
        assert sum([1 async for _ in outcomes]) == number


async def scheduling(number: int, rounds: int = 5) -> Scheduling:
    """Measure with so many updates each, in turns; the medians."""
    ways: tuple[Callable[[Client, int], Awaitable[None]], ...] = (_steps, _create, _bulk)
    took: list[list[float]] = [[] for _ in ways]
    async with _client() as client:
        for _ in range(rounds):
            for way, times in zip(ways, took, strict=True):
                began = time.process_time()
                await way(client, number)
                times.append((time.process_time() - began) / number * 1e6)
    steps, create, bulk = map(median, took)
    return Scheduling(steps=steps, create=create - steps, bulk=bulk - steps)


if __name__ == "__main__":
    print(asyncio.run(scheduling(20_000)))
