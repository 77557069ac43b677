"""Every fault of the catalogue, read off the wire byte by byte: it does what its line says, and is met once."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from xmediameta.sandbox import FAULTS, Sandbox

from .conftest import MEDIA_ID, METADATA, TOKEN, Wire

NOON = 1_700_000_000.0
JSON, PROBLEM, HTML, TEXT = "application/json; charset=utf-8", "application/problem+json", "text/html", "text/plain"
SUCCESS = {"data": {"id": MEDIA_ID, "associated_metadata": METADATA}}
BODY = b'{"data":{"id":"1146654567674912769","associated_metadata":{"alt_text": {"text": "A dancing cat"}}}}'
RATES = {"x-rate-limit-limit": "500", "x-rate-limit-remaining": "499", "x-rate-limit-reset": "1700000900"}

Check = Callable[[Wire], bool]


def plain(wire: Wire) -> Any:
    return json.loads(wire.body)


def rates(wire: Wire) -> dict[str, str]:
    return {name: value for name, value in wire.headers.items() if name.startswith("x-rate-limit-")}


def problem(slug: str, **members: Any) -> Check:
    """A problem document whose type ends so, with these members, and the headers of the API behind it."""
    return lambda wire: (
        wire.headers["content-type"] == PROBLEM
        and plain(wire)["type"].rpartition("/")[2] == slug
        and plain(wire).items() >= members.items()
        and "x-transaction-id" in wire.headers
        and "x-rate-limit-limit" in wire.headers
    )


def edge(content_type: str | None, body: bytes) -> Check:
    """From a proxy: no transaction, no rates."""
    return lambda wire: (
        wire.headers.get("content-type", "").startswith(content_type or "")
        and (body in wire.body if body else wire.body == b"")
        and not [name for name in wire.headers if name.startswith("x-")]
    )


def says(document: Any) -> Check:
    return lambda wire: plain(wire) == document and "x-rate-limit-limit" in wire.headers


def retry_after(value: str) -> Check:
    return lambda wire: wire.headers["retry-after"] == value and problem("about:blank")(wire)


def limited(*, limit: str = "500", remaining: str = "0", reset: str | None = "1700000900") -> Check:
    told = {"limit": limit, "remaining": remaining, "reset": reset}
    expected = {f"x-rate-limit-{name}": value for name, value in told.items() if value is not None}
    return lambda wire: rates(wire) == expected and plain(wire)["title"] == "Too Many Requests"


def success_with(expected: dict[str, str]) -> Check:
    return lambda wire: plain(wire) == SUCCESS and rates(wire) == expected


def body_is(*bodies: bytes) -> Check:
    return lambda wire: wire.body in bodies and "x-rate-limit-limit" in wire.headers


def head_has(*lines: bytes) -> Check:
    return lambda wire: all(line in wire.data.partition(b"\r\n\r\n")[0] for line in lines)


def both(*checks: Check) -> Check:
    return lambda wire: all(check(wire) for check in checks)


ENORMOUS = {"x-rate-limit-limit": "1200000", "x-rate-limit-remaining": "1199998", "x-rate-limit-reset": "1700000900"}
PAST, FAR, MILLISECONDS = "1699996400", "2015360000", "1700000900000"
REDIRECT: Check = lambda wire: wire.headers["location"] == "https://elsewhere.invalid/2/media/metadata"  # noqa: E731
CREDITS = {"title": "CreditsDepleted", "account_id": 1460323737035677698}

# Answers whose HTTP is as it should be: the status, and what else must hold.
WHOLE: dict[str, tuple[int, Check]] = {
    "400": (400, lambda w: problem("invalid-request")(w) and plain(w)["errors"][0]["message"] == "$.id: is not valid"),
    "400-old-host": (400, problem("invalid-request", type="https://api.twitter.com/2/problems/invalid-request")),
    "400-echo": (400, lambda w: TOKEN in plain(w)["detail"]),
    "400-hostile": (400, lambda w: all(mark in plain(w)["detail"] for mark in ("\x1b[2J", "\u202e", "\r\n", "\x00"))),
    "401": (401, problem("about:blank", title="Unauthorized")),
    "402": (402, problem("credits-depleted", **CREDITS)),
    "402-credits": (402, problem("credits", **CREDITS)),
    "403": (403, problem("about:blank", title="Forbidden")),
    "403-client-forbidden": (403, problem("client-forbidden", reason="client-not-enrolled",
                                          registration_url="https://developer.x.com/")),
    "403-suspended": (403, problem("user-suspended")),
    "403-unsupported-auth": (403, problem("unsupported-authentication")),
    "404-unknown-media": (404, problem("resource-not-found", resource_id=MEDIA_ID, resource_type="media")),
    "404-empty": (404, edge(TEXT, b"")),
    "408": (408, edge(None, b"")),
    "409": (409, problem("conflict")),
    "410": (410, problem("about:blank", title="Gone")),
    "413": (413, edge(HTML, b"413 Content Too Large")),
    "415": (415, problem("about:blank", title="Unsupported Media Type")),
    "422": (422, problem("about:blank")),
    "500": (500, problem("about:blank", title="Internal Server Error")),
    "500-strings": (500, says({"errors": ["internal server error"]})),
    "501": (501, problem("about:blank")),
    "502": (502, edge("application/json", b'{"error":"Bad Gateway"}')),
    "503": (503, problem("about:blank", title="Service Unavailable", status=503)),
    "503-empty": (503, edge(None, b"")),
    "503-utf16": (503, lambda w: w.body[:2] == b"\xff\xfe" and json.loads(w.body.decode("utf-16"))["status"] == 503),
    "503-deep": (503, lambda w: w.body == b"[" * 100_000 + b"]" * 100_000),
    "504": (504, edge("application/json", b'{"error":"Gateway Time-out"}')),
    "521": (521, edge("application/json", b"down")),
    "522": (522, edge("application/json", b"timed out")),
    "524": (524, edge("application/json", b"timeout")),
    "502-html": (502, edge(HTML, b"<h1>502 Bad Gateway</h1>")),
    "503-html": (503, edge(HTML, b"<h1>503 ")),
    "504-html": (504, edge(HTML, b"<h1>504 ")),
    "520-html": (520, edge(HTML, b"<h1>520 Web server is returning an unknown error</h1>")),
    "521-html": (521, edge(HTML, b"<h1>521 ")),
    "522-html": (522, edge(HTML, b"<h1>522 ")),
    "524-html": (524, edge(HTML, b"<h1>524 ")),
    "503-retry-after": (503, retry_after("1")),
    "503-retry-after:7": (503, retry_after("7")),
    "503-retry-after-date": (503, retry_after("Tue, 14 Nov 2023 22:13:21 GMT")),
    "503-retry-after-past": (503, retry_after("Tue, 14 Nov 2023 21:13:20 GMT")),
    "503-retry-after-far": (503, retry_after("315360000")),
    "503-retry-after-odd": (503, retry_after("soon-ish")),
    "503-retry-after-negative": (503, retry_after("-5")),
    "legacy-34": (404, lambda w: plain(w)["errors"][0]["code"] == 34 and w.headers["content-type"] == JSON),
    "legacy-error": (400, lambda w: set(plain(w)) == {"request", "error"}),
    "status-lie": (403, lambda w: plain(w)["status"] == 200),
    **{name: (int(name), REDIRECT) for name in ("301", "302", "303", "307", "308")},
    "429": (429, limited()),
    "429:3": (429, limited(reset="1700000003")),
    "429-bare": (429, lambda w: not rates(w) and plain(w)["title"] == "Too Many Requests"),
    "429-empty": (429, lambda w: not rates(w) and w.body == b"" and w.headers["content-type"] == TEXT),
    "429-legacy-88": (429, lambda w: plain(w)["errors"][0]["code"] == 88 and rates(w)["x-rate-limit-remaining"] == "0"),
    "429-lying": (429, limited(remaining="17")),
    "429-past": (429, limited(reset=PAST)),
    "429-far": (429, limited(reset=FAR)),
    "429-milliseconds": (429, limited(reset=MILLISECONDS)),
    "429-no-reset": (429, limited(reset=None)),
    "429-malformed": (429, limited(limit="five hundred", remaining="-3", reset="1.7e9")),
    "429-retry-after": (429, lambda w: not rates(w) and w.headers["retry-after"] == "1"),
    "usage-capped": (429, lambda w: problem("usage-capped", period="Monthly", scope="Product")(w)
                     and rates(w) == ENORMOUS),
    "usage-capped-daily": (429, problem("usage-capped", period="Daily")),
    "rates-absent": (200, success_with({})),
    "rates-malformed": (200, success_with({"x-rate-limit-limit": "five hundred", "x-rate-limit-remaining": "-3",
                                           "x-rate-limit-reset": "1.7e9"})),
    "rates-enormous": (200, success_with(ENORMOUS)),
    "rates-past": (200, success_with(RATES | {"x-rate-limit-reset": PAST})),
    "rates-far": (200, success_with(RATES | {"x-rate-limit-reset": FAR})),
    "rates-milliseconds": (200, success_with(RATES | {"x-rate-limit-reset": MILLISECONDS})),
    "rates-no-reset": (200, success_with({name: RATES[name] for name in list(RATES)[:2]})),
    "200-errors": (200, lambda w: set(plain(w)) == {"errors"} and MEDIA_ID in plain(w)["errors"][0]["detail"]),
    "200-legacy-error": (200, lambda w: set(plain(w)) == {"request", "error"}),
    "200-warnings": (200, lambda w: plain(w)["data"] == SUCCESS["data"] and len(plain(w)["errors"]) == 1),
    "200-html": (200, lambda w: b"<h1>200 Welcome</h1>" in w.body and w.headers["content-type"].startswith(HTML)),
    "200-empty": (200, body_is(b"")),
    "200-cut": (200, body_is(BODY[: len(BODY) // 2])),
    "200-null": (200, body_is(b"null")),
    "200-list": (200, body_is(b"[]")),
    "200-no-id": (200, body_is(b'{"data":{}}')),
    "200-null-data": (200, body_is(b'{"data":null}')),
    "200-number-id": (200, says({"data": {"id": int(MEDIA_ID)}})),
    "200-utf16": (200, lambda w: json.loads(w.body.decode("utf-16")) == SUCCESS),
    "200-latin1": (200, lambda w: b"caf\xe9" in w.body),
    "200-deep": (200, lambda w: w.body.count(b'{"a":') == 100_000 and w.body.endswith(b"}" * 100_002)),
    "200-other-id": (200, says({"data": {"id": "9", "associated_metadata": METADATA}})),
    "200-unknown-members": (200, lambda w: {"meta", "data"} == set(plain(w)) and "media_key" in plain(w)["data"]),
    "200-untyped": (200, lambda w: plain(w)["data"]["associated_metadata"]["alt_text"] == "flat"),
    "200-bom": (200, body_is(b"\xef\xbb\xbf" + BODY)),
    "200-gzip": (200, lambda w: gzip.decompress(w.body) == BODY and w.headers["content-encoding"] == "gzip"),
    "200-encoding-lie": (200, lambda w: w.body == BODY and w.headers["content-encoding"] == "gzip"),
    "200-plain": (200, lambda w: w.body == BODY and w.headers["content-type"] == TEXT),
    "202": (202, body_is(BODY)),
    "204": (204, lambda w: w.body == b"" and "content-length" not in w.headers),
    "connection-close": (200, both(body_is(BODY), head_has(b"Connection: close"))),
}  # fmt: skip

# Answers whose HTTP is broken, or that only end with the connection: the first bytes, and what else must hold.
BROKEN: dict[str, tuple[bytes, Check]] = {
    "truncated": (b"HTTP/1.1 200 OK\r\n", lambda w: w.body == BODY[: len(BODY) // 2]
                  and w.headers["content-length"] == str(len(BODY))),
    "short-length": (b"HTTP/1.1 200 OK\r\n", lambda w: w.body == BODY
                     and w.headers["content-length"] == str(len(BODY) // 2)),
    "bad-length": (b"HTTP/1.1 200 OK\r\n", lambda w: w.headers["content-length"] == "many"),
    "two-lengths": (b"HTTP/1.1 200 OK\r\n", head_has(b"Content-Length: %d\r\nContent-Length: %d"
                                                    % (len(BODY), len(BODY) // 2))),
    "no-length": (b"HTTP/1.1 200 OK\r\n", lambda w: w.body == BODY and "content-length" not in w.headers),
    "bad-chunk": (b"HTTP/1.1 200 OK\r\n", lambda w: w.body.startswith(b"banana\r\n")
                  and w.headers["transfer-encoding"] == "chunked"),
    "cut-chunk": (b"HTTP/1.1 200 OK\r\n", lambda w: w.body == b"%x\r\n%b\r\n" % (len(BODY), BODY)),
    "bad-status-line": (b"HTTP/banana 2OO FINE\r\n", lambda w: w.status is None),
    "not-http": (b"SSH-2.0-", lambda w: b"\r\n\r\n" not in w.data),
    "header-flood": (b"HTTP/1.1 200 OK\r\n", lambda w: w.body == BODY and w.data.count(b"\r\nX-Flood-") == 20_000),
    "long-header": (b"HTTP/1.1 200 OK\r\n", lambda w: w.body == BODY and len(w.headers["x-long"]) == 1 << 20),
    "bad-header": (b"HTTP/1.1 200 OK\r\n", head_has(b"\r\nno colon here\r\n", b"X-Nul: a\x00b")),
    "hostile-header": (b"HTTP/1.1 200 OK\r\n", both(head_has(b"x-transaction-id: \x1b[31mred", b"\xe2\x80\xae"),
                                                    lambda w: w.body == BODY)),
    "no-date": (b"HTTP/1.1 200 OK\r\n", lambda w: w.body == BODY and "date" not in w.headers),
    "odd-date": (b"HTTP/1.1 200 OK\r\n", lambda w: w.body == BODY and w.headers["date"].startswith("about ")),
    "interim": (b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n", lambda w: w.data.endswith(BODY)),
    "huge:2": (b"HTTP/1.1 200 OK\r\n", lambda w: json.loads(w.body)["data"] == SUCCESS["data"]
               and len(w.body) > 2 << 20 and w.headers["content-length"] == str(len(w.body))),
}  # fmt: skip

# What has no whole answer, tested one by one below.
SILENT = {"reset", "reset-applied", "close", "close-applied", "hang", "hang-applied", "stall", "late", "slow", "last",
          "interim-endless", "endless", "gzip-bomb"}  # fmt: skip


def expect_met(sandbox: Sandbox, entry: str, status: int | None) -> None:
    """The fault was met once, and the sandbox's own record says so."""
    fault = FAULTS[entry.partition(":")[0]]
    record = sandbox.received[0]
    assert sandbox.unmet == {}
    assert sandbox.counts.faults == {fault.name: 1}
    assert (record.fault, record.applied, record.status) == (entry, fault.applied, status)
    assert sandbox.counts.applied == fault.applied
    assert sandbox.history(MEDIA_ID) == [METADATA] * fault.applied
    assert sandbox.spend(TOKEN, 1000) == 500 - fault.counted


