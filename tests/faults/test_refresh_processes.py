"""Several processes share one account of one store, and some are killed: no refresh token is spent twice.

Each runs for some seconds; `XMEDIAMETA_REFRESH_SECONDS=60` lets them run for a minute.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tests.faults.refreshing import ACCOUNT, PACE, renew, updates, work
from xmediameta import Client, FileStore, Metadata, OAuth2Token, ReconnectRequired, Sandbox

WORKERS = 4
LIFETIME = 3.0
SECONDS = float(os.environ.get("XMEDIAMETA_REFRESH_SECONDS", "6"))
NUMBER = int(SECONDS * PACE)
CAT = Metadata.of(alt_text="A dancing cat")


def context() -> ForkServerContext:
    """A server that has the package imported forks each process, which saves a second for each."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["tests.faults.refreshing", "xmediameta.client", "xmediameta.journal"])
    return made


async def login(sandbox: Sandbox, store: FileStore) -> None:
    given = sandbox.oauth.login(ACCOUNT)
    token = OAuth2Token(given.access_token, given.refresh_token, client_id=given.client_id, expires_at=given.expires_at)
    async with store.lock(ACCOUNT):
        await store.save(ACCOUNT, token)


class Workers:
    """The processes, each of which is started again until it has sent all of its updates.

    Attributes:
        reconnects: what processes said that could not renew the token, once for each login that was needed.
    """

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self._sandbox, self._folder = sandbox, folder
        self._context = context()
        self._store = FileStore(folder / "accounts")
        self._logging_in = asyncio.Lock()
        self.running: dict[int, BaseProcess] = {}
        self.reconnects: list[str] = []
        self.kills = 0

    async def run(self) -> None:
        await login(self._sandbox, self._store)
        async with asyncio.timeout(20 * SECONDS + 60), asyncio.TaskGroup() as group:
            for worker in range(1, WORKERS + 1):
                group.create_task(self._worked(worker))

    async def _worked(self, worker: int) -> None:
        while (said := await self._sat(worker)) != "ended":
            if "xmediameta login" in said:
                await self._reconnected(said)

    async def _sat(self, worker: int) -> str:
        """One sitting; how it ended."""
        ours, theirs = self._context.Pipe(duplex=False)
        folder = self._folder
        given = (self._sandbox.url, str(folder / "accounts"), str(folder / f"{worker}.db"), worker, NUMBER, theirs)
        child = self._context.Process(target=work, args=given, daemon=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, child.start)
        theirs.close()
        said = ""
        try:
            assert await loop.run_in_executor(None, ours.recv) == "begun"
            self.running[worker] = child
            said = await loop.run_in_executor(None, ours.recv)
        except EOFError:
            assert self.kills, "it ended without having been killed"
        finally:
            self.running.pop(worker, None)
            child.kill()
            await loop.run_in_executor(None, child.join)
            ours.close()
        return said

    async def _reconnected(self, said: str) -> None:
        """Log in again, as a person would, unless somebody has done so meanwhile."""
        async with self._logging_in:
            notes = await self._store.notes(ACCOUNT)
            if notes.trouble is not None:
                self.reconnects.append(said)
                await login(self._sandbox, self._store)

    async def killing(self) -> None:
        """Kill one of them now and then, until cancelled."""
        chance = random.Random(3)
        while True:
            await asyncio.sleep(chance.uniform(0.02, 0.1) * SECONDS)
            if self.running:
                self.running.pop(chance.choice(list(self.running))).kill()
                self.kills += 1


def all_applied(sandbox: Sandbox) -> bool:
    wanted = {row.id: row.metadata for worker in range(1, WORKERS + 1) for row in updates(worker, NUMBER)}
    return set(sandbox.applied) == set(wanted)


@pytest.mark.slow
async def test_four_processes_renew_one_token(tmp_path: Path) -> None:
    async with Sandbox(limit=None, app_limit=None, latency=0.005, token_lifetime=LIFETIME) as sandbox:
        workers = Workers(sandbox, tmp_path)
        await workers.run()
        assert all_applied(sandbox)
        assert sandbox.counts.requests - sandbox.counts.by_status.get(401, 0) >= WORKERS * NUMBER
        assert sandbox.oauth.renewals >= SECONDS / LIFETIME - 1
        assert sandbox.oauth.reused == 0
        assert workers.reconnects == []


@pytest.mark.slow
async def test_four_processes_of_which_some_are_killed(tmp_path: Path) -> None:
    async with Sandbox(limit=None, app_limit=None, latency=0.005, token_lifetime=LIFETIME) as sandbox:
        workers = Workers(sandbox, tmp_path)
        killer = asyncio.create_task(workers.killing())
        try:
            await workers.run()
        finally:
            killer.cancel()
        assert workers.kills >= 3, "it ended before it was killed often enough"
        assert all_applied(sandbox)
        # Only a kill between a token request and the storing of its answer loses the pair.
        assert len(workers.reconnects) < workers.kills
        if not workers.reconnects:
            assert sandbox.oauth.reused == 0


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


async def test_a_process_that_is_killed_before_the_answer_is_stored(tmp_path: Path) -> None:
    async with Sandbox(limit=None, app_limit=None, latency=1.0, token_lifetime=1_000) as sandbox:
        store = FileStore(tmp_path)
        await login(sandbox, store)
        before = await store.load(ACCOUNT)
        sandbox.advance(2_000)
        given = OAuth2Token(before.access_token, before.refresh_token, client_id=before.client_id, expires_at=1.0)
        await store.save(ACCOUNT, given)
        child = context().Process(target=renew, args=(sandbox.url, str(tmp_path)), daemon=True)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, child.start)
        try:
            await until(lambda: sandbox.oauth.renewals)
        finally:
            child.kill()
            await loop.run_in_executor(None, child.join)
        assert await store.load(ACCOUNT) == given, "the answer was on its way"

        # Its lock died with it, and nothing but a person can help.
        async with Client(store, base_url=sandbox.url, limits=None) as client:
            with pytest.raises(ReconnectRequired) as caught:
                await client.create("1", CAT, account=ACCOUNT)
            assert "xmediameta login --account alice" in str(caught.value)
            assert (await store.notes(ACCOUNT)).trouble is not None
            assert sandbox.applied == {}
        await login(sandbox, store)
        async with Client(store, base_url=sandbox.url, limits=None) as client:
            await client.create("1", CAT, account=ACCOUNT)
        assert set(sandbox.applied) == {"1"}
