"""The body of an answer: no more than 1 MiB of it is kept, inflated or not."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

import aiohttp

from .errors import ProtocolViolation

MOST_BYTES: Final = 1 << 20
_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def read_body(status: int, headers: Mapping[str, str], content: aiohttp.StreamReader) -> bytes:
    """The body as far as 1 MiB. A longer one is an error of a success; of a failure its status says enough.

    Args:
        status, headers: of the answer.
        content: its body, of which the rest is left unread where it is too long.

    Raises:
        ProtocolViolation: a success with more than that.
    """
    told = headers.get("Content-Length")  # aiohttp's parser takes nothing but digits
    if told is not None and int(told) <= MOST_BYTES:
        # What came in one piece with the head, nearly always, is there.
        body, whole = content.read_nowait() if content.is_eof() else await content.read(), True
    elif told is not None and status < 400:
        body, whole = b"", False
    else:
        body, whole = await _beginning(content)
    encoding = headers.get("Content-Encoding")
    if encoding is not None:  # although none was asked for
        body, inflated = _inflated(body, encoding)
        whole = whole and inflated
    if not whole and status < 400:
        raise ProtocolViolation(f"the body of a {status} is larger than 1 MiB", maybe_applied=True)
    return body


async def _beginning(content: aiohttp.StreamReader) -> tuple[bytes, bool]:
    """The body as far as 1 MiB, and whether that is all."""
    chunks: list[bytes] = []
    size = 0
    while chunk := await content.readany():
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_BYTES:
            return b"".join(chunks)[:MOST_BYTES], False
    return b"".join(chunks), True


def _inflated(body: bytes, encoding: str) -> tuple[bytes, bool]:
    """A compressed body inflated as far as 1 MiB, and whether that is all. What cannot be inflated stays as it is."""
    bits = _WINDOW_BITS.get(encoding.strip().lower())
    if bits is None:
        return body, True
    inflater = zlib.decompressobj(bits)
    try:
        plain = inflater.decompress(body, MOST_BYTES + 1)
    except zlib.error:
        return body, True
    return plain[:MOST_BYTES], len(plain) <= MOST_BYTES
