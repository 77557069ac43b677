"""Tokens that end: renewed once, in time, and nothing is lost; several accounts; OAuth 1.0a."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from xmediameta import (
    Applied,
    AuthError,
    BearerToken,
    CallbackStore,
    Client,
    ConfigurationError,
    Credential,
    FileStore,
    InvalidUpdate,
    MemoryStore,
    NotSent,
    OAuth1Token,
    OAuth2Token,
    ReconnectRequired,
    Stopped,
    StoredToken,
    Unauthorized,
    UpdateForbidden,
)
from xmediameta.sandbox import Sandbox

from .clients import alt, client_of, outcomes_of, updates

NO_LIMIT: dict[str, Any] = {"limit": None, "app_limit": None}


def token_of(sandbox: Sandbox, user: str = "alice", *, known: bool = True, **more: Any) -> OAuth2Token:
    """A token of the sandbox, as a person would have got it by logging in."""
    given = sandbox.oauth.login(user, **more)
    return OAuth2Token(
        given.access_token,
        given.refresh_token,
        client_id=given.client_id,
        expires_at=given.expires_at if known else None,
        scopes=given.scopes,
    )


def client(sandbox: Sandbox, auth: Any, **options: Any) -> Client:
    return client_of(sandbox, auth, limits=None, **options)


async def burst(one: Client, number: int = 64) -> list[Applied]:
    """So many calls at once."""
    return await asyncio.gather(*(one.create(str(number), alt()) for number in range(1, number + 1)))


class TestOneRenewal:
    async def test_64_in_flight_meet_a_token_that_has_ended(self) -> None:
        """Its end is not known to the client, so that all of them meet a 401."""
        async with Sandbox(**NO_LIMIT, latency=0.02) as sandbox:
            token = token_of(sandbox, known=False)
            sandbox.advance(7_201)
            async with client(sandbox, token) as one:
                applied = await burst(one)
        assert len(applied) == len(sandbox.applied) == 64
        assert 2 <= sandbox.oauth.denied == one.stats.retries <= 64
        assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (1, 0)

    async def test_the_same_in_bulk(self) -> None:
        async with Sandbox(**NO_LIMIT, latency=0.02) as sandbox:
            token = token_of(sandbox, known=False)
            sandbox.advance(7_201)
            async with client(sandbox, token, concurrency=64) as one:
                outcomes, error = await outcomes_of(one, updates(200))
        assert error is None
        assert len(outcomes) == len(sandbox.applied) == 200
        assert all(isinstance(outcome, Applied) for outcome in outcomes)
        assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (1, 0)

    async def test_where_the_end_is_known_nothing_is_sent_in_vain(self) -> None:
        async with Sandbox(**NO_LIMIT, latency=0.01) as sandbox:
            given = sandbox.oauth.login()
            sandbox.advance(7_201)
            token = OAuth2Token(
                given.access_token, given.refresh_token, client_id=given.client_id, expires_at=time.time() - 1
            )
            async with client(sandbox, token) as one:
                await burst(one)
                assert one.stats.requests == 64
        assert (sandbox.oauth.renewals, sandbox.oauth.denied) == (1, 0)

    async def test_ahead_of_its_end_requests_go_on_with_the_old_one(self) -> None:
        """The renewal hangs as long as the old token is used, and no request waits for it."""
        going = asyncio.Event()
        saved: list[float] = []

        async def load(name: str | None) -> Credential | None:
            await going.wait()
            return token

        async def save(name: str | None, new: Credential) -> None:
            saved.append(time.time())

        async with Sandbox(**NO_LIMIT, token_lifetime=60.0) as sandbox:
            given = sandbox.oauth.login()
            token = OAuth2Token(
                given.access_token, given.refresh_token, client_id=given.client_id, expires_at=time.time() + 60
            )
            keeper = StoredToken(CallbackStore(load, save), None, token)
            async with client(sandbox, keeper) as one:
                await one.create("1", alt())
                assert not keeper.renewing
                account = one._sender.accounts.seen(None)  # type: ignore[union-attr]
                assert account is not None
                account.due = time.time()
                await burst(one, 20)
                assert keeper.renewing
                assert saved == []
                going.set()
                await keeper.settled()
                assert len(saved) == 1
                await asyncio.sleep(0)
                await one.create("1", alt())
        assert (sandbox.oauth.renewals, sandbox.oauth.denied) == (1, 0)
        assert keeper.token != token
        assert one.stats.requests == 22

    async def test_a_run_renews_while_it_waits_for_nobody(self) -> None:
        """The timer of an account that is held by a run goes off although nothing looks the account up again."""
        async with (
            Sandbox(**NO_LIMIT, latency=0.01, token_lifetime=1.0) as sandbox,
            client(sandbox, token_of(sandbox), concurrency=4) as one,
        ):
            ended = time.monotonic() + 2.5

            async def slowly() -> Any:
                number = 0
                while time.monotonic() < ended:
                    number += 1
                    yield updates(1, first=number)[0]
                    await asyncio.sleep(0.01)

            outcomes, error = await outcomes_of(one, slowly())
        assert error is None
        assert all(isinstance(outcome, Applied) for outcome in outcomes)
        assert sandbox.oauth.renewals >= 2
        assert sandbox.oauth.reused == 0

    @pytest.mark.slow
    async def test_5000_updates_over_tokens_that_live_for_two_seconds(self) -> None:
        async with (
            Sandbox(**NO_LIMIT, latency=0.02, token_lifetime=2.0) as sandbox,
            client(sandbox, token_of(sandbox), concurrency=16) as one,
        ):
            outcomes, error = await outcomes_of(one, updates(5_000))
            assert error is None
            assert one.stats.applied == 5_000
        assert len(sandbox.applied) == sum(isinstance(outcome, Applied) for outcome in outcomes) == 5_000
        assert sandbox.oauth.renewals >= 2
        assert sandbox.oauth.reused == 0

    async def test_an_update_may_outlive_two_tokens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its second 401 is about another token than its first one, which nobody has renewed in time."""
        monkeypatch.setattr("xmediameta.renewal.Renewal.due", lambda *_: None)
        async with Sandbox(**NO_LIMIT, token_lifetime=1.0) as sandbox:
            token = token_of(sandbox, known=False)
            sandbox.advance(2)
            sandbox.script("1", ["503-retry-after:1"])
            async with client(sandbox, token) as one:
                applied = await one.create("1", alt())
        assert applied.attempts >= 4
        assert sandbox.counts.by_status[401] >= 2
        assert sandbox.oauth.renewals >= 2
        assert sandbox.oauth.reused == 0


