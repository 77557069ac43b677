"""Files behind URIs, through pyarrow's local and mock file systems: opened, watched, and never showing a secret."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from xmediameta.errors import MissingExtra
from xmediameta.readers import Inputs, Kind, remote
from xmediameta.readers.remote import is_uri, shown

from .reading import lines, only_fault, read

pa = pytest.importorskip("pyarrow")
fs = pytest.importorskip("pyarrow.fs")
pq = pytest.importorskip("pyarrow.parquet")

GOOD = b'{"id":"1","metadata":{"alt_text":{"text":"a"}}}\n'


@pytest.fixture
def mock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What every URI of the scheme `mock` leads to; it lives in memory."""
    held = fs._MockFileSystem()

    def from_uri(uri: str) -> tuple[Any, str]:
        return held, uri.removeprefix("mock://").partition("?")[0]

    module = SimpleNamespace(FileSystem=SimpleNamespace(from_uri=from_uri))
    monkeypatch.setattr(remote, "needed", lambda *_: module)
    return held


def put(filesystem: Any, path: str, content: bytes) -> None:
    filesystem.create_dir(path.rpartition("/")[0])
    with filesystem.open_output_stream(path) as file:
        file.write(content)


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://example.com/u.parquet", "http://example.com/u.parquet: cannot be read: Unrecognized filesystem type"),
        ("s3://key:secret@bucket/u.parquet", "s3://***@bucket/u.parquet: holds a password or key; leave it out"),
        ("s3://key:sec/ret@bucket/u.parquet?region=x", "s3://***@bucket/u.parquet: holds a password or key"),
        ("abfs://:secret@account.example/u.parquet", "abfs://***@account.example/u.parquet: holds a password or key"),
        ("ftp://x/u.parquet?token=secret", "ftp://x/u.parquet: cannot be read: Unrecognized filesystem type"),
    ],
)
def test_places_that_are_not_read(uri: str, said: str):
    fault = only_fault(read(uri))
    assert str(fault).startswith(said)
    assert "secret" not in repr(fault)
    assert "sec/ret" not in repr(fault)


def test_missing_files_and_folders(tmp_path: Path):
    assert lines(read(f"{tmp_path.as_uri()}/none.parquet", tmp_path.as_uri())) == [
        f"{tmp_path.as_uri()}/none.parquet: no such file",
        f"{tmp_path.as_uri()}: is a folder; give the files in it",
    ]


def test_a_fault_behind_a_uri(mock: Any):
    put(mock, "bucket/u.parquet", b"PAR1 and no more")
    assert str(only_fault(read("mock://bucket/u.parquet?key=secret"))).startswith(
        "mock://bucket/u.parquet: the Parquet data is broken: "
    )
    put(mock, "bucket/u.txt", GOOD)
    assert "its name does not tell what it holds" in str(only_fault(read("mock://bucket/u.txt")))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    with pytest.raises(MissingExtra, match=r"reading from a URI needs the extra \[parquet\]"):
        read("s3://bucket/u.parquet")


def test_a_local_uri_is_read_and_watched(tmp_path: Path):
    path = tmp_path / "u.parquet"
    path.write_bytes(parquet(id=["1"], alt_text=["a"]))
    with Inputs([path.as_uri()]) as inputs:
        for _ in range(2):
            assert lines(list(inputs.rows())) == [f"{path.as_uri()}: row 1: ok"]
        assert inputs.changed() is None
        path.write_bytes(parquet(id=["1", "2"], alt_text=["a", "b"]))
        assert "was changed after it had been checked" in str(inputs.changed())
        assert "was changed after it had been checked" in str(only_fault(list(inputs.rows())))
        path.unlink()
        assert inputs.changed() is not None


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("u.parquet", None, parquet(id=[1], alt_text=["a"])),
        ("u", "parquet", parquet(id=[1], alt_text=["a"])),
        ("u.jsonl", None, GOOD),
        ("u.csv", None, b"id,alt_text\n1,a\n"),
    ],
)
def test_another_file_system(mock: Any, name: str, kind: Kind | None, content: bytes):
    put(mock, f"bucket/{name}", content)
    with Inputs([f"mock://bucket/{name}?region=here"], kind=kind) as inputs:
        for _ in range(2):
            [told] = lines(list(inputs.rows()))
            assert told.startswith(f"mock://bucket/{name}:")
            assert told.endswith(": ok")
        assert inputs.changed() is None


def test_what_is_a_uri_and_what_is_shown_of_it():
    assert [is_uri(name) for name in ("s3://b/k", "gs://b/k", "C://x", "a/b.csv", "-", "odd:name.csv")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    for plain in ("hdfs://host:8020/a@b.parquet", "abfs://container@account.example/u.parquet", "odd?name:a@b.csv"):
        assert shown(plain) == plain
