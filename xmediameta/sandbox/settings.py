"""What a sandbox was asked to be, checked once."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Final

from msgspec import Struct

from xmediameta.errors import ConfigurationError

from .quota import ROUNDINGS, STEMS, Rounding

# RFC 6761: no name under .invalid resolves, so a client that follows a redirect fails where it stands.
NOWHERE: Final = "https://elsewhere.invalid/2/media/metadata"
LARGEST_BODY: Final = 1024 * 1024


class Settings(Struct, frozen=True, kw_only=True):
    """The options that the handlers need.

    Attributes:
        latency: seconds from the arrival of a request to its answer, the least and the most.
        families: the rate-limit headers that are sent.
        rounding: how resets become whole seconds.
        lenient: whether the one-of rule of `geo_restrictions` is left out.
        close_after: requests per connection, which is then closed without a word; None keeps it.
        redirect_to: where redirects lead.
    """

    latency: tuple[float, float]
    families: frozenset[str]
    rounding: Rounding
    lenient: bool
    close_after: int | None
    redirect_to: str


def latency_of(latency: float | tuple[float, float]) -> tuple[float, float]:
    """The least and the most latency."""
    low, high = latency if isinstance(latency, tuple) else (latency, latency)
    if not (math.isfinite(low) and math.isfinite(high) and 0 <= low <= high):
        raise ConfigurationError(f"latency is seconds, or (least, most), not {latency!r}")
    return float(low), float(high)


def families_of(headers: bool | Collection[str]) -> frozenset[str]:
    """The header families that are sent: all, none, or those named."""
    if isinstance(headers, bool):
        return frozenset(STEMS) if headers else frozenset()
    families = frozenset((headers,) if isinstance(headers, str) else headers)
    if unknown := families - set(STEMS):
        raise ConfigurationError(f"headers is True, False or some of {', '.join(STEMS)}, not {sorted(unknown)}")
    return families


def rounding_of(rounding: Rounding) -> Rounding:
    """How resets are rounded."""
    if rounding not in ROUNDINGS:
        raise ConfigurationError(f"reset_rounding is one of {', '.join(ROUNDINGS)}, not {rounding!r}")
    return rounding


def whole(name: str, value: int | None, *, least: int = 1) -> int | None:
    """A whole number of at least `least`, or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{name} is a whole number of at least {least}, or None, not {value!r}")
    return value


def seconds(name: str, value: float) -> float:
    """A length of time above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ConfigurationError(f"{name} is a number of seconds above 0, not {value!r}")
    return float(value)
