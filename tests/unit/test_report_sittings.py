"""Sittings, waits and stops of a run: read from what the journal noted, and shown."""

from __future__ import annotations

import json

from xmediameta.journal import EventRecord
from xmediameta.memory import KeptWindow
from xmediameta.report import Noted, read_events, with_open_windows
from xmediameta.report.quota import Wait, WindowUse
from xmediameta.report.sittings import Sitting, Stop
from xmediameta.report.timeline import Bins, intervals

from .test_report import EVIL, T0, a_row, a_run, a_story, iso, read

WHO = "process 7 on worker"


def event(at: float, kind: str, account: str | None = None, **told: object) -> EventRecord:
    return EventRecord(at=iso(T0 + at), kind=kind, account=account, data=json.dumps(told))


def begun(at: float, requests: int = 0) -> EventRecord:
    return event(at, "begun", sitting=1, pid=7, host="worker", requests=requests)


def ended(at: float, requests: int) -> EventRecord:
    return event(at, "ended", sitting=1, requests=requests, retries=0)


def wait(at: float, until: float, account: str = "shop") -> EventRecord:
    return event(at, "wait", account, window="user-15min", until=iso(T0 + until))


def lengths(noted: Noted) -> list[tuple[str, float, float]]:
    return [(one.account, one.began - T0, one.ended - T0) for one in noted.waits]


def test_sittings_that_ended_were_killed_or_go_on():
    stop = event(20, "stop", reason="BudgetReached", message="enough", action="more")
    noted = read_events(
        [begun(0), stop, ended(20, 10), begun(100, 10), begun(200, 14)], until=T0 + 250, requests=20
    )  # fmt: skip
    assert noted.sittings == (
        Sitting(began=T0, ended=T0 + 20, who=WHO, requests=10, stopped="enough"),
        Sitting(began=T0 + 100, ended=None, who=WHO, requests=4, stopped=""),
        Sitting(began=T0 + 200, ended=None, who=WHO, requests=6, stopped=""),
    )
    assert noted.stops == (Stop(at=T0 + 20, account=None, why="enough", action="more"),)


def test_a_wait_ends_with_its_window_or_its_sitting_or_lasts_until_now():
    events = [
        begun(0), wait(5, 900), wait(950, 1900), ended(1000, 5), begun(2000), wait(2005, 9000), begun(3000),
        wait(3010, 4000),
    ]  # fmt: skip
    noted = read_events(events, until=T0 + 3100)
    assert lengths(noted) == [
        ("shop", 5, 900), ("shop", 950, 1000), ("shop", 2005, 3000), ("shop", 3010, 3100),
    ]  # fmt: skip


def test_a_wait_that_is_noted_again_is_one():
    noted = read_events([begun(0), wait(5, 900), wait(5, 900, "news"), wait(300, 920), wait(920.0, 930)])
    assert lengths(noted) == [("shop", 5, 930), ("news", 5, 900)] or lengths(noted) == [
        ("news", 5, 900), ("shop", 5, 930),
    ]  # fmt: skip


def test_a_window_that_two_sittings_share_is_one():
    def window(opened: float, closed: float, sent: int, used: int, account: str = "shop") -> EventRecord:
        ends = {"opened": iso(T0 + opened), "closed": iso(T0 + closed)}
        return event(closed, "window", account, window="user-15min", **ends, limit=500, sent=sent, used=used)

    noted = read_events(
        [
            begun(0), window(-890, 10, 500, 500), window(10, 910, 100, 120), ended(300, 600), begun(400),
            window(11, 911, 300, 450), window(700, 1600, 7, 7), window(0, 900, 4, 3, "news"),
        ]
    )  # fmt: skip
    told = [(use.account, use.opened - T0, use.closed - T0, use.sent, use.others) for use in noted.windows]
    assert told == [
        ("shop", 0, 10, 500, 0),  # opened no earlier than the run was begun
        ("shop", 10, 910, 400, 50),
        ("shop", 910, 1600, 7, 0),
        ("news", 0, 900, 4, 0),
    ] or told == [
        ("news", 0, 900, 4, 0), ("shop", 0, 10, 500, 0), ("shop", 10, 910, 400, 50), ("shop", 910, 1600, 7, 0),
    ]  # fmt: skip


