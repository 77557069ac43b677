"""Bulk runs of every make-up against a simple model of how long they may take: nobody rests while there is work.

The model. A run takes at least as long as its requests in so many places, and as its input on its own; these two go on
side by side. To the longer of them come the windows that its busiest account has to wait for, each credential, each
pause of the reader, and once the way of the last request.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from math import ceil
from typing import Any

import pytest

from xmediameta import BearerToken, Sandbox, Update

from .clients import alt, client_of, nothing_left, told

pytestmark = pytest.mark.looptime  # sockets are real, time is not

WINDOW = 60


class Plan:
    """What a seed makes up.

    Attributes:
        pause: of an asynchronous input before each item.
        asking: seconds that a credential takes.
        reader: after how many outcomes the reader stops, and for how long.
    """

    def __init__(self, seed: int) -> None:
        rand = random.Random(seed)
        self.names = [f"account-{number}" for number in range(rand.choice([1, 2, 5, 20]))]
        number, media, dated = rand.choice([40, 150]), rand.choice([10, 1000, 1000]), rand.choice([0.0, 0.0, 0.5])
        owners = {str(index): rand.choice(self.names) for index in range(media)}
        self.rows = [
            Update(media_id, alt(str(ref)), owners[media_id], ref, 9e9 if rand.random() < dated else None)
            for ref, media_id in enumerate(rand.choices(list(owners), k=number))
        ]
        self.latency = rand.choice([0.1, 1.0])
        self.pause = rand.choice([None, None, 0.0, 0.05, 0.4])
        self.asking = rand.choice([0.0, 0.5, 3.0])
        self.limit = rand.choice([None, 7, 30])
        self.reader = rand.choice([(1000, 0.0), (37, 5.0)])
        self.bad = set(rand.sample(list(owners), rand.choice([0, 0, 5])))
        self.script = {media_id: ["400"] for media_id in sorted(self.bad)}

    def input(self) -> Iterable[Update] | AsyncIterator[Update]:
        return iter(self.rows) if self.pause is None else self.arriving(self.pause)

    async def arriving(self, pause: float) -> AsyncIterator[Update]:
        for row in self.rows:
            await asyncio.sleep(pause)
            yield row

    async def credential(self, name: str | None) -> BearerToken:
        await asyncio.sleep(self.asking)
        return BearerToken(f"token-of-{name}")

    def seconds(self, concurrency: int) -> tuple[float, float]:
        """At least, and at most."""
        number = len(self.rows)
        longest = max(Counter(row.id for row in self.rows).values())
        least = max(ceil(number / concurrency), longest) * self.latency
        least = max(least, number * (self.pause or 0.0))
        busiest = max(Counter(row.account for row in self.rows).values())
        windows = 0 if self.limit is None else ceil(busiest / self.limit) - 1
        after, pause = self.reader
        most = least + windows * (WINDOW + 2) + len(self.names) * self.asking + number // after * pause
        return least, most + (2 + longest) * self.latency + (self.pause or 0.0)

    def __repr__(self) -> str:
        return str({name: value for name, value in vars(self).items() if name not in {"rows", "names", "script"}})


def order_per_media(sandbox: Sandbox) -> list[list[int]]:
    """Of each media, the refs in the order in which they were received."""
    texts: dict[Any, list[int]] = defaultdict(list)
    for received in sandbox.received:
        texts[received.id].append(int(received.body["metadata"]["alt_text"]["text"]))
    return list(texts.values())


@pytest.mark.parametrize("concurrency", [1, 2, 7])
@pytest.mark.parametrize("seed", range(16))
async def test_a_run_takes_as_long_as_it_must(seed: int, concurrency: int) -> None:
    plan, loop = Plan(seed), asyncio.get_running_loop()
    after, pause = plan.reader
    found: list[Any] = []
    async with (
        Sandbox(latency=plan.latency, limit=plan.limit, window=WINDOW, script=plan.script) as sandbox,
        client_of(sandbox, plan.credential) as client,
    ):
        began = loop.time()
        async with asyncio.timeout(10_000), client.bulk(plan.input(), concurrency=concurrency) as outcomes:
            async for outcome in outcomes:
                found.append(outcome)
                if len(found) % after == 0:
                    await asyncio.sleep(pause)
        took = loop.time() - began
        first = {row.id: row.ref for row in reversed(plan.rows) if row.id in plan.bad}
        rejected = dict.fromkeys(first.values(), "UpdateRejected")
        assert told(found) == {row.ref: "applied" for row in plan.rows} | rejected
        assert all(sent == sorted(sent) for sent in order_per_media(sandbox)), "in the order given"
        assert sandbox.counts.limited == 0
        assert sandbox.counts.requests == len(plan.rows)
        assert sandbox.counts.most_in_flight <= concurrency
        least, most = plan.seconds(concurrency)
        assert least - 1e-6 <= took <= most, (took / most, plan)
        await nothing_left(client)
