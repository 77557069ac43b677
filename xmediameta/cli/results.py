"""One line per input row: what became of it, in the order of the input, as JSONL or CSV.

Lines are written as outcomes come, so that a run that is killed leaves what it knew. At the end the file is put into
the order of the input, if it is a file that can be read back.
"""

from __future__ import annotations

import csv
import io
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import msgspec

from xmediameta.errors import XMediaMetaError
from xmediameta.outcomes import Applied, Failed, NotSent, Outcome, Unchanged
from xmediameta.readers import Reject, Row
from xmediameta.text import printable

from .check import new_file

STDOUT: Final = "-"
_COLUMNS: Final = ("file", "line", "id", "account", "ref")
_FOUND: Final = ("outcome", "status", "problem", "attempts", "transaction_id")
# What a spreadsheet takes for the beginning of a formula.
_FORMULA: Final = tuple("=+-@\t\r")


class Results:
    """Writes results.

    Args:
        path: `.csv` makes it CSV, all else is JSONL; `-` is standard output, in the order in which rows end.
        passed: columns that go along with their rows.
        inputs: names of the inputs, which are never written over.

    Raises:
        OSError: the file cannot be opened.
        click.UsageError: it is one of the inputs.
    """

    def __init__(self, path: str, passed: Sequence[str], inputs: tuple[str, ...]) -> None:
        self.path = path
        self._file: IO[bytes] = sys.stdout.buffer if path == STDOUT else new_file(path, inputs, "the results")
        self.failed = False
        self._rows = array("q")
        self._starts = array("q")
        self._at = 0
        self._encode: Callable[[Mapping[str, Any]], bytes] = _as_json
        self._header = b""
        if path.lower().endswith(".csv"):
            table = _Csv(passed)
            self._encode = table.row
            self._header = table.header()
            self._put(self._header)

    def settled(self, index: int, row: Row, outcome: Outcome | None) -> None:
        """Write what became of a row; None where it was not taken up at all.

        Args:
            index: the row's place in the input.

        Raises:
            OSError: it could not be written; nothing more will be.
        """
        update = row.update
        self._write(
            index,
            {
                "file": row.file,
                "line": row.line,
                "id": update.id,
                "account": update.account,
                "ref": update.ref,
                **({"passed": row.passed} if row.passed else {}),
                **found(outcome),
            },
        )

    def invalid(self, index: int, reject: Reject) -> None:
        """Write that a row was skipped, and why.

        Raises:
            OSError: it could not be written; nothing more will be.
        """
        problem = f"{reject.member}: {reject.rule}" if reject.member else reject.rule
        unknown = dict.fromkeys((*_COLUMNS, *_FOUND))
        at = {"file": reject.file, "line": reject.line, "outcome": "invalid", "problem": problem, "attempts": 0}
        self._write(index, unknown | at)

    def flush(self) -> None:
        """Hand over what was written.

        Raises:
            OSError: it could not be written.
        """
        self._file.flush()

    def finish(self) -> None:
        """Put the rows into the order of the input.

        Raises:
            OSError: the file cannot be written; it then holds all rows, in the order in which they ended.
        """
        try:
            self.flush()
        except OSError:
            self.failed = True
            raise
        rows = self._rows
        in_order = all(before < after for before, after in pairwise(rows))
        if in_order or self.path == STDOUT or not Path(self.path).is_file():
            return
        beside = Path(f"{self.path}.part")
        try:
            with beside.open("wb") as ordered:
                ordered.write(self._header)
                ends = [*self._starts[1:], self._at]
                for place in sorted(range(len(rows)), key=rows.__getitem__):
                    self._file.seek(self._starts[place])
                    ordered.write(self._file.read(ends[place] - self._starts[place]))
            beside.replace(self.path)
        finally:
            beside.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path != STDOUT:
            try:
                self._file.close()
            except OSError:  # told before: what it still buffers cannot be written either
                if not self.failed:
                    raise

    def _write(self, index: int, record: Mapping[str, Any]) -> None:
        self._rows.append(index)
        self._starts.append(self._at)
        self._put(self._encode(record))

    def _put(self, line: bytes) -> None:
        if self.failed:
            return
        try:
            self._file.write(line)
        except OSError:
            self.failed = True
            raise
        self._at += len(line)


def found(outcome: Outcome | None) -> dict[str, Any]:
    """What an outcome says, flat: `outcome`, `status`, `problem`, `attempts`, `transaction_id`."""
    match outcome:
        case Applied():
            warnings = "; ".join(warning.said() for warning in outcome.warnings) or None
            return _found("applied", 200, warnings, outcome.attempts, outcome.transaction_id)
        case Unchanged():
            return _found("unchanged", None, None, 0, None)
        case Failed():
            return _of_error("failed", outcome.error, outcome.error.attempts)
        case NotSent() if outcome.reason == "expired":
            return _found("expired", None, "send_before had passed", 0, None)
        case NotSent() if outcome.error is not None:
            return _of_error("pending", outcome.error, None)
        case NotSent():
            return _found("pending", None, "the run was stopped", None, None)
        case None:
            return _found("pending", None, "not taken up before the run ended", 0, None)


def _of_error(name: str, error: XMediaMetaError, attempts: int | None) -> dict[str, Any]:
    status = getattr(error, "status", None)
    return _found(name, status, printable(error.message, 1_000), attempts, getattr(error, "transaction_id", None))


def _found(
    outcome: str, status: int | None, problem: str | None, attempts: int | None, transaction_id: str | None
) -> dict[str, Any]:
    return dict(zip(_FOUND, (outcome, status, problem, attempts, transaction_id), strict=True))


def _as_json(record: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(record) + b"\n"


class _Csv:
    """Rows of a table; cells that a spreadsheet would run as formulas get an apostrophe before them."""

    def __init__(self, passed: Sequence[str]) -> None:
        self._passed = {name: f"input_{name}" if name in (*_COLUMNS, *_FOUND) else name for name in passed}
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\n")

    def header(self) -> bytes:
        return self._line([*_COLUMNS, *self._passed.values(), *_FOUND])

    def row(self, record: Mapping[str, Any]) -> bytes:
        passed: Mapping[str, object] = record.get("passed") or {}
        cells = [record[name] for name in _COLUMNS]
        cells += [passed.get(name) for name in self._passed]
        return self._line([*cells, *(record[name] for name in _FOUND)])

    def _line(self, cells: Sequence[object]) -> bytes:
        self._writer.writerow([_cell(cell) for cell in cells])
        line = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return line.encode("utf-8", "backslashreplace")


def _cell(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"'{text}" if text.startswith(_FORMULA) else text
