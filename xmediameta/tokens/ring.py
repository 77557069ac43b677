"""Accounts in the system's keyring (extra [keyring]), which is locked with the person's session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from xmediameta.credentials import Credential, Secret
from xmediameta.errors import AuthError, MissingExtra
from xmediameta.text import printable

from .files import FileStore, accounts_path
from .records import credential_of, read, record_of, written

T = TypeVar("T")

_SERVICE: Final = "xmediameta"
# Under this name stands the list of the others, since a keyring cannot tell what it holds. No account is called so.
_INDEX: Final = "\x00accounts"


class KeyringStore:
    """Accounts in the system's keyring.

    Args:
        service: what they are filed under.
        locks: a folder for the locks between processes, which a keyring has none of; by default the person's own.

    Raises:
        MissingExtra: the extra [keyring] is not installed.
    """

    def __init__(self, service: str = _SERVICE, *, locks: Path | None = None) -> None:
        try:
            self._ring: Any = import_module("keyring")
        except ModuleNotFoundError:
            self._ring = None
        if self._ring is None:
            raise MissingExtra("the system's keyring", "keyring")
        self._service = service
        self._files = FileStore(accounts_path() if locks is None else locks)

    async def load(self, name: str | None) -> Credential | None:
        """What is kept for an account now, or None.

        Raises:
            AuthError: the keyring cannot be used, or what it holds is damaged.
        """
        raw = await self._do(self._get, _entry(name))
        where = f"what the keyring holds for {_shown(name)}"
        return None if raw is None else credential_of(read(raw.encode(), where), where)

    async def save(self, name: str | None, token: Credential) -> None:
        """Keep it, in place of what was kept.

        Raises:
            AuthError: the keyring cannot be used.
        """
        text = Secret(written(record_of(name, token)).decode())
        await self._do(self._set, _entry(name), text)
        if name is not None:
            async with self._files.lock(_INDEX):
                names = await self.names()
                if name not in names:
                    await self._list([*names, name])

    async def names(self) -> Sequence[str]:
        """The accounts, in alphabetical order."""
        listed = await self._do(self._get, _INDEX)
        try:
            return sorted(msgspec.json.decode(listed.encode(), type=list[str])) if listed is not None else []
        except msgspec.DecodeError:
            raise AuthError("the keyring's list of accounts is damaged: log the accounts in again") from None

    async def remove(self, name: str | None) -> bool:
        """Keep nothing for an account any more; whether there was anything."""
        async with self.lock(name):
            there = await self._do(self._get, _entry(name)) is not None
            if there:
                await self._do(self._ring.delete_password, self._service, _entry(name))
        async with self._files.lock(_INDEX):
            names = await self.names()
            if name in names:
                await self._list([other for other in names if other != name])
        return there

    def lock(self, name: str | None) -> AbstractAsyncContextManager[None]:
        """Held while a token is renewed, by one process at a time."""
        return self._files.lock(f"{self._service}/{_entry(name)}")

    async def _list(self, names: list[str]) -> None:
        await self._do(self._set, _INDEX, Secret(msgspec.json.encode(sorted(names)).decode()))

    def _get(self, entry: str) -> Secret | None:
        found = self._ring.get_password(self._service, entry)
        return None if found is None else Secret(found)

    def _set(self, entry: str, text: Secret) -> None:
        self._ring.set_password(self._service, entry, str(text))

    async def _do(self, call: Callable[..., T], *given: object) -> T:
        """Call the keyring in a thread: it may ask the person to unlock it."""
        failed = ""
        try:
            return await asyncio.to_thread(call, *given)
        except Exception as error:  # noqa: BLE001 - each keyring raises its own
            said = str(error)
            for secret in given:
                said = said.replace(secret, "****") if isinstance(secret, Secret) else said
            failed = f"{type(error).__name__}: {printable(said, 200)}"
        raise AuthError(f"the keyring cannot be used ({failed})")

    def __repr__(self) -> str:
        return f"<KeyringStore {printable(self._service, 60)}>"


def _entry(name: str | None) -> str:
    return "" if name is None else name


def _shown(name: str | None) -> str:
    return "the account" if name is None else printable(name, 80)
