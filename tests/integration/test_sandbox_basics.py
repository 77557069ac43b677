"""The sandbox as a server: what it answers, counts, remembers and shows."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
import trustme

from xmediameta.errors import ConfigurationError
from xmediameta.sandbox import FAULTS, Sandbox

from .conftest import MEDIA_ID, METADATA, TOKEN


async def test_an_update_is_applied_and_echoed(sandbox_post) -> None:
    async with Sandbox(clock=1_700_000_000.75) as sandbox:
        answer = await sandbox_post(sandbox)
    assert (answer.status, answer.json) == (200, {"data": {"id": MEDIA_ID, "associated_metadata": METADATA}})
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == 1_700_000_000
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-transaction-id"])
    assert answer.headers["x-response-time"].isdigit()
    assert sandbox.applied == {MEDIA_ID: METADATA}
    (record,) = sandbox.received
    assert (record.number, record.time, record.target) == (1, 1_700_000_000.75, "POST /2/media/metadata")
    assert (record.id, record.status, record.applied, record.fault) == (MEDIA_ID, 200, True, None)
    assert record.body == {"id": MEDIA_ID, "metadata": METADATA}
    assert record.transaction_id == answer.headers["x-transaction-id"]


async def test_metadata_may_be_left_out_and_sets_nothing(sandbox_post) -> None:
    async with Sandbox() as sandbox:
        answer = await sandbox_post(sandbox, data=b'{"id": "7"}')
    assert answer.json == {"data": {"id": "7", "associated_metadata": {}}}
    assert sandbox.history("7") == [{}]


async def test_history_keeps_the_order_and_applied_the_last(sandbox_post) -> None:
    async with Sandbox() as sandbox:
        for number in range(3):
            await sandbox_post(sandbox, "1", {"alt_text": {"text": str(number)}})
        await sandbox_post(sandbox, "2", {})
    assert [metadata["alt_text"]["text"] for metadata in sandbox.history("1")] == ["0", "1", "2"]
    assert dict(sandbox.applied) == {"1": {"alt_text": {"text": "2"}}, "2": {}}
    assert "1" in sandbox.applied
    assert "3" not in sandbox.applied
    assert sandbox.history("3") == []


async def test_memory_is_bounded_and_counts_are_not(sandbox_post) -> None:
    async with Sandbox(keep=3) as sandbox:
        for number in range(5):
            await sandbox_post(sandbox, str(number % 4))
    assert [record.number for record in sandbox.received] == [3, 4, 5]
    assert sorted(sandbox.applied) == ["0", "2", "3"]
    assert sandbox.history("0") == [METADATA]  # the first of two is forgotten
    assert (sandbox.counts.requests, sandbox.counts.applied, sandbox.counts.by_status) == (5, 5, {200: 5})


async def test_a_wrong_path_is_an_empty_404_without_rates(sandbox_post) -> None:
    async with Sandbox() as sandbox:
        answer = await sandbox_post(sandbox, path="/1.1/media/metadata/create.json")
        assert (answer.status, answer.body) == (404, b"")
        assert "json" not in answer.headers["Content-Type"]
        assert not [name for name in answer.headers if name.lower().startswith("x-")]
        assert sandbox.received[0].target == "POST /1.1/media/metadata/create.json"
        assert sandbox.counts.by_status == {404: 1}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_wrong_method_is_a_405(sandbox_post, method: str) -> None:
    async with Sandbox() as sandbox:
        answer = await sandbox_post(sandbox, method=method)
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert answer.json["type"] == "about:blank"
        assert sandbox.received[0].target == f"{method} /2/media/metadata"
        assert sandbox.counts.applied == 0


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Bearer a b", "OAuth oauth_nonce=\"1\""]
)  # fmt: skip
async def test_no_usable_token_is_a_401(sandbox_post, authorization: str | None) -> None:
    async with Sandbox() as sandbox:
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = await sandbox_post(sandbox, token=None, headers=headers)
        assert (answer.status, answer.json["title"], answer.json["type"]) == (401, "Unauthorized", "about:blank")
        assert "x-rate-limit-limit" not in answer.headers
        assert sandbox.received[0].token is None
        assert not sandbox.applied


async def test_oauth1_requests_are_known_by_their_token(sandbox_post) -> None:
    signed = 'OAuth oauth_consumer_key="key", oauth_nonce="n", oauth_token="{}", oauth_signature="s%3D"'
    async with Sandbox(limit=1) as sandbox:
        statuses = [
            (await sandbox_post(sandbox, headers={"Authorization": signed.format(token)})).status
            for token in ("one", "one", "two")
        ]
        assert statuses == [200, 429, 200]
        assert [record.token for record in sandbox.received] == ["token-1", "token-1", "token-2"]


async def test_only_named_tokens_are_accepted(sandbox_post) -> None:
    async with Sandbox(token=("good", "better")) as sandbox:
        statuses = [(await sandbox_post(sandbox, token=token)).status for token in ("good", "bad", "better")]
        assert statuses == [200, 401, 200]
        with pytest.raises(ConfigurationError, match="does not accept") as caught:
            sandbox.spend("bad-token", 1)
        assert "bad-token" not in str(caught.value)


async def test_no_token_is_kept_or_shown(sandbox_post) -> None:
    def holds(thing: object, seen: set[int], depth: int = 0) -> bool:
        """Whether the token is anywhere in what an object leads to."""
        if id(thing) in seen or depth > 12 or isinstance(thing, type):
            return False
        seen.add(id(thing))
        if isinstance(thing, str | bytes):
            return TOKEN in thing if isinstance(thing, str) else TOKEN.encode() in thing
        parts = [*thing.items()] if isinstance(thing, dict) else [*thing] if isinstance(thing, list | tuple) else []
        parts += [vars(thing)] if hasattr(thing, "__dict__") else []
        parts += [getattr(thing, name, None) for name in (*getattr(type(thing), "__slots__", ()),
                                                        *getattr(type(thing), "__struct_fields__", ()))]  # fmt: skip
        parts += [*thing] if type(thing).__name__ == "deque" else []
        return any(holds(part, seen, depth + 1) for part in parts)

    async with Sandbox(token=TOKEN, apps={TOKEN: "app"}) as sandbox:
        await sandbox_post(sandbox)
        await sandbox_post(sandbox, token="wrong" + TOKEN)
        sandbox.revoke(TOKEN)
        sandbox.renew(TOKEN, TOKEN + "2")
        await sandbox_post(sandbox, token=TOKEN + "2")
        shown = repr((sandbox, sandbox.received, sandbox.counts, sandbox.applied, sandbox.label(TOKEN)))
        assert TOKEN not in shown
        assert sandbox.counts.by_status == {200: 2, 401: 1}
        state = [sandbox._accounts, sandbox._logbook, sandbox._script, sandbox._endpoint]
        assert holds({"a": [TOKEN]}, set())  # the search would find it
        assert not holds(state, set())
        assert sandbox.received[0].token == sandbox.label(TOKEN) == "token-1"


async def test_accounts_are_refused_and_healed(sandbox_post) -> None:
    async with Sandbox(limit=100) as sandbox:
        seen = []
        for refuse in (sandbox.revoke, sandbox.suspend, sandbox.deplete, sandbox.cap):
            refuse(TOKEN)
            answer = await sandbox_post(sandbox)
            other = await sandbox_post(sandbox, token="other")
            sandbox.heal(TOKEN)
            healed = await sandbox_post(sandbox)
            seen.append((answer.status, answer.json["type"].rpartition("/")[2], other.status, healed.status))
            assert "x-rate-limit-remaining" in answer.headers
        assert seen == [
            (401, "about:blank", 200, 200),
            (403, "user-suspended", 200, 200),
            (402, "credits-depleted", 200, 200),
            (429, "usage-capped", 200, 200),
        ]
        assert int(healed.headers["x-rate-limit-remaining"]) == 100 - 4  # the refusals took nothing
        sandbox.deplete()
        assert [(await sandbox_post(sandbox, token=token)).status for token in (TOKEN, "other")] == [402, 402]
        sandbox.refuse_with("403-client-forbidden", "other")
        assert (await sandbox_post(sandbox, token="other")).status == 403
        sandbox.heal()
        assert [(await sandbox_post(sandbox, token=token)).status for token in (TOKEN, "other")] == [200, 200]


async def test_a_renewed_token_shares_the_windows_of_the_old_one(sandbox_post) -> None:
    async with Sandbox(limit=3, token="old") as sandbox:
        assert (await sandbox_post(sandbox, token="old")).headers["x-rate-limit-remaining"] == "2"
        sandbox.renew("old", "new")
        assert (await sandbox_post(sandbox, token="old")).status == 401
        assert (await sandbox_post(sandbox, token="new")).headers["x-rate-limit-remaining"] == "1"


async def test_two_at_once_for_one_id_are_counted(sandbox_post) -> None:
    async with Sandbox(latency=0.05) as sandbox:
        await asyncio.gather(*(sandbox_post(sandbox, media_id) for media_id in ("1", "2", "3")))
        assert (sandbox.counts.most_in_flight, sandbox.counts.most_per_id) == (3, 1)
        await asyncio.gather(*(sandbox_post(sandbox, "1") for _ in range(2)))
        assert (sandbox.counts.most_in_flight, sandbox.counts.most_per_id) == (3, 2)


async def test_a_request_given_up_is_no_longer_in_flight_and_is_applied_all_the_same(sandbox_post) -> None:
    async with Sandbox(latency=0.1) as sandbox:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sandbox_post(sandbox, "1"), 0.03)
        await asyncio.sleep(0.02)
        assert not sandbox.applied  # not yet
        await sandbox_post(sandbox, "1")
        assert sandbox.counts.most_per_id == 1
        assert sandbox.history("1") == [METADATA, METADATA]
        assert [(record.status, record.applied) for record in sandbox.received] == [(None, True), (200, True)]


@pytest.mark.looptime
async def test_latency_is_seeded_and_on_the_loops_clock(sandbox_post) -> None:
    async def latencies(seed: int) -> list[float]:
        loop, took = asyncio.get_running_loop(), []
        async with Sandbox(latency=(1.0, 3.0), seed=seed) as sandbox:
            for number in range(8):
                begun = loop.time()
                answer = await sandbox_post(sandbox, str(number))
                took.append(round(loop.time() - begun, 3))
                assert int(answer.headers["x-response-time"]) == pytest.approx(took[-1] * 1000, abs=2)
        return took

    first = await latencies(1)
    assert all(1.0 <= latency <= 3.0 for latency in first)
    assert len(set(first)) == 8
    assert first == await latencies(1)
    assert first != await latencies(2)


@pytest.mark.parametrize("fault", ["hang", "hang-applied", "stall", "endless", "late:60", "slow:60", "interim-endless"])
async def test_leaving_the_block_closes_at_once(sandbox_post, fault: str) -> None:
    async with asyncio.timeout(10):  # none of them ends so soon by itself
        async with Sandbox(script={MEDIA_ID: [fault]}) as sandbox:
            waiting = asyncio.ensure_future(sandbox_post(sandbox))
            while not sandbox.counts.faults:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await waiting
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left


async def test_a_latency_does_not_hold_up_closing(sandbox_post) -> None:
    async with asyncio.timeout(5):
        async with Sandbox(latency=60.0) as sandbox:
            waiting = asyncio.ensure_future(sandbox_post(sandbox))
            while not sandbox.counts.requests:
                await asyncio.sleep(0.001)
        with pytest.raises(aiohttp.ClientError):
            await waiting
    assert not sandbox.applied


async def test_it_serves_until_cancelled(sandbox_post) -> None:
    sandbox = Sandbox()
    with pytest.raises(ConfigurationError, match="not started"):
        _ = sandbox.url
    serving = asyncio.ensure_future(sandbox.serve_forever())
    while "not started" in repr(sandbox):
        await asyncio.sleep(0.001)
    assert (await sandbox_post(sandbox)).status == 200
    with pytest.raises(ConfigurationError, match="started already"):
        await sandbox.start()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert "not started" in repr(sandbox)


async def test_it_can_be_started_again_and_remembers(sandbox_post) -> None:
    sandbox = Sandbox(limit=3, clock=1e9)
    for number in range(3):
        async with sandbox:
            answer = await sandbox_post(sandbox, str(number))
            assert (answer.status, answer.headers["x-rate-limit-remaining"]) == (200, str(2 - number))
    async with sandbox:
        assert (await sandbox_post(sandbox)).status == 429
    assert sandbox.counts.by_status == {200: 3, 429: 1}


async def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    async with Sandbox() as sandbox:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", sandbox.url)
        assert sandbox.endpoint_url == sandbox.url + "/2/media/metadata"
    async with Sandbox(host="localhost") as sandbox:
        assert re.fullmatch(r"http://(127\.0\.0\.1|\[::1\]):\d+", sandbox.url)


async def test_a_port_in_use_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}: "):
            await Sandbox(port=port).start()
    with pytest.raises(ConfigurationError, match="cannot listen on"):
        await Sandbox(port=70_000).start()


async def test_it_speaks_tls() -> None:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with Sandbox(ssl_context=server) as sandbox, aiohttp.ClientSession() as session:
        assert sandbox.url.startswith("https://127.0.0.1:")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with session.post(sandbox.endpoint_url, json={"id": "1"}, headers=headers, ssl=client) as response:
            assert response.status == 200


async def test_it_runs_as_an_application_in_a_runner_of_ones_own() -> None:
    sandbox = Sandbox()
    runner = aiohttp.web.AppRunner(sandbox.app())
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/2/media/metadata"
    headers = {"Authorization": "Bearer x"}
    async with aiohttp.ClientSession() as session, session.post(url, json={"id": "5"}, headers=headers) as response:
        assert response.status == 200
    await runner.cleanup()
    assert sandbox.history("5") == [{}]


@pytest.mark.parametrize("count", [1, 2])
async def test_connections_are_closed_after_so_many_requests(sandbox_post, count: int) -> None:
    async with Sandbox(close_after=count) as sandbox:
        host, _, port = sandbox.url.removeprefix("http://").rpartition(":")
        for _ in range(2):
            reader, writer = await asyncio.open_connection(host, int(port))
            for _ in range(count):
                writer.write(
                    b"POST /2/media/metadata HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n"
                    b"Content-Type: application/json\r\nContent-Length: 10\r\n\r\n" + b'{"id":"1"}'
                )
                head = await reader.readuntil(b"\r\n\r\n")
                assert b"connection: close" not in head.lower()
                await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
            assert await asyncio.wait_for(reader.read(), 2) == b""  # closed without a word
            writer.close()
        assert sandbox.counts.applied == 2 * count


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0}, {"limit": True}, {"limit": 1.5}, {"app_limit": -1}, {"user_day_limit": 0}, {"window": 0},
        {"window": float("nan")}, {"app_window": -5}, {"latency": -1}, {"latency": (2, 1)}, {"fail": 1.5},
        {"fail": {"503": 0.7, "reset": 0.7}}, {"fail": {"5033": 0.1}}, {"headers": ["user-15minutes"]}, {"keep": 0},
        {"reset_rounding": "up"}, {"close_after": 0}, {"clock": float("inf")}, {"clock_skew": float("nan")},
        {"token": ""}, {"token": [""]}, {"script": {"abc": ["503"]}}, {"script": {"1": "503"}},
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Sandbox(**options)  # type: ignore[arg-type]


def test_every_fault_says_in_one_line_what_it_does() -> None:
    for name, fault in FAULTS.items():
        assert fault.name == name
        assert 5 < len(fault.about) < 100
        assert "\n" not in fault.about
        assert name in repr(fault)
