"""Variants against each other: in turns, in one process, each round a ratio to the first of them.

Machines are noisy, so a figure alone says little. What is told is the ratio to tuned aiohttp in the same round, the
median of all rounds with the least and the most, and the CPU time of the client's process for each request.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Final

from msgspec import Struct

from .work import Job

STRETCH: Final = 0.6  # seconds that one variant runs in one round
_FEW: Final = 200


class Variant(Struct, frozen=True, kw_only=True):
    """What runs, and on which event loop."""

    name: str
    run: Callable[[Job], Awaitable[None]]
    loop: str = "asyncio"


class Line(Struct, frozen=True, kw_only=True):
    """What was measured of a variant.

    Attributes:
        ratio, least, most: requests a second over those of the reference in the same round: the median, and its range.
        cpu: microseconds of CPU time of the client's process for each request, the median.
        per_second: requests a second, the median.
    """

    name: str
    loop: str
    ratio: float
    least: float
    most: float
    cpu: float
    per_second: float


def race(url: str, variants: list[Variant], *, rounds: int, concurrency: int, stretch: float = STRETCH) -> list[Line]:
    """Run all of them in turns; the first is the reference."""
    sizes = [_size(url, variant, concurrency, stretch) for variant in variants]
    speeds: list[list[float]] = [[] for _ in variants]
    costs: list[list[float]] = [[] for _ in variants]
    for number in range(rounds):
        # Another order each time: what comes after a heavy one must not always be the same.
        order = list(range(len(variants)))
        order = order[number % len(order) :] + order[: number % len(order)]
        for index in order:
            seconds, cpu = _timed(variants[index], Job(url, sizes[index], concurrency))
            speeds[index].append(sizes[index] / seconds)
            costs[index].append(cpu / sizes[index] * 1e6)
    lines: list[Line] = []
    for index, variant in enumerate(variants):
        ratios = [own / reference for own, reference in zip(speeds[index], speeds[0], strict=True)]
        lines.append(
            Line(
                name=variant.name,
                loop=variant.loop,
                ratio=median(ratios),
                least=min(ratios),
                most=max(ratios),
                cpu=median(costs[index]),
                per_second=median(speeds[index]),
            )
        )
    return lines


def pinned() -> tuple[int | None, int | None]:
    """A CPU for the server and one for the client, where the system lets them be had."""
    if not hasattr(os, "sched_setaffinity"):
        return None, None
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return None, None
    os.sched_setaffinity(0, {cpus[-1]})
    return cpus[0], cpus[-1]


def _size(url: str, variant: Variant, concurrency: int, stretch: float) -> int:
    """How many requests take about one stretch; warms up as well."""
    _timed(variant, Job(url, _FEW, concurrency))
    seconds, _ = _timed(variant, Job(url, _FEW * 2, concurrency))
    return max(_FEW, int(_FEW * 2 * stretch / seconds))


def _timed(variant: Variant, job: Job) -> tuple[float, float]:
    factory = None
    if variant.loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    gc.collect()
    with asyncio.Runner(loop_factory=factory) as runner:
        began, cpu = time.perf_counter(), time.process_time()
        runner.run(_whole(variant, job))
        return time.perf_counter() - began, time.process_time() - cpu


async def _whole(variant: Variant, job: Job) -> None:
    await variant.run(job)