class TestStored:
    async def test_the_new_pair_is_stored_before_it_is_used(self, tmp_path: Path) -> None:
        """Whatever is sent, the file holds the token that it is signed with."""

        class Watched(FileStore):
            async def save(self, name: str | None, token: Credential) -> None:
                assert not sandbox.applied
                await super().save(name, token)
                assert await self.load(name) == token
                assert not sandbox.applied

        async with Sandbox(**NO_LIMIT) as sandbox:
            store = Watched(tmp_path)
            token = token_of(sandbox, known=False)
            await FileStore(tmp_path).save("alice", token)
            sandbox.advance(7_201)
            async with client(sandbox, store) as one:
                await one.create("1", alt(), account="alice")
            kept = await store.load("alice")
            assert isinstance(kept, OAuth2Token)
            assert kept.refresh_token != token.refresh_token
            async with client(sandbox, FileStore(tmp_path)) as one:
                await one.create("1", alt("again"))
        assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (1, 0)

    async def test_two_clients_on_one_store_renew_once(self, tmp_path: Path) -> None:
        async with Sandbox(**NO_LIMIT, latency=0.01) as sandbox:
            await FileStore(tmp_path).save("alice", token_of(sandbox, known=False))
            sandbox.advance(7_201)
            async with client(sandbox, FileStore(tmp_path)) as one, client(sandbox, FileStore(tmp_path)) as two:
                await asyncio.gather(burst(one, 20), burst(two, 20))
        assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (1, 0)

    async def test_rows_that_name_no_account_may_share_one_with_those_that_do(self) -> None:
        """As in the command: the only account that is logged in stands in for none."""
        async with Sandbox(**NO_LIMIT, latency=0.005, token_lifetime=1.0) as sandbox:
            shared = StoredToken(MemoryStore(), "alice", token_of(sandbox))
            await shared.store.save("alice", shared.token)
            async with client(sandbox, {None: shared, "alice": shared}, concurrency=4) as one:
                ended = time.monotonic() + 1.5

                async def slowly() -> Any:
                    number = 0
                    while time.monotonic() < ended:
                        number += 1
                        yield updates(1, first=number, account="alice" if number % 2 else None)[0]
                        await asyncio.sleep(0.01)

                outcomes, error = await outcomes_of(one, slowly())
                accounts = one._sender.accounts.known()  # type: ignore[union-attr]
                assert len({account.credential for account in accounts}) == 1
        assert error is None
        assert all(isinstance(outcome, Applied) for outcome in outcomes)
        assert sandbox.oauth.reused == 0
        assert 1 <= sandbox.oauth.renewals <= 1 + (time.monotonic() - ended + 1.5) / 0.8

    async def test_a_login_elsewhere_is_renewed_in_time_too(self, tmp_path: Path) -> None:
        """The account was out; what another process has stored meanwhile is taken over with its end."""
        async with Sandbox(**NO_LIMIT) as sandbox:
            store = FileStore(tmp_path)
            await store.save("alice", token_of(sandbox, known=False))
            sandbox.oauth.revoke("alice")
            async with client(sandbox, FileStore(tmp_path)) as one:
                with pytest.raises(ReconnectRequired):
                    await one.create("1", alt(), account="alice")
                account = one._sender.accounts.seen("alice")  # type: ignore[union-attr]
                assert account is not None
                account.asked_at -= 1.0  # a second later
                again = token_of(sandbox)
                await store.save("alice", again)
                assert isinstance(await one.create("1", alt(), account="alice"), Applied)
                assert again.expires_at is not None
                assert again.expires_at - 91 < account.due <= again.expires_at - 59
                assert account.timer is not None
            assert account.timer is None

    async def test_an_account_that_is_not_in_the_store(self, tmp_path: Path) -> None:
        async with Sandbox(**NO_LIMIT) as sandbox:
            store = FileStore(tmp_path)
            async with client(sandbox, store) as one:
                with pytest.raises(InvalidUpdate, match="is missing, and no account is known"):
                    await one.create("1", alt())
            for name in ("alice", "bob"):
                await store.save(name, token_of(sandbox, name))
            async with client(sandbox, store) as one:
                with pytest.raises(InvalidUpdate, match="'alcie' is not known; did you mean 'alice'"):
                    await one.create("1", alt(), account="alcie")
                with pytest.raises(InvalidUpdate, match="none of them is the default"):
                    await one.create("1", alt())
                await one.create("1", alt(), account="alice")
        assert sandbox.counts.requests == 1

    async def test_a_token_that_is_kept_nowhere_is_kept_by_the_client(self) -> None:
        """The mapping still holds the first pair, whose refresh token is spent."""
        async with Sandbox(**NO_LIMIT) as sandbox:
            auth = {"alice": token_of(sandbox, known=False), "bob": BearerToken("bobs-token")}
            async with client(sandbox, auth) as one:
                for turn in range(3):
                    sandbox.advance(7_201)
                    await one.create("1", alt(str(turn)), account="alice")
                    await one.create("2", alt(str(turn)), account="bob")
        assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (3, 0)

    async def test_a_function_may_give_such_tokens_too(self) -> None:
        asked: list[str | None] = []

        async def vault(account: str | None) -> OAuth2Token:
            asked.append(account)
            return first

        async with Sandbox(**NO_LIMIT) as sandbox:
            first = token_of(sandbox, known=False)
            async with client(sandbox, vault) as one:
                for turn in range(2):
                    sandbox.advance(7_201)
                    await one.create("1", alt(str(turn)), account="alice")
        assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (2, 0)
        assert set(asked) == {"alice"}

    async def test_a_token_goes_only_where_it_comes_from(self) -> None:
        async with Sandbox(**NO_LIMIT) as sandbox:
            token = OAuth2Token("access", "refresh", client_id="app", issuer="https://api.x.com/")
            with pytest.raises(ConfigurationError, match=r"comes from https://api\.x\.com is not sent to http://127"):
                async with client(sandbox, token) as one:
                    await one.create("1", alt())
        assert sandbox.counts.requests == 0

    async def test_accounts_of_one_app_share_its_window(self) -> None:
        async with Sandbox(limit=None, app_limit=10) as sandbox:
            auth = {name: token_of(sandbox, name) for name in ("alice", "bob")}
            async with client_of(sandbox, auth) as one:
                for name in auth:
                    await one.create("1", alt(), account=name)
                accounts = one._sender.accounts.known()  # type: ignore[union-attr]
                assert len({id(account.group) for account in accounts}) == 1


