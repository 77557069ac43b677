"""Where a journal lies, and whether that is a good place."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from xmediameta.errors import JournalError, MissingExtra
from xmediameta.text import printable

ENVIRONMENT: Final = "XMEDIAMETA_JOURNAL"
MOUNTS: Final = Path("/proc/self/mounts")

# File systems over a network or between a machine and its guests, where SQLite's locks or its shared memory cannot be
# trusted (sqlite.org/wal.html, section 1, and sqlite.org/howtocorrupt.html, section 2.1).
_NETWORK: Final = frozenset(
    (
        "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fakeowner", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
        "nfs4", "ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "vmhgfs", "fuse.ceph", "fuse.davfs2",
        "fuse.gcsfuse", "fuse.glusterfs", "fuse.mount-s3", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
        "fuse.vmhgfs-fuse",
    )
)  # fmt: skip
# Names of folders that a program keeps in step with other machines, as these programs name them.
_SYNCED: Final = re.compile(
    r"dropbox( \(.*\))?|onedrive( ?-.*)?|google ?drive(-.*| \(.*\))?|icloud ?drive|mobile documents|cloudstorage"
    r"|nextcloud|owncloud|box sync|pclouddrive",
    re.IGNORECASE,
)
# Syncthing marks the folders that it keeps in step.
_MARKERS: Final = (".stfolder",)
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


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
    """Make the folder and the file, readable by nobody else. A file that is there is not opened (see `file`).

    Raises:
        JournalError: the path is a folder or a device, or cannot be read and written.
    """
    shown = printable(str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            mode = path.stat().st_mode
        else:
            return
    except OSError as error:
        raise JournalError(f"the journal {shown} cannot be written: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise JournalError(f"the journal {shown} is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise JournalError(f"the journal {shown} is a device, not a file")
    if not os.access(path, os.R_OK | os.W_OK):
        raise JournalError(f"the journal {shown} cannot be read and written: the permission is missing")


def doubts(path: Path) -> str | None:
    """Why SQLite may not be safe at this path, or None."""
    whole = path.absolute().resolve()
    shown = printable(str(path))
    synced = next((part for part in whole.parent.parts if _SYNCED.fullmatch(part)), None) or next(
        (folder.name for folder in whole.parents if any((folder / marker).exists() for marker in _MARKERS)), None
    )
    if synced is not None:
        return (
            f"{shown} lies in a folder that is synced with other machines ({printable(synced)}), which can damage a"
            " journal; name another place for it"
        )
    kind = _file_system(str(whole))
    if kind in _NETWORK:
        return (
            f"{shown} lies on a network file system ({kind}), where SQLite's locks cannot be trusted; name a place on a"
            " local disk for the journal"
        )
    return None


def _file_system(target: str) -> str | None:
    """The type of the file system, where the system tells (Linux)."""
    try:
        mounts = MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    length, kind = -1, None
    for line in mounts:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        # The kernel writes spaces, tabs, line feeds and backslashes as octal numbers.
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[1])
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        # Of two mounts on one point the later hides the earlier.
        if inside and len(point) >= length:
            length, kind = len(point), fields[2]
    return kind
