"""Where a journal lies, and whether that is a good place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from xmediameta.errors import JournalError, MissingExtra

ENVIRONMENT: Final = "XMEDIAMETA_JOURNAL"
# File systems over a network, where SQLite's locks or its shared memory cannot be trusted (sqlite.org/wal.html, 1.).
_NETWORK: Final = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.rclone")
)
_SYNCED: Final = ("dropbox", "onedrive", "google drive", "googledrive", "icloud drive", "mobile documents", "nextcloud")


def journal_path(given: str | os.PathLike[str] | None = None) -> Path:
    """The path of the journal: as given, or from `XMEDIAMETA_JOURNAL`, or one for the person in the state folder.

    Raises:
        MissingExtra: the default place needs platformdirs, of the extra [cli].
    """
    named = given if given is not None else os.environ.get(ENVIRONMENT) or None
    if named is not None:
        return Path(named).expanduser()
    try:
        from platformdirs import user_state_path  # noqa: PLC0415 - of an extra
    except ImportError:
        raise MissingExtra("the default place of the journal", "cli") from None
    return user_state_path("xmediameta", appauthor=False) / "journal.db"


def make_room(path: Path) -> None:
    """Make the folder and the file, readable by nobody else.

    Raises:
        JournalError: the path is a folder, or cannot be written.
    """
    if path.is_dir():
        raise JournalError(f"the journal {path} is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be written: {error.strerror}") from error


def doubts(path: Path) -> str | None:
    """Why SQLite may not be safe at this path, or None."""
    for part in path.resolve().parts:
        if part.lower() in _SYNCED or part.lower().startswith("onedrive -"):
            return f"{path} lies in a folder that is synced with other machines ({part}), which can damage a journal"
    kind = _file_system(path)
    if kind in _NETWORK:
        return f"{path} lies on a network file system ({kind}), where SQLite's locks cannot be trusted"
    return None


def _file_system(path: Path) -> str | None:
    """The type of the file system, where the system tells (Linux)."""
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    target = str(path.resolve())
    found: tuple[int, str | None] = (-1, None)
    for line in mounts:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= found[0]:
            found = (len(point), fields[2])
    return found[1]