def test_every_fault_of_the_catalogue_is_tested_here() -> None:
    assert {name.partition(":")[0] for name in (*WHOLE, *BROKEN, *SILENT)} == set(FAULTS)


@pytest.mark.parametrize("entry", WHOLE)
async def test_whole_answers(sandbox_wire, entry: str) -> None:
    status, check = WHOLE[entry]
    async with Sandbox(clock=NOON, script={MEDIA_ID: [entry]}) as sandbox:
        wire = await sandbox_wire(sandbox)
        assert (wire.status, wire.ended) == (status, "closed")
        assert check(wire), wire.data[:1000]
        assert parsedate_to_datetime(wire.headers["date"]).timestamp() == NOON
        if status != 204:
            assert wire.headers["content-length"] == str(len(wire.body))
        expect_met(sandbox, entry, status)
        again = await sandbox_wire(sandbox)  # the script is used up; the window is too, which is a real 429
        assert again.status == 429
        sandbox.advance(900)
        assert (await sandbox_wire(sandbox)).status == 200


@pytest.mark.parametrize("entry", BROKEN)
async def test_broken_answers(sandbox_wire, entry: str) -> None:
    start, check = BROKEN[entry]
    async with Sandbox(clock=NOON, script={MEDIA_ID: [entry]}) as sandbox:
        wire = await sandbox_wire(sandbox)
        assert wire.data.startswith(start)
        assert wire.ended == "closed"
        assert check(wire), wire.data[:1000]
        expect_met(sandbox, entry, None if entry in ("not-http", "bad-status-line") else 200)


