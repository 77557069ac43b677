"""Text that came as bytes of another encoding, told cell by cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from xmediameta.flat import Flaw
from xmediameta.text import printable

_NOT_UTF8: Final = re.compile("[\udc80-\udcff]")


def damage(cells: Sequence[object], headers: Sequence[str]) -> Flaw | None:
    """The first cell that holds NUL, or bytes that are not UTF-8 and were decoded to lone surrogates."""
    for place, (header, cell) in enumerate(zip(headers, cells, strict=True)):
        if not isinstance(cell, str):
            continue
        rule = ""
        if odd := _NOT_UTF8.search(cell):
            byte = ord(odd[0]) - 0xDC00
            rule = f"is not UTF-8 (one byte is 0x{byte:02x}; the file may be in latin-1 or UTF-16)"
        elif "\0" in cell:
            rule = "holds a NUL byte: the file is damaged, or not UTF-8"
        if rule:
            return Flaw(printable(header.strip(), 60), rule, (place,))
    return None
