"""Whose credential signs what: one, a mapping, a callable; apps; and the state of thousands of accounts."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from xmediameta import (
    Applied,
    AuthError,
    BearerToken,
    Client,
    ConfigurationError,
    CreditsDepleted,
    InvalidUpdate,
    RateLimitWaitTooLong,
    ReconnectRequired,
    Sandbox,
    Unauthorized,
    Update,
)
from xmediameta.credentials import Secret

from .clients import ID, TOKEN, alt, client_of, nothing_left, ours, outcomes_of, settle, told, updates

pytestmark = pytest.mark.looptime  # sockets are real, time is not: latency and waits cost none


class Own:
    """A credential of the caller's, whose token changes in place."""

    def __init__(self, token: str, app: str | None = None) -> None:
        self.token = token
        self.app = app

    def authorization(self) -> Secret:
        return Secret(f"Bearer {self.token}")


def labels(sandbox: Sandbox) -> list[str | None]:
    return [received.token for received in sandbox.received]


# One


@pytest.mark.parametrize("auth", [TOKEN, BearerToken(TOKEN), Own(TOKEN), {None: TOKEN}, {None: BearerToken(TOKEN)}])
async def test_one_credential(auth: Any) -> None:
    async with Sandbox(token=TOKEN) as sandbox, client_of(sandbox, auth) as client:
        await client.create(ID, alt())
        assert sandbox.counts.applied == 1
        with pytest.raises(InvalidUpdate, match="account: 'ana' is not known") as caught:
            await client.create(ID, alt(), account="ana", ref="r")
        assert (caught.value.media_id, caught.value.ref, caught.value.account) == (ID, "r", "ana")
        assert sandbox.counts.requests == 1
        await nothing_left(client)


