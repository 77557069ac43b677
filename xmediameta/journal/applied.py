"""What nearly every commit is, in one statement: rows that were applied, how the windows stand, and what was spent.

SQLite lets go of the interpreter for each step of a statement, and has to win it back from a busy loop each time: six
statements are that often in the loop's way. A statement by itself is a transaction, too; one that writes to several
tables is an INSERT into a view whose trigger does so. View and trigger are the connection's own, not the file's.

What a media id was sent is what stands in its row, unless something else was sent in its place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from .records import DIGEST
from .schema import SURE

Outcome = tuple[int, int, str | None, float | None]  # task, attempts, transaction_id, seconds
# task, `sent.unsure`, where its digest begins in `digests` (from 1; None: that of its row)
Unsure = tuple[int, int, int | None]

_VIEW: Final = (
    "CREATE TEMP VIEW IF NOT EXISTS told (at, outcomes, sure, unsure, digests, windows, requests, retries, run, newest)"
    " AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
)
# Of a media id with several rows in one commit, the one that is sure is the last.
_TRIGGER: Final = f"""
    CREATE TEMP TRIGGER IF NOT EXISTS tell INSTEAD OF INSERT ON told BEGIN
        SELECT RAISE(ABORT, 'another run has begun') WHERE (SELECT max(sitting) FROM run) <> NEW.newest;
        INSERT OR REPLACE INTO outcome (task, state, settled_at, attempts, transaction_id, seconds)
            SELECT json_extract(value, '$[0]'), 'applied', NEW.at, json_extract(value, '$[1]'),
                json_extract(value, '$[2]'), json_extract(value, '$[3]')
            FROM json_each(NEW.outcomes);
        INSERT OR REPLACE INTO sent (account, media_id, digest, sent_at, unsure)
            SELECT account, media_id,
                coalesce(substr(NEW.digests, json_extract(value, '$[2]'), {DIGEST}), digest),
                NEW.at, json_extract(value, '$[1]')
            FROM json_each(NEW.unsure) CROSS JOIN task ON task.task = json_extract(value, '$[0]');
        INSERT OR REPLACE INTO sent (account, media_id, digest, sent_at, unsure)
            SELECT account, media_id, digest, NEW.at, {SURE}
            FROM json_each(NEW.sure) CROSS JOIN task ON task.task = value;
        INSERT INTO quota (place, owner, windows)
            SELECT (SELECT place FROM run WHERE run = NEW.run), key, value FROM json_each(NEW.windows) WHERE true
            ON CONFLICT (place, owner) DO UPDATE SET windows = excluded.windows;
        UPDATE run SET requests = NEW.requests, retries = NEW.retries WHERE run = NEW.run;
    END
"""  # noqa: S608
_TELL: Final = "INSERT INTO told VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

_write: Final = msgspec.json.Encoder().encode


def prepare(db: sqlite3.Connection) -> None:
    """Make a connection ready for `tell`."""
    db.execute(_VIEW)
    db.execute(_TRIGGER)


def tell(
    db: sqlite3.Connection,
    run: int,
    when: str,
    outcomes: Sequence[Outcome],
    sure: Sequence[int],
    unsure: Sequence[Unsure],
    digests: bytes | bytearray,
    windows: Mapping[str, str],
    spent: tuple[int, int],
    newest: int,
) -> None:
    """Record what was applied, and what goes with it.

    Args:
        outcomes: in the order in which they ended.
        sure: those of them whose media was sent what is in their row, and nothing else since.
        unsure: the others, in that order.
        digests: of what was sent in the place of some of these.
        windows: how they stand, as JSON by owner.
        spent: requests and retries of the run so far.
        newest: the sitting that was the newest of all when rivals were looked for.

    Raises:
        sqlite3.IntegrityError: another run has begun since; nothing is recorded.
    """
    lists = (_write(rows).decode() for rows in (outcomes, sure, unsure))
    db.execute(_TELL, (when, *lists, digests, _write(windows).decode(), *spent, run, newest))
