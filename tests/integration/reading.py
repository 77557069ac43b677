"""What the tests of the readers share: files read to rows and rejects, and these to lines."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from xmediameta.models import Update
from xmediameta.readers import Inputs, Kind, ReadOptions, Reject, Row

Put = Callable[[str, bytes], str]  # the fixture `put`


def read(*names: object, kind: Kind | None = None, stdin: bytes | None = None, **options: Any) -> list[Row | Reject]:
    source = None if stdin is None else io.BytesIO(stdin)
    with Inputs([str(name) for name in names], ReadOptions(**options), kind=kind, stdin=source) as inputs:
        return list(inputs.rows())


def lines(found: list[Row | Reject]) -> list[str]:
    return [f"{item.where}: ok" if isinstance(item, Row) else str(item) for item in found]


def updates(found: list[Row | Reject]) -> list[Update]:
    """The updates of what must hold nothing else."""
    assert [item for item in found if isinstance(item, Reject)] == []
    return [item.update for item in found if isinstance(item, Row)]


def only_fault(found: list[Row | Reject]) -> Reject:
    [fault] = found
    assert isinstance(fault, Reject)
    assert str(fault).isprintable()
    return fault
