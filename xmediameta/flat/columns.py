"""The columns of one table, and its rows made updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from xmediameta.errors import InvalidUpdate
from xmediameta.models import Update, broken_rule, check_notes
from xmediameta.shortform import SHORT_FORMS, SHORT_NAMES, complete
from xmediameta.text import printable

from .cells import Kind, Path

_NOTHING: Final[Mapping[str, object]] = {}


class Column(Struct, frozen=True):
    """One column: its header as written, the path that it sets, and how its cells are read.

    An empty path is a column that sets nothing: `kept` tells whether it goes along with the row or is passed over.

    Attributes:
        kind: what its cells are.
        read: makes a cell the value of that kind; raises `ValueError` with the rule that the cell breaks.
        above, last: the path in two parts, for the rows.
    """

    header: str
    path: Path = ()
    kind: Kind = "word"
    read: Callable[[Any], object] = str.strip
    kept: bool = False
    above: Path = ()
    last: str = ""


class Flaw(Struct, frozen=True):
    """Why a row is no update.

    Attributes:
        member: the header at fault, or several, safe to show; empty for the whole row.
        rule: what is wrong, safe to show.
        places: the indexes of the columns at fault; none for the whole row.
    """

    member: str
    rule: str
    places: tuple[int, ...] = ()


class Columns(Struct, frozen=True):
    """The columns of one table, in the order of its cells.

    Attributes:
        keeps: whether some column goes along with its row.
    """

    columns: tuple[Column, ...]
    keeps: bool = False

    def read(self, cells: Sequence[Any], *, strict: bool = True, keep_empty: bool = False) -> Update | Flaw:
        """The update that a row describes, or why it describes none.

        Args:
            cells: one for each column; None, and what is empty or blank, is an absent member.
            strict: whether rules that join members are checked too.
            keep_empty: take an empty text as a value; only None is then absent.
        """
        metadata: dict[str, Any] = {}
        line: dict[str, Any] = {"id": "", "metadata": metadata}
        for place, (column, cell) in enumerate(zip(self.columns, cells, strict=True)):
            if cell is None or (not keep_empty and (not cell or cell.isspace())):
                continue
            if column.path:
                try:
                    value = column.read(cell)
                except ValueError as error:
                    return Flaw(printable(column.header, 60), str(error), (place,))
                at = line
                for step in column.above:
                    at = at.setdefault(step, {})
                at[column.last] = value
            elif not column.header:
                return Flaw("", f"the cell {printable(repr(cell), 40)} stands in a column that has no header", (place,))
        if not metadata:
            return Flaw("", "the row sets nothing: every cell of its metadata is empty")
        if "geo_restrictions" in metadata or "preview_image" in metadata:
            complete(metadata)
        return self._checked(line, strict=strict)

    def update(self, cells: Sequence[str | None], *, strict: bool = True, keep_empty: bool = False) -> Update:
        """As `read`.

        Raises:
            InvalidUpdate: names the header and the rule.
        """
        found = self.read(cells, strict=strict, keep_empty=keep_empty)
        if isinstance(found, Flaw):
            raise InvalidUpdate(found.member, found.rule)
        return found

    def passed(self, cells: Sequence[Any]) -> Mapping[str, Any]:
        """The cells that `--pass` keeps beside the row, by header."""
        if not self.keeps:
            return _NOTHING
        return {column.header: cell for column, cell in zip(self.columns, cells, strict=True) if column.kept}

    def _checked(self, line: dict[str, Any], *, strict: bool) -> Update | Flaw:
        try:
            # What `Update.from_mapping` does, less what these rows cannot need.
            try:
                update = msgspec.convert(line, Update)
            except (msgspec.ValidationError, RecursionError):
                update = Update.from_mapping(line)  # says why, in words
            if len(line) > 2:
                check_notes(update)
            fault = broken_rule(update) if strict else None
        except InvalidUpdate as error:
            fault = (error.member, error.rule)
        else:
            if fault is None:
                return update
        member, places = self._headers(fault[0])
        return Flaw(member, self._in_headers(fault[1]), places)

    def _headers(self, member: str) -> tuple[str, tuple[int, ...]]:
        """The header, or headers, behind a member of the wire such as `metadata.geo_restrictions`."""
        steps = tuple(member.split("."))
        bare = tuple(step.removesuffix("[]") for step in steps)
        for place, column in enumerate(self.columns):
            depth = len(column.path)
            if depth and bare[:depth] == column.path:
                list_mark = "[]" if steps[depth - 1].endswith("[]") else ""
                return ".".join((printable(column.header, 60) + list_mark, *steps[depth:])), (place,)
        below = tuple(place for place, column in enumerate(self.columns) if column.path[: len(bare)] == bare)
        names = " and ".join(printable(self.columns[place].header, 60) for place in below)
        return names or SHORT_NAMES.get(bare[1:], member), below

    def _in_headers(self, rule: str) -> str:
        """A rule that speaks of wire names, in the words of this table."""
        for name in ("allowed_countries", "blocked_countries"):
            path = SHORT_FORMS[name]
            header = next((c.header for c in self.columns if c.path == ("metadata", *path)), name)
            rule = rule.replace(path[-1], printable(header, 60))
        return rule
