"""Where tokens are kept: in memory, behind callbacks, in files, in the keyring."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import PasswordDeleteError

from xmediameta import (
    AuthError,
    BearerToken,
    CallbackStore,
    Credential,
    FileStore,
    KeyringStore,
    MemoryStore,
    MissingExtra,
    OAuth2Token,
    RefreshFailed,
    StoredToken,
    TokenStore,
)
from xmediameta.credentials import veiled
from xmediameta.tokens.files import accounts_path
from xmediameta.tokens.lock import held

CANARY = "canary-7f3a9c51d20e"


def pair(number: int = 1) -> OAuth2Token:
    return OAuth2Token(f"{CANARY}-access-{number}", f"{CANARY}-refresh-{number}", client_id="app", expires_at=1.5)


async def keeps(store: TokenStore) -> None:
    """What every store does."""
    assert isinstance(store, TokenStore)
    assert await store.load("ana") is None
    await store.save("ana", pair())
    await store.save("bob/../../x é", BearerToken(f"{CANARY}-bearer"))
    assert await store.load("ana") == pair()
    assert await store.load("bob/../../x é") == BearerToken(f"{CANARY}-bearer")
    assert list(await store.names()) == ["ana", "bob/../../x é"]
    await store.save("ana", pair(2))
    assert await store.load("ana") == pair(2)
    async with store.lock("ana"), store.lock("bob/../../x é"):
        pass
    assert await store.remove("bob/../../x é")
    assert not await store.remove("bob/../../x é")
    assert list(await store.names()) == ["ana"]
    assert CANARY not in repr(store)


async def test_memory() -> None:
    await keeps(MemoryStore())


async def test_callbacks() -> None:
    table: dict[str | None, dict[str, object]] = {}

    async def load(name: str | None) -> OAuth2Token | None:
        return OAuth2Token.from_dict(table[name]) if name in table else None

    async def save(name: str | None, token: Credential) -> None:
        assert isinstance(token, OAuth2Token)
        table[name] = token.as_dict()

    store = CallbackStore(load, save)
    assert isinstance(store, TokenStore)
    assert await store.load("ana") is None
    await store.save("ana", pair())
    assert await store.load("ana") == pair()
    assert await store.names() == []
    assert await store.remove("ana") is False
    async with store.lock("ana"), store.lock("bob"):
        pass


async def test_the_only_account_serves_updates_that_name_none() -> None:
    store = MemoryStore({"ana": pair()})
    found = await StoredToken.load(store, None)
    assert found is not None
    assert found.name == "ana"
    await store.save("bob", pair())
    assert await StoredToken.load(store, None) is None
    await store.save(None, pair(2))
    found = await StoredToken.load(store, None)
    assert found is not None
    assert (found.name, found.token) == (None, pair(2))


async def test_a_store_as_a_function() -> None:
    auth = veiled(MemoryStore({"ana": pair()}))
    assert await auth("ana") == pair()
    with pytest.raises(LookupError):
        await auth("bob")


class TestFiles:
    async def test_they_are_kept(self, tmp_path: Path) -> None:
        store = FileStore(tmp_path / "a" / "b")
        assert await store.names() == []
        await keeps(store)

    @pytest.mark.skipif(os.name != "posix", reason="permissions")
    async def test_nobody_else_reads_them(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            store = FileStore(tmp_path / "accounts")
            await store.save("ana", pair())
            async with store.lock("ana"):
                modes = {stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()}
        finally:
            os.umask(before)
        assert modes == {0o600}
        assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700

    @pytest.mark.skipif(os.name != "posix", reason="permissions")
    async def test_nor_what_is_written_beside_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As it lies there when the process is killed before the renaming."""
        before = os.umask(0)
        monkeypatch.setattr("xmediameta.tokens.files._renamed", lambda *_: None)
        try:
            await FileStore(tmp_path).save("ana", pair())
        finally:
            os.umask(before)
        (left,) = tmp_path.iterdir()
        assert left.suffix == ".tmp"
        assert stat.S_IMODE(left.stat().st_mode) == 0o600
        assert CANARY in left.read_text()
        assert await FileStore(tmp_path).load("ana") is None

    @pytest.mark.skipif(os.name != "posix", reason="permissions")
    async def test_that_others_can_read_them_is_told_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = FileStore(tmp_path)
        await store.save("ana", pair())
        (path,) = tmp_path.glob("*.json")
        path.chmod(0o644)
        caplog.set_level(logging.WARNING, "xmediameta")
        for _ in range(2):
            assert await store.load("ana") == pair()
        (record,) = caplog.records
        assert record.getMessage() == f"other users of this machine can read {path}, which holds tokens; chmod 600 it"
        await store.save("ana", pair(2))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def test_what_a_killed_process_left_is_cleared_away(self, tmp_path: Path) -> None:
        store = FileStore(tmp_path)
        await store.save("ana", pair())
        (path,) = tmp_path.glob("*.json")
        left = tmp_path / f".{path.stem}.123-abcdef.tmp"
        left.write_bytes(CANARY.encode())
        assert list(await store.names()) == ["ana"]
        await store.save("ana", pair(2))
        assert sorted(tmp_path.iterdir()) == [path]

    async def test_a_write_that_fails_leaves_the_old_token(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = FileStore(tmp_path)
        await store.save("ana", pair())

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", full)
            with pytest.raises(AuthError, match=r"cannot be written: No space left on device") as caught:
                await store.save("ana", pair(2))
        assert CANARY not in str(caught.value)
        assert await store.load("ana") == pair()
        assert len(list(tmp_path.iterdir())) == 1

    async def test_a_damaged_file_is_told_and_can_be_written_over(self, tmp_path: Path) -> None:
        store = FileStore(tmp_path)
        await store.save("ana", pair())
        (path,) = tmp_path.glob("*.json")
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(AuthError, match="is damaged") as caught:
            await store.load("ana")
        assert CANARY not in str(caught.value)
        await store.save("ana", pair(2))
        assert await store.load("ana") == pair(2)

    async def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(AuthError, match="cannot be made"):
            await FileStore(tmp_path / "file" / "accounts").save("ana", pair())

    async def test_notes_outlive_a_renewal(self, tmp_path: Path) -> None:
        store = FileStore(tmp_path)
        assert (await store.notes("ana")).used_at is None
        await store.save("ana", pair())
        before = time.time()
        await store.note("ana")
        await store.note("ana", trouble="it is spent")
        notes = await store.notes("ana")
        assert notes.used_at is not None
        assert notes.used_at >= before
        assert notes.trouble == "it is spent"
        await store.save("ana", pair(2))
        assert (await store.notes("ana")).used_at == notes.used_at
        assert (await store.notes("ana")).trouble is None

    async def test_the_default_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XMEDIAMETA_ACCOUNTS", str(tmp_path / "mine"))
        assert FileStore().folder == tmp_path / "mine"
        monkeypatch.delenv("XMEDIAMETA_ACCOUNTS")
        assert accounts_path().parts[-2:] == ("xmediameta", "accounts")
        monkeypatch.setitem(sys.modules, "platformdirs", None)
        with pytest.raises(MissingExtra, match=r"xmediameta\[cli\]"):
            FileStore()


class TestLock:
    async def test_one_at_a_time(self, tmp_path: Path) -> None:
        inside = most = 0

        async def work() -> None:
            nonlocal inside, most
            async with held(tmp_path / "one.json"):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                inside -= 1

        await asyncio.gather(*(work() for _ in range(8)))
        assert most == 1
        assert list(tmp_path.iterdir()) == []

    async def test_whoever_waits_too_long_is_told(self, tmp_path: Path) -> None:
        async with held(tmp_path / "one.json"):
            with pytest.raises(RefreshFailed, match="another process has held"):
                async with held(tmp_path / "one.json", patience=0.05):
                    pass
            async with held(tmp_path / "another.json", patience=0.05):
                pass

    async def test_whoever_is_cancelled_holds_nothing(self, tmp_path: Path) -> None:
        async with held(tmp_path / "one.json"):
            task = asyncio.create_task(held(tmp_path / "one.json").__aenter__())
            await asyncio.sleep(0.03)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with held(tmp_path / "one.json", patience=0.05):
            pass


class Ring(KeyringBackend):
    """A keyring in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.broken = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.broken:
            raise RuntimeError("locked")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.broken:
            raise RuntimeError(f"cannot keep {password}")
        assert type(password) is str
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError(username)


@pytest.fixture
def ring() -> Iterator[Ring]:
    before = keyring.get_keyring()
    made = Ring()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


class TestKeyring:
    async def test_it_keeps_them(self, ring: Ring, tmp_path: Path) -> None:
        await keeps(KeyringStore("test", locks=tmp_path))
        assert {service for service, _ in ring.kept} == {"test"}
        assert [path for path in tmp_path.rglob("*") if CANARY.encode() in path.read_bytes()] == []

    async def test_a_keyring_that_is_locked(self, ring: Ring, tmp_path: Path) -> None:
        ring.broken = True
        store = KeyringStore(locks=tmp_path)
        for call in (store.load("ana"), store.names(), store.save("ana", pair())):
            with pytest.raises(AuthError, match="the keyring cannot be used") as caught:
                await call
            assert CANARY not in str(caught.value)

    async def test_the_extra_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "keyring", None)
        with pytest.raises(MissingExtra, match=r"xmediameta\[keyring\]"):
            KeyringStore(locks=tmp_path)
