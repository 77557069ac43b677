"""A renewal whose request or answer is lost, that is cancelled, or whose pair cannot be stored."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xmediameta import (
    Applied,
    AuthError,
    CallbackStore,
    Client,
    Credential,
    FileStore,
    MemoryStore,
    Metadata,
    OAuth1Token,
    OAuth2Token,
    ReconnectRequired,
    RefreshFailed,
    RetryPolicy,
    StoredToken,
    XMediaMetaError,
)
from xmediameta.credentials import Secret
from xmediameta.sandbox import Sandbox
from xmediameta.tokens.endpoint import TokenEndpoint

from .raw import Peer, always, answer, once, raw, unused_port

CAT = Metadata.of(alt_text="A dancing cat")
CANARY = "canary-7f3a9c51d20e"
REFRESH = f"{CANARY}-refresh"
FREE: dict[str, Any] = {"limit": None, "app_limit": None}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xmediameta.tokens.endpoint._PAUSES", (0.001, 0.002, 0.003))


def ended(sandbox: Sandbox, user: str = "alice") -> OAuth2Token:
    """A token that the server does not take any more; the client cannot know."""
    given = sandbox.oauth.login(user)
    sandbox.advance(7_201)
    return OAuth2Token(given.access_token, given.refresh_token, client_id=given.client_id)


def client(sandbox: Sandbox, auth: Any, **options: Any) -> Client:
    return Client(auth, base_url=sandbox.url, limits=None, pace=None, **options)


def mine() -> OAuth2Token:
    return OAuth2Token(f"{CANARY}-access", REFRESH, client_id="app", client_secret=f"{CANARY}-secret")


def shown(error: BaseException) -> str:
    """All that a careful reporter prints of an exception."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    told = traceback.TracebackException.from_exception(error.with_traceback(frames), capture_locals=True)
    return "".join(told.format()) + repr(error) + repr(vars(error))


# The request, or its answer


@pytest.mark.parametrize(
    "faults", [["reset"], ["503"], ["502-html", "close"], ["429-retry-after:0"], ["500", "503", "reset"]]
)
async def test_what_did_not_arrive_is_sent_again(faults: list[str]) -> None:
    async with Sandbox(**FREE) as sandbox, client(sandbox, ended(sandbox)) as one:
        sandbox.oauth.script(*faults)
        assert isinstance(await one.create("1", CAT), Applied)
    assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (1, 0)
    assert sum(sandbox.counts.faults.values()) == 0  # those of token requests are counted apart
    assert sandbox.oauth.fault() is None


@pytest.mark.parametrize("fault", ["reset-applied", "close-applied", "200-cut", "200-empty"])
async def test_an_answer_that_is_lost_is_asked_for_once_more(fault: str) -> None:
    """The server has taken the refresh token, so the second answer tells that it is spent; and so does the error."""
    async with Sandbox(**FREE) as sandbox, client(sandbox, ended(sandbox)) as one:
        sandbox.oauth.script(fault)
        with pytest.raises(ReconnectRequired, match="the answer to its renewal was lost on the way"):
            await one.create("1", CAT)
    assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (1, 1)


async def test_two_answers_that_are_lost() -> None:
    async with Sandbox(**FREE) as sandbox, client(sandbox, ended(sandbox)) as one:
        sandbox.oauth.script("reset-applied", "reset-applied")
        with pytest.raises(RefreshFailed, match="two answers to the renewal of the token were lost on the way"):
            await one.create("1", CAT)
    assert sandbox.oauth.fault() is None
    assert sandbox.oauth.renewals == 1


async def test_a_server_that_does_not_answer_for_long() -> None:
    async with Sandbox(**FREE) as sandbox, client(sandbox, ended(sandbox)) as one:
        sandbox.oauth.script("503", "503", "503", "503")
        with pytest.raises(RefreshFailed, match="could not be renewed: the token endpoint answered 503"):
            await one.create("1", CAT)
    assert sandbox.oauth.fault() is None


