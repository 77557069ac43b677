"""Running a coroutine to its end, on uvloop where that is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Any, TypeVar

T = TypeVar("T")


def run_in_loop(main: Callable[[], Coroutine[Any, Any, T]], *, own: bool = False) -> T:
    """Run it, and return what it returns.

    Args:
        own: whether it serves requests itself; uvloop is for the client's side.
    """
    factory = None
    if not own and find_spec("uvloop") is not None:
        import uvloop  # noqa: PLC0415 - optional

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())
