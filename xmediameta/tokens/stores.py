"""Stores in memory and behind callbacks. Those on disk and in the system's keyring have files of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from xmediameta.credentials import Credential, TokenStore

__all__ = ["CallbackStore", "MemoryStore", "TokenStore", "only_name"]

Load = Callable[[str | None], Awaitable[Credential | None]]
Save = Callable[[str | None, Credential], Awaitable[None]]
Names = Callable[[], Awaitable[Sequence[str]]]
Remove = Callable[[str | None], Awaitable[bool]]
Lock = Callable[[str | None], AbstractAsyncContextManager[None]]


class MemoryStore:
    """Tokens of this process, gone when it ends: for tests, and for tokens that somebody else keeps.

    Args:
        tokens: by account.
    """

    def __init__(self, tokens: Mapping[str | None, Credential] | None = None) -> None:
        self._tokens = dict(tokens or {})
        self._locks: dict[str | None, asyncio.Lock] = {}

    async def load(self, name: str | None) -> Credential | None:
        """What is kept for an account now, or None."""
        return self._tokens.get(name)

    async def save(self, name: str | None, token: Credential) -> None:
        """Keep it, in place of what was kept."""
        self._tokens[name] = token

    async def names(self) -> Sequence[str]:
        """The accounts."""
        return [name for name in self._tokens if name is not None]

    async def remove(self, name: str | None) -> bool:
        """Keep nothing for an account any more; whether there was anything."""
        return self._tokens.pop(name, None) is not None

    def lock(self, name: str | None) -> AbstractAsyncContextManager[None]:
        """Held while a token is renewed."""
        return cast("AbstractAsyncContextManager[None]", self._locks.setdefault(name, asyncio.Lock()))

    def __repr__(self) -> str:
        return f"<MemoryStore of {len(self._tokens)} accounts>"


class CallbackStore:
    """Tokens that you keep yourself, in a database for instance.

    Args:
        load: gives what is kept for an account, or None.
        save: keeps a new pair, and returns when it is safe there: the old refresh token is worth nothing any more.
        names, remove: for those who want to list and forget accounts through it.
        lock: an async context manager that lets one process at a time renew the token of an account. Without one only
            this process is orderly: use it where several share the tokens (a row lock or an advisory lock does).
    """

    def __init__(
        self,
        load: Load,
        save: Save,
        *,
        names: Names | None = None,
        remove: Remove | None = None,
        lock: Lock | None = None,
    ) -> None:
        self._load, self._save, self._names, self._remove, self._lock = load, save, names, remove, lock
        self._locks: dict[str | None, asyncio.Lock] = {}

    async def load(self, name: str | None) -> Credential | None:
        """What is kept for an account now, or None."""
        return await self._load(name)

    async def save(self, name: str | None, token: Credential) -> None:
        """Keep it, in place of what was kept."""
        await self._save(name, token)

    async def names(self) -> Sequence[str]:
        """The accounts; none without the callback for it."""
        return [] if self._names is None else await self._names()

    async def remove(self, name: str | None) -> bool:
        """Keep nothing for an account any more; False without the callback for it."""
        return False if self._remove is None else await self._remove(name)

    @asynccontextmanager
    async def lock(self, name: str | None) -> AsyncGenerator[None]:
        """Held while a token is renewed."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            if self._lock is None:
                yield
            else:
                async with self._lock(name):
                    yield

    def __repr__(self) -> str:
        return "<CallbackStore>"


async def only_name(store: TokenStore) -> str | None:
    """The account of updates that name none: the only one that is kept, where there is but one."""
    names = await store.names()
    return names[0] if len(names) == 1 else None
