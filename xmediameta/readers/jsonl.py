"""JSONL: one object per line, decoded straight from the bytes of the line.

Bytes are taken in blocks and split there: asking the stream for every line takes a third of the time
that decoding it does.

msgspec lets the last of equal names win, and a line with two ids would set the metadata of another media than the one
that somebody read in it. So a block that has more `"id"` in it than lines is looked at line by line. Counting them in
the whole block takes 0.1 µs a line, of 1.7 that reading it takes; counting them in every line, four times as much.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec
from msgspec import UNSET, Struct

from xmediameta.errors import InvalidUpdate
from xmediameta.models import Update, check_notes, check_rules, decode_update

from .rows import LINE_LIMIT, NOTHING_PASSED, ReadOptions, Reject, Row, Stream

_decode: Final = msgspec.json.Decoder(Update).decode
_ID: Final = b'"id"'
_TWO_IDS: Final = "is there twice; one line is about one media"
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
        doubtful = block.doubtful
        for line in block.lines:
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
                if doubtful and _has_two_ids(line, update):
                    yield Reject(file=file, line=number, member="id", rule=_TWO_IDS, raw=line)
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


class _Block(Struct, frozen=True):
    """Lines, and whether any of them may name a media twice."""

    lines: list[bytes]
    doubtful: bool


def _blocks(stream: Stream) -> Iterator[_Block | _TooLong]:
    """The lines of a stream, without their line feeds: many at once, or one that is too long."""
    rest = b""
    while chunk := stream.read(_BLOCK):
        whole = rest + chunk
        lines = whole.split(b"\n")
        rest = lines.pop()
        ids = whole.count(_ID) - rest.count(_ID)
        del whole  # or a block more is kept while its rows are used
        if lines and len(lines[0]) > LINE_LIMIT:  # only the first can be: the others lie within one chunk
            yield _TooLong(len(lines[0]), lines[0][:_KEPT])
            ids -= lines.pop(0).count(_ID)
        yield _Block(lines, ids > len(lines) - lines.count(b"") - lines.count(b"\r"))
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
        yield _Block(rest.split(b"\n"), doubtful=True)


def _has_two_ids(line: bytes, update: Update) -> bool:
    """Whether a line that was decoded to this update names its media twice."""
    usual = 1
    if update.metadata is not UNSET:
        usual += update.metadata.found_media_origin is not UNSET
        if update.metadata.sticker_info is not UNSET:
            usual += sum(sticker.id is not UNSET for sticker in update.metadata.sticker_info.stickers)
    if line.count(_ID) <= usual:
        return False
    try:
        members: tuple[tuple[str, object], ...] = json.loads(line, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return False
    return sum(name == "id" for name, _ in members) > 1


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
        if not _has_two_ids(line, update):
            return Row(file, number, update, passed)
        member, rule = "id", _TWO_IDS
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
