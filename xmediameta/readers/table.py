"""CSV as RFC 4180 has it, and its tab- and semicolon-separated cousins.

Two things are ours and not the csv module's. The line that a fault names is the one where its row begins, quoted line
breaks or not. And bytes that are not UTF-8 are carried through the parser (as lone surrogates) and refused in their
cell: a decoding error in the middle of a quoted cell would leave the parser in the wrong state for the rows after it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from msgspec import Struct

from xmediameta.explain import Fault
from xmediameta.flat import Columns, Flaw, read_header
from xmediameta.text import counted, printable

from .damage import damage
from .rows import LINE_LIMIT, ReadOptions, Reject, Row, Stream

_LARGEST_ROW: Final = 4 * LINE_LIMIT
_BLOCK: Final = 1 << 17
# What the csv module says, and what a person can do about it.
_CSV_FAULTS: Final = (
    ("unexpected end of data", "a quoted cell is opened here and never closed", True),
    ("field larger", "a cell of more than 131,072 characters; is a quote opened here and never closed?", True),
    ("new-line character", "a line ends in CR alone; save the file with LF or CRLF line ends", True),
    ("expected after", "text follows a closing quote; inside a quoted cell a quote is written twice", False),
)


class _RowTooLarge(Exception):
    """A line, or a quoted row of many lines, that is not read into memory."""


class _Lines:
    """The physical lines of a file as text, in blocks: the csv module asks for one after the other, and counts them.

    Attributes:
        room: how many bytes may come before the row that is read must have ended.
        damaged: whether NUL or bytes that are not UTF-8 have been met.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.room = _LARGEST_ROW
        self.damaged = False

    def blocks(self) -> Iterator[Iterable[str]]:
        rest = b""
        while chunk := self._stream.read(_BLOCK):
            self.room -= len(chunk)
            rest, newline, begun = (rest + chunk).rpartition(b"\n")
            if newline:
                yield self._texts(rest + newline)
            rest = begun
            if self.room < 0 or len(rest) > LINE_LIMIT:
                raise _RowTooLarge
        if rest:
            yield self._texts(rest)

    def _texts(self, lines: bytes) -> Iterable[str]:
        self.damaged = self.damaged or b"\0" in lines
        try:
            text = lines.decode()
        except UnicodeDecodeError:
            self.damaged = True
            text = lines.decode("utf-8", "surrogateescape")
        return io.StringIO(text, newline="\n")


def read_table(stream: Stream, file: str, options: ReadOptions, *, separators: str = ",;\t") -> Iterator[Row | Reject]:
    """The rows of a CSV stream.

    Args:
        separators: tried in this order: the first under which the header has an id column; else the first.
    """
    lines = _Lines(stream)
    delimiter = _separator(stream.peek()[:LINE_LIMIT], separators, options)
    reader = csv.reader(chain.from_iterable(lines.blocks()), delimiter=delimiter, strict=True)
    table: _Table | None = None
    while True:
        start = reader.line_num + 1
        lines.room = _LARGEST_ROW
        try:
            cells = next(reader, None)
        except csv.Error as error:
            rule, fatal = _csv_fault(str(error))
            yield Reject(file=file, line=start, member="", rule=rule, fatal=fatal or table is None)
            if fatal or table is None:
                return
            continue
        except _RowTooLarge:
            rule = f"a line of more than {LINE_LIMIT:,} bytes, or a row of more than {_LARGEST_ROW:,}"
            yield Reject(file=file, line=start, member="", rule=rule, fatal=True)
            return
        if cells is None:
            break
        if not any(cells):  # an empty line, or the empty rows that spreadsheets leave at the end
            continue
        if table is None:
            columns, faults = _columns(cells, options)
            yield from (Reject(file=file, line=start, member=at, rule=rule, fatal=True) for at, rule in faults)
            if faults:
                return
            table = _Table(file, cells, columns, options.strict)
        else:
            yield table.row(start, cells, damaged=lines.damaged)
    if table is None:
        rule = "is empty; a table begins with a line of column names"
        yield Reject(file=file, line=None, member="", rule=rule, fatal=True)


class _Table(Struct, frozen=True):
    """A table whose header was read."""

    file: str
    headers: list[str]
    columns: Columns
    strict: bool

    def row(self, line: int, cells: list[str], *, damaged: bool) -> Row | Reject:
        flaw: Flaw | None = None
        if len(cells) != len(self.headers):
            flaw = Flaw("", f"the row has {counted(len(cells), 'cell')}, the header has {len(self.headers):,}")
        elif damaged:
            flaw = damage(cells, self.headers)
        if flaw is None:
            update = self.columns.read(cells, strict=self.strict)
            if not isinstance(update, Flaw):
                return Row(self.file, line, update, self.columns.passed(cells))
            flaw = update
        raw = {header: cell for header, cell in zip(self.headers, cells, strict=False) if header or cell}
        return Reject(file=self.file, line=line, member=flaw.member, rule=flaw.rule, raw=raw)


def _columns(cells: Sequence[str], options: ReadOptions) -> tuple[Columns, list[Fault]]:
    if damage(cells, cells) is not None:
        return Columns(()), [("", "the line of column names holds bytes that are not UTF-8, or NUL")]
    return read_header(cells, renames=options.renames, passed=options.passed)


def _separator(head: bytes, separators: str, options: ReadOptions) -> str:
    first = head.lstrip(b"\r\n").partition(b"\n")[0].decode("utf-8", "replace")
    names = {"id", *(header.strip().lower() for header in options.renames)}
    for separator in separators:
        if any(header.strip(' "\r').lower() in names for header in first.split(separator)):
            return separator
    return separators[0]


def _csv_fault(said: str) -> tuple[str, bool]:
    for words, rule, fatal in _CSV_FAULTS:
        if words in said:
            return rule, fatal
    return printable(said), False
