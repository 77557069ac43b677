# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedVariable=false
"""Mistakes that a type checker must report: an ignore that is not needed fails the check. Nobody runs it."""

from __future__ import annotations

from xmediameta import Applied, BearerToken, Client, Failed, Limits, Metadata, NotSent, Outcome, RetryPolicy, Sandbox, Update


def sync_look_up(account: str | None) -> str:
    return "token"


async def look_up_by_number(account: int) -> str:
    return "token"


def not_signed() -> None:
    Client()  # type: ignore[call-arg]
    Client(None)  # type: ignore[arg-type]
    Client(b"token")  # type: ignore[arg-type]
    Client({"ana": 5})  # type: ignore[arg-type]
    Client({5: "token"})  # type: ignore[arg-type]
    Client(sync_look_up)  # type: ignore[arg-type]
    Client(look_up_by_number)  # type: ignore[arg-type]
    Client("token", "https://api.x.com")  # type: ignore[call-arg]
    BearerToken(5)  # type: ignore[arg-type]


def options() -> None:
    Client("token", concurrency="32")  # type: ignore[arg-type]
    Client("token", pace="slow")  # type: ignore[arg-type]
    Client("token", limits={"user_15min": (500, 900)})  # type: ignore[arg-type]
    Client("token", retry=5)  # type: ignore[arg-type]
    Client("token", retries=5)  # type: ignore[call-arg]
    Client("token", on_wait=sync_look_up)  # type: ignore[arg-type]
    Client.from_env(concurency=5)  # type: ignore[call-arg]
    Client.from_env(timeout="5")  # type: ignore[arg-type]
    Limits(user_15min=500)  # type: ignore[arg-type]
    RetryPolicy(wait=1.0)  # type: ignore[arg-type]
    Sandbox(limit="100")  # type: ignore[arg-type]


async def one(client: Client) -> None:
    await client.create(1146654567674912769, Metadata.of(alt_text="A cat"))  # type: ignore[arg-type]
    await client.create("1", "A cat")  # type: ignore[arg-type]
    await client.create("1", {"alt_text": {"text": "A cat"}})  # type: ignore[arg-type]
    await client.create("1")  # type: ignore[call-arg]
    await client.create("1", Metadata(), "ana")  # type: ignore[call-arg]
    await client.create("1", Metadata(), max_wait="10")  # type: ignore[arg-type]
    Metadata.of(alt_txt="A cat")  # type: ignore[call-arg]
    Metadata.of(allow_download="yes")  # type: ignore[arg-type]
    Metadata(alt_text="A cat")  # type: ignore[arg-type]
    Update(5)  # type: ignore[arg-type]
    Update("1", Metadata(), send_before="tomorrow")  # type: ignore[arg-type]
    applied = client.create("1", Metadata())
    print(applied.transaction_id)  # type: ignore[attr-defined]
    Update("1").id = "2"  # type: ignore[misc]


async def many(client: Client) -> None:
    client.bulk(Update("1"))  # type: ignore[arg-type]
    client.bulk(5)  # type: ignore[arg-type]
    client.bulk(["1", "2"])  # type: ignore[list-item]
    client.bulk([Update("1")], coalesce="newest")  # type: ignore[arg-type]
    client.bulk([Update("1")], concurency=3)  # type: ignore[call-arg]
    client.bulk([Update("1")], 32)  # type: ignore[call-arg]
    async with client.bulk([Update("1")]) as outcomes:
        for _ in outcomes:  # type: ignore[attr-defined]
            pass
        async for outcome in outcomes:
            print(outcome.transaction_id)  # type: ignore[union-attr]
    with client.bulk([Update("1")]):  # type: ignore[attr-defined]
        pass


async def background(client: Client) -> None:
    client.batcher(coalesce="newest")  # type: ignore[arg-type]
    client.batcher(100)  # type: ignore[call-arg]
    async with client.batcher() as batcher:
        await batcher.submit("1")  # type: ignore[arg-type]
        await batcher.submit(Update("1"), max_wait="10")  # type: ignore[arg-type]
        applied = batcher.submit_nowait(Update("1"))
        print(applied.transaction_id)  # type: ignore[attr-defined]


def listening(client: Client) -> None:
    Client("token", on_attempt=describe)  # type: ignore[arg-type]
    client.listen(on_atempt=print)  # type: ignore[call-arg]


def describe(outcome: Outcome) -> str:  # type: ignore[return]
    match outcome:  # pyright: ignore[reportMatchNotExhaustive] - ways to end are missing
        case Applied():
            return "applied"
        case Failed(error=error):
            return error.missing  # type: ignore[attr-defined, no-any-return]
        case NotSent(reason="never"):  # pyright: ignore[reportUnnecessaryComparison] - there is no such reason
            return "never"
