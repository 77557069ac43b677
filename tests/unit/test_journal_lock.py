"""The lock of a run: one holder at a time, which a look at it does not disturb."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from xmediameta.journal import lock
from xmediameta.journal.lock import RunLock


def test_one_holder_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_PATIENCE", 0.0)
    first, second = RunLock(tmp_path / "journal.db", "nightly"), RunLock(tmp_path / "journal.db", "nightly")
    assert first.acquire()
    assert not second.acquire()
    second.release()  # it has none: nothing happens
    assert not second.acquire()
    first.release()
    assert not first.path.exists()
    assert second.acquire()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_comes_and_goes_is_not_taken_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened between two others, of which the second has the number of the first, which the system may do."""
    one, other = RunLock(tmp_path / "journal.db", "nightly"), RunLock(tmp_path / "journal.db", "nightly")
    numbers: list[int] = []

    def made() -> None:
        one.path.unlink()
        one.path.touch(0o600)
        numbers.append(one.path.stat().st_ino)

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        monkeypatch.setattr(sqlite3, "connect", real)
        numbers.append(one.path.stat().st_ino)
        one.path.rename(tmp_path / "kept")  # its number is not free yet when the next one is made
        one.path.touch(0o600)
        (tmp_path / "kept").unlink()
        db = real(*args, **options)
        made()
        return db

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", connect)
    assert one.acquire()
    assert not other.acquire(), f"two hold it: {numbers}"
    one.release()


def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    held = RunLock(tmp_path / "journal.db", "nightly")
    assert held.acquire()
    assert held.path.parent == tmp_path
    if os.name == "posix":
        assert held.path.stat().st_mode & 0o777 == 0o600
    held.release()


@pytest.mark.parametrize("name", ["daily", "", "../../etc/passwd", "a/b", "caf\u00e9", "\udcff.csv", "x" * 5_000])
def test_each_run_of_each_journal_has_its_own(tmp_path: Path, name: str) -> None:
    locks = [
        RunLock(tmp_path / "journal.db", "nightly"),
        RunLock(tmp_path / "journal.db", name),
        RunLock(tmp_path / "other.db", name),
    ]
    assert all(one.acquire() for one in locks)
    assert {one.path.parent for one in locks} == {tmp_path}
    for one in locks:
        one.release()


def read(path: Path) -> sqlite3.Connection:
    """Somebody looks at the lock, in the middle of it."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    db.execute("BEGIN")
    db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return db


def test_a_look_at_it_refuses_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = RunLock(tmp_path / "journal.db", "nightly")
    held.path.touch()
    reader = read(held.path)
    monkeypatch.setattr(lock, "_PATIENCE", 0.0)
    assert not held.acquire(), "a look is in the way"
    monkeypatch.setattr(lock, "_PATIENCE", 30.0)
    ending = threading.Timer(0.02, reader.execute, ["COMMIT"])
    ending.start()
    assert held.acquire()
    ending.join()
    reader.close()
    held.release()


def before_connecting(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], times: int) -> None:
    connect, left = sqlite3.connect, [times]

    def acting(*given: object, **options: object) -> sqlite3.Connection:
        if left[0]:
            left[0] -= 1
            act()
        return connect(*given, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(sqlite3, "connect", acting)


@pytest.mark.parametrize("again", [False, True], ids=["gone", "made anew"])
def test_the_last_holder_removes_the_file_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    held = RunLock(tmp_path / "journal.db", "nightly")

    def remove() -> None:
        if again:
            held.path.rename(held.path.with_suffix(".old"))  # so that the new one has another number for sure
            held.path.touch()
        else:
            held.path.unlink()

    before_connecting(monkeypatch, remove, 1)
    assert held.acquire()
    # It is held by the file that others would open.
    monkeypatch.setattr(lock, "_PATIENCE", 0.0)
    assert not RunLock(tmp_path / "journal.db", "nightly").acquire()
    held.release()


def test_a_file_that_never_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = RunLock(tmp_path / "journal.db", "nightly")
    gone = count()
    # Renamed and not removed, so that each new one has another number for sure.
    before_connecting(monkeypatch, lambda: held.path.rename(tmp_path / f"{next(gone)}.old"), 1_000)
    with pytest.raises(OSError, match="does not stay where it is"):
        held.acquire()


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RunLock(tmp_path / "missing" / "journal.db", "nightly").acquire()
    held = RunLock(tmp_path / "journal.db", "nightly")
    held.path.mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        held.acquire()


def test_a_look_tells_whether_it_is_held(tmp_path: Path) -> None:
    held, other = RunLock(tmp_path / "journal.db", "nightly"), RunLock(tmp_path / "journal.db", "nightly")
    assert not other.is_held()
    assert held.acquire()
    assert held.is_held()
    assert other.is_held()
    assert not other.acquire()
    held.release()
    assert not other.is_held()
    held.path.touch()  # as a holder that was killed leaves it
    assert not other.is_held()
    held.path.unlink()
    held.path.mkdir()
    with pytest.raises(sqlite3.OperationalError):
        other.is_held()
