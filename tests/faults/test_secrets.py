"""A canary token appears nowhere: not printed, logged, raised, pickled or warned of, whatever goes wrong."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import pickle
import ssl
import traceback
import warnings
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trustme

from xmediameta import BearerToken, Client, ConfigurationError, Failed, Metadata, NotSent, RetryPolicy, XMediaMetaError
from xmediameta.credentials import Secret
from xmediameta.sandbox import FAULTS, Sandbox

from .fake import QUICK, drained, updates
from .raw import Peer, always, answer, once, raw, success, unused_port

CANARY = "canary-7f3a9c51d20e-token-Zm9vYmFyY2F0"
CAT = Metadata.of(alt_text="A dancing cat")
ONCE = RetryPolicy(attempts=1)


def shown(error: BaseException) -> str:
    """All that a careful reporter prints of an exception: its chain, and the locals of every frame but the caller's."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    error = error.with_traceback(frames)
    seen = traceback.TracebackException.from_exception(error, capture_locals=True, max_group_width=99)
    return "".join(seen.format()) + repr(error) + str(error) + repr(vars(error))


@pytest.fixture(autouse=True)
async def watched(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Everything logs at DEBUG, asyncio in its debug mode, and nothing that was logged holds the canary."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0  # so that each step of each task is logged
    caplog.set_level(logging.DEBUG)
    yield
    loop.set_debug(False)
    records = caplog.get_records("call")
    assert any(record.name == "asyncio" for record in records)
    for record in records:
        assert CANARY not in record.getMessage() + repr(vars(record)), record


# Printed


async def test_reprs() -> None:
    async with Sandbox(limit=None, app_limit=None) as sandbox, Client(CANARY, base_url=sandbox.url) as one:
        await one.create("1", CAT)
        sender = one._sender
        assert sender is not None
        (account,) = sender.accounts.known()
        credential = BearerToken(CANARY, app="mine")
        things = [
            one, vars(one), sender, vars(sender), sender.transport, vars(sender.transport), sender.accounts, account,
            account.credential, account.session, account.session.headers, account.session.http,
            vars(account.session.http), account.gate, credential, credential.authorization(), Secret(CANARY),
            [Secret(CANARY)], {"a": Secret(CANARY)}, one.stats, one.quota,
        ]  # fmt: skip
        for thing in things:
            assert CANARY not in repr(thing), type(thing)
            if not isinstance(thing, Secret):
                assert CANARY not in str(thing), type(thing)
        async with one.bulk(updates(3)) as run:
            assert CANARY not in repr(run)
            assert CANARY not in repr([outcome async for outcome in run])


async def test_nothing_that_is_kept_prints_it() -> None:
    """Whatever hangs on a client, as far as a debugger would follow it."""
    async with Sandbox(limit=None, app_limit=None) as sandbox, Client(CANARY, base_url=sandbox.url, retry=QUICK) as one:
        sandbox.script("2", ["503", "close"])
        for media_id in ("1", "2", "3"):
            await one.create(media_id, CAT)
        seen: set[int] = set()
        found: list[object] = [one]
        while found:
            thing = found.pop()
            if id(thing) in seen or isinstance(thing, type):
                continue
            seen.add(id(thing))
            assert CANARY not in repr(thing), type(thing)
            if type(thing).__module__.partition(".")[0] in {"xmediameta", "aiohttp", "multidict", "builtins"}:
                found.extend(
                    other for other in gc.get_referents(thing) if not (isinstance(other, dict) and "__name__" in other)
                )
            assert len(seen) < 200_000
        assert len(seen) > 100


async def test_secrets_stay_secret_when_they_are_put_together() -> None:
    secret = BearerToken(CANARY).authorization()
    assert isinstance(secret, Secret)
    assert f"{secret!r:>20}".strip() == "'****'"
    for made in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            made(secret)
        with pytest.raises(TypeError):
            made(BearerToken(CANARY))


# Refused


@pytest.mark.parametrize(
    "token", [f"{CANARY}\n{CANARY}", f"{CANARY}\u00e9", f"{CANARY} {CANARY}", f"{CANARY}\x00", " "]
)
@pytest.mark.parametrize("make", [Client, BearerToken, lambda token: Client({"a": token})])
async def test_a_token_that_cannot_be_used_is_not_echoed(make: Callable[[str], object], token: str) -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: None)
    with pytest.raises(ConfigurationError) as caught:
        make(token)
    assert "the token cannot be used" in str(caught.value)
    assert CANARY not in shown(caught.value)


