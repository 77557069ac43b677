"""What calamine does not tell of a workbook: which formulas failed, and how far away the last cell stands.

calamine shows a failed formula as an empty cell, which would silently leave out what a lookup did not find. And it
lays a sheet out as one rectangle in memory: a forgotten cell in column XFD takes gigabytes, or the whole process. So
the sheet is looked through once before, by its tags or records alone.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Final
from zipfile import BadZipFile, ZipFile

from . import odsscan, xlsbscan, xlsscan
from .findings import Failed, Findings
from .rows import Unreadable

_BLOCK: Final = 1 << 20
# A cell and its formula are shorter; what is seen twice does no harm.
_OVERLAP: Final = 1 << 16
_MOST_BYTES: Final = 2 << 30
_BROKEN: Final = (
    BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
)
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
# As openpyxl writes them, whose author never saw a value; an empty text has the type `str`.
_UNCOMPUTED: Final = re.compile(
    rb'<(?:\w+:)?c\s(?![^>]*?\bt="str")[^>]*?\br="([A-Z]{1,3})([0-9]{1,7})"[^>]*>'
    rb"<(?:\w+:)?f(?:\s[^>]*?)?(?:/>|>[^<]*</(?:\w+:)?f>)(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v></(?:\w+:)?v>)?</(?:\w+:)?c>"
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
    except _BROKEN:
        return  # an old .xls, or damaged, which calamine says better
    if size > _MOST_BYTES:
        raise Unreadable(f"unpacks to {size:,} bytes, and at most {_MOST_BYTES:,} are read; save it as CSV")


def failed_formulas(stream: IO[bytes], index: int) -> Failed:
    """What a sheet shows where a formula failed: by row and by column, both from 1.

    Args:
        index: the sheet's place in the workbook, from 0.

    Raises:
        Unreadable: a cell stands too far away, or too many formulas failed.
    """
    findings = Findings()
    try:
        if xlsscan.is_compound(stream):
            xlsscan.scan(stream, index, findings)
            return findings.failed
        stream.seek(0)
        with ZipFile(stream) as archive:
            names = archive.namelist()
            if "xl/workbook.xml" in names:
                ids = _SHEET.findall(archive.read("xl/workbook.xml"))
                with archive.open(_part(archive, "xl/_rels/workbook.xml.rels", ids[index])) as xml:
                    _scan(_blocks(xml), findings)
            elif "xl/workbook.bin" in names:
                identity = xlsbscan.relation(archive.read("xl/workbook.bin"), index)
                xlsbscan.scan(archive.read(_part(archive, "xl/_rels/workbook.bin.rels", identity)), findings)
            elif "content.xml" in names:
                with archive.open("content.xml") as xml:
                    odsscan.scan(_blocks(xml), index, findings)
            else:
                return {}
    except (*_BROKEN, IndexError):
        return {}  # damaged, which calamine says better
    return findings.failed


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_BLOCK), b"")


def _part(archive: ZipFile, relations: str, identity: bytes) -> str:
    """The name of the part of a sheet."""
    for relation in _RELATION.findall(archive.read(relations)):
        attributes = dict(_ATTRIBUTE.findall(relation))
        if attributes.get(b"Id") == identity:
            target = attributes.get(b"Target", b"").decode()
            return target[1:] if target.startswith("/") else f"xl/{target}"
    raise KeyError(identity)


def _scan(blocks: Iterator[bytes], findings: Findings) -> None:
    rest = b""
    for block in blocks:
        seen = rest + block
        rest = seen[-_OVERLAP:]
        cells = _CELL.findall(seen)
        if cells:
            columns = {column for column, _ in cells}
            findings.reach(max(int(row) for _, row in cells), max(map(_number, columns)))
        if b't="e"' in seen:
            for column, row, shown in _FAILED.findall(seen):
                findings.fail(int(row), _number(column), shown.decode("utf-8", "replace"))
        for column, row in _UNCOMPUTED.findall(seen) if b"<f" in seen or b":f" in seen else ():
            findings.fail(int(row), _number(column), None)


def _number(name: bytes) -> int:
    column = 0
    for letter in name:
        column = column * 26 + letter - ord("A") + 1
    return column
