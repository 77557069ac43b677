"""The README's Python blocks, run as they stand against a sandbox."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.docs.readme import block, run_python, run_shell
from xmediameta import Client, CreditsDepleted, FileStore, Journal, Metadata, OAuth2Token, Sandbox, Update, apply
from xmediameta.sandbox.oauth1 import OAuth1Keys

CAT = "1146654567674912769"
DOG = "1146654567674912770"


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """A sandbox in the place of X: what a block sends to the default base URL arrives here."""
    async with Sandbox() as sandbox:
        assert Client.__init__.__kwdefaults__["base_url"] == "https://api.x.com"
        monkeypatch.setitem(Client.__init__.__kwdefaults__, "base_url", sandbox.url)
        yield sandbox


async def test_create(sandbox: Sandbox, tmp_path: Path) -> None:
    shown = block("python", "create")
    (tmp_path / "create.py").write_text(shown.text)
    env = {"XMEDIAMETA_TOKEN": "TOKEN", "XMEDIAMETA_BASE_URL": sandbox.url}
    ended = await run_shell("python create.py", tmp_path, env)
    (received,) = sandbox.received
    assert ended.out == f"X took it; its transaction id is {received.transaction_id}\n"
    assert ended.err == ""
    assert sandbox.applied == {CAT: {"alt_text": {"text": "A dancing cat"}}}


async def test_bulk(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    async with Client("TOKEN") as client:
        await run_python(block("python", "bulk"), client=client)
        assert sorted(capsys.readouterr().out.splitlines()) == ["row 1 is done", "row 2 is done"]
        sandbox.script(DOG, ["400"])
        await run_python(block("python", "bulk"), client=client)
        done, refused = sorted(capsys.readouterr().out.splitlines())
        assert done == "row 1 is done"
        assert refused.startswith("row 2 was refused: 400 ")
        sandbox.deplete()
        with pytest.raises(CreditsDepleted):
            await run_python(block("python", "bulk"), client=client)
    unsent = capsys.readouterr().out.splitlines()
    assert {line.partition(":")[0] for line in unsent} == {"row 1 was not sent", "row 2 was not sent"}
    assert sandbox.applied[DOG] == {"alt_text": {"text": "A sleeping dog"}}


async def test_journal(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    updates = [Update(CAT, Metadata.of(alt_text="A dancing cat"), ref=1), Update(DOG, Metadata.of(managed=True), ref=2)]
    for outcomes in (["1 is Applied", "2 is Failed"], ["1 is Unchanged", "2 is Failed"]):
        sandbox.script(DOG, ["400"] if not sandbox.received else [])
        async with Client("TOKEN") as client:
            await run_python(block("python", "journal"), client=client, updates=updates)
        assert sorted(capsys.readouterr().out.splitlines()) == outcomes
    assert sandbox.counts.requests == 2
    assert (tmp_path / "runs.db").exists()


async def test_open_journal(sandbox: Sandbox, tmp_path: Path) -> None:
    async with await Journal.open(tmp_path / "runs.db") as journal, Client("TOKEN") as client:
        for name in ("one", "two"):
            run = client.bulk([Update(CAT, Metadata.of(alt_text="A dancing cat"))], journal=journal, run=name)
            async with run as outcomes:
                assert [outcome.id async for outcome in outcomes] == [CAT]
    assert sandbox.counts.requests == 1


async def test_apply(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XMEDIAMETA_JOURNAL", str(tmp_path / "journal.db"))
    monkeypatch.setitem(apply.__kwdefaults__, "base_url", sandbox.url)
    (tmp_path / "updates.csv").write_text(block("csv", "updates.csv").text)
    space = await run_python(block("python", "apply"))
    assert (space["summary"].applied, space["summary"].requests) == (2, 2)
    assert capsys.readouterr().out == "2 of 2 done; waiting until None\n"
    sandbox.script(DOG, ["400"])
    (tmp_path / "updates.csv").write_text(block("csv", "updates.csv").text.replace("sleeping", "barking"))
    await run_python(block("python", "apply"))
    assert capsys.readouterr().out.splitlines()[-1] == "1 failed, 0 pending: None"
    assert sandbox.counts.requests == 3


async def test_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    await run_python(block("python", "estimate"))
    assert capsys.readouterr().out == block("text", "estimate").text


async def test_invalid(capsys: pytest.CaptureFixture[str]) -> None:
    await run_python(block("python", "invalid"))
    assert capsys.readouterr().out == block("text", "invalid").text


async def test_accounts(sandbox: Sandbox) -> None:
    await run_python(block("python", "accounts"))
    labels = [sandbox.label("NEWS-TOKEN"), sandbox.label("SPORTS-TOKEN")]
    assert [received.token for received in sandbox.received] == labels
    assert list(sandbox.applied) == [CAT, DOG]


async def test_callable(sandbox: Sandbox) -> None:
    asked: list[str | None] = []

    class Store:
        async def fresh_token(self, account: str | None) -> str:
            asked.append(account)
            return f"TOKEN-{len(asked)}"

    await run_python(block("python", "callable"), my_token_store=Store())
    assert asked == ["news"]
    sandbox.revoke("TOKEN-2")
    await run_python(block("python", "callable"), my_token_store=Store())
    assert asked == ["news"] * 3
    assert [received.status for received in sandbox.received] == [200, 401, 200]


async def test_stored(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sandbox.oauth.login("news", client_id="YOUR-APP", pair=("ACCESS", "REFRESH"))
    await run_python(block("python", "stored"), expires_at=time.time() - 1)
    assert list(sandbox.applied) == [CAT]
    assert (sandbox.oauth.renewals, sandbox.oauth.denied) == (1, 0)
    kept = await FileStore(tmp_path / "accounts").load("news")
    assert isinstance(kept, OAuth2Token)
    assert kept.refresh_token != "REFRESH"


async def test_database(sandbox: Sandbox) -> None:
    given = sandbox.oauth.login("news")
    sandbox.advance(7_201)

    class Database:
        rows: dict[str | None, dict[str, object]]

        async def get(self, account: str | None) -> dict[str, object] | None:
            return self.rows.get(account)

        async def put(self, account: str | None, parts: dict[str, object]) -> None:
            self.rows[account] = parts

        @asynccontextmanager
        async def lock(self, account: str | None) -> AsyncIterator[None]:
            self.held = account
            yield

    database = Database()
    first = OAuth2Token(given.access_token, given.refresh_token, client_id=given.client_id)
    database.rows = {"news": first.as_dict()}
    await run_python(block("python", "database"), database=database)
    assert list(sandbox.applied) == [CAT]
    assert database.held == "news"
    assert database.rows["news"]["refresh_token"] != given.refresh_token
    assert sandbox.oauth.renewals == 1


async def test_oauth1(sandbox: Sandbox) -> None:
    keys = OAuth1Keys(
        consumer_key="API-KEY",
        consumer_secret="API-SECRET",
        access_token="ACCESS-TOKEN",
        access_token_secret="ACCESS-TOKEN-SECRET",
    )
    sandbox.oauth1.login("sports", keys=keys)
    await run_python(block("python", "oauth1"))
    assert list(sandbox.applied) == [DOG]
    assert sandbox.oauth1.checked == 1


async def test_quota(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    async with Client("TOKEN") as client:
        await run_python(block("python", "quota"), client=client)
        assert capsys.readouterr().out == ""
        await client.create(CAT, Metadata.of(alt_text="A dancing cat"))
        await run_python(block("python", "quota"), client=client)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(" until ")[0] for line in said] == [
        "None user-15min 499 of 500", "None app-24hour 49999 of 50000"
    ]  # fmt: skip


async def test_waits(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sandbox.spend("ACCESS-TOKEN", 500)
    await run_python(block("python", "waits"))
    assert not sandbox.applied
    assert capsys.readouterr().out.splitlines()[-1].startswith("try again at 20")
    async with Sandbox(limit=60, window=2) as quick:
        monkeypatch.setitem(Client.__init__.__kwdefaults__, "base_url", quick.url)
        quick.spend("ACCESS-TOKEN", 60)
        await run_python(block("python", "waits"))
        assert [received.status for received in quick.received] == [429, 200]
    (told,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"the account waits [123] s for user-15min, until \d\d:\d\d:\d\d", told)


async def test_retries(sandbox: Sandbox) -> None:
    sandbox.script(CAT, ["reset"])
    began = asyncio.get_running_loop().time()
    await run_python(block("python", "retries"))
    assert 1.0 <= asyncio.get_running_loop().time() - began < 3.0
    assert sandbox.counts.applied == 1
    assert not sandbox.unmet


async def test_sandbox(capsys: pytest.CaptureFixture[str]) -> None:
    space = await run_python(block("python", "sandbox"))
    assert space["sandbox"].counts.requests == 3


async def test_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_plugin.py").write_text(block("python", "test_plugin.py").text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    ended = await run_shell("python -m pytest -q -W error -p no:cacheprovider", tmp_path)
    assert ended.code == 0, ended.out + ended.err
    assert "2 passed" in ended.out
