"""`bulk`: every input ends in exactly one outcome, whatever it is and wherever it comes from."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from xmediameta import (
    AltText,
    Applied,
    Client,
    ConfigurationError,
    Failed,
    InvalidUpdate,
    Metadata,
    Sandbox,
    Update,
    UpdateForbidden,
)

from .clients import ID, TOKEN, alt, client_of, nothing_left, outcomes_of, told, updates, wire

pytestmark = pytest.mark.looptime  # sockets are real, time is not: latency and waits cost none


def lines(number: int) -> list[dict[str, Any]]:
    """Inputs in the shape of a line."""
    return [{"id": str(n), "metadata": wire(str(n)), "ref": n} for n in range(1, number + 1)]


async def stream(items: Any, *, pause: float = 0.0) -> AsyncIterator[Any]:
    for item in items:
        if pause:
            await asyncio.sleep(pause)
        yield item


# Where inputs come from


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda: updates(30), id="list"),
        pytest.param(lambda: tuple(updates(30)), id="tuple"),
        pytest.param(lambda: (update for update in updates(30)), id="generator"),
        pytest.param({update.id: update for update in updates(30)}.values, id="view"),
        pytest.param(lambda: lines(30), id="mappings"),
        pytest.param(lambda: [*updates(10), *lines(30)[10:]], id="both"),
        pytest.param(lambda: stream(updates(30)), id="async generator"),
        pytest.param(lambda: stream(lines(30)), id="async generator of mappings"),
        pytest.param(lambda: stream(updates(30), pause=0.001), id="slow async generator"),
    ],
)
@pytest.mark.parametrize("concurrency", [1, 32])
async def test_any_iterable(given: Any, concurrency: int) -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        async with client.bulk(given(), concurrency=concurrency) as outcomes:
            found = [outcome async for outcome in outcomes]
            assert (outcomes.taken, outcomes.requests, outcomes.retries, outcomes.in_flight) == (30, 30, 0, 0)
        assert told(found) == dict.fromkeys(range(1, 31), "applied")
        assert sandbox.applied == {str(n): wire(str(n)) for n in range(1, 31)}
        assert sandbox.counts.requests == 30
        assert sandbox.counts.most_in_flight <= concurrency
        await nothing_left(client)


async def test_nothing_at_all() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        assert await outcomes_of(client, []) == ([], None)
        assert await outcomes_of(client, stream([])) == ([], None)
        assert sandbox.counts.requests == 0
        await nothing_left(client)


@pytest.mark.parametrize("given", ["abc", b"abc", {"id": "1"}, Update("1"), 5, None])
def test_what_is_no_stream_of_updates(given: Any) -> None:
    with pytest.raises(TypeError, match="updates must be an iterable"):
        Client(TOKEN).bulk(given)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("concurrency", 0), ("concurrency", 1.5), ("concurrency", True), ("lookahead", 0), ("max_requests", -1),
        ("max_duration", -1), ("max_duration", float("nan")), ("max_wait", -0.1), ("coalesce", "newest"),
    ],
)  # fmt: skip
def test_an_option_that_makes_no_sense(option: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=option):
        Client(TOKEN).bulk([], **{option: value})  # type: ignore[arg-type]


async def test_a_run_is_used_once_and_in_its_block() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        run = client.bulk(updates(1))
        assert "new" in repr(run)
        assert (run.taken, run.requests, run.retries, run.in_flight, run.waiting_until) == (0, 0, 0, 0, None)
        with pytest.raises(RuntimeError, match="async with"):
            await anext(run)
        async with run:
            assert isinstance(await anext(run), Applied)
        assert "done" in repr(run)
        with pytest.raises(RuntimeError, match="once"):
            async with run:
                pass
        with pytest.raises(StopAsyncIteration):
            await anext(run)
        await nothing_left(client)


async def test_a_run_that_was_stopped_before_it_began_sends_nothing() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        run = client.bulk(updates(5))
        run.stop()
        async with run as outcomes:
            assert [outcome async for outcome in outcomes] == []
        assert sandbox.counts.requests == 0


# A mixed run


class Odd(Mapping[str, Any]):
    """A mapping of the caller's own, which fails as it is read."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise OSError("canary-database-password")

    def __len__(self) -> int:
        return 1


def mixed() -> list[Any]:
    """One input for each way to end."""
    geo = Metadata.of(allowed_countries=["us"])
    return [
        Update("1", alt(), "good", ref="applied"),
        Update("400", alt(), "good", ref="refused"),
        Update("404", alt(), "good", ref="unknown"),
        Update("403", alt(), "good", ref="forbidden"),
        Update("503", alt(), "good", ref="flaky"),
        Update("1", alt(), "good", ref="identical"),
        Update("1", geo, "good", ref="another for the same"),
        Update("2", Metadata(alt_text=AltText("x" * 1001)), "good", ref="too long"),
        Update("3_99", alt(), "good", ref="a media key"),
        Update("3", account="good", ref="sets nothing"),
        {"id": "4", "metadata": wire(), "account": "good", "ref": "mapping"},
        {"id": "5", "metadata": {"alt_txt": {}}, "account": "good", "ref": "bad mapping"},
        {"id": 6, "metadata": wire(), "account": "good", "ref": "number as id"},
        Update("7", alt(), "nobody", ref="unknown account"),
        Update("8", alt(), ref="no account"),
        Update("9", alt(), "good", ref="expired", send_before=1),
        Update("10", alt(), "gone", ref="stopped 1"),
        Update("11", alt(), "gone", ref="stopped 2"),
        Update("12", alt(), "good", ref="last"),
    ]


