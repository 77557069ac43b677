"""Shared by the fault tests."""

from __future__ import annotations

import asyncio

# pytest-asyncio looks for a current loop before its first test; before Python 3.14 asyncio makes one for the asking,
# which nobody closes.
asyncio.set_event_loop(None)
