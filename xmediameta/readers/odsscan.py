"""The tags of an OpenDocument sheet: rows and cells are counted, since they do not say where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .findings import Findings

_TAG: Final = re.compile(rb"<table:(table|table-row|table-cell|covered-table-cell)(\s[^>]*|/)?>")
_REPEATED: Final = re.compile(rb'table:number-(?:rows|columns)-repeated="(\d{1,9})"')
_SHOWN: Final = re.compile(rb"<text:p>((?:#|Err:)[^<]{1,20})</text:p>")
_FAILED: Final = b'calcext:value-type="error"'
_NEAR: Final = 2000


def scan(blocks: Iterator[bytes], index: int, findings: Findings) -> None:
    """Find the failed formulas of a sheet, and its last cell.

    Args:
        index: the sheet's place in the document, from 0.
    """
    table, row, rows, column = -1, 0, 1, 0
    for seen in _whole_tags(blocks):
        for tag in _TAG.finditer(seen):
            attributes = tag[2] or b""
            repeated = _REPEATED.search(attributes)
            times = int(repeated[1]) if repeated else 1
            if tag[1] == b"table":
                table, row, rows, column = table + 1, 0, 1, 0
            elif table != index:
                continue
            elif tag[1] == b"table-row":
                row, rows, column = row + rows if row else 1, times, 0
            elif b"value-type" not in attributes:
                if b"table:formula=" in attributes:
                    findings.fail(row, column + 1, None)
                column += times
            else:
                findings.reach(row + rows - 1, column + times)
                if _FAILED in attributes:
                    shown = _SHOWN.search(seen, tag.end(), tag.end() + _NEAR)
                    text = shown[1].decode("utf-8", "replace") if shown else "#VALUE!"
                    for at in range(row, row + rows):
                        for beside in range(column + 1, column + times + 1):
                            findings.fail(at, beside, text)
                column += times


def _whole_tags(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The document in pieces that end between tags."""
    rest = b""
    for block in blocks:
        seen = rest + block
        end = seen.rfind(b"<")
        if end > 0:
            yield seen[:end]
        rest = seen[max(end, 0) :]
    yield rest
