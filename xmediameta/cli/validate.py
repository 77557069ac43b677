"""`validate` and `schema`: what needs neither a network nor a token."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from xmediameta.models import line_schema
from xmediameta.readers import STDIN, Inputs, Kind, ReadOptions
from xmediameta.text import counted

from .check import check
from .say import Reporter


def validate(
    files: tuple[str, ...],
    reporter: Reporter,
    *,
    kind: Kind | None,
    passed: tuple[str, ...],
    renames: Mapping[str, str],
    sheet: str | None,
    strict: bool,
) -> int:
    """Check files; 0 where every row is valid, else 2."""
    reading = ReadOptions(strict=strict, passed=passed, renames=renames, sheet=sheet)
    stdin = sys.stdin.buffer if STDIN in files else None
    with Inputs(files, reading, kind=kind, stdin=stdin) as inputs:
        checked = check(inputs, reporter)
    valid = counted(checked.valid, "valid update")
    if checked.invalid or checked.unreadable:
        told = f"{valid}, {counted(checked.invalid, 'invalid row')}"
        if checked.unreadable:
            told += f", {counted(checked.unreadable, 'fault')} in what could not be read on"
        reporter.error(told)
        return 2
    accounts = len(checked.accounts)
    reporter.info(valid + (f" for {counted(accounts, 'account')}" if accounts > 1 else ""))
    return 0


def schema() -> str:
    """The JSON Schema of an input line."""
    return json.dumps(_plain(line_schema()), indent=2)


def _plain(node: Any) -> Any:
    """A schema whose patterns every engine reads: Python's look-ahead against a last newline is not needed there."""
    if isinstance(node, dict):
        return {
            name: value.replace(r"(?!\n)", "") if name == "pattern" and isinstance(value, str) else _plain(value)
            for name, value in node.items()  # pyright: ignore[reportUnknownVariableType]
        }
    return [_plain(item) for item in node] if isinstance(node, list) else node  # pyright: ignore[reportUnknownVariableType]