@pytest.mark.parametrize("entry", ["reset", "reset-applied"])
async def test_resets(sandbox_wire, entry: str) -> None:
    async with Sandbox(script={MEDIA_ID: [entry]}) as sandbox:
        wire = await sandbox_wire(sandbox)
        assert (wire.data, wire.ended) == (b"", "reset")
        expect_met(sandbox, entry, None)


@pytest.mark.parametrize("entry", ["close", "close-applied"])
async def test_closes(sandbox_wire, entry: str) -> None:
    async with Sandbox(script={MEDIA_ID: [entry]}) as sandbox:
        wire = await sandbox_wire(sandbox, keep_alive=True)
        assert (wire.data, wire.ended) == (b"", "closed")
        expect_met(sandbox, entry, None)


@pytest.mark.looptime
@pytest.mark.parametrize("entry", ["hang", "hang-applied"])
async def test_hangs(sandbox_wire, entry: str) -> None:
    async with Sandbox(script={MEDIA_ID: [entry]}, clock=NOON) as sandbox:
        wire = await sandbox_wire(sandbox, patience=3600.0)
        assert (wire.data, wire.ended) == (b"", "open")
        expect_met(sandbox, entry, None)
        await asyncio.sleep(1)
        assert len(asyncio.all_tasks()) == 1  # the handler ended with its client


