"""What calamine does not tell of an .xlsx: cells whose formula failed, and how far away the last cell stands.

calamine shows a failed formula as an empty cell, which would silently leave out what a lookup did not find. And it
lays a sheet out as one rectangle in memory: a forgotten cell in column XFD takes gigabytes, or the whole process. So
the sheet's XML is looked through once before; it is not parsed, since cells are told by their tags alone.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import IO, Final
from zipfile import BadZipFile, ZipFile

from .rows import Unreadable

Failed = dict[int, dict[int, str]]

_BLOCK: Final = 1 << 20
# A cell and its formula are shorter; what is seen twice does no harm.
_OVERLAP: Final = 1 << 16
_MOST_CELLS: Final = 40_000_000
_MOST_FAILED: Final = 100_000
_MOST_BYTES: Final = 2 << 30
_SHEET: Final = re.compile(rb'<(?:\w+:)?sheet\s[^>]*?\b\w+:id="([^"]+)"')
_RELATION: Final = re.compile(rb"<(?:\w+:)?Relationship\s[^>]*>")
_ATTRIBUTE: Final = re.compile(rb'\b(\w+)="([^"]*)"')
# Of cells that hold something: one that ends in its own tag has but a style, and calamine passes it over.
_CELL: Final = re.compile(rb'<(?:\w+:)?c\s[^>]*?\br="([A-Z]{1,3})([0-9]{1,7})"[^>/]*>')
_FAILED: Final = re.compile(
    rb'<(?:\w+:)?c\s(?=[^>]*?\bt="e")[^>]*?\br="([A-Z]{1,3})([0-9]{1,7})"[^>]*>'
    rb"(?:(?!</(?:\w+:)?c>).)*?<(?:\w+:)?v>([^<]{1,20})<",
    re.DOTALL,
)


def refuse_bombs(stream: IO[bytes]) -> None:
    """Look at how much an archive says that it holds.

    Raises:
        Unreadable: more than is worth unpacking.
    """
    try:
        stream.seek(0)
        with ZipFile(stream) as archive:
            size = sum(info.file_size for info in archive.infolist())
    except (BadZipFile, NotImplementedError, ValueError):
        return  # an old .xls, or damaged, which calamine says better
    if size > _MOST_BYTES:
        raise Unreadable(f"unpacks to {size:,} bytes, and at most {_MOST_BYTES:,} are read; save it as CSV")


def failed_formulas(stream: IO[bytes], index: int) -> Failed:
    """What a sheet of an .xlsx shows where a formula failed: by row and by column, both from 1. Of others nothing.

    Args:
        index: the sheet's place in the workbook, from 0.

    Raises:
        Unreadable: a cell stands too far away, or too many formulas failed.
    """
    try:
        stream.seek(0)
        with ZipFile(stream) as archive:
            part = _part(archive, index)
            if part is None:
                return {}
            with archive.open(part) as xml:
                return _scanned(iter(lambda: xml.read(_BLOCK), b""))
    except (BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError, ValueError):
        return {}  # no .xlsx, or damaged, which calamine says better


def letters(column: int) -> str:
    """The name of a column, from 1: `A`, `Z`, `AA`."""
    name = ""
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def _number(name: bytes) -> int:
    column = 0
    for letter in name:
        column = column * 26 + letter - ord("A") + 1
    return column


def _part(archive: ZipFile, index: int) -> str | None:
    """The name of the sheet's XML; None for another kind of workbook."""
    if "xl/workbook.xml" not in archive.namelist():
        return None
    wanted = _SHEET.findall(archive.read("xl/workbook.xml"))[index : index + 1]
    for relation in _RELATION.findall(archive.read("xl/_rels/workbook.xml.rels")):
        attributes = dict(_ATTRIBUTE.findall(relation))
        if [attributes.get(b"Id")] == wanted:
            target = attributes.get(b"Target", b"").decode()
            return target[1:] if target.startswith("/") else f"xl/{target}"
    return None


def _scanned(blocks: Iterator[bytes]) -> Failed:
    failed: Failed = {}
    last_row = last_column = count = 0
    rest = b""
    for block in blocks:
        seen = rest + block
        rest = seen[-_OVERLAP:]
        cells = _CELL.findall(seen)
        if cells:
            last_column = max(last_column, *(_number(column) for column in {column for column, _ in cells}))
            last_row = max(last_row, *(int(row) for row in {row for _, row in cells}))
        if last_row * last_column > _MOST_CELLS:
            raise Unreadable(
                f"a cell stands as far away as {letters(last_column)}{last_row}, and all cells up to there would be "
                "read; delete the rows and columns beyond the table"
            )
        if b't="e"' in seen:
            for column, row, text in _FAILED.findall(seen):
                failed.setdefault(int(row), {})[_number(column)] = text.decode("utf-8", "replace")
                count += 1
            if count > _MOST_FAILED:
                raise Unreadable(f"more than {_MOST_FAILED:,} cells show a formula that failed")
    return failed