async def test_a_token_is_not_shown_beside_what_is_wrong_with_the_rest() -> None:
    for options in ({"base_url": "http://x.example"}, {"concurrency": 0}, {"timeout": -1}, {"pace": "slow"}):
        for auth in (CANARY, {"a": CANARY}, BearerToken(CANARY)):
            with pytest.raises(ConfigurationError) as caught:
                Client(auth, **options)  # type: ignore[arg-type]
            assert CANARY not in shown(caught.value)


async def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMEDIAMETA_TOKEN", f"{CANARY} {CANARY}")
    with pytest.raises(ConfigurationError) as caught:
        Client.from_env()
    assert CANARY not in shown(caught.value)
    monkeypatch.setenv("XMEDIAMETA_TOKEN", CANARY)
    monkeypatch.setenv("XMEDIAMETA_BASE_URL", "http://x.example")
    with pytest.raises(ConfigurationError) as caught:
        Client.from_env()
    assert CANARY not in shown(caught.value)


# Raised


async def raised(base_url: str, *, auth: object = None, **options: object) -> BaseException:
    """What `create` raises."""
    options = {"limits": None, "retry": ONCE, "timeout": 2.0} | options
    try:
        async with Client(auth or CANARY, base_url=base_url, **options) as one:  # type: ignore[arg-type]
            await one.create("1", CAT)
    except XMediaMetaError as error:
        return error
    raise AssertionError("nothing was raised")


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def reset(peer: Peer) -> None:
    await peer.reader.readexactly(1)
    peer.reset()


ECHO = answer(f'{{"title": "Bearer {CANARY}"}}'.encode(), "400 Bad Request", f"x-transaction-id: {CANARY}")


@pytest.mark.parametrize(
    "play",
    [silent, reset, once(b""), once(success()[:-3]), once(f"HTTP/1.1 {CANARY}\r\n\r\n".encode()), once(ECHO),
     once(answer(b"", "200 OK", "Transfer-Encoding: chunked", length=False) + b"zz\r\n"),
     once(answer(CANARY.encode(), "503 Unavailable")), once(answer(CANARY.encode(), "200 OK"))],
)  # fmt: skip
async def test_what_a_server_does(play) -> None:
    async with raw(play) as server:
        error = await raised(server.url, timeout=0.1 if play is silent else 2.0)
        assert CANARY not in shown(error)
        assert CANARY not in repr(pickle.loads(pickle.dumps(error)))
        assert CANARY.encode() not in pickle.dumps(error)


@pytest.mark.looptime  # sockets are real, time is not: a busy machine makes no request late
async def test_what_the_sandbox_does() -> None:
    """Every fault of the catalogue, each with an account of its own, since some stop it."""
    names = [name for name in FAULTS if name not in {"gzip-bomb", "late", "slow", "interim-endless"}]
    errors: dict[str, BaseException] = {}
    async with Sandbox(limit=None, app_limit=None) as sandbox:
        auth = {name: CANARY + name for name in names}
        async with Client(auth, base_url=sandbox.url, limits=None, retry=ONCE, timeout=2.0) as one:
            for number, name in enumerate(names):
                sandbox.script(str(number), [name])
                try:
                    await one.create(str(number), CAT, account=name, max_wait=0.0)
                except XMediaMetaError as error:
                    errors[name] = error
        assert len(sandbox.unmet) < 10  # those whose request found a connection that the one before had left stale
    assert len(errors) > 70
    for name, error in errors.items():
        assert CANARY not in shown(error), name
        assert CANARY.encode() not in pickle.dumps(error), name


