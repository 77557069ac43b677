"""The parts of the page, each from a story to markup; a part without anything to tell is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xmediameta.journal import STATES, TaskRecord
from xmediameta.text import counted

from .charts import Charts, Series, percent
from .markup import Content, Markup, join, tag
from .problem import ProblemGroup, example
from .standing import clock, moment
from .story import FAILED_SHOWN, SETTLED, Story
from .timeline import Intervals, intervals
from .words import lasting

_MOST_BARS: Final = 120
_MOST_ACCOUNTS: Final = 25
_FEW: Final = 5  # rows of which there is nothing to draw


def outcomes(story: Story, charts: Charts) -> Markup | None:
    """Rows by how they ended, in all and by account."""
    if not story.total:
        return None
    shares = [(state, story.counts[state]) for state in _ORDER]
    legend = [
        tag(
            "li", tag("span", class_=f"key {state}"), f"{number:,} {state} ", tag("small", percent(number, story.total))
        )
        for state, number in shares
        if number
    ]
    parts = [charts.shares(shares, title="Rows by outcome"), tag("ul", *legend, class_="legend")]
    if len(story.accounts) > 1:
        parts.append(_accounts(story))
    return section("Outcomes", *parts)


def over_time(story: Story, charts: Charts) -> Markup | None:
    """When rows ended."""
    if not story.bins:
        return None
    begin, end = story.bins.extent
    if (ended := sum(story.counts[state] for state in SETTLED)) < _FEW and not story.waits:
        told = f"{counted(ended, 'row')} ended, the last at {moment(end)}."
        return section("Over time", tag("p", told, class_="note"))
    waited = [at for wait in story.waits for at in (wait.began, wait.ended)]
    shown = intervals(story.bins, len(SETTLED), _MOST_BARS, also=(min(waited, default=begin), max(waited, default=end)))
    columns = list(zip(*shown.counters, strict=True))
    series = [Series(state, columns[SETTLED.index(state)]) for state in SETTLED if any(columns[SETTLED.index(state)])]
    goal = sum(story.counts[state] for state in (*SETTLED, "pending"))
    rising = [sum(found) for found in shown.counters]
    keys = [tag("li", tag("span", class_=f"key {one.name}"), one.name) for one in series]
    return section(
        "Over time",
        tag("p", f"From {moment(begin)} to {moment(end)}, in intervals of {lasting(shown.width)}.", class_="note"),
        tag("h3", f"Rows that ended, per {lasting(shown.width)}"),
        charts.over_time(shown, series, title="Rows that ended, by interval"),
        tag("ul", *keys, class_="legend"),
        tag("h3", "Rows that ended, in all"),
        charts.cumulative(shown, rising, goal, title="Rows that ended, in all", name="ended"),
        *_waiting(story, shown, charts),
    )


def problems(story: Story) -> Markup | None:
    """Problems by kind, with an example each and what can be done."""
    if not story.problems:
        return None
    rows = [
        tag(
            "tr",
            number_cell(group.rows),
            tag("td", tag("b", group.title), _line(_kind(group), "muted")),
            tag(
                "td",
                group.example.text or "(nothing said)",
                _line(f"e.g. {group.example.where()}", "muted"),
                class_="text",
            ),
            tag("td", group.advice or "–", class_="text"),
        )
        for group in story.problems
    ]
    return section(
        "Problems by type",
        table("Problems, the most frequent first", ("#Rows", "Problem", "Example", "What to do"), rows),
    )


def slowest(story: Story) -> Markup | None:
    """The rows that took the longest, or the most requests."""
    if not story.slowest or (story.total < _FEW and not story.retried):
        return None
    timed = any(seconds is not None for _, seconds in story.slowest)
    rows = [
        tag(
            "tr",
            number_cell(row.attempts),
            tag("td", lasting(seconds) if seconds is not None else "–", class_="number") if timed else None,
            *_named(row),
            tag("td", row.state if row.status is None else f"{row.state}, {row.status}"),
        )
        for row, seconds in story.slowest
    ]
    columns = ("#Requests", *(("#Time",) if timed else ()), "Row", "Media id", "Ref", "Outcome")
    told = f"{counted(story.retried, 'row') if story.retried else 'No row'} took more than one request."
    return section("Slowest", tag("p", told, class_="note"), table("The slowest rows", columns, rows))


def failed(story: Story) -> Markup | None:
    """The rows that failed, expired or were invalid."""
    if not story.failed:
        return None
    rows: list[Markup] = []
    for row in story.failed:
        problem = example(row).text or row.error or "–"
        rows.append(
            tag(
                "tr",
                *_named(row),
                tag("td", row.state if row.status is None else f"{row.state}, {row.status}"),
                tag("td", problem, class_="text"),
                number_cell(row.attempts),
                tag("td", row.transaction_id or "–", class_="code"),
                tag("td", clock(row.settled_at).removesuffix(" UTC") if row.settled_at else "–", class_="code"),
            )
        )
    more = story.troubled - len(rows)
    note = (
        tag(
            "p",
            f"The first {FAILED_SHOWN:,} in the order of the input; {more:,} more are not shown here. All of them: ",
            tag("code", f"xmediameta results {_quoted(story.record.name)} --only failed,expired,invalid"),
            class_="note",
        )
        if more
        else None
    )
    columns = ("Row", "Media id", "Ref", "Outcome", "Problem", "#Requests", "Transaction", "Time")
    return section(
        "Rows that were not applied", note, table("Rows that failed, expired or were invalid", columns, rows)
    )


def section(title: str, *content: Content) -> Markup:
    """A part of the page under its heading."""
    return tag("section", tag("h2", title), *content)


def table(caption: str, columns: Sequence[str], rows: Sequence[Markup], *, captioned: bool = False) -> Markup:
    """A table that scrolls by itself where it is wider than the page; columns that begin with # hold numbers.

    Args:
        captioned: whether the caption is seen; where the heading above says the same it is only read aloud.
    """
    heads = [
        tag("th", name.removeprefix("#"), scope="col", class_="number" if name.startswith("#") else None)
        for name in columns
    ]
    drawn = tag(
        "table",
        tag("caption", caption, class_=None if captioned else "unseen"),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *rows),
    )
    return tag("div", drawn, class_="scroll", role="region", aria_label=caption, tabindex=0)


def number_cell(value: int) -> Markup:
    """A number, in line with those above and below it."""
    return tag("td", f"{value:,}", class_="number")


def _waiting(story: Story, shown: Intervals, charts: Charts) -> tuple[Markup, ...]:
    """How many accounts waited, over the same time."""
    if not story.waits:
        return ()
    seconds = [0.0] * len(shown.counters)
    for wait in story.waits:
        first = max(int((wait.began - shown.begin) // shown.width), 0)
        last = min(int((wait.ended - shown.begin) // shown.width), len(seconds) - 1)
        for n in range(first, last + 1):
            begin = shown.begin + n * shown.width
            seconds[n] += max(min(wait.ended, begin + shown.width) - max(wait.began, begin), 0.0)
    series = Series("waiting", [round(sum_ / shown.width, 2) for sum_ in seconds])
    title = "Accounts waiting for a window, on average"
    return tag("h3", title), charts.over_time(shown, [series], title=title, height=110)


def _accounts(story: Story) -> Markup:
    rows: list[Markup] = []
    for account, counts in list(story.accounts.items())[:_MOST_ACCOUNTS]:
        total = sum(counts.values())
        cells = [tag("td", f"{counts[state]:,}" if counts[state] else "–", class_="number") for state in _ORDER]
        rows.append(tag("tr", tag("th", account or "(none named)", scope="row"), number_cell(total), *cells))
    more = len(story.accounts) - len(rows)
    note = tag("p", f"The {len(rows)} accounts with the most rows; {more:,} more.", class_="note") if more else None
    drawn = table(
        "Rows by account", ("Account", "#Rows", *(f"#{state.capitalize()}" for state in _ORDER)), rows, captioned=True
    )
    return join((drawn, note))


def _named(row: TaskRecord) -> tuple[Markup, Markup, Markup]:
    account = None if row.account is None else _line(f"account {row.account}", "muted")
    return (
        tag("td", row.source or f"row {row.seq + 1:,}", account),
        tag("td", row.id or "–", class_="code"),
        tag("td", str(row.ref) if row.ref is not None else "–", class_="ref"),
    )


def _kind(group: ProblemGroup) -> str:
    return group.state if group.error in {None, group.kind} else f"{group.error}, {group.state}"


def _line(text: str | None, kind: str) -> Markup | None:
    return None if not text else tag("span", text, class_=f"line {kind}")


def _quoted(name: str) -> str:
    plain = all(letter.isalnum() or letter in "._-/+" for letter in name)
    return name if plain and name else "'" + name.replace("'", "'\\''") + "'"


_ORDER = tuple(sorted(STATES, key=("applied", "unchanged", "failed", "expired", "invalid", "pending").index))