@pytest.mark.looptime
async def test_stall(sandbox_wire) -> None:
    async with Sandbox(script={MEDIA_ID: ["stall"]}, clock=NOON) as sandbox:
        wire = await sandbox_wire(sandbox, patience=3600.0)
        assert (wire.status, wire.body, wire.ended) == (200, BODY[: len(BODY) // 2], "open")
        assert wire.headers["content-length"] == str(len(BODY))
        expect_met(sandbox, "stall", 200)


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("entry", "seconds"), [("late", 1.0), ("late:45", 45.0), ("slow", 1.0), ("slow:30", 30.0)]
)  # fmt: skip
async def test_late_and_slow_answers_complete(sandbox_wire, sandbox_post, entry: str, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    async with Sandbox(script={MEDIA_ID: [entry, entry]}, clock=NOON) as sandbox:
        begun = loop.time()
        wire = await sandbox_wire(sandbox, patience=100.0)
        assert loop.time() - begun == pytest.approx(seconds, abs=0.01)
        assert (wire.status, wire.body, wire.ended) == (200, BODY, "closed")
        answer = await sandbox_post(sandbox)  # and a client of HTTP understands it, on a connection that stays
        assert (answer.status, answer.body) == (200, BODY)
        assert (await sandbox_post(sandbox)).status == 200
        assert sandbox.counts.faults == {entry.partition(":")[0]: 2}


@pytest.mark.looptime
async def test_slow_answers_come_in_drips(sandbox_wire) -> None:
    async with Sandbox(script={MEDIA_ID: ["slow:10"]}, clock=NOON) as sandbox:
        wire = await sandbox_wire(sandbox, patience=4.5)
        assert wire.ended == "open"
        assert 0 < len(wire.data) < 300
        assert wire.data.startswith(b"HTTP/1.1 200 OK\r\n")
        expect_met(sandbox, "slow:10", 200)


async def test_interim_answers_leave_the_connection_in_order(sandbox_post) -> None:
    async with Sandbox(script={MEDIA_ID: ["interim"]}) as sandbox:
        for _ in range(2):
            answer = await sandbox_post(sandbox)
            assert (answer.status, answer.body) == (200, BODY)


@pytest.mark.looptime
async def test_interim_answers_for_ever(sandbox_wire) -> None:
    async with Sandbox(script={MEDIA_ID: ["interim-endless"]}, clock=NOON) as sandbox:
        wire = await sandbox_wire(sandbox, patience=10.0)
        assert wire.ended == "open"
        assert wire.data.count(b"HTTP/1.1 102 Processing\r\n\r\n") * 27 == len(wire.data) > 27 * 100
        expect_met(sandbox, "interim-endless", None)


async def test_the_last_answer_of_a_connection(sandbox_wire) -> None:
    async with Sandbox(script={MEDIA_ID: ["last"]}) as sandbox:
        wire = await sandbox_wire(sandbox, keep_alive=True)
        assert (wire.status, wire.body, wire.ended) == (200, BODY, "closed")
        assert wire.headers.get("connection", "keep-alive") == "keep-alive"  # it had promised to stay
        expect_met(sandbox, "last", 200)


async def test_an_endless_answer_never_ends_and_takes_no_memory(sandbox_wire) -> None:
    async with Sandbox(script={MEDIA_ID: ["endless"]}) as sandbox:
        wire = await sandbox_wire(sandbox, most=20 << 20)
        assert (wire.status, wire.ended, wire.headers["transfer-encoding"]) == (200, "open", "chunked")
        assert b'"padding":"' in wire.data[:2000]
        assert len(wire.data) >= 20 << 20
        expect_met(sandbox, "endless", 200)
        (connection,) = sandbox._listener._runner.server.connections or [None]  # type: ignore[union-attr]
        assert connection is None or connection.transport is None or connection.transport.get_write_buffer_size() < 1e6


async def test_a_gzip_bomb_inflates_a_thousandfold(sandbox_wire) -> None:
    async with Sandbox(script={MEDIA_ID: ["gzip-bomb"]}) as sandbox:
        wire = await sandbox_wire(sandbox, most=200_000)
        assert (wire.status, wire.headers["content-encoding"]) == (200, "gzip")
        inflater, inflated, rest = zlib.decompressobj(wbits=31), 0, wire.body
        pieces = bytearray()
        while rest:  # chunk by chunk
            size, _, rest = rest.partition(b"\r\n")
            if not size or len(rest) < int(size, 16):
                break
            pieces += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        inflated = len(inflater.decompress(bytes(pieces)))
        assert inflated > 150 * len(pieces) > 1 << 20
        expect_met(sandbox, "gzip-bomb", 200)


@pytest.mark.parametrize("status", [400, 418, 451, 499, 505, 529, 599])
async def test_any_status_is_a_fault(sandbox_post, status: int) -> None:
    assert str(status) not in FAULTS or status == 400
    async with Sandbox(script={MEDIA_ID: [status]}) as sandbox:
        answer = await sandbox_post(sandbox)
        assert answer.status == answer.json.get("status", 400) == status
        assert answer.headers["Content-Type"] == PROBLEM
        assert sandbox.counts.faults == {str(status): 1}


async def test_a_followed_redirect_would_reach_the_other_host(sandbox_post) -> None:
    async with Sandbox() as other, Sandbox(redirect_to=other.endpoint_url) as sandbox:
        sandbox.script(MEDIA_ID, ["302", "307"])
        for status in (302, 307):
            answer = await sandbox_post(sandbox)
            assert (answer.status, answer.headers["Location"]) == (status, other.endpoint_url)
        assert other.counts.requests == 0


async def test_an_early_reset_cuts_a_body_in_the_middle() -> None:
    """By schedule the connection is reset on the headers: the client is still writing."""
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        sandbox.schedule("reset", 0, 60)
        sent = 0

        async def endless():
            nonlocal sent
            for _ in range(1000):
                yield b" " * 65536
                sent += 1
                await asyncio.sleep(0)

        headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}
        with pytest.raises(aiohttp.ClientError):
            async with session.post(sandbox.endpoint_url, data=endless(), headers=headers):
                pass
        assert sent < 1000
        assert (sandbox.received[0].raw, sandbox.received[0].fault) == (b"", "reset")


async def test_faults_leave_no_mark_on_the_log(sandbox_wire, caplog: pytest.LogCaptureFixture) -> None:
    """aiohttp logs a handler that fails; none of ours does, whatever the client does meanwhile."""
    async with Sandbox(limit=None) as sandbox:
        for name in FAULTS:
            sandbox.script(MEDIA_ID, [name])
            await sandbox_wire(sandbox, patience=0.02)
        assert sandbox.unmet == {}
        assert sandbox.counts.requests == len(FAULTS)
    assert not caplog.records


async def test_closing_waits_for_nobody_after_everything(sandbox_wire) -> None:
    async with asyncio.timeout(10):  # some of them never end by themselves
        async with Sandbox(limit=None) as sandbox:
            for name in ("endless", "huge", "gzip-bomb", "stall", "hang"):
                sandbox.script(MEDIA_ID, [name])
                await sandbox_wire(sandbox, patience=0.02)
        assert sandbox.unmet == {}
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
