"""A table's columns and cells, read as updates; CSV, Excel and Parquet share them.

A column is a short form (`alt_text`), a dotted path of the wire (`sensitive_media_warning.adult_content`), or one of
`id`, `account`, `ref`, `send_before`. Headers are read once, into `Columns`; each row is then a sequence of cells.
Faults name the header as its writer spelled it, since that is what can be found in the file.
"""

from __future__ import annotations

from .cells import COLUMN_NAMES, KNOWN, READERS, Kind, Path, checked_seconds, seconds_of
from .columns import Column, Columns, Flaw
from .header import columns_for, read_header

__all__ = [
    "COLUMN_NAMES",
    "KNOWN",
    "READERS",
    "Column",
    "Columns",
    "Flaw",
    "Kind",
    "Path",
    "checked_seconds",
    "columns_for",
    "read_header",
    "seconds_of",
]
