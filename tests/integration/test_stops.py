"""What takes an account or a whole run out, what goes on, and how it heals."""

from __future__ import annotations

import asyncio

import pytest

from xmediameta import (
    AccountForbidden,
    AccountSuspended,
    Applied,
    CreditsDepleted,
    EndpointNotFound,
    Failed,
    NotSent,
    RateLimitWaitTooLong,
    Sandbox,
    Unauthorized,
    Update,
    UpdateForbidden,
    UsageCapped,
    XMediaMetaError,
)

from .clients import ID, alt, client_of, nothing_left, outcomes_of, told, updates

pytestmark = pytest.mark.looptime  # sockets are real, time is not: latency and waits cost none

STOPS = [
    pytest.param("401", Unauthorized, "account_stopped", id="401"),
    pytest.param("403-suspended", AccountSuspended, "account_stopped", id="suspended"),
    pytest.param("403-client-forbidden", AccountForbidden, "account_stopped", id="client-forbidden"),
    pytest.param("402", CreditsDepleted, "run_stopped", id="402"),
    pytest.param("usage-capped", UsageCapped, "run_stopped", id="usage-capped"),
    pytest.param("404-empty", EndpointNotFound, "run_stopped", id="wrong address"),
]


@pytest.mark.parametrize(("fault", "kind", "reason"), STOPS)
async def test_a_run_ends_where_nothing_is_left_to_send_for(
    fault: str, kind: type[XMediaMetaError], reason: str
) -> None:
    async with Sandbox(latency=0.1) as sandbox, client_of(sandbox) as client:
        await client.create(ID, alt())
        sandbox.refuse_with(fault)
        given = iter(updates(100))
        found, error = await outcomes_of(client, given, concurrency=8)
        assert isinstance(error, kind)
        words = told(found)
        assert set(words.values()) == {reason}
        assert len(words) + len(list(given)) == 100
        assert 1 <= sandbox.counts.requests - 1 <= 8, "what was in flight, and no more"
        assert all(isinstance(outcome, NotSent) and isinstance(outcome.error, kind) for outcome in found)
        await nothing_left(client)


@pytest.mark.parametrize(("fault", "kind", "reason"), STOPS)
async def test_later_calls_fail_at_once_and_one_probe_a_minute_heals(
    fault: str, kind: type[XMediaMetaError], reason: str
) -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        sandbox.refuse_with(fault)
        errors = []
        for number in range(5):
            with pytest.raises(kind) as caught:
                await client.create(str(number + 1), alt(), ref=number)
            errors.append(caught.value)
        assert [error.ref for error in errors] == [0, 1, 2, 3, 4], "each is told of its own update"
        assert sandbox.counts.requests == 1
        await asyncio.sleep(60)
        found = await asyncio.gather(
            *(client.create(str(number + 1), alt()) for number in range(5)), return_exceptions=True
        )
        assert [type(error) for error in found] == [kind] * 5
        assert sandbox.counts.requests == 2, "one probe"
        sandbox.heal()
        with pytest.raises(kind):
            await client.create(ID, alt())
        await asyncio.sleep(60)
        assert isinstance(await client.create(ID, alt()), Applied)
        assert isinstance(await client.create(ID, alt()), Applied)
        assert sandbox.counts.requests == 4
        await nothing_left(client)


async def test_a_probe_that_fails_for_a_while_is_tried_again() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        sandbox.revoke()
        with pytest.raises(Unauthorized):
            await client.create(ID, alt())
        sandbox.heal()
        sandbox.script(ID, ["503"])
        await asyncio.sleep(60)
        applied = await client.create(ID, alt())
        assert applied.attempts == 2


@pytest.mark.parametrize("met", [["503"], ["reset", "503"], ["429"], ["close-applied"]])
async def test_a_run_whose_probe_meets_trouble_tries_it_again(met: list[str | int]) -> None:
    async with Sandbox(latency=0.5) as sandbox, client_of(sandbox) as client:
        sandbox.deplete()
        with pytest.raises(CreditsDepleted):
            await client.create(ID, alt())
        sandbox.heal()
        sandbox.script("*", met)
        await asyncio.sleep(60)
        rows = [Update(str(n), alt(), ref=n, send_before=None if n % 2 else 4e9 - n) for n in range(1, 21)]
        found, error = await outcomes_of(client, rows)
        assert error is None
        assert set(told(found).values()) == {"applied"}
        assert sandbox.unmet == {}
        assert sandbox.counts.requests == 1 + len(met) + 20
        tried = {request.id for request in sandbox.received[1 : len(met) + 2]} - {None}
        assert len(tried) == 1, "one probe at a time, until it has told something"
        await nothing_left(client)


