"""Cancelled at every await of its own, one after the other until it ends by itself: nothing leaks, the others go on.

Steps of the loop will not do here: while a test makes them no time passes, so what comes after a wait is never reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from xmediameta import Applied, Batcher, Client, ClientClosed, Metadata, Update
from xmediameta.sandbox import Sandbox

from .fake import CAT, NEW, OLD, drained, updates
from .test_cancel import idle

pytestmark = pytest.mark.looptime  # sockets are real, time is not: latency and waits cost none

FAULTS: list[str | int] = ["503", "reset", "429-bare", "hang", "truncated", "slow:0.1"]
WHEN = ["begun", "amid", "over"]


class CutShort:
    """Awaits a coroutine, and has its task cancelled while that waits for the nth time.

    Args:
        when: `"begun"`, as the wait begins; `"amid"`, somewhat later; `"over"`, when what it waits for has come, and
            the coroutine has not seen it yet.

    Attributes:
        awaits: how often it has waited so far.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, object], nth: int, when: str) -> None:
        self._coroutine = coroutine
        self._nth = nth
        self._when = when
        self.awaits = 0

    def __await__(self) -> Generator[Any, Any, object]:
        step: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731
        while True:
            try:
                waits_for = step()
            except StopIteration as end:
                return end.value
            self.awaits += 1
            if self.awaits == self._nth:
                task = asyncio.current_task()
                assert task is not None
                self._arrange(task, waits_for)
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is for the coroutine
                step = lambda error=error: self._coroutine.throw(error)  # noqa: E731
            else:
                step = lambda: self._coroutine.send(None)  # noqa: E731

    def _arrange(self, task: asyncio.Task[Any], waits_for: asyncio.Future[Any] | None) -> None:
        if self._when == "over" and waits_for is not None:
            waits_for.add_done_callback(lambda _: task.cancel())
        elif self._when == "amid" and waits_for is not None:
            task.get_loop().call_later(0.004, lambda: task.cancel() if self.awaits == self._nth else None)
        else:
            task.get_loop().call_soon(task.cancel)


async def cut_short(coroutine: Coroutine[Any, Any, object], nth: int, when: str) -> bool:
    """Run a coroutine in a task that is cancelled at its nth await; whether it was, and did not end before."""
    cut = CutShort(coroutine, nth, when)

    async def run() -> object:
        return await cut

    task = asyncio.ensure_future(run())
    await asyncio.wait((task,))
    if cut.awaits < nth:
        task.result()
        return False
    assert task.cancelled() or task.exception() is None, task
    return True


class Vault:
    """What a backend passes as `auth`: each answer takes time."""

    def __init__(self) -> None:
        self.token = OLD

    async def __call__(self, account: str | None) -> str:
        await asyncio.sleep(0.1)
        return self.token


def sandbox_of(latency: float = 0.02) -> Sandbox:
    """A sandbox where media 1 meets trouble of all kinds, and whose window is small."""
    return Sandbox(limit=6, window=60, script={"1": FAULTS}, latency=latency, token=[OLD, NEW])


def client_of(sandbox: Sandbox, vault: Vault) -> Client:
    return Client(vault, base_url=sandbox.url, timeout=5.0)


async def at_every_await(
    play: Callable[[Sandbox, Client, Vault], Coroutine[Any, Any, object]],
    when: str,
) -> int:
    """Play with a fresh client again and again, cut short at each await in turn; returns how many there were."""
    for nth in range(1, 500):
        vault = Vault()
        async with sandbox_of() as sandbox, client_of(sandbox, vault) as one:
            bystander = asyncio.ensure_future(others(one))
            cut = await cut_short(play(sandbox, one, vault), nth, when)
            await bystander
            assert isinstance(await one.create("9", CAT, max_wait=None), Applied)
            await nothing_held(one)
            assert sandbox.counts.most_per_id == 1
            if not cut:
                assert sandbox.unmet == {}, "it went through all of it"
                return nth - 1
    raise AssertionError("it never ended")


