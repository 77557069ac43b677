"""A table's columns and cells, read as updates: CSV today, Excel and Parquet with the same columns.

A column is a short form (`alt_text`), a dotted path of the wire (`sensitive_media_warning.adult_content`), or one of
`id`, `account`, `ref`, `send_before`. Headers are read once, into `Columns`; each row is then a sequence of cells.
Faults name the header as its writer spelled it, since that is what can be found in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, cast

import msgspec
from msgspec import Struct

from .errors import InvalidUpdate
from .explain import Fault, suggestion
from .members import MEDIA_ID_PATTERN
from .models import Metadata, Update, check_rules
from .shortform import SHORT_FORMS, SHORT_NAMES, complete, put
from .text import printable

Path = tuple[str, ...]
_Reader = Callable[[str], object]

_NOTHING: Final[Mapping[str, str]] = {}
_LAST_SECOND: Final = 253_402_300_799
_TRUTH: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NUMBER: Final = re.compile(r"-?\d{1,18}(\.\d{1,9})?", re.ASCII)
_SPREADSHEET: Final = re.compile(r"\d+([.,]\d+)?e\+?\d+|\d+[.,]0*", re.ASCII | re.IGNORECASE)
# What people call these columns before they have read the manual.
_GUESSES: Final = {
    "media_id": "id", "media": "id", "mediaid": "id", "media_id_string": "id", "media_key": "id", "alt": "alt_text",
    "alttext": "alt_text", "alternative_text": "alt_text", "description": "alt_text",
    "expires_at": "content_expires_at", "nsfw": "adult_content", "reference": "ref", "user": "account",
}  # fmt: skip


class Column(Struct, frozen=True):
    """One column: its header as written, the path that it sets, and how its cells are read.

    An empty path is a column that sets nothing: `kept` tells whether it goes along with the row or is passed over.
    """

    header: str
    path: Path = ()
    read: _Reader = str.strip
    kept: bool = False


class Columns(Struct, frozen=True):
    """The columns of one table, in the order of its cells.

    Attributes:
        keeps: whether some column goes along with its row.
    """

    columns: tuple[Column, ...]
    keeps: bool = False

    def update(self, cells: Sequence[str | None], *, strict: bool = True, keep_empty: bool = False) -> Update:
        """The update that a row describes.

        Args:
            cells: one for each column; None, and what is empty or blank, is an absent member.
            strict: whether rules that join members are checked too.
            keep_empty: take an empty text as a value; only None is then absent.

        Raises:
            InvalidUpdate: names the header and the rule.
        """
        line: dict[str, object] = {"id": "", "metadata": {}}
        for column, cell in zip(self.columns, cells, strict=True):
            if cell is None or (not (cell and not cell.isspace()) and not keep_empty):
                continue
            if column.path:
                try:
                    put(line, column.path, column.read(cell))
                except ValueError as error:
                    fault = (printable(column.header, 60), str(error))
                    break
            elif not column.header:
                fault = ("", f"the cell {printable(repr(cell), 40)} stands in a column that has no header")
                break
        else:
            return self._checked(line, strict=strict)
        raise InvalidUpdate(*fault)

    def passed(self, cells: Sequence[str]) -> Mapping[str, str]:
        """The cells that `--pass` keeps beside the row, by header."""
        if not self.keeps:
            return _NOTHING
        return {column.header: cell for column, cell in zip(self.columns, cells, strict=True) if column.kept}

    def _checked(self, line: dict[str, object], *, strict: bool) -> Update:
        metadata = cast("dict[str, object]", line["metadata"])
        if not metadata:
            raise InvalidUpdate("", "the row sets nothing: every cell of its metadata is empty")
        complete(metadata)
        try:
            update = Update.from_mapping(line)
            if strict:
                check_rules(update)
        except InvalidUpdate as error:
            fault = (self._headers(error.member), self._in_headers(error.rule))
        else:
            return update
        raise InvalidUpdate(*fault)

    def _headers(self, member: str) -> str:
        """The header, or headers, behind a member of the wire such as `metadata.geo_restrictions`."""
        steps = tuple(member.split("."))
        bare = tuple(step.removesuffix("[]") for step in steps)
        for column in self.columns:
            depth = len(column.path)
            if depth and bare[:depth] == column.path:
                list_mark = "[]" if steps[depth - 1].endswith("[]") else ""
                return ".".join((printable(column.header, 60) + list_mark, *steps[depth:]))
        below = [printable(column.header, 60) for column in self.columns if column.path[: len(bare)] == bare]
        return " and ".join(below) or SHORT_NAMES.get(bare[1:], member)

    def _in_headers(self, rule: str) -> str:
        """A rule that speaks of wire names, in the words of this table."""
        for name in ("allowed_countries", "blocked_countries"):
            path = SHORT_FORMS[name]
            header = next((c.header for c in self.columns if c.path == ("metadata", *path)), name)
            rule = rule.replace(path[-1], printable(header, 60))
        return rule


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
    return Columns(tuple(Column(header, *_KNOWN[name]) for name, header in headers.items()))


def _column(written: str, name: str, *, kept: bool) -> Column | str:
    """The column of a header, or what is wrong with it."""
    known = _KNOWN.get(name.removeprefix("metadata."))
    if known is not None:
        if kept:
            return "is a column of the contract and is sent; --pass is for columns that are not"
        return Column(written, *known)
    if kept or not written or written.startswith("_"):
        return Column(written, kept=kept)
    shown = printable(written, 60)
    guess = _GUESSES.get(name)
    hint = f"; did you mean {guess!r}?" if guess else suggestion(name, list(_KNOWN))
    return (
        f'is not a column of the contract; keep it beside the row with --pass "{shown}", '
        f'or say what it is with --map "{shown}={guess or "NAME"}"{hint}'
    )


def _unused(
    new_names: Mapping[str, tuple[str, str]], kept: Mapping[str, str], plain: Collection[str], seen: Collection[object]
) -> Iterator[Fault]:
    """Options that fit no header; a renamed column that is there under its own name already is no fault."""
    for key, (header, name) in new_names.items():
        known = _KNOWN.get(_plain(name).removeprefix("metadata."))
        if known is None:
            yield "--map", f"{printable(repr(name), 60)} is not a column name{suggestion(name, list(_KNOWN))}"
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


def _read_flag(cell: str) -> bool:
    try:
        return _TRUTH[cell.strip().lower()]
    except KeyError:
        pass
    raise ValueError(f"{printable(repr(cell), 40)} is not true, false, yes, no, 1 or 0")


def _read_list(cell: str) -> list[str]:
    entries = [entry.strip() for entry in cell.split("|")] if cell.strip() else []
    if "" in entries:
        raise ValueError("holds an empty entry; entries are separated by one |")
    odd = next((entry for entry in entries if re.search(r"[,;\s]", entry)), None)
    if odd is not None:
        raise ValueError(f"the entry {printable(repr(odd), 40)} holds a space, comma or semicolon; separate with |")
    return entries


def _read_id(cell: str) -> str:
    text = cell.strip()
    if not text.isdigit() and _SPREADSHEET.fullmatch(text):
        raise ValueError(
            f"{printable(repr(text), 40)} was written as a number by a spreadsheet, and its last digits may be lost; "
            "format the column as text, fill it in again, and export it anew"
        )
    return text


def _read_time(cell: str) -> datetime | int | float:
    text = cell.strip()
    if _NUMBER.fullmatch(text):
        seconds = float(text) if "." in text else int(text)
        if seconds > _LAST_SECOND:
            raise ValueError("is in seconds; this looks like milliseconds")
        return seconds
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError(
            f"{printable(repr(text), 40)} is not a time; write it as 2026-01-31T12:00:00Z or in Unix seconds"
        )
    if moment.tzinfo is None:
        raise ValueError(f"{printable(repr(text), 40)} has no zone; write it as 2026-01-31T12:00:00Z")
    return moment


def _read_seconds(cell: str) -> int:
    """Whole Unix seconds: the wire knows no fractions of them."""
    moment = _read_time(cell)
    seconds = moment.timestamp() if isinstance(moment, datetime) else moment
    if isinstance(moment, float) and not moment.is_integer():
        raise ValueError("must be whole seconds")
    return int(seconds)


def _read_stickers(cell: str) -> object:
    try:
        return msgspec.json.decode(cell)
    except (msgspec.DecodeError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    raise ValueError(f'broken JSON: {printable(problem)}; stickers are a JSON list, as in [{{"id": "7"}}]')


def _leaves(kind: msgspec.inspect.Type, path: Path = ()) -> Iterator[tuple[Path, _Reader]]:
    """Every path of the contract that a cell can set, with the reader for its type."""
    kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    for one in kinds:
        match one:
            case msgspec.inspect.Metadata():
                yield from _leaves(one.type, path)
            case msgspec.inspect.StructType():
                for field in one.fields:
                    yield from _leaves(field.type, (*path, field.encode_name))
            case msgspec.inspect.ListType():
                yield path, _read_stickers if isinstance(one.item_type, msgspec.inspect.StructType) else _read_list
            case msgspec.inspect.BoolType():
                yield path, _read_flag
            case msgspec.inspect.IntType():
                yield path, _read_seconds
            case msgspec.inspect.StrType():
                yield path, _read_id if one.pattern == MEDIA_ID_PATTERN else _as_written
            case msgspec.inspect.LiteralType():
                yield path, str.strip
            case _:
                pass


def _as_written(cell: str) -> str:
    return cell


def _known() -> dict[str, tuple[Path, _Reader]]:
    by_path = dict(_leaves(msgspec.inspect.type_info(Metadata)))
    known: dict[str, tuple[Path, _Reader]] = {
        "id": (("id",), _read_id),
        "account": (("account",), str.strip),
        "ref": (("ref",), str.strip),
        "send_before": (("send_before",), _read_time),
    }
    known |= {name: (("metadata", *path), by_path[path]) for name, path in SHORT_FORMS.items()}
    known |= {".".join(path): (("metadata", *path), read) for path, read in by_path.items()}
    return known


_KNOWN: Final = _known()
COLUMN_NAMES: Final = tuple(_KNOWN)
