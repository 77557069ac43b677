# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedVariable=false
"""What a user writes: mypy and pyright must find nothing here. Nobody runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import assert_type

from xmediameta import (
    AccountForbidden,
    AltText,
    Applied,
    Attempt,
    Batcher,
    BearerToken,
    BulkRun,
    CallbackStore,
    Client,
    Credential,
    Failed,
    FileStore,
    KeyringStore,
    Limits,
    MemoryStore,
    Metadata,
    NotSent,
    OAuth1Token,
    OAuth2Token,
    Outcome,
    ProblemError,
    Quota,
    RateLimited,
    RateLimitWaitTooLong,
    ReconnectRequired,
    RequestSigner,
    RetryPolicy,
    Retrying,
    Sandbox,
    Stats,
    Stopped,
    StoredToken,
    TokenStore,
    TransportError,
    Unchanged,
    Update,
    Wait,
    XMediaMetaError,
    retry_if_verdict,
    wait_for_verdict,
)
from xmediameta.credentials import Secret
from xmediameta.otel import instrument

# Ways to sign


class Vault:
    """A credential of the user's own."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    @property
    def app(self) -> str | None:
        return "my app"

    def authorization(self) -> Secret:
        return Secret(f"Bearer {self._secret}")


async def load(account: str | None) -> OAuth2Token | None:
    return None if account is None else OAuth2Token("ACCESS", "REFRESH", client_id="APP", expires_at=datetime.now(UTC))


async def save(account: str | None, token: Credential) -> None:
    assert isinstance(token, OAuth2Token)
    assert_type(OAuth2Token.from_dict(token.as_dict()), OAuth2Token)
    print(account)


async def tokens_that_are_renewed() -> None:
    one = OAuth1Token("KEY", "SECRET", "ACCESS", "ACCESS-SECRET", app="my app")
    two = OAuth2Token("ACCESS")
    signer: RequestSigner = one
    assert_type(signer.sign("POST", "https://api.x.com/2/media/metadata"), Secret)
    stores: list[TokenStore] = [FileStore(), KeyringStore(), MemoryStore({"news": two}), CallbackStore(load, save)]
    for store in stores:
        stored = await StoredToken.load(store, "news")
        assert stored is not None
        try:
            several: dict[str, str | Credential] = {"news": stored, "sports": one, "other": "TOKEN"}
            async with Client(store) as client, Client(several):
                await client.create("1", Metadata.of(alt_text="A cat"), account="news")
        except ReconnectRequired as error:
            assert_type(error.advice, str)
    Client(one)
    Client(two)
    Client(MemoryStore({None: one}))
    Client({"news": two})
    Client(load_or_fail)


async def load_or_fail(account: str | None) -> Credential:
    token = await load(account)
    assert token is not None
    return token


async def look_up(account: str | None) -> str:
    return f"token of {account}"


async def look_up_credential(account: str | None) -> BearerToken:
    return BearerToken("token", app="my app")


async def look_up_either(account: str | None) -> str | Credential:
    return "token" if account else Vault("token")


def clients() -> list[Client]:
    names: dict[str, str] = {"ana": "token"}
    objects: dict[str, BearerToken] = {"ana": BearerToken("token")}
    with_default: dict[str | None, str | Credential] = {None: "token", "ana": Vault("token")}
    return [
        Client("token"),
        Client(BearerToken("token", app="my app")),
        Client(Vault("token")),
        Client(names),
        Client(objects),
        Client(with_default),
        Client({"ana": "token", "bob": "token"}),
        Client(look_up),
        Client(look_up_credential),
        Client(look_up_either),
        Client.from_env(),
        Client.from_env(base_url="http://127.0.0.1:8080", concurrency=64),
    ]


def on_wait(wait: Wait) -> None:
    assert_type(wait.account, str | None)
    assert_type(wait.seconds, float)
    assert_type(wait.reset_at, datetime)


def with_options() -> Client:
    return Client(
        "token",
        base_url="https://api.x.com",
        concurrency=64,
        timeout=None,
        pace="even",
        retry=RetryPolicy(attempts=3, wait=wait_for_verdict(base=1.0), retry=retry_if_verdict(), max_outage=60.0),
        limits=Limits(user_15min=(100, 900.0), app_24hour=None),
        reserve=5,
        strict=False,
        allow_insecure=True,
        trust_env=True,
        on_wait=on_wait,
    )


def paces() -> list[Client]:
    return [Client("t", pace="burst"), Client("t", pace="even"), Client("t", pace=12.5), Client("t", pace=5), Client("t", pace=None)]


# One update