@pytest.mark.parametrize("auth", ["", " ", "two\nlines", "tökén", {}, {"a": ""}, {"a": 5}, 5, None, b"bytes", [TOKEN]])
def test_what_cannot_sign_is_refused_without_echo(auth: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Client(auth)
    assert "lines" not in str(caught.value)
    assert "tökén" not in str(caught.value)


async def test_a_credential_that_changes_in_place_heals_at_once() -> None:
    own = Own("old")
    async with Sandbox(token=["old", "new"]) as sandbox, client_of(sandbox, own) as client:
        await client.create(ID, alt())
        sandbox.revoke("old")
        with pytest.raises(Unauthorized):
            await client.create(ID, alt())
        own.token = "new"
        await client.create(ID, alt())
        own.token = "old"
        sandbox.revoke("new")
        sandbox.heal("old")
        await client.create(ID, alt())
        await nothing_left(client)


# A mapping


async def test_a_mapping_signs_for_each_and_has_a_default() -> None:
    auth = {None: "token-0", "ana": "token-a", "bob": BearerToken("token-b")}
    async with Sandbox() as sandbox, client_of(sandbox, auth) as client:
        for name in (None, "ana", "bob", "ana"):
            await client.create(ID, alt(str(name)), account=name)
        assert labels(sandbox) == ["token-1", "token-2", "token-3", "token-2"]
        with pytest.raises(InvalidUpdate, match="'anna' is not known; did you mean 'ana'"):
            await client.create(ID, alt(), account="anna")
        await nothing_left(client)


async def test_without_a_default_an_account_must_be_named() -> None:
    async with Sandbox() as sandbox, client_of(sandbox, {"ana": "token-a"}) as client:
        with pytest.raises(InvalidUpdate, match="none of them is the default"):
            await client.create(ID, alt())


async def test_a_mapping_that_changes_in_place_heals_at_once() -> None:
    auth = {"ana": "old"}
    async with Sandbox(token=["old", "new"]) as sandbox, client_of(sandbox, auth) as client:
        sandbox.revoke("old")
        with pytest.raises(Unauthorized):
            await client.create(ID, alt(), account="ana")
        with pytest.raises(Unauthorized):
            await client.create(ID, alt(), account="ana")
        assert sandbox.counts.requests == 1
        auth["ana"] = "new"
        await client.create(ID, alt(), account="ana")
        assert sandbox.counts.requests == 2
        del auth["ana"]
        with pytest.raises(InvalidUpdate, match="not known"):
            await client.create(ID, alt(), account="ana")
        await nothing_left(client)


async def test_after_a_401_the_mapping_is_looked_at_again() -> None:
    auth = {"ana": "old"}
    async with Sandbox(latency=1, script={ID: ["401"]}) as sandbox, client_of(sandbox, auth) as client:
        call = asyncio.create_task(client.create(ID, alt(), account="ana"))
        await asyncio.sleep(0.5)
        auth["ana"] = "new"
        assert (await call).attempts == 2
        assert labels(sandbox) == ["token-1", "token-2"]


# A callable


class Vault:
    """Where tokens are, behind an async callable."""

    def __init__(self, **tokens: Any) -> None:
        self.tokens = tokens
        self.asked: Counter[str | None] = Counter()
        self.delay = 0.01

    async def __call__(self, account: str | None) -> Any:
        self.asked[account] += 1
        await asyncio.sleep(self.delay)
        token = self.tokens[account or "default"]
        if isinstance(token, BaseException):
            raise token
        return token


async def test_it_is_asked_once_for_calls_at_the_same_time_and_then_no_more() -> None:
    vault = Vault(ana="token-a", default=BearerToken("token-0"))
    async with Sandbox() as sandbox, client_of(sandbox, vault) as client:
        await asyncio.gather(*(client.create(str(n), alt(), account="ana") for n in range(1, 20)))
        await asyncio.gather(*(client.create(str(n), alt(), account="ana") for n in range(1, 20)))
        await client.create(ID, alt())
        assert vault.asked == {"ana": 1, None: 1}
        assert set(labels(sandbox)) == {"token-1", "token-2"}
        await nothing_left(client)


async def test_order_holds_while_it_is_asked() -> None:
    vault = Vault(ana="token-a")
    async with Sandbox() as sandbox, client_of(sandbox, vault) as client:
        first = asyncio.create_task(client.create(ID, alt("1"), account="ana"))
        await asyncio.sleep(0.005)
        second = asyncio.create_task(client.create(ID, alt("2"), account="ana"))
        found, _ = await outcomes_of(client, [Update(ID, alt("3"), "ana")])
        await asyncio.gather(first, second)
        assert [entry["alt_text"]["text"] for entry in sandbox.history(ID)] == ["1", "2", "3"]
        assert isinstance(found[0], Applied)


async def test_a_caller_that_is_cancelled_does_not_take_the_answer_from_the_others() -> None:
    vault = Vault(ana="token-a")
    vault.delay = 0.05
    async with Sandbox() as sandbox, client_of(sandbox, vault) as client:
        tasks = [asyncio.create_task(client.create(str(n), alt(), account="ana")) for n in range(1, 4)]
        await settle()
        tasks[0].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in found] == [asyncio.CancelledError, Applied, Applied]
        assert vault.asked == {"ana": 1}
        await nothing_left(client)


async def test_after_401s_it_is_asked_once_and_each_is_sent_once_more() -> None:
    vault = Vault(ana="old")
    async with Sandbox(token=["old", "new"], latency=0.5) as sandbox, client_of(sandbox, vault) as client:
        await client.create(ID, alt(), account="ana")
        sandbox.revoke("old")
        vault.tokens["ana"] = "new"
        rows = [Update(str(n), alt(), "ana", ref=n) for n in range(1, 33)]
        (found, error), *calls = await asyncio.gather(
            outcomes_of(client, rows), *(client.create(f"90{n}", alt(), account="ana") for n in range(8))
        )
        assert error is None
        assert set(told(found).values()) == {"applied"}
        assert all(isinstance(call, Applied) for call in calls)
        assert vault.asked == {"ana": 2}
        assert sandbox.counts.by_status[401] <= 40
        await nothing_left(client)


async def test_where_it_has_nothing_better_the_account_stops_until_it_has() -> None:
    vault = Vault(ana="old", bob="token-b")
    async with Sandbox(token=["old", "new", "token-b"], latency=0.1) as sandbox, client_of(sandbox, vault) as client:
        sandbox.revoke("old")
        rows = [Update(str(n), alt(), "ab"[n % 2], ref=n) for n in range(1, 41)]
        named = [Update(u.id, u.metadata, {"a": "ana", "b": "bob"}[str(u.account)], u.ref) for u in rows]
        found, error = await outcomes_of(client, named)
        assert error is None
        for ref, word in told(found).items():
            assert word == ("applied" if ref % 2 else "account_stopped")
        assert vault.asked["ana"] <= 3
        for _ in range(5):
            with pytest.raises(Unauthorized):
                await client.create(ID, alt(), account="ana")
        asked = vault.asked["ana"]
        assert asked <= 4, "not for each call"
        vault.tokens["ana"] = "new"
        await asyncio.sleep(1)
        await client.create(ID, alt(), account="ana")
        assert vault.asked["ana"] == asked + 1
        await nothing_left(client)


