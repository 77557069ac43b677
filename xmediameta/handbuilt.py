"""What a constructor lets through: msgspec checks decoded and converted values, not those that are built by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Final, cast

from msgspec import Struct

from .explain import MILLISECONDS, NEEDS_ZONE, SURROGATE, Fault

# The last second of the year 9999; what lies beyond was meant in milliseconds.
LAST_SECOND: Final = 253_402_300_799
_INT64: Final = 2**63


def note_fault(account: object, ref: object, send_before: object) -> Fault | None:
    """What is wrong with the caller's own notes on an update, which are never sent but stored and shown."""
    fault = _type_fault("account", account, (str,), "text")
    fault = fault or _type_fault("ref", ref, (str, int), "text or a whole number")
    fault = fault or _type_fault(
        "send_before", send_before, (int, float, datetime), "an aware datetime or Unix seconds"
    )
    if fault is not None:
        return fault
    for name, value in (("account", account), ("ref", ref)):
        if isinstance(value, str) and not _is_unicode(value):
            return name, SURROGATE
    if isinstance(ref, int) and not -_INT64 <= ref < _INT64:
        return "ref", "a number too large to be kept (64 bits)"
    if isinstance(send_before, datetime) and send_before.utcoffset() is None:
        return "send_before", NEEDS_ZONE
    if isinstance(send_before, int | float) and not -LAST_SECOND <= send_before <= LAST_SECOND:
        # What is not a number lies on neither side of any bound.
        milliseconds = LAST_SECOND < send_before <= LAST_SECOND * 1000
        return "send_before", MILLISECONDS if milliseconds else "is not a time in Unix seconds"
    return None


def unlike(built: object, read: object, member: str = "") -> Fault | None:
    """Where a hand-built value only looks like the contract's once it is written: a dict, a set, an enum.

    Args:
        built: the value as it was built.
        read: the same, read back from what was written.
        member: the dotted path that leads to it.
    """
    if isinstance(read, Struct):
        if type(built) is not type(read):
            return member, f"must be of the class {type(read).__name__}, not {type(built).__name__}"
        names = read.__struct_fields__
        pairs: list[tuple[object, object, str]] = [
            (getattr(built, name), getattr(read, name), f"{member}.{name}".lstrip(".")) for name in names
        ]
    elif isinstance(read, list):
        if not isinstance(built, list | tuple):
            return member, f"must be a list, not {type(built).__name__}"
        items, others = cast("list[object]", built), cast("list[object]", read)
        pairs = [(one, other, f"{member}[]") for one, other in zip(items, others, strict=True)]
    else:
        return None if built == read else (member, f"{type(built).__name__} is not a type that JSON has")
    return next((fault for pair in pairs if (fault := unlike(*pair)) is not None), None)


def _type_fault(name: str, value: object, types: tuple[type, ...], wanted: str) -> Fault | None:
    if value is None or (isinstance(value, types) and not isinstance(value, bool)):
        return None
    return name, f"must be {wanted}, not {type(value).__name__}"


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
