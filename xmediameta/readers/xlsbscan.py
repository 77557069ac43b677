"""The records of an .xlsb (MS-XLSB): a kind and a size of seven bits in a byte, then the data."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from .findings import Findings

_ROW: Final = 0
_BLANK: Final = 1
_FAILED: Final = (3, 11)  # a constant, and what a formula came to
_CELLS: Final = frozenset((*range(2, 12), 62))
_BUNDLE: Final = 156
_SHOWN: Final = {
    0x00: "#NULL!", 0x07: "#DIV/0!", 0x0F: "#VALUE!", 0x17: "#REF!", 0x1D: "#NAME?", 0x24: "#NUM!", 0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
}  # fmt: skip


def relation(workbook: bytes, index: int) -> bytes:
    """The id of the relation that leads to a sheet.

    Raises:
        IndexError: there are not so many sheets.
    """
    bundles = [start for kind, start in _records(workbook) if kind == _BUNDLE]
    start = bundles[index] + 8  # after the state and the number of the sheet
    (length,) = struct.unpack_from("<I", workbook, start)
    return workbook[start + 4 : start + 4 + 2 * length].decode("utf-16-le").encode()


def scan(sheet: bytes, findings: Findings) -> None:
    """Find the failed formulas of a sheet, and its last cell."""
    row = 0
    for kind, start in _records(sheet):
        if kind == _ROW:
            row = struct.unpack_from("<I", sheet, start)[0] + 1
        elif kind in _CELLS:
            column = struct.unpack_from("<I", sheet, start)[0] + 1
            findings.reach(row, column)
            if kind in _FAILED:
                findings.fail(row, column, _SHOWN.get(sheet[start + 8], "#VALUE!"))


def _records(data: bytes) -> Iterator[tuple[int, int]]:
    """The kind of each record, and where its data begin."""
    at, end = 0, len(data)
    while at < end:
        kind = data[at]
        at += 1
        if kind & 0x80:
            kind = kind & 0x7F | (data[at] & 0x7F) << 7
            at += 1
        size = shift = 0
        while True:
            part = data[at]
            at += 1
            size |= (part & 0x7F) << shift
            shift += 7
            if not part & 0x80 or shift == 28:
                break
        yield kind, at
        at += size
