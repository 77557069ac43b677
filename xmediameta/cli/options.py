"""The options that several commands share, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

import click
from msgspec import Struct

from xmediameta.applying.order import PRICE, PRICE_DATE, Order
from xmediameta.readers import KINDS

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # not generic in older versions of click
    _ParamType = click.ParamType

Command = TypeVar("Command", bound=Callable[..., Any])

ASK_ABOVE: Final = 10.0
X_API: Final = "https://api.x.com"
_UNITS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Connection(Struct, frozen=True, kw_only=True):
    """Where requests go, and as whom."""

    sandbox: bool
    base_url: str
    token_file: str | None
    account: tuple[tuple[str, str], ...] = ()
    strict: bool


class ApplyOptions(Connection, frozen=True, kw_only=True):
    """What `apply` and `plan` were asked to do.

    Attributes:
        order: what the run is asked to do, whoever asks.
    """

    order: Order
    results: str | None
    rejects: str | None
    as_json: bool
    yes: bool
    ask_above: float
    dry_run: bool


class Duration(_ParamType):
    """Seconds, or a number with ms, s, m, h or d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d|)", str(value).strip().lower(), re.ASCII)
        if match is None:
            self.fail(f"{value!r} is not a duration; write it as 90, 90s, 15m or 2h", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


class Outage(_ParamType):
    """A fault of the sandbox, and from when to when: `[FAULT=]START-END`."""

    name = "outage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float, float]:
        """The fault, and both times in seconds."""
        fault, _, span = str(value).rpartition("=")
        start, dash, end = span.partition("-")
        if not dash:
            self.fail(f"{value!r} is not an outage; write it as 60-90 or refused=1m-2m", param, ctx)
        moment = Duration()
        return fault or "503", moment.convert(start, param, ctx), moment.convert(end, param, ctx)


class Pace(_ParamType):
    """`burst`, `even`, `none`, or starts a second."""

    name = "pace"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Literal["burst", "even"] | float | None:
        """What `Client` takes as its pace."""
        text = str(value).strip().lower()
        named: dict[str, Literal["burst", "even"] | None] = {"burst": "burst", "even": "even", "none": None}
        if text in named:
            return named[text]
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text, re.ASCII) or not float(text):
            self.fail(f"{value!r} is not burst, even, none, or a number of starts a second", param, ctx)
        return float(text)


class Pair(_ParamType):
    """Two texts around an equals sign.

    Args:
        shape: how it is written, for messages.
        last: split at the last equals sign, and not at the first.
    """

    def __init__(self, shape: str, *, last: bool = False) -> None:
        self.name = self.shape = shape
        self._last = last

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - of the protocol
        """How it is shown in the help."""
        return self.shape

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Both texts. What was given is not echoed: it could be a token."""
        if isinstance(value, tuple):  # click converts defaults once more
            return cast("tuple[str, str]", value)
        text = str(value)
        left, equals, right = text.rpartition("=") if self._last else text.partition("=")
        if not equals or not left.strip() or not right.strip():
            self.fail(f"must be written as {self.shape}", param, ctx)
        return left.strip(), right.strip()


def _with(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """A decorator that adds options to a command, shown in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


connection = _with(  # Where requests go, and as whom.
    click.option("--sandbox", is_flag=True, help="Send to a sandbox on this machine: nothing is sent to X."),
    click.option(
        "--base-url", metavar="URL", envvar="XMEDIAMETA_BASE_URL", default=X_API, show_default=True,
        help="Where X is; or XMEDIAMETA_BASE_URL.",
    ),
    click.option(
        "--token-file", metavar="PATH",
        help="Read the token from the first line of a file, and not from XMEDIAMETA_TOKEN.",
    ),
    click.option("--no-strict", is_flag=True, help="Send updates that break a rule which joins members."),
)  # fmt: skip

reading = _with(  # How files are read.
    click.option(
        "--format", "kind", type=click.Choice(KINDS),
        help="What the files are, where their names do not tell; standard input is JSONL without it.",
    ),
    click.option("--sheet", metavar="NAME", help="The sheet of a workbook, where several hold something."),
    click.option("--pass", "passed", metavar="COL", multiple=True, help="Keep a column beside its row."),
    click.option(
        "--map", "renames", type=Pair('"HEADER=name"', last=True), multiple=True,
        help="Say which column of the contract a header stands for.",
    ),
)  # fmt: skip

telling = _with(  # What is told, and how.
    click.option("-v", "--verbose", count=True, help="Show what the client logs; twice, all of it."),
    click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
    click.option(
        "--log-format", type=click.Choice(("text", "json")), default="text", show_default=True,
        help="Text for people, or one JSON object per line.",
    ),
)  # fmt: skip

sending = _with(  # What `apply` may do, and how far it may go.
    click.option("--results", metavar="PATH",
        help="Write one line per row: JSONL, or CSV by suffix; - is standard output."),
    click.option("--json", "as_json", is_flag=True,
        help="Print one JSON object as the last line of standard output."),
    click.option("--dry-run", is_flag=True,
        help="Send nothing: say what would be sent, what that costs, how long it takes."),
    click.option("-y", "--yes", is_flag=True, help="Do not ask, whatever it costs."),
    click.option("--price", type=click.FloatRange(min=0), default=PRICE, show_default=True,
        help=f"USD a request; the default is X's price of {PRICE_DATE}."),
    click.option("--ask-above", type=click.FloatRange(min=0), default=ASK_ABOVE, show_default=True,
        envvar="XMEDIAMETA_ASK_ABOVE", help="Ask when it costs more USD."),
    click.option("--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Stop before it has cost more."),
    click.option("--max-requests", type=click.IntRange(min=1), metavar="N", help="Stop after so many requests."),
    click.option("--max-wait", type=Duration(), help="Stop rather than wait longer for a window."),
    click.option("--max-duration", type=Duration(), help="Stop after so long."),
    click.option("--skip-invalid", is_flag=True,
        help="Send the valid rows, and write the others to NAME.rejects.jsonl."),
    click.option("--max-invalid", type=click.IntRange(min=0), metavar="N",
        help="Send nothing if more rows are invalid."),
    click.option("--rejects", metavar="PATH", help="Write all invalid rows to one file."),
    click.option("--coalesce", type=click.Choice(("last", "merge")),
        help="Of different pending updates for one media id, send only the last, or all merged into one."),
    click.option("--concurrency", type=click.IntRange(1, 1_000), default=32, show_default=True,
        help="Requests in flight."),
    click.option("--pace", type=Pace(), default="burst", show_default=True,
        help="burst, even (spread over the window), none, or starts a second."),
    click.option("--journal", metavar="PATH|none", envvar="XMEDIAMETA_JOURNAL",
        help="Where the run is kept, so that it can go on; by default the person's own journal."),
    click.option("--run", "run_name", metavar="NAME", help="What the run is called; by default after its files."),
    click.option("--retry-failed", is_flag=True, help="Send again what failed before."),
    click.option("--force", is_flag=True, help="Send what is unchanged too."),
)  # fmt: skip


def as_renames(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The pairs of `--map` as a mapping.

    Raises:
        click.UsageError: a header given twice.
    """
    renames: dict[str, str] = {}
    for header, name in pairs:
        if header in renames:
            raise click.UsageError(f"--map gives the header {header!r} twice")
        renames[header] = name
    return renames
