"""How a run stands: the numbers that `status` shows, as one object for machines and as lines for people."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from xmediameta import memory
from xmediameta.applying.summary import SCHEMA_VERSION
from xmediameta.journal import Journal, RunRecord, State, time_text
from xmediameta.reckon import estimate
from xmediameta.report import TROUBLED, Problems, Standing, clock, read_events, read_stopped, standing
from xmediameta.report.problem import ProblemGroup
from xmediameta.report.quota import Wait
from xmediameta.text import counted, printable

from .say import lasting, money
from .stored import local, under_way

_ACCOUNTS_SHOWN: Final = 20
# In the order in which the summary of `apply` has them.
_ORDER: Final[tuple[State, ...]] = ("applied", "unchanged", "failed", "expired", "pending", "invalid")
_STYLES: Final[Mapping[str, str]] = {
    "working": "cyan",
    "complete": "green",
    "stopped": "yellow",
    "cut-off": "red",
    "unfinished": "yellow",
}


class Overview(Struct, frozen=True, kw_only=True):
    """How a run stands.

    Attributes:
        accounts: rows by account and state.
        needed: requests that pending rows need, by account.
        price: USD a request; 0 where nothing is sent to X.
        local: whether it goes to a server on this machine, whose limits are its own.
        by_limits: seconds that the rest takes at X's documented limits; None where these do not hold.
        looked_at: when that was reckoned (Unix seconds).
        waits: of accounts that wait for a window now.
        rate: rows that end in a second, as seen while it was watched, or None.
    """

    journal: str
    record: RunRecord
    running: bool
    accounts: Mapping[str, Mapping[State, int]]
    needed: Mapping[str | None, int]
    problems: tuple[ProblemGroup, ...]
    price: float
    local: bool
    by_limits: float | None = None
    looked_at: float = 0.0
    waits: tuple[Wait, ...] = ()
    rate: float | None = None

    @property
    def counts(self) -> dict[State, int]:
        """Rows by state."""
        return {state: sum(counts[state] for counts in self.accounts.values()) for state in _ORDER}

    @property
    def total(self) -> int:
        """Rows of the input."""
        return sum(self.counts.values())

    @property
    def settled(self) -> int:
        """Rows that are not pending."""
        return self.total - self.counts["pending"]

    @property
    def cost(self) -> float:
        """USD, at most."""
        return round(self.record.requests * self.price, 6)

    @property
    def stands(self) -> Standing:
        """In words."""
        return standing(self.record, running=self.running, pending=self.counts["pending"])

    @property
    def seconds_left(self) -> float | None:
        """As far as it can be told: at the documented limits, or at the rate that was seen; else None."""
        pending = self.counts["pending"]
        if not pending:
            return 0.0
        if self.by_limits is not None:
            return self.by_limits
        return pending / self.rate if self.rate and self.running else None

    def as_json(self) -> dict[str, Any]:
        """The object that `status --json` prints; its names are those of the summary of `apply`."""
        record, stopped = self.record, read_stopped(self.record.stopped)
        left = self.seconds_left
        return {
            "schema_version": SCHEMA_VERSION,
            "run": record.name,
            "base_url": record.base_url,
            "state": self.stands.kind,
            "total": self.total,
            **{str(state): rows for state, rows in self.counts.items()},
            "requests": record.requests,
            "retries": record.retries,
            "cost_usd": self.cost,
            "seconds_left": None if left is None else round(left, 1),
            "waiting": [
                {"account": wait.account or None, "window": wait.window, "until": time_text(wait.ended)}
                for wait in self.waits
            ],
            "by_account": self.accounts,
            "problems": [_problem(group) for group in self.problems],
            "working": {"pid": record.pid, "host": record.host, "since": record.started_at} if self.running else None,
            "created_at": record.created_at,
            "started_at": record.started_at,
            "ended_at": record.ended_at,
            "stopped": stopped,
            "journal": self.journal,
        }


async def overview(journal: Journal, record: RunRecord, price: float, known: Overview | None = None) -> Overview:
    """Look at a run.

    Args:
        price: USD a request to X.
        known: what was seen before; its problems are kept while no row was added to them.
    """
    running, now = under_way(journal, record), time.time()
    accounts: dict[str, dict[State, int]] = {}
    needed: dict[str | None, int] = {}
    for found in await journal.counts(record):
        accounts.setdefault(found.account, dict.fromkeys(_ORDER, 0))[found.state] += found.rows
        if found.requests_needed:
            name = found.account or None
            needed[name] = needed.get(name, 0) + found.requests_needed
    seen = Overview(
        journal=str(journal.path),
        record=record,
        running=running,
        accounts=accounts,
        needed=needed,
        problems=(),
        local=local(record),
        price=0.0 if local(record) else price,
    )
    waits = read_events(await journal.events(record)).waits if running else ()
    return msgspec.structs.replace(
        seen,
        problems=await _problems(journal, seen, known),
        by_limits=await _by_limits(journal, seen, known, now),
        looked_at=now,
        waits=tuple(wait for wait in waits if wait.ended > now),
    )


def told(seen: Overview, *, most_problems: int, bar: bool = False) -> RenderableType:
    """For people. What a file or a server said is escaped already, and nothing is taken for rich's markup.

    Args:
        most_problems: kinds that are shown.
        bar: whether to draw how far it is.
    """
    stands = seen.stands
    lines: list[RenderableType] = [
        _heading(seen.record),
        Text(stands.text, _STYLES[stands.kind]),
    ]
    if stands.action:
        lines.append(Text(stands.action))
    lines.append(Text(""))
    if bar:
        grid = Table.grid()  # which ends the line; a bar alone does not
        grid.add_row(ProgressBar(total=max(seen.total, 1), completed=seen.settled, width=60))
        lines.append(grid)
    lines += [_rows(seen), Text(_spent(seen))]
    lines += [Text(said) for said in (_waiting(seen), _left(seen)) if said is not None]
    if len(seen.accounts) > 1:
        lines += [Text(""), _accounts(seen)]
    for group in seen.problems[:most_problems]:
        lines += [Text(""), *_group(group)]
    if (more := len(seen.problems) - most_problems) > 0:
        lines += [Text(""), Text(f"and {counted(more, 'more kind')} of problem")]
    return Group(*lines)


def in_short(seen: Overview) -> str:
    """One line: `3,000 of 10,000 done, 2 failed, 15.01 USD at most; about 1:00:00 left`."""
    bad = "".join(f", {seen.counts[state]:,} {state}" for state in TROUBLED if seen.counts[state])
    cost = "" if seen.local else f", {money(seen.cost)} at most"
    left = "; ".join(said for said in (_waiting(seen), _left(seen)) if said is not None)
    return f"{seen.settled:,} of {seen.total:,} done{bad}{cost}" + (f"; {left}" if left else "")


def place_of(record: RunRecord) -> str:
    """Where a run sends to, or nothing where its name says that already, as that of `apply` does."""
    name, place = record.name, record.base_url
    named = name.rstrip("/").endswith(f" to {place}") or (place == "sandbox" and name.endswith(" in a sandbox"))
    return "" if named else printable(place, 300)


def _heading(record: RunRecord) -> Text:
    place = place_of(record)
    return Text.assemble((printable(record.name, 300), "bold"), f" to {place}" if place else "")


def _rows(seen: Overview) -> Text:
    text = Text(f"{counted(seen.total, 'row')}: ")
    named = [(f"{seen.counts[state]:,} {state}", state) for state in _ORDER if seen.counts[state]]
    for index, (part, state) in enumerate(named):
        text.append(", " if index else "")
        text.append(part, "red" if state in TROUBLED else "")
    return text if named else Text("0 rows")


def _spent(seen: Overview) -> str:
    retries = f" ({counted(seen.record.retries, 'retry').replace('retrys', 'retries')})" if seen.record.retries else ""
    cost = "nothing was sent to X" if seen.local else f"{money(seen.cost)} at most"
    return f"{counted(seen.record.requests, 'request')}{retries}, {cost}"


def _left(seen: Overview) -> str | None:
    pending = seen.counts["pending"]
    if not pending:
        return None
    left = seen.seconds_left
    if left is None:
        return "time left unknown" if seen.running and not seen.waits else None
    goes = "left" if seen.running else "left once it goes on"
    basis = "as fast as now" if seen.by_limits is None else "at X's documented limits"
    return f"about {lasting(left)} {goes}, {basis}"


def _waiting(seen: Overview) -> str | None:
    if not seen.waits:
        return None
    waiting = {wait.account for wait in seen.waits}
    first = clock(time_text(min(wait.ended for wait in seen.waits)))
    if len(waiting) == 1:
        account = next(iter(waiting))
        who = f"{printable(account, 100)} waits" if account else "waiting"
        return f"{who} for the rate limit until {first}"
    return f"{counted(len(waiting), 'account')} wait for the rate limit, the first until {first}"


def _accounts(seen: Overview) -> Table:
    states: list[State] = [state for state in _ORDER if seen.counts[state]]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("account", overflow="ellipsis", max_width=40)
    for heading in ("rows", *states):
        table.add_column(heading, justify="right", no_wrap=True)
    ordered = sorted(seen.accounts.items(), key=lambda item: -sum(item[1].values()))
    for account, counts in ordered[:_ACCOUNTS_SHOWN]:
        numbers = [sum(counts.values()), *(counts[state] for state in states)]
        name = Text(printable(account, 100) if account else "(none named)")
        table.add_row(name, *(f"{number:,}" for number in numbers))
    if (more := len(ordered) - _ACCOUNTS_SHOWN) > 0:
        table.add_row(f"and {more:,} more", *("" for _ in ("rows", *states)))
    return table


def _group(group: ProblemGroup) -> list[Text]:
    kind = f" ({group.error})" if group.error and group.error != group.kind else ""
    lines = [Text.assemble((f"{group.rows:,} {group.state}: {group.title}", "red"), printable(kind, 200))]
    said = f": {group.example.text}" if group.example.text else ""
    lines.append(Text(f"  e.g. {group.example.where()}{said}"))
    if group.advice:
        lines.append(Text(f"  {group.advice}", "dim"))
    return lines


def _problem(group: ProblemGroup) -> dict[str, Any]:
    return {
        "problem": group.kind,
        "state": group.state,
        "status": group.status,
        "error": group.error,
        "rows": group.rows,
        "example": group.example,
        "action": group.advice,
    }


async def _by_limits(journal: Journal, seen: Overview, known: Overview | None, now: float) -> float | None:
    if seen.local:
        return None
    if known is not None and known.needed == seen.needed and known.running and known.by_limits is not None:
        return max(0.0, known.by_limits - (now - known.looked_at))
    kept = await journal.quota(seen.record)
    windows = {name: memory.kept_of(kept, name) for name in seen.needed}
    return estimate(seen.needed, kept=windows, wall=now).seconds


async def _problems(journal: Journal, seen: Overview, known: Overview | None) -> tuple[ProblemGroup, ...]:
    counts = seen.counts
    if (
        known is not None
        and known.record.load == seen.record.load
        and known.record.started_at == seen.record.started_at
    ):
        before = known.counts
        if all(before[state] == counts[state] for state in TROUBLED):
            return known.problems
    if not any(counts[state] for state in TROUBLED):
        return ()
    problems = Problems()
    async for row in await journal.results(seen.record, TROUBLED):
        problems.add(row)
    return tuple(problems.groups())


def since(text: str | None) -> str:
    """A time of the journal for people, or a dash."""
    return clock(text) if text else "–"
