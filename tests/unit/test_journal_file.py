"""The journal's file: made, opened, and refused as it is."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.journal_desk import Desk, row
from xmediameta.errors import JournalError
from xmediameta.journal.file import JournalFile, failure
from xmediameta.journal.schema import APPLICATION_ID, VERSION
from xmediameta.journal.store import Store

as_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can act as another user")


def made(path: Path, rows: int = 300) -> Path:
    """A journal with a run in it, closed."""
    desk = Desk(path)
    desk.apply(*(row(n, "some text " * 20) for n in range(rows)))
    desk.store.close()
    return path


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_a_new_file_is_a_journal_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "state" / "deep" / "journal.db"
    store = Store(path)
    assert store.path == path
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    store.close()
    store.close()
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.touch()
    made(path)


KILLED = """
import os, pathlib, sqlite3, sys
from xmediameta.journal import file
path, at = pathlib.Path(sys.argv[1]), int(sys.argv[2])
steps = 0
class Database(sqlite3.Connection):
    def execute(self, *given):
        global steps
        steps += 1
        if steps == at:
            os.kill(os.getpid(), 9)
        return super().execute(*given)
real = sqlite3.connect
file.sqlite3.connect = lambda *given, **named: real(*given, factory=Database, **named)
file.JournalFile(path)
print("made")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_creation_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    """Whichever statement it was killed before."""
    for at in range(1, 200):
        path = tmp_path / f"{at}.db"
        command = [sys.executable, "-c", KILLED, str(path), str(at)]
        done = subprocess.run(command, check=False, capture_output=True, timeout=60)
        if done.stdout == b"made\n":
            break
        assert done.returncode == -9, done.stderr
        made(path, 3)
    else:
        pytest.fail("it was never made")
    assert at > 20


