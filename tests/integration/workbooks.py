"""Small workbooks in the four formats, written as their specifications have it, and by nothing that reads them.

A cell is a text, a number, a boolean, None, or `ERROR`: what a formula shows that found nothing (#N/A).
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

Cell = str | float | bool | None
Rows = Sequence[Sequence[Cell]]

ERROR: Final = "\x00#N/A"
_NA: Final = 0x2A
# Links of a compound file: to no other sector, from the sector of links itself, from one that is free.
_LAST, _LINKS, _FREE = 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF


def xlsx(sheets: dict[str, Rows], *, hidden: Sequence[str] = (), prefix: str = "", absolute: bool = False) -> bytes:
    """ECMA-376; texts stand in their cells.

    Args:
        prefix: a namespace prefix for every element of sheets, as some writers have it.
        absolute: whether relations begin with a slash.
    """
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": _relations([("rId1", "officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": (
            '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
            'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>'
            + "".join(
                f'<sheet name="{escape(name)}" sheetId="{number}" '
                f'{"state=" + chr(34) + "hidden" + chr(34) if name in hidden else ""} r:id="rId{number}"/>'
                for number, name in enumerate(sheets, 1)
            )
            + "</sheets></workbook>"
        ),
        "xl/_rels/workbook.xml.rels": _relations(
            [
                (f"rId{number}", "worksheet", f"{'/xl/' if absolute else ''}worksheets/sheet{number}.xml")
                for number in range(1, len(sheets) + 1)
            ]
        ),
    }
    for number, rows in enumerate(sheets.values(), 1):
        parts[f"xl/worksheets/sheet{number}.xml"] = _sheet_xml(rows, f"{prefix}:" if prefix else "")
    return _zipped(parts)


def _sheet_xml(rows: Rows, p: str) -> str:
    space = f'xmlns{":" + p[:-1] if p else ""}="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    lines = [f"<{p}worksheet {space}><{p}sheetData>"]
    for number, row in enumerate(rows, 1):
        cells = "".join(_cell_xml(cell, f"{chr(64 + column)}{number}", p) for column, cell in enumerate(row, 1))
        lines.append(f'<{p}row r="{number}">{cells}</{p}row>')
    return "".join([*lines, f"</{p}sheetData></{p}worksheet>"])


def _cell_xml(cell: Cell, at: str, p: str) -> str:
    if cell is None:
        return ""
    if cell == ERROR:
        return f'<{p}c r="{at}" t="e"><{p}f>VLOOKUP(1,A1:A2,1)</{p}f><{p}v>#N/A</{p}v></{p}c>'
    if isinstance(cell, bool):
        return f'<{p}c r="{at}" t="b"><{p}v>{int(cell)}</{p}v></{p}c>'
    if isinstance(cell, str):
        return f'<{p}c r="{at}" t="inlineStr"><{p}is><{p}t xml:space="preserve">{escape(cell)}</{p}t></{p}is></{p}c>'
    return f'<{p}c r="{at}"><{p}v>{cell!r}</{p}v></{p}c>'


def ods(rows: Rows, *, sheet: str = "Sheet1") -> bytes:
    """OpenDocument 1.2."""
    body = "".join(f"<table:table-row>{''.join(map(_cell_ods, row))}</table:table-row>" for row in rows)
    content = (
        '<?xml version="1.0" encoding="UTF-8"?><office:document-content office:version="1.2" '
        'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
        'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
        'xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0">'
        f'<office:body><office:spreadsheet><table:table table:name="{escape(sheet)}">{body}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    manifest = (
        '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{kind}"/></manifest:manifest>'
    )
    return _zipped({"mimetype": kind, "content.xml": content, "META-INF/manifest.xml": manifest})


def _cell_ods(cell: Cell) -> str:
    if cell is None:
        return "<table:table-cell/>"
    if cell == ERROR:
        kind, shown = 'office:value-type="string" office:string-value="" calcext:value-type="error"', "#N/A"
    elif isinstance(cell, bool):
        kind, shown = f'office:value-type="boolean" office:boolean-value="{str(cell).lower()}"', str(cell).upper()
    elif isinstance(cell, str):
        kind, shown = 'office:value-type="string"', escape(cell)
    else:
        kind, shown = f'office:value-type="float" office:value="{cell!r}"', str(cell)
    return f"<table:table-cell {kind}><text:p>{shown}</text:p></table:table-cell>"


def xlsb(rows: Rows, *, sheet: str = "Sheet1") -> bytes:
    """MS-XLSB: the records that a reader needs, and no others."""
    record = _record_of(_varying)
    cells: list[bytes] = []
    for number, row in enumerate(rows):
        cells.append(record(0, struct.pack("<II", number, 0) + bytes(9)))
        for column, cell in enumerate(row):
            at = struct.pack("<II", column, 0)
            if cell is None:
                continue
            if cell == ERROR:
                cells.append(record(3, at + bytes([_NA])))
            elif isinstance(cell, bool):
                cells.append(record(4, at + bytes([cell])))
            elif isinstance(cell, str):
                cells.append(record(6, at + _wide(cell)))
            else:
                cells.append(record(5, at + struct.pack("<d", cell)))
    extent = struct.pack("<IIII", 0, max(len(rows) - 1, 0), 0, 25)
    body = record(129) + record(148, extent) + record(145) + b"".join(cells) + record(146) + record(130)
    bundle = struct.pack("<II", 0, 1) + _wide("rId1") + _wide(sheet)
    book = record(131) + record(143) + record(156, bundle) + record(144) + record(132)
    return _zipped(
        {
            "xl/workbook.bin": book,
            "xl/_rels/workbook.bin.rels": _relations([("rId1", "worksheet", "worksheets/sheet1.bin")]),
            "xl/worksheets/sheet1.bin": body,
        }
    )


def xls(rows: Rows, *, sheet: str = "Sheet1", small: bool = False) -> bytes:
    """BIFF8 in a compound file (MS-XLS, MS-CFB).

    Args:
        small: in small sectors, as a stream below 4,096 bytes has to stand; otherwise it is made longer.
    """
    record = _record_of(lambda kind, size: struct.pack("<HH", kind, size))
    bundle = struct.pack("<HBB", 0, len(sheet), 1) + sheet.encode("utf-16-le")
    start = record(0x809, struct.pack("<HHHHII", 0x0600, 0x0005, 0, 0, 0, 0))
    before = len(start) + len(record(0x85, bytes(4) + bundle)) + len(record(0x0A))
    cells: list[bytes] = []
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            at = struct.pack("<HHH", number, column, 0)
            if cell is None:
                continue
            if cell == ERROR and column % 2:
                cells.append(record(0x205, at + bytes([_NA, 1])))
            elif cell == ERROR:
                cells.append(record(0x06, at + bytes([2, 0, _NA, 0, 0, 0, 0xFF, 0xFF]) + bytes(6) + b"\0\0"))
            elif isinstance(cell, bool):
                cells.append(record(0x205, at + bytes([cell, 0])))
            elif isinstance(cell, str):
                text = cell.encode("utf-16-le")
                cells.append(record(0x204, at + struct.pack("<HB", len(text) // 2, 1) + text))
            else:
                cells.append(record(0x203, at + struct.pack("<d", cell)))
    begin = record(0x809, struct.pack("<HHHHII", 0x0600, 0x0010, 0, 0, 0, 0))
    globals_ = start + record(0x85, struct.pack("<I", before) + bundle) + record(0x0A)
    book = globals_ + begin + b"".join(cells) + record(0x0A)
    return _compound(book if small else book.ljust(4096, b"\0"))


def _compound(stream: bytes) -> bytes:
    """A compound file that holds one stream, in sectors of 512 bytes: one of links, the stream, its directory."""
    small = len(stream) < 4096
    sectors = -(-len(stream) // 512)
    links = [_LINKS, *range(2, sectors + 1), _LAST, _LAST]
    smaller = -(-len(stream) // 64)
    if small:
        links.append(_LAST)
    directory = sectors + 1
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    head += struct.pack("<IIIIIII", 0, 1, directory, 0, 4096, directory + 1 if small else _LAST, int(small))
    head += struct.pack("<III", _LAST, 0, 0) + b"\xff" * 4 * 108
    root = _entry("Root Entry", 5, 1, sectors * 512, child=1) if small else _entry("Root Entry", 5, _LAST, 0, child=1)
    parts = [
        head,
        struct.pack("<128I", *links, *[_FREE] * (128 - len(links))),
        stream.ljust(sectors * 512, b"\0"),
        (root + _entry("Workbook", 2, 0 if small else 1, len(stream))).ljust(512, b"\0"),
    ]
    if small:
        parts.append(struct.pack("<128I", *range(1, smaller), _LAST, *[_FREE] * (128 - smaller)))
    return b"".join(parts)


def _entry(name: str, kind: int, start: int, size: int, child: int = 0xFFFFFFFF) -> bytes:
    wide = name.encode("utf-16-le") + b"\0\0"
    entry = wide.ljust(64, b"\0") + struct.pack("<HBB", len(wide), kind, 1)
    return entry + struct.pack("<III", 0xFFFFFFFF, 0xFFFFFFFF, child) + bytes(36) + struct.pack("<IQ", start, size)


def _record_of(head: Callable[[int, int], bytes]) -> Callable[..., bytes]:
    return lambda kind, data=b"": head(kind, len(data)) + data


def _varying(kind: int, size: int) -> bytes:
    """A record's kind and size, seven bits in a byte."""
    head = bytes([kind]) if kind < 128 else bytes([kind & 0xFF, kind >> 8 or 1])
    while size >= 128:
        head += bytes([size & 127 | 128])
        size >>= 7
    return head + bytes([size])


def _wide(text: str) -> bytes:
    return struct.pack("<I", len(text.encode("utf-16-le")) // 2) + text.encode("utf-16-le")


def _relations(relations: Sequence[tuple[str, str, str]]) -> str:
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    inner = "".join(f'<Relationship Id="{i}" Type="{kind}/{name}" Target="{to}"/>' for i, name, to in relations)
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{inner}</Relationships>'
    )


def _zipped(parts: dict[str, str] | dict[str, bytes] | dict[str, str | bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return sink.getvalue()


FORMATS: dict[str, Callable[[Rows], bytes]] = {
    "u.xlsx": lambda rows: xlsx({"Sheet1": rows}),
    "u.xlsm": lambda rows: xlsx({"Sheet1": rows}, prefix="x", absolute=True),
    "u.ods": ods, "u.xlsb": xlsb, "u.xls": xls, "small.xls": lambda rows: xls(rows, small=True),
}  # fmt: skip


def put(rows: Rows, name: str = "u.xlsx", **more: Rows) -> str:
    """Write a workbook of the format that its name tells; `more` are further sheets of an .xlsx."""
    Path(name).write_bytes(FORMATS[name](rows) if not more else xlsx({"Sheet1": rows, **more}))
    return name
