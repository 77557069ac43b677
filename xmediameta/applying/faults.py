"""What is wrong with an input, before anything of it is sent."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from xmediameta.errors import XMediaMetaError
from xmediameta.readers import Reject
from xmediameta.text import counted


class InvalidInput(XMediaMetaError, ValueError):
    """Rows of an input are no updates, or a file cannot be read; nothing was sent.

    Attributes:
        rejects: the first hundred of them, each with its place, member and rule, and without what stood there.
        invalid: how many there are.
    """

    http_status = 422

    def __init__(self, rejects: Sequence[Reject], invalid: int) -> None:
        more = f"; and {counted(invalid - 1, 'more invalid row')}" if invalid > 1 else ""
        first = str(rejects[0]) if rejects else counted(invalid, "invalid row")
        super().__init__(f"{first}{more}; nothing was sent")
        self.rejects = tuple(replace(reject, raw=b"") for reject in rejects)
        self.invalid = invalid


InvalidInput.__module__ = "xmediameta"  # tracebacks and pickles use the public name
