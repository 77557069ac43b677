"""Hypothesis profiles: the same examples every time where CI is set, a small search elsewhere."""

from __future__ import annotations

import asyncio
import os

from hypothesis import HealthCheck, settings

# looptime asks for the event loop before every test; where none was ever set, that makes one which nobody closes.
asyncio.set_event_loop(None)

_QUIET = [HealthCheck.too_slow]

settings.register_profile("ci", max_examples=200, derandomize=True, database=None, deadline=None, print_blob=True,
                          suppress_health_check=_QUIET)  # fmt: skip
settings.register_profile("dev", max_examples=60, deadline=None, suppress_health_check=_QUIET)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
