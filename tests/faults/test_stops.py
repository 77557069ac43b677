"""An account, or a whole app, that is out: one refresh after a 401, one probe a minute, and what heals it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from xmediameta import (
    AccountSuspended,
    Applied,
    AuthError,
    BearerToken,
    Client,
    CreditsDepleted,
    NotSent,
    Unauthorized,
    UsageCapped,
)
from xmediameta.sandbox import Sandbox

from .fake import CAT, NEW, OLD, QUICK, Fake, applied, drained, offline, reply, updates

# 401: one refresh for all, one retry each


class Vault:
    """What a backend passes as `auth`."""

    def __init__(self, *tokens: str, seconds: float = 0.0) -> None:
        self.tokens = list(tokens)
        self.seconds = seconds
        self.calls: list[str | None] = []
        self.fails: Exception | None = None
        self.ready: Callable[[], bool] = lambda: True

    async def __call__(self, account: str | None) -> str:
        self.calls.append(account)
        await asyncio.sleep(self.seconds)
        if self.fails is not None:
            raise self.fails
        while not self.ready():
            await asyncio.sleep(0.001)
        return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]


async def test_a_401_refreshes_once_for_all_in_flight(sandbox: Sandbox) -> None:
    vault = Vault(OLD, NEW, seconds=0.01)
    async with Client(vault, base_url=sandbox.url, limits=None, retry=QUICK) as one:
        await one.create("1", CAT)
        sandbox.revoke(OLD)
        vault.ready = lambda: sandbox.counts.by_status.get(401) == 30  # all have met it
        done = await asyncio.gather(*(one.create(str(number), CAT) for number in range(10, 40)))
    assert vault.calls == [None, None]
    assert Counter(outcome.attempts for outcome in done) == {2: 30}
    assert sandbox.counts.by_status == {200: 31, 401: 30}


@pytest.mark.parametrize("leader", ["create", "bulk"])
async def test_whoever_shares_an_update_is_not_told_of_a_refresh_that_its_leader_broke_off(
    sandbox: Sandbox, leader: str
) -> None:
    vault = Vault(OLD, NEW)
    async with Client(vault, base_url=sandbox.url, limits=None, retry=QUICK) as one:
        await one.create("1", CAT)
        sandbox.revoke(OLD)
        vault.ready = lambda: sandbox.counts.by_status.get(401) == 2  # the second is of who leads then
        leads = one.create("2", CAT) if leader == "create" else drained(one.bulk(updates(1, start=2)))
        first = asyncio.ensure_future(leads)
        while len(vault.calls) < 2:
            await asyncio.sleep(0.001)
        second = asyncio.ensure_future(one.create("2", CAT))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).attempts == 3
        assert first.cancelled()
    assert len(vault.calls) == 2
    assert sandbox.counts.by_status == {200: 2, 401: 2}


async def test_a_401_in_bulk_refreshes_once(sandbox: Sandbox) -> None:
    vault = Vault(OLD, NEW)
    async with Client(vault, base_url=sandbox.url, limits=None, retry=QUICK, concurrency=16) as one:
        await one.create("1", CAT)
        sandbox.revoke(OLD)
        outcomes, error = await drained(one.bulk(updates(100, start=2)))
    assert error is None
    assert {type(outcome) for outcome in outcomes} == {Applied}
    assert len(vault.calls) == 2
    assert sandbox.counts.by_status[401] <= 16


async def test_a_token_that_does_not_get_better_stops_the_account(sandbox: Sandbox) -> None:
    vault = Vault(OLD, seconds=0.01)
    sandbox.revoke()
    async with Client(vault, base_url=sandbox.url, limits=None, retry=QUICK) as one:
        results = await asyncio.gather(*(one.create(str(number), CAT) for number in range(10)), return_exceptions=True)
        assert {type(result) for result in results} == {Unauthorized}
        assert all("Log the account in again" in str(result) for result in results)
        assert len({id(result) for result in results}) == 10
        assert len(vault.calls) <= 3  # the first use, and a look for another one
        requests = sandbox.counts.requests
        assert requests <= 10
        with pytest.raises(Unauthorized) as caught:
            await one.create("99", CAT)
        assert caught.value.media_id == "99"
        assert sandbox.counts.requests == requests


async def test_another_token_that_is_refused_as_well_is_tried_once_by_each(sandbox: Sandbox) -> None:
    vault = Vault(OLD, NEW)
    sandbox.revoke()
    async with Client(vault, base_url=sandbox.url, limits=None, retry=QUICK) as one:
        with pytest.raises(Unauthorized) as caught:
            await one.create("1", CAT)
    assert caught.value.attempts == 2
    assert sandbox.counts.requests == 2


async def test_a_vault_that_fails_is_told_from_a_token_that_is_refused(sandbox: Sandbox) -> None:
    vault = Vault(OLD)
    async with Client(vault, base_url=sandbox.url, limits=None, retry=QUICK) as one:
        await one.create("1", CAT)
        sandbox.revoke()
        vault.fails = OSError("the vault is sealed")
        results = await asyncio.gather(*(one.create(str(number), CAT) for number in range(5)), return_exceptions=True)
    assert {type(result) for result in results} == {AuthError}
    assert {str(result).partition(" [")[0] for result in results} == {"auth failed with OSError"}
    assert len(vault.calls) == 2


async def test_a_token_without_another_one_stops_the_account_at_once(sandbox: Sandbox, client: Client) -> None:
    sandbox.revoke()
    outcomes, error = await drained(client.bulk(updates(50)))
    assert isinstance(error, Unauthorized)
    assert {type(outcome) for outcome in outcomes} == {NotSent}
    assert {outcome.reason for outcome in outcomes if isinstance(outcome, NotSent)} == {"account_stopped"}
    assert sandbox.counts.requests <= 32


async def test_a_mapping_is_looked_at_again(sandbox: Sandbox) -> None:
    auth = {"a": OLD, "b": "canary-of-b-0123456789"}
    async with Client(auth, base_url=sandbox.url, limits=None, retry=QUICK) as one:
        await one.create("1", CAT, account="a")
        sandbox.revoke(OLD)
        with pytest.raises(Unauthorized) as caught:
            await one.create("2", CAT, account="a")
        assert caught.value.account == "a"
        auth["a"] = NEW  # somebody has logged in
        assert (await one.create("3", CAT, account="a")).attempts == 1


# Stops heal


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [(402, "credits-depleted", CreditsDepleted), (429, "usage-capped", UsageCapped), (401, "", Unauthorized),
     (403, "user-suspended", AccountSuspended)],
)  # fmt: skip
async def test_a_stop_lets_one_probe_through_per_minute_and_heals(
    fake: Fake, status: int, slug: str, kind: type[Exception]
) -> None:
    """Credits that are topped up after 150 s: a web backend that calls twice a second needs no restart."""
    problem = {"type": f"https://api.x.com/2/problems/{slug}" if slug else "about:blank", "title": "No"}
    net = fake(lambda now, media_id: applied(media_id) if now >= 150.0 else reply(status, problem))
    loop = asyncio.get_running_loop()
    async with offline() as one:
        back = None
        for number in range(1_000):
            try:
                await one.create(str(number), CAT)
            except kind as error:
                last = error
            else:
                back = loop.time()
                break
            await asyncio.sleep(0.5)
        assert last.media_id == str(number - 1)  # type: ignore[attr-defined]
        for number in range(20):
            await one.create(str(number), CAT)
    assert [round(at) for at, _, result in net.log if result != 200] == [0, 60, 120]
    assert back is not None
    assert 150.0 <= back <= 182.0
    assert net.between(back, 1_000, good=False) == 0


@pytest.mark.looptime
async def test_a_stop_is_told_anew_each_time_and_keeps_nothing_of_the_first(fake: Fake) -> None:
    fake(lambda _now, _id: reply(402, {"title": "No"}))
    errors: list[CreditsDepleted] = []
    async with offline() as one:
        for media_id in "123":
            with pytest.raises(CreditsDepleted) as caught:
                await one.create(media_id, CAT, ref=f"row {media_id}")
            errors.append(caught.value)
        assert one._sender is not None
        (account,) = one._sender.accounts.known()
        assert account.group.stop is not None
        kept = account.group.stop.error
    assert len({id(error) for error in (*errors, kept)}) == 4
    assert [(error.media_id, error.ref) for error in errors] == [(n, f"row {n}") for n in "123"]
    assert (kept.media_id, kept.ref, kept.__traceback__) == (None, None, None)


@pytest.mark.looptime
async def test_accounts_of_one_app_are_out_of_money_together(fake: Fake) -> None:
    net = fake(lambda _now, _id: reply(402))
    auth = {name: BearerToken(f"token-of-{name}-0123456789", app="mine") for name in "ab"}
    auth["c"] = BearerToken("token-of-c-0123456789", app="another")
    async with offline(auth) as one:
        for name in "aabb":
            with pytest.raises(CreditsDepleted):
                await one.create("1", CAT, account=name)
        assert len(net.log) == 1
        with pytest.raises(CreditsDepleted):
            await one.create("1", CAT, account="c")
        assert len(net.log) == 2


@pytest.mark.looptime
async def test_a_new_token_clears_a_stop(fake: Fake) -> None:
    net = fake(lambda _now, media_id: applied(media_id))
    net.server = lambda _now, media_id: applied(media_id) if net.signed[-1].endswith(NEW) else reply(401)
    auth = {"a": OLD}
    async with offline(auth) as one:
        for _ in range(3):
            with pytest.raises(Unauthorized):
                await one.create("1", CAT, account="a")
        assert len(net.log) == 1
        auth["a"] = NEW
        assert (await one.create("1", CAT, account="a")).attempts == 1
        assert asyncio.get_running_loop().time() < 1.0