def test_two_make_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    code = (
        "import sys, pathlib; from xmediameta.journal.store import Store; sys.stdin.read(1);"
        " Store(pathlib.Path(sys.argv[1])).place('x')"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for other in others:
        assert other.stdin is not None
        other.stdin.write(b"x")
        other.stdin.flush()
    for other in others:
        _, told = other.communicate(timeout=60)
        assert (other.returncode, told) == (0, b"")


def test_two_threads_open_one_file(tmp_path: Path) -> None:
    stores: list[Store] = []
    threads = [threading.Thread(target=lambda: stores.append(Store(tmp_path / "journal.db"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(stores) == 4
    for store in stores:
        assert store.place("x") == 1
        store.close()


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        for at in range(8192, path.stat().st_size, 4096):
            file.seek(at)
            file.write(b"\xff" * 64)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\0" * 4096)


def be_newer(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()


def be_another(path: Path) -> None:
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE mine (text)")
    db.execute("INSERT INTO mine VALUES ('precious')")
    db.commit()
    db.close()


def be_text(path: Path) -> None:
    path.write_text("id,alt_text\n1,A\n")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (cut, "the file is damaged: its end is missing"),
        (cut_short, "the file is damaged, or no journal"),
        (scribble, "the file is damaged"),
        (overwrite, "the file is damaged, or no journal"),
        (be_newer, rf"newer version of xmediameta \(schema {VERSION + 1}, this one knows {VERSION}\)"),
        (be_another, "an SQLite file, but not a journal"),
        (be_text, "the file is damaged, or no journal"),
    ],
)
def test_what_is_no_journal_or_damaged_is_refused_as_it_is(
    tmp_path: Path, harm: Callable[[Path], None], told: str
) -> None:
    path = made(tmp_path / "journal.db")
    harm(path)
    before = all_bytes(tmp_path)
    with pytest.raises(JournalError, match=told) as caught:
        Store(path)
    assert str(path) in str(caught.value)
    assert all_bytes(tmp_path) == before


def test_another_database_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    """Its hot log is neither played back nor removed."""
    path = tmp_path / "other.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE mine (text)")
    db.execute("INSERT INTO mine VALUES ('precious')")
    before = all_bytes(tmp_path)
    with pytest.raises(JournalError, match="not a journal of xmediameta"):
        Store(path)
    assert all_bytes(tmp_path) == before
    assert db.execute("SELECT text FROM mine").fetchall() == [("precious",)]
    db.close()


def test_a_newer_journal_whose_version_is_only_in_the_log(tmp_path: Path) -> None:
    path = made(tmp_path / "journal.db")
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    assert path.with_name("journal.db-wal").stat().st_size
    with pytest.raises(JournalError, match="newer version"):
        Store(path)
    db.close()


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="is a folder; name a file in it"):
        Store(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
def test_a_device() -> None:
    with pytest.raises(JournalError, match=f"{os.devnull} is a device, not a file"):
        Store(Path(os.devnull))


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"cannot be written: (File exists|Not a directory)"):
        Store(tmp_path / "file" / "journal.db")


def test_a_name_with_control_characters_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\n.db"
    path.mkdir()
    with pytest.raises(JournalError, match=r"a\\x1b\[31m\\n.db is a folder"):
        Store(path)


def unprivileged(code: str, *arguments: object) -> str:
    """What another user without rights gets; it only sees what this process can import."""
    script = f"import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n{code}"
    script = f"import sys, xmediameta.journal.store as s, pathlib\nfrom xmediameta.errors import JournalError\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


OPEN = """
try:
    s.Store(pathlib.Path(sys.argv[1])).place("x")
    print("opened")
except JournalError as error:
    print(error)
"""


@as_root
def test_a_file_that_may_not_be_read_or_written(tmp_path: Path) -> None:
    path = made(tmp_path / "journal.db")
    open_to_all(tmp_path)
    for mode in (0o600, 0o644):
        path.chmod(mode)
        before = all_bytes(tmp_path)
        assert "cannot be read and written: the permission is missing" in unprivileged(OPEN, path)
        assert all_bytes(tmp_path) == before


@as_root
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    path = made(tmp_path / "journal.db")
    open_to_all(tmp_path)
    path.chmod(0o666)
    before = all_bytes(tmp_path)
    told = unprivileged(OPEN, path)
    assert "cannot be opened" in told or "cannot be written" in told
    assert all_bytes(tmp_path) == before
    assert "cannot be written: Permission denied" in unprivileged(OPEN, tmp_path / "new.db")
    assert "cannot be written: Permission denied" in unprivileged(OPEN, tmp_path / "deep" / "new.db")


def open_to_all(folder: Path) -> None:
    """Everybody may walk to the folder and read what is in it, and not write."""
    while folder != folder.parent and folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o1000:
        folder.chmod(0o755)
        folder = folder.parent


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "journal.db")
    desk.apply(row(1, "A"))
    file = desk.store._file
    file.db.execute(f"PRAGMA max_page_count = {file.one('PRAGMA page_count') + 10}")
    with pytest.raises(sqlite3.OperationalError) as caught:
        desk.apply(*(row(n, "some text " * 50) for n in range(1000)), name="large")
    assert str(failure(file.path, caught.value)) == f"the journal {file.path}: the disk is full"
    # Nothing of it is there, and the rest is as it was.
    assert not file.db.in_transaction
    assert [record.name for record in desk.store.runs()] == ["run"]
    file.db.execute("PRAGMA max_page_count = 1073741823")
    assert len(desk.apply(*(row(n, "B") for n in range(100)), name="large")) == 100
    desk.store.close()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device"), "the disk is full"),
        (OSError(122, "Disk quota exceeded"), "the disk is full"),
        (OSError(5, "Input/output error"), r"[Errno 5] Input/output error"),
        (sqlite3.OperationalError("odd \x1b[31m"), "odd \\x1b[31m"),
        (ValueError(), "ValueError"),
    ],
)
def test_failures_in_words(error: Exception, told: str) -> None:
    assert str(failure(Path("j.db"), error)) == f"the journal j.db: {told}"


def test_an_old_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 30, 1))
    with pytest.raises(JournalError, match=r"needs SQLite 3\.31 or newer"):
        Store(tmp_path / "journal.db")
    assert list(tmp_path.iterdir()) == []


def test_opening_does_not_drop_the_locks_of_another_connection_of_this_process(tmp_path: Path) -> None:
    """POSIX drops all locks of a process on a file when it closes any descriptor of it.

    Without its lock the first connection would not be noticed by another process, which would take the log away from
    under it when it closes.
    """
    path = made(tmp_path / "journal.db")
    first = JournalFile(path)
    first.db.execute("CREATE TABLE extra (n)")
    second = JournalFile(path)
    second.close()
    code = "import sys, pathlib; from xmediameta.journal.store import Store; Store(pathlib.Path(sys.argv[1])).close()"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)
    assert path.with_name("journal.db-wal").exists()
    first.db.execute("INSERT INTO extra VALUES (1)")
    third = JournalFile(path)
    assert third.one("SELECT count(*) FROM extra") == 1
    third.close()
    first.close()


def test_a_link_and_the_file_are_one_journal(tmp_path: Path) -> None:
    path = made(tmp_path / "journal.db")
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    store = Store(link)
    assert store.path == path
    store.close()
    assert list(link.parent.iterdir()) == [link]
