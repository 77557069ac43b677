"""`bulk` with a journal against `bulk` without one, in pairs, and the memory of a long run.

    python -m benchmarks.durable [--updates 20000] [--rounds 5] [--concurrency 64] [--folder DIR] [--profile PATH]
    python -m benchmarks.durable --memory [--updates 1000000]

The server is that of `benchmarks.speed`, in a process of its own, and nothing is pinned to a core: a journal's thread
shares what there is with the loop and the server. A round is both ways one after the other, the first of them in
turn; each starts with a new journal, and its time is that of the whole block: making the updates, loading them,
sending, and closing the journal. Told are the ratios of without a journal to with one, and their medians: of the
seconds (what counts), of the CPU time of the client's process, and of the seconds without loading. These leave it out
on one side only: without a journal, updates are made and checked while others are sent. What it takes is told by
itself, in microseconds an update.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks.speed.server import serving
from xmediameta import Applied, Client, Metadata, Update

FIRST = 1146654567674912769


class Took(Struct, frozen=True):
    """One way of a round."""

    seconds: float
    cpu: float
    loading: float


def updates(count: int) -> Iterator[Update]:
    for number in range(count):
        yield Update(
            str(FIRST + number),
            Metadata.of(alt_text=f"Picture {number}, seen from the left side of the road at night, in the rain"),
            ref=number,
        )


async def send(url: str, count: int, concurrency: int, journal: Path | None) -> Took:
    """One way: from before the block to after it."""
    async with Client("token", base_url=url, pace=None, limits=None, concurrency=concurrency) as client:
        kept = {} if journal is None else {"journal": journal, "run": "benchmark"}
        clock, cpu, applied = time.perf_counter(), time.process_time(), 0
        async with client.bulk(updates(count), **kept) as run:  # type: ignore[arg-type]
            loaded = time.perf_counter()
            async for outcome in run:
                applied += isinstance(outcome, Applied)
        took = Took(time.perf_counter() - clock, time.process_time() - cpu, loaded - clock)
    if applied != count:
        raise SystemExit(f"{applied} of {count} applied")
    return took


def pairs(url: str, given: argparse.Namespace, folder: Path) -> None:
    print(
        f"{given.updates:,} updates, concurrency {given.concurrency}; updates a second, and CPU us of the client each"
    )
    print(f"{'':8}{'without':>18}{'with':>18}{'ratio':>9}{'CPU ratio':>11}{'sending':>9}{'loading us':>12}")
    rounds: list[tuple[float, ...]] = []
    asyncio.run(send(url, 2_000, given.concurrency, folder / "warm.db"))
    for nth in range(given.rounds):
        took: dict[bool, Took] = {}
        for kept in (False, True) if nth % 2 else (True, False):
            path = folder / f"{nth}.db" if kept else None
            took[kept] = asyncio.run(send(url, given.updates, given.concurrency, path))
        plain, with_journal = took[False], took[True]
        rounds.append(
            (
                plain.seconds / with_journal.seconds,
                plain.cpu / with_journal.cpu,
                plain.seconds / (with_journal.seconds - with_journal.loading),
                with_journal.loading / given.updates * 1e6,
            )
        )
        shown = "".join(
            f"{given.updates / one.seconds:11,.0f}{one.cpu / given.updates * 1e6:7.0f}" for one in (plain, with_journal)
        )
        print(f"round {nth + 1:<2}{shown}{figures(rounds[-1])}", flush=True)
    print(f"median{'':38}{figures([statistics.median(column) for column in zip(*rounds, strict=True)])}")


def figures(ratios: Sequence[float]) -> str:
    """The last columns of a line."""
    ratio, cpu, sending, loading = ratios
    return f"{ratio:9.3f}{cpu:11.3f}{sending:9.3f}{loading:12.1f}"


def memory(url: str, given: argparse.Namespace, folder: Path) -> None:
    took = asyncio.run(send(url, given.updates, given.concurrency, folder / "journal.db"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{given.updates:,} updates with a journal: {took.seconds:,.0f} s, peak of resident memory {peak:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description="bulk with a journal against bulk without one")
    parser.add_argument("--updates", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--folder", type=Path, help="where journals lie, instead of the folder for temporary files")
    parser.add_argument("--memory", action="store_true", help="one run with a journal, and its peak of memory")
    parser.add_argument("--profile", type=Path, help="write a profile of one run with a journal instead")
    given = parser.parse_args()
    with serving(None) as url, tempfile.TemporaryDirectory(dir=given.folder) as folder:
        if given.profile is not None:
            with cProfile.Profile() as profile:
                asyncio.run(send(url, given.updates, given.concurrency, Path(folder) / "journal.db"))
            profile.dump_stats(given.profile)
        else:
            (memory if given.memory else pairs)(url, given, Path(folder))


if __name__ == "__main__":
    main()
