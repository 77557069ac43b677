"""The small ones: encoding an update, reading an answer, decoding its echo, reading lines of JSONL."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy

from benchmarks.reading import best, one_member, reading, write_jsonl
from xmediameta import Metadata, Update
from xmediameta.outcomes import read_echo
from xmediameta.wire import decipher, encode

from .work import FIRST

TURNS = 5_000
PASSES = 7


class Codecs(Struct, frozen=True, kw_only=True):
    """Microseconds of CPU time, and lines a second.

    Attributes:
        encode: an update checked and encoded.
        decipher: an answer judged, its data looked at.
        echo: `associated_metadata` decoded.
        lines: of JSONL, read, checked and built, end to end.
    """

    encode: float
    decipher: float
    echo: float
    lines: float


def each(work: Callable[[], object]) -> float:
    """Microseconds of CPU time for one turn, the quickest of a few passes."""
    times: list[float] = []
    for _ in range(PASSES):
        began = time.process_time()
        for _ in range(TURNS):
            work()
        times.append((time.process_time() - began) / TURNS * 1e6)
    return min(times)


def codecs(rows: int) -> Codecs:
    """Measure all, reading on so many lines."""
    update = Update(str(FIRST), Metadata.of(alt_text="A dancing cat", allow_download=True))
    echo = b'{"alt_text":{"text":"A dancing cat"},"allow_download_status":{"allow_download":true}}'
    body = b'{"data":{"id":"%d","associated_metadata":%b}}' % (FIRST, echo)
    headers = CIMultiDictProxy(CIMultiDict({"Content-Type": "application/json", "x-transaction-id": "00f0c0ffee"}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "updates.jsonl"
        write_jsonl(path, rows, one_member)
        lines = best(rows, reading(path))
    return Codecs(
        encode=each(lambda: encode(update, strict=True)),
        decipher=each(lambda: decipher(200, headers, body, media_id=str(FIRST))),
        echo=each(lambda: read_echo(echo)),
        lines=lines,
    )