async def one(client: Client) -> str | None:
    metadata = Metadata.of(
        alt_text="A dancing cat",
        allow_download=True,
        allowed_countries=["us", "ca"],
        content_expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    )
    applied = await client.create("1146654567674912769", metadata)
    assert_type(applied, Applied)
    await client.create("1146654567674912769", Metadata(alt_text=AltText("A cat")), account="ana", ref=7, max_wait=None)
    assert_type(applied.associated_metadata, Metadata | None)
    assert_type(applied.update, Update)
    assert_type(applied.id, str)
    assert_type(applied.ref, str | int | None)
    assert_type(applied.attempts, int)
    return applied.transaction_id


async def errors(client: Client) -> None:
    try:
        await client.create("1146654567674912769", Metadata.of(alt_text="A cat"))
    except RateLimitWaitTooLong as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.reset_at, datetime | None)
        assert_type(error.max_wait, float)
    except RateLimited as error:
        assert_type(error.reset_at, datetime | None)
    except AccountForbidden as error:
        assert_type(error.status, int)
    except ProblemError as error:
        assert_type(error.problem.detail, str)
        assert_type(error.body_excerpt, str)
    except TransportError as error:
        assert_type(error.maybe_applied, bool)
    except XMediaMetaError as error:
        assert_type(error.media_id, str | None)
        assert error.scope in {"update", "account", "run", "retry"}


# A stream of them


def from_rows() -> Iterator[Update]:
    yield Update("1", Metadata.of(alt_text="A cat"), "ana", ref="row 1", send_before=1_900_000_000)
    yield Update("2", Metadata.of(alt_text="A cat"), send_before=datetime.now(UTC))


async def from_database() -> AsyncIterator[dict[str, object]]:
    yield {"id": "1", "metadata": {"alt_text": {"text": "A cat"}}}


async def many(client: Client) -> int:
    async with client.bulk(from_rows(), concurrency=32) as outcomes:
        assert_type(outcomes, BulkRun)
        async for outcome in outcomes:
            assert_type(outcome, Outcome)
            print(describe(outcome))
    async with client.bulk(
        from_database(),
        max_wait=60,
        coalesce="merge",
        max_requests=1_000,
        max_duration=3_600.0,
        lookahead=100,
    ) as outcomes:
        rest = [outcome async for outcome in outcomes]
        outcomes.stop()
        assert_type(outcomes.waiting_until, datetime | None)
        assert_type((outcomes.taken, outcomes.requests, outcomes.retries, outcomes.in_flight), tuple[int, int, int, int])
    for given in ([Update("1")], (Update("1"),), {Update("1"): 1}, [{"id": "1"}]):
        client.bulk(given, coalesce="last")
    return len(rest)


def describe(outcome: Outcome) -> str:
    """Every way to end; a type checker knows that there is no other."""
    match outcome:
        case Applied(update=update, transaction_id=transaction):
            assert_type(update, Update)
            return f"{update.id} {transaction}"
        case Unchanged(sent_at=sent_at):
            assert_type(sent_at, datetime)
            return f"{sent_at:%H:%M}"
        case Failed(error=error):
            assert_type(error, XMediaMetaError)
            return str(error)
        case NotSent(reason="expired" | "budget" as reason):
            return reason
        case NotSent(reason=reason, error=error):
            assert_type(error, XMediaMetaError | None)
            return f"{reason}: {error}"


# In the background


async def background(client: Client) -> None:
    async with client.batcher(max_pending=10, max_delay=0.5, coalesce="last", concurrency=4, drain=5) as batcher:
        assert_type(batcher, Batcher)
        assert_type(await batcher.submit(Update("1"), max_wait=None), Applied)
        future = batcher.submit_nowait({"id": "1", "metadata": {}})
        assert_type(await future, Applied)
        assert_type(await batcher.flush(), None)
        assert_type(batcher.pending, int)
    assert_type(batcher.unsent, tuple[NotSent, ...])


def answer(error: XMediaMetaError) -> tuple[int, float | None, str]:
    return error.http_status, error.retry_after, error.message


# Listening


def heard_attempt(attempt: Attempt) -> None:
    assert_type((attempt.status, attempt.error), tuple[int | None, XMediaMetaError | None])


def heard_retry(retry: Retrying) -> None:
    assert_type(retry.after, float | None)


def heard_stop(stop: Stopped) -> None:
    assert_type(stop.error, XMediaMetaError)


def listening() -> None:
    client = Client("token", on_attempt=heard_attempt, on_retry=heard_retry, on_stop=heard_stop, on_outcome=describe)
    client.listen(on_attempt=heard_attempt, on_wait=lambda wait: print(wait.seconds))
    instrument(client)


# What it knows


async def known() -> None:
    async with Sandbox(limit=100, window=3.0) as sandbox, Client("token", base_url=sandbox.url) as client:
        assert_type(client, Client)
        assert_type(client.quota, tuple[Quota, ...])
        assert_type(client.stats, Stats)
        for quota in client.quota:
            assert_type(quota.reset_at, datetime | None)
            assert_type(quota.remaining, int | None)
        await client.aclose()


asyncio.run(known())