class TestReconnect:
    @pytest.mark.parametrize("stored", [False, True])
    async def test_one_account_stops_alone(self, stored: bool) -> None:
        async with Sandbox(**NO_LIMIT) as sandbox:
            tokens: dict[str | None, OAuth2Token] = {
                name: token_of(sandbox, name, known=False) for name in ("alice", "bob")
            }
            sandbox.oauth.revoke("bob")
            async with client(sandbox, MemoryStore(tokens) if stored else tokens) as one:
                rows = [row for name in ("alice", "bob") for row in updates(20, account=name)]
                outcomes, error = await outcomes_of(one, rows)
        assert error is None
        by_account = {
            name: [outcome for outcome in outcomes if outcome.update.account == name] for name in ("alice", "bob")
        }
        assert all(isinstance(outcome, Applied) for outcome in by_account["alice"])
        assert len(by_account["bob"]) == 20
        for outcome in by_account["bob"]:
            assert isinstance(outcome, NotSent)
            assert isinstance(outcome.error, ReconnectRequired)
            assert outcome.error.advice == "Type: xmediameta login --account bob"
        assert sandbox.oauth.renewals == 0
        assert sandbox.oauth.reused == 1, "a spent refresh token is tried once"

    async def test_calls_after_it_fail_at_once(self) -> None:
        async with Sandbox(**NO_LIMIT) as sandbox:
            token = token_of(sandbox, known=False)
            sandbox.oauth.revoke("alice")
            async with client(sandbox, token) as one:
                results = await asyncio.gather(
                    *(one.create(str(number), alt()) for number in range(1, 20)), return_exceptions=True
                )
                assert {type(result) for result in results} == {ReconnectRequired}
                before = sandbox.counts.requests
                with pytest.raises(ReconnectRequired, match="worth nothing any more"):
                    await one.create("1", alt())
                assert sandbox.counts.requests == before
        assert sandbox.oauth.reused == 1

    async def test_listeners_are_told_once_that_it_is_out(self) -> None:
        """Its end is known, so that nothing is sent with it."""
        told: list[Stopped] = []
        async with Sandbox(**NO_LIMIT) as sandbox:
            given = sandbox.oauth.login()
            token = OAuth2Token(given.access_token, given.refresh_token, client_id=given.client_id, expires_at=1.0)
            sandbox.oauth.revoke("alice")
            async with client(sandbox, {"alice": token}, on_stop=told.append) as one:
                calls = (one.create(str(number), alt(), account="alice") for number in range(1, 9))
                results = await asyncio.gather(*calls, return_exceptions=True)
                outcomes, error = await outcomes_of(one, updates(3, account="alice"))
        assert {type(result) for result in results} == {ReconnectRequired}
        assert isinstance(error, ReconnectRequired)
        assert {type(outcome) for outcome in outcomes} == {NotSent}
        (stopped,) = told
        assert (stopped.account, type(stopped.error)) == ("alice", ReconnectRequired)
        assert one.stats.requests == 0
        assert sandbox.oauth.reused == 1

    async def test_a_login_elsewhere_heals_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("xmediameta.apps.PROBE_EVERY", 0.05)
        async with Sandbox(**NO_LIMIT) as sandbox:
            store = FileStore(tmp_path)
            await store.save("alice", token_of(sandbox, known=False))
            sandbox.oauth.revoke("alice")
            async with client(sandbox, FileStore(tmp_path)) as one:
                with pytest.raises(ReconnectRequired):
                    await one.create("1", alt(), account="alice")
                assert "worth nothing any more" in ((await store.notes("alice")).trouble or "")
                await store.save("alice", token_of(sandbox, known=False))
                await asyncio.sleep(0.06)
                assert isinstance(await one.create("1", alt(), account="alice"), Applied)
            assert (await store.notes("alice")).trouble is None

    async def test_a_token_that_has_ended_without_a_refresh_token(self) -> None:
        async with Sandbox(**NO_LIMIT) as sandbox:
            given = sandbox.oauth.login()
            sandbox.advance(7_201)
            async with client(sandbox, OAuth2Token(given.access_token, expires_at=1.0)) as one:
                with pytest.raises(Unauthorized):
                    await one.create("1", alt())
        assert sandbox.counts.requests == 1

    async def test_an_account_that_was_removed_from_its_store(self) -> None:
        async with Sandbox(**NO_LIMIT) as sandbox:
            store = MemoryStore({"alice": token_of(sandbox, known=False)})
            async with client(sandbox, store) as one:
                await one.create("1", alt(), account="alice")
                await store.remove("alice")
                sandbox.advance(7_201)
                with pytest.raises(ReconnectRequired, match="no longer in its store"):
                    await one.create("1", alt(), account="alice")


