"""`report`: a run as a page to look at."""

from __future__ import annotations

import time

from xmediameta.report import Gathering, Story, page

from .export import written
from .looping import run_in_loop
from .stored import chosen, stored, under_way, unit_price


def report(run: str | None, journal: str | None, *, output: str, price: float) -> int:
    """Write the page."""

    async def read() -> Story:
        async with stored(journal) as opened:
            record = await chosen(opened, run)
            usd = unit_price(record, price)
            gathering = Gathering(record, local=not usd)
            running = under_way(opened, record)
            async for row in await opened.results(record):
                gathering.add(row)
            return gathering.story(running=running, unit_price=usd)

    story = run_in_loop(read, own=True)
    with written(output) as file:
        file.write(page(story, made_at=time.time()).encode("utf-8", "backslashreplace"))
    return 0
