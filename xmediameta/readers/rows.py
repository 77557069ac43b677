"""What reading yields: a `Row` for an update, a `Reject` for a line that is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol

from msgspec import Struct

from xmediameta.models import Update
from xmediameta.text import printable

LINE_LIMIT: Final = 1 << 20
BOM: Final = b"\xef\xbb\xbf"
NOTHING_PASSED: Final[Mapping[str, str]] = {}


# `updates.csv:3`, `updates.xlsx: Sheet1 row 3` (of Parquet `row 3`), `updates.xlsx: Sheet1!C3`.
_PLACE: Final = re.compile(
    r"(?P<file>.+?)(?::(?P<line>\d{1,15})|: (?:(?!.*: ).+ )?row (?P<row>\d{1,15})"
    r"|: (?!.*: ).+![A-Z]+(?P<cell>\d{1,15})(?: and [A-Z]+\d{1,15})*)"
)


class Unreadable(Exception):
    """A file that cannot be read, or not any further; the message is the rule."""


class Stream(Protocol):
    """What readers ask of a file: `io.BufferedReader` over whatever holds the bytes."""

    def readline(self, size: int | None = -1, /) -> bytes:
        """Up to and with the next line feed, at most `size` bytes."""
        ...

    def read(self, size: int | None = -1, /) -> bytes:
        """The next `size` bytes."""
        ...

    def peek(self, size: int = 0, /) -> bytes:
        """What comes next, without taking it; more or fewer bytes than `size`."""
        ...


class ReadOptions(Struct, frozen=True, kw_only=True):
    """How files are read.

    Attributes:
        strict: whether rules that join members are checked.
        passed: columns that go along with their rows; of JSONL, members beside the request body.
        renames: header to column name; tables only.
        sheet: the sheet of a workbook; None where only one sheet holds anything.
    """

    strict: bool = True
    passed: tuple[str, ...] = ()
    renames: Mapping[str, str] = {}
    sheet: str | None = None


class Row(Struct, frozen=True, gc=False):
    """One update and where it stands.

    Attributes:
        file: the name as it was given; `stdin` for standard input.
        line: the line on which the row begins, from 1; of a workbook the row of its sheet, of Parquet the row.
        passed: what `ReadOptions.passed` asked to keep beside it.
        unit: what `line` counts, safe to show: `row`, or `Sheet1 row`; empty for lines.
    """

    file: str
    line: int
    update: Update
    passed: Mapping[str, object] = NOTHING_PASSED
    unit: str = ""

    @property
    def where(self) -> str:
        """`updates.csv:3`, `updates.parquet: row 3`, `updates.xlsx: Sheet1 row 3`."""
        return _where(self.file, self.unit, self.line)


class Reject(Struct, frozen=True, gc=False, kw_only=True):
    """One line that is not an update, or a file that cannot be read on.

    Attributes:
        line: where the row begins, as in `Row`, or None for the file as a whole.
        member: the member or header at fault, safe to show; empty for the whole line.
        rule: what is wrong, safe to show.
        raw: the line as it stands in the file, less its line feed, or its cells by header; untrusted.
        fatal: nothing after it in this file was read, so it cannot be skipped.
        unit: as in `Row`.
        cell: of a workbook the cell or cells at fault, safe to show: `Sheet1!C14`.
    """

    file: str
    line: int | None
    member: str
    rule: str
    raw: bytes | Mapping[str, str] = b""
    fatal: bool = False
    unit: str = ""
    cell: str = ""

    @property
    def where(self) -> str:
        """As of a `Row`; the cell where there is one, and the file's name alone for the file as a whole."""
        if self.cell:
            return f"{printable(self.file, 300)}: {self.cell}"
        return _where(self.file, self.unit, self.line)

    def __str__(self) -> str:
        # A cell can be found as it is; its header would only be in the way.
        member = "" if self.cell else self.member
        return ": ".join(part for part in (self.where, member, self.rule) if part)


def _where(file: str, unit: str, line: int | None) -> str:
    name = printable(file, 300)
    if line is None:
        return name
    return f"{name}: {unit} {line}" if unit else f"{name}:{line}"


def split_where(where: str) -> tuple[str, int | None]:
    """The file, and the line or row, of what `where` says; the whole of it and None for a file alone."""
    found = _PLACE.fullmatch(where)
    return (found["file"], int(found["line"] or found["row"] or found["cell"])) if found else (where, None)