async def test_a_run_whose_probe_never_gets_an_answer_ends() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        sandbox.revoke()
        with pytest.raises(Unauthorized):
            await client.create(ID, alt())
        sandbox.heal()
        sandbox.refuse_with("503")
        await asyncio.sleep(60)
        found, error = await outcomes_of(client, updates(20))
        assert isinstance(error, Unauthorized)
        assert sorted(told(found).values()) == ["ServerFault", *["account_stopped"] * 19]
        assert sandbox.counts.requests == 1 + 5
        await nothing_left(client)


async def test_a_probe_that_is_given_up_lets_the_next_run_begin_with_one_of_its_own() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        sandbox.revoke()
        with pytest.raises(Unauthorized):
            await client.create(ID, alt())
        sandbox.heal()
        sandbox.script("*", ["503"])
        await asyncio.sleep(60)
        async with client.bulk(updates(20)) as run:
            reading = asyncio.ensure_future(anext(run))
            while sandbox.counts.requests < 2:
                await asyncio.sleep(0.01)
            reading.cancel()
        await nothing_left(client)
        await asyncio.sleep(60)
        found, error = await outcomes_of(client, updates(20))
        assert error is None
        assert set(told(found).values()) == {"applied"}
        await nothing_left(client)


@pytest.mark.parametrize(
    ("first", "then", "kind"),
    [("401", "403-suspended", AccountSuspended), ("402", "usage-capped", UsageCapped), ("401", "402", CreditsDepleted),
     ("402", "401", Unauthorized), ("403-suspended", "404-empty", EndpointNotFound)],
)  # fmt: skip
async def test_what_a_probe_meets_is_what_is_told_from_then_on(
    first: str, then: str, kind: type[XMediaMetaError], caplog: pytest.LogCaptureFixture
) -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        sandbox.refuse_with(first)
        with pytest.raises(XMediaMetaError):
            await client.create(ID, alt())
        await asyncio.sleep(60)
        sandbox.refuse_with(then)
        caplog.clear()
        for _ in range(3):
            with pytest.raises(kind):
                await client.create(ID, alt())
        assert sandbox.counts.requests == 2
        assert [record.message.partition(" ")[0] for record in caplog.records] == ["stopped:"]
        sandbox.heal()
        await asyncio.sleep(60)
        assert (await client.create(ID, alt())).attempts == 1
        await nothing_left(client)


async def test_a_run_begins_with_the_probe_and_goes_on_when_it_succeeds() -> None:
    async with Sandbox(latency=0.5) as sandbox, client_of(sandbox) as client:
        sandbox.deplete()
        with pytest.raises(CreditsDepleted):
            await client.create(ID, alt())
        sandbox.heal()
        found, error = await outcomes_of(client, updates(20))
        assert isinstance(error, CreditsDepleted), "within the minute it fails at once"
        assert set(told(found).values()) == {"run_stopped"}
        assert sandbox.counts.requests == 1
        await asyncio.sleep(60)
        found, error = await outcomes_of(client, updates(20))
        assert error is None
        assert set(told(found).values()) == {"applied"}
        assert sandbox.counts.most_in_flight > 1, "once it is known that it works again"
        await nothing_left(client)


async def test_a_run_whose_probe_fails_sends_no_second_one() -> None:
    async with Sandbox(latency=0.5) as sandbox, client_of(sandbox) as client:
        sandbox.revoke()
        with pytest.raises(Unauthorized):
            await client.create(ID, alt())
        await asyncio.sleep(60)
        found, error = await outcomes_of(client, updates(20))
        assert isinstance(error, Unauthorized)
        assert set(told(found).values()) == {"account_stopped"}
        assert len(found) == 20
        assert sandbox.counts.requests == 2
        await nothing_left(client)


# Plain 403s


@pytest.mark.parametrize("concurrency", [1, 32])
async def test_ten_plain_403s_in_a_row_are_the_account(concurrency: int) -> None:
    async with Sandbox(latency=0.1) as sandbox, client_of(sandbox) as client:
        await client.create(ID, alt())
        sandbox.refuse_with("403")
        given = iter(updates(300))
        found, error = await outcomes_of(client, given, concurrency=concurrency)
        assert isinstance(error, AccountForbidden)
        words = told(found)
        assert set(words.values()) == {"account_stopped"}, "those that met it are not settled"
        assert len(words) + len(list(given)) == 300
        assert 10 <= sandbox.counts.requests - 1 <= 10 + concurrency - 1
        await nothing_left(client)


