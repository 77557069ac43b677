"""What the journal costs: loading, settling, drawing and finishing many rows.

    python -m benchmarks.journal [--rows 1000000] [--accounts 1] [--shuffled] [--workers 64] [--folder DIR]

Each phase runs in a process of its own, so that its peak memory is its own. It tells seconds of CPU time (of all
threads), the same per row in microseconds, seconds by the clock, and the peak of resident memory. Rows are made as they
are asked for; what making them costs alone is the first line, and is in the figures of the phases that read them.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from msgspec import Struct

from xmediameta.journal import Finished, Incoming, Journal, JournalRun
from xmediameta.models import decode_update
from xmediameta.wire import encode

BASE_URL = "https://api.x.com"


class Plan(Struct, frozen=True):
    """What is measured."""

    path: Path
    rows: int
    accounts: int
    shuffled: bool
    workers: int


class Figures(Struct, frozen=True):
    """What one phase took."""

    cpu: float
    seconds: float
    megabytes: float


def incoming(plan: Plan, changed: int = 0) -> Iterator[Incoming]:
    """Rows as a reader would make them; every `changed`th says something else."""
    numbers = list(range(plan.rows)) if plan.shuffled else range(plan.rows)
    if isinstance(numbers, list):
        random.Random(1).shuffle(numbers)
    for line, number in enumerate(numbers, 1):
        text = f"Picture {number}, seen from the left side of the road at night, in the rain"
        if changed and line % changed == 0:
            text += ", again"
        account = f',"account":"shop-{number % plan.accounts}"' if plan.accounts > 1 else ""
        update = decode_update(
            b'{"id":"%d","metadata":{"alt_text":{"text":"%s"}},"ref":"row-%d"%s}'
            % (1146654567674912769 + number * 1315423, text.encode(), number, account.encode())
        )
        yield Incoming(update=update, body=encode(update), source=f"updates.jsonl:{line}")


async def make(plan: Plan) -> None:
    """Make the rows, and nothing with them."""
    for _ in incoming(plan):
        pass


async def load(plan: Plan, name: str = "updates.jsonl", fingerprint: str | None = "one", changed: int = 0) -> None:
    """Load and settle, and let the run go."""
    async with await Journal.open(plan.path) as journal:
        run = await journal.start(name, BASE_URL, incoming(plan, changed), fingerprint=fingerprint)
        await run.aclose()


async def rehearse(plan: Plan, fingerprint: str | None = None) -> None:
    """Find out what a load would come to; the journal stays as it is."""
    told = await Journal.rehearse(plan.path, "updates.jsonl", BASE_URL, incoming(plan), fingerprint=fingerprint)
    if sum(one.rows for one in told.counts) != plan.rows:
        raise SystemExit(f"not all rows were counted: {told}")


async def send(plan: Plan) -> None:
    """Draw and finish every row, as so many workers would whose requests take no time."""

    async def work(run: JournalRun) -> None:
        while (task := await run.draw(())) is not None:
            await run.finish(
                Finished(task=task, state="applied", attempts=1, transaction_id="5f0c7ab1d93e4c02"),
            )

    async with await Journal.open(plan.path) as journal:
        run = await journal.start("updates.jsonl", BASE_URL, (), fingerprint="one")
        async with asyncio.TaskGroup() as group:
            for _ in range(plan.workers):
                group.create_task(work(run))
        counts = {counted.state: counted.rows for counted in await journal.counts(run.record)}
        await run.aclose()
        if set(counts) != {"applied"}:
            raise SystemExit(f"not all rows were applied: {counts}")


async def look(plan: Plan) -> None:
    """Count, and read all results."""
    async with await Journal.open(plan.path) as journal:
        record = await journal.run("updates.jsonl")
        if record is None:
            raise SystemExit("there is no run")
        await journal.counts(record)
        rows = 0
        async for _ in await journal.results(record):
            rows += 1
        if rows != plan.rows:
            raise SystemExit(f"{rows} results of {plan.rows} rows")


PHASES: dict[str, Callable[[Plan], object]] = {
    "rows alone": make,
    "first plan": rehearse,
    "first load": load,
    "draw and finish": send,
    "a plan of the same": partial(rehearse, fingerprint="one"),
    "the same, by its fingerprint": load,
    "the same, by its rows": partial(load, fingerprint=None),
    "the same in another file": partial(load, name="others.jsonl"),
    "one row of a hundred changed": partial(load, fingerprint="two", changed=100),
    "counts and results": look,
}


def measured(plan: Plan, phase: str) -> Figures:
    """Run one phase in this process."""
    began, clock = time.process_time(), time.monotonic()
    asyncio.run(PHASES[phase](plan))  # type: ignore[arg-type]
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Figures(time.process_time() - began, time.monotonic() - clock, kilobytes / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=1)
    parser.add_argument("--shuffled", action="store_true", help="media ids in no order")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--folder", type=Path, help="where the journal lies, instead of the folder for temporary files")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        plan = Plan(Path(folder) / "journal.db", given.rows, given.accounts, given.shuffled, given.workers)
        print(f"{plan.rows:,} rows, {plan.accounts} account(s), ids {'shuffled' if plan.shuffled else 'ascending'}")
        print(f"{'':30}{'CPU s':>8}{'us/row':>8}{'clock s':>9}{'peak MB':>9}")
        spawn = multiprocessing.get_context("spawn")
        for phase in PHASES:
            with spawn.Pool(1) as pool:
                figures = pool.apply(measured, (plan, phase))
            print(
                f"{phase:30}{figures.cpu:8.2f}{figures.cpu / plan.rows * 1e6:8.2f}{figures.seconds:9.2f}"
                f"{figures.megabytes:9.0f}",
                flush=True,
            )
        print(f"the file: {plan.path.stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
