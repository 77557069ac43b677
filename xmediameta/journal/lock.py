"""One process at a time works on a run; the lock dies with its holder.

The lock is an exclusive transaction on an empty SQLite file beside the journal: SQLite's locks work alike on all
systems, hold within one process too, and are dropped by the system when the process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_TRIES: Final = 100
_PATIENCE: Final = 0.3  # seconds; whoever looks whether a run is held reads the file for a moment


class RunLock:
    """The lock of one run of a journal.

    Args:
        journal: the journal's path, without links.
        name: of the run.
        patience: seconds for which `acquire` waits, and holds up its thread.
    """

    def __init__(self, journal: Path, name: str, *, patience: float = _PATIENCE) -> None:
        tag = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        self.path = journal.with_name(f"{journal.name}-{tag}.lock")
        self._patience = patience
        self._db: sqlite3.Connection | None = None

    def acquire(self) -> bool:
        """Take the run; False if another holder has it.

        Raises:
            sqlite3.Error, OSError: the lock's file cannot be used.
        """
        for tries_left in reversed(range(_TRIES)):
            # Only a file of our own making is opened by hand: to close one that SQLite has open drops its locks.
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with self._pinned() as before:
                db = sqlite3.connect(self.path, timeout=self._patience, isolation_level=None, check_same_thread=False)
                try:
                    db.execute("BEGIN EXCLUSIVE")
                except BaseException as error:
                    db.close()
                    code = error.sqlite_errorcode & 0xFF if isinstance(error, sqlite3.OperationalError) else None
                    if code == sqlite3.SQLITE_BUSY:
                        return False
                    # SQLite finds its file gone (SQLITE_IOERR_FSTAT) where the last holder removes it at this moment.
                    if code == sqlite3.SQLITE_IOERR and tries_left:
                        continue
                    raise
                # The last holder may have removed the file between its opening and its locking.
                if before is not None and before == self._identity():
                    self._db = db
                    return True
                db.close()
        raise OSError(f"{self.path} does not stay where it is")

    def release(self) -> None:
        """Let others have the run. Without the lock it does nothing."""
        db, self._db = self._db, None
        if db is None:
            return
        # While it is held nobody else can lock what is removed; Windows removes only what is closed.
        if os.name == "nt":
            db.close()
        with suppress(OSError):
            self.path.unlink()
        db.close()

    def is_held(self) -> bool:
        """Whether somebody has it now. It is only looked at: whoever takes it at this moment is not refused.

        Raises:
            sqlite3.Error: that cannot be told.
        """
        if self._db is not None:
            return True
        if self._identity() is None:
            return False
        db = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, timeout=0.0)
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return True
            if self._identity() is None:  # it was let go at this moment
                return False
            raise
        finally:
            db.close()
        return False

    @contextmanager
    def _pinned(self) -> Generator[tuple[int, int] | None]:
        """The identity of the file; while this lasts no other file gets it, though this one may be removed.

        Linux gives the number of a removed file to the next one made, and the third file in a row would pass for the
        first. (Other systems are slow to use one again.) To close what is open as a path alone drops no locks.
        """
        if sys.platform != "linux":
            yield self._identity()
            return
        kept: int | None = None
        with suppress(FileNotFoundError):
            kept = os.open(self.path, os.O_PATH | os.O_CLOEXEC)
        try:
            stat = None if kept is None else os.fstat(kept)
            yield None if stat is None else (stat.st_dev, stat.st_ino)
        finally:
            if kept is not None:
                os.close(kept)

    def _identity(self) -> tuple[int, int] | None:
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return None
        return stat.st_dev, stat.st_ino
