"""How far a run is: two live lines on a terminal, and plain lines now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from xmediameta.applying.course import Course
from xmediameta.bulk import BulkRun
from xmediameta.client import Client

from .eta import Window, time_left
from .say import Reporter, lasting, money, per_second

_EVERY: Final = 30.0
_EVERY_WAITING: Final = 300.0
_SAME_WAIT: Final = 1.5  # seconds by which two estimates of one reset may differ
_RATE_OVER: Final = 10.0


class View(Protocol):
    """Shows a run while it goes on."""

    interval: float

    def refresh(self) -> None:
        """Show how things stand."""
        ...

    def close(self) -> None:
        """Show nothing more."""
        ...


class Status:
    """A run as it stands, read by the views.

    Args:
        accounts: updates by account, of the whole run.
        lengths: seconds by name of window, where they are known; others are measured.
    """

    def __init__(
        self,
        run: BulkRun,
        client: Client,
        course: Course,
        accounts: Mapping[str | None, int],
        lengths: Mapping[str, float],
    ) -> None:
        self._run = run
        self._client = client
        self._course = course
        self._accounts = accounts
        self.total = sum(accounts.values())
        self._lengths = dict(lengths)
        self._resets: dict[tuple[str | None, str], datetime] = {}
        self._marks: list[tuple[float, int]] = []
        self._started = time.monotonic()

    @property
    def done(self) -> int:
        """Rows that were settled in this sitting."""
        return self._course.counts.done - self._course.before

    @property
    def failed(self) -> int:
        """Rows that failed or expired."""
        return self._course.counts.failed + self._course.counts.expired

    @property
    def cost(self) -> float | None:
        """In USD so far, at most; None where nothing is sent to X."""
        price = self._course.unit_price
        return self._run.requests * price if price else None

    @property
    def waiting_until(self) -> datetime | None:
        """When the first account goes on, in local time, where all of them wait."""
        at = self._run.waiting_until
        return at.astimezone() if at is not None else None

    @property
    def rate(self) -> float:
        """Rows a second, over the last ten seconds."""
        now = time.monotonic()
        self._marks.append((now, self.done))
        while len(self._marks) > 2 and self._marks[1][0] < now - _RATE_OVER:
            del self._marks[0]
        then, done = self._marks[0]
        return (self.done - done) / (now - then) if now > then else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until the end, as far as the windows let it be known."""
        elapsed = time.monotonic() - self._started
        if elapsed < 1 or not self.done:
            return None
        counts = self._course.by_account
        left = {
            account: rows - (counts[account].done if account in counts else 0)
            for account, rows in self._accounts.items()
        }
        return time_left(left, self._windows(), self.done / elapsed, self._lengths)

    def _windows(self) -> list[Window]:
        now = datetime.now().astimezone()
        windows: list[Window] = []
        for quota in self._client.quota:
            opens_in = None
            if quota.reset_at is not None:
                opens_in = max(0.0, (quota.reset_at - now).total_seconds())
                key = (quota.account, quota.window)
                before = self._resets.setdefault(key, quota.reset_at)
                length = (quota.reset_at - before).total_seconds()
                if length > _SAME_WAIT:
                    self._resets[key] = quota.reset_at
                    self._lengths.setdefault(quota.window, length)
            windows.append(Window(quota.account, quota.window, quota.limit, quota.remaining, opens_in))
        return windows


class Bar:
    """Two lines that are redrawn: the bar, and what goes on."""

    interval = 0.2

    def __init__(self, status: Status, reporter: Reporter) -> None:
        self._status = status
        self._left: float | None = None
        self._left_at = 0.0
        self._live = Live(console=reporter.console, auto_refresh=False, transient=True)
        self._live.start()
        self.refresh()

    def refresh(self) -> None:
        """Redraw."""
        status = self._status
        now = time.monotonic()
        if now - self._left_at >= 1.0:
            self._left, self._left_at = status.left, now
        done, total = status.done, status.total
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        share = f"{100 * done // total} %" if total else ""
        bar.add_row(ProgressBar(total=max(total, 1), completed=done), Text(f"{done:,} of {total:,}  {share}"))
        line = self._line()
        # Room on the right for the ^C that a terminal echoes: a line that it breaks would not be taken away.
        line.truncate(max(self._live.console.width - 4, 1), overflow="ellipsis")
        self._live.update(Group(bar, line), refresh=True)

    def close(self) -> None:
        """Take the lines away, and give the cursor back."""
        self._live.stop()

    def _line(self) -> Text:
        status = self._status
        line = Text(no_wrap=True, overflow="ellipsis")
        parts: list[tuple[str, str]] = []
        if status.failed:
            parts.append((f"{status.failed:,} failed", "red"))
        if (until := status.waiting_until) is not None:
            parts.append((f"waiting until {until:%H:%M:%S}", "yellow"))
        parts.append((per_second(status.rate), ""))
        if self._left is not None:
            parts.append((f"about {lasting(self._left)} left", ""))
        if (cost := status.cost) is not None:
            parts.append((money(cost), ""))
        for index, (text, style) in enumerate(parts):
            line.append("  ·  " if index else "", style="dim")
            line.append(text, style=style)
        return line


class Lines:
    """A plain line at each wait, every half minute of work, and every five minutes of waiting."""

    interval = 0.5

    def __init__(self, status: Status, reporter: Reporter) -> None:
        self._status = status
        self._reporter = reporter
        self._told = time.monotonic()
        self._until: datetime | None = None

    def refresh(self) -> None:
        """Say something, if it is time to."""
        status = self._status
        until = status.waiting_until
        rate = status.rate
        if until is not None and (self._until is None or abs((until - self._until).total_seconds()) > _SAME_WAIT):
            self._until = until
            self._say(f"waiting until {until:%H:%M:%S} for the rate limit", until=until.isoformat(timespec="seconds"))
        elif time.monotonic() - self._told >= (_EVERY if until is None else _EVERY_WAITING):
            left = status.left
            self._say(per_second(rate) + (f", about {lasting(left)} left" if left is not None else ""))

    def close(self) -> None:
        """There is nothing to take away."""

    def _say(self, text: str, **fields: object) -> None:
        status = self._status
        self._told = time.monotonic()
        failed = f", {status.failed:,} failed" if status.failed else ""
        cost = f", {money(status.cost)}" if status.cost is not None else ""
        self._reporter.info(
            f"{status.done:,} of {status.total:,} done{failed}{cost}; {text}",
            done=status.done, total=status.total, failed=status.failed, **fields,
        )  # fmt: skip
