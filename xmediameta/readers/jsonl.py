"""JSONL: one object per line, decoded straight from the bytes of the line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, cast

import msgspec

from xmediameta.errors import InvalidUpdate
from xmediameta.models import Update, check_rules, decode_update

from .rows import LINE_LIMIT, NOTHING_PASSED, ReadOptions, Reject, Row, Stream

_SPREAD: Final = {
    b"[": "begins a JSON list; write one object per line, as `jq -c '.[]'` does",
    b"{": "begins an object that is spread over several lines; write one object per line, as `jq -c .` does",
}


def read_jsonl(stream: Stream, file: str, options: ReadOptions) -> Iterator[Row | Reject]:
    """The rows of a JSONL stream; empty lines, CRLF and a missing last newline are tolerated."""
    strict = options.strict
    readline = partial(stream.readline, LINE_LIMIT + 1)
    for number, line in enumerate(iter(readline, b""), 1):
        if len(line) > LINE_LIMIT and not line.endswith(b"\n"):
            length = len(line) + sum(len(rest) for rest in _rest(readline))
            rule = f"the line has {length:,} bytes; at most {LINE_LIMIT:,} are read as one update"
            yield Reject(file=file, line=number, member="", rule=rule, raw=line[:1000])
            continue
        try:
            update = decode_update(line, strict=strict)
        except InvalidUpdate as error:
            fault = error
        else:
            yield Row(file, number, update)
            continue
        bare = line.strip()
        if not bare:
            continue
        if number == 1 and (bare in _SPREAD or bare.startswith(b"[")):
            yield Reject(file=file, line=1, member="", rule=_SPREAD[bare[:1]], fatal=True)
            return
        yield _second_look(line, file, number, options, fault)


def _rest(readline: Callable[[], bytes]) -> Iterator[bytes]:
    """What is left of a line that was too long, so that the next call begins on the next line."""
    while rest := readline():
        yield rest
        if rest.endswith(b"\n"):
            return


def _second_look(line: bytes, file: str, number: int, options: ReadOptions, fault: InvalidUpdate) -> Row | Reject:
    """A line that did not decode as it stands: with members to pass on it may still be an update."""
    if options.passed:
        try:
            update, passed = _with_passed(line, options)
        except InvalidUpdate as error:
            fault = error
        else:
            return Row(file, number, update, passed)
    member, rule = fault.member, fault.rule
    nul = line.find(b"\0")
    if nul >= 0:
        member, rule = "", f"holds a NUL byte (byte {nul + 1}): the file is damaged, or not UTF-8"
    return Reject(file=file, line=number, member=member, rule=rule, raw=line)


def _with_passed(line: bytes, options: ReadOptions) -> tuple[Update, Mapping[str, object]]:
    try:
        read: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        read = None
    if not isinstance(read, dict):
        return decode_update(line, strict=options.strict), NOTHING_PASSED
    plain = cast("dict[str, Any]", read)
    own = set(Update.__struct_fields__)
    passed = {name: plain.pop(name) for name in options.passed if name in plain and name not in own}
    update = Update.from_mapping(plain)
    if options.strict:
        check_rules(update)
    return update, passed
