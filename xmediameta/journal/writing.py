"""How rows are put into a load: a batch in one statement, as JSON.

SQLite lets go of the interpreter for each step of a statement, and has to win it back from whoever makes the next rows
meanwhile: a batch of thousands in one statement does so once, a row at a time thousands of times.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import msgspec

from xmediameta.text import printable

from .file import JournalFile
from .records import DIGEST
from .schema import NEVER

Row = tuple[Any, ...]

_ONE: Final = (
    "INSERT INTO task (account, media_id, ref, source, passed, digest, send_before, body, due, task)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INVALID: Final = "INSERT INTO outcome (task, state, error, problem) VALUES (?, 'invalid', 'InvalidUpdate', ?)"
_COLUMNS: Final = (
    "account", "media_id", "ref", "source", "passed", "digest", "send_before", "problem", "body", "due", "task",
)  # fmt: skip
_TOLD: Final = [name for name in _COLUMNS if name not in {"digest", "problem"}]  # JSON has no bytes
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
        if not (len(valid) == len(rows) and _all_at_once(file, rows)):
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
        # The problem of an invalid row goes into its outcome.
        db.executemany(_ONE, [(*row[:7], *row[8:]) for row in rows])
        faults = [(row[10], row[7]) for row in rows if row[7] is not None]
        if faults:
            db.executemany(_INVALID, faults)


def _all_at_once(file: JournalFile, rows: Sequence[Row]) -> bool:
    """Write valid rows in one statement; or none of them, where something would not come out as it went in."""
    if not rows:
        return True
    columns: dict[str, Sequence[Any]] = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True))
    if not _fit(columns["ref"]):
        return False
    for name in ("send_before", "due"):
        whole = _whole(columns[name])
        if whole is None:
            return False
        columns[name] = whole
    # What is the same in all rows is read from JSON for none of them.
    told = [name for name in _TOLD if name == "task" or not _all_the_same(columns[name])]
    try:
        text = _write(list(zip(*(columns[name] for name in told), strict=True))).decode()
    except TypeError:
        return False
    if "\\u0000" in text:  # older versions end a text there
        return False
    same = {name: columns[name][0] for name in _TOLD if name not in told}
    values = {"rows": text, "digests": b"".join(columns["digest"]), **same}
    file.db.execute(_many(tuple(told)), values)
    return True


@cache
def _many(told: tuple[str, ...]) -> str:
    """The statement for rows of which JSON tells so much; the rest is the same in all."""
    values = [f"json_extract(value, '$[{told.index(name)}]')" if name in told else f":{name}" for name in _TOLD]
    return (
        f"INSERT INTO task ({', '.join(_TOLD)}, digest) SELECT {', '.join(values)},"  # noqa: S608
        f" substr(:digests, 1 + {DIGEST} * key, {DIGEST}) FROM json_each(:rows)"
    )


def _fit(refs: Sequence[object]) -> bool:
    """Whether SQLite makes the same of them as JSON."""
    numbers = [ref for ref in refs if type(ref) is int]
    kinds = set(map(type, refs)) - {str, type(None), int}
    return not kinds and (not numbers or (min(numbers) >= -_INT64 and max(numbers) < _INT64))


def _whole(times: Sequence[Any]) -> Sequence[Any] | None:
    """Whole seconds as integers, or None: older versions may miss the last digit of a fraction in JSON."""
    if _all_the_same(times):
        return times
    if not all(time is None or (-NEVER <= time <= NEVER and time == int(time)) for time in times):
        return None
    return [None if time is None else int(time) for time in times]


def _all_the_same(column: Sequence[Any]) -> bool:
    return column.count(column[0]) == len(column)
