"""Files of updates, read lazily, row by row: JSONL and CSV, packed or not, Parquet, workbooks, and standard input.

`Inputs` holds the files and reads them as often as asked; each pass yields a `Row` for an update and a `Reject` for a
line that is none. A new format is one more reader in `kinds`, with the same columns behind it (`xmediameta.flat`).
"""

from __future__ import annotations

from .inputs import Inputs
from .kinds import KINDS, STDIN, Kind, kind_of
from .remote import shown as shown_name
from .rows import LINE_LIMIT, ReadOptions, Reject, Row, split_where

__all__ = [
    "KINDS",
    "LINE_LIMIT",
    "STDIN",
    "Inputs",
    "Kind",
    "ReadOptions",
    "Reject",
    "Row",
    "kind_of",
    "shown_name",
    "split_where",
]
