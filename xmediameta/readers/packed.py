"""What is packed, unpacked while it is read: gzip and Zstandard, told by their first bytes.

Unpacking goes on only as far as is read, so a small file that unpacks to terabytes meets the bounds of a line first.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, Any, Final, cast

from xmediameta.extras import needed
from xmediameta.text import printable

from .rows import Stream, Unreadable

_BUFFER: Final = 1 << 18
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_SKIPPED: Final = b"\x2a\x4d\x18"  # after any byte from 0x50 to 0x5f: a frame of Zstandard that holds no data
# The most memory that an archive may ask for: what the zstd command itself allows without --long.
_WINDOW_LOG: Final = 27


@contextmanager
def unpacked(raw: IO[bytes], name: str) -> Generator[Stream]:
    """A file's bytes, unpacked where they are packed.

    Raises:
        Unreadable: the name tells of a packing that the bytes do not have, or the packed data is broken.
        MissingExtra: Zstandard is not installed.
    """
    # Peeking through a reader of our own: it is let go of, and not closed, since a spool is read again.
    plain = io.BufferedReader(cast("io.RawIOBase", raw), _BUFFER)
    try:
        head = plain.peek(4)[:4]
        if head[:2] == _GZIP:
            with _reader(gzip.GzipFile(fileobj=plain, mode="rb"), "gzip", (zlib.error, gzip.BadGzipFile)) as stream:
                yield stream
        elif head == _ZSTD or (head[1:] == _SKIPPED and 0x50 <= head[0] <= 0x5F):
            zstd = _zstd()
            options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
            with _reader(zstd.ZstdFile(plain, options=options), "zstd", (zstd.ZstdError,)) as stream:
                yield stream
        else:
            for suffix, kind in ((".gz", "gzip"), (".zst", "zstd")):
                if name.lower().endswith(suffix):
                    raise Unreadable(f"is not a {kind} file, though its name ends in {suffix}")
            yield plain
    finally:
        plain.detach()


@contextmanager
def _reader(packed: Any, kind: str, faults: tuple[type[Exception], ...]) -> Generator[Stream]:
    with packed, io.BufferedReader(packed, _BUFFER) as stream:
        try:
            yield stream
        except EOFError:
            rule = f"the {kind} data ends too early; was a copy or a download cut off?"
        except faults as error:
            rule = f"the {kind} data is broken: {printable(str(error))}"
        else:
            return
    raise Unreadable(rule)


def _zstd() -> Any:
    # The backport is the same module, so that what holds for one holds for the other.
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return needed(name, "reading .zst files", "cli")
