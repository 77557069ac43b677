"""What a file holds, by its name, and the reader for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import IO, Final, Literal, get_args

from .jsonl import read_jsonl
from .remote import without_query
from .rows import ReadOptions, Reject, Row, Stream, Unreadable
from .table import read_table

StreamKind = Literal["jsonl", "csv", "tsv"]
Kind = Literal[StreamKind, "parquet", "excel"]
StreamReader = Callable[[Stream, str, ReadOptions], Iterator[Row | Reject]]
FileReader = Callable[[IO[bytes], str, ReadOptions], Iterator[Row | Reject]]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
STDIN: Final = "-"
_PACKED: Final = (".gz", ".zst")
_SUFFIXES: Final[dict[str, Kind]] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
    ".parquet": "parquet", ".pq": "parquet",
    ".xlsx": "excel", ".xlsm": "excel", ".xls": "excel", ".xlsb": "excel", ".ods": "excel",
}  # fmt: skip
STREAM_READERS: Final[dict[Kind, StreamReader]] = {
    "jsonl": read_jsonl,
    "csv": read_table,
    "tsv": partial(read_table, separators="\t,;"),
}


def kind_of(name: str) -> Kind:
    """What a file is, by its suffix; standard input is JSONL.

    Raises:
        Unreadable: the name does not tell.
    """
    if name == STDIN:
        return "jsonl"
    path = PurePosixPath(without_query(name).lower().replace("\\", "/"))
    packed = path.suffix in _PACKED
    kind = _SUFFIXES.get(PurePosixPath(path.stem).suffix if packed else path.suffix)
    if kind is None:
        raise Unreadable(
            "its name does not tell what it holds (.jsonl, .csv, .tsv, each also with .gz or .zst, .parquet, .xlsx, "
            ".xls, .xlsb, .ods); say it with --format"
        )
    if packed and kind not in STREAM_READERS:
        raise Unreadable(f"is packed a second time; unpack it to {path.stem}")
    return kind


def file_reader(kind: Kind) -> FileReader:
    """The reader of a format that is no stream; its library is imported only now."""
    if kind == "parquet":
        from .parquet import read_parquet  # noqa: PLC0415 - see above

        return read_parquet
    from .excel import read_excel  # noqa: PLC0415 - see above

    return read_excel