EXPECTED = {
    "applied": "applied",
    "refused": "UpdateRejected",
    "unknown": "MediaNotFound",
    "forbidden": "UpdateForbidden",
    "flaky": "applied",
    "identical": "applied",
    "another for the same": "applied",
    "too long": "InvalidUpdate",
    "a media key": "InvalidUpdate",
    "sets nothing": "InvalidUpdate",
    "mapping": "applied",
    "bad mapping": "InvalidUpdate",
    "number as id": "InvalidUpdate",
    "unknown account": "InvalidUpdate",
    "no account": "InvalidUpdate",
    "expired": "expired",
    "stopped 1": "account_stopped",
    "stopped 2": "account_stopped",
    "last": "applied",
}


@pytest.mark.parametrize("kind", ["list", "async generator"])
@pytest.mark.parametrize("concurrency", [1, 32])
async def test_a_mixed_run(kind: str, concurrency: int) -> None:
    script: dict[str, list[str | int]] = {"400": ["400"], "404": ["404"], "403": ["403"], "503": ["503", "503"]}
    async with Sandbox(script=script, latency=0.01) as sandbox:
        sandbox.revoke("token-gone")
        async with client_of(sandbox, {"good": "token-good", "gone": "token-gone"}) as client:
            given: Any = mixed() if kind == "list" else stream(mixed(), pause=0.01)
            found, error = await outcomes_of(client, given, concurrency=concurrency)
            assert error is None, "the other account was there to the end"
            assert told(found) == EXPECTED
            assert sandbox.unmet == {}
            applied = [outcome for outcome in found if isinstance(outcome, Applied)]
            assert sandbox.counts.applied == len({outcome.transaction_id for outcome in applied})
            assert sandbox.applied["1"] == {
                "geo_restrictions": {"whitelisted_country_codes": ["us"], "blacklisted_country_codes": []}
            }
            for outcome in found:
                if isinstance(outcome, Failed):
                    assert outcome.error.ref == outcome.ref
                    assert outcome.error.media_id == outcome.id
            await nothing_left(client)


async def test_what_is_no_update_ends_as_failed_and_the_run_goes_on() -> None:
    odd = [None, 5, "text", ["1"], Odd(), object(), {}, {1: 2}, {"id": None}, Applied(update=Update("1", alt()))]
    given: list[Any] = [*odd, Update("1", alt(), ref="good")]
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, given)
        assert error is None
        assert Counter(type(outcome) for outcome in found) == {Failed: len(odd), Applied: 1}
        for outcome in found:
            if isinstance(outcome, Failed):
                assert isinstance(outcome.error, InvalidUpdate)
                assert "canary" not in str(outcome.error)
        await nothing_left(client)


async def test_errors_of_rows_that_shared_a_request_are_their_own() -> None:
    async with Sandbox(script={ID: ["404"], "3": ["403"]}, latency=0.05) as sandbox, client_of(sandbox) as client:
        rows = [Update(media_id, alt(), ref=f"{media_id}/{n}") for n in range(3) for media_id in (ID, "3")]
        found, _ = await outcomes_of(client, rows)
        assert sandbox.counts.requests == 2
        errors = [outcome.error for outcome in found if isinstance(outcome, Failed)]
        assert sorted(str(error.ref) for error in errors) == sorted(str(update.ref) for update in rows)
        assert len({id(error) for error in errors}) == 6


async def test_a_plain_403_is_kept_back_until_it_is_known_whose_it_is() -> None:
    async with Sandbox(script={"1": ["403"]}) as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, updates(3), concurrency=1)
        assert error is None
        assert [type(outcome) for outcome in found] == [Failed, Applied, Applied]
        assert isinstance(found[0], Failed)
        assert isinstance(found[0].error, UpdateForbidden)


async def test_a_plain_403_is_not_kept_back_for_ever() -> None:
    """A stream that goes on only once its outcomes are known must not wait for itself."""
    sent: asyncio.Queue[Update | None] = asyncio.Queue()

    async def endless() -> AsyncIterator[Update]:
        while (update := await sent.get()) is not None:
            yield update

    async with Sandbox(script={"1": ["403"]}) as sandbox, client_of(sandbox) as client:
        async with client.bulk(endless()) as outcomes:
            for number, kind in ((1, Failed), (2, Applied)):
                sent.put_nowait(Update(str(number), alt()))
                async with asyncio.timeout(30):
                    assert type(await anext(outcomes)) is kind
            sent.put_nowait(None)
            with pytest.raises(StopAsyncIteration):
                await anext(outcomes)
        await nothing_left(client)


async def test_many_readers_share_the_outcomes() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        found: list[Any] = []

        async with client.bulk(updates(200)) as outcomes:

            async def read() -> None:
                async for outcome in outcomes:
                    found.append(outcome)
                    await asyncio.sleep(0)

            await asyncio.gather(read(), read(), read())
        assert told(found) == dict.fromkeys(range(1, 201), "applied")
        await nothing_left(client)


async def test_a_reader_that_gives_up_now_and_then_loses_nothing() -> None:
    async with Sandbox(latency=(0, 0.02)) as sandbox, client_of(sandbox) as client:
        found: list[Any] = []
        async with client.bulk(updates(60), concurrency=3) as outcomes:
            while len(found) < 60:
                try:
                    async with asyncio.timeout(0.003):
                        found.append(await anext(outcomes))
                except TimeoutError:
                    continue
        assert told(found) == dict.fromkeys(range(1, 61), "applied")
        await nothing_left(client)
