"""How rows are put into a load: a batch in one statement, as JSON.

SQLite lets go of the interpreter for each step of a statement, and has to win it back from whoever makes the next rows
meanwhile: a batch of thousands in one statement does so once, a row at a time thousands of times.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from xmediameta.text import printable

from .file import JournalFile
from .records import DIGEST
from .schema import NEVER

Row = tuple[Any, ...]

# ?8 is the problem of an invalid row, which goes into its outcome.
_ONE: Final = (
    "INSERT INTO task (account, media_id, ref, source, passed, digest, send_before, body, due, task)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?9, ?10, ?11)"
)
_INVALID: Final = "INSERT INTO outcome (task, state, error, problem) VALUES (?, 'invalid', 'InvalidUpdate', ?)"
# JSON has no bytes: the digests are one blob.
_MANY: Final = (
    "INSERT INTO task (task, account, media_id, ref, source, passed, send_before, body, due, digest) SELECT "  # noqa: S608
    + ", ".join(f"json_extract(value, '$[{place}]')" for place in range(9))
    + f", substr(?2, 1 + {DIGEST} * key, {DIGEST}) FROM json_each(?1)"
)
_INT64: Final = 2**63

_write: Final = msgspec.json.Encoder().encode


def write(file: JournalFile, rows: Sequence[Row]) -> None:
    """Put rows into the table of tasks.

    Args:
        rows: (account, media_id, ref, source, passed, digest, send_before, problem, body, due, task), of which an
            invalid one has a problem, and no digest.
    """
    valid = [row for row in rows if row[7] is None]
    try:
        if len(valid) == len(rows) and (text := _as_json(valid)) is not None:
            file.db.execute(_MANY, (text, b"".join([row[5] for row in valid])))
        else:
            _one_by_one(file, rows)
    except (UnicodeEncodeError, OverflowError, sqlite3.InterfaceError, sqlite3.ProgrammingError):
        # Something that SQLite cannot hold: a lone surrogate in a file's name, a number beyond 64 bits.
        _one_by_one(file, [tuple(storable(value) for value in row) for row in rows])


def storable(value: object) -> object:
    """The value, or as much of it as SQLite can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, bytes | float) or (isinstance(value, int) and -_INT64 <= value < _INT64):
        return value
    return printable(str(value))


def _one_by_one(file: JournalFile, rows: Sequence[Row]) -> None:
    with file.transaction() as db:
        db.executemany(_ONE, rows)
        db.executemany(_INVALID, [(row[10], row[7]) for row in rows if row[7] is not None])


def _as_json(rows: Sequence[Row]) -> str | None:
    """Rows as SQLite reads them in JSON, or None where something would not come out as it went in."""
    told: list[Row] = []
    for account, media_id, ref, source, passed, _, until, _, body, place, task in rows:
        send_before, due = until, place
        if ref is not None and type(ref) is not str and not (type(ref) is int and -_INT64 <= ref < _INT64):
            return None
        if due is not None:
            # Older versions may miss the last digit of a fraction; whole seconds are exact, as integers.
            if not (-NEVER <= due <= NEVER and due == int(due)):  # a caller may give an int, too
                return None
            send_before, due = None if until is None else int(until), int(due)
        told.append((task, account, media_id, ref, source, passed, send_before, body, due))
    try:
        text = _write(told).decode()
    except TypeError:
        return None
    return None if "\\u0000" in text else text  # older versions end a text there
