"""One process at a time works on a run; the lock dies with its holder.

The lock is an exclusive transaction on a small SQLite file beside the journal: SQLite's file locks work alike on all
systems and are dropped by the system when the process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from xmediameta.errors import JournalError


class RunLock:
    """Holds a run of a journal until `release`.

    Args:
        journal: the journal's path.
        name: of the run.
        holder: who is named where another process has it.

    Raises:
        JournalError: another process has the run.
    """

    def __init__(self, journal: Path, name: str, holder: str) -> None:
        tag = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        self._path = journal.with_name(f"{journal.name}-{tag}.lock")
        self._db = sqlite3.connect(self._path, timeout=0.0, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            self._db.close()
            if "locked" in str(error):
                raise JournalError(f"the run {name!r} is under way already{holder}") from None
            raise

    def release(self) -> None:
        """Let others have the run. The file stays: to remove it could take the lock from under somebody else."""
        self._db.close()
