"""How long a run will still take, from what its windows tell: pure arithmetic.

The rate of the last seconds says little, since a window of 500 requests is spent in two of them and then closed for
a quarter of an hour. What counts is how many windows the rest needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

# FACTS, "Limits and price". A server on this machine may have windows of any length: that one is measured.
DOCUMENTED: Final[Mapping[str, float]] = {"user-15min": 900.0, "user-24hour": 86_400.0, "app-24hour": 86_400.0}


class Window(Struct, frozen=True):
    """One window as it is seen now.

    Attributes:
        account: whose it is; None is an account as well.
        name: `user-15min`, `user-24hour` or `app-24hour`.
        opens_in: seconds until it is renewed, or None.
    """

    account: str | None
    name: str
    limit: int | None
    remaining: int | None
    opens_in: float | None


def time_left(
    left: Mapping[str | None, int], windows: Iterable[Window], rate: float, lengths: Mapping[str, float]
) -> float | None:
    """Seconds that the rest will take at least; None where nothing is known yet.

    Args:
        left: updates by account.
        rate: updates a second, waits included.
        lengths: seconds by name of window; one that is not here has an unknown length.
    """
    total = sum(left.values())
    longest = total / rate if rate > 0 else None
    for window in windows:
        work = total if window.name.startswith("app") else left.get(window.account, 0)
        beyond = work - (window.remaining or 0)
        if beyond <= 0 or not window.limit or window.remaining is None:
            continue
        length = lengths.get(window.name)
        rounds = math.ceil(beyond / window.limit) - 1
        opens_in = window.opens_in if window.opens_in is not None else length
        if opens_in is None or (rounds and length is None):
            return None
        longest = max(longest or 0.0, opens_in + rounds * (length or 0.0))
    return longest
