"""The file of a journal: opened, checked before anything is written to it, and made if it is new.

WAL with `synchronous=NORMAL`: a killed process loses nothing that was committed, a power cut may lose the last few
commits, which are then sent again. A new file gets its tables before it becomes a WAL file, so that its header always
tells what it is, also after a kill.

A process loses its locks on a file as soon as it closes any descriptor of it (POSIX, fcntl), so nothing here opens a
journal's file by hand while SQLite has it open in this process.
"""

from __future__ import annotations

import sqlite3
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from xmediameta.errors import JournalError
from xmediameta.text import printable

from .places import make_room
from .schema import APPLICATION_ID, OLDEST_SQLITE, TABLES, UPGRADES, VERSION

_PATIENCE: Final = 60.0  # seconds that a writer waits for another; loading a million rows takes several in one go
_CACHE: Final = 16 << 10  # KiB; SQLite sorts in as much memory before it turns to the disk
_LOG_LIMIT: Final = 64 << 20  # bytes that are left to the log after a large transaction
# Commits write the same few pages again and again; the rarer they are copied from the log, the fewer are copied.
_LOG_PAGES: Final = 4_000
_MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = 100
# A whole check reads the whole file, about a second per gigabyte; a larger file is checked where it is used.
_CHECKED: Final = 64 << 20
_BATCH: Final = 5_000
_STATEMENTS: Final = 300  # kept compiled: outcomes are recorded with one for each number of rows
_STEPS: Final = 200_000  # of SQLite's machine, between two looks at whether to go on

_opening: Final = threading.Lock()
_open_files: Final[Counter[tuple[int, int]]] = Counter()


def now_text() -> str:
    """The time as the journal writes it."""
    return time_text(datetime.now(UTC))


