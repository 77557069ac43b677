from __future__ import annotations

import asyncio

# looptime asks for the current event loop before each test, sync ones too. While none was ever set, asyncio would make
# one for it, which nobody closes; once None was set, it is told that there is none.
asyncio.set_event_loop(None)
