"""What the tests of the client share: short ways to make one, and a look at what it must not leave behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import Any

from xmediameta import Applied, Client, Failed, Metadata, NotSent, Outcome, Sandbox, Update

TOKEN = "canary-3f9c-token"
ID = "1146654567674912769"


def alt(text: str = "A dancing cat") -> Metadata:
    return Metadata.of(alt_text=text)


def wire(text: str = "A dancing cat") -> dict[str, Any]:
    """The same as the server sees it."""
    return {"alt_text": {"text": text}}


def client_of(sandbox: Sandbox, auth: Any = TOKEN, **options: Any) -> Client:
    """A client of the sandbox, as fast as the windows allow."""
    options.setdefault("pace", None)
    return Client(auth, base_url=sandbox.url, **options)


def updates(number: int, *, first: int = 1, **more: Any) -> list[Update]:
    """Updates of as many media, whose alt text and ref are their number."""
    return [Update(str(index), alt(str(index)), ref=index, **more) for index in range(first, first + number)]


async def outcomes_of(
    client: Client, given: Iterable[Any] | AsyncIterable[Any], **options: Any
) -> tuple[list[Outcome], BaseException | None]:
    """All outcomes of a run, and the error that it raised at its end."""
    found: list[Outcome] = []
    try:
        async with client.bulk(given, **options) as outcomes:
            async for outcome in outcomes:
                found.append(outcome)  # noqa: PERF401 - what came before an error counts too
    except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
        return found, error
    return found, None


def told(found: Iterable[Outcome]) -> dict[Any, str]:
    """How each ref ended, in a word; a ref that ended twice is an error."""
    words: dict[Any, str] = {}
    for outcome in found:
        assert outcome.ref not in words, f"{outcome.ref} ended twice"
        match outcome:
            case Applied():
                words[outcome.ref] = "applied"
            case Failed(error=error):
                words[outcome.ref] = type(error).__name__
            case NotSent(reason=reason):
                words[outcome.ref] = reason
            case _:
                words[outcome.ref] = "unchanged"
    return words


def ours() -> list[str]:
    """Tasks of the package that run now."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith(("Engine.", "Urgent.", "Accounts.", "Dispatch."))]


async def settle(rounds: int = 20) -> None:
    """Let everybody do what can be done now."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def nothing_left(client: Client) -> None:
    """No lane, no permit, no place in a queue, no request, no task is left over."""
    await settle()
    assert ours() == []
    assert client._calls == set()
    assert client._running == set()
    sender = client._sender
    if sender is None:
        return
    assert sender.transport.in_flight == 0
    assert len(sender.lanes) == 0
    for account in sender.accounts.known():
        assert account.users == 0, account
        assert account.gate.idle, account
        assert account.gate.ledger.in_flight == 0, account
        assert account.gate._pacer is None or account.gate._pacer._granted == 0, account