@pytest.mark.parametrize(
    ("given", "kind", "match"),
    [
        (KeyError("canary"), AuthError, "auth failed with KeyError"),
        (ReconnectRequired("log in again"), ReconnectRequired, "log in again"),
        (asyncio.CancelledError(), AuthError, "cancelled"),
        ("", AuthError, "nothing to sign with"),
        (5, AuthError, "nothing to sign with"),
    ],
)
async def test_its_failure_is_that_accounts_alone(given: Any, kind: type[AuthError], match: str) -> None:
    vault = Vault(ana=given, bob="token-b")
    async with Sandbox() as sandbox, client_of(sandbox, vault) as client:
        calls = await asyncio.gather(
            *(client.create(str(n), alt(), account="ana", ref=n) for n in range(1, 6)), return_exceptions=True
        )
        assert [type(error) for error in calls] == [kind] * 5
        assert len({id(error) for error in calls}) == 5
        for number, error in enumerate(calls, 1):
            assert isinstance(error, AuthError)
            assert match in str(error)
            assert "canary" not in str(error)
            assert error.ref == number
        assert vault.asked == {"ana": 1}
        rows = [Update(str(n), alt(), ("ana", "bob")[n % 2], ref=n) for n in range(1, 21)]
        found, error = await outcomes_of(client, rows)
        assert error is None
        assert set(told(found).values()) == {"applied", "account_stopped"}
        assert vault.asked["ana"] == 2, "once for the run"
        assert sandbox.counts.requests == 10
        await nothing_left(client)


async def test_many_credentials_are_asked_for_at_the_same_time() -> None:
    vault = Vault(**{f"user{n}": f"token-{n}" for n in range(40)})
    vault.delay = 10
    async with Sandbox() as sandbox, client_of(sandbox, vault) as client:
        began = asyncio.get_running_loop().time()
        found, error = await outcomes_of(client, [Update(str(n + 1), alt(), f"user{n}") for n in range(40)])
        assert error is None
        assert len(found) == 40
        assert asyncio.get_running_loop().time() - began < 21
        await nothing_left(client)


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_an_account_whose_credential_is_asked_for_holds_nobody_up(concurrency: int) -> None:
    vault = Vault(ana="token-a", slow="token-s")
    async with Sandbox() as sandbox, client_of(sandbox, vault, concurrency=concurrency) as client:
        await client.create("99", alt("known"), account="ana")
        vault.delay = 1_000
        began, seconds = asyncio.get_running_loop().time(), {}
        given = [Update(str(n + 1), alt(), "ana" if n else "slow") for n in range(6)]
        async with client.bulk(given) as outcomes:
            async for outcome in outcomes:
                seconds[outcome.update.id] = asyncio.get_running_loop().time() - began
        assert seconds.pop("1") >= 1_000
        assert len(seconds) == 5
        assert max(seconds.values()) < 100


async def test_leaving_while_it_is_asked_leaves_nothing_behind() -> None:
    vault = Vault(ana="token-a")
    vault.delay = 1_000
    async with Sandbox() as sandbox, client_of(sandbox, vault) as client:
        async with client.bulk([Update(ID, alt(), "ana")]) as outcomes:
            await asyncio.sleep(1)
            assert outcomes.taken == 1
        await settle()
        assert ours() == ["Accounts._ask"], "others may want the answer"
        await asyncio.sleep(1_000)
        await nothing_left(client)


# Apps


