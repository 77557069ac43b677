"""What the logger `xmediameta` is told, at which level, and with which fields."""

from __future__ import annotations

import logging

import pytest

from xmediameta import Client, CreditsDepleted, OutageTooLong, RetryPolicy, ServerFault, Unauthorized
from xmediameta.attempts import wait_for_verdict
from xmediameta.sandbox import Sandbox

from .fake import CAT, NEW, OLD, QUICK, Fake, applied, drained, offline, reply, updates

FIELDS = ("account", "media_id", "ref", "attempt", "x_transaction_id")


@pytest.fixture(autouse=True)
def at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "xmediameta")


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, tuple[object, ...]]]:
    """Level, message and fields of each record; all have all fields, so that a formatter may name them."""
    return [
        (record.levelname, record.getMessage(), tuple(getattr(record, field) for field in FIELDS))
        for record in caplog.records
        if record.name == "xmediameta"
    ]


async def test_a_success_is_not_worth_a_word(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    await client.create("1", CAT)
    await drained(client.bulk(updates(5)))
    assert told(caplog) == []


async def test_a_retry(sandbox: Sandbox, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    sandbox.script("7", ["503", "truncated"])
    await client.create("7", CAT, ref="row 1")
    assert told(caplog) == [
        ("INFO", "ServerFault after attempt 1, again in 0.00 s", (None, "7", "row 1", 1, "0" * 15 + "1")),
        ("INFO", "ConnectionLost after attempt 2, again in 0.00 s", (None, "7", "row 1", 2, None)),
    ]


async def test_what_is_given_up_is_told_by_its_error(
    sandbox: Sandbox, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.script("7", ["503"] * 5)
    with pytest.raises(ServerFault):
        await client.create("7", CAT, ref=1)
    assert [(level, fields[3]) for level, _, fields in told(caplog)] == [("INFO", n) for n in range(1, 5)]


async def test_a_stop_and_its_end(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    async with Client({"a": OLD, "b": NEW}, base_url=sandbox.url, limits=None, retry=QUICK) as one:
        sandbox.deplete(OLD)
        with pytest.raises(CreditsDepleted):
            await one.create("7", CAT, account="a", ref="x")
        for _ in range(3):
            with pytest.raises(CreditsDepleted):
                await one.create("8", CAT, account="a")
        ((level, message, fields),) = told(caplog)  # once
        assert (level, fields) == ("WARNING", ("a", "7", "x", 1, "0" * 15 + "1"))
        assert message.startswith("stopped: 402 CreditsDepleted")
        assert "Top up the credits" in message
        caplog.clear()
        sandbox.heal(OLD)
        assert one._sender is not None
        for account in one._sender.accounts.known():
            if account.group.stop is not None:
                account.group.stop.probe_at = 0.0  # a minute later
        await one.create("9", CAT, account="a", ref="y")
        assert told(caplog) == [("INFO", "account a is back", ("a", "9", "y", 1, None))]


async def test_many_that_meet_a_stop_are_one_warning(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    async with Client(OLD, base_url=sandbox.url, limits=None, concurrency=16) as one:
        await one.create("1", CAT)
        sandbox.revoke()
        _, error = await drained(one.bulk(updates(100)))
    assert isinstance(error, Unauthorized)
    assert [level for level, _, _ in told(caplog)] == ["WARNING"]


async def test_another_credential(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    tokens = [OLD, NEW]

    async def vault(account: str | None) -> str:
        return tokens.pop(0)

    async with Client(vault, base_url=sandbox.url, limits=None, retry=QUICK) as one:
        await one.create("1", CAT)
        sandbox.revoke(OLD)
        await one.create("2", CAT)
    assert told(caplog) == [("INFO", "another credential for the account", (None, "2", None, 1, "0" * 15 + "2"))]


async def test_a_wait(caplog: pytest.LogCaptureFixture) -> None:
    async with Sandbox(limit=1, window=1.0) as sandbox, Client(OLD, base_url=sandbox.url, limits=None) as one:
        await one.create("1", CAT)
        await one.create("2", CAT, max_wait=None)
    ((level, message, fields),) = told(caplog)
    assert level == "INFO"
    assert message.startswith("waiting for the user-15min window until 20")
    assert message.endswith("+00:00")
    assert fields == (None, None, None, None, None)


@pytest.mark.looptime
async def test_a_429(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    fake(lambda now, media_id: reply(429, x_transaction_id="abc") if now < 10 else applied(media_id))
    async with offline() as one:
        await one.create("7", CAT, ref="r", max_wait=None)
    first, second = told(caplog)
    assert first[:2] == ("INFO", "RateLimited after attempt 1, again when the window opens")
    assert first[2] == (None, "7", "r", 1, "abc")
    assert second[1].startswith("waiting for the user-15min window until ")


@pytest.mark.looptime
async def test_an_outage_that_is_too_long_is_one_warning(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    fake(lambda _now, _id: reply(503))
    policy = RetryPolicy(max_outage=30.0, wait=wait_for_verdict())
    async with offline(concurrency=64, retry=policy) as one:
        _, error = await drained(one.bulk(updates(500)))
    assert isinstance(error, OutageTooLong)
    warnings = [entry for entry in told(caplog) if entry[0] == "WARNING"]
    ((_, message, fields),) = warnings
    assert message.startswith("stopped: no request came through for 3")
    assert message.endswith("the last one said: 503 Service Unavailable")
    assert fields[1] is not None


async def test_a_formatter_may_name_the_fields(
    sandbox: Sandbox, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.script("7", ["503"])
    await client.create("7", CAT, ref="row 1")
    formatter = logging.Formatter("%(levelname)s %(media_id)s %(ref)s %(attempt)s %(x_transaction_id)s %(account)s")
    assert [formatter.format(record) for record in caplog.records] == [f"INFO 7 row 1 1 {'0' * 15}1 None"]


def test_a_library_adds_no_handler() -> None:
    logger = logging.getLogger("xmediameta")
    assert logger.handlers == []
    assert logger.propagate
