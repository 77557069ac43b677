"""Updates in the background of a web backend, handed in one at a time.

Rooms, from the bottom: `book` (what is kept in a journal), `submission` (one update on its way) and `batcher`.
"""

from __future__ import annotations

from .batcher import Batcher
from .book import Book

__all__ = ["Batcher", "Book"]
