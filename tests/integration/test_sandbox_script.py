"""Which fault a request meets: scripts, chance, outages; what is left unmet; and scripts in files."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from xmediameta.errors import ConfigurationError
from xmediameta.sandbox import Sandbox, load_script

from .conftest import TOKEN


async def statuses(post: Any, sandbox: Sandbox, *media_ids: str, token: str = TOKEN) -> list[int | str]:
    seen: list[int | str] = []
    for media_id in media_ids:
        try:
            seen.append((await post(sandbox, media_id, token=token)).status)
        except (aiohttp.ClientError, ConnectionError) as error:
            seen.append("refused" if isinstance(error, aiohttp.ClientConnectorError) else "cut")
    return seen


async def test_a_script_has_one_entry_per_attempt_then_none(sandbox_post) -> None:
    async with Sandbox() as sandbox:
        sandbox.script("1", ["503", "reset", 429, "ok", "504-html"])
        sandbox.script("2", ["404-unknown-media"])
        assert sandbox.unmet == {"1": ("503", "reset", "429", "504-html"), "2": ("404-unknown-media",)}
        assert await statuses(sandbox_post, sandbox, "1", "2", "3", "1", "1") == [503, 404, 200, "cut", 429]
        assert sandbox.unmet == {"1": ("504-html",)}
        assert await statuses(sandbox_post, sandbox, "1", "1", "1", "2") == [200, 504, 200, 200]
        assert sandbox.unmet == {}
        assert sandbox.counts.faults == {"503": 1, "404-unknown-media": 1, "reset": 1, "429": 1, "504-html": 1}
        assert [record.fault for record in sandbox.received if record.id == "1"] == [
            "503", "reset", "429", None, "504-html", None,
        ]  # fmt: skip
        assert len(sandbox.history("1")) == 2


async def test_what_is_ok_is_never_unmet(sandbox_post) -> None:
    async with Sandbox(script={"1": ["ok", "ok"], "2": ["ok", "500"]}) as sandbox:
        assert sandbox.unmet == {"2": ("500",)}
        assert await statuses(sandbox_post, sandbox, "2", "2") == [200, 500]
        assert not sandbox.unmet


async def test_calls_append(sandbox_post) -> None:
    async with Sandbox(script={"1": ["500"]}) as sandbox:
        sandbox.script("1", ("502",))
        sandbox.script("1", [])
        assert await statuses(sandbox_post, sandbox, "1", "1", "1") == [500, 502, 200]


async def test_a_star_is_for_whoever_comes_next(sandbox_post) -> None:
    async with Sandbox(script={"*": ["500", "reset", "ok", "502"], "3": ["409"]}) as sandbox:
        assert await statuses(sandbox_post, sandbox, "1", "2") == [500, "cut"]
        assert await statuses(sandbox_post, sandbox, "3") == [409]  # its own script comes first
        assert await statuses(sandbox_post, sandbox, "3", "1", "1") == [200, 502, 200]
        assert not sandbox.unmet


async def test_an_attempt_refused_first_leaves_its_fault_unmet(sandbox_post) -> None:
    async with Sandbox(limit=1, token=TOKEN, script={"1": ["503"]}, clock=1e9) as sandbox:
        assert await statuses(sandbox_post, sandbox, "1", token="unknown") == [401]
        assert await statuses(sandbox_post, sandbox, "2", "1") == [200, 429]  # a real 429
        sandbox.advance(900)
        sandbox.deplete()
        assert await statuses(sandbox_post, sandbox, "1") == [402]
        sandbox.heal()
        assert (await sandbox_post(sandbox, "1", {"alt_text": 5})).status == 400
        assert sandbox.unmet == {"1": ("503",)}
        sandbox.advance(900)
        assert await statuses(sandbox_post, sandbox, "1") == [503]
        assert not sandbox.unmet


async def test_a_proxys_fault_asks_no_window(sandbox_post) -> None:
    async with Sandbox(limit=1, script={"1": ["502-html", "ok", "reset", "429"]}) as sandbox:
        assert await statuses(sandbox_post, sandbox, "1", "1", "1", "1", "1") == [502, 200, "cut", 429, 429]
        assert not sandbox.unmet
        assert (sandbox.counts.limited, sandbox.counts.faults["429"]) == (1, 1)  # one injected, one real


async def test_chance_is_seeded(sandbox_post) -> None:
    async def run(seed: int, fail: Any) -> list[int | str]:
        async with Sandbox(fail=fail, seed=seed) as sandbox:
            seen = await statuses(sandbox_post, sandbox, *map(str, range(60)))
            assert sum(sandbox.counts.faults.values()) == sum(status != 200 for status in seen)
            assert sandbox.counts.applied == seen.count(200)
            assert not sandbox.unmet
        return seen

    first = await run(1, 0.25)
    assert set(first) == {200, 503}
    assert 5 <= first.count(503) <= 30
    assert first == await run(1, 0.25)
    assert first != await run(2, 0.25)
    assert set(await run(1, 0)) == {200}
    assert set(await run(1, 1)) == {503}
    mixed = await run(3, {"500": 0.3, "reset": 0.3})
    assert set(mixed) == {200, 500, "cut"}


@pytest.mark.looptime
async def test_an_outage_is_for_everyone_and_ends(sandbox_post) -> None:
    async with Sandbox(script={"1": ["409"]}) as sandbox:
        sandbox.schedule("503", 10, 40)
        assert await statuses(sandbox_post, sandbox, "2") == [200]
        await asyncio.sleep(10)
        assert await statuses(sandbox_post, sandbox, "1", "2") == [503, 503]
        assert sandbox.unmet == {"1": ("409",)}  # the outage came first
        await asyncio.sleep(29)
        assert await statuses(sandbox_post, sandbox, "2") == [503]
        await asyncio.sleep(1)
        assert await statuses(sandbox_post, sandbox, "1", "2") == [409, 200]
        assert sandbox.counts.faults == {"503": 3, "409": 1}


@pytest.mark.looptime
async def test_refused_stops_listening_and_cuts_what_stands(sandbox_post) -> None:
    async with Sandbox(latency=1.0) as sandbox:
        url = sandbox.url
        sandbox.schedule("refused", 5, 35)
        assert await statuses(sandbox_post, sandbox, "1") == [200]
        in_flight = asyncio.ensure_future(statuses(sandbox_post, sandbox, "2"))
        await asyncio.sleep(0.5)
        in_flight_over_the_edge = asyncio.ensure_future(statuses(sandbox_post, sandbox, "3"))
        await asyncio.sleep(3.0)
        cut = asyncio.ensure_future(statuses(sandbox_post, sandbox, "4"))
        await asyncio.sleep(1.0)
        assert (await in_flight, await in_flight_over_the_edge, await cut) == ([200], [200], ["cut"])
        assert await statuses(sandbox_post, sandbox, "5", "5") == ["refused", "refused"]
        assert sandbox.url == url
        await asyncio.sleep(30)
        assert await statuses(sandbox_post, sandbox, "5") == [200]
        assert sandbox.url == url
        assert sandbox.history("4") == [{"alt_text": {"text": "A dancing cat"}}]  # a server finishes what it began


async def test_refusing_and_accepting_by_hand(sandbox_post) -> None:
    async with Sandbox() as sandbox:
        for _ in range(2):
            await sandbox.refuse()
            await sandbox.refuse()  # again changes nothing
            await asyncio.sleep(0.01)  # let the client notice that its idle connection was cut
            assert await statuses(sandbox_post, sandbox, "1") == ["refused"]
            await sandbox.accept()
            await sandbox.accept()
            assert await statuses(sandbox_post, sandbox, "1") == [200]
        await sandbox.refuse()
    await sandbox.refuse()  # closed: nothing to refuse
    await sandbox.accept()


@pytest.mark.looptime
async def test_leaving_during_an_outage(sandbox_post) -> None:
    async with Sandbox() as sandbox:
        sandbox.schedule("refused", 0, 60)
        await asyncio.sleep(1)
        assert await statuses(sandbox_post, sandbox, "1") == ["refused"]
    await asyncio.sleep(120)
    with pytest.raises(ConfigurationError):
        _ = sandbox.url  # the end of the outage did not bring it back


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (["503x"], "no fault is called '503x'; did you mean '503'"),
        (["usage_capped"], "did you mean 'usage-capped'"),
        (["rest"], "did you mean 'reset'"),
        (["zzzzzz"], "no fault is called 'zzzzzz'$"),
        (["399"], "no fault"), ([200], "no fault"), (["600"], "no fault"), ([5], "no fault"), ([""], "no fault"),
        ([True], "not True"), ([None], "not None"), ([1.5], "not 1.5"), ([["503"]], "not "),
        (["503:2"], "'503' takes no number"), (["slow:fast"], "takes a number .seconds., not 'fast'"),
        (["late:-1"], "takes a number"), (["late:nan"], "takes a number"), (["late:"], "takes a number"),
        (["refused"], "an outage, not the fault of one request"),
        (["a\x1b[31mb"], r"no fault is called 'a\\x1b\[31mb'"),
        ("503", "a list of faults, not the text '503'"),
    ],
)  # fmt: skip
def test_an_entry_that_names_no_fault_is_refused(entries: Any, says: str) -> None:
    sandbox = Sandbox()
    with pytest.raises(ConfigurationError, match=says):
        sandbox.script("1", entries)
    assert sandbox.unmet == {}


@pytest.mark.parametrize("media_id", ["", "abc", "1" * 20, "3_1", "**", 5, None])
def test_a_script_is_for_a_media_id(media_id: Any) -> None:
    with pytest.raises(ConfigurationError, match="1 to 19 digits"):
        Sandbox().script(media_id, ["503"])


@pytest.mark.parametrize("span", [(-1, 5), (5, 5), (6, 5), (0, float("inf")), (float("nan"), 5)])
async def test_an_outage_has_a_start_and_an_end(span: tuple[float, float]) -> None:
    async with Sandbox() as sandbox:
        with pytest.raises(ConfigurationError, match="from a start to a later end"):
            sandbox.schedule("503", *span)
        with pytest.raises(ConfigurationError, match="no fault is called"):
            sandbox.schedule("5O3", 0, 1)


async def test_scripts_come_from_files(tmp_path: Path, sandbox_post) -> None:
    wanted = {"1146654567674912769": ["503", 429, "ok"], "*": ["reset"]}
    as_json, as_toml = tmp_path / "script.json", tmp_path / "script.toml"
    as_json.write_bytes(b"\xef\xbb\xbf" + json.dumps(wanted).encode())
    as_toml.write_text('1146654567674912769 = ["503", 429, "ok"]\n"*" = ["reset"]\n')
    assert load_script(as_json) == load_script(str(as_toml)) == wanted
    async with Sandbox(script=load_script(as_json)) as sandbox:
        assert sandbox.unmet == {"1146654567674912769": ("503", "429"), "*": ("reset",)}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("s.json", "{", "Expecting property name"),
        ("s.toml", "a = ", "Invalid value"),
        ("s.json", "[]", "must be an object of media id to a list of faults"),
        ("s.json", '{"1": "503"}', "1: must be a list of faults"),
        ("s.json", '{"1": ["503", "5o4"]}', "1: no fault is called '5o4'; did you mean"),
        ("s.json", '{"1x": []}', "1x: a script is for a media id"),
        ("s.json", "[" * 100_000, "recursion"),
        ("s.json", '{"1": [{"a": 1}]}', "1: a fault is a name or a status, not "),
        ("s.json", b"\xff\xfe", "is not UTF-8 .byte 1."),
    ],
)
def test_a_script_file_that_is_wrong_says_where(tmp_path: Path, name: str, content: str | bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError, match=says) as caught:
        load_script(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_script_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.json: No such file"):
        load_script(tmp_path / "missing.json")
    with pytest.raises(ConfigurationError, match="Is a directory"):
        load_script(tmp_path)
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    with pytest.raises(ConfigurationError, match="more than 16,777,216 bytes"):
        load_script(large)
