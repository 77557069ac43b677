"""Journals made for tests, through the journal's own face."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xmediameta.journal import Drawn, Finished, Incoming, Journal, JournalRun, State
from xmediameta.models import Metadata, Update
from xmediameta.wire import encode

X = "https://api.x.com"
HOSTILE = "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202egnp"
REJECTED = json.dumps(
    {"type": "https://api.x.com/2/problems/invalid-request", "title": "Invalid Request", "detail": "alt_text: no"}
)


def incoming(number: int, *, accounts: Iterable[str | None] = (None,), passed: bool = False) -> Iterator[Incoming]:
    """Rows counted up from 1, their accounts in turn."""
    names = list(accounts)
    for index in range(1, number + 1):
        update = Update(
            str(1146654567674912768 + index),
            Metadata.of(alt_text=f"image {index}"),
            names[index % len(names)],
            f"r{index}",
        )
        yield Incoming(
            update=update,
            body=encode(update),
            source=f"updates.csv:{index + 1}",
            passed={"sku": f"S-{index}"} if passed else None,
        )


def invalid(
    index: int, member: str = "metadata.alt_text.text", rule: str = "1,043 characters, 43 too many"
) -> Incoming:
    """A row that is no update."""
    return Incoming(
        update=Update(str(index), None, None, f"bad{index}"),
        body=None,
        source=f"updates.csv:{index}",
        fault=(member, rule),
    )


def well(task: Drawn) -> Finished:
    """It was applied."""
    return Finished(task=task, state="applied", attempts=1, transaction_id=f"t{task.seq}")


def ill(
    task: Drawn,
    *,
    state: State = "failed",
    status: int | None = 400,
    error: str = "UpdateRejected",
    problem: str | None = REJECTED,
    attempts: int = 1,
) -> Finished:
    """It was refused."""
    return Finished(
        task=task,
        state=state,
        status=status,
        error=error,
        problem=problem,
        attempts=attempts,
        transaction_id="tx-9",
        seconds=0.25,
    )


async def finish(run: JournalRun, how: Callable[[Drawn], Finished | None], most: int = 1_000_000) -> int:
    """Draw and finish up to so many tasks; None from `how` leaves one pending."""
    done = 0
    while done < most and (task := await run.draw(())) is not None:
        finished = how(task)
        if finished is not None:
            run.finish(finished)
        done += 1
    await run.flush()
    return done


async def make(
    path: Path,
    rows: Iterable[Incoming],
    how: Callable[[Drawn], Finished | None] = well,
    *,
    name: str = "updates.csv",
    base_url: str = X,
    most: int = 1_000_000,
    requests: int = 0,
    retries: int = 0,
    stopped: dict[str, Any] | None = None,
) -> None:
    """A run that was begun, worked on and let go."""
    async with await Journal.open(path) as journal:
        run = await journal.start(name, base_url, rows)
        run.count(requests, retries)
        await finish(run, how, most)
        await run.aclose(None if stopped is None else json.dumps(stopped))


def made(*given: Any, **options: Any) -> None:
    """`make`, for tests that run no loop of their own."""
    asyncio.run(make(*given, **options))


# Prints the peak of a process in kilobytes. `ru_maxrss` would do so too, but on Linux it begins with its parent's.
PEAK = "import re; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
