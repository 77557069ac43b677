"""Text from a server or a file that would drive a terminal or forge a line of a log: escaped wherever it shows."""

from __future__ import annotations

import logging

import pytest

from xmediameta import Client, RetryPolicy, Update, XMediaMetaError
from xmediameta.sandbox import Sandbox
from xmediameta.text import printable

from .fake import CAT, OLD, QUICK, Fake, applied, drained, offline, reply
from .raw import Peer, answer, once, raw, success

EVIL = "\x1b[2J\x1b]0;owned\x07\r\nForged: line\u202egnp.exe\u2066\u200f\x00\x9b31m\u2028\ufeff\U000e0041"
VISIBLE = r"\x1b[2J\x1b]0;owned\x07\r\nForged: line\u202egnp.exe\u2066\u200f\x00\x9b31m\u2028\ufeff\U000e0041"


def harmless(text: str) -> bool:
    """Whether a terminal shows it and does nothing else."""
    return all(character.isprintable() or character in "\u200c\u200d" for character in text)


def shows(error: XMediaMetaError) -> list[str]:
    """All the ways in which an error is printed."""
    return [str(error), repr(error), error.message, f"{error}", *(str(arg) for arg in error.args)]


PROBLEM = {"type": f"https://x/{EVIL}", "title": EVIL, "detail": EVIL, "errors": [{"message": EVIL}, EVIL], EVIL: EVIL}


@pytest.mark.looptime
@pytest.mark.parametrize(
    "body",
    [PROBLEM, {"errors": [{"code": 32, "message": EVIL}]}, {"request": EVIL, "error": EVIL}, {"errors": [EVIL]}],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 503])
async def test_in_a_problem(fake: Fake, caplog: pytest.LogCaptureFixture, body: object, status: int) -> None:
    caplog.set_level(logging.DEBUG, "xmediameta")
    fake(lambda _now, _id: reply(status, body, x_transaction_id="abc\x1b[31m", Retry_After=EVIL[:4]))
    async with offline(retry=RetryPolicy(attempts=2)) as one:
        with pytest.raises(XMediaMetaError) as caught:
            await one.create("1", CAT, ref=EVIL)
    for text in shows(caught.value):
        assert harmless(text)
    assert VISIBLE in str(caught.value).replace("**", "")
    assert getattr(caught.value, "transaction_id", "") == r"abc\x1b[31m"
    assert bool(caplog.records) is (status in {401, 503})
    for record in caplog.records:
        assert harmless(record.getMessage())
        assert all(harmless(value) for value in vars(record).values() if isinstance(value, str) and "\n" not in value)


@pytest.mark.looptime
async def test_a_body_that_is_no_json_is_shown_as_an_excerpt(fake: Fake) -> None:
    status, headers, _ = reply(503)
    fake(lambda _now, _id: (status, headers, b"\x1b[2J\xff\xfe<html>\r\n\x00"))
    async with offline(retry=RetryPolicy(attempts=1)) as one:
        with pytest.raises(XMediaMetaError) as caught:
            await one.create("1", CAT)
    assert caught.value.body_excerpt == r"\x1b[2J\xff\xfe<html>\r\n\x00"  # type: ignore[attr-defined]
    assert all(harmless(text) for text in shows(caught.value))


async def test_in_headers_and_status_lines() -> None:
    raw_evil = b"a\x1b[2Jb\x9bc"
    for data in (
        b"HTTP/1.1 400 " + raw_evil + b"\r\nx-transaction-id: " + raw_evil + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 " + raw_evil + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + raw_evil + b": x\r\n\r\n",
        answer(b"{}", "302 Found", "Location: https://x/\x1b[2J"),
    ):
        async with (
            raw(once(data)) as server,
            Client(OLD, base_url=server.url, limits=None, retry=RetryPolicy(attempts=1)) as one,
        ):
            with pytest.raises(XMediaMetaError) as caught:
                await one.create("1", CAT)
        assert all(harmless(text) for text in shows(caught.value))
        assert harmless(getattr(caught.value, "transaction_id", None) or "")


async def test_in_a_transaction_id_of_a_success() -> None:
    data = success().replace(b"\r\n", b"\r\nx-transaction-id: a\x9b31m\r\n", 1)

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)

    async with raw(play) as server, Client(OLD, base_url=server.url, limits=None) as one:
        done = await one.create("1146654567674912769", CAT)
    assert harmless(done.transaction_id or "")
    assert harmless(repr(done))


async def test_from_a_file(caplog: pytest.LogCaptureFixture) -> None:
    """Names of rows and accounts come from files too."""
    caplog.set_level(logging.DEBUG, "xmediameta")
    async with Sandbox(limit=None, app_limit=None) as sandbox:
        sandbox.script("1", ["503"])
        sandbox.script("2", ["401"])
        sandbox.script("3", ["400-hostile"])
        names = [EVIL, EVIL + "2", EVIL + "3"]
        auth = {name: OLD + str(number) for number, name in enumerate(names)}
        async with Client(auth, base_url=sandbox.url, limits=None, retry=QUICK) as one:
            rows = [Update(str(number), CAT, name, ref=EVIL) for number, name in enumerate(names, start=1)]
            outcomes, _ = await drained(one.bulk(rows))
            assert harmless(repr(one._sender.accounts.known()))  # type: ignore[union-attr]
    assert len(outcomes) == 3
    for outcome in outcomes:
        assert harmless(repr(outcome))
        error = getattr(outcome, "error", None)
        if error is not None:
            assert all(harmless(text) for text in shows(error))
    assert {record.levelname for record in caplog.records} == {"INFO", "WARNING"}
    for record in caplog.records:
        assert harmless(record.getMessage())
        for value in (getattr(record, name) for name in ("account", "ref", "media_id", "x_transaction_id")):
            assert value is None or harmless(value)


@pytest.mark.looptime
async def test_in_the_auth_callable_of_the_caller(fake: Fake) -> None:
    fake(lambda _now, media_id: applied(media_id))

    async def vault(account: str | None) -> str:
        raise LookupError(EVIL)

    async with offline(vault) as one:
        with pytest.raises(XMediaMetaError) as caught:
            await one.create("1", CAT, account=EVIL)
    assert all(harmless(text) for text in shows(caught.value))


@pytest.mark.parametrize("member", ["alt_text", "id", "unknown"])
async def test_in_what_is_refused_before_it_is_sent(member: str) -> None:
    line = {"id": EVIL if member == "id" else "1", "metadata": {"alt_text": {"text": "x"}}, "ref": EVIL}
    if member == "unknown":
        line["metadata"] = {EVIL: 1}
    if member == "alt_text":
        line["metadata"] = {"alt_text": {"text": EVIL * 100}}
    async with Client(OLD, base_url="http://127.0.0.1:9") as one:
        (outcome,), _ = await drained(one.bulk([line]))
        error = outcome.error  # type: ignore[union-attr]
        assert error is not None
        assert all(harmless(text) for text in shows(error))
    assert harmless(repr(outcome))


@pytest.mark.looptime
async def test_half_a_character_in_a_problem(fake: Fake) -> None:
    fake(lambda _now, _id: reply(400, {"title": "cut \ud83d", "detail": EVIL}))
    async with offline() as one:
        with pytest.raises(XMediaMetaError) as caught:
            await one.create("1", CAT)
    assert all(harmless(text) and text.encode() for text in shows(caught.value))


def test_what_it_looks_like() -> None:
    """So that the tests above cannot pass on a text that is harmless anyway."""
    assert not harmless(EVIL)
    assert printable(EVIL) == VISIBLE
