"""What the command tells people, on standard error: plain text, or one JSON object per line for log collectors.

All text passes through `printable`, and rich's markup is off: what a file or a server says cannot drive a terminal.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
from rich.console import Console
from rich.text import Text

from xmediameta.text import printable

LogFormat = Literal["text", "json"]

_STYLES: Final = {"error": "red", "warning": "yellow"}
# What the library's log records carry beside their message.
_EXTRAS: Final = ("account", "media_id", "ref", "attempt", "seconds", "x_transaction_id")
_LONGEST: Final = 4_000
_AS_DAYS: Final = 48  # hours


class Reporter:
    """Says things on standard error.

    Args:
        quiet: say nothing but errors.
        verbose: 1 shows the library's INFO records, 2 its DEBUG records.
        log_format: `"text"` for people, `"json"` for machines.
    """

    def __init__(self, *, quiet: bool = False, verbose: int = 0, log_format: LogFormat = "text") -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.json = log_format == "json"
        self.console = Console(stderr=True, markup=False, highlight=False, emoji=False)

    @property
    def on_terminal(self) -> bool:
        """Whether a person may be watching: standard error is a terminal that can redraw its lines."""
        return sys.stderr.isatty() and not self.json and not self.console.is_dumb_terminal

    def info(self, text: str, **fields: object) -> None:
        """Say something that is as it should be."""
        if not self.quiet:
            self._say("info", text, fields)

    def warn(self, text: str, **fields: object) -> None:
        """Say something that somebody may want to act on."""
        if not self.quiet:
            self._say("warning", text, fields)

    def error(self, text: str, **fields: object) -> None:
        """Say what went wrong, quiet or not."""
        self._say("error", text, fields)

    @contextmanager
    def log_records(self) -> Generator[None]:
        """Show the library's own log records as well, as far as verbosity asks for them."""
        logger = logging.getLogger("xmediameta")
        handler = _Handler(self)
        before = logger.level, logger.propagate
        # Without -v the command tells stops and waits in its own words; a log collector wants the records too.
        logger.setLevel((logging.WARNING if self.json else logging.ERROR, logging.INFO, logging.DEBUG)[self.verbose])
        logger.propagate = False
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.level, logger.propagate = before

    def record(self, record: logging.LogRecord) -> None:
        """Show one log record."""
        extras = {name: value for name in _EXTRAS if (value := getattr(record, name, None)) is not None}
        text = record.getMessage()
        if not self.json:
            at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
            shown = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in extras.items()}
            noted = ", ".join(f"{name} {value}" for name, value in shown.items())
            text = f"{at} {record.levelname.lower()}: {text}" + (f" [{noted}]" if noted else "")
        self._say(record.levelname.lower(), text, extras, logger=record.name)

    def _say(self, level: str, text: str, fields: dict[str, object], logger: str = "xmediameta.cli") -> None:
        text = printable(text, _LONGEST)
        if self.json:
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = {"time": time, "level": level, "logger": logger, "message": text, **fields}
            sys.stderr.write(msgspec.json.encode(line, enc_hook=str).decode() + "\n")
            sys.stderr.flush()
        else:
            # Words are kept whole where a person reads, and lines where a program does.
            whole = not self.console.is_terminal
            self.console.print(Text(text, style=_STYLES.get(level, "")), soft_wrap=whole)


class _Handler(logging.Handler):
    """Hands the library's records to a reporter."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.record(record)


def per_second(rate: float) -> str:
    """`1,204/s`, `0.6/s`."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def money(usd: float) -> str:
    """`24.00 USD`; small sums keep the digits that tell them from nothing."""
    return f"{usd:,.2f} USD" if usd >= 1 or usd == 0 else f"{usd:.4g} USD"


def lasting(seconds: float) -> str:
    """`0.4 s`, `48 s`, `6:12` (minutes), `1:06:12` (hours), `20 days 20 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= _AS_DAYS:
        days, hours = divmod(hours + (minutes >= 30), 24)
        return f"{days:,} days {hours} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
