"""What was found in a sheet before it is read: failed formulas, and how far away its last cell stands."""

from __future__ import annotations

from typing import Final

from .rows import Unreadable

# None: a formula that nothing has computed yet, as programs write them that are no spreadsheets.
Failed = dict[int, dict[int, str | None]]

_MOST_CELLS: Final = 40_000_000
_MOST_COLUMNS: Final = 16_384  # Excel's own bound
_MOST_FAILED: Final = 100_000


class Findings:
    """Failed formulas by row and column, both from 1, and the bounds of what is read."""

    def __init__(self) -> None:
        self.failed: Failed = {}
        self._count = 0
        self._row = self._column = 0

    def reach(self, row: int, column: int) -> None:
        """A cell that holds something stands here, or cells in this row and in this column do.

        Raises:
            Unreadable: the rectangle from A1 to there is too large to be read into memory.
        """
        self._row, self._column = max(self._row, row), max(self._column, column)
        if self._column > _MOST_COLUMNS or self._row * self._column > _MOST_CELLS:
            raise Unreadable(
                f"a cell stands as far away as {letters(self._column)}{self._row}, and all cells up to there would be "
                "read; delete the rows and columns beyond the table"
            )

    def fail(self, row: int, column: int, shown: str | None) -> None:
        """A formula failed here, or was never computed.

        Args:
            shown: what stands in its cell, such as `#N/A`; None where nothing does.

        Raises:
            Unreadable: so did too many.
        """
        failed = self.failed.setdefault(row, {})
        self._count += column not in failed
        if self._count > _MOST_FAILED:
            raise Unreadable(f"more than {_MOST_FAILED:,} cells show a formula that failed")
        failed[column] = shown


def letters(column: int) -> str:
    """The name of a column, from 1: `A`, `Z`, `AA`."""
    name = ""
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(ord("A") + rest) + name
    return name