async def test_nine_are_not() -> None:
    script: dict[str, list[str | int]] = {str(n): ["403"] for n in range(1, 10)}
    async with Sandbox(script=script) as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, updates(12), concurrency=1)
        assert error is None
        assert list(told(found).values()) == ["UpdateForbidden"] * 9 + ["applied"] * 3
        await nothing_left(client)


async def test_a_success_begins_a_new_row() -> None:
    script: dict[str, list[str | int]] = {str(n): ["403"] for n in range(1, 20) if n != 10}
    async with Sandbox(script=script) as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, updates(21), concurrency=1)
        assert error is None
        assert sorted(told(found).values()) == ["UpdateForbidden"] * 18 + ["applied"] * 3
        await nothing_left(client)


async def test_nine_at_the_end_are_told_at_the_end() -> None:
    script: dict[str, list[str | int]] = {str(n): ["403"] for n in range(1, 10)}
    async with Sandbox(script=script) as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, updates(9), concurrency=4)
        assert error is None
        assert set(told(found).values()) == {"UpdateForbidden"}
        for outcome in found:
            assert isinstance(outcome, Failed)
            assert outcome.error.ref == outcome.ref


async def test_calls_too_are_told_that_it_is_the_account() -> None:
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        sandbox.refuse_with("403")
        kinds = []
        for number in range(12):
            with pytest.raises((UpdateForbidden, AccountForbidden)) as caught:
                await client.create(str(number + 1), alt())
            kinds.append(type(caught.value))
        assert kinds == [UpdateForbidden] * 9 + [AccountForbidden] * 3
        assert sandbox.counts.requests == 10


async def test_a_window_that_opens_too_late_does_not_turn_403s_into_something_else() -> None:
    async with Sandbox(limit=3, script={"2": ["403"], "3": ["403"]}) as sandbox, client_of(sandbox) as client:
        found, error = await outcomes_of(client, updates(5), max_wait=5, concurrency=1)
        assert isinstance(error, RateLimitWaitTooLong)
        words = told(found)
        assert words.pop(4) == "account_stopped"
        assert words.pop(5, "account_stopped") == "account_stopped"
        assert words == {1: "applied", 2: "UpdateForbidden", 3: "UpdateForbidden"}


# Several accounts


async def test_one_account_that_stops_leaves_the_others_alone() -> None:
    async with Sandbox(latency=0.05) as sandbox:
        sandbox.revoke("b")
        async with client_of(sandbox, {"a": "a", "b": "b", "c": "c"}) as client:
            rows = [Update(str(n), alt(), account, ref=f"{account}{n}") for n, account in enumerate("abcabcabcabc", 1)]
            found, error = await outcomes_of(client, rows)
            assert error is None
            for ref, word in told(found).items():
                assert word == ("account_stopped" if ref[0] == "b" else "applied")
            await nothing_left(client)


async def test_when_no_account_is_left_the_run_ends() -> None:
    async with Sandbox(latency=0.05) as sandbox:
        sandbox.revoke("a")
        sandbox.suspend("b")
        async with client_of(sandbox, {"a": "a", "b": "b"}) as client:
            given = iter([Update(str(n), alt(), "ab"[n % 2], ref=n) for n in range(1, 2_000)])
            found, error = await outcomes_of(client, given, lookahead=100)
            assert isinstance(error, Unauthorized | AccountSuspended)
            assert set(told(found).values()) == {"account_stopped"}
            assert len(list(given)) > 0, "what is left of the input was not read"
            await nothing_left(client)


async def test_money_stops_all_accounts_of_the_app_and_the_run() -> None:
    async with Sandbox(latency=0.05) as sandbox:
        sandbox.deplete("b")
        async with client_of(sandbox, {"a": "a", "b": "b"}) as client:
            rows = [Update(str(n), alt(), "ab"[n % 2], ref=n) for n in range(1, 500)]
            found, error = await outcomes_of(client, rows)
            assert isinstance(error, CreditsDepleted)
            assert set(told(found).values()) <= {"applied", "run_stopped"}
            await nothing_left(client)
