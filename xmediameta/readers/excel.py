"""Workbooks: .xlsx, .xlsm, .xls, .xlsb and .ods, one sheet of each, read by calamine.

A workbook holds values, and not what a person typed. A number has 15 digits, so a media id that was typed as a number
is another one by now. A date has no zone. A formula that failed has no value at all, and calamine shows it as an empty
cell (`sheetscan` finds them). Each is refused here, with the cell and with what to do.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from typing import IO, Any, Final

from msgspec import Struct

from xmediameta.extras import needed
from xmediameta.flat import Column, Columns, Flaw, Kind, read_header
from xmediameta.text import counted, printable

from .findings import Failed, letters
from .rows import ReadOptions, Reject, Row, Unreadable
from .sheetscan import failed_formulas, refuse_bombs

# None stands for a formula that nothing has computed yet.
Value = str | bool | int | float | date | datetime | time | timedelta | None

_AS_TEXT: Final = "format the column as text, and fill it in again"
_MAGIC: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_UNCOMPUTED: Final = "holds a formula that was never computed; open the file in a spreadsheet, and save it there"
_ROUNDED: Final = 10**15
_LISTED: Final = 10
_PLAIN_NAME: Final = re.compile(r"[^\W\d]\w*")
_MOMENTS: Final[frozenset[Kind]] = frozenset(("time", "seconds"))
# Kinds of columns to which a number with a fraction says what it is.
_NUMBERS: Final = _MOMENTS | {"flag"}


def read_excel(stream: IO[bytes], file: str, options: ReadOptions) -> Iterator[Row | Reject]:
    """The rows of a workbook's sheet.

    Raises:
        Unreadable: it is no workbook, or has no such sheet, or several that hold something.
        MissingExtra: calamine is not installed.
    """
    calamine = needed("python_calamine", "reading Excel files", "cli")
    if not stream.read(4).startswith(_MAGIC):
        raise Unreadable("is not a workbook (.xlsx, .xls, .xlsb, .ods)")
    refuse_bombs(stream)
    stream.seek(0)
    with _told(calamine):
        workbook = calamine.load_workbook(stream)
    sheet, failed = _chosen(_Workbook(stream, calamine, workbook), options.sheet)
    name, start = sheet.name, sheet.start
    empty = Unreadable(f"the sheet {printable(repr(name), 60)} is empty; a table begins with a row of column names")
    if start is None:
        raise empty
    left = start[1]
    table: _Table | None = None
    with _told(calamine):
        rows = enumerate(sheet.iter_rows(), 1)
    for number, values in rows:
        for column, shown in failed.pop(number, {}).items():
            place = column - 1 - left
            if 0 <= place < len(values):
                values[place] = shown
            else:
                failed.setdefault(number, {})[column] = shown
        if not any(value != "" for value in values):
            continue
        if table is None:
            headers = [_as_text(value) for value in values]
            columns, faults = read_header(headers, renames=options.renames, passed=options.passed)
            table = _Table(file, _quoted(name), left, headers, columns, options.strict)
            yield from (table.fault(number, Flaw(*fault), fatal=True) for fault in faults)
            if faults:
                return
        elif len(values) == len(table.headers):
            yield table.row(number, values)
        else:
            raise Unreadable(
                f"the workbook is broken: row {number:,} has {len(values):,} cells, and not {len(table.headers):,}"
            )
    if table is None:
        raise empty
    # What was never computed holds nothing for calamine, so that it may stand outside of all that was read.
    for number, cells in sorted(failed.items()):
        yield table.fault(number, Flaw("", _UNCOMPUTED, tuple(column - 1 - left for column in sorted(cells))[:1]))


class _Table(Struct, frozen=True):
    """A table whose row of column names was read.

    Attributes:
        sheet: as Excel writes it in front of a cell, safe to show.
        left: how many columns stand before the table.
    """

    file: str
    sheet: str
    left: int
    headers: list[str]
    columns: Columns
    strict: bool

    def row(self, number: int, values: Sequence[Value]) -> Row | Reject:
        cells: list[str] = []
        for place, (column, value) in enumerate(zip(self.columns.columns, values, strict=True)):
            try:
                cells.append(value if isinstance(value, str) else _cell(value, column))
            except ValueError as error:
                return self.fault(number, Flaw(printable(column.header, 60), str(error), (place,)), values)
        found = self.columns.read(cells, strict=self.strict)
        if isinstance(found, Flaw):
            return self.fault(number, found, values)
        return Row(self.file, number, found, self.columns.passed(cells), f"{self.sheet} row")

    def fault(self, number: int, flaw: Flaw, values: Sequence[Value] = (), *, fatal: bool = False) -> Reject:
        places = [f"{letters(self.left + place + 1)}{number}" for place in flaw.places]
        return Reject(
            file=self.file,
            line=number,
            member=flaw.member,
            rule=flaw.rule,
            raw={
                header: _as_text(value)
                for header, value in zip(self.headers, values, strict=False)
                if value not in {"", None}
            },
            fatal=fatal,
            unit=f"{self.sheet} row",
            cell=f"{self.sheet}!{' and '.join(places)}" if places else "",
        )


class _Workbook(Struct, frozen=True):
    """An open workbook."""

    stream: IO[bytes]
    calamine: Any
    book: Any

    def sheet(self, name: str) -> tuple[Any, Failed]:
        """A sheet, and what its failed formulas show."""
        failed = failed_formulas(self.stream, self.book.sheet_names.index(name))
        with _told(self.calamine):
            return self.book.get_sheet_by_name(name), failed


def _chosen(workbook: _Workbook, wanted: str | None) -> tuple[Any, Failed]:
    kinds, visible = workbook.calamine.SheetTypeEnum, workbook.calamine.SheetVisibleEnum
    tables = [sheet for sheet in workbook.book.sheets_metadata if sheet.typ == kinds.WorkSheet]
    if wanted is not None:
        for sheet in tables:
            if sheet.name.lower() == wanted.lower():
                return workbook.sheet(sheet.name)
        raise Unreadable(
            f"has no sheet {printable(repr(wanted), 60)}; it has {_listed(sheet.name for sheet in tables)}"
        )
    seen = [sheet.name for sheet in tables if sheet.visible == visible.Visible]
    if not seen:
        raise Unreadable(f"has no sheet that is not hidden; --sheet says which, of {_listed(s.name for s in tables)}")
    if len(seen) == 1:
        return workbook.sheet(seen[0])
    filled = [found for found in map(workbook.sheet, seen) if found[0].height]
    if len(filled) > 1:
        names = _listed(sheet.name for sheet, _ in filled)
        raise Unreadable(f"has {len(filled)} sheets that hold something; --sheet says which, of {names}")
    return filled[0] if filled else workbook.sheet(seen[0])


def _cell(value: Value, column: Column) -> str:
    """The text of a cell that holds no text.

    Raises:
        ValueError: it is not what was typed, or says less than the column needs.
    """
    if column.kept or not column.path or isinstance(value, str | bool):
        return _as_text(value)
    if value is None:
        raise ValueError(_UNCOMPUTED)
    if not isinstance(value, int | float):
        if column.kind in _MOMENTS:
            raise ValueError(f"is a date, with which Excel keeps no zone; {_AS_TEXT} as 2026-01-31T12:00:00Z")
        raise ValueError(f"is a date, and not the text that is shown; {_AS_TEXT}")  # noqa: TRY004 - the rule of a cell
    whole = float(value).is_integer()
    if whole and abs(value) >= _ROUNDED:
        digits = counted(len(str(abs(int(value)))), "digit")
        raise ValueError(f"is a number of {digits}, of which Excel keeps only 15: the last are lost; {_AS_TEXT}")
    if not whole and column.kind not in _NUMBERS:
        raise ValueError(f"is the number {value!r}, which may be shown in another way; {_AS_TEXT}")
    return _as_text(value)


def _as_text(value: Value) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return str(int(value)) if float(value).is_integer() and abs(value) < _ROUNDED else repr(value)


def _quoted(name: str) -> str:
    """A sheet's name as it stands in front of a cell: `Sheet1`, `'My sheet'`."""
    return name if _PLAIN_NAME.fullmatch(name) else "'" + printable(name.replace("'", "''"), 60) + "'"


def _listed(names: Iterable[str]) -> str:
    listed = [printable(repr(name), 60) for name in names]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more


@contextmanager
def _told(calamine: Any) -> Generator[None]:
    """What calamine says of a file, as a rule."""
    try:
        yield
    except calamine.PasswordError:
        rule = "is protected with a password; save a copy without one"
    except (calamine.CalamineError, OSError, ValueError) as error:
        rule = f"the workbook is broken: {printable(str(error), 200)}"
    except BaseException as error:
        # A panic of Rust derives from BaseException, so that nobody catches it by chance.
        if type(error).__name__ != "PanicException":
            raise
        rule = "the workbook is broken"
    else:
        return
    raise Unreadable(rule)
