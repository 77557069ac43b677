"""The parts of the page about who worked on the run, and what stopped it."""

from __future__ import annotations

from typing import Final

from .markup import Content, Markup, tag
from .sections import section, table
from .sittings import Sitting, Stop
from .standing import moment_short
from .story import Story
from .words import lasting

_MOST_SITTINGS: Final = 30
_MOST_STOPS: Final = 30


def sittings(story: Story) -> Markup | None:
    """Each time that the run was worked on; one that went through is told above."""
    # `apply` loads the input in a sitting of its own, in which nothing is sent.
    found = [one for one in story.sittings if one.ended is None or one.requests or one.stopped]
    if len(found) < 2 and not any(one.stopped for one in found):
        return None
    shown = found[-_MOST_SITTINGS:]
    rows = [_sitting(one, last=one is found[-1], story=story) for one in shown]
    parts: list[Content] = []
    if len(found) > len(shown):
        parts.append(tag("p", f"The last {len(shown)} of {len(found):,}.", class_="note"))
    columns = ("From", "To", "#Time", "#Requests", "By", "End")
    return section("Sittings", *parts, table("Each time that the run was worked on", columns, rows))


def stops(story: Story) -> Markup | None:
    """What took accounts out, or ended the run early."""
    found = _once(story.stops)
    if not found:
        return None
    rows = [
        tag(
            "tr",
            tag("td", moment_short(stop.at), class_="code"),
            tag("th", "the run" if stop.account is None else stop.account, scope="row"),
            tag("td", stop.why, class_="text"),
            tag("td", stop.action or "–", class_="text"),
        )
        for stop in found[-_MOST_STOPS:]
    ]
    more = len(found) - len(rows)
    note = tag("p", f"The last {len(rows)}; {more:,} earlier ones are not shown.", class_="note") if more else None
    return section("Stops", note, table("Stops", ("Time", "What stopped", "Why", "What to do"), rows))


def _sitting(sitting: Sitting, *, last: bool, story: Story) -> Markup:
    goes_on = last and story.running
    if sitting.ended is not None:
        end = f"stopped: {sitting.stopped}" if sitting.stopped else "ended"
    else:
        end = "goes on" if goes_on else "cut off"
    return tag(
        "tr",
        tag("td", moment_short(sitting.began), class_="code"),
        tag("td", "–" if sitting.ended is None else moment_short(sitting.ended), class_="code"),
        tag("td", "–" if sitting.ended is None else lasting(sitting.ended - sitting.began), class_="number"),
        tag("td", "–" if sitting.requests is None else f"{sitting.requests:,}", class_="number"),
        tag("td", sitting.who),
        tag("td", end, class_="text"),
    )


def _once(found: list[Stop]) -> list[Stop]:
    """Without those of the run that only repeat what stopped an account, just before."""
    kept: list[Stop] = []
    for stop in found:
        if stop.account is not None or not kept or kept[-1].why != stop.why:
            kept.append(stop)
    return kept
