"""A line of headers, read: which columns of the contract they name, and what is wrong with those that name none."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from xmediameta.explain import Fault, suggestion
from xmediameta.text import printable

from .cells import KNOWN, READERS, Kind, Path
from .columns import Column, Columns

# What people call these columns before they have read the manual.
_GUESSES: Final = {
    "media_id": "id", "media": "id", "mediaid": "id", "media_id_string": "id", "media_key": "id", "alt": "alt_text",
    "alttext": "alt_text", "alternative_text": "alt_text", "description": "alt_text",
    "expires_at": "content_expires_at", "nsfw": "adult_content", "reference": "ref", "user": "account",
}  # fmt: skip


def read_header(
    headers: Sequence[str], *, renames: Mapping[str, str] | None = None, passed: Collection[str] = ()
) -> tuple[Columns, list[Fault]]:
    """The columns that a header line names, and every fault of it; with a fault the columns are not to be used.

    Args:
        headers: as written; case, surrounding spaces, and spaces or dashes for underscores do not matter.
        renames: header to column name (`--map`).
        passed: headers of columns that go along with the row (`--pass`).
    """
    new_names = {_plain(header): (header, name) for header, name in (renames or {}).items()}
    kept = {_plain(header): header for header in passed}
    faults: list[Fault] = []
    columns: list[Column] = []
    seen: dict[Path | str, str] = {}
    for header in headers:
        written, plain = header.strip(), _plain(header)
        name = _plain(new_names[plain][1]) if plain in new_names else plain
        column = _column(written, name, kept=plain in kept)
        if isinstance(column, str):
            faults.append((printable(written, 60), column))
            continue
        key: Path | str = column.path or (plain if column.kept else "")
        if key and key in seen:
            faults.append((printable(written, 60), f"sets the same as the column {printable(repr(seen[key]), 60)}"))
        seen[key] = written
        columns.append(column)
    if ("id",) not in seen:
        faults.append(("id", "is missing: a table needs a column of media ids" + _id_hint(headers)))
    faults.extend(_unused(new_names, kept, {_plain(header) for header in headers}, seen))
    return Columns(tuple(columns), any(column.kept for column in columns)), faults


def columns_for(headers: Mapping[str, str]) -> Columns:
    """Columns whose headers are someone else's words for short forms, such as a command's options.

    Args:
        headers: column name to header.
    """
    return Columns(tuple(_known_column(header, *KNOWN[name]) for name, header in headers.items()))


def _known_column(header: str, path: Path, kind: Kind) -> Column:
    return Column(header, path, kind, READERS[kind], above=path[:-1], last=path[-1])


def _column(written: str, name: str, *, kept: bool) -> Column | str:
    """The column of a header, or what is wrong with it."""
    known = KNOWN.get(name.removeprefix("metadata."))
    if known is not None:
        if kept:
            return "is a column of the contract and is sent; --pass is for columns that are not"
        return _known_column(written, *known)
    if kept or not written or written.startswith("_"):
        return Column(written, kept=kept)
    shown = printable(written, 60)
    guess = _GUESSES.get(name)
    hint = f"; did you mean {guess!r}?" if guess else suggestion(name, list(KNOWN))
    return (
        f'is not a column of the contract; keep it beside the row with --pass "{shown}", '
        f'or say what it is with --map "{shown}={guess or "NAME"}"{hint}'
    )


def _unused(
    new_names: Mapping[str, tuple[str, str]], kept: Mapping[str, str], plain: Collection[str], seen: Collection[object]
) -> Iterator[Fault]:
    """Options that fit no header; a renamed column that is there under its own name already is no fault."""
    for key, (header, name) in new_names.items():
        known = KNOWN.get(_plain(name).removeprefix("metadata."))
        if known is None:
            yield "--map", f"{printable(repr(name), 60)} is not a column name{suggestion(name, list(KNOWN))}"
        elif key not in plain and known[0] not in seen:
            yield "--map", f"there is no column {printable(repr(header), 60)}{suggestion(header, sorted(plain))}"
    for key, header in kept.items():
        if key not in plain:
            yield "--pass", f"there is no column {printable(repr(header), 60)}{suggestion(header, sorted(plain))}"


def _id_hint(headers: Sequence[str]) -> str:
    near = next((header.strip() for header in headers if _GUESSES.get(_plain(header)) == "id"), None)
    return f'; --map "{printable(near, 60)}=id" would name it' if near else ""


def _plain(header: str) -> str:
    return re.sub(r"[\s\-_]+", "_", header.strip().lower()) if header.strip(" _") else header.strip()
