"""The parts of the command that need no network: arithmetic, words, results, summaries."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from xmediameta.applying.course import Course, Stop
from xmediameta.cli.eta import DOCUMENTED, Window, time_left
from xmediameta.cli.options import Duration, Pace, Pair
from xmediameta.cli.results import Results
from xmediameta.cli.say import lasting, money, per_second
from xmediameta.errors import (
    AuthError,
    BudgetReached,
    ConnectFailed,
    CreditsDepleted,
    MediaNotFound,
    OutageTooLong,
    RateLimitWaitTooLong,
    Unauthorized,
    XMediaMetaError,
)
from xmediameta.models import Metadata, Update
from xmediameta.outcomes import Applied, Failed, NotSent, Reason, Unchanged
from xmediameta.problems import Problem
from xmediameta.readers import Reject, Row

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def row(number: int, **fields: Any) -> Row:
    return Row("in.csv", number, Update(str(number), Metadata.of(alt_text="a"), **fields), fields.pop("passed", {}))


# How long it will take


@pytest.mark.parametrize(
    ("left", "windows", "rate", "seconds"),
    [
        # All fits the window that is open: the rate decides.
        ({None: 100}, [Window(None, "user-15min", 500, 400, 600.0)], 10.0, 10.0),
        # 1,100 beyond an empty window of 500: after 600 s a window, then two more.
        ({None: 1_100}, [Window(None, "user-15min", 500, 0, 600.0)], 10.0, 600 + 2 * 900),
        # Exactly one more window is needed, and no second one.
        ({None: 900}, [Window(None, "user-15min", 500, 400, 600.0)], 1e9, 600.0),
        ({None: 901}, [Window(None, "user-15min", 500, 400, 600.0)], 1e9, 1_500.0),
        # The slowest account decides, and an app's window counts the work of all.
        ({"a": 100, "b": 700}, [Window("a", "user-15min", 500, 0, 5.0), Window("b", "user-15min", 500, 0, 7.0)],
         1e9, 907.0),
        ({"a": 300, "b": 300}, [Window("a", "app-24hour", 50_000, 400, 3_600.0)], 1e9, 3_600.0),
        # Windows of which nothing is known yet say nothing.
        ({None: 100}, [Window(None, "user-15min", None, None, None)], 10.0, 10.0),
        ({None: 100}, [], 0.0, None),
    ],
)  # fmt: skip
def test_time_left(left: dict[str | None, int], windows: list[Window], rate: float, seconds: float | None):
    found = time_left(left, windows, rate, DOCUMENTED)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_time_left_with_windows_of_unknown_length():
    window = Window(None, "user-15min", 10, 0, 3.0)
    assert time_left({None: 10}, [window], 1e9, {}) == 3.0
    assert time_left({None: 11}, [window], 1e9, {}) is None
    assert time_left({None: 11}, [window], 1e9, {"user-15min": 4.0}) == 7.0


# Words


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.44, "0.4 s"),
        (12.4, "12 s"),
        (59.6, "1:00"),
        (372, "6:12"),
        (3_972, "1:06:12"),
        (172_799, "47:59:59"),
        (172_800, "2 days 0 h"),
        (1_801_103, "20 days 20 h"),
    ],
)
def test_lasting(seconds: float, told: str):
    assert lasting(seconds) == told


def test_money_and_rates():
    assert [money(usd) for usd in (0, 0.005, 0.075, 1, 1234.5)] == [
        "0.00 USD", "0.005 USD", "0.075 USD", "1.00 USD", "1,234.50 USD",
    ]  # fmt: skip
    assert [per_second(rate) for rate in (0.04, 9.96, 250)] == ["0.0/s", "10.0/s", "250/s"]


# Options


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("250ms", 0.25), ("1d", 86400)]
)
def test_durations(text: str, seconds: float):
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1 week", "1e3", "nan", "inf", "١s"])
def test_what_is_no_duration(text: str):
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_paces():
    assert [Pace().convert(text, None, None) for text in ("burst", "EVEN", "none", "2.5")] == [
        "burst",
        "even",
        None,
        2.5,
    ]
    for text in ("0", "-1", "quick", "nan"):
        with pytest.raises(click.BadParameter):
            Pace().convert(text, None, None)


def test_pairs_split_at_one_end():
    assert Pair("H=n", last=True).convert("a=b=id", None, None) == ("a=b", "id")
    assert Pair("N=F").convert("shop=/a=b", None, None) == ("shop", "/a=b")
    with pytest.raises(click.BadParameter) as caught:
        Pair("N=F").convert("secret-token", None, None)
    assert "secret-token" not in caught.value.message


# Results


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_results_end_in_the_order_of_the_input(tmp_path: Path, name: str):
    order = list(range(1, 61))
    random.Random(3).shuffle(order)
    with Results(str(tmp_path / name), ["note"], ()) as results:
        for number in order:
            if number % 7 == 0:
                results.invalid(number, Reject(file="in.csv", line=number, member="id", rule="is empty"))
            else:
                item = row(number, ref=f"two\nlines {number}")
                item = Row(item.file, item.line, item.update, {"note": "=1+1"})
                results.settled(number, item, Applied(update=item.update, transaction_id="t", attempts=2))
        results.finish()
    with (tmp_path / name).open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file)) if name.endswith("csv") else [json.loads(line) for line in file]
    assert [int(record["line"]) for record in found] == list(range(1, 61))
    assert [record["outcome"] for record in found] == [
        "invalid" if number % 7 == 0 else "applied" for number in range(1, 61)
    ]
    assert found[0]["ref"] == "two\nlines 1"
    if name.endswith("csv"):
        assert found[0]["note"] == "'=1+1"
    else:
        assert found[0]["passed"] == {"note": "=1+1"}
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_each_outcome_as_a_record(tmp_path: Path):
    update = row(1).update
    missing = MediaNotFound(404, Problem(title="Not Found \x1b[2J"), transaction_id="abc")
    missing.about("1", None, None, 3)
    cases = [
        (Applied(update=update, transaction_id="t", warnings=(Problem(title="odd"),)), ("applied", 200, "odd", 1, "t")),
        (Unchanged(update=update, sent_at=NOW), ("unchanged", None, None, 0, None)),
        (Failed(update=update, error=missing), ("failed", 404, "404 Not Found \\x1b[2J", 3, "abc")),
        (NotSent(update=update, reason="expired"), ("expired", None, "send_before had passed", 0, None)),
        (NotSent(update=update, reason="closed"), ("pending", None, "the run was stopped", None, None)),
        (NotSent(update=update, reason="account_stopped", error=missing),
         ("pending", 404, "404 Not Found \\x1b[2J", None, "abc")),
        (None, ("pending", None, "not taken up before the run ended", 0, None)),
    ]  # fmt: skip
    with Results(str(tmp_path / "out.jsonl"), [], ()) as results:
        for number, (outcome, _) in enumerate(cases):
            results.settled(number, row(1), outcome)
        results.finish()
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    names = ("outcome", "status", "problem", "attempts", "transaction_id")
    assert [tuple(record[name] for name in names) for record in found] == [expected for _, expected in cases]


# Summaries


def not_sent(error: XMediaMetaError, reason: Reason = "account_stopped", account: str | None = None) -> NotSent:
    return NotSent(update=Update("1", account=account), reason=reason, error=error)


def problem_error(kind: type[Any], status: int, account: str | None = None) -> Any:
    error = kind(status, Problem(title="no"))
    error.about("1", None, account)
    return error


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (BudgetReached("requests", limit=4, spent=4), "budget-requests", 3),
        (BudgetReached("duration", limit=4, spent=4), "budget-duration", 3),
        (RateLimitWaitTooLong(retry_after=9.0, max_wait=1.0, reset_at=NOW, window=None), "rate-limit-wait-too-long", 3),
        (OutageTooLong(900.0, ConnectFailed("refused")), "outage-too-long", 3),
        (ConnectFailed("certificate", retryable=False), "connect-failed", 4),
        (AuthError("no"), "auth-error", 4),
        (problem_error(CreditsDepleted, 402), "credits-depleted", 4),
        (problem_error(Unauthorized, 401), "unauthorized", 4),
    ],
)
def test_stops(error: XMediaMetaError, reason: str, code: int):
    stop = Stop.of(error)
    assert (stop.reason, stop.exit_code) == (reason, code)
    assert stop.action
    assert stop.resume_at == (NOW if isinstance(error, RateLimitWaitTooLong) else None)


def test_exit_codes_and_which_holds():
    """DESIGN: when several hold, the first of 130/143, 4, 3, 1."""
    course = Course()
    assert course.exit_code == 0
    course.note(Unchanged(update=Update("1"), sent_at=NOW))
    assert course.exit_code == 0
    course.note(Failed(update=Update("2"), error=problem_error(MediaNotFound, 404)))
    assert course.exit_code == 1
    course.note(not_sent(BudgetReached("requests", limit=1, spent=1), "budget"))
    assert course.exit_code == 3
    course.note(not_sent(problem_error(Unauthorized, 401, "shop"), account="shop"))
    course.note(not_sent(problem_error(Unauthorized, 401, "shop"), account="shop"))
    assert course.exit_code == 4
    assert getattr(course.early_end(), "account", None) == "shop"
    assert [stop.reason for stop in course.stops] == ["budget-requests", "unauthorized"]
    course.signal = 15
    assert course.exit_code == 143
    course.signal = 2
    assert course.exit_code == 130
    assert getattr(course.early_end(), "reason", None) == "interrupted"


def test_the_counts_add_up():
    course = Course(invalid=2, unit_price=0.005, requests=3)
    for outcome in (
        Applied(update=Update("1", account="a")), Failed(update=Update("2"), error=AuthError("x")),
        NotSent(update=Update("3"), reason="expired"), NotSent(update=Update("4"), reason="closed"),
    ):  # fmt: skip
        course.note(outcome)
    told = msgspec.to_builtins(course.summary())
    assert told["total"] == 6 == sum(told[name] for name in (
        "applied", "unchanged", "failed", "expired", "pending", "invalid",
    ))  # fmt: skip
    assert told["cost_usd"] == 0.015
    assert course.told() == "1 applied, 1 failed, 1 expired, 1 pending, 2 invalid"


def test_rows_that_are_known_beforehand_are_pending_until_they_are_settled():
    course = Course()
    course.expect({"a": 2, None: 2}, 1)
    course.note(Applied(update=Update("1", account="a")))
    course.note(NotSent(update=Update("2", account="a"), reason="closed"))
    course.note(Unchanged(update=Update("3"), sent_at=NOW))
    assert course.told() == "1 applied, 1 unchanged, 2 pending, 1 invalid"
    summary = course.summary()
    assert (summary.total, summary.pending) == (5, 2)
    assert [counts.pending for counts in summary.by_account.values()] == [1, 1]


def test_a_budget_of_money_is_told_as_money():
    course = Course(max_cost=0.02, unit_price=0.005)
    course.note(not_sent(BudgetReached("requests", limit=4, spent=4), "budget"))
    course.note_stop(BudgetReached("requests", limit=4, spent=4))
    [stop] = course.stops
    assert stop.reason == "budget-money"
    assert "0.02 USD" in stop.message


def test_sigterm_in_a_callback_of_the_loop_ends_it():
    """In a process of its own, as the signal is one of a process."""
    code = """
import asyncio, os, signal
from xmediameta.cli import app

async def main():
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
    await asyncio.sleep(20)

with app._sigterm_raises():
    try:
        asyncio.run(main())
    except SystemExit:
        print("ended")
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "ended\n"
