"""The body of an answer: no more than 1 MiB of it is kept, inflated or not."""

from __future__ import annotations

import zlib
from typing import Final

import aiohttp

from .errors import ProtocolViolation

MOST_BYTES: Final = 1 << 20
_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """The body as far as 1 MiB. A longer one is an error of a success; of a failure its status says enough."""
    length = response.content_length
    if length is not None and length <= MOST_BYTES:
        body, whole = await response.read(), True
    elif length is not None and response.ok:
        body, whole = b"", False
    else:
        body, whole = await _beginning(response.content)
    encoding = response.headers.get("Content-Encoding")
    if encoding is not None:  # although none was asked for
        body, inflated = _inflated(body, encoding)
        whole = whole and inflated
    if whole:
        response.release()
        return body
    if response.ok:
        raise ProtocolViolation(f"the body of a {response.status} is larger than 1 MiB", maybe_applied=True)
    response.close()
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
