"""Whatever bytes a server sends, an update is applied or an error of ours is raised, soon, and nothing is left."""

from __future__ import annotations

import asyncio
import random

import pytest

from xmediameta import Applied, Client, RetryPolicy, XMediaMetaError

from .fake import CAT, OLD
from .raw import ID, Peer, answer, raw, success
from .sockets import taken

SEEDS = (
    success(),
    answer(b'{"title": "Bad Request", "errors": [{"message": "no"}]}', "400 Bad Request", "x-transaction-id: abc"),
    answer(b"", "429 Too Many Requests", "x-rate-limit-remaining: 0", "x-rate-limit-reset: 1", "Retry-After: 0"),
    answer(b"<html>", "503 Service Unavailable", "Date: Tue, 14 Nov 2023 22:13:20 GMT", "Retry-After: 0"),
    answer(b"", "200 OK", "Transfer-Encoding: chunked", length=False) + b'5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n',
    answer(b"\x1f\x8b\x08\x00", "200 OK", "Content-Encoding: gzip"),
)
PIECES = (
    b"\r\n",
    b"\x00",
    b":",
    b" ",
    b"HTTP/1.1 ",
    b"Content-Length: 5\r\n",
    b"\xff",
    b"{",
    b"chunked",
    b"9999999999",
)


def mutated(chance: random.Random) -> bytes:
    """One of the seeds, cut, joined with another, and with pieces put in, left out or written over."""
    data = bytearray(chance.choice(SEEDS))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = chance.choice(PIECES)
            case 2:
                data[at : at + chance.randrange(6)] = chance.choice(PIECES)
            case 3:
                data[at:] = chance.choice(SEEDS)
            case _:
                data[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(8)))
    return bytes(data)


@pytest.mark.parametrize("seed", range(2))
async def test_any_bytes(seed: int) -> None:
    chance = random.Random(seed)
    sent = b""

    async def play(peer: Peer) -> None:
        while await peer.request():
            await peer.send(sent)
            if chance.random() < 0.7:
                return

    # An account for each, since some answers stop or delay one.
    auth = {str(number): f"{OLD}-{number}" for number in range(150)}
    options = {"limits": None, "pace": None, "timeout": 0.1, "retry": RetryPolicy(attempts=1)}
    errors: list[XMediaMetaError] = []
    async with raw(play) as server, Client(auth, base_url=server.url, **options) as one:  # type: ignore[arg-type]
        for name in auth:
            sent = mutated(chance)
            try:
                assert isinstance(await asyncio.wait_for(one.create(ID, CAT, account=name, max_wait=0.0), 2.0), Applied)
            except XMediaMetaError as error:
                errors.append(error)
            assert one._sender is not None
            assert one._sender.transport.in_flight == 0
            assert taken(one._sender.transport) == 0
        assert all(account.gate.ledger.in_flight == 0 for account in one._sender.accounts.known())
    assert 10 < len(errors) < 140
    for error in errors:
        assert error.__cause__ is error.__context__ is None
        assert OLD not in f"{error} {error!r}"
        assert str(error).isprintable()
