"""The command `xmediameta`. It needs the extra [cli]; without it, it says so."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `argv` leaves out the program's name."""
    if any(find_spec(name) is None for name in ("click", "rich")):
        sys.stderr.write("xmediameta: the command line needs the extra [cli]: pip install 'xmediameta[cli]'\n")
        return 2
    try:
        from .app import run  # noqa: PLC0415 - click is there only with the extra

        return run(argv)
    except KeyboardInterrupt:  # while it is still being imported
        return 130
