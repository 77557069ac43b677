"""The files of a run: opened, unzipped, told apart by suffix, and read as often as asked.

A run reads its input twice, first to check and then to send. So standard input and pipes are kept aside in a spooled
temporary file, and a regular file is watched: what was checked must be what is sent.
"""

from __future__ import annotations

import io
import os
import select
import stat
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Self, cast

from .kinds import STDIN, STREAM_READERS, Kind, file_reader, kind_of
from .packed import unpacked
from .remote import Remote, is_uri, resolve, shown
from .rows import BOM, ReadOptions, Reject, Row, Stream, Unreadable

_KEPT_IN_MEMORY: Final = 8 << 20
_BLOCK: Final = 1 << 18
_LOOK_UP: Final = 1.0
_CHANGED: Final = "was changed after it had been checked; nothing more of it is sent: run the same again"
_MAGIC: Final = (
    (b"\xff\xfe", "is in UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "is in UTF-16; save it as UTF-8"),
    (b"PK\x03\x04", "is an Excel file or a ZIP archive, not text; --format excel reads a workbook"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel file, not text; --format excel reads it"),
    (b"PAR1", "is a Parquet file, not text; --format parquet reads it"),
)


class Inputs:
    """The files of a run.

    Args:
        names: paths; `-` is standard input; a URI such as `s3://bucket/updates.parquet` needs the extra [parquet].
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
        self._remotes: dict[int, Remote] = {}
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
        """All rows of all files, in order. Never raises for what a file holds: what is wrong is a `Reject`.

        Raises:
            MissingExtra: a file is of a format whose library is not installed.
        """
        for index, name in enumerate(self.names):
            file = "stdin" if name == STDIN else shown(name)
            try:
                with self._raw(index, name) as raw:
                    kind: Kind = self._kind or kind_of(name)
                    if kind in STREAM_READERS:
                        with unpacked(raw, file) as stream:
                            yield from STREAM_READERS[kind](_checked_start(stream), file, self._options)
                    else:
                        yield from file_reader(kind)(raw, file, self._options)
            except Unreadable as error:
                rule = str(error)
            except OSError as error:
                rule = _os_rule(error)
            else:
                continue
            yield Reject(file=file, line=None, member="", rule=rule, fatal=True)

    def changed(self) -> Reject | None:
        """The first file that is no longer what was read, by its size and time; None when all are."""
        for index, seen in self._prints.items():
            name = self.names[index]
            try:
                remote = self._remotes.get(index)
                same = (_fingerprint(Path(name).stat()) if remote is None else remote.fingerprint()) == seen
            except (OSError, Unreadable):
                same = False
            if not same:
                return Reject(file=shown(name), line=None, member="", rule=_CHANGED, fatal=True)
        return None

    @contextmanager
    def _raw(self, index: int, name: str) -> Generator[IO[bytes]]:
        """The bytes of a file, from its start; they can be sought in."""
        if index in self._spools:
            self._spools[index].seek(0)
            yield self._spools[index]
        elif name == STDIN:
            if self._stdin is None:
                raise Unreadable("standard input can be read once only; is - given twice?")
            source, self._stdin = self._stdin, None
            yield self._spooled(index, source)
        elif is_uri(name):
            if index not in self._remotes:
                self._remotes[index] = resolve(name)
            remote = self._remotes[index]
            self._watch(index, remote.fingerprint())
            with remote.opened() as raw:
                yield raw
        else:
            with Path(name).open("rb", buffering=0) as raw:
                status = os.fstat(raw.fileno())
                if stat.S_ISREG(status.st_mode):
                    self._watch(index, _fingerprint(status))
                    yield cast("IO[bytes]", raw)
                else:
                    yield self._spooled(index, cast("BinaryIO", raw))

    def _watch(self, index: int, now: tuple[int, ...]) -> None:
        if self._prints.setdefault(index, now) != now:
            raise Unreadable(_CHANGED)

    def _spooled(self, index: int, source: BinaryIO) -> IO[bytes]:
        """A copy of what can be read once only."""
        spool = tempfile.SpooledTemporaryFile(_KEPT_IN_MEMORY)  # noqa: SIM115 - close() closes it
        self._held.callback(spool.close)
        for block in _blocks(source):
            spool.write(block)
        spool.seek(0)
        self._spools[index] = cast("IO[bytes]", spool)
        return self._spools[index]


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    """What a pipe gives, as it comes.

    A signal that arrives while data is being copied is seen only once Python runs again, so each block is one system
    call, and a wait for the next ends every second: a buffered read of a pipe that has fallen silent would never end.
    """
    raw: Any = getattr(source, "raw", source)
    waitable = os.name == "posix" and isinstance(raw, io.FileIO)
    while True:
        if waitable and not select.select([raw], [], [], _LOOK_UP)[0]:
            continue
        block = raw.read(_BLOCK)
        if block:
            yield block
        elif block is not None:  # None: another process made the pipe non-blocking, and nothing is there yet
            return


def _checked_start(stream: Stream) -> Stream:
    """The stream after its byte-order mark; refuses what is not text in UTF-8 at first sight."""
    head = stream.peek(4)[:4]
    for magic, rule in _MAGIC:
        if head.startswith(magic):
            raise Unreadable(rule)
    if b"\0" in head[:2]:
        raise Unreadable("begins with a NUL byte: it may be in UTF-16; save it as UTF-8")
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
