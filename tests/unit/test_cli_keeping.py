"""What tells the command whether the input of a run has changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from xmediameta.applying.keeping import fingerprint
from xmediameta.applying.order import Order


def options(**given: Any) -> Order:
    return Order(base_url="https://api.x.com", **given)


def test_the_bytes_and_how_they_are_read_make_a_fingerprint(tmp_path: Path) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_bytes(b"id,alt_text\n1,a\n")
    other.write_bytes(b"id,alt_text\n1,b\n")
    told = fingerprint(options(), (str(one),))
    assert told is not None
    assert fingerprint(options(), (str(one),)) == told
    assert fingerprint(options(), (str(other),)) != told
    assert fingerprint(options(), (str(one), str(other))) != told
    for changed in (
        {"strict": False},
        {"skip_invalid": True},
        {"passed": ("a",)},
        {"renames": {"a": "id"}},
        {"kind": "csv"},
        {"sheet": "one"},
    ):
        assert fingerprint(options(**changed), (str(one),)) != told


@pytest.mark.parametrize("name", ["-", "s3://bucket/key.parquet", "no/such/file"])
def test_what_cannot_be_read_twice_has_none(name: str) -> None:
    assert fingerprint(options(), (name,)) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """It would wait for a writer, or take what the reader is to read."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert fingerprint(options(), (str(pipe),)) is None
