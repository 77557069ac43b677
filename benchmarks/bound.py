"""How long a piece of work must take at least, whatever the client does.

A window takes `limit` requests, so of the `n` requests of one user the last `n - (k - 1) * limit` cannot start before
its k-th window does: at `(k - 1) * span` where windows begin with the first request after the last has ended, earlier
by the part of the first that had passed where they begin by the clock. Likewise those of one app. All requests that
cannot start before a time T still need the server: the sum of their latencies over the concurrency, and no less than
the longest of them. So for every such T,

    makespan >= T + max(sum(latencies) / concurrency, max(latencies))

over the requests that come last in the order given (a client cannot know which will be quick), and the bound is the
largest of these. What an outside spender takes is taken from the limit, window by window, as it did in that run; 503s
that the server counts are requests. The bound knows of no whole-second headers, first contact or unsure requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.model_server import Quota

Late = tuple[float, Sequence[float]]


def late(quota: Quota, latencies: Sequence[float], extra: int) -> list[Late]:
    """For each window needed: its earliest start, and the latencies of the requests that cannot start before it.

    Args:
        latencies: of one request for each update, in the order given.
        extra: requests beyond one an update, which may come first.
    """
    found: list[Late] = []
    room = window = 0
    while room < len(latencies) + extra:
        start = window * quota.span
        if quota.phase is not None and window:
            start -= -quota.phase % quota.span if quota.phase % quota.span else 0.0
        found.append((start, latencies[max(0, room - extra) :]))
        room += quota.limit - (quota.periods[window].by_others if window < len(quota.periods) else 0)
        window += 1
    return found


def lower_bound(users: Iterable[list[Late]], app: list[Late], concurrency: int) -> float:
    """The bound over all users and their app; requests of several users that are late alike are served together."""
    together: dict[float, list[float]] = {}
    for windows in users:
        for start, latencies in windows:
            together.setdefault(start, []).extend(latencies)
    return max(
        start + max(sum(latencies) / concurrency, *latencies, 0.0)
        for start, latencies in (*together.items(), *app)
        if latencies
    )
