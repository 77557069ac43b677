"""A lock across processes for one account: that of the journal's runs, waited for without holding up the loop."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from xmediameta.errors import AuthError, RefreshFailed
from xmediameta.journal.lock import RunLock
from xmediameta.text import printable

# Longer than whoever holds it may take: four token requests of 30 s, with pauses, and their storing.
_PATIENCE: Final = 150.0
_LEAST: Final = 0.01
_MOST: Final = 0.1


@asynccontextmanager
async def held(path: Path, patience: float = _PATIENCE) -> AsyncGenerator[None]:
    """Hold the lock beside a path; it dies with its process.

    Raises:
        RefreshFailed: another process has held it for too long.
        AuthError: the lock's file cannot be used.
    """
    lock = RunLock(path, "refresh", patience=0.0)
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    pause = _LEAST
    # In this thread: it is a matter of a millisecond, and nobody can be cancelled between taking and having it.
    while not _acquired(lock):
        if loop.time() >= until:
            raise RefreshFailed(f"another process has held {printable(str(lock.path))} for {patience:g} s")
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(_MOST, 1.5 * pause)
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: RunLock) -> bool:
    try:
        return lock.acquire()
    except (OSError, sqlite3.Error) as error:
        raise AuthError(f"the lock {printable(str(lock.path))} cannot be used: {printable(str(error), 200)}") from None
