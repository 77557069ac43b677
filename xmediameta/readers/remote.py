"""Files that a URI names, `s3://bucket/updates.parquet` and the like, opened through pyarrow.

Credentials come from the environment or from the platform's own files, as pyarrow finds them. A URI that holds one is
refused: names of files are shown, logged and kept.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, Any, Final

from msgspec import Struct

from xmediameta.extras import needed
from xmediameta.text import printable

from .rows import Unreadable

# Two letters at least: `C://` is a drive.
_URI: Final = re.compile(r"[a-z][a-z0-9+.\-]+://", re.IGNORECASE)
_SECRET: Final = re.compile(r"(?<=://)[^/?#]*:(?!\d+/)[^?#]*@")


def is_uri(name: str) -> bool:
    """Whether a name is a URI, and no path."""
    return _URI.match(name) is not None


def without_query(name: str) -> str:
    """A URI less its query, which may hold secrets and is no part of a name; a path as it is."""
    return name.partition("?")[0] if is_uri(name) else name


def shown(name: str) -> str:
    """A name that can be shown: no password, no query."""
    return _SECRET.sub("***@", without_query(name)) if is_uri(name) else name


class Remote(Struct, frozen=True):
    """A file on some file system of pyarrow's."""

    filesystem: Any
    path: str
    name: str

    @contextmanager
    def opened(self) -> Generator[IO[bytes]]:
        """The file, which can be sought in.

        Raises:
            Unreadable: there is none, or it cannot be reached.
        """
        with _told(self.name):
            file = self.filesystem.open_input_file(self.path)
        with file:
            yield file

    def fingerprint(self) -> tuple[int, ...]:
        """Its size and time.

        Raises:
            Unreadable: there is no such file, or it cannot be reached.
        """
        with _told(self.name):
            info = self.filesystem.get_file_info(self.path)
        kind = info.type.name
        if kind != "File":
            raise Unreadable("is a folder; give the files in it" if kind == "Directory" else "no such file")
        return info.size, info.mtime_ns or 0


def resolve(name: str) -> Remote:
    """The file behind a URI.

    Raises:
        Unreadable: the URI holds a password, or pyarrow knows no such place.
        MissingExtra: pyarrow is not installed.
    """
    fs = needed("pyarrow.fs", "reading from a URI", "parquet")
    if _SECRET.search(name):
        raise Unreadable("holds a password or key; leave it out, and give it in the environment")
    with _told(name):
        filesystem, path = fs.FileSystem.from_uri(name)
    return Remote(filesystem, path, name)


@contextmanager
def _told(name: str) -> Generator[None]:
    """What pyarrow and the clouds say, in one line and without the URI's query."""
    try:
        yield
    except (OSError, ValueError, ImportError, NotImplementedError) as error:
        said = printable(str(error).replace(name, shown(name)), 300)
        missing = isinstance(error, FileNotFoundError)
    else:
        return
    raise Unreadable("no such file" if missing else f"cannot be read: {said}")
