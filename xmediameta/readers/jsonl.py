"""JSONL: one object per line, decoded straight from the bytes of the line.

Bytes are taken in blocks and split there: asking the stream for every line takes a third of the time
that decoding it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from xmediameta.errors import InvalidUpdate
from xmediameta.models import Update, check_notes, check_rules, decode_update

from .rows import LINE_LIMIT, NOTHING_PASSED, ReadOptions, Reject, Row, Stream

_decode: Final = msgspec.json.Decoder(Update).decode
_BLOCK: Final = 1 << 17
_KEPT: Final = 1000
_SPREAD: Final = {
    b"[": "begins a JSON list; write one object per line, as `jq -c '.[]'` does",
    b"{": "begins an object that is spread over several lines; write one object per line, as `jq -c .` does",
}


def read_jsonl(stream: Stream, file: str, options: ReadOptions) -> Iterator[Row | Reject]:
    """The rows of a JSONL stream; empty lines, CRLF and a missing last newline are tolerated."""
    strict = options.strict
    number = 0
    for block in _blocks(stream):
        if isinstance(block, _TooLong):
            number += 1
            rule = f"the line has {block.length:,} bytes; at most {LINE_LIMIT:,} are read as one update"
            yield Reject(file=file, line=number, member="", rule=rule, raw=block.start)
            continue
        for line in block:
            number += 1
            # What `decode_update` does, without a call for each line.
            try:
                update = _decode(line)
                if update.send_before is not None:
                    check_notes(update)
                if strict:
                    check_rules(update)
            except (InvalidUpdate, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
            else:
                yield Row(file, number, update)
                continue
            bare = line.strip()
            if not bare:
                continue
            if number == 1 and (bare == b"{" or bare.startswith(b"[")):
                yield Reject(file=file, line=1, member="", rule=_SPREAD[bare[:1]], fatal=True)
                return
            yield _second_look(line, file, number, options)


class _TooLong(Struct, frozen=True):
    """A line that was not kept: how many bytes it has, and how it begins."""

    length: int
    start: bytes


def _blocks(stream: Stream) -> Iterator[list[bytes] | _TooLong]:
    """The lines of a stream, without their line feeds: many at once, or one that is too long."""
    rest = b""
    while chunk := stream.read(_BLOCK):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        if lines and len(lines[0]) > LINE_LIMIT:  # only the first can be: the others lie within one chunk
            yield _TooLong(len(lines[0]), lines[0][:_KEPT])
            del lines[0]
        yield lines
        if len(rest) > LINE_LIMIT:
            start, length = rest[:_KEPT], len(rest)
            rest = b""
            while chunk := stream.read(_BLOCK):
                end, newline, rest = chunk.partition(b"\n")
                length += len(end)
                if newline:
                    break
            yield _TooLong(length, start)
    if rest:
        yield rest.split(b"\n")


def _second_look(line: bytes, file: str, number: int, options: ReadOptions) -> Row | Reject:
    """A line that did not decode as it stands: with members to pass on it may still be an update."""
    try:
        update, passed = (
            _with_passed(line, options)
            if options.passed
            else (decode_update(line, strict=options.strict), NOTHING_PASSED)
        )
    except InvalidUpdate as error:
        member, rule = error.member, error.rule
    else:
        return Row(file, number, update, passed)
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
