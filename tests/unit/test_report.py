"""The page of a run, and the words and numbers it is made of."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

import xmediameta.report
from xmediameta.journal import EventRecord, RunRecord, TaskRecord
from xmediameta.report import Gathering, Noted, Problems, Story, page, read_events, read_said, read_stopped, standing
from xmediameta.report.charts import nice_top, number, percent
from xmediameta.report.markup import Markup, tag
from xmediameta.report.quota import Wait, WindowUse, derived, pauses
from xmediameta.report.story import FAILED_SHOWN
from xmediameta.report.timeline import Bins, intervals, nice_width, unix
from xmediameta.report.words import lasting

T0 = datetime(2026, 11, 3, 9, 14, tzinfo=UTC).timestamp()
EVIL = "</td></style><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202egnp.exe"


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def a_run(**given: Any) -> RunRecord:
    known = dict.fromkeys(RunRecord.__struct_fields__) | {
        "run": 1, "name": "updates.csv", "base_url": "https://api.x.com", "load": 1, "created_at": iso(T0),
        "started_at": iso(T0), "ended_at": iso(T0 + 60), "pid": 4711, "host": "worker", "requests": 3, "retries": 1,
    }  # fmt: skip
    return RunRecord(**(known | given))


def a_row(seq: int = 0, **given: Any) -> TaskRecord:
    known = dict.fromkeys(TaskRecord.__struct_fields__) | {
        "seq": seq, "source": f"updates.csv:{seq + 2}", "id": str(1000 + seq), "ref": f"r{seq}", "state": "applied",
        "attempts": 1, "settled_at": iso(T0 + seq),
    }  # fmt: skip
    return TaskRecord(**(known | given))


def refused(seq: int = 0, **given: Any) -> TaskRecord:
    problem = json.dumps({"type": "https://api.x.com/2/problems/invalid-request", "title": "Invalid Request"})
    return a_row(seq, **({"state": "failed", "status": 400, "error": "UpdateRejected", "problem": problem} | given))


def a_story(
    *rows: TaskRecord, record: RunRecord | None = None, running: bool = False, local: bool = False, **noted: Any
) -> Story:
    gathering = Gathering(record or a_run(), Noted(**noted), local=local)
    for row in rows:
        gathering.add(row)
    return gathering.story(running=running, unit_price=0.005)


@dataclass
class Node:
    name: str
    attributes: dict[str, str | None]
    text: str = ""


class Seen(HTMLParser):
    """The elements of a page as a browser would find them, each with the text directly in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.open: list[Node] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs))
        self.nodes.append(node)
        if tag != "meta":
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().name == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.open[-1].text += data

    def all(self, name: str) -> list[Node]:
        return [node for node in self.nodes if node.name == name]

    def texts(self, name: str) -> list[str]:
        return [node.text for node in self.all(name)]


def is_note(node: Node) -> bool:
    return node.attributes.get("class") == "note"


def read(story: Story) -> Seen:
    return Seen(page(story, made_at=T0 + 3600))


# What a row's problem says