class TestApps:
    async def test_a_confidential_app(self) -> None:
        async with Sandbox(**NO_LIMIT) as sandbox:
            sandbox.oauth.app("its:id", "its secret?".replace(" ", "%"))
            given = sandbox.oauth.login(client_id="its:id")
            sandbox.advance(7_201)
            token = OAuth2Token(
                given.access_token, given.refresh_token, client_id="its:id", client_secret="its%secret?"
            )
            async with client(sandbox, token) as one:
                assert isinstance(await one.create("1", alt()), Applied)
        assert sandbox.oauth.renewals == 1

    @pytest.mark.parametrize("secret", [None, "another"])
    async def test_an_app_that_is_refused(self, secret: str | None) -> None:
        async with Sandbox(**NO_LIMIT) as sandbox:
            sandbox.oauth.app("app", "secret")
            given = sandbox.oauth.login(client_id="app")
            sandbox.advance(7_201)
            token = OAuth2Token(given.access_token, given.refresh_token, client_id="app", client_secret=secret)
            async with client(sandbox, token) as one:
                with pytest.raises(AuthError, match="check its client id and secret") as caught:
                    await one.create("1", alt())
        assert not isinstance(caught.value, ReconnectRequired)
        assert sandbox.oauth.reused == 0

    async def test_a_login_without_the_scope_to_write(self) -> None:
        async with (
            Sandbox(**NO_LIMIT) as sandbox,
            client(sandbox, token_of(sandbox, scopes=["users.read", "offline.access"])) as one,
        ):
            with pytest.raises(UpdateForbidden):
                await one.create("1", alt())


