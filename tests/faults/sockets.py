"""What a transport holds on to."""

from __future__ import annotations

from xmediameta.transport import Transport


def taken(transport: Transport) -> int:
    """How many connections are taken out of the pools for a request, and not given back."""
    idle = 0 if transport._lane is None else len(transport._lane._idle)
    fresh = 0 if transport._fresh is None else len(transport._fresh.connector._acquired)  # type: ignore[union-attr]
    return len(transport._connector._acquired) - idle + fresh
