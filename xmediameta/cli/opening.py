"""The inputs of a run, and whether it goes to a server on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from xmediameta.address import checked_base_url, is_loopback
from xmediameta.applying.order import Order
from xmediameta.readers import STDIN, Inputs, ReadOptions

SAMPLE: Final = Path(__file__).with_name("sample.jsonl")


def goes_nowhere(order: Order) -> bool:
    """Whether nothing is sent to X: the server is on this machine.

    Raises:
        ConfigurationError: the base URL cannot be used.
    """
    insecure = os.environ.get("XMEDIAMETA_ALLOW_INSECURE") == "1"
    return order.sandbox or is_loopback(checked_base_url(order.base_url, allow_insecure=insecure))


def opened(order: Order) -> Inputs:
    """The inputs of a run; without files, the bundled sample."""
    files = order.files or (str(SAMPLE),)
    reading = ReadOptions(strict=order.strict, passed=order.passed, renames=order.renames, sheet=order.sheet)
    return Inputs(files, reading, kind=order.kind, stdin=sys.stdin.buffer if STDIN in files else None)
