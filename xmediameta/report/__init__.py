"""What became of a run, told: problems put together, how it stands, and a page to look at.

Rooms: `problem` and `standing` (words), `timeline`, `quota` and `sittings` (numbers), `story` (one pass over the rows),
`markup`, `charts`, `sections`, `windows`, `worked` and `page` (HTML).
"""

from __future__ import annotations

from .page import page
from .problem import TROUBLED, Problems, read_said
from .sittings import Noted, read_events, with_open_windows
from .standing import Standing, clock, read_stopped, standing
from .story import Gathering, Story

__all__ = [
    "TROUBLED",
    "Gathering",
    "Noted",
    "Problems",
    "Standing",
    "Story",
    "clock",
    "page",
    "read_events",
    "read_said",
    "read_stopped",
    "standing",
    "with_open_windows",
]
