"""`report`: a run as a page to look at."""

from __future__ import annotations

import time
from pathlib import Path

from xmediameta.memory import kept_of
from xmediameta.report import Gathering, Story, page, read_events, with_open_windows
from xmediameta.report.timeline import unix

from .export import written
from .looping import run_in_loop
from .stored import chosen, local, stored, under_way


def report(run: str | None, journal: str | None, *, output: str, price: float) -> int:
    """Write the page."""

    async def read() -> tuple[Story, Path]:
        async with stored(journal) as opened:
            record = await chosen(opened, run)
            noted = read_events(await opened.events(record), until=time.time(), requests=record.requests)
            kept = await opened.quota(record)
            windows = {
                name: kept_of(kept, name or None) for name in {one.account for one in await opened.counts(record)}
            }
            noted = with_open_windows(noted, windows, unix(record.started_at) or time.time())
            gathering = Gathering(record, noted, local=local(record))
            running = under_way(opened, record)
            async for row in await opened.results(record):
                gathering.add(row)
            return gathering.story(running=running, unit_price=0.0 if local(record) else price), opened.path

    story, path = run_in_loop(read, own=True)
    with written(output, path) as file:
        file.write(page(story, made_at=time.time()).encode("utf-8", "backslashreplace"))
    return 0
