"""What became of a run, told: problems put together, how it stands, and a page to look at.

Rooms: `problem` and `standing` (words), `timeline` and `quota` (numbers), `story` (one pass over the rows), `markup`,
`charts`, `sections`, `windows` and `page` (HTML).
"""

from __future__ import annotations

from .page import page
from .problem import TROUBLED, Problems, read_said
from .quota import recorded
from .standing import Standing, clock, read_stopped, standing
from .story import Gathering, Story

__all__ = [
    "TROUBLED",
    "Gathering",
    "Problems",
    "Standing",
    "Story",
    "clock",
    "page",
    "read_said",
    "read_stopped",
    "recorded",
    "standing",
]
