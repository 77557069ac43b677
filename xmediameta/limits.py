"""The rate-limit headers of one answer, read as they stand: what they mean together is for `windows` to decide.

Any of them may be absent, malformed or absurd (FACTS, "Limits and price"); what cannot be read is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal

from msgspec import Struct

WindowName = Literal["user-15min", "user-24hour", "app-24hour"]

HEADER_STEMS: Final[dict[WindowName, str]] = {
    "user-15min": "x-rate-limit-",
    "user-24hour": "x-user-limit-24hour-",
    "app-24hour": "x-app-limit-24hour-",
}
_HEADERS: Final[dict[WindowName, tuple[str, str, str]]] = {
    name: (f"{stem}limit", f"{stem}remaining", f"{stem}reset") for name, stem in HEADER_STEMS.items()
}
_ABSENT: Final = (None, None, None)
_MOST_DIGITS: Final = 16
# A reset above this is in milliseconds: as seconds it would lie beyond the year 5000.
_MILLISECONDS_FROM: Final = 100_000_000_000


class RateLimit(Struct, frozen=True, gc=False):
    """One window as a response told it.

    Attributes:
        limit: requests per window, or None.
        remaining: requests left, or None.
        reset: when the window ends, in Unix seconds of the server's clock, or None.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: int | None = None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], name: WindowName) -> RateLimit | None:
        """The window `name`, or None where none of its headers can be read. `headers` must ignore case."""
        return _window(*map(headers.get, _HEADERS[name]))

    @property
    def reset_at(self) -> datetime | None:
        """`reset` as an aware datetime, or None where it is absent or out of range."""
        if self.reset is None:
            return None
        try:
            return datetime.fromtimestamp(self.reset, UTC)
        except (OverflowError, ValueError, OSError):
            return None


def read_windows(headers: Mapping[str, str]) -> dict[WindowName, RateLimit]:
    """All windows that the headers tell of, by name."""
    found: dict[WindowName, RateLimit] = {}
    get = headers.get
    for name, (limit, remaining, reset) in _HEADERS.items():
        texts = get(limit), get(remaining), get(reset)
        # Most answers have nothing of one window or another.
        if texts != _ABSENT and (window := _window(*texts)) is not None:
            found[name] = window
    return found


def _window(limit_text: str | None, remaining_text: str | None, reset_text: str | None) -> RateLimit | None:
    limit, reset = _frame(limit_text, reset_text)
    remaining = _whole(remaining_text)
    if remaining is None and limit is None and reset is None:
        return None
    return RateLimit(limit, remaining, reset)


@lru_cache(maxsize=256)
def _frame(limit: str | None, reset: str | None) -> tuple[int | None, int | None]:
    # The answers of one window differ in what remains alone.
    until = _whole(reset)
    if until is not None and until >= _MILLISECONDS_FROM:
        until //= 1000
    return _whole(limit), until


def _whole(text: str | None) -> int | None:
    if text is None:
        return None
    # str.isdigit() takes superscripts and other scripts' digits too, hence the ASCII check.
    if text.isdigit() and text.isascii():
        return int(text) if len(text) <= _MOST_DIGITS else None
    stripped = text.strip()
    return None if stripped == text else _whole(stripped)
