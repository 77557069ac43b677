"""What pacing is worth: seconds over the lower bound, and requests in vain, next to a client written by hand.

Run it as `python -m benchmarks.quota [--json] [--quick]`. Three parts: a strict fixed-window server in virtual time
(see `benchmarks.virtual` and `benchmarks.bound`); the sandbox on loopback with a short window in real time, against
`benchmarks.handwritten`; and what the quota's arithmetic costs each update (`benchmarks.fastpath`).
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Final

import msgspec
from msgspec import Struct

from benchmarks.fastpath import Costs, costs
from benchmarks.handwritten import HandwrittenClient
from benchmarks.virtual import Result, Scenario, run
from xmediameta import Applied, Client, Metadata, Update
from xmediameta.sandbox import Sandbox

STEADY: Final = (0.2, 0.2)

SCENARIOS: Final = [
    Scenario("one token", (2_000,), latency=STEADY),
    Scenario("four tokens, skewed shares", (100, 500, 1_400, 4_000), latency=STEADY),
    Scenario("sixteen tokens", (2_000,) * 16, latency=STEADY),
    Scenario("an app cap that binds", (13_000,) * 4, app=(50_000, 86_400.0), latency=STEADY),
    Scenario("an outside spender, 18 a minute", (2_000,), outside=(0.3, 1e9), latency=STEADY),
    Scenario("an outside spender, 2 a second", (2_000,), outside=(2.0, 1e9), latency=STEADY),
    Scenario("latency 20 ms to 2 s", (2_000,), skew=600.3, rounding="up"),
    Scenario("5 % 503s, which are counted", (1_900,), faults=0.05),
    Scenario("5 % 503s, which are not", (1_900,), faults=0.05, counts_faults=False),
]
QUICK: Final = [
    Scenario("one token", (1_100,), latency=STEADY),
    Scenario("four tokens, skewed shares", (100, 300, 600, 1_100), latency=STEADY),
    Scenario("an app cap that binds", (600,) * 4, app=(1_000, 3_600.0), latency=STEADY),
    Scenario("latency 20 ms to 2 s", (1_100,), skew=600.3, rounding="up"),
    Scenario("5 % 503s, which are counted", (900,), faults=0.05),
]


class Real(Struct, frozen=True, kw_only=True):
    """One client against the sandbox, in real time.

    Attributes:
        seconds, bound: until all were applied, and `(windows - 1) * window`.
        per_window: seconds over the bound for each window waited for.
    """

    client: str
    updates: int
    limit: int
    window: float
    seconds: float
    bound: float
    per_window: float
    requests: int
    in_vain: int


class Report(Struct, frozen=True, kw_only=True):
    """All that was measured."""

    virtual: list[dict[str, str | float | int]]
    real: list[Real]
    microseconds: Costs


def simulated(scenario: Scenario) -> list[Result]:
    return [run(scenario, "xmediameta"), run(scenario, "by hand")]


async def real(updates: int, limit: int, window: float) -> list[Real]:
    """Both clients on the same work, each against a sandbox of its own."""
    found: list[Real] = []
    metadata = Metadata.of(alt_text="A dancing cat")
    for client in ("xmediameta", "by hand"):
        async with Sandbox(limit=limit, window=window) as sandbox:
            began = time.perf_counter()
            if client == "xmediameta":
                work = (Update(str(10**18 + number), metadata) for number in range(updates))
                async with Client("token", base_url=sandbox.url) as ours, ours.bulk(work) as outcomes:
                    applied = sum([isinstance(outcome, Applied) async for outcome in outcomes])
            else:
                plain = (
                    (None, str(10**18 + number), {"alt_text": {"text": "A dancing cat"}}) for number in range(updates)
                )
                async with HandwrittenClient(sandbox.url, {None: "token"}, limit=limit, window=window) as theirs:
                    applied = await theirs.run(plain)
            seconds = time.perf_counter() - began
            assert applied == updates, f"{client} applied {applied} of {updates}"
            counts = sandbox.counts
        waits = (updates - 1) // limit
        found.append(
            Real(
                client=client,
                updates=updates,
                limit=limit,
                window=window,
                seconds=seconds,
                bound=waits * window,
                per_window=(seconds - waits * window) / max(1, waits),
                requests=counts.requests,
                in_vain=counts.limited,
            )
        )
    return found


def report(*, quick: bool) -> Report:
    """Measure all; `quick` on less work."""
    results = [result for scenario in (QUICK if quick else SCENARIOS) for result in simulated(scenario)]
    return Report(
        virtual=[
            {
                "scenario": result.scenario,
                "client": result.client,
                "seconds": round(result.makespan, 1),
                "bound": round(result.bound, 1),
                "over_bound": round(result.over_bound, 4),
                "requests": result.requests,
                "in_vain": result.refused,
                "most_in_vain_in_a_window": result.most_refused,
                "503s": result.faults,
            }
            for result in results
        ],
        real=asyncio.run(real(120, 50, 2.0) if quick else real(500, 100, 5.0)),
        microseconds=asyncio.run(costs(20_000 if quick else 1_000_000)),
    )


def show(found: Report) -> None:
    print("In virtual time, strict fixed windows of 500 per 900 s, 32 at once")
    print(f"{'':34}{'client':12}{'seconds':>10}{'over bound':>12}{'requests':>10}{'in vain':>9}{'503s':>6}")
    for row in found.virtual:
        print(
            f"{row['scenario']:34}{row['client']:12}{row['seconds']:10,.1f}{row['over_bound']:12.4f}"
            f"{row['requests']:10,}{row['in_vain']:9,}{row['503s']:6,}"
        )
    one = found.real[0]
    print(f"\nIn real time against the sandbox: {one.updates} updates, {one.limit} per {one.window:g} s")
    print(f"{'':34}{'client':12}{'seconds':>10}{'over, each':>12}{'requests':>10}{'in vain':>9}")
    for real_row in found.real:
        print(
            f"{'one token':34}{real_row.client:12}{real_row.seconds:10.1f}{real_row.per_window:12.2f}"
            f"{real_row.requests:10,}{real_row.in_vain:9,}"
        )
    cost = found.microseconds
    print(
        f"\nMicroseconds of CPU per update above a bare await ({cost.bare:.2f}): Ledger {cost.ledger:.2f}; with the "
        f"gate {cost.call:.2f} in a call, {cost.bulk:.2f} in bulk, {cost.smoothed:.2f} in bulk with smoothing, above "
        f"aiolimiter's own {cost.limiter:.2f}; with the account found by its name {cost.one:.2f}, of ten thousand "
        f"in turn {cost.crowd:.2f}"
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quota", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--quick", action="store_true", help="less work, for a test")
    options = parser.parse_args(arguments)
    found = report(quick=options.quick)
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        show(found)


if __name__ == "__main__":
    main()