async def test_no_connection() -> None:
    endpoint = TokenEndpoint(f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(RefreshFailed, match="could not be renewed") as caught:
        await endpoint.refresh(mine())
    assert CANARY not in shown(caught.value)


async def test_an_answer_that_does_not_come_in_time() -> None:
    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with raw(silent) as server:
        with pytest.raises(RefreshFailed, match=r"lost on the way \(no answer within 1 s\)") as caught:
            await TokenEndpoint(server.url, timeout=1.0).refresh(mine())
        assert server.connections == 2
    assert CANARY not in shown(caught.value)


def json_answer(text: str, status: str = "200 OK") -> bytes:
    return answer(text.encode(), status, "Content-Type: application/json")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (answer(b"<html>", "200 OK"), RefreshFailed),
        (answer(b"", "302 Found", "Location: http://127.0.0.1:9/"), AuthError),
        (answer(b"nothing here", "404 Not Found"), AuthError),
        (answer(b"x" * 2_000_000, "200 OK"), RefreshFailed),
        (b"HTTP/9 what\r\n\r\n", RefreshFailed),
        (json_answer('{"access_token": 7}'), RefreshFailed),
        (json_answer("[" * 50_000), RefreshFailed),
        (json_answer(f'{{"access_token": "{CANARY} {CANARY}", "token_type": "bearer"}}'), AuthError),
        (json_answer(f'{{"error": "x", "error_description": "you sent {REFRESH}"}}', "400 Bad Request"), AuthError),
        (json_answer(f'{{"error": "{REFRESH}"}}', "400 Bad Request"), AuthError),
        (answer(REFRESH.encode(), "400 Bad Request"), AuthError),
        (answer(f"{CANARY}-secret".encode(), "401 Unauthorized"), AuthError),
        (json_answer('{"error": "invalid_grant"}', "400 Bad Request"), ReconnectRequired),
    ],
)
async def test_odd_answers(said: bytes, error: type[AuthError]) -> None:
    async with raw(once(said)) as server:
        with pytest.raises(AuthError) as caught:
            await TokenEndpoint(server.url).refresh(mine())
    assert type(caught.value) is error
    assert CANARY not in shown(caught.value)
    assert "\n" not in str(caught.value)


async def test_what_is_sent() -> None:
    body = '{"access_token": "a2", "token_type": "bearer", "expires_in": 7200}'
    async with raw(always(json_answer(body))) as server:
        endpoint = TokenEndpoint(server.url, wall=lambda: 1_000.0)
        token = await endpoint.refresh(mine())
        await endpoint.refresh(OAuth2Token("a", REFRESH, client_id="app"))
    assert token == mine().renewed("a2", None, expires_at=8_200.0, lifetime=7_200.0), (
        "no other refresh token: the old one stays good"
    )
    confidential, public = server.requests
    assert confidential.startswith(b"POST /2/oauth2/token HTTP/1.1\r\n")
    assert b"authorization: basic " in confidential.lower()
    assert confidential.endswith(b"grant_type=refresh_token&refresh_token=" + REFRESH.encode())
    assert b"authorization" not in public.lower()
    assert b"client_id=app" in public


# Those who wait


