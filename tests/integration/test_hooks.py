"""Listeners: one frozen record for each attempt, retry, wait, stop and outcome, of every way in."""

from __future__ import annotations

from typing import Any

import pytest

from xmediameta import (
    Applied,
    Attempt,
    Client,
    ConfigurationError,
    CreditsDepleted,
    Failed,
    MediaNotFound,
    NotSent,
    RateLimitWaitTooLong,
    Retrying,
    Sandbox,
    ServerFault,
    Stopped,
    TransportError,
    Update,
    Wait,
)

from .clients import ID, TOKEN, alt, client_of, outcomes_of, settle, updates

pytestmark = pytest.mark.looptime


class Ear:
    """Keeps all that it is told, in order."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def __call__(self, record: Any) -> None:
        self.heard.append(record)

    def of(self, kind: type) -> list[Any]:
        return [record for record in self.heard if isinstance(record, kind)]

    def everything(self) -> dict[str, Any]:
        return dict.fromkeys(("on_attempt", "on_retry", "on_wait", "on_stop", "on_outcome"), self)


async def test_an_attempt_that_fails_and_one_that_does_not() -> None:
    ear = Ear()
    async with Sandbox(latency=0.25) as sandbox, client_of(sandbox, **ear.everything()) as client:
        sandbox.script(ID, ["503", "reset", "ok"])
        applied = await client.create(ID, alt(), ref="r")
    assert [type(record) for record in ear.heard] == [Attempt, Retrying, Attempt, Retrying, Attempt, Applied]
    first, retry, second, _, third, outcome = ear.heard
    assert (first.account, first.id, first.ref, first.attempt, first.status) == (None, ID, "r", 1, 503)
    assert isinstance(first.error, ServerFault)
    assert first.seconds >= 0.25
    assert (retry.attempt, retry.error) == (1, first.error)
    assert retry.after >= 0
    assert (second.status, second.transaction_id) == (None, None)
    assert isinstance(second.error, TransportError)
    assert (third.status, third.error, third.attempt) == (200, None, 3)
    assert third.transaction_id == applied.transaction_id is not None
    assert outcome is applied


async def test_waits_and_outcomes_of_a_run() -> None:
    ear = Ear()
    async with Sandbox(limit=3, window=60) as sandbox, client_of(sandbox, {"a": TOKEN}, **ear.everything()) as client:
        sandbox.script("2", ["404"])
        found, _ = await outcomes_of(client, [*updates(5, account="a"), Update("x", alt(), "a")])
    assert len(ear.of(Attempt)) == 5
    assert [wait.account for wait in ear.of(Wait)] == ["a"]
    told = [record for record in ear.heard if isinstance(record, Applied | Failed | NotSent)]
    assert sorted(told, key=lambda one: one.id) == sorted(found, key=lambda one: one.id)
    assert {type(one.error) for one in ear.of(Failed)} > {MediaNotFound}


async def test_a_stop_and_what_it_leaves_unsent() -> None:
    ear = Ear()
    async with Sandbox() as sandbox, client_of(sandbox, **ear.everything()) as client:
        sandbox.deplete()
        with pytest.raises(CreditsDepleted):
            await client.create(ID, alt())
        with pytest.raises(CreditsDepleted):
            await client.create("2", alt())
    (stop,) = ear.of(Stopped)
    assert (stop.account, stop.all_of_its_app) == (None, True)
    assert isinstance(stop.error, CreditsDepleted)
    assert [(one.id, one.reason) for one in ear.of(NotSent)] == [(ID, "run_stopped"), ("2", "run_stopped")]
    assert len(ear.of(Attempt)) == 1


async def test_a_batcher_and_a_wait_that_is_too_long() -> None:
    ear = Ear()
    async with Sandbox(limit=1, window=900) as sandbox, client_of(sandbox, on_outcome=ear) as client:
        async with client.batcher(drain=0) as batcher:
            await batcher.submit(Update("1", alt()))
            with pytest.raises(RateLimitWaitTooLong):
                await batcher.submit(Update("2", alt()))
            future = batcher.submit_nowait(Update("3", alt()))
            await settle()
        await settle()
        assert future.done()
    assert [(type(one), one.id) for one in ear.heard] == [(Applied, "1"), (NotSent, "2"), (NotSent, "3")]
    assert [one.reason for one in ear.of(NotSent)] == ["account_stopped", "closed"]


async def test_what_a_listener_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("mine")

    ear = Ear()
    async with Sandbox() as sandbox, client_of(sandbox, on_attempt=broken, on_outcome=broken) as client:
        client.listen(on_outcome=ear)
        await client.create(ID, alt())
        assert sandbox.counts.applied == 1
    assert len(ear.heard) == 1
    assert caplog.text.count("a listener failed") == 2


def test_records_are_frozen() -> None:
    record = Stopped(account=None, all_of_its_app=False, error=ServerFault.__new__(ServerFault))
    with pytest.raises(AttributeError):
        record.account = "a"  # type: ignore[misc]


def test_what_cannot_listen() -> None:
    with pytest.raises(ConfigurationError, match="on_retry must be a function, not int"):
        Client(TOKEN, on_retry=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="there is no listener 'on_nothing'"):
        Client(TOKEN).listen(on_nothing=print)  # type: ignore[call-arg]
