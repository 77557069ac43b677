"""A stream of updates, many in flight, one outcome for each."""

from .run import BulkRun

__all__ = ["BulkRun"]