async def test_accounts_of_one_app_share_its_window() -> None:
    tokens = {f"user{n}": BearerToken(f"token-{n}", app="app") for n in range(4)}
    apps = {f"token-{n}": "app" for n in range(4)}
    async with Sandbox(app_limit=10, app_window=600, apps=apps) as sandbox, client_of(sandbox, tokens) as client:
        rows = [Update(str(n), alt(), f"user{n % 4}", ref=n) for n in range(1, 26)]
        began = asyncio.get_running_loop().time()
        found, error = await outcomes_of(client, rows)
        assert error is None
        assert set(told(found).values()) == {"applied"}
        assert sandbox.counts.limited == 0
        assert 1_200 <= asyncio.get_running_loop().time() - began < 1_210
        assert {quota.remaining for quota in client.quota if quota.window == "app-24hour"} == {5}
        await nothing_left(client)


async def test_accounts_of_different_apps_do_not() -> None:
    tokens = {name: BearerToken(f"token-{name}", app=name) for name in "ab"}
    apps = {"token-a": "a", "token-b": "b"}
    async with Sandbox(app_limit=10, app_window=600, apps=apps) as sandbox, client_of(sandbox, tokens) as client:
        rows = [Update(str(n), alt(), "ab"[n % 2], ref=n) for n in range(1, 21)]
        began = asyncio.get_running_loop().time()
        await outcomes_of(client, rows)
        assert asyncio.get_running_loop().time() - began < 10


async def test_a_credential_of_another_app_counts_in_the_window_of_that() -> None:
    tokens = {name: BearerToken(f"token-{name}", app="one") for name in "ab"}
    apps = {"token-a": "one", "token-b": "one", "token-b-of-two": "two"}
    async with Sandbox(app_limit=10, app_window=600, apps=apps) as sandbox, client_of(sandbox, tokens) as client:
        began = asyncio.get_running_loop().time()
        await outcomes_of(client, [Update(str(n), alt(), "ab"[n % 2]) for n in range(1, 10)])
        tokens["b"] = BearerToken("token-b-of-two", app="two")
        await outcomes_of(client, [Update(str(n), alt(), "b") for n in range(20, 30)])
        await client.create("40", alt(), account="a")
        assert asyncio.get_running_loop().time() - began < 10, "neither window is used up before its tenth"
        assert sandbox.counts.limited == 0
        left = {(quota.account, quota.remaining) for quota in client.quota if quota.window == "app-24hour"}
        assert left == {("a", 0), ("b", 0)}
        with pytest.raises(RateLimitWaitTooLong) as caught:
            await client.create("41", alt(), account="a")
        assert caught.value.window == "app-24hour"
        await nothing_left(client)


async def test_a_move_to_another_app_while_requests_are_in_flight() -> None:
    """What they tell is of the app that they left with, and lets in who waits for that."""
    tokens = {name: BearerToken(f"token-{name}", app="one") for name in "ab"}
    apps = {"token-a": "one", "token-b": "one", "token-b-of-two": "two"}
    async with (
        Sandbox(app_limit=20, app_window=600, apps=apps, latency=1.0) as sandbox,
        client_of(sandbox, tokens) as client,
    ):
        first = asyncio.create_task(client.create("1", alt(), account="b"))
        await asyncio.sleep(0.5)
        waiting = [asyncio.create_task(outcomes_of(client, [Update(str(n), alt(), "a")])) for n in range(10, 15)]
        await asyncio.sleep(0.1)
        assert sandbox.counts.requests == 1, "how the window stands is not known yet"
        tokens["b"] = BearerToken("token-b-of-two", app="two")
        second = asyncio.create_task(client.create("2", alt(), account="b"))
        await asyncio.sleep(0.1)
        assert sandbox.counts.requests == 2
        await asyncio.wait((first, second, *waiting))
        assert asyncio.get_running_loop().time() < 5
        left = {quota.account: quota.remaining for quota in client.quota if quota.window == "app-24hour"}
        assert left == {"a": 14, "b": 19}
        assert sandbox.counts.limited == 0
        await nothing_left(client)


async def test_another_app_s_token_does_not_heal_the_app_that_was_left() -> None:
    tokens = {name: BearerToken(f"token-{name}", app="one") for name in "ab"}
    async with Sandbox() as sandbox, client_of(sandbox, tokens) as client:
        sandbox.deplete("token-a")
        sandbox.deplete("token-b")
        with pytest.raises(CreditsDepleted):
            await client.create("1", alt(), account="a")
        tokens["b"] = BearerToken("token-b-of-two", app="two")
        assert isinstance(await client.create("1", alt(), account="b"), Applied)
        with pytest.raises(CreditsDepleted):
            await client.create("2", alt(), account="a")
        assert sandbox.counts.requests == 2
        await nothing_left(client)