async def test_a_caller_that_is_cancelled_leaves_it_to_the_others() -> None:
    async with Sandbox(**FREE, latency=0.05) as sandbox, client(sandbox, ended(sandbox)) as one:
        calls = [asyncio.create_task(one.create(str(number), CAT)) for number in range(1, 9)]
        await until(lambda: sandbox.oauth.renewals == 1)
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, Applied] * 4
    assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (1, 0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("steps", range(0, 60, 4))
async def test_what_was_sent_ends_in_storing_whoever_is_cancelled(steps: int, tmp_path: Path) -> None:
    """The only caller is cancelled at any await; the pair that the server gave is in the file all the same."""
    async with Sandbox(**FREE, latency=0.005) as sandbox:
        first = ended(sandbox)
        await FileStore(tmp_path).save("alice", first)
        async with client(sandbox, FileStore(tmp_path)) as one:
            call = asyncio.create_task(one.create("1", CAT, account="alice"))
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        kept = await FileStore(tmp_path).load("alice")
        assert isinstance(kept, OAuth2Token)
        assert (kept != first) == (sandbox.oauth.renewals == 1)
        async with client(sandbox, FileStore(tmp_path)) as one:
            assert isinstance(await one.create("1", CAT, account="alice"), Applied)
    assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (1, 0)


@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_a_loop_that_is_shut_down_waits_for_the_storing(how: str, tmp_path: Path) -> None:
    """The server runs in a thread of its own, whose loop goes on."""
    served: dict[str, Any] = {}
    up, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with Sandbox(**FREE, latency=0.1) as sandbox:
            served["sandbox"], served["token"], served["url"] = sandbox, ended(sandbox), sandbox.url
            up.set()
            await asyncio.to_thread(done.wait)

    async def main() -> None:
        store = FileStore(tmp_path)
        await store.save("alice", served["token"])
        one = Client(store, base_url=served["url"], limits=None)
        call = asyncio.create_task(one.create("1", CAT, account="alice"))
        await until(lambda: served["sandbox"].oauth.renewals == 1)
        if how == "closed":
            await one.aclose()
            await asyncio.gather(call, return_exceptions=True)
        else:
            sender = one._sender
            assert sender is not None
            call.cancel()
            # Left open: the end of the loop cancels what is left in it.
            await sender.transport.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert up.wait(20)
        asyncio.run(main())
        kept = asyncio.run(FileStore(tmp_path).load("alice"))
        assert isinstance(kept, OAuth2Token)
        assert kept != served["token"]
    finally:
        done.set()
        thread.join()
    assert (served["sandbox"].oauth.renewals, served["sandbox"].oauth.reused) == (1, 0)


async def test_a_renewal_that_only_waits_to_try_again_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xmediameta.tokens.endpoint._PAUSES", (600.0,))
    async with Sandbox(**FREE) as sandbox, client(sandbox, ended(sandbox)) as one:
        sandbox.oauth.script("503")
        call = asyncio.create_task(one.create("1", CAT))
        await until(lambda: sandbox.counts.requests == 2 and sandbox.oauth.fault() is None)
        async with asyncio.timeout(20):
            await one.aclose()
            await asyncio.gather(call, return_exceptions=True)


# The store


class Failing(MemoryStore):
    """A store that fails as often as it is told to."""

    def __init__(self, tokens: dict[str | None, Credential], error: Exception, times: int = 1) -> None:
        super().__init__(tokens)
        self.error, self.times = error, times

    async def save(self, name: str | None, token: Credential) -> None:
        if self.times:
            self.times -= 1
            raise self.error
        await super().save(name, token)


@pytest.mark.parametrize("error", [AuthError("the disk is full"), OSError(f"cannot keep {CANARY}"), KeyError("x")])
async def test_a_pair_that_could_not_be_stored_is_stored_at_the_next_try(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not used before, and no second one is asked for."""
    monkeypatch.setattr("xmediameta.apps.PROBE_EVERY", 0.01)
    async with Sandbox(**FREE) as sandbox:
        store = Failing({"alice": ended(sandbox)}, error)
        async with client(sandbox, store) as one:
            with pytest.raises(AuthError) as caught:
                await one.create("1", CAT, account="alice")
            assert not sandbox.applied
            assert CANARY not in str(caught.value)
            await asyncio.sleep(0.02)
            assert isinstance(await one.create("1", CAT, account="alice"), Applied)
        kept = await store.load("alice")
        assert isinstance(kept, OAuth2Token)
    assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (1, 0)


async def test_a_store_that_cannot_be_read() -> None:
    async def load(name: str | None) -> Credential | None:
        raise OSError(f"no database for {CANARY}")

    async def save(name: str | None, token: Credential) -> None:
        raise AssertionError("there is nothing to store")

    async with Sandbox(**FREE) as sandbox:
        store = CallbackStore(load, save)
        for auth in (store, StoredToken(store, None, ended(sandbox))):
            async with client(sandbox, auth) as one:
                with pytest.raises(AuthError, match="the token store failed with OSError") as caught:
                    await one.create("1", CAT)
            assert CANARY not in str(caught.value)
            assert isinstance(caught.value.__cause__, OSError)
    assert sandbox.oauth.renewals == 0


async def test_a_database_without_a_lock_that_another_process_writes_to() -> None:
    """Another spends the refresh token between our look and our request: what it has stored is taken over."""
    async with Sandbox(**FREE) as sandbox:
        first = ended(sandbox)
        table: dict[str | None, Credential] = {"alice": first}
        looks = 0

        async def load(name: str | None) -> Credential | None:
            nonlocal looks
            looks += 1
            seen = table.get(name)
            if looks == 2:  # as it is renewed here
                assert first.refresh_token is not None
                given = sandbox.oauth.refresh("sandbox-app", None, str(first.refresh_token))
                table["alice"] = first.renewed(given.access_token, given.refresh_token, expires_at=None)
            return seen

        async def save(name: str | None, token: Credential) -> None:
            raise AssertionError("the other was first")

        async with client(sandbox, CallbackStore(load, save)) as one:
            assert isinstance(await one.create("1", CAT, account="alice"), Applied)
    assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (1, 1)


# Nothing shows


async def test_nothing_of_a_renewal_shows(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Neither in logs at DEBUG with asyncio in its debug mode, nor in errors, nor in what hangs on a client."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    caplog.set_level(logging.DEBUG)
    async with Sandbox(**FREE) as sandbox:
        sandbox.oauth.app("app", f"{CANARY}-client-secret")
        given = sandbox.oauth.login(client_id="app")
        sandbox.advance(7_201)
        token = OAuth2Token(
            given.access_token, given.refresh_token, client_id="app", client_secret=f"{CANARY}-client-secret"
        )
        store = FileStore(tmp_path)
        await store.save("alice", token)
        async with client(sandbox, store) as one:
            sandbox.oauth.script("503", "reset")
            await one.create("1", CAT, account="alice")
            kept = await store.load("alice")
            assert isinstance(kept, OAuth2Token)
            account = one._sender.accounts.seen("alice")  # type: ignore[union-attr]
            assert account is not None
            things = [one, vars(one), account, account.keeper, account.credential, account.session.headers, kept, store]
            sandbox.oauth.revoke("alice")
            sandbox.oauth.script("reset-applied")
            with pytest.raises(AuthError) as caught:
                await one.create("2", CAT, account="alice")
            told = shown(caught.value)
        parts = (given.access_token, given.refresh_token, kept.access_token, kept.refresh_token)
        secrets = [*(str(Secret(part)) for part in parts), f"{CANARY}-client-secret"]
    loop.set_debug(False)
    assert any(record.name == "asyncio" for record in caplog.records)
    everything = told + "".join(map(repr, things))
    everything += "".join(record.getMessage() + repr(vars(record)) for record in caplog.records)
    for secret in secrets:
        assert secret not in everything


async def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    async with Sandbox(**FREE) as sandbox:
        await FileStore(tmp_path).save("alice", ended(sandbox))
        async with client(sandbox, FileStore(tmp_path)) as one:
            await one.create("1", CAT, account="alice")
    (path,) = tmp_path.iterdir()
    assert path.suffix == ".json"
    assert path.stat().st_mode & 0o077 == 0


async def test_nothing_of_an_oauth1_token_shows(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    caplog.set_level(logging.DEBUG)
    errors: list[BaseException] = []
    async with Sandbox(**FREE) as sandbox:
        keys = sandbox.oauth1.login()
        token = OAuth1Token(keys.consumer_key, keys.consumer_secret, keys.access_token, keys.access_token_secret)
        async with client(sandbox, token, retry=RetryPolicy(attempts=1)) as one:
            await one.create("1", CAT)
            account = one._sender.accounts.seen(None)  # type: ignore[union-attr]
            assert account is not None
            things = [one, vars(one), account, account.credential, account.session, account.session.headers, token]
            things += [vars(account.session.http)]
            for fault in ("reset", "400-echo", "503", "401"):
                sandbox.script("2", [fault])
                with pytest.raises(XMediaMetaError) as caught:
                    await one.create("2", CAT)
                errors.append(caught.value)
    loop.set_debug(False)
    assert sandbox.unmet == {}
    everything = "".join(map(repr, things)) + "".join(map(shown, errors))
    everything += "".join(record.getMessage() + repr(vars(record)) for record in caplog.records)
    for secret in (keys.consumer_secret, keys.access_token, keys.access_token_secret):
        assert secret not in everything


class Endpoint:
    """A token endpoint that takes some steps of the loop, and then answers or fails."""

    def __init__(self, error: AuthError | None) -> None:
        self.error, self.asked = error, 0

    async def refresh(self, token: OAuth2Token) -> OAuth2Token:
        self.asked += 1
        for _ in range(3):
            await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return token.renewed(f"new-{self.asked}", f"refresh-{self.asked}", expires_at=None)


@pytest.mark.parametrize("error", [None, ReconnectRequired("spent")])
async def test_a_second_401_at_any_step_of_a_renewal(error: AuthError | None) -> None:
    """Also between its end and the moment when those who wait hear of that: then it must not look as if in vain."""
    for steps in range(40):
        token = OAuth2Token("old", "refresh", client_id="app")
        async with Client(token, base_url="http://127.0.0.1:9") as one:
            accounts = one._opened().accounts
            account = await accounts.get(None)
            endpoint: Any = Endpoint(error)
            accounts.renewal._endpoint = endpoint
            seen, earlier = account.credential, asyncio.get_running_loop().time() - 1
            first = asyncio.create_task(accounts.refresh(account, seen, earlier))
            for _ in range(1 + steps):
                await asyncio.sleep(0)
            ended = first.done()
            second = accounts.refresh(account, seen, earlier)
            if error is None:
                assert await second is True, steps
            elif ended:
                assert await second is False
            else:
                with pytest.raises(ReconnectRequired):
                    await second
            await asyncio.gather(first, return_exceptions=True)
            assert endpoint.asked == 1, steps


async def test_tokens_that_end_at_once_bring_no_storm() -> None:
    """The timer of an account that is held does not run in circles, whatever the server says of its tokens."""

    class AtOnce(Endpoint):
        async def refresh(self, token: OAuth2Token) -> OAuth2Token:
            self.asked += 1
            return token.renewed(f"new-{self.asked}", f"refresh-{self.asked}", expires_at=time.time())

    token = OAuth2Token("old", "refresh", client_id="app", expires_at=time.time() + 0.01)
    async with Client(token, base_url="http://127.0.0.1:9") as one:
        accounts = one._opened().accounts
        account = await accounts.get(None)
        endpoint: Any = AtOnce(None)
        accounts.renewal._endpoint = endpoint
        account.users += 1
        await until(lambda: endpoint.asked)
        began = time.monotonic()
        await asyncio.sleep(0.2)
        assert endpoint.asked <= 1 + (time.monotonic() - began) / 0.5 + 1


async def test_what_the_client_itself_keeps_is_forgotten_with_the_account_unless_it_was_renewed() -> None:
    tokens = {name: OAuth2Token(f"old-{name}", "refresh", client_id="app") for name in ("ana", "bob")}
    async with Client(tokens, base_url="http://127.0.0.1:9") as one:
        accounts = one._opened().accounts
        endpoint: Any = Endpoint(None)
        accounts.renewal._endpoint = endpoint
        ana, bob = await accounts.get("ana"), await accounts.get("bob")
        await accounts.renewal.after_401(bob)
        for account in (ana, bob):
            accounts.renewal.forget(account)
        assert set(accounts.renewal._own) == {"bob"}
        keeper = accounts.renewal.keeper("bob", tokens["bob"])
        assert keeper is not None
        assert keeper.authorization() == "Bearer new-1"


async def test_nothing_that_is_kept_shows_a_token() -> None:
    """Whatever hangs on a client, as far as a debugger would follow it."""
    async with Sandbox(**FREE) as sandbox:
        keys = sandbox.oauth1.login()
        given = sandbox.oauth.login()
        renewed = OAuth2Token(given.access_token, given.refresh_token, client_id=given.client_id, expires_at=1.0)
        auth: dict[str, Credential] = {
            "alice": renewed,
            "bob": OAuth1Token(keys.consumer_key, keys.consumer_secret, keys.access_token, keys.access_token_secret),
        }
        async with client(sandbox, auth) as one:
            for name in auth:
                await one.create("1", CAT, account=name)
            keeper = one._opened().accounts.known()[0].keeper
            assert keeper is not None
            assert isinstance(keeper.token, OAuth2Token)
            assert keeper.token != renewed
            parts = [renewed.access_token, renewed.refresh_token, keeper.token.access_token, keeper.token.refresh_token]
            parts += [keys.consumer_secret, keys.access_token, keys.access_token_secret]
            secrets = [str(part) for part in parts]
            seen: set[int] = set()
            found: list[object] = [one]
            while found:
                thing = found.pop()
                if id(thing) in seen or isinstance(thing, type):
                    continue
                seen.add(id(thing))
                told = repr(thing)
                assert not any(secret in told for secret in secrets), type(thing)
                if type(thing).__module__.partition(".")[0] in {"xmediameta", "aiohttp", "multidict", "builtins"}:
                    found.extend(
                        other
                        for other in gc.get_referents(thing)
                        if not (isinstance(other, dict) and "__name__" in other)
                    )
                assert len(seen) < 200_000
    assert len(seen) > 100
