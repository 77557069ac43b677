"""The same for all tests: hypothesis searches the same examples every time where CI is set, a few elsewhere."""

from __future__ import annotations

import asyncio
import os

from hypothesis import HealthCheck, settings

# looptime asks for the event loop before every test; where none was ever set, that makes one which nobody closes.
asyncio.set_event_loop(None)

# What a developer has set for the command is not for its tests: they would use that journal, that token.
for name in [name for name in os.environ if name.startswith("XMEDIAMETA_") and name != "XMEDIAMETA_PLAIN_HTTP"]:
    del os.environ[name]

_QUIET = [HealthCheck.too_slow]

settings.register_profile("ci", max_examples=200, derandomize=True, database=None, deadline=None, print_blob=True,
                          suppress_health_check=_QUIET)  # fmt: skip
settings.register_profile("dev", max_examples=60, deadline=None, suppress_health_check=_QUIET)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
