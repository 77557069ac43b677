"""Libraries that come with an extra: imported where they are used, and named where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import MissingExtra


def needed(module: str, feature: str, extra: str) -> Any:
    """The module.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError:
        pass
    raise MissingExtra(feature, extra)
