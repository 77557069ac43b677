"""One run over media that meet every fault of the sandbox in turn: each ends as this table says."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xmediameta import Applied, Client, Metadata, NotSent, RetryPolicy, errors
from xmediameta.attempts import wait_for_verdict
from xmediameta.sandbox import FAULTS, Sandbox

from .every import ACCOUNT_STOPS, LIMITED, RUN_STOPS, token
from .fake import drained, updates

# Fault to how it ends: the error, or the number of attempts that it takes until the update is applied.
ENDS: dict[str, str | int] = {
    # The update is wrong, refused, or redirected.
    **dict.fromkeys(("400", "400-old-host", "400-echo", "400-hostile", "legacy-error", "200-errors"), "UpdateRejected"),
    **dict.fromkeys(("200-legacy-error", "409", "410", "413", "415", "422"), "UpdateRejected"),
    **dict.fromkeys(("301", "302", "303", "307", "308"), "UpdateRejected"),
    **dict.fromkeys(("403", "status-lie"), "UpdateForbidden"),
    **dict.fromkeys(("404-unknown-media", "legacy-34"), "MediaNotFound"),
    # The account is out.
    "401": "Unauthorized",
    "403-client-forbidden": "AccountForbidden",
    "403-unsupported-auth": "AccountForbidden",
    "403-suspended": "AccountSuspended",
    # The run is over.
    **dict.fromkeys(("402", "402-credits"), "CreditsDepleted"),
    **dict.fromkeys(("usage-capped", "usage-capped-daily"), "UsageCapped"),
    "404-empty": "EndpointNotFound",
    # The window is used up: one wait, and then another attempt, which does not count.
    **dict.fromkeys(LIMITED, 2),
    # The server is in trouble.
    **dict.fromkeys(("408", "500", "500-strings", "501", "502", "503", "504", "521", "522", "524"), 2),
    **dict.fromkeys((f"{status}-html" for status in (502, 503, 504, 520, 521, 522, 524)), 2),
    **dict.fromkeys((f"503-{how}" for how in ("empty", "utf16", "deep")), 2),
    **dict.fromkeys((f"503-retry-after{how}" for how in ("", "-date", "-past", "-far", "-odd", "-negative")), 2),
    # A 2xx that says nothing of use.
    **dict.fromkeys((f"200-{how}" for how in ("html", "cut", "null", "list", "utf16", "deep", "other-id")), 2),
    # The answer did not come, or not whole, or was no HTTP.
    **dict.fromkeys(("reset", "reset-applied", "close", "close-applied", "hang", "hang-applied", "stall"), 2),
    **dict.fromkeys(("truncated", "cut-chunk", "short-length", "bad-length", "two-lengths", "bad-chunk"), 2),
    **dict.fromkeys(("bad-status-line", "not-http", "header-flood", "long-header", "bad-header"), 2),
    **dict.fromkeys(("interim-endless", "huge", "endless", "gzip-bomb"), 2),
    # All is well, however odd it looks.
    **dict.fromkeys((f"rates-{how}" for how in ("absent", "malformed", "enormous", "past", "far")), 1),
    **dict.fromkeys(("rates-milliseconds", "rates-no-reset"), 1),
    **dict.fromkeys((f"200-{how}" for how in ("warnings", "empty", "no-id", "null-data", "number-id", "latin1")), 1),
    **dict.fromkeys(
        (f"200-{how}" for how in ("unknown-members", "untyped", "bom", "gzip", "encoding-lie", "plain")), 1
    ),
    **dict.fromkeys(("202", "204", "late", "slow", "interim", "last", "connection-close", "no-length"), 1),
    **dict.fromkeys(("hostile-header", "no-date", "odd-date"), 1),
}
RUN = [name for name in FAULTS if name not in RUN_STOPS]


def test_the_table_is_whole() -> None:
    assert set(ENDS) == set(FAULTS)


@pytest.fixture(scope="module")
def run() -> dict[str, Any]:
    """What came of the run, in a process of its own."""
    program = Path(__file__).with_name("every.py")
    paths = [str(program.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stderr.splitlines():  # where warnings go that nobody handles: the four accounts that are out
        assert line.startswith("stopped: "), done.stderr
    assert "canary" not in done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", RUN)
def test_each_ends_as_the_table_says(run: dict[str, Any], name: str) -> None:
    told, ends, fault = run["told"][name], ENDS[name], FAULTS[name]
    assert run["met"][name] == 1
    if isinstance(ends, int):
        assert (told["outcome"], told["error"]) == ("Applied", None)
        assert told["applied"] == {"alt_text": {"text": f"met by {name}"}}
        # What a failed attempt had applied is applied once more, and is the same.
        assert told["history"] == (2 if ends == 2 and fault.applied else 1)
        assert told["attempts"] >= ends
        assert told["warnings"] == (1 if name == "200-warnings" else 0)
    else:
        assert told["outcome"] == ("NotSent" if name in ACCOUNT_STOPS else "Failed")
        assert told["error"] == ends
        assert told["history"] == 0
    assert told["says"].isprintable()
    assert "canary" not in told["says"]


@pytest.mark.parametrize("name", RUN)
def test_those_beside_it_are_applied_once(run: dict[str, Any], name: str) -> None:
    told = run["told"][f"beside {name}"]
    assert (told["outcome"], told["history"]) == ("Applied", 1)


def test_all_faults_were_met_and_the_server_agrees(run: dict[str, Any]) -> None:
    assert run["unmet"] == {}
    assert len(run["told"]) == 2 * len(RUN)
    assert run["most_per_id"] == 1
    assert run["stats"][0] == run["requests"] == sum(told["attempts"] for told in run["told"].values())
    assert run["stats"][2] == 0
    # Some faults close a connection that promised to stay: a request that finds it stale is one more, never seen.
    expected = {name: ENDS[name] if isinstance(ENDS[name], int) else 1 for name in RUN}
    more = sum(told["attempts"] - expected.get(name, 1) for name, told in run["told"].items())
    assert more == run["requests"] - run["seen"]
    assert 0 <= more < 20


def test_memory_stays_small(run: dict[str, Any]) -> None:
    assert run["peak_mib"] < 100


@pytest.mark.parametrize("name", sorted(RUN_STOPS))
@pytest.mark.parametrize("bulk", [False, True])
async def test_what_ends_a_run_ends_it_at_once(name: str, bulk: bool) -> None:
    kind = getattr(errors, str(ENDS[name]))
    async with (
        Sandbox(limit=None, app_limit=None, latency=0.005) as sandbox,
        Client(token(name), base_url=sandbox.url, concurrency=8, limits=None) as one,
    ):
        await one.create("1", Metadata.of(alt_text="x"))
        sandbox.refuse_with(name)
        if bulk:
            run = one.bulk(updates(1_000, start=2))
            outcomes, error = await drained(run)
            assert type(error) is kind
            assert len(outcomes) == run.taken
            assert {outcome.reason for outcome in outcomes if isinstance(outcome, NotSent)} == {"run_stopped"}
            assert {type(outcome) for outcome in outcomes} == {NotSent}
            assert run.requests <= 8  # what was in flight
        with pytest.raises(kind):
            await one.create("2", Metadata.of(alt_text="x"))
        requests = sandbox.counts.requests
        with pytest.raises(kind):
            await one.create("3", Metadata.of(alt_text="x"))
        assert sandbox.counts.requests == requests  # nothing is asked again for a minute


async def test_a_fault_that_lasts_fails_after_five_attempts() -> None:
    lasting = ("500", "502-html", "200-html", "truncated", "bad-status-line", "two-lengths", "reset", "huge")
    retry = RetryPolicy(wait=wait_for_verdict(base=0.001, cap=0.002))
    async with (
        Sandbox(limit=None, app_limit=None) as sandbox,
        Client(token("lasting"), base_url=sandbox.url, limits=None, retry=retry) as one,
    ):
        for number, name in enumerate(lasting):
            media_id = str(100 + number)
            sandbox.script(media_id, [name] * 5)
            with pytest.raises(errors.XMediaMetaError) as caught:
                await one.create(media_id, Metadata.of(alt_text="x"))
            assert caught.value.scope == "retry"
            assert caught.value.attempts == 5
            assert "5 attempts" in str(caught.value)
            assert (await one.create(media_id, Metadata.of(alt_text="x"))).attempts == 1
        assert sandbox.unmet == {}
        assert sandbox.counts.requests == 6 * len(lasting)


@pytest.mark.looptime  # sockets are real, time is not: a busy machine makes no request late
@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if ENDS[name] == 2 and name not in LIMITED])
async def test_maybe_applied_is_never_false_where_it_was(name: str) -> None:
    """Each attempt's own error, seen where no second one is made."""
    async with Sandbox(limit=None, app_limit=None) as sandbox:
        sandbox.script("7", [name])
        retry = RetryPolicy(attempts=1)
        async with Client(token("once"), base_url=sandbox.url, timeout=5.0, limits=None, retry=retry) as one:
            with pytest.raises(errors.XMediaMetaError) as caught:
                await one.create("7", Metadata.of(alt_text="x"))
        await asyncio.sleep(0)
        error = caught.value
        assert error.scope == "retry"
        assert error.attempts == 1
        assert sandbox.unmet == {}
        if isinstance(error, errors.TransportError):
            assert error.maybe_applied
        else:
            assert isinstance(error, errors.ServerFault | errors.UnreadableResponse)
        assert error.__cause__ is None
        assert error.__context__ is None


async def test_applied_is_what_the_server_says() -> None:
    async with Sandbox(limit=None, app_limit=None) as sandbox, Client(token("x"), base_url=sandbox.url) as one:
        applied = await one.create("7", Metadata.of(alt_text="x"), ref="row 1")
    assert isinstance(applied, Applied)
    assert (applied.id, applied.ref, applied.attempts, applied.transaction_id) == ("7", "row 1", 1, "0" * 15 + "1")
