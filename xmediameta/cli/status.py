"""`status`: how a run stands, once or until it ends, and which runs there are."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from xmediameta.journal import Journal, RunRecord
from xmediameta.text import printable

from .looping import run_in_loop
from .overview import Overview, in_short, overview, place_of, since, told
from .stored import chosen, stored

_MOST_PROBLEMS: Final = 20
_MOST_PROBLEMS_WATCHED: Final = 5
_RATE_OVER: Final = 60.0
# While nothing changes, as in a wait for a window.
_SIGN_OF_LIFE: Final = 60.0
# A look at a large journal takes its time; no more than this share of the time is spent on looking.
_SHARE: Final = 0.2


def status(run: str | None, journal: str | None, *, price: float, as_json: bool) -> int:
    """Show how a run stands."""

    async def show() -> None:
        async with stored(journal) as opened:
            seen = await overview(opened, await chosen(opened, run), price)
        _print(seen, as_json=as_json)

    run_in_loop(show, own=True)
    return 0


def list_runs(journal: str | None, *, price: float, as_json: bool) -> int:
    """Show all runs, the last one first."""

    async def show() -> list[Overview]:
        async with stored(journal) as opened:
            return [await overview(opened, record, price) for record in await opened.runs()]

    found = run_in_loop(show, own=True)
    if as_json:
        for seen in found:
            _print(seen, as_json=True)
    elif not found:
        click.echo("no runs yet")
    else:
        _console().print(_table(found))
    return 0


def watch(run: str | None, journal: str | None, *, price: float, every: float | None, as_json: bool) -> int:
    """Follow a run until it ends; Ctrl-C leaves it to itself."""
    try:
        run_in_loop(lambda: _watch(run, journal, price, every, as_json=as_json), own=True)
    except KeyboardInterrupt:
        click.echo("no longer watching; a run that is under way goes on", err=True)
        return 130
    return 0


async def _watch(run: str | None, journal: str | None, price: float, every: float | None, *, as_json: bool) -> None:
    async with stored(journal) as opened:
        record = await chosen(opened, run)
        watched = _Watched(opened, record, price)
        console = _console()
        live = console.is_terminal and not console.is_dumb_terminal and not as_json
        if live:
            await _redraw(watched, console, every or 1.0)
        else:
            await _lines(watched, every or 10.0, as_json=as_json)


async def _redraw(watched: _Watched, console: Console, every: float) -> None:
    seen = await watched.look()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as shown:
        while seen.running:
            shown.update(told(seen, most_problems=_MOST_PROBLEMS_WATCHED, bar=True), refresh=True)
            await watched.rest(every)
            seen = await watched.look()
        # What is left standing at the end is the whole of it.
        shown.update(Text(""), refresh=True)
    console.print(told(seen, most_problems=_MOST_PROBLEMS))


async def _lines(watched: _Watched, every: float, *, as_json: bool) -> None:
    seen = await watched.look()
    told_of: tuple[object, ...] = ()
    told_at = 0.0
    while seen.running:
        now = time.monotonic()
        if (seen.counts, seen.record.requests, seen.waits) != told_of or now - told_at >= _SIGN_OF_LIFE:
            told_of, told_at = (seen.counts, seen.record.requests, seen.waits), now
            if as_json:
                _print(seen, as_json=True)
            else:
                click.echo(in_short(seen))
        await watched.rest(every)
        seen = await watched.look()
    _print(seen, as_json=as_json)


class _Watched:
    """A run that is looked at again and again.

    Args:
        record: the run as it was seen first; it is found again by its name.
    """

    def __init__(self, journal: Journal, record: RunRecord, price: float) -> None:
        self._journal = journal
        self._name = record.name
        self._price = price
        self._seen: Overview | None = None
        self._marks: deque[tuple[float, int]] = deque()
        self._took = 0.0

    async def look(self) -> Overview:
        """How it stands now."""
        began = time.monotonic()
        record = await chosen(self._journal, self._name)
        seen = await overview(self._journal, record, self._price, self._seen)
        now = time.monotonic()
        self._took = now - began
        if self._seen is not None and self._seen.record.load != record.load:
            self._marks.clear()
        self._marks.append((now, seen.settled))
        while len(self._marks) > 2 and self._marks[1][0] < now - _RATE_OVER:
            self._marks.popleft()
        then, settled = self._marks[0]
        rate = (seen.settled - settled) / (now - then) if now > then else None
        self._seen = msgspec.structs.replace(seen, rate=rate)
        return self._seen

    async def rest(self, seconds: float) -> None:
        """Wait before the next look."""
        await asyncio.sleep(max(seconds, self._took / _SHARE))


def _print(seen: Overview, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(seen.as_json()))
    else:
        _console().print(told(seen, most_problems=_MOST_PROBLEMS))


def _table(found: list[Overview]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    for name in ("rows", "applied", "failed", "pending", "requests"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("started", no_wrap=True)
    table.add_column("to", overflow="ellipsis")
    for seen in found:
        counts = seen.counts
        numbers = (seen.total, counts["applied"] + counts["unchanged"], counts["failed"], counts["pending"])
        table.add_row(
            Text(printable(seen.record.name, 200)),
            seen.stands.kind.replace("-", " "),
            *(f"{number:,}" for number in (*numbers, seen.record.requests)),
            since(seen.record.started_at),
            Text(place_of(seen.record)),
        )
    return table


def _console() -> Console:
    """Standard output. Lines are not broken: not even those of a table, where it is no terminal."""
    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 240
    return console
