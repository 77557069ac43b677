"""Which types of Arrow each column takes, and how their values are read.

A column of texts is read as in a CSV file, whatever it stands for. Other types must say themselves what the column
needs: a media id in a column of doubles is refused as a whole, since nobody can tell which of them are still exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final, cast

from msgspec import Struct

from xmediameta.flat import READERS, Kind, Path, checked_seconds, seconds_of
from xmediameta.text import printable

_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_WANTED: Final[Mapping[Kind, str]] = {
    "id": "a media id is text or a 64-bit integer",
    "text": "text is needed",
    "word": "text is needed",
    "flag": "booleans are needed",
    "time": "timestamps with a zone are needed, or Unix seconds",
    "seconds": "timestamps with a zone are needed, or Unix seconds",
    "list": "lists of texts are needed, or texts in which | separates",
    "stickers": "lists of structs are needed, or JSON",
}


class Reading(Struct, frozen=True):
    """How a column of some type is read.

    Attributes:
        values: makes an Arrow array a list of Python's values; None is absent.
        read: makes such a value what the column sets; raises `ValueError` with the rule that it breaks.
    """

    values: Callable[[Any], list[Any]]
    read: Callable[[Any], object] = str


def reading(pa: Any, kind: Kind, path: Path, arrow: Any) -> Reading | str:
    """How a column of a type of Arrow's is read, or why it cannot be.

    Args:
        pa: the module pyarrow.
        kind, path: of the column.
    """
    types = pa.types
    arrow = getattr(arrow, "storage_type", arrow)  # of an extension type
    if types.is_dictionary(arrow):
        inner = reading(pa, kind, path, arrow.value_type)
        return inner if isinstance(inner, str) else Reading(lambda array: inner.values(_decoded(array)), inner.read)
    if is_text(pa, arrow) or types.is_null(arrow):
        return Reading(_texts, READERS[kind])
    if kind in {"time", "seconds"}:
        return _of_time(pa, kind, arrow)
    read = _native(pa, kind, path, arrow)
    if read is not None:
        return Reading(_listed, read)
    if kind == "id" and types.is_floating(arrow):
        return f"is a column of {arrow}, which has no room for all digits of a media id; write it as text or int64"
    return f"is a column of {printable(str(arrow), 60)}; {_WANTED[kind]}"


def kept(pa: Any, arrow: Any) -> Reading:
    """How a column is read that goes along with its rows: as what JSON has a type for."""
    types = pa.types
    arrow = getattr(arrow, "storage_type", arrow)
    if types.is_dictionary(arrow):
        inner = kept(pa, arrow.value_type)
        return Reading(lambda array: inner.values(_decoded(array)))
    if is_text(pa, arrow):
        return Reading(partial(_bytes_shown, pa))
    if any((types.is_boolean(arrow), types.is_integer(arrow), types.is_floating(arrow), types.is_nested(arrow))):
        return Reading(_listed)
    return Reading(lambda array: array.cast(pa.string()).to_pylist())


def is_text(pa: Any, arrow: Any) -> bool:
    """Whether a type holds texts; older writers leave them unmarked, as bytes."""
    types = pa.types
    tests = (
        types.is_string, types.is_large_string, types.is_string_view,
        types.is_binary, types.is_large_binary, types.is_binary_view,
    )  # fmt: skip
    return any(test(arrow) for test in tests)


def is_utf8(pa: Any, array: Any) -> bool:
    """Whether the texts of an array are what they should be; neither Parquet nor Arrow looks at them before."""
    try:
        array.cast(pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _native(pa: Any, kind: Kind, path: Path, arrow: Any) -> Callable[[Any], object] | None:
    """What reads values that are no texts and no times; None where the type does not fit."""
    types = pa.types
    listing = any(test(arrow) for test in (types.is_list, types.is_large_list, types.is_fixed_size_list))
    match kind:
        case "id" if types.is_integer(arrow) or (types.is_decimal(arrow) and arrow.scale <= 0):
            return _id_of
        case "flag" if types.is_boolean(arrow):
            return bool
        case "word" if path == ("ref",) and types.is_integer(arrow):
            return int
        case "list" if listing and (is_text(pa, arrow.value_type) or types.is_null(arrow.value_type)):
            return _entries
        case "stickers" if listing and (types.is_struct(arrow.value_type) or types.is_null(arrow.value_type)):
            return _stickers
        case _:
            return None


def _of_time(pa: Any, kind: Kind, arrow: Any) -> Reading | str:
    types = pa.types
    if types.is_timestamp(arrow):
        if arrow.tz is None:
            return f"is a column of {arrow} without a zone; store it with one, or as Unix seconds"
        return Reading(
            lambda array: array.cast(pa.int64()).to_pylist(), partial(_moment, kind, _PER_SECOND[arrow.unit])
        )
    if types.is_integer(arrow) or types.is_floating(arrow):
        return Reading(_listed, partial(_unix, kind))
    return f"is a column of {printable(str(arrow), 60)}; {_WANTED[kind]}"


def _decoded(array: Any) -> Any:
    return array.dictionary_decode()


def _listed(array: Any) -> list[Any]:
    return cast("list[Any]", array.to_pylist())


def _texts(array: Any) -> list[str | None]:
    """Texts, None for what is blank. Bytes that are not UTF-8 become lone surrogates."""
    values = (
        value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in array.to_pylist()
    )
    return [value if value and not value.isspace() else None for value in values]


def _bytes_shown(pa: Any, array: Any) -> list[str | None]:
    raw = array.cast(pa.large_binary()).to_pylist()
    return [None if value is None else value.decode("utf-8", "backslashreplace") for value in raw]


def _id_of(value: int | Decimal) -> str:
    return str(int(value))


def _moment(kind: Kind, per_second: int, value: int) -> float:
    """A timestamp as Unix seconds; the wire knows no fractions of them, and a time of day may have them."""
    seconds = value // per_second if kind == "seconds" or value % per_second == 0 else value / per_second
    checked_seconds(seconds)
    return seconds


def _unix(kind: Kind, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a time")
    checked_seconds(value)
    return seconds_of(value) if kind == "seconds" else value


def _entries(value: list[str | bytes | None]) -> list[str]:
    if None in value:
        raise ValueError("holds an entry that is null")
    return [entry.decode() if isinstance(entry, bytes) else entry for entry in value if entry is not None]


def _stickers(value: list[dict[str, object] | None]) -> list[dict[str, object]]:
    if None in value:
        raise ValueError("holds a sticker that is null")
    stickers = [
        {name: member for name, member in sticker.items() if member is not None}
        for sticker in value
        if sticker is not None
    ]
    for sticker in stickers:
        for name, member in sticker.items():
            if isinstance(member, float) and not math.isfinite(member):
                raise ValueError(f"{printable(name, 60)}: {member} is not a number that JSON has")
    return stickers
