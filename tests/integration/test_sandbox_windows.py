"""The sandbox's fixed windows: strict to the request, told in headers that can be rounded, skewed or left out."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmediameta.sandbox import Sandbox
from xmediameta.sandbox.quota import FixedWindow, admit, rate_headers, spend

from .conftest import TOKEN

NOON = 1_700_000_000.0
RATE, APP, DAY = "x-rate-limit-", "x-app-limit-24hour-", "x-user-limit-24hour-"


def told(answer: Any, stem: str) -> tuple[int, int, float]:
    limit, remaining, reset = (int(answer.headers[stem + name]) for name in ("limit", "remaining", "reset"))
    return limit, remaining, reset


async def test_a_window_admits_exactly_its_limit(sandbox_post) -> None:
    async with Sandbox(limit=5, window=900, clock=NOON) as sandbox:
        answers = [await sandbox_post(sandbox, str(number)) for number in range(8)]
        assert [answer.status for answer in answers] == [200] * 5 + [429] * 3
        assert [told(answer, RATE) for answer in answers] == [
            (5, remaining, NOON + 900) for remaining in (4, 3, 2, 1, 0, 0, 0, 0)
        ]
        refused = answers[-1]
        assert (refused.json["type"], refused.json["title"]) == ("about:blank", "Too Many Requests")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert "Retry-After" not in refused.headers
        counts = sandbox.counts
        assert (counts.requests, counts.applied, counts.limited) == (8, 5, 3)
        assert counts.by_status == {200: 5, 429: 3}
        assert sorted(sandbox.applied) == ["0", "1", "2", "3", "4"]


async def test_a_window_opens_with_its_first_request_and_ends_to_the_second(sandbox_post) -> None:
    async with Sandbox(limit=2, window=10, clock=NOON) as sandbox:
        sandbox.advance(100)  # time before the first request is nobody's window
        assert told(await sandbox_post(sandbox), RATE) == (2, 1, NOON + 110)
        sandbox.advance(9)
        assert told(await sandbox_post(sandbox), RATE) == (2, 0, NOON + 110)
        sandbox.advance(0.999)
        assert (await sandbox_post(sandbox)).status == 429
        sandbox.advance(0.001)
        assert told(await sandbox_post(sandbox), RATE) == (2, 1, NOON + 120)
        sandbox.advance(25)
        assert told(await sandbox_post(sandbox), RATE) == (2, 1, NOON + 145)


async def test_aligned_windows_start_on_the_clock(sandbox_post) -> None:
    async with Sandbox(limit=2, window=900, aligned=True, clock=NOON) as sandbox:  # NOON is 800 s into a window
        assert told(await sandbox_post(sandbox), RATE) == (2, 1, NOON + 100)
        sandbox.advance(99)
        assert told(await sandbox_post(sandbox), RATE) == (2, 0, NOON + 100)
        assert (await sandbox_post(sandbox)).status == 429
        sandbox.advance(1)
        assert told(await sandbox_post(sandbox), RATE) == (2, 1, NOON + 1000)


@pytest.mark.parametrize(
    ("rounding", "fraction", "reset"),
    [("floor", 0.75, 900), ("ceil", 0.75, 901), ("round", 0.75, 901), ("round", 0.25, 900), ("ceil", 0.25, 901),
     ("ceil", 0.0, 900)],
)  # fmt: skip
async def test_resets_are_rounded_as_asked(sandbox_post, rounding: Any, fraction: float, reset: int) -> None:
    async with Sandbox(limit=1, reset_rounding=rounding, clock=NOON + fraction) as sandbox:
        answer = await sandbox_post(sandbox)
        assert told(answer, RATE)[2] == NOON + reset
        assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == NOON  # always cut
        sandbox.advance(899.999)
        assert (await sandbox_post(sandbox)).status == 429  # rounding changes what is told, not what is
        sandbox.advance(0.001)
        assert (await sandbox_post(sandbox)).status == 200


@pytest.mark.parametrize("skew", [-600.0, 600.0])
async def test_a_skewed_clock_skews_date_and_reset_alike(sandbox_post, skew: float) -> None:
    async with Sandbox(clock=NOON, clock_skew=skew) as sandbox:
        answer = await sandbox_post(sandbox)
        assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == NOON + skew
        assert told(answer, RATE)[2] == NOON + skew + 900
        assert sandbox.received[0].time == sandbox.now() == NOON + skew


async def test_each_token_has_its_windows(sandbox_post) -> None:
    async with Sandbox(limit=1) as sandbox:
        statuses = [(await sandbox_post(sandbox, token=token)).status for token in ("a", "b", "a", "b")]
        assert statuses == [200, 200, 429, 429]


async def test_tokens_of_one_app_share_its_window(sandbox_post) -> None:
    apps = {"a": "one", "b": "one", "c": "two"}
    async with Sandbox(limit=10, app_limit=3, apps=apps, clock=NOON) as sandbox:
        answers = {
            name: await sandbox_post(sandbox, token=name[0]) for name in ("a1", "b1", "a2", "b2", "c1", "d1")
        }  # fmt: skip
        assert {name: answer.status for name, answer in answers.items()} == {
            "a1": 200, "b1": 200, "a2": 200, "b2": 429, "c1": 200, "d1": 200,
        }  # fmt: skip
        assert told(answers["b2"], APP) == (3, 0, NOON + 86_400)
        assert told(answers["b2"], RATE)[:2] == (10, 9)  # what one window refuses takes from no other
        assert told(answers["c1"], APP)[:2] == (3, 2)
        assert told(answers["d1"], APP)[:2] == (3, 2)
        sandbox.advance(86_400)
        assert (await sandbox_post(sandbox, token="b")).status == 200


async def test_the_users_day_binds_when_asked_for(sandbox_post) -> None:
    async with Sandbox(limit=2, window=900, user_day_limit=3, app_limit=None, clock=NOON) as sandbox:
        first = await sandbox_post(sandbox)
        assert told(first, DAY) == (3, 2, NOON + 86_400)
        assert APP + "limit" not in first.headers
        await sandbox_post(sandbox)
        sandbox.advance(900)
        assert (await sandbox_post(sandbox)).status == 200
        refused = await sandbox_post(sandbox)
        assert (refused.status, told(refused, DAY)[1], told(refused, RATE)[1]) == (429, 0, 1)
        sandbox.advance(86_400 - 900)
        assert (await sandbox_post(sandbox)).status == 200


@pytest.mark.parametrize(
    ("headers", "stems"),
    [
        (True, {RATE, APP, DAY}), (False, set()), ([], set()), ("user-15min", {RATE}), (["app-24hour"], {APP}),
        ({"user-15min", "user-24hour"}, {RATE, DAY}),
    ],
)  # fmt: skip
async def test_header_families_can_be_left_out(sandbox_post, headers: Any, stems: set[str]) -> None:
    async with Sandbox(limit=1, user_day_limit=10, headers=headers) as sandbox:
        for status in (200, 429):
            answer = await sandbox_post(sandbox)
            assert answer.status == status  # the windows hold all the same
            sent = {name.lower().rpartition("-")[0] + "-" for name in answer.headers if "-limit-" in name.lower()}
            assert sent == stems
            assert "Date" in answer.headers


async def test_an_outside_spender_takes_from_every_window(sandbox_post) -> None:
    async with Sandbox(limit=10, app_limit=12, user_day_limit=11, clock=NOON) as sandbox:
        assert sandbox.spend(TOKEN, 4) == 4
        answer = await sandbox_post(sandbox)
        assert [told(answer, stem)[1] for stem in (RATE, APP, DAY)] == [5, 7, 6]
        assert sandbox.spend(TOKEN, 100) == 5  # no more than there is
        assert (await sandbox_post(sandbox)).status == 429
        assert sandbox.spend(TOKEN, 1) == 0
        sandbox.advance(900)
        assert (await sandbox_post(sandbox)).status == 200
        assert sandbox.counts.requests == 3


@pytest.mark.looptime
async def test_windows_follow_a_faked_loop_time(sandbox_post) -> None:
    async with Sandbox(limit=2, window=900, latency=1.0) as sandbox:
        first = await sandbox_post(sandbox)
        await sandbox_post(sandbox)
        assert (await sandbox_post(sandbox)).status == 429
        await asyncio.sleep(890)
        assert (await sandbox_post(sandbox)).status == 429
        await asyncio.sleep(10)
        later = await sandbox_post(sandbox)
        assert later.status == 200
        assert told(later, RATE)[2] - told(first, RATE)[2] in (902, 903, 904)


@pytest.mark.looptime
async def test_answers_tell_the_windows_of_their_arrival(sandbox_post) -> None:
    async with Sandbox(limit=50, latency=(0.1, 5.0)) as sandbox:
        order: list[int] = []

        async def one(number: int) -> None:
            answer = await sandbox_post(sandbox, str(number))
            order.append(told(answer, RATE)[1])

        await asyncio.gather(*(one(number) for number in range(50)))
        assert sorted(order) == list(range(50))
        assert order != sorted(order, reverse=True)  # out of order, as asked


async def test_many_at_once_are_admitted_to_the_request(sandbox_post) -> None:
    async with Sandbox(limit=37) as sandbox:
        answers = await asyncio.gather(*(sandbox_post(sandbox, str(number)) for number in range(60)))
        assert sum(answer.status == 200 for answer in answers) == 37
        assert sum(answer.status == 429 for answer in answers) == 23
        assert sandbox.counts.applied == 37


@given(
    limit=st.integers(1, 5),
    length=st.integers(1, 40).map(lambda halves: halves / 2),
    aligned=st.booleans(),
    gaps=st.lists(st.floats(0, 12), min_size=1, max_size=60),
)
def test_no_window_ever_admits_more_than_its_limit(limit: int, length: float, aligned: bool, gaps: list[float]) -> None:
    """Against the plain definition: windows by the times at which they opened, admissions counted in each."""
    window = FixedWindow("user-15min", limit, length, aligned=aligned)
    now, admitted, refused = 1000.0, [], []
    for gap in gaps:
        now += gap
        remaining, reset = window.standing(now)
        assert 0 <= remaining <= limit
        assert now < reset <= now + length
        (admitted if admit([window], now) else refused).append((now, window.opened))
        assert window.left(now) == window.standing(now)[0]
    for opened in {opened for _, opened in admitted}:
        times = [time for time, start in admitted if start == opened]
        assert opened <= min(times)
        assert max(times) < opened + length
        assert len(times) <= limit
    openings = sorted({opened for _, opened in admitted})
    assert all(later >= earlier + length for earlier, later in pairwise(openings))
    for time, opened in refused:  # refused only where that window was full
        assert opened <= time < opened + length
        assert sum(1 for _, start in admitted if start == opened) == limit
    if aligned:
        assert all(abs(opened / length - round(opened / length)) < 1e-6 for opened in openings)


def test_spending_is_bound_by_the_tightest_window() -> None:
    wide, tight = FixedWindow("app-24hour", 10, 100), FixedWindow("user-15min", 3, 10)
    assert spend([wide, tight], 0.0, 5) == 3
    assert (wide.left(0.0), tight.left(0.0)) == (7, 0)
    assert spend([wide, tight], 0.0, 5) == 0
    assert spend([wide, tight], 10.0, 2) == 2
    assert (wide.left(10.0), tight.left(10.0)) == (5, 1)
    assert spend([], 0.0, 4) == 4


def test_headers_are_whole_numbers() -> None:
    window = FixedWindow("user-24hour", 3, 10)
    window.take(0.4)
    assert rate_headers([window], 0.4, "ceil", {"user-24hour"}) == {
        f"{DAY}limit": "3", f"{DAY}remaining": "2", f"{DAY}reset": "11",
    }  # fmt: skip
