"""All benchmarks of speed with one command: `python -m benchmarks [--quick] [--json] [--only WORD] [--rounds N]`.

It starts a server of its own (see `benchmarks.speed.server`), pins it and itself to a CPU each where the system lets
it, and prints ratios to tuned aiohttp, then the small ones: encoding, decoding, the quota's arithmetic, reading input.
The peers come with the dependency group `bench` (`pip install --group bench`). What pacing is worth, and what a journal
costs, is told by `python -m benchmarks.quota`, `benchmarks.journal` and `benchmarks.durable`.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
from datetime import UTC, datetime
from importlib.metadata import version

import msgspec
from msgspec import Struct

from benchmarks.fastpath import Costs, costs
from benchmarks.speed import bare, libraries, ours
from benchmarks.speed.codecs import Codecs, codecs
from benchmarks.speed.race import Line, Variant, pinned, race
from benchmarks.speed.scheduling import Scheduling, scheduling
from benchmarks.speed.server import serving

REFERENCE = "tuned aiohttp"
ON_UVLOOP = ("floor", "tuned aiohttp", "create", "bulk", "batcher")


class Report(Struct, frozen=True, kw_only=True):
    """All that was measured, and where.

    Attributes:
        requests: each variant next to the reference, which is the first.
        codecs, quota, scheduling: microseconds.
    """

    date: str
    machine: str
    versions: dict[str, str]
    concurrency: int
    rounds: int
    requests: list[Line]
    codecs: Codecs
    quota: Costs
    scheduling: Scheduling


def variants(words: list[str]) -> list[Variant]:
    """Those whose name has one of the words, all without; the reference is always the first."""
    all_of_them = {**bare.VARIANTS, **libraries.VARIANTS, **ours.VARIANTS}
    found = [Variant(name=name, run=run) for name, run in all_of_them.items()]
    found += [Variant(name=name, run=all_of_them[name], loop="uvloop") for name in ON_UVLOOP]
    reference = next(one for one in found if one.name == REFERENCE)
    chosen = [one for one in found if not words or any(word in f"{one.name} {one.loop}" for word in words)]
    return [reference, *(one for one in chosen if one is not reference)]


def report(words: list[str], *, rounds: int, concurrency: int, stretch: float, quick: bool) -> Report:
    """Measure."""
    server_cpu, _ = pinned()
    with serving(server_cpu) as url:
        lines = race(url, variants(words), rounds=rounds, concurrency=concurrency, stretch=stretch)
    return Report(
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{platform.machine()}, Python {platform.python_version()}, {platform.system()}",
        versions={name: version(name) for name in ("aiohttp", "msgspec", "uvloop")},
        concurrency=concurrency,
        rounds=rounds,
        requests=lines,
        codecs=codecs(10_000 if quick else 200_000),
        quota=asyncio.run(costs(10_000 if quick else 200_000)),
        scheduling=asyncio.run(scheduling(1_000 if quick else 20_000)),
    )


def show(found: Report) -> None:
    versions = ", ".join(f"{name} {number}" for name, number in found.versions.items())
    print(f"{found.date}, {found.machine}, {versions}; {found.concurrency} at a time, {found.rounds} rounds")
    print(f"{'':28}{'loop':9}{'ratio':>7}{'least':>7}{'most':>7}{'CPU us':>9}{'a second':>10}")
    for line in found.requests:
        print(
            f"{line.name:28}{line.loop:9}{line.ratio:7.2f}{line.least:7.2f}{line.most:7.2f}{line.cpu:9.0f}"
            f"{line.per_second:10,.0f}"
        )
    c, q, s = found.codecs, found.quota, found.scheduling
    print(
        f"\nMicroseconds: an update encoded {c.encode:.2f}, an answer read {c.decipher:.2f}, its echo decoded "
        f"{c.echo:.2f}; the Ledger {q.ledger:.2f}, with the gate {q.call:.2f} in a call and {q.bulk:.2f} in bulk"
    )
    print(
        f"The steps of a request without the network {s.steps:.2f}; order, places, workers and outcomes add "
        f"{s.create:.2f} in create, {s.bulk:.2f} in bulk with its reader"
    )
    print(f"Lines of JSONL read, checked and built: {c.lines:,.0f} a second")


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--quick", action="store_true", help="little work, to see that it runs")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="variants with this in their name")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--concurrency", type=int, default=64)
    options = parser.parse_args(arguments)
    rounds, stretch = (2, 0.1) if options.quick else (options.rounds, 0.6)
    found = report(options.only, rounds=rounds, concurrency=options.concurrency, stretch=stretch, quick=options.quick)
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        show(found)


if __name__ == "__main__":
    main()
