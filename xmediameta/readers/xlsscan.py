"""The records of an old .xls (MS-XLS), in one stream of a compound file (MS-CFB)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import IO, Final

from .findings import Findings

_MAGIC: Final = b"\xd0\xcf\x11\xe0"
_SMALL: Final = 64
_NAMES: Final = ("Workbook", "Book")
_END: Final = 0xFFFFFFFA  # what is above says that a chain ends, or that a sector has a use of its own
_BOUND_SHEET, _FORMULA, _NUMBERS, _ERROR, _EOF = 0x85, 0x06, 0xBD, 0x205, 0x0A
# Numbers, texts, booleans; blank cells are none of them.
_CELLS: Final = frozenset((_FORMULA, _NUMBERS, _ERROR, 0x203, 0x204, 0x27E, 0xD6, 0xFD))
_SHOWN: Final = {
    0x00: "#NULL!", 0x07: "#DIV/0!", 0x0F: "#VALUE!", 0x17: "#REF!", 0x1D: "#NAME?", 0x24: "#NUM!", 0x2A: "#N/A",
}  # fmt: skip


def is_compound(stream: IO[bytes]) -> bool:
    """Whether a file is a compound file."""
    stream.seek(0)
    return stream.read(4) == _MAGIC


def scan(stream: IO[bytes], index: int, findings: Findings) -> None:
    """Find the failed formulas of a sheet, and its last cell.

    Raises:
        ValueError, IndexError, struct.error: a damaged file.
    """
    stream.seek(0)
    book = _workbook(stream.read())
    starts = [struct.unpack_from("<I", data)[0] for kind, data in _records(book, 0) if kind == _BOUND_SHEET]
    for kind, data in _records(book, starts[index]):
        if kind not in _CELLS:
            continue
        row, column = struct.unpack_from("<HH", data)
        last = struct.unpack_from("<H", data, len(data) - 2)[0] if kind == _NUMBERS else column
        findings.reach(row + 1, last + 1)
        # The value of a formula is a number, or ends in 0xFFFF and begins with what it is: 2 for an error.
        if kind == _FORMULA and data[12:14] == b"\xff\xff" and data[6] == 2:
            findings.fail(row + 1, column + 1, _SHOWN.get(data[8], "#VALUE!"))
        elif kind == _ERROR and data[7]:
            findings.fail(row + 1, column + 1, _SHOWN.get(data[6], "#VALUE!"))


def _records(book: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """The records of a sheet, or of what stands before all sheets."""
    while True:
        kind, size = struct.unpack_from("<HH", book, at)
        if kind == _EOF:
            return
        yield kind, book[at + 4 : at + 4 + size]
        at += 4 + size


def _workbook(data: bytes) -> bytes:
    """The stream that holds the workbook."""
    size = 1 << struct.unpack_from("<H", data, 30)[0]
    directory, small_below, small_table = struct.unpack_from("<I4xII", data, 48)
    tables = [sector for sector in struct.unpack_from("<109I", data, 76) if sector < _END]
    (more,) = struct.unpack_from("<I", data, 68)
    while more < _END and len(tables) <= len(data) // size:
        *sectors, more = struct.unpack_from(f"<{size // 4}I", data, (more + 1) * size)
        tables += [sector for sector in sectors if sector < _END]
    # The sectors stand behind the header, which is as long as one of them.
    body = data[size:]
    links = _numbers(b"".join(body[at * size : (at + 1) * size] for at in tables))
    entries = _chain(body, size, links, directory)
    for at in range(0, len(entries), 128):
        entry = entries[at : at + 128]
        (length,) = struct.unpack_from("<H", entry, 64)
        if entry[: max(length - 2, 0)].decode("utf-16-le") not in _NAMES:
            continue
        start, whole = struct.unpack_from("<II", entry, 116)
        if whole < small_below:  # it lies in smaller sectors, in a stream that the first entry holds
            body = _chain(body, size, links, struct.unpack_from("<I", entries, 116)[0])
            size, links = _SMALL, _numbers(_chain(data[size:], size, links, small_table))
        return _chain(body, size, links, start)[:whole]
    raise ValueError("no workbook")


def _numbers(data: bytes) -> Sequence[int]:
    return struct.unpack(f"<{len(data) // 4}I", data)


def _chain(body: bytes, size: int, links: Sequence[int], sector: int) -> bytes:
    parts: list[bytes] = []
    while sector < _END:
        if len(parts) > len(links):
            raise ValueError("a chain without an end")
        parts.append(body[sector * size : (sector + 1) * size])
        sector = links[sector]
    return b"".join(parts)
