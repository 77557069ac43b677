"""What each column of the contract sets, and how the text of a cell is read for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final, Literal

import msgspec

from xmediameta.members import MEDIA_ID_PATTERN
from xmediameta.models import Metadata
from xmediameta.shortform import SHORT_FORMS
from xmediameta.text import printable

Kind = Literal["id", "text", "word", "flag", "time", "seconds", "list", "stickers"]
Path = tuple[str, ...]

_LAST_SECOND: Final = 253_402_300_799
_TRUTH: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NUMBER: Final = re.compile(r"-?\d{1,18}(\.\d{1,9})?", re.ASCII)
_SPREADSHEET: Final = re.compile(r"\d+([.,]\d+)?e\+?\d+|\d+[.,]0*", re.ASCII | re.IGNORECASE)
# What Excel, LibreOffice and Google Sheets show, and export, where a formula failed.
_FORMULA_ERRORS: Final = {
    "#N/A", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#SPILL!", "#CALC!", "#FIELD!", "#BLOCKED!",
    "#CONNECT!", "#UNKNOWN!", "#ERROR!", "#GETTING_DATA",
}  # fmt: skip
_LIBREOFFICE_ERROR: Final = re.compile(r"Err:\d{3}\s*", re.ASCII)
NO_ZONE: Final = "has no zone; write it as 2026-01-31T12:00:00Z"


def seconds_of(moment: datetime | float) -> int:
    """Whole Unix seconds: the wire knows no fractions of them.

    Raises:
        ValueError: a number that is not whole.
    """
    if isinstance(moment, datetime):
        return int(moment.timestamp())
    if isinstance(moment, float) and not moment.is_integer():
        raise ValueError("must be whole seconds")
    return int(moment)


def checked_seconds(seconds: float) -> None:
    """Refuse what was meant in milliseconds.

    Raises:
        ValueError: a time after the year 9999.
    """
    if seconds > _LAST_SECOND:
        raise ValueError("is in seconds; this looks like milliseconds")


def _read_id(cell: str) -> str:
    text = cell.strip()
    if not text.isdigit() and _SPREADSHEET.fullmatch(text):
        raise ValueError(
            f"{printable(repr(text), 40)} was written as a number by a spreadsheet, and its last digits may be lost; "
            "format the column as text, fill it in again, and export it anew"
        )
    return text


def _read_text(cell: str) -> str:
    if cell.startswith(("#", "Err:")) and (cell.rstrip() in _FORMULA_ERRORS or _LIBREOFFICE_ERROR.fullmatch(cell)):
        raise ValueError(f"{cell.rstrip()} is what a formula shows that failed, and no value")
    return cell


def _read_word(cell: str) -> str:
    return _read_text(cell.strip())


def _read_flag(cell: str) -> bool:
    try:
        return _TRUTH[cell.strip().lower()]
    except KeyError:
        pass
    raise ValueError(f"{printable(repr(cell), 40)} is not true, false, yes, no, 1 or 0")


def _read_list(cell: str) -> list[str]:
    entries = [_read_word(entry) for entry in cell.split("|")] if cell.strip() else []
    if "" in entries:
        raise ValueError("holds an empty entry; entries are separated by one |")
    odd = next((entry for entry in entries if re.search(r"[,;\s]", entry)), None)
    if odd is not None:
        raise ValueError(f"the entry {printable(repr(odd), 40)} holds a space, comma or semicolon; separate with |")
    return entries


def _read_time(cell: str) -> datetime | int | float:
    text = cell.strip()
    if _NUMBER.fullmatch(text):
        seconds = float(text) if "." in text else int(text)
        checked_seconds(seconds)
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
        raise ValueError(f"{printable(repr(text), 40)} {NO_ZONE}")
    return moment


def _read_seconds(cell: str) -> int:
    return seconds_of(_read_time(cell))


def _read_stickers(cell: str) -> object:
    try:
        return msgspec.json.decode(cell)
    except (msgspec.DecodeError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    raise ValueError(f'broken JSON: {printable(problem)}; stickers are a JSON list, as in [{{"id": "7"}}]')


READERS: Final[Mapping[Kind, Callable[[str], object]]] = {
    "id": _read_id,
    "text": _read_text,
    "word": _read_word,
    "flag": _read_flag,
    "time": _read_time,
    "seconds": _read_seconds,
    "list": _read_list,
    "stickers": _read_stickers,
}


def _leaves(kind: msgspec.inspect.Type, path: Path = ()) -> Iterator[tuple[Path, Kind]]:
    """Every path of the contract that a cell can set, and the kind of cell."""
    kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    for one in kinds:
        match one:
            case msgspec.inspect.Metadata():
                yield from _leaves(one.type, path)
            case msgspec.inspect.StructType():
                for field in one.fields:
                    yield from _leaves(field.type, (*path, field.encode_name))
            case msgspec.inspect.ListType():
                yield path, "stickers" if isinstance(one.item_type, msgspec.inspect.StructType) else "list"
            case msgspec.inspect.BoolType():
                yield path, "flag"
            case msgspec.inspect.IntType():
                yield path, "seconds"
            case msgspec.inspect.StrType():
                yield path, "id" if one.pattern == MEDIA_ID_PATTERN else "text"
            case msgspec.inspect.LiteralType():
                yield path, "word"
            case _:
                pass


def _known() -> dict[str, tuple[Path, Kind]]:
    by_path = dict(_leaves(msgspec.inspect.type_info(Metadata)))
    known: dict[str, tuple[Path, Kind]] = {
        "id": (("id",), "id"),
        "account": (("account",), "word"),
        "ref": (("ref",), "word"),
        "send_before": (("send_before",), "time"),
    }
    known |= {name: (("metadata", *path), by_path[path]) for name, path in SHORT_FORMS.items()}
    known |= {".".join(path): (("metadata", *path), kind) for path, kind in by_path.items()}
    return known


KNOWN: Final = _known()
COLUMN_NAMES: Final = tuple(KNOWN)