async def test_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CANARY not in shown(await raised(f"http://127.0.0.1:{unused_port()}"))
    assert CANARY not in shown(await raised("https://no-such-host.invalid"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with raw(always(success()), ssl_context=context) as server:
        assert CANARY not in shown(await raised(server.url))


async def test_accounts_that_are_not_known_or_not_served() -> None:
    async def vault(account: str | None) -> str:
        raise LookupError("no such account")

    async def odd(account: str | None) -> object:
        return [CANARY]

    async with Sandbox(limit=None, app_limit=None) as sandbox:
        for auth in ({"alice": CANARY, "bob": CANARY}, vault, odd):
            assert CANARY not in shown(await raised(sandbox.url, auth=auth))


async def test_a_cancellation_at_any_await() -> None:
    async def play(peer: Peer) -> None:
        while await peer.request():
            await asyncio.sleep(0)
            await peer.send(success()[:-5])
            await asyncio.sleep(0)
            await peer.send(success()[-5:])

    async with raw(play) as server, Client(CANARY, base_url=server.url, limits=None) as one:
        await one.create("1146654567674912769", CAT)
        for steps in range(1, 40):
            task = asyncio.create_task(one.create("1146654567674912769", CAT))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(ended, BaseException):
                assert isinstance(ended, asyncio.CancelledError)
                assert CANARY not in shown(ended)


async def test_the_callers_own_timeout() -> None:
    async with raw(silent) as server, Client(CANARY, base_url=server.url, limits=None) as one:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.05):
                await one.create("1", CAT)
        assert CANARY not in shown(caught.value)
        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(one.create("1", CAT), 0.05)
        assert CANARY not in shown(caught.value)


async def test_a_client_that_is_closed_or_used_twice() -> None:
    async with raw(silent) as server:
        one = Client(CANARY, base_url=server.url, limits=None)
        task = asyncio.create_task(one.create("1", CAT))
        while not server.requests:
            await asyncio.sleep(0.001)
        await one.aclose()
        for awaitable in (task, one.create("2", CAT)):
            with pytest.raises(XMediaMetaError) as caught:
                await awaitable
            assert CANARY not in shown(caught.value)


async def test_outcomes_and_what_ends_a_run() -> None:
    async with Sandbox(limit=None, app_limit=None) as sandbox:
        sandbox.script("1", ["400-echo"])
        sandbox.script("2", ["reset"] * 9)
        async with Client(CANARY, base_url=sandbox.url, limits=None, retry=QUICK, concurrency=2) as one:
            outcomes, error = await drained(one.bulk(updates(5)))
            assert error is None
            sandbox.revoke()
            more, error = await drained(one.bulk(updates(5)))
    assert error is not None
    assert CANARY not in shown(error)
    for outcome in (*outcomes, *more):
        assert CANARY not in repr(outcome)
        if isinstance(outcome, Failed | NotSent) and outcome.error is not None:
            assert CANARY not in shown(outcome.error)


# Pickled, warned of


async def test_a_client_is_not_pickled() -> None:
    one = Client(CANARY)
    for made in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            made(one)


async def test_a_client_that_nobody_closes() -> None:
    async with Sandbox(limit=None, app_limit=None) as sandbox:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            one = Client(CANARY, base_url=sandbox.url, timeout=None)
            await one.create("1", CAT)
            alive = weakref.ref(one._sender.transport)  # type: ignore[union-attr]
            del one
            for _ in range(10):
                await asyncio.sleep(0)
                gc.collect()
        assert alive() is None
        told = [f"{warning.message} {warning.source!r}" for warning in warned]
        assert any("Unclosed" in text for text in told)
        assert CANARY not in "".join(told)


async def test_a_coroutine_that_nobody_awaits() -> None:
    one = Client(CANARY)
    call: Awaitable[object] = one.create("1", CAT)
    assert CANARY not in repr(call)
    call.close()  # type: ignore[attr-defined]