@pytest.mark.parametrize(
    ("row", "kind", "text"),
    [
        (refused(), "invalid-request", "Invalid Request"),
        (refused(status=503, problem='{"title":"Service Unavailable","detail":"later"}'), "Service Unavailable",
         "Service Unavailable: later"),
        (refused(problem='{"title":"T","extensions":{"errors":[{"message":"alt_text: too long"}]}}'), "T",
         "T: alt_text: too long"),
        (refused(status=None, error="RequestTimedOut", problem='{"detail":"no answer within 30 s"}'), "RequestTimedOut",
         "no answer within 30 s"),
        (refused(problem=None), "UpdateRejected", "Bad Request"),
        (refused(problem=None, status=None, error=None), "no reason recorded", ""),
        (refused(problem="not JSON \x1b[1m"), "UpdateRejected", "not JSON \\x1b[1m"),
        (refused(problem='"just text"'), "UpdateRejected", "just text"),
        (refused(problem="[" * 5_000, error="E"), "E", "[" * 1_000 + "…"),
        (a_row(state="invalid", error="InvalidUpdate", problem='{"member":"id","rule":"20 digits"}'), "invalid id",
         "id: 20 digits"),
        (a_row(state="invalid", problem='{"member":"","rule":"broken JSON"}'), "invalid line", "broken JSON"),
        (a_row(state="expired"), "send_before had passed", "send_before had passed before its turn came"),
        (refused(problem=json.dumps({"title": EVIL})), EVIL.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e"),
         EVIL.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")),
    ],
)  # fmt: skip
def test_a_problem_is_read_whatever_its_shape(row: TaskRecord, kind: str, text: str):
    said = read_said(row)
    assert (said.kind, said.text) == (kind, text)


def test_problems_of_one_kind_are_put_together_with_the_first_as_example():
    problems = Problems()
    for row in (refused(1), a_row(2), refused(3), refused(4, status=503, error="ServerFault", problem='{"title":"S"}'),
                a_row(5, state="pending"), a_row(6, state="expired")):  # fmt: skip
        problems.add(row)
    first, second, third = problems.groups()
    assert (first.title, first.rows, first.error) == ("400 invalid-request", 2, "UpdateRejected")
    assert first.example.where() == "updates.csv:3, media 1001, ref r1"
    assert "they fail again" in first.advice
    assert (second.title, second.rows) == ("503 S", 1)
    assert "--retry-failed" in second.advice
    assert (third.state, third.status) == ("expired", None)
    assert "Upload the media again" in third.advice


def test_endless_kinds_of_problems_are_bounded():
    problems = Problems()
    for seq in range(1_000):
        problems.add(refused(seq, problem=json.dumps({"title": f"unique {seq}"})))
    groups = problems.groups()
    assert len(groups) == 201
    assert (groups[0].kind, groups[0].rows) == ("other problems", 800)
    assert sum(group.rows for group in groups) == 1_000


def test_the_advice_is_the_errors_own_and_an_unknown_error_has_none():
    problems = Problems()
    problems.add(refused(1, error="MediaNotFound"))
    problems.add(refused(2, error="printable"))  # a name in that module, and no error
    advice = {group.error: group.advice for group in problems.groups()}
    assert advice["MediaNotFound"].startswith("A media id lives a limited time")
    assert not advice["printable"]


def test_an_advice_that_depends_on_the_status():
    problems = Problems()
    problems.add(refused(1, status=302, error="UpdateRejected", problem='{"title":"Found"}'))
    problems.add(refused(2, error="ReconnectRequired", status=None, problem='{"detail":"spent"}'))
    redirected, spent = problems.groups()
    assert "check the base URL" in redirected.advice
    assert isinstance(spent.advice, str)
    assert msgspec.json.encode([redirected.advice, spent.advice])


# How a run stands


@pytest.mark.parametrize(
    ("given", "running", "pending", "kind", "text"),
    [
        ({"ended_at": None}, True, 5, "working", "process 4711 on worker works on it, since 2026-11-03 09:14:00 UTC"),
        ({}, False, 0, "complete", "complete since 2026-11-03 09:15:00 UTC"),
        ({}, False, 1, "unfinished", "ended at 2026-11-03 09:15:00 UTC with 1 row pending"),
        ({"ended_at": None}, False, 2, "cut-off", "cut off: process 4711 on worker is gone, and left 2 rows pending"),
        ({"ended_at": None}, False, 0, "complete", "complete; process 4711 on worker ended without saying so"),
        ({"ended_at": None, "started_at": None}, False, 2, "unfinished", "loaded and never started"),
        ({"stopped": '{"reason":"credits-depleted","action":"Top up.","message":"402 none left."}'}, False, 2,
         "stopped", "stopped at 2026-11-03 09:15:00 UTC: 402 none left"),
        ({"stopped": '{"reason":"rate-limit","account":"shop","action":"Wait.","resume_at":"2026-11-03T10:00:00Z"}'},
         False, 2, "stopped", "stopped at 2026-11-03 09:15:00 UTC (account shop): rate limit"),
        ({"stopped": "odd \x1b[1m"}, False, 2, "stopped", "stopped at 2026-11-03 09:15:00 UTC: odd \\x1b[1m"),
    ],
)  # fmt: skip
def test_how_a_run_stands(given: dict[str, Any], running: bool, pending: int, kind: str, text: str):
    stands = standing(a_run(**given), running=running, pending=pending)
    assert (stands.kind, stands.text) == (kind, text)


def test_a_stop_says_what_to_do_and_when_it_goes_on():
    record = a_run(stopped='{"reason":"rate-limit","action":"Wait.","resume_at":"2026-11-03T10:00:00+00:00"}')
    assert standing(record, running=False, pending=1).action == "Wait. It can go on at 2026-11-03 10:00:00 UTC."
    stopped = read_stopped(record.stopped)
    assert stopped is not None
    assert (stopped.reason, stopped.account, stopped.message) == ("rate-limit", None, "")
    assert read_stopped(None) is None


# Numbers over time


def test_bins_keep_every_count_while_they_widen():
    bins = Bins(2, most=64)
    for second in (0, 7, 100_000, 50_000, 3, 99_999):
        bins.add(T0 + second, second % 2)
    assert sum(sum(counters) for _, counters in bins) == 6
    assert [sum(counters[kind] for _, counters in bins) for kind in (0, 1)] == [3, 3]
    begin, end = bins.span
    assert begin <= T0
    assert end >= T0 + 100_000
    assert (end - begin) / bins.width <= 64


@pytest.mark.parametrize("span", [0.04, 1, 9.7, 60, 3_599, 86_400, 20 * 86_400, 3e9])
def test_intervals_cover_all_and_lose_nothing(span: float):
    bins = Bins(1)
    for part in range(101):
        bins.add(T0 + span * part / 100, 0)
    shown = intervals(bins, 1, 120)
    assert sum(counters[0] for counters in shown.counters) == 101
    assert 1 <= len(shown.counters) <= 120
    assert shown.begin <= T0 + bins.width
    assert shown.end >= T0 + span - bins.width
    assert len(shown.counters) > 20 or span < 2


def test_lengths_that_read_well():
    assert [nice_width(seconds, 100) for seconds in (1, 100, 101, 6_000, 86_400)] == [0.05, 1, 2, 60, 900]
    assert nice_width(1e9, 10) % (7 * 86_400) == 0
    assert [nice_top(value) for value in (0.5, 1, 3, 10, 11, 101, 500, 501, 11_639)] == [
        2, 2, 4, 10, 12, 120, 500, 600, 12_000,
    ]  # fmt: skip
    assert [percent(*pair) for pair in ((0, 0), (1, 2), (1, 100_000), (99_999, 100_000), (5, 5), (1, 3))] == [
        "0 %", "50 %", "< 0.1 %", "> 99.9 %", "100 %", "33.3 %",
    ]  # fmt: skip
    assert [number(value) for value in (0, 10, 1_234_567, 0.25, 2.0, 0.1)] == [
        "0",
        "10",
        "1,234,567",
        "0.25",
        "2",
        "0.1",
    ]
    assert [lasting(seconds) for seconds in (0, 0.44, 9.96, 59.4, 59.6, 900, 372, 7_500, 90_000)] == [
        "0 s", "0.4 s", "10 s", "59 s", "1 min", "15 min", "6 min 12 s", "2 h 5 min", "1 d 1 h",
    ]  # fmt: skip


def test_a_time_that_is_none_is_none():
    assert unix("2026-11-03T09:14:00.000Z") == T0
    assert [unix(text) for text in (None, "", "yesterday")] == [None, None, None]


def test_requests_are_counted_in_stretches_of_15_minutes():
    bins = Bins(1, most=8_192)
    for window in range(20):
        for request in range(480):
            bins.add(T0 + window * 901 + request * 0.008, 0)
    assert [use.sent for use in derived("shop", bins)] == [480] * 20
    long = Bins(1, most=16)
    long.add(T0, 0)
    long.add(T0 + 1e6, 0)
    assert derived("shop", long) == []


def test_pauses_are_times_without_any_row():
    bins = Bins(1)
    for second in (0, 1, 30, 31):
        bins.add(T0 + second, 0)
    (pause,) = pauses(bins)
    assert pause.began == pytest.approx(T0 + 1, abs=0.2)
    assert pause.ended == pytest.approx(T0 + 30, abs=0.2)
    assert pauses(Bins(1)) == []


def an_event(kind: str, data: str | None) -> EventRecord:
    return EventRecord(at=iso(T0), kind=kind, account="shop", data=data)


def test_events_of_the_journal_become_windows_and_waits():
    window = {
        "window": "user-15min",
        "opened": iso(T0),
        "closed": iso(T0 + 900),
        "limit": 500,
        "sent": 498,
        "used": 500,
    }
    events = [
        an_event("window", json.dumps(window)),
        an_event("wait", json.dumps({"window": "user-15min", "until": iso(T0 + 9)})),
        *(an_event(kind, data) for kind in ("window", "wait", "start") for data in (None, "{", "[]", '{"sent":"x"}')),
        an_event("window", json.dumps(window | {"closed": iso(T0 - 1)})),
        an_event("wait", json.dumps({"until": iso(T0 - 9)})),
    ]
    noted = read_events(events)
    assert noted.windows == (
        WindowUse(account="shop", name="user-15min", opened=T0, closed=T0 + 900, limit=500, sent=498, others=2),
    )
    assert noted.waits == (Wait(account="shop", began=T0, ended=T0 + 9, window="user-15min"),)
    assert noted.sittings == ()


# The page


def test_the_page_tells_counts_problems_and_rows():
    story = a_story(
        *(a_row(seq) for seq in range(5)),
        refused(5, transaction_id="tx-5", attempts=3),
        a_row(6, state="expired", attempts=0),
        a_row(7, state="invalid", error="InvalidUpdate", problem='{"member":"id","rule":"20 digits"}', settled_at=None),
        a_row(8, state="pending", attempts=0, settled_at=None),
        a_row(9, state="unchanged", attempts=0, settled_at=iso(T0 - 1e6)),
    )
    seen = read(story)
    assert seen.texts("h1") == ["updates.csv"]
    assert seen.texts("h2") == [
        "Outcomes", "Over time", "Requests per window", "Problems by type", "Slowest", "Rows that were not applied",
    ]  # fmt: skip
    figures = dict(zip(seen.texts("dt"), [node.text for node in seen.all("dd") if not is_note(node)], strict=True))
    assert figures["Rows"] == "10"
    assert figures["Applied"] == "5"
    assert figures["Failed"] == "1"
    assert figures["Pending"] == "1"
    assert figures["Cost at most"] == "0.01"  # three requests
    assert figures["Last sitting"] == "1 min"
    cells = seen.texts("td")
    assert "id: 20 digits" in cells
    assert "tx-5" in cells
    assert "failed, 400" in cells
    assert any("400 invalid-request" in text for text in seen.texts("b"))
    # What was sent long before is no part of this run's time.
    assert any(note.startswith("From 2026-11-03 09:14:00 UTC to 2026-11-03 09:14:0") for note in seen.texts("p"))


def test_rows_not_applied_keep_the_order_of_the_input_and_are_bounded():
    story = a_story(*(refused(seq) for seq in range(FAILED_SHOWN + 234)))
    assert [row.seq for row in story.failed] == list(range(FAILED_SHOWN))
    seen = read(story)
    assert any("234 more are not shown here" in text for text in seen.texts("p"))
    assert "xmediameta results updates.csv --only failed,expired,invalid" in seen.texts("code")
    few = read(a_story(refused()))
    assert not any("more are not shown" in text for text in few.texts("p"))


def test_the_command_for_the_rest_quotes_the_runs_name():
    record = a_run(name="my 'best' run.csv")
    seen = read(a_story(*(refused(seq) for seq in range(FAILED_SHOWN + 1)), record=record))
    assert "xmediameta results 'my '\\''best'\\'' run.csv' --only failed,expired,invalid" in seen.texts("code")


def test_the_slowest_come_first():
    story = a_story(a_row(1, attempts=2), a_row(2, attempts=5), a_row(3), a_row(4, attempts=2))
    assert [row.seq for row, _ in story.slowest] == [2, 1, 4]
    assert story.retried == 3


def test_of_many_slow_rows_the_slowest_are_kept():
    story = a_story(*(a_row(seq, attempts=2 + seq % 50) for seq in range(200)))
    assert [(row.attempts, row.seq) for row, _ in story.slowest[:5]] == [
        (51, 49),
        (51, 99),
        (51, 149),
        (51, 199),
        (50, 48),
    ]
    assert len(story.slowest) == 20
    assert story.retried == 200


def test_the_slowest_are_those_that_took_longest_where_the_journal_knows_it():
    story = a_story(*(a_row(seq, seconds=seconds) for seq, seconds in enumerate((0.2, 9.0, 3.5, 0.3, 0.1))))
    assert [(row.seq, seconds) for row, seconds in story.slowest] == [(1, 9.0), (2, 3.5), (3, 0.3), (0, 0.2), (4, 0.1)]
    assert "9 s" in read(story).texts("td")


def test_windows_and_waits_as_recorded():
    first = WindowUse(account="shop", name="user-15min", opened=T0, closed=T0 + 900, limit=500, sent=490)
    windows = [msgspec.structs.replace(first, opened=T0 + 900 * n, closed=T0 + 900 * (n + 1)) for n in range(400)]
    waits = [Wait(account="shop", began=T0 + 2, ended=T0 + 5, window="user-15min")]
    story = a_story(*(a_row(seq, account="shop") for seq in range(10)), windows=windows, waits=waits)
    seen = read(story)
    assert "Requests per 15 minutes, shop" in seen.texts("h3")
    assert "Accounts waiting for a window, on average" in seen.texts("h3")
    assert "limit 500" in seen.texts("text")
    assert "98 %" in seen.texts("td")
    assert "As the client saw them while it sent; of one that is still open, all that is used of it." in seen.texts("p")
    # 400 windows are too many bars: each is the mean of three.
    assert any("each bar the mean of 3 windows" in text for text in seen.texts("title"))
    assert len([text for text in seen.texts("text") if "(mean of 3): 490 sent" in text]) == 133
    assert "3 Nov 09:14:00 to 3 Nov 09:29:00" in seen.texts("text")


def test_a_run_on_this_machine_has_no_windows_of_x():
    story = a_story(*(a_row(seq) for seq in range(10)), record=a_run(base_url="http://127.0.0.1:8777"), local=True)
    assert "Requests per window" not in read(story).texts("h2")


def test_an_empty_run_has_a_page():
    seen = read(a_story())
    assert seen.texts("h2") == []
    assert "This run has no rows." in seen.texts("p")


def test_a_run_of_pending_rows_has_a_page():
    story = a_story(*(a_row(seq, state="pending", settled_at=None, attempts=0) for seq in range(3)), running=True)
    seen = read(story)
    assert seen.texts("h2") == ["Outcomes"]
    assert "Under way" in seen.texts("span")


@pytest.fixture(scope="module")
def hostile() -> Seen:
    problem = json.dumps({"type": f"https://x/{EVIL}", "title": EVIL, "detail": EVIL * 500})
    rows = [
        refused(seq, account=EVIL, ref=f'"{EVIL}', source=EVIL, id=EVIL, transaction_id=EVIL, error=EVIL, attempts=3,
                problem=problem)
        for seq in range(3)
    ]  # fmt: skip
    record = a_run(
        name=EVIL, base_url=f"https://{EVIL}", host=EVIL, stopped=json.dumps({"message": EVIL, "action": EVIL})
    )
    windows = [WindowUse(account=EVIL, name=EVIL, opened=T0, closed=T0 + 9, limit=5, sent=3)]
    waits = [Wait(account=EVIL, began=T0, ended=T0 + 2, window=EVIL)]
    return read(a_story(*rows, a_row(4), record=record, windows=windows, waits=waits))


def test_nothing_hostile_becomes_markup(hostile: Seen):
    names = {node.name for node in hostile.nodes}
    assert not names & {"script", "img", "iframe", "object", "a", "link", "form", "input", "base", "foreignobject"}
    assert len(hostile.all("style")) == 1
    assert hostile.open == []  # every element is closed where it should be


def test_nothing_hostile_becomes_an_attribute_that_acts(hostile: Seen):
    for node in hostile.nodes:
        for name in node.attributes:
            assert not name.startswith("on"), node
            assert name not in {"style", "src", "href", "xlink:href", "srcset", "action", "formaction"}, node


def test_control_characters_and_bidi_marks_are_shown_and_do_not_act(hostile: Seen):
    text = "".join(node.text for node in hostile.nodes if node.name != "style")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "\\x1b[31m\\u202egnp.exe" in text


def test_long_text_is_bounded(hostile: Seen):
    assert max(len(node.text) for node in hostile.nodes if node.name not in {"style", "text"}) < 2_100


def test_the_page_loads_nothing_and_its_policy_lets_only_its_own_style_be():
    html = page(a_story(a_row(), refused(1)), made_at=T0)
    seen = Seen(html)
    (policy,) = [
        node.attributes["content"] or "" for node in seen.all("meta") if node.attributes.get("http-equiv")
    ]  # fmt: skip
    (style,) = seen.texts("style")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not re.search(r"url\(|@import|https?://", style)
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_the_page_is_accessible():
    windows = [WindowUse(account="a", name="user-15min", opened=T0, closed=T0 + 900, limit=500, sent=490)]
    waits = [Wait(account="a", began=T0, ended=T0 + 2)]
    seen = read(a_story(*(a_row(seq) for seq in range(9)), refused(9, attempts=2), windows=windows, waits=waits))
    ids = [node.attributes["id"] for node in seen.nodes if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    charts = [node for node in seen.all("svg") if node.attributes.get("role") == "img"]
    assert len(charts) == 5
    for chart in charts:
        assert chart.attributes["aria-labelledby"] in ids
        assert chart.attributes["aria-describedby"] in ids
    assert len(seen.texts("caption")) == len(seen.all("table"))
    assert all(seen.texts("caption"))
    assert all(node.attributes.get("scope") for node in seen.all("th"))
    assert seen.all("html")[0].attributes == {"lang": "en"}


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_from_what_is_behind_them(theme: int):
    style = (Path(xmediameta.report.__file__).with_name("page.css")).read_text("utf-8")
    root = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[theme]
    colours = dict(re.findall(r"--(\w+): (#\w{6})", root))
    for text in ("ink", "soft", "failed"):
        assert contrast(colours[text], colours["sheet"]) >= 4.5, text
        assert contrast(colours[text], colours["page"]) >= 4.5, text
    for text, behind in (("good", "goodpale"), ("warn", "warnpale"), ("failed", "badpale"), ("applied", "workpale")):
        assert contrast(colours[text], colours[behind]) >= 4.5, text
    # WCAG 1.4.11: parts of a chart.
    for mark in ("applied", "unchanged", "failed", "expired", "invalid", "pending", "goal"):
        assert contrast(colours[mark], colours["sheet"]) >= 3.0, mark


def test_markup_escapes_whatever_is_put_in():
    made = tag("p", "<b>&\"'", Markup("<i>kept</i>"), None, 3, class_='"><script>', hidden=True, title=None)
    assert made == (
        '<p class="&quot;&gt;&lt;script&gt;" hidden>&lt;b&gt;&amp;&quot;&#x27;<i>kept</i>3</p>'
    )  # fmt: skip
    assert isinstance(made, Markup)