def time_text(when: datetime | float) -> str:
    """An aware time, or Unix seconds, as the journal writes it."""
    moment = when if isinstance(when, datetime) else datetime.fromtimestamp(when, UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def failure(path: Path, error: BaseException) -> JournalError:
    """A failure of SQLite or the system, in words."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    number = getattr(error, "errno", None)
    what = {
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_CORRUPT: "the file is damaged",
        sqlite3.SQLITE_NOTADB: "the file is damaged, or no journal",
        sqlite3.SQLITE_READONLY: "it cannot be written",
        sqlite3.SQLITE_PERM: "it cannot be written",
        sqlite3.SQLITE_CANTOPEN: "it, or the files that SQLite keeps beside it, cannot be opened",
        sqlite3.SQLITE_BUSY: f"another process has kept it locked for {_PATIENCE:.0f} s",
        sqlite3.SQLITE_IOERR: "it cannot be read or written (an error of the disk, or no space left)",
    }.get(primary if primary is not None else -1)
    if number in {28, 122}:  # ENOSPC, EDQUOT
        what = "the disk is full"
    if what is None:
        what = printable(str(error)) or type(error).__name__
    return JournalError(f"the journal {printable(str(path))}: {what}")


class JournalFile:
    """One connection to a journal's file.

    Args:
        path: of the file; it is made if it is not there.

    Raises:
        JournalError: it cannot be opened, is damaged, is something else, or comes from a newer version; it is then as
            it was.
    """

    def __init__(self, path: Path) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise JournalError(f"a journal needs SQLite 3.31 or newer; this Python has {sqlite3.sqlite_version}")
        # Later changes of the current folder, and links, are of no account.
        self.path = path.absolute().resolve()
        with _opening:
            make_room(self.path)
            stat = self.path.stat()
            self._key = stat.st_dev, stat.st_ino
            try:
                if not _open_files[self._key]:
                    _check_header(self.path)
                self.db = sqlite3.connect(
                    self.path,
                    isolation_level=None,
                    timeout=_PATIENCE,
                    check_same_thread=False,
                    cached_statements=_STATEMENTS,
                    uri=True,  # for what is attached; an absolute path is none
                )
            except (sqlite3.Error, OSError) as error:
                raise failure(self.path, error) from error
            _open_files[self._key] += 1
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise failure(self.path, error) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file. To close it again does nothing."""
        with _opening:
            self.db.close()
            if self._key != (-1, -1):
                _open_files[self._key] -= 1
                self._key = -1, -1

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """All of it or nothing."""
        db = self.db
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            # What failed may have ended the transaction already, and a full disk fails again.
            with suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            raise

    @contextmanager
    def interruptible(self, stopped: Callable[[], bool]) -> Generator[None]:
        """Statements within end with an error soon after `stopped` has become true (in whichever thread)."""
        self.db.set_progress_handler(stopped, _STEPS)
        try:
            yield
        finally:
            self.db.set_progress_handler(None, 0)

    def one(self, statement: str, *values: object) -> Any:
        """The first column of the first row, or None."""
        row = self.db.execute(statement, values).fetchone()
        return None if row is None else row[0]

    def _prepare(self) -> None:
        if self._empty():
            with self.transaction() as db:
                if self._empty():  # and not made by another process meanwhile
                    for statement in TABLES:
                        db.execute(statement)
                    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    db.execute(f"PRAGMA user_version = {VERSION}")
        _check_kind(self.path, self.one("PRAGMA application_id"), self.one("PRAGMA user_version"))
        if self.path.stat().st_size <= _CHECKED and self.one("PRAGMA quick_check(1)") != "ok":
            raise JournalError(f"the journal {printable(str(self.path))}: the file is damaged")
        self._use_log()
        self._upgrade()
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.execute(f"PRAGMA cache_size = -{_CACHE}")
        self.db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        self.db.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT}")
        self.db.execute("PRAGMA temp_store = FILE")
        # Else what is deleted is overwritten first; alt texts are meant for everybody.
        self.db.execute("PRAGMA secure_delete = OFF")

    def _empty(self) -> bool:
        return not self.one("PRAGMA application_id") and not self.one("SELECT count(*) FROM sqlite_master")

    def _upgrade(self) -> None:
        """Bring a journal of an earlier version up to this one, all of it or nothing."""
        if self.one("PRAGMA user_version") == VERSION:
            return
        with self.transaction() as db:
            for version in range(
                self.one("PRAGMA user_version"), VERSION
            ):  # another process may have done it meanwhile
                for statement in UPGRADES[version]:
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {version + 1}")

    def _use_log(self) -> None:
        """Switch to WAL, once for the file. SQLite does not wait where another process is doing the same."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self.db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return


class Changes:
    """Many changes of one kind, made in batches.

    Args:
        statement: with one place for each value of a change.
    """

    def __init__(self, db: sqlite3.Connection, statement: str) -> None:
        self._db = db
        self._statement = statement
        self._waiting: list[tuple[object, ...]] = []

    def add(self, changes: Iterable[tuple[object, ...]]) -> None:
        """Make these changes, now or with later ones."""
        self._waiting.extend(changes)
        if len(self._waiting) >= _BATCH:
            self.make()

    def make(self) -> None:
        """Make what is left."""
        if self._waiting:
            self._db.executemany(self._statement, self._waiting)
            self._waiting.clear()


def _check_header(path: Path) -> None:
    """Refuse what is no journal of ours without SQLite, which may change what it opens."""
    with path.open("rb") as file:
        header = file.read(_HEADER)
    if not header:
        return
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        raise JournalError(f"the journal {printable(str(path))}: the file is damaged, or no journal")
    version, application = struct.unpack_from(">I4xI", header, 60)
    _check_kind(path, application, version)
    size, pages = struct.unpack_from(">H10xI", header, 16)
    # With a log beside it the file may be shorter than it says: what is missing is in the log, or is rolled back.
    logs = (path.with_name(path.name + ending) for ending in ("-wal", "-journal"))
    whole = path.stat().st_size >= (65536 if size == 1 else size) * pages
    if not whole and not any(log.exists() and log.stat().st_size for log in logs):
        raise JournalError(f"the journal {printable(str(path))}: the file is damaged: its end is missing")


def _check_kind(path: Path, application: int, version: int) -> None:
    shown = printable(str(path))
    if application != APPLICATION_ID:
        raise JournalError(f"{shown} is an SQLite file, but not a journal of xmediameta")
    if not version:
        raise JournalError(f"{shown} is damaged, or a journal of no version of xmediameta")
    if version > VERSION:
        raise JournalError(
            f"{shown} was written by a newer version of xmediameta (schema {version}, this one knows {VERSION})"
        )
