"""What every variant sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

PATH: Final = "/2/media/metadata"
TOKEN: Final = "AAAAAAAAAAAAAAAAAAAAAMLheAAAAAAA0-2Bc04AbCdEfGh"  # made up
METADATA: Final[dict[str, Any]] = {"alt_text": {"text": "A dancing cat"}}
FIRST: Final = 1_146_654_567_674_000_000
BODY: Final = msgspec.json.encode({"id": str(FIRST), "metadata": METADATA})
HEADERS: Final = {
    "Authorization": f"Bearer {TOKEN}",
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "benchmark",
}


class Job(Struct, frozen=True):
    """So many requests to a server, so many at a time."""

    url: str
    requests: int
    concurrency: int


def media_ids(number: int) -> Iterator[str]:
    """As many ids, each another one."""
    return map(str, range(FIRST, FIRST + number))
