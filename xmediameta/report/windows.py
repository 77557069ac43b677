"""The parts of the page about rate limits: what was sent in each window, and how long was waited for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from xmediameta.text import counted

from .charts import Charts, Series, percent
from .markup import Content, Markup, tag
from .quota import WindowUse
from .sections import number_cell, section, table
from .standing import moment_short
from .story import Story
from .words import lasting

_MOST_CHARTS: Final = 6
_MOST_BARS: Final = 160
_MOST_ROWS: Final = 50
_MOST_WAITS: Final = 20
_WORTH: Final = 0.05  # of the limit: a single window that is emptier makes no chart

_NAMES: Final = {
    "user-15min": "per 15 minutes", "user-24hour": "per user and 24 hours", "app-24hour": "per app and 24 hours",
}  # fmt: skip


def windows(story: Story, charts: Charts) -> Markup | None:
    """Requests in each window, against its limit."""
    groups: dict[tuple[str, str], list[WindowUse]] = defaultdict(list)
    for use in story.windows:
        groups[use.account, use.name].append(use)
    # The shortest windows first, which are those that are waited for.
    ordered = sorted(groups.items(), key=lambda item: (item[0][1] != "user-15min", -sum(use.sent for use in item[1])))
    if not ordered:
        return None
    parts: list[Content] = [_provenance(story)]
    others = 0
    for (account, name), uses in ordered[:_MOST_CHARTS]:
        if len(uses) > 1 or uses[0].sent + uses[0].others >= _WORTH * (uses[0].limit or 0):
            parts += [tag("h3", _title(account, name)), _chart(uses, charts, _title(account, name))]
            others += sum(use.others for use in uses)
    if others:
        keys = [tag("li", tag("span", class_=f"key {kind}"), kind) for kind in ("sent", "others")]
        parts.append(tag("ul", *keys, class_="legend"))
    parts.append(_table([(account, name, uses) for (account, name), uses in ordered[:_MOST_ROWS]]))
    if (more := len(ordered) - _MOST_ROWS) > 0:
        parts.append(tag("p", f"The {_MOST_ROWS} with the most requests; {more:,} more are not shown.", class_="note"))
    return section("Requests per window", *parts)


def waits(story: Story) -> Markup | None:
    """How long was waited."""
    if story.waits:
        groups: dict[tuple[str, str], list[float]] = defaultdict(list)
        for wait in story.waits:
            groups[wait.account, wait.window].append(wait.seconds)
        rows = [
            tag(
                "tr", tag("th", account or "(none named)", scope="row"), tag("td", _NAMES.get(name, name) or "–"),
                number_cell(len(lengths)), _time(sum(lengths)), _time(max(lengths)),
            )
            for (account, name), lengths in sorted(groups.items(), key=lambda item: -sum(item[1]))[:_MOST_ROWS]
        ]  # fmt: skip
        columns = ("Account", "Window", "#Waits", "#In all", "#Longest")
        return section("Waits", table("Waits for windows, by account", columns, rows))
    if not story.pauses:
        return None
    longest = sorted(story.pauses, key=lambda pause: pause.began - pause.ended)[:_MOST_WAITS]
    total = sum(pause.ended - pause.began for pause in story.pauses)
    rows = [
        tag(
            "tr",
            tag("td", moment_short(pause.began)),
            tag("td", moment_short(pause.ended)),
            _time(pause.ended - pause.began),
        )
        for pause in longest
    ]
    told = (
        f"In {counted(len(story.pauses), 'pause')}, {lasting(total)} in all, no row ended: windows were closed, or "
        "nobody worked on the run."
    )
    return section(
        "Waits",
        tag("p", told, class_="note"),
        table("The longest pauses", ("From", "To", "#Length"), rows, captioned=True),
    )


def _chart(uses: Sequence[WindowUse], charts: Charts, title: str) -> Markup:
    each = -(-len(uses) // _MOST_BARS)
    sent: list[int] = []
    others: list[int] = []
    names: list[str] = []
    for at in range(0, len(uses), each):
        some = uses[at : at + each]
        sent.append(round(sum(use.sent for use in some) / len(some)))
        others.append(round(sum(use.others for use in some) / len(some)))
        means = f" (mean of {len(some)})" if each > 1 else ""
        names.append(_span(some) + means)
    limit = max((use.limit for use in uses if use.limit), default=None)
    series = [Series("sent", sent), *([Series("others", others)] if any(others) else [])]
    title = f"{title}, each bar the mean of {each} windows" if each > 1 else title
    return charts.windows(series, names, (_span(uses[:1]), _span(uses[-1:])), limit, title=title)


def _table(groups: Sequence[tuple[str, str, Sequence[WindowUse]]]) -> Markup:
    rows: list[Markup] = []
    for account, name, uses in groups:
        sent, limits = sum(use.sent for use in uses), [use.limit for use in uses if use.limit]
        rows.append(
            tag(
                "tr", tag("th", account or "(none named)", scope="row"), tag("td", _NAMES.get(name, name)),
                number_cell(len(uses)), number_cell(sent), number_cell(max(use.sent for use in uses)),
                tag("td", percent(sent, sum(limits)) if len(limits) == len(uses) else "–", class_="number"),
            )
        )  # fmt: skip
    columns = ("Account or app", "Window", "#Windows", "#Requests", "#Most in one", "#Of the limit")
    return table("Windows by account", columns, rows, captioned=True)


def _provenance(story: Story) -> Markup:
    if story.windows_recorded:
        told = "As the client saw them while it sent; of one that is still open, all that is used of it."
    else:
        told = (
            "Counted afterwards, in stretches of 15 minutes from when rows ended, against the documented limit: a "
            "stretch can hold the end of one window and the beginning of the next."
        )
    return tag("p", told, class_="note")


def _title(account: str, name: str) -> str:
    kind = _NAMES.get(name, name)
    return f"Requests {kind}, {account}" if account else f"Requests {kind}"


def _time(seconds: float) -> Markup:
    return tag("td", lasting(seconds), class_="number")


def _span(uses: Sequence[WindowUse]) -> str:
    return f"{_short(uses[0].opened)} to {_short(uses[-1].closed)}"


def _short(at: float) -> str:
    when = datetime.fromtimestamp(at, UTC)
    return f"{when.day} {when:%b %H:%M:%S}"
