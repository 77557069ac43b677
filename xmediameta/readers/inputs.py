"""The files of a run: opened, unzipped, told apart by suffix, and read as often as asked.

A run reads its input twice, first to check and then to send. So standard input and pipes are kept aside in a spooled
temporary file, and a regular file is watched: what was checked must be what is sent.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, Final, Literal, Self, cast

from .jsonl import read_jsonl
from .rows import BOM, ReadOptions, Reject, Row, Stream
from .table import read_table

Kind = Literal["jsonl", "csv", "tsv"]
Reader = Callable[[Stream, str, ReadOptions], Iterator[Row | Reject]]

STDIN: Final = "-"
_GZIP: Final = b"\x1f\x8b"
_KEPT_IN_MEMORY: Final = 8 << 20
_READERS: Final[dict[Kind, Reader]] = {
    "jsonl": read_jsonl,
    "csv": read_table,
    "tsv": partial(read_table, separators="\t,;"),
}
_SUFFIXES: Final[dict[str, Kind]] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
}  # fmt: skip
_NOT_YET: Final = {
    ".parquet": "Parquet", ".pq": "Parquet", ".xlsx": "Excel", ".xlsm": "Excel", ".xls": "Excel",
    ".ods": "OpenDocument",
}  # fmt: skip
_CHANGED: Final = "was changed after it had been checked; nothing more of it is sent: run the same again"
_MAGIC: Final = (
    (b"\xff\xfe", "is in UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is in UTF-16; save it as UTF-8"),
    (b"PK\x03\x04", "is an Excel file or a ZIP archive, not text; save it as CSV in UTF-8"),
    (b"PAR1", "is a Parquet file; this version does not read Parquet yet: write it as CSV or JSONL"),
)


class _Unreadable(Exception):
    """A file that cannot be read; the message is the rule."""


class Inputs:
    """The files of a run.

    Args:
        names: paths; `-` is standard input.
        options: how rows are read.
        kind: what all of them are; None tells it from each suffix, and takes standard input for JSONL.
        stdin: standard input, when `-` is among the names.
    """

    def __init__(
        self,
        names: Sequence[str],
        options: ReadOptions | None = None,
        *,
        kind: Kind | None = None,
        stdin: BinaryIO | None = None,
    ) -> None:
        self.names = tuple(names)
        self._options = options or ReadOptions()
        self._kind: Kind | None = kind
        self._stdin = stdin
        self._spools: dict[int, IO[bytes]] = {}
        self._prints: dict[int, tuple[int, ...]] = {}
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what was kept aside."""
        self._held.close()
        self._spools.clear()

    def rows(self) -> Iterator[Row | Reject]:
        """All rows of all files, in order. Never raises for what a file holds: what is wrong is a `Reject`."""
        for index, name in enumerate(self.names):
            shown = "stdin" if name == STDIN else name
            try:
                with self._opened(index, name) as stream:
                    kind: Kind = self._kind or kind_of(name)
                    yield from _READERS[kind](_checked_start(stream), shown, self._options)
            except _Unreadable as error:
                rule = str(error)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                rule = f"the gzip data is broken: {error}"
            except OSError as error:
                rule = _os_rule(error)
            else:
                continue
            yield Reject(file=shown, line=None, member="", rule=rule, fatal=True)

    def changed(self) -> Reject | None:
        """The first file that is no longer what was read, by its size and time; None when all are."""
        for index, seen in self._prints.items():
            name = self.names[index]
            try:
                same = _fingerprint(Path(name).stat()) == seen
            except OSError:
                same = False
            if not same:
                return Reject(file=name, line=None, member="", rule=_CHANGED, fatal=True)
        return None

    @contextmanager
    def _opened(self, index: int, name: str) -> Generator[Stream]:
        with ExitStack() as stack:
            raw = self._raw(index, name, stack)
            # Peeking through a reader of our own: it is let go of, and not closed, since a spool is read again.
            plain = io.BufferedReader(cast("io.RawIOBase", raw), 1 << 18)
            stack.callback(plain.detach)
            if plain.peek(2)[:2] == _GZIP:
                unzipped = stack.enter_context(gzip.GzipFile(fileobj=plain, mode="rb"))
                yield stack.enter_context(io.BufferedReader(cast("io.RawIOBase", unzipped), 1 << 18))
            elif name.lower().endswith(".gz"):
                raise _Unreadable("is not a gzip file, though its name ends in .gz")
            else:
                yield plain

    def _raw(self, index: int, name: str, stack: ExitStack) -> IO[bytes]:
        if index in self._spools:
            self._spools[index].seek(0)
            return self._spools[index]
        if name == STDIN:
            if self._stdin is None:
                raise _Unreadable("standard input can be read once only; is - given twice?")
            source, self._stdin = self._stdin, None
            return self._spooled(index, source)
        path = Path(name)
        raw = stack.enter_context(path.open("rb", buffering=0))
        status = os.fstat(raw.fileno())
        if not stat.S_ISREG(status.st_mode):
            return self._spooled(index, cast("BinaryIO", raw))
        if self._prints.setdefault(index, _fingerprint(status)) != _fingerprint(status):
            raise _Unreadable(_CHANGED)
        return cast("IO[bytes]", raw)

    def _spooled(self, index: int, source: BinaryIO) -> IO[bytes]:
        """A copy of what can be read once only."""
        spool = tempfile.SpooledTemporaryFile(_KEPT_IN_MEMORY)  # noqa: SIM115 - close() closes it
        self._held.callback(spool.close)
        while block := source.read(1 << 18):
            spool.write(block)
        spool.seek(0)
        self._spools[index] = cast("IO[bytes]", spool)
        return self._spools[index]


def kind_of(name: str) -> Kind:
    """What a file is, by its suffix; standard input is JSONL."""
    if name == STDIN:
        return "jsonl"
    path = Path(name.lower())
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix in _NOT_YET:
        raise _Unreadable(f"this version does not read {_NOT_YET[suffix]} yet; save it as CSV or JSONL")
    raise _Unreadable(
        "its name does not tell what it holds (.jsonl, .csv, .tsv, each also with .gz); say it with --format"
    )


def _checked_start(stream: Stream) -> Stream:
    """The stream after its byte-order mark; refuses what is not text in UTF-8 at first sight."""
    head = stream.peek(4)[:4]
    for magic, rule in _MAGIC:
        if head.startswith(magic):
            raise _Unreadable(rule)
    if b"\0" in head[:2]:
        raise _Unreadable("begins with a NUL byte: it may be in UTF-16; save it as UTF-8")
    if head.startswith(BOM):
        stream.read(len(BOM))
    return stream


def _fingerprint(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _os_rule(error: OSError) -> str:
    if isinstance(error, IsADirectoryError):
        return "is a folder; give the files in it"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return f"cannot be read: {error.strerror or error}"
