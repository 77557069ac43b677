"""`results`: one row for each row of a run's input, in its order, as JSONL, CSV or XLSX.

Rows stream from the journal to the file, so a million of them take no more memory than one. A file is written beside
its place and then put there, so that none is ever half there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

import click
import msgspec

from xmediameta.journal import Journal, RunRecord, State, TaskRecord
from xmediameta.problems import as_object
from xmediameta.readers import split_where
from xmediameta.report import read_said
from xmediameta.text import printable

from .looping import run_in_loop
from .stored import chosen, stored
from .tables import Csv, Xlsx

STDOUT: Final = "-"
# The names are those of `apply --results`.
_BEFORE: Final = ("file", "line", "id", "account", "ref")
_AFTER: Final = ("outcome", "status", "error", "problem", "attempts", "transaction_id", "settled_at", "seconds")
_NOTED: Final = 10_000


class Writer(Protocol):
    """Takes rows one after the other."""

    def write(self, record: dict[str, Any]) -> None:
        """Write one row."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def export(run: str | None, journal: str | None, *, kind: str | None, output: str, only: tuple[str, ...]) -> int:
    """Write the results of a run.

    Raises:
        click.ClickException: there is no such run, or the file cannot be written.
    """
    kind = kind or _kind(output)
    if kind == "xlsx" and output == STDOUT and sys.stdout.isatty():
        raise click.UsageError("an .xlsx file is no text for a terminal: name a file with --output PATH")
    states = cast("tuple[State, ...]", only)

    async def pass_on() -> None:
        async with stored(journal) as opened:
            record = await chosen(opened, run)
            passed = () if kind == "jsonl" else await _passed(opened, record, states)
            with written(output, opened.path) as file:
                writer = _writer(kind, file, passed)
                async for row in await opened.results(record, states):
                    writer.write(_record(row))
                writer.close()

    try:
        run_in_loop(pass_on, own=True)
    except BrokenPipeError:
        # Whoever read it has had enough. Python would complain of what is left in the buffer at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


@contextmanager
def written(path: str, journal: Path) -> Generator[IO[bytes]]:
    """A file to write: put into its place when it is whole; standard output for `-`.

    Args:
        journal: what must not be written over.

    Raises:
        click.ClickException: it cannot be written.
    """
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    if target.exists() and target.samefile(journal):
        raise click.UsageError(f"{printable(path)} is the journal itself")
    beside = target.with_name(f"{target.name}.part")
    try:
        with beside.open("wb") as file:
            yield file
        beside.replace(target)
    except OSError as error:
        raise click.ClickException(f"{printable(path)} cannot be written: {error.strerror or error}") from None
    finally:
        _remove(beside)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # it could not be made either, which is told already
        return


def _kind(output: str) -> str:
    suffix = Path(output).suffix.lower().removeprefix(".")
    return suffix if suffix in {"csv", "xlsx"} else "jsonl"


def _writer(kind: str, file: IO[bytes], passed: tuple[str, ...]) -> Writer:
    if kind == "jsonl":
        return _Lines(file)
    # A passed column that has the name of one of ours is told apart from it.
    columns = {name: f"input_{name}" if name in {*_BEFORE, *_AFTER} else name for name in passed}
    table = Csv(file) if kind == "csv" else Xlsx(file)
    return _Table(table.row, table.close, columns)


class _Lines:
    """JSON objects, one a line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._encoder = msgspec.json.Encoder()

    def write(self, record: dict[str, Any]) -> None:
        if not record["passed"]:
            del record["passed"]
        self._file.write(self._encoder.encode(record) + b"\n")

    def close(self) -> None:
        """There is nothing left."""


class _Table:
    """Rows of cells under a header."""

    def __init__(self, row: Callable[[list[Any]], None], close: Callable[[], None], passed: dict[str, str]) -> None:
        self._row = row
        self._passed = tuple(passed)
        self.close = close
        row([*_BEFORE, *passed.values(), *_AFTER])

    def write(self, record: dict[str, Any]) -> None:
        passed = record["passed"]
        cells = [record[name] for name in _BEFORE]
        cells += [passed.get(name) for name in self._passed]
        self._row([*cells, *(record[name] for name in _AFTER)])


def _record(row: TaskRecord) -> dict[str, Any]:
    file, line = split_where(row.source) if row.source is not None else (None, None)
    return {
        "file": file,
        "line": line,
        "id": row.id,
        "account": row.account,
        "ref": row.ref,
        "passed": _object(row.passed),
        "outcome": row.state,
        "status": row.status,
        "error": row.error,
        "problem": read_said(row).text or None,
        "attempts": row.attempts,
        "transaction_id": row.transaction_id,
        "settled_at": row.settled_at,
        "seconds": None if row.seconds is None else round(row.seconds, 3),
    }


async def _passed(journal: Journal, record: RunRecord, states: tuple[State, ...]) -> tuple[str, ...]:
    """The names of all passed columns, in the order in which they come first."""
    names: dict[str, None] = {}
    noted: set[str] = set()
    async for row in await journal.results(record, states):
        if row.passed is None or row.passed in noted:
            continue
        if len(noted) < _NOTED:
            noted.add(row.passed)
        names.update(dict.fromkeys(_object(row.passed)))
    return tuple(names)


def _object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        return as_object(msgspec.json.decode(text))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return {}