class TestOAuth1:
    def of(self, sandbox: Sandbox, **other: str) -> OAuth1Token:
        keys = sandbox.oauth1.login()
        parts = {
            "consumer_key": keys.consumer_key,
            "consumer_secret": keys.consumer_secret,
            "access_token": keys.access_token,
            "access_token_secret": keys.access_token_secret,
        }
        return OAuth1Token(**(parts | other))

    async def test_each_request_is_signed(self) -> None:
        async with Sandbox(**NO_LIMIT) as sandbox, client(sandbox, self.of(sandbox)) as one:
            await burst(one)
        assert sandbox.oauth1.checked == len(sandbox.applied) == 64
        assert sandbox.oauth1.refused == []

    async def test_each_attempt_is_signed_anew(self) -> None:
        """A nonce that comes twice is refused; and a request on a fresh connection is signed too."""
        async with Sandbox(**NO_LIMIT, close_after=2) as sandbox:
            sandbox.script("1", ["503", "reset-applied", "ok"])
            async with client(sandbox, self.of(sandbox)) as one:
                for number in range(1, 6):
                    assert isinstance(await one.create(str(number), alt()), Applied)
                assert one.stats.retries >= 2
        assert sandbox.oauth1.refused == []
        assert sandbox.unmet == {}

    @pytest.mark.parametrize("name", ["consumer_secret", "access_token_secret", "consumer_key"])
    async def test_a_signature_that_does_not_fit(self, name: str) -> None:
        async with Sandbox(**NO_LIMIT) as sandbox, client(sandbox, self.of(sandbox, **{name: "another"})) as one:
            with pytest.raises(Unauthorized):
                await one.create("1", alt())
        assert len(sandbox.oauth1.refused) == 1

    async def test_a_clock_that_is_off_is_refused_by_the_server(self) -> None:
        async with Sandbox(**NO_LIMIT, clock_skew=3_600.0) as sandbox, client(sandbox, self.of(sandbox)) as one:
            with pytest.raises(Unauthorized):
                await one.create("1", alt())
        assert sandbox.oauth1.refused == ["the timestamp is out of bounds"]

    async def test_it_may_come_from_a_store(self, tmp_path: Path) -> None:
        async with Sandbox(**NO_LIMIT) as sandbox:
            store = FileStore(tmp_path)
            await store.save("carol", self.of(sandbox))
            async with client(sandbox, store) as one:
                await one.create("1", alt(), account="carol")
        assert sandbox.oauth1.checked == 1