async def nothing_held(one: Client) -> None:
    for _ in range(20):
        await asyncio.sleep(0)  # what nobody waits for comes to its end
    await idle(one)
    assert one._sender is not None
    for account in one._sender.accounts.known():
        assert account.users == 0
    assert [task.get_coro() for task in asyncio.all_tasks() if "xmediameta/" in _where(task)] == []


def _where(task: asyncio.Task[Any]) -> str:
    code = getattr(task.get_coro(), "cr_code", None)
    return "" if code is None or "sandbox" in code.co_filename else code.co_filename.replace("\\", "/")


async def others(one: Client) -> None:
    """Somebody sends the same, somebody sends another for the same media, somebody sends for other media."""
    await asyncio.sleep(0.001)
    sharer = asyncio.ensure_future(one.create("1", CAT, max_wait=None))
    await asyncio.sleep(0.001)
    behind = asyncio.ensure_future(one.create("1", Metadata.of(alt_text="another"), max_wait=None))
    outcomes, error = await drained(one.bulk(updates(3, start=5)))
    assert error is None
    assert {type(outcome) for outcome in outcomes} == {Applied}
    assert isinstance(await sharer, Applied)
    assert isinstance(await behind, Applied)


@pytest.mark.parametrize("when", WHEN)
async def test_a_create(when: str) -> None:
    """Through a token that is asked for, a 503, a reset, two windows, a hang, a cut answer, and a token renewed."""

    async def play(sandbox: Sandbox, one: Client, vault: Vault) -> None:
        await one.create("1", CAT, max_wait=None)
        sandbox.revoke(OLD)
        vault.token = NEW
        await one.create("2", CAT, max_wait=None)

    assert await at_every_await(play, when) >= 20


@pytest.mark.parametrize("when", WHEN)
async def test_a_reader_of_a_bulk(when: str) -> None:
    async def play(sandbox: Sandbox, one: Client, vault: Vault) -> None:
        async with one.bulk(updates(12), concurrency=3) as run:
            async for outcome in run:
                assert isinstance(outcome, Applied)
                if outcome.id == "4":
                    sandbox.revoke(OLD)
                    vault.token = NEW

    assert await at_every_await(play, when) >= 6


@pytest.mark.parametrize("when", WHEN)
async def test_a_submission_to_a_batcher(when: str) -> None:
    async def play(sandbox: Sandbox, one: Client, vault: Vault) -> None:
        async with one.batcher(max_pending=2, concurrency=2) as batcher:
            batchers.append(batcher)
            await batcher.submit(Update("1", CAT), max_wait=None)
            both = [batcher.submit_nowait(Update(media_id, CAT)) for media_id in ("2", "3")]
            await batcher.submit(Update("4", CAT), max_wait=None)  # waits for room
            await batcher.flush()
            assert {type(await future) for future in both} == {Applied}

    batchers: list[Batcher] = []
    assert await at_every_await(play, when) >= 3
    assert [(batcher.pending, batcher._taken) for batcher in batchers] == [(0, 0)] * len(batchers)


@pytest.mark.parametrize("when", WHEN)
async def test_a_client_that_is_closed_by_whoever_is_cancelled(when: str) -> None:
    """`aclose` itself, cut short at each await, and then called once more."""
    for nth in range(1, 50):
        async with sandbox_of() as sandbox:
            one = client_of(sandbox, Vault())
            calls = [asyncio.ensure_future(one.create(media_id, CAT, max_wait=None)) for media_id in ("1", "2", "3")]
            await asyncio.sleep(0.13)
            cut = await cut_short(one.aclose(), nth, when)
            await one.aclose()
            for result in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(result, Applied | ClientClosed)
            assert one._sender is None or one._sender.transport.in_flight == 0
            if not cut:
                assert nth > 1
                return
    raise AssertionError("it never ended")
