"""One run over media that meet every fault of the sandbox in turn; run as a program, it prints what came of it.

A process of its own, so that its memory is its own as well. Waits are made short where their length is not the point.
"""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xmediameta import Applied, Client, Failed, Metadata, NotSent, RetryPolicy, Update, verdict, windows
from xmediameta.attempts import wait_for_verdict
from xmediameta.sandbox import FAULTS, Sandbox

RUN_STOPS = {"402", "402-credits", "404-empty", "usage-capped", "usage-capped-daily"}
ACCOUNT_STOPS = {"401", "403-client-forbidden", "403-suspended", "403-unsupported-auth"}
LIMITED = {name for name in FAULTS if name.startswith("429")}
# Seconds, where the catalogue's own number would only take time.
NUMBERS = {"late": "0.2", "slow": "0.2"} | dict.fromkeys(("429", "429-legacy-88", "429-lying", "429-milliseconds"), "1")
TIMEOUT = 2.0


def token(name: str | None) -> str:
    return f"canary-of-every-fault-{name}"


def media_id(name: str) -> str:
    return str(1_000 + list(FAULTS).index(name))


def account(name: str) -> str | None:
    """Faults that hold up or stop an account have one of their own."""
    return name if name in ACCOUNT_STOPS | LIMITED else None


def updates(names: list[str]) -> Iterator[Update]:
    for name in names:
        yield Update(media_id(name), Metadata.of(alt_text=f"met by {name}"), account(name), ref=name)
        yield Update(str(int(media_id(name)) + 5_000), Metadata.of(alt_text="met by none"), ref=f"beside {name}")


def _peak_mib() -> float:
    """The most memory that this process has had.

    `ru_maxrss` also counts what the process that started this one had when it forked, so Linux is asked otherwise.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


async def main() -> dict[str, Any]:
    verdict.LONGEST_RETRY_AFTER = 0.2
    windows._BARE_FIRST = 0.1
    names = [name for name in FAULTS if name not in RUN_STOPS]
    auth = {key: token(key) for key in {account(name) for name in names}}
    told: dict[str, dict[str, Any]] = {}
    async with Sandbox(limit=None, app_limit=None) as sandbox:
        for name in names:
            sandbox.script(media_id(name), [f"{name}:{NUMBERS[name]}" if name in NUMBERS else name])
        retry = RetryPolicy(wait=wait_for_verdict(base=0.01, cap=0.05))
        async with Client(auth, base_url=sandbox.url, timeout=TIMEOUT, concurrency=16, limits=None, retry=retry) as one:
            async with one.bulk(updates(names)) as run:
                async for outcome in run:
                    update = outcome.update
                    error = outcome.error if isinstance(outcome, Failed | NotSent) else None
                    told[str(update.ref)] = {
                        "outcome": type(outcome).__name__,
                        "attempts": outcome.attempts if isinstance(outcome, Applied) else getattr(error, "attempts", 0),
                        "error": type(error).__name__ if error is not None else None,
                        "says": f"{error} {error!r}" if error is not None else "",
                        "applied": sandbox.applied.get(update.id),
                        "history": len(sandbox.history(update.id)),
                        "warnings": len(getattr(outcome, "warnings", ())),
                    }
            stats = one.stats
        peak = _peak_mib()
        return {
            "told": told,
            "unmet": sandbox.unmet,
            "met": sandbox.counts.faults,
            "seen": sandbox.counts.requests,
            "requests": run.requests,
            "stats": [stats.requests, stats.applied, stats.in_flight],
            "most_per_id": sandbox.counts.most_per_id,
            "peak_mib": peak,
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))  # noqa: T201
