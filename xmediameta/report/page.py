"""The page: one HTML file that needs nothing else, for screens of any width, for paper, light and dark.

It loads nothing and runs nothing: its content security policy allows its own style sheet and forbids all else, so that
even text that got past the escaping could do no harm.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from xmediameta import __version__
from xmediameta.text import counted

from .charts import Charts, percent
from .markup import Content, Markup, tag
from .sections import failed, outcomes, over_time, problems, slowest
from .standing import Standing, moment, standing
from .story import Story
from .timeline import unix
from .windows import waits, windows
from .words import lasting
from .worked import sittings, stops

_STYLE: Final = Path(__file__).with_name("page.css")
_BADGES: Final = {
    "working": "Under way",
    "complete": "Complete",
    "stopped": "Stopped",
    "cut-off": "Cut off",
    "unfinished": "Unfinished",
}


def page(story: Story, *, made_at: float) -> str:
    """The whole page.

    Args:
        made_at: Unix seconds.
    """
    style = Markup(_STYLE.read_text("utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    charts = Charts()
    stands = standing(story.record, running=story.running, pending=story.counts["pending"])
    parts = (
        _header(story, stands),
        _figures(story, made_at),
        outcomes(story, charts) or tag("section", tag("p", "This run has no rows.", class_="empty")),
        over_time(story, charts),
        windows(story, charts),
        waits(story),
        sittings(story),
        stops(story),
        problems(story),
        slowest(story),
        failed(story),
        _footer(story, made_at),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        # A policy holds only for what stands after it.
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="robots", content="noindex"),
        tag("title", f"{story.record.name or 'a run'} – xmediameta"),
        tag("style", style),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', tag('main', *parts)), lang='en')}\n"


def _header(story: Story, stands: Standing) -> Markup:
    record = story.record
    return tag(
        "header",
        tag("p", "Run", class_="over"),
        tag("h1", record.name or "(no name)"),
        tag("p", tag("span", _BADGES[stands.kind], class_=f"badge {stands.kind}"), " ", _sentence(story)),
        tag("p", f"{stands.text[:1].upper()}{stands.text[1:]}.", class_="note"),
        tag("p", stands.action, class_="action") if stands.action else None,
    )


def _sentence(story: Story) -> str:
    counts = story.counts
    good = counts["applied"] + counts["unchanged"]
    if not story.total:
        return "There is nothing in it."
    told = f"{good:,} of {counted(story.total, 'row')} applied or unchanged"
    rest = [f"{counts[state]:,} {state}" for state in ("failed", "expired", "invalid", "pending") if counts[state]]
    return told + ("; " + ", ".join(rest) if rest else "") + "."


def _figures(story: Story, made_at: float) -> Markup:
    record, counts = story.record, story.counts
    tiles = [
        _tile("Rows", f"{story.total:,}", None),
        _tile("Applied", f"{counts['applied']:,}", percent(counts["applied"], story.total)),
        _tile("Failed", f"{counts['failed']:,}", _also(story), "bad" if counts["failed"] else None),
        _tile("Pending", f"{counts['pending']:,}", percent(counts["pending"], story.total)),
        _tile("Requests", f"{record.requests:,}", f"{record.retries:,} retries" if record.retries else "no retries"),
    ]
    if story.unit_price:
        tiles.append(_tile("Cost at most", f"{story.cost:,.2f}", f"USD, at {story.unit_price:g} a request"))
    else:
        tiles.append(_tile("Cost", "0.00", "nothing was sent to X"))
    began, ended = unix(record.started_at), unix(record.ended_at)
    if began is not None:
        until = ended if ended is not None else made_at if story.running else None
        if until is not None:
            tiles.append(_tile("Last sitting" if story.bins else "Time", lasting(max(until - began, 0.0)), None))
    return tag("dl", *tiles, class_="figures")


def _also(story: Story) -> str:
    more = [f"{story.counts[state]:,} {state}" for state in ("expired", "invalid") if story.counts[state]]
    return ", ".join([percent(story.counts["failed"], story.total), *more])


def _tile(name: str, value: str, note: str | None, kind: str | None = None) -> Markup:
    content: list[Content] = [tag("dt", name), tag("dd", value, class_=kind)]
    content.append(tag("dd", note, class_="note") if note else None)
    return tag("div", *content)


def _footer(story: Story, made_at: float) -> Markup:
    where = (
        f"Sent to {story.record.base_url}. All times are UTC. Made at {moment(made_at)} by xmediameta {__version__}."
    )
    bill = " The cost is an upper bound: whether X bills failed calls is not known." if story.unit_price else ""
    return tag("footer", where, bill)
