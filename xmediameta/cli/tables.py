"""Rows of cells for spreadsheets: nothing is run as a formula, and ids stay text."""

from __future__ import annotations

import csv
import io
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import IO, Any, Final, Protocol, cast

import msgspec

from xmediameta.errors import MissingExtra

# What a spreadsheet takes for the beginning of a formula.
_FORMULA: Final = frozenset(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
# Excel's own bounds: rows of a sheet, UTF-16 units of a cell, digits of a number.
_MOST_ROWS: Final = 1_048_576
_LONGEST: Final = 32_767
_EXACT: Final = 10**15
_WIDTHS: Final[Mapping[str, int]] = {
    "file": 22, "id": 22, "account": 16, "ref": 18, "outcome": 11, "error": 18, "problem": 60, "transaction_id": 20,
    "settled_at": 25,
}  # fmt: skip
_OTHER_WIDTH: Final = 12
# Characters that XML 1.0 has no way to hold.
_NO_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Csv:
    """RFC 4180, UTF-8. Cells that would be run as formulas get an apostrophe before them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\r\n")

    def row(self, cells: Sequence[Any]) -> None:
        """Write one row."""
        self._writer.writerow([_harmless(cell) for cell in cells])
        self._file.write(self._text.getvalue().encode("utf-8", "backslashreplace"))
        self._text.seek(0)
        self._text.truncate()

    def close(self) -> None:
        """There is nothing left."""


class Xlsx:
    """An Excel file, row by row; what does not fit into one sheet goes on in the next.

    Raises:
        MissingExtra: XlsxWriter is not installed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        if find_spec("xlsxwriter") is None:
            raise MissingExtra("writing .xlsx", "cli")
        # A zip file is written from several sides, so it is made apart and then passed on.
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the table
        self._file = file
        # It tells no types.
        make = cast("type[_Book]", import_module("xlsxwriter").Workbook)
        self._book = make(self._spool, {"constant_memory": True, "use_zip64": True})
        self._bold = self._book.add_format({"bold": True})
        self._sheets = 0
        self._header: Sequence[str] = ()
        self._sheet: _Sheet | None = None
        self._at = 0

    def row(self, cells: Sequence[Any]) -> None:
        """Write one row; the first is the header."""
        if not self._header:
            self._header = cells
            self._next_sheet()
            return
        if self._at == _MOST_ROWS:
            self._finish_sheet()
            self._next_sheet()
        sheet = cast("_Sheet", self._sheet)
        for column, cell in enumerate(cells):
            _write(sheet, self._at, column, cell)
        self._at += 1

    def close(self) -> None:
        """Write the file."""
        self._finish_sheet()
        self._book.close()
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, self._file)
        self._spool.close()

    def _next_sheet(self) -> None:
        self._sheets += 1
        sheet = self._sheet = self._book.add_worksheet("Results" if self._sheets == 1 else f"Results {self._sheets}")
        sheet.freeze_panes(1, 0)
        for column, name in enumerate(self._header):
            sheet.set_column(column, column, _WIDTHS.get(name, _OTHER_WIDTH))
        for column, name in enumerate(self._header):
            sheet.write_string(0, column, _text(name), self._bold)
        self._at = 1

    def _finish_sheet(self) -> None:
        if self._sheet is not None:
            self._sheet.autofilter(0, 0, max(self._at - 1, 0), max(len(self._header) - 1, 0))


class _Sheet(Protocol):
    def write_string(self, row: int, column: int, text: str, form: Any = None, /) -> int: ...
    def write_number(self, row: int, column: int, number: float, /) -> int: ...
    def write_boolean(self, row: int, column: int, value: bool, /) -> int: ...
    def set_column(self, first: int, last: int, width: float, /) -> int: ...
    def freeze_panes(self, row: int, column: int, /) -> None: ...
    def autofilter(self, top: int, left: int, bottom: int, right: int, /) -> None: ...


class _Book(Protocol):
    def __init__(self, file: IO[bytes], options: Mapping[str, Any], /) -> None: ...
    def add_worksheet(self, name: str, /) -> _Sheet: ...
    def add_format(self, properties: Mapping[str, Any], /) -> Any: ...
    def close(self) -> None: ...


def _write(sheet: _Sheet, row: int, column: int, cell: Any) -> None:
    if cell is None:
        return
    if isinstance(cell, bool):
        sheet.write_boolean(row, column, cell)
    elif isinstance(cell, int | float) and abs(cell) < _EXACT:
        sheet.write_number(row, column, cell)
    else:
        # `write_string` and not `write`, which takes what looks like one for a formula, a link or a number.
        sheet.write_string(row, column, _text(_plain(cell)))


def _text(text: str) -> str:
    text = _NO_XML.sub("\ufffd", text)
    if len(text) > _LONGEST // 2 and len(units := text.encode("utf-16-le")) > 2 * _LONGEST:
        text = units[: 2 * (_LONGEST - 1)].decode("utf-16-le", "ignore") + "…"
    return text


def _harmless(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, int | float):
        return str(cell).lower() if isinstance(cell, bool) else str(cell)
    text = _plain(cell)
    return f"'{text}" if text[:1] in _FORMULA else text


def _plain(cell: Any) -> str:
    return cell if isinstance(cell, str) else msgspec.json.encode(cell).decode()
