"""A stream of updates, many in flight, one outcome for each.

Rooms: `run` (what the caller holds), `engine` (how it works), `source` (the caller's iterable), `dispatch` (what is
sent next), `urgent` (ahead of bulk), `queues`, `rows` and `endings` (what becomes of each input), `crew` (the tasks).
"""

from .journaled import Journaled
from .options import Options
from .run import BulkRun

__all__ = ["BulkRun", "Journaled", "Options"]
