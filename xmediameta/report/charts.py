"""Charts as SVG: positions across in per cent and up in pixels, so that they fit any width and text never shrinks.

No styles inside: colours come from the page's style sheet by class, for light and dark. Each chart has a title and a
description, and each mark says its numbers when pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate, count
from typing import Final

from msgspec import Struct

from xmediameta.text import counted

from .markup import Markup, tag
from .timeline import Intervals, nice_width

_TOP: Final = 24.0
_BOTTOM: Final = 24.0
_LEAST_BAR: Final = 2.0
_FEWEST_BARS: Final = 24
_PLAIN: Final = 26
_DAY: Final = 86_400.0


class Series(Struct, frozen=True):
    """One colour of stacked bars.

    Attributes:
        name: what it counts; also its class.
        values: one for each bar.
    """

    name: str
    values: Sequence[float]


class Charts:
    """Draws charts, each with ids of its own for its title and description."""

    def __init__(self) -> None:
        self._ids = count(1)

    def over_time(self, shown: Intervals, series: Sequence[Series], *, title: str, height: int = 200) -> Markup:
        """Stacked bars, one for each interval."""
        axis = TimeAxis(shown.begin, shown.end)
        names = [axis.span_text(shown.begin + n * shown.width, shown.width) for n in range(len(shown.counters))]
        bars = self._bars(series, names, None, height, 100 / len(names))
        return self._chart(title, _described(series), height, [*bars, *axis.ticks(height)])

    def cumulative(self, shown: Intervals, values: Sequence[int], goal: int, *, title: str, name: str) -> Markup:
        """A line that rises, with its goal above it."""
        axis = TimeAxis(shown.begin, shown.end)
        sums = list(accumulate(values))
        top = nice_top(max(goal, sums[-1], 1))
        points = [(0.0, 0)] + [((n + 1) * 1000 / len(sums), value) for n, value in enumerate(sums)]
        height = 150
        line = " ".join(f"{x:.1f},{1000 - 1000 * value / top:.1f}" for x, value in points)
        drawn = tag(
            "svg",
            tag("polygon", points=Markup(f"{line} 1000,1000 0,1000"), class_="area"),
            tag("polyline", points=Markup(line), class_="line", vector_effect="non-scaling-stroke"),
            y=_TOP, width="100%", height=_plot(height), viewBox="0 0 1000 1000", preserveAspectRatio="none",
        )  # fmt: skip
        hits: list[Markup] = []
        step = 100 / len(sums)
        for n, value in enumerate(sums):
            said = f"{axis.moment(shown.begin + (n + 1) * shown.width)}: {value:,} {name}"
            y = _height(value, top, height)
            x = f"{(n + 1) * step:.3f}%"
            mark = tag("circle", cx=x, cy=y, r=4, class_="dot")
            hits.append(_hit(f"{n * step:.3f}%", f"{step:.3f}%", height, said, mark))
        line_up = _goal(goal, top, height, f"{counted(goal, 'row')} to send")
        frame = [*_grid(top, height), drawn, *hits, *line_up, *axis.ticks(height)]
        return self._chart(title, f"{sums[-1]:,} {name} of {counted(goal, 'row')} to send.", height, frame)

    def windows(
        self, series: Sequence[Series], names: Sequence[str], ends: tuple[str, str], limit: int | None, *, title: str
    ) -> Markup:
        """Stacked bars, one for each window, under the line of their limit.

        Args:
            names: of the bars.
            ends: labels of the first and the last one.
        """
        said = _described(series) + (f" The limit is {limit:,}." if limit else "")
        # A few bars are not blown up to the whole width.
        step = 100 / max(len(names), _FEWEST_BARS)
        ticks = [_tick("0%", "start", 130, ends[0])]
        if len(names) * step > 70:
            ticks.append(_tick(f"{len(names) * step:.3f}%", "end", 130, ends[1], "tick minor"))
        return self._chart(title, said, 130, [*self._bars(series, names, limit, 130, step), *ticks])

    def shares(self, series: Sequence[tuple[str, int]], *, title: str) -> Markup:
        """One bar, cut into parts."""
        total = sum(value for _, value in series)
        # What is there at all must be seen: small parts take a little from the others.
        widths = [max(value / total, 0.004) if value else 0.0 for _, value in series]
        scale = 100 / sum(widths)
        x = 0.0
        parts: list[Markup] = []
        for (name, value), share in zip(series, widths, strict=True):
            if value:
                told = tag("title", f"{value:,} {name} ({percent(value, total)})")
                width = max(share * scale - 0.15, 0.1)
                parts.append(tag("rect", told, x=f"{x:.3f}%", y=0, width=f"{width:.3f}%", height=_PLAIN, class_=name))
            x += share * scale
        said = ", ".join(f"{value:,} {name}" for name, value in series if value)
        return self._chart(title, f"{said}.", _PLAIN, parts)

    def _bars(
        self, series: Sequence[Series], names: Sequence[str], limit: int | None, height: int, step: float
    ) -> list[Markup]:
        totals = [sum(values) for values in zip(*(one.values for one in series), strict=True)]
        top = nice_top(max(*totals, limit or 1, 1))
        width = f"{step * (0.82 if len(names) < 90 else 0.92):.3f}%"
        drawn: list[Markup] = []
        for n, named in enumerate(names):
            x, y = f"{n * step:.3f}%", height - _BOTTOM
            parts: list[Markup] = []
            for one in series:
                if value := one.values[n]:
                    tall = max(_plot(height) * value / top, _LEAST_BAR)
                    y -= tall
                    parts.append(tag("rect", x=x, y=y, width=width, height=tall, class_=one.name))
            told = ", ".join(f"{number(one.values[n])} {one.name}" for one in series if one.values[n]) or "nothing"
            drawn.append(_hit(x, f"{step:.3f}%", height, f"{named}: {told}", *parts))
        line = _goal(limit, top, height, f"limit {limit:,}") if limit else []
        return [*_grid(top, height), *drawn, *line]

    def _chart(self, title: str, said: str, height: int, parts: Sequence[Markup]) -> Markup:
        number = next(self._ids)
        return tag(
            "svg",
            tag("title", title, id=f"t{number}"),
            tag("desc", said, id=f"d{number}"),
            *parts,
            class_="chart" if height > _PLAIN else "chart whole", role="img", width="100%", height=height,
            aria_labelledby=f"t{number}", aria_describedby=f"d{number}",
        )  # fmt: skip


class TimeAxis:
    """Where a time stands between the edges of a chart, and the times that are worth a label."""

    def __init__(self, begin: float, end: float) -> None:
        self._begin, self._end = begin, end

    def at(self, when: float) -> float:
        """Per cent from the left, within the chart."""
        return min(max(100 * (when - self._begin) / (self._end - self._begin), 0.0), 100.0)

    def moment(self, when: float) -> str:
        """A time, as exact as the axis needs it."""
        span = self._end - self._begin
        at = datetime.fromtimestamp(when, UTC)
        if span >= _DAY:
            return f"{at.day} {at:%b %H:%M}"
        return f"{at:%H:%M:%S}" if span < 7_200 else f"{at:%H:%M}"

    def span_text(self, when: float, width: float) -> str:
        """From a time to another."""
        return f"{self.moment(when)} to {self.moment(when + width)}" if width >= 1 else self.moment(when)

    def ticks(self, height: int) -> list[Markup]:
        """Labels below; every other one can be left out where it is narrow."""
        step = nice_width(self._end - self._begin, 7, 1.0)
        first = -(-self._begin // step) * step
        found: list[Markup] = []
        for n in range(9):
            when = first + n * step
            if when > self._end:
                break
            x = self.at(when)
            anchor = "start" if x < 4 else "end" if x > 96 else "middle"
            label = self._label(when, step)
            found.append(_tick(f"{x:.3f}%", anchor, height, label, "tick minor" if n % 2 else "tick"))
        return found

    @staticmethod
    def _label(when: float, step: float) -> str:
        at = datetime.fromtimestamp(when, UTC)
        if when % _DAY == 0:
            return f"{at.day} {at:%b}"
        return f"{at:%H:%M:%S}" if step < 60 else f"{at:%H:%M}"


def number(value: float) -> str:
    """`1,234,567`, `0.25`."""
    return f"{value:,.2f}".rstrip("0").removesuffix(".")


def nice_top(value: float) -> int:
    """A round number at or above a value, whose half is one too."""
    if value <= 10:
        return 2 * math.ceil(value / 2)
    scale = 10
    while True:
        for factor in (10, 12, 16, 20, 30, 40, 50, 60, 80):
            if factor * scale >= 10 * value:
                return factor * scale // 10
        scale *= 10


def percent(value: int, total: int) -> str:
    """`12.5 %`; what is there is never 0 %, and what is not whole never 100 %."""
    if not total:
        return "0 %"
    share = 100 * value / total
    if 0 < share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{share:.1f} %".replace(".0 %", " %")


def _grid(top: int, height: int) -> list[Markup]:
    lines: list[Markup] = []
    for value in (0, top / 2, top):
        y = _height(value, top, height)
        lines.append(tag("line", x1="0", x2="100%", y1=y, y2=y, class_="grid" if value else "axis"))
        lines.append(tag("text", number(value), x=-8, y=y + 4, class_="scale"))
    return lines


def _goal(value: float, top: int, height: int, said: str) -> list[Markup]:
    """A line to be reached, or not to be passed."""
    y = _height(value, top, height)
    line = tag("line", x1="0", x2="100%", y1=y, y2=y, class_="goal")
    return [line, tag("text", said, x=2, y=y - 5, class_="named")]


def _height(value: float, top: int, height: int) -> float:
    return height - _BOTTOM - _plot(height) * value / top


def _hit(x: str, width: str, height: int, said: str, *parts: Markup) -> Markup:
    """Marks, and the area to point at them; what they say shows at the top."""
    return tag(
        "g",
        tag("rect", x=x, y=_TOP, width=width, height=_plot(height), class_="hit"),
        *parts,
        tag("text", said, x="100%", y=12, class_="said"),
        class_="mark",
    )


def _tick(x: str, anchor: str, height: int, label: str, kind: str = "tick") -> Markup:
    return tag("text", label, x=x, y=height - 6, text_anchor=anchor, class_=kind)


def _plot(height: int) -> float:
    return height - _TOP - _BOTTOM


def _described(series: Sequence[Series]) -> str:
    told = [
        f"{one.name}: {number(sum(one.values))} in all, at most {number(max(one.values))} in one bar" for one in series
    ]
    return "; ".join(told) + "."
