"""Whatever the server answers, every input ends in one outcome, and the server's own record agrees."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import looptime
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xmediameta import Applied, Client, Failed, Metadata, NotSent, Outcome, Sandbox, Update
from xmediameta.coalesce import Coalesce

PASSING = [
    "ok", "503", "500", "502-html", "503-retry-after", "429", "429-bare", "429-past", "reset", "close", "hang",
    "reset-applied", "close-applied", "200-cut", "200-html", "200-other-id", "truncated", "bad-status-line", "slow:2",
]  # fmt: skip
FINAL = ["400", "403", "404-unknown-media", "409", "413"]
STOPPING = ["401", "402", "403-suspended", "usage-capped", "404-empty"]
# Answers that the server counts as applied and the client cannot read as a success, or never sees.
UNSEEN = {"reset-applied", "close-applied", "200-cut", "200-html", "200-other-id", "truncated", "bad-status-line"}

ids = st.sampled_from(["1", "2", "3", "4"])
faults = st.one_of(st.sampled_from(PASSING), st.sampled_from(PASSING + FINAL), st.sampled_from(PASSING + STOPPING))
moments = st.sampled_from([0.0, 0.0, 0.5, 30.0])
rows = st.tuples(ids, st.sampled_from(["a", "b", "c"]), st.sampled_from(["ana", "bob"]), st.booleans())


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "rows": draw(st.lists(rows, max_size=14)),
        "script": draw(st.dictionaries(ids, st.lists(faults, max_size=3), max_size=4)),
        "limit": draw(st.sampled_from([None, None, 3, 7])),
        "latency": draw(st.sampled_from([0.0, (0.0, 1.0)])),
        "concurrency": draw(st.sampled_from([1, 2, 16])),
        "coalesce": draw(st.sampled_from([None, None, "last", "merge"])),
        "calls": draw(st.lists(st.tuples(ids, st.sampled_from(["a", "z"]), moments), max_size=4)),
        "rival": draw(st.lists(rows, max_size=6)),
        "rival_at": draw(moments),
        "lookahead": draw(st.sampled_from([10_000, 10_000, 1, 3])),
        "reserve": draw(st.sampled_from([0, 0, 2])),
        "seed": draw(st.integers(0, 3)),
    }


def in_faked_time(work: Any) -> None:
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(work)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(plan=plans())
def test_the_servers_record_agrees_with_the_outcomes(plan: dict[str, Any]) -> None:
    in_faked_time(held_against_the_server(plan))


def updates(given: list[tuple[str, str, str, bool]]) -> list[Update]:
    return [
        Update(media_id, Metadata.of(alt_text=text, allow_download=download or None), account, ref=number)
        for number, (media_id, text, account, download) in enumerate(given)
    ]


async def later(client: Client, media_id: str, text: str, at: float) -> Applied:
    await asyncio.sleep(at)
    return await client.create(media_id, Metadata.of(alt_text=text), account="ana", max_wait=None)


async def run(client: Client, inputs: list[Update], **options: Any) -> tuple[list[Outcome], BaseException | None]:
    found: list[Outcome] = []
    try:
        async with client.bulk(inputs, **options) as outcomes:
            async for outcome in outcomes:
                found.append(outcome)  # noqa: PERF401 - what came before an error counts
    except Exception as stopped:  # noqa: BLE001 - any of the package's errors
        return found, stopped
    assert len(found) == len(inputs)
    return found, None


async def rival(client: Client, inputs: list[Update], at: float) -> list[Outcome]:
    """Another run, of some of the same media."""
    await asyncio.sleep(at)
    return (await run(client, inputs, concurrency=2, lookahead=2))[0]


async def held_against_the_server(plan: dict[str, Any]) -> None:
    mode: Coalesce = plan["coalesce"]
    inputs = updates(plan["rows"])
    async with (
        Sandbox(limit=plan["limit"], window=60, latency=plan["latency"], seed=plan["seed"], script=plan["script"])
        as sandbox,
        Client(
            {"ana": "a", "bob": "b"}, base_url=sandbox.url, pace=None, timeout=20, reserve=plan["reserve"]
        ) as client,
        asyncio.timeout(100_000),  # nobody hangs
    ):  # fmt: skip
        calls = [asyncio.create_task(later(client, *call)) for call in plan["calls"]]
        other = asyncio.create_task(rival(client, updates(plan["rival"]), plan["rival_at"]))
        options = {name: plan[name] for name in ("concurrency", "coalesce", "lookahead")}
        found, _ = await run(client, inputs, **options)
        called = [*await asyncio.gather(*calls, return_exceptions=True), *await other]
        assert sorted(outcome.ref for outcome in found if isinstance(outcome.ref, int)) == list(range(len(found)))
        assert client.stats.requests == sandbox.counts.requests
        assert client.stats.in_flight == 0
        assert sandbox.counts.most_per_id <= 1
        agree(sandbox, found, [call for call in called if isinstance(call, Applied)], mode)
        await asyncio.sleep(0)


def agree(sandbox: Sandbox, found: list[Outcome], called: list[Applied], mode: Coalesce) -> None:
    records = {record.transaction_id: record for record in sandbox.received}
    applied = [*(outcome for outcome in found if isinstance(outcome, Applied)), *called]
    for outcome in applied:
        record = records[str(outcome.transaction_id)]
        assert record.applied
        assert record.id == outcome.id
        if mode is None or outcome in called:
            assert msgspec.convert(record.body["metadata"], Metadata) == outcome.update.metadata
    seen = {record.transaction_id for record in records.values() if record.applied and record.fault not in UNSEEN}
    assert seen == {outcome.transaction_id for outcome in applied}, "what was answered was told, and nothing else"
    per_id: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in sorted(found, key=lambda outcome: int(str(outcome.ref))):
        per_id[outcome.id].append(outcome)
    for media_id, ends in per_id.items():
        last = ends[-1]
        if isinstance(last, Applied) and not any(call.id == media_id for call in called):
            assert sandbox.applied[media_id] == records[str(last.transaction_id)].body["metadata"]
        assert all(isinstance(end, Applied | Failed | NotSent) for end in ends)