async def test_one_account_that_waits_holds_nobody_up() -> None:
    async with Sandbox(limit=5, window=900) as sandbox, client_of(sandbox, {"a": "a", "b": "b"}) as client:
        for number in range(5):
            await client.create(str(number + 1), alt(), account="a")
        rows = [
            *(Update(str(n), alt(), "a", ref=f"a{n}") for n in range(100, 105)),
            *(Update(str(n), alt(), "b", ref=f"b{n}") for n in range(200, 205)),
        ]
        order = []
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with client.bulk(rows, concurrency=1) as outcomes:
            async for outcome in outcomes:
                order.append((str(outcome.ref)[0], loop.time() - began > 800))  # noqa: PERF401
        assert order == [("b", False)] * 5 + [("a", True)] * 5
        assert sandbox.counts.limited == 0


# Thousands


@pytest.mark.slow
async def test_idle_state_is_dropped_and_what_binds_is_kept() -> None:
    async def auth(account: str | None) -> str:
        return f"token-of-{account}"

    async with Sandbox(limit=2, window=900) as sandbox, client_of(sandbox, auth) as client:
        for name in ("full", "full"):
            await client.create(ID, alt(), account=name)
        sandbox.revoke("token-of-stopped")
        with pytest.raises(Unauthorized):
            await client.create(ID, alt(), account="stopped")
        waiting = asyncio.create_task(client.create(ID, alt(), account="full", max_wait=None))
        rows = [Update(str(n), alt(), f"user{n}") for n in range(1, 2_001)]
        found, error = await outcomes_of(client, rows[:1_000], concurrency=8)
        assert error is None
        sender = client._sender
        assert sender is not None
        assert len(sender.accounts.known()) == 1_002, "all are within their windows"
        with pytest.raises(RateLimitWaitTooLong):
            await client.create("1", alt(), account="full")
        await waiting
        await client.create(ID, alt(), account="full")
        await asyncio.sleep(100)
        more, error = await outcomes_of(client, rows[1_000:], concurrency=8)
        assert error is None
        assert len(found) + len(more) == 2_000
        names = {account.name for account in sender.accounts.known()}
        assert {"full", "stopped"} <= names
        assert len(names) <= 1_100
        with pytest.raises(RateLimitWaitTooLong):
            await client.create("1", alt(), account="full")
        with pytest.raises(Unauthorized):
            await client.create(ID, alt(), account="stopped")
        assert sandbox.counts.limited == 0
        await nothing_left(client)


async def test_an_account_costs_little() -> None:
    async def auth(account: str | None) -> str:
        return f"token-of-{account}"

    async with client_of(Unused(), auth) as client:
        accounts = client._opened().accounts
        await accounts.get("warm")
        gc.collect()
        before = sys.getallocatedblocks()
        for number in range(500):
            await accounts.get(f"user{number}")
        gc.collect()
        assert (sys.getallocatedblocks() - before) / 500 < 60


class Unused:
    url = "http://127.0.0.1:9"


async def test_what_a_run_holds_is_not_forgotten_though_it_looks_idle() -> None:
    async def auth(account: str | None) -> str:
        return f"token-of-{account}"

    async def slowly() -> AsyncIterator[Update]:
        for update in updates(2, account="held"):
            yield update
            await asyncio.sleep(100)

    async with Sandbox(window=1, limit=1_000, app_window=1) as sandbox, client_of(sandbox, auth) as client:
        accounts = client._opened().accounts
        async with client.bulk(slowly()) as outcomes:
            assert isinstance(await anext(outcomes), Applied)
            held = accounts.seen("held")
            await asyncio.sleep(50)
            for number in range(1_200):
                await accounts.get(f"user{number}")
            assert accounts.seen("held") is held
            assert len(accounts.known()) < 1_100
            assert isinstance(await anext(outcomes), Applied)
        await nothing_left(client)
        await asyncio.sleep(10)
        for number in range(1_200, 2_400):
            await accounts.get(f"user{number}")
        assert accounts.seen("held") is None