def test_a_window_that_nobody_has_noted_yet_is_told_as_it_was_kept():
    def kept(opens_at: float, remaining: int, *, told: bool = True, kept_at: float = 30) -> KeptWindow:
        return KeptWindow(
            name="user-15min", limit=500, remaining=remaining, opens_at=T0 + opens_at, kept_at=T0 + kept_at, told=told,
            closed=False,
        )  # fmt: skip

    first = WindowUse(account="a", name="user-15min", opened=T0, closed=T0 + 900, limit=500, sent=500)
    noted = Noted(windows=(first,))
    windows = {
        "a": [kept(1801, 400)],
        "b": [kept(901, 500)],  # nothing used
        "c": [kept(901, 3, told=False)],
        "d": [kept(901, 3, kept_at=-5)],  # by an earlier sitting
    }
    found = with_open_windows(noted, windows, T0 + 10).windows
    assert [(use.account, use.opened - T0, use.closed - T0, use.sent) for use in found] == [
        ("a", 0, 900, 500), ("a", 900, 1800, 100),
    ]  # fmt: skip
    assert with_open_windows(noted, {"a": [kept(902, 0)]}, T0).windows == (first,)  # it is the same


def test_what_cannot_be_read_is_passed_over():
    odd = [
        EventRecord(at="never", kind="begun", account=None, data="{}"),
        EventRecord(at=iso(T0), kind="begun", account=EVIL, data="[1]"),
        EventRecord(at=iso(T0), kind="ended", account=None, data='{"requests": "many"}'),
        EventRecord(at=iso(T0), kind="stop", account=EVIL, data='{"message": 3, "action": null}'),
        EventRecord(at=iso(T0), kind="of tomorrow", account=None, data=None),
    ]
    noted = read_events(odd)
    assert noted.sittings == (
        Sitting(began=T0, ended=T0, who="process None on an unknown machine", requests=None, stopped=""),
    )
    assert [(stop.why, stop.action) for stop in noted.stops] == [("", "")]
    assert not read(a_story(a_row(), sittings=noted.sittings, stops=noted.stops)).all("script")


def test_the_page_shows_sittings_and_stops():
    sittings = (
        Sitting(began=T0, ended=T0 + 20, who=WHO, requests=10, stopped="enough"),
        Sitting(began=T0 + 100, ended=None, who=WHO, requests=4, stopped=""),
        Sitting(began=T0 + 200, ended=None, who=WHO, requests=6, stopped=""),
    )
    stops = (
        Stop(at=T0 + 19, account="shop", why="enough", action="log in"),
        Stop(at=T0 + 20, account=None, why="enough", action="log in"),
        Stop(at=T0 + 21, account=None, why="more", action=""),
    )
    seen = read(a_story(a_row(), sittings=sittings, stops=stops, record=a_run(ended_at=None), running=True))
    cells = seen.texts("td")
    assert [cell for cell in cells if cell in {"stopped: enough", "cut off", "goes on"}] == [
        "stopped: enough", "cut off", "goes on",
    ]  # fmt: skip
    # What stopped the only account stopped the run as well: told once.
    assert cells.count("enough") == 1
    assert "the run" in seen.texts("th")
    assert {"Sittings", "Stops"} <= set(seen.texts("h2"))


def test_one_sitting_that_went_through_needs_no_table():
    loading = Sitting(began=T0, ended=T0, who=WHO, requests=0, stopped="")
    sittings = (loading, Sitting(began=T0, ended=T0 + 20, who=WHO, requests=10, stopped=""))
    assert not {"Sittings", "Stops"} & set(read(a_story(a_row(), sittings=sittings)).texts("h2"))


def test_a_few_rows_make_no_charts():
    seen = read(a_story(a_row(), a_row(1)))
    assert "2 rows ended, the last at 2026-11-03 09:14:01 UTC." in seen.texts("p")
    assert not {"Rows that ended, in all", "Requests per 15 minutes"} & set(seen.texts("h3"))
    assert "Slowest" not in seen.texts("h2")


def test_a_wait_at_the_end_is_in_the_chart_over_time():
    bins = Bins(1)
    bins.add(T0, 0)
    shown = intervals(bins, 1, 120, also=(T0, T0 + 800))
    assert shown.begin <= T0
    assert shown.end >= T0 + 800
    assert sum(sum(found) for found in shown.counters) == 1
    waits = [Wait(account="shop", began=T0 + 10, ended=T0 + 800, window="user-15min")]
    seen = read(a_story(*(a_row(seq) for seq in range(9)), waits=waits))
    assert "Accounts waiting for a window, on average" in seen.texts("h3")
    assert any(text.startswith("09:26:") and text.endswith(": 1 waiting") for text in seen.texts("text"))
