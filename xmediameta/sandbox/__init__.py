"""A stand-in for X's `POST /2/media/metadata`, for tests and first steps.

It checks requests against the published contract, keeps fixed windows per account and app, answers as X does, and
fails on request in every way of `FAULTS`. It knows nothing of the client, so that each can catch the other's mistakes.
"""

from __future__ import annotations

from .catalogue import FAULTS
from .faults import Fault
from .record import Counts, Received
from .sandbox import Sandbox
from .script import load_script

__all__ = ["FAULTS", "Counts", "Fault", "Received", "Sandbox", "load_script"]

for _public in (Counts, Fault, Received, Sandbox):
    _public.__module__ = __name__
