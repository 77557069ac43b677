"""The default store: a folder with one file for each account, readable by nobody else.

A file is written beside its place, synced, and renamed over it, so that a crash leaves the old token or the new one,
and never half of one. Accounts have files of their own, so that two of them never wait for each other.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Final

from xmediameta.credentials import Credential
from xmediameta.errors import AuthError, ConfigurationError, MissingExtra
from xmediameta.text import printable

from .lock import held
from .records import Notes, Record, Sealed, credential_of, read, record_of, written

ENVIRONMENT: Final = "XMEDIAMETA_ACCOUNTS"
# In the place of a folder: the accounts of this person are in the system's keyring.
KEYRING: Final = "keyring"
_LONGEST: Final = 1 << 20
_SUFFIX: Final = ".json"
_TRIES: Final = 50
_PAUSE: Final = 0.02

log: Final = logging.getLogger("xmediameta")


def accounts_path() -> Path:
    """The folder of the person's accounts: from `XMEDIAMETA_ACCOUNTS`, or in the platform's place for state.

    Raises:
        MissingExtra: the default place needs platformdirs, of the extra [cli].
    """
    named = os.environ.get(ENVIRONMENT)
    if named and named != KEYRING:
        return Path(named).expanduser()
    try:
        from platformdirs import user_state_path  # noqa: PLC0415 - of an extra
    except ImportError:
        raise MissingExtra("the default place of the accounts", "cli") from None
    return user_state_path("xmediameta", appauthor=False) / "accounts"


class FileStore:
    """Accounts in a folder, one file each.

    Args:
        folder: by default the person's own, which `xmediameta login` fills; made when first written to.

    Raises:
        ConfigurationError: by default, where `XMEDIAMETA_ACCOUNTS` says that the accounts are in the keyring.
        MissingExtra: the default folder needs the extra [cli].
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        if folder is None and os.environ.get(ENVIRONMENT) == KEYRING:
            raise ConfigurationError(f"{ENVIRONMENT} is {KEYRING}: use KeyringStore(), or name the folder")
        self.folder = Path(folder) if folder is not None else accounts_path()
        self._warned: set[Path] = set()

    async def load(self, name: str | None) -> Credential | None:
        """What is kept for an account now, or None.

        Raises:
            AuthError: the file is damaged or cannot be read.
        """
        path = self._path(name)
        record = await asyncio.to_thread(self._read, path)
        return None if record is None else credential_of(record, _shown(path))

    async def save(self, name: str | None, token: Credential) -> None:
        """Keep it, in place of what was kept; it is on the disk when this returns.

        Raises:
            AuthError: it cannot be written.
        """
        path = self._path(name)
        record = record_of(name, token)
        await asyncio.to_thread(self._write_on, path, record)

    async def names(self) -> Sequence[str]:
        """The accounts, in alphabetical order.

        Raises:
            AuthError: a file is damaged or cannot be read.
        """
        return await asyncio.to_thread(self._names)

    async def remove(self, name: str | None) -> bool:
        """Keep nothing for an account any more; whether there was anything."""
        path = self._path(name)
        async with self.lock(name):
            return await asyncio.to_thread(self._remove, path)

    def lock(self, name: str | None) -> AbstractAsyncContextManager[None]:
        """Held while a token is renewed, by one process at a time."""
        self._make_folder()
        return held(self._path(name))

    # Notes for people

    async def notes(self, name: str | None) -> Notes:
        """When an account was last used, and whether somebody must log in."""
        record = await asyncio.to_thread(self._read, self._path(name))
        return Notes() if record is None else Notes(record.used_at, record.trouble)

    async def note(self, name: str | None, *, trouble: str | None = None) -> None:
        """Note that an account is used now, or why it cannot be; the caller holds its lock."""
        path = self._path(name)
        await asyncio.to_thread(self._note, path, trouble)

    # Files

    def _path(self, name: str | None) -> Path:
        """Names may be anything, so a digest makes the difference and the rest is for people."""
        if name is None:
            return self.folder / f"default{_SUFFIX}"
        plain = re.sub(r"[^a-z0-9_-]+", "-", name.lower())[:40].strip("-")
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
        return self.folder / f"{plain or 'account'}-{digest}{_SUFFIX}"

    def _read(self, path: Path) -> Record | None:
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                raw = Sealed(file.read(_LONGEST))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuthError(f"{_shown(path)} cannot be read: {error.strerror}") from None
        if os.name == "posix" and mode & 0o077 and path not in self._warned:
            self._warned.add(path)
            log.warning("other users of this machine can read %s, which holds tokens; chmod 600 it", _shown(path))
        return read(raw, _shown(path))

    def _write_on(self, path: Path, record: Record) -> None:
        """Write a new token; when the account was last used stays noted."""
        with suppress(AuthError):  # a damaged file is written over
            before = self._read(path)
            record.used_at = None if before is None else before.used_at
        self._write(path, record)

    def _write(self, path: Path, record: Record) -> None:
        self._make_folder()
        temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            # What a process that was killed has left; whoever writes holds the lock.
            for left in self.folder.glob(f".{path.stem}.*.tmp"):
                left.unlink(missing_ok=True)
            with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(written(record))
                file.flush()
                os.fsync(file.fileno())
            _renamed(temporary, path)
            self._sync_folder()
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise AuthError(f"{_shown(path)} cannot be written: {error.strerror}") from None

    def _names(self) -> list[str]:
        records = [self._read(path) for path in sorted(self.folder.glob(f"*{_SUFFIX}"))]
        return sorted(record.account for record in records if record is not None and record.account is not None)

    def _remove(self, path: Path) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise AuthError(f"{_shown(path)} cannot be removed: {error.strerror}") from None
        self._sync_folder()
        return True

    def _note(self, path: Path, trouble: str | None) -> None:
        record = self._read(path)
        if record is not None:
            record.trouble = trouble
            if trouble is None:
                record.used_at = time.time()
            self._write(path, record)

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            mode = self.folder.stat().st_mode
        except OSError as error:
            raise AuthError(f"the folder {_shown(self.folder)} cannot be made: {error.strerror}") from None
        if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH) and self.folder not in self._warned:
            self._warned.add(self.folder)
            log.warning("others can write to %s, where tokens are kept; chmod 700 it", _shown(self.folder))

    def _sync_folder(self) -> None:
        """Bring the renaming to the disk, where the system can."""
        if os.name != "posix":
            return
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def __repr__(self) -> str:
        return f"<FileStore {_shown(self.folder)}>"


def _renamed(temporary: Path, path: Path) -> None:
    """Put a file in the place of another. Windows refuses that while somebody reads the other, which is soon over."""
    for _ in range(_TRIES if os.name == "nt" else 0):
        try:
            temporary.replace(path)
        except PermissionError:
            time.sleep(_PAUSE)
        else:
            return
    temporary.replace(path)


def _shown(path: Path) -> str:
    return printable(str(path), 300)
