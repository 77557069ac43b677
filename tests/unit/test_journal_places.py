"""Where a journal lies, and whether SQLite is safe there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from xmediameta.errors import MissingExtra
from xmediameta.journal import journal_path, places
from xmediameta.journal.places import doubts

LOCAL = "/dev/sda1 / ext4 rw,relatime 0 0\n"


@pytest.fixture(autouse=True)
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system would tell of its mounts."""
    told = tmp_path / "mounts"
    told.write_text(LOCAL)
    monkeypatch.setattr(places, "MOUNTS", told)
    return told


def test_a_path_as_given_or_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XMEDIAMETA_JOURNAL", str(tmp_path / "mine.db"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert journal_path() == tmp_path / "mine.db"
    assert journal_path("other.db") == Path("other.db")
    assert journal_path("~/other.db") == tmp_path / "other.db"


@pytest.mark.parametrize("empty", [True, False])
def test_by_default_one_in_the_persons_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty: bool
) -> None:
    if empty:
        monkeypatch.setenv("XMEDIAMETA_JOURNAL", "")
    else:
        monkeypatch.delenv("XMEDIAMETA_JOURNAL", raising=False)
    pytest.importorskip("platformdirs")
    monkeypatch.setattr("platformdirs.user_state_path", lambda app, *, appauthor: tmp_path / app)
    assert journal_path() == tmp_path / "xmediameta" / "journal.db"


def test_without_platformdirs_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XMEDIAMETA_JOURNAL", raising=False)
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(MissingExtra, match=r"xmediameta\[cli\]"):
        journal_path()


@pytest.mark.parametrize(
    "folder",
    [
        "Dropbox", "Dropbox (Personal)", "OneDrive", "OneDrive - Contoso", "onedrive-personal", "Google Drive",
        "GoogleDrive-me@example.com", "iCloud Drive", "Mobile Documents", "CloudStorage", "Nextcloud", "ownCloud",
        "Box Sync", "pCloudDrive",
    ],
)  # fmt: skip
def test_a_folder_that_is_synced(tmp_path: Path, folder: str) -> None:
    for path in (tmp_path / folder / "journal.db", tmp_path / folder / "deep" / "in" / "it" / "journal.db"):
        doubt = doubts(path)
        assert doubt is not None
        assert f"a folder that is synced with other machines ({folder})" in doubt
        assert str(path) in doubt


@pytest.mark.parametrize("folder", ["dropbox-tools", "my onedrive notes", "googledrived", "box", "cloud", "sync"])
def test_a_folder_that_only_sounds_like_it(tmp_path: Path, folder: str) -> None:
    assert doubts(tmp_path / folder / "journal.db") is None


def test_the_files_own_name_means_nothing(tmp_path: Path) -> None:
    assert doubts(tmp_path / "Dropbox") is None


def test_a_folder_that_syncthing_has_marked(tmp_path: Path) -> None:
    (tmp_path / "work" / ".stfolder").mkdir(parents=True)
    assert "synced with other machines (work)" in (doubts(tmp_path / "work" / "runs" / "journal.db") or "")
    assert doubts(tmp_path / "else" / "journal.db") is None


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "vboxsf", "ceph", "fuse.rclone"])
def test_a_network_file_system(tmp_path: Path, mounts: Path, kind: str) -> None:
    mounts.write_text(f"{LOCAL}server:/share {tmp_path} {kind} rw 0 0\n")
    assert f"a network file system ({kind})" in (doubts(tmp_path / "journal.db") or "")
    assert doubts(Path("/journal.db")) is None
    assert doubts(Path(f"{tmp_path}-beside/journal.db")) is None


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "apfs", "fuse.ntfs-3g", "zfs"])
def test_a_local_file_system(tmp_path: Path, mounts: Path, kind: str) -> None:
    mounts.write_text(f"server:/ / nfs rw 0 0\n/dev/sdb1 {tmp_path} {kind} rw 0 0\n")
    assert doubts(tmp_path / "journal.db") is None
    assert "(nfs)" in (doubts(Path("/journal.db")) or "")


def test_of_two_mounts_on_one_point_the_later_counts(tmp_path: Path, mounts: Path) -> None:
    mounts.write_text(f"{LOCAL}server:/share {tmp_path} nfs rw 0 0\n/dev/sdb1 {tmp_path} ext4 rw 0 0\n")
    assert doubts(tmp_path / "journal.db") is None


def test_a_mount_whose_name_is_escaped(tmp_path: Path, mounts: Path) -> None:
    folder = tmp_path / "a b\\c"
    escaped = str(folder).replace("\\", "\\134").replace(" ", "\\040")
    mounts.write_text(f"{LOCAL}server:/share {escaped} nfs rw 0 0\n")
    assert "(nfs)" in (doubts(folder / "journal.db") or "")


def test_a_link_is_followed(tmp_path: Path, mounts: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "share")
    mounts.write_text(f"{LOCAL}server:/share {tmp_path / 'share'} nfs rw 0 0\n")
    assert "(nfs)" in (doubts(tmp_path / "link" / "journal.db") or "")


@pytest.mark.parametrize("told", ["", "nonsense\n\n \n", "\xff\xfe a b c\n"])
def test_where_the_system_tells_nothing_there_is_no_doubt(tmp_path: Path, mounts: Path, told: str) -> None:
    mounts.write_bytes(told.encode("latin-1"))
    assert doubts(tmp_path / "journal.db") is None
    mounts.unlink()
    assert doubts(tmp_path / "journal.db") is None
