"""Parquet, batch by batch: the columns of every table, in types of their own or as texts; nulls are absent members.

A column may also be a struct in the shape of the wire, `metadata` or one of its members: its fields are then columns
by their dotted paths. Memory stays flat: pages are read as they are needed, and a batch is let go of before the next.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from xmediameta.explain import Fault
from xmediameta.extras import needed
from xmediameta.flat import COLUMN_NAMES, Column, Columns, Flaw, read_header
from xmediameta.text import printable

from .arrowcells import is_text, is_utf8, kept, reading
from .damage import damage
from .rows import ReadOptions, Reject, Row, Unreadable

_BATCH: Final = 1024
_BUFFER: Final = 1 << 18
_UNIT: Final = "row"


def read_parquet(stream: IO[bytes], file: str, options: ReadOptions) -> Iterator[Row | Reject]:
    """The rows of a Parquet file.

    Raises:
        Unreadable: it is no Parquet file, or a broken one.
        MissingExtra: pyarrow is not installed.
    """
    parquet = needed("pyarrow.parquet", "reading Parquet files", "parquet")
    pa = needed("pyarrow", "reading Parquet files", "parquet")
    head = stream.read(4)
    if head != b"PAR1":
        raise Unreadable("is encrypted" if head == b"PARE" else "is not a Parquet file")
    stream.seek(0)
    with _told(pa):
        # Without buffers of its own for columns it would read a whole row group into memory.
        opened = parquet.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)
        schema = opened.schema_arrow
    leaves = [leaf for top in schema for leaf in _leaves(pa, top, top.name, (), top.name)]
    columns, faults = read_header([leaf.header for leaf in leaves], renames=options.renames, passed=options.passed)
    table = _Table(pa, file, options.strict)
    faults += table.take(leaves, columns)
    if faults:
        yield from (Reject(file=file, line=None, member=at, rule=rule, fatal=True) for at, rule in faults)
        return
    with _told(pa):
        batches = opened.iter_batches(_BATCH, columns=table.tops, use_threads=False)
    first = 1
    while True:
        with _told(pa):
            batch = next(batches, None)
            if batch is None:
                return
            cells, damaged = table.cells(batch)
        yield from table.rows(cells, first, damaged=damaged)
        first += batch.num_rows


class _Leaf(Struct, frozen=True):
    """A column of the file, or a field of a struct column.

    Attributes:
        header: its name, of a field the dotted path.
        top: the column of the file that holds it.
        steps: the indexes of the fields that lead to it.
    """

    header: str
    top: str
    steps: tuple[int, ...]
    arrow: Any


def _leaves(pa: Any, field: Any, header: str, steps: tuple[int, ...], top: str) -> Iterator[_Leaf]:
    start = header.strip().lower().removeprefix("metadata.") + "."
    if pa.types.is_struct(field.type) and (
        start == "metadata." or any(name.startswith(start) for name in COLUMN_NAMES)
    ):
        for index, inner in enumerate(field.type):
            yield from _leaves(pa, inner, f"{header}.{inner.name}", (*steps, index), top)
    else:
        yield _Leaf(header, top, steps, field.type)


class _Table:
    """The columns that are read, and how."""

    def __init__(self, pa: Any, file: str, strict: bool) -> None:
        self._pa = pa
        self._file = file
        self._strict = strict
        self._leaves: list[_Leaf] = []
        self._values: list[Callable[[Any], list[Any]]] = []
        self._headers: list[str] = []
        self._columns = Columns(())
        self.tops: list[str] = []

    def take(self, leaves: Sequence[_Leaf], columns: Columns) -> list[Fault]:
        """Choose the columns that set something or are kept; every one of them whose type does not fit is a fault."""
        faults: list[Fault] = []
        chosen: list[Column] = []
        for leaf, column in zip(leaves, columns.columns, strict=False):
            if not column.path and not column.kept:
                continue
            way = reading(self._pa, column.kind, column.path, leaf.arrow) if column.path else kept(self._pa, leaf.arrow)
            if isinstance(way, str):
                faults.append((printable(column.header, 60), way))
                continue
            chosen.append(replace(column, read=way.read))
            self._leaves.append(leaf)
            self._values.append(way.values)
        self._columns = Columns(tuple(chosen), columns.keeps)
        self._headers = [column.header for column in chosen]
        self.tops = list(dict.fromkeys(leaf.top for leaf in self._leaves))
        return faults

    def cells(self, batch: Any) -> tuple[list[list[Any]], bool]:
        """The values of a batch by column, and whether texts among them may not be UTF-8."""
        cells: list[list[Any]] = []
        damaged = False
        for leaf, values in zip(self._leaves, self._values, strict=True):
            array = batch.column(self.tops.index(leaf.top))
            for step in leaf.steps:
                array = array.flatten()[step]
            if is_text(self._pa, array.type) and not is_utf8(self._pa, array):
                array = array.cast(self._pa.large_binary())
                damaged = True
            cells.append(values(array))
        return cells, damaged

    def rows(self, cells: list[list[Any]], first: int, *, damaged: bool) -> Iterator[Row | Reject]:
        """The rows of a batch, the first of which has the number `first`."""
        for number, row in enumerate(zip(*cells, strict=True), first):
            found = (damage(row, self._headers) if damaged else None) or self._columns.read(
                row, strict=self._strict, keep_empty=True
            )
            if not isinstance(found, Flaw):
                yield Row(self._file, number, found, self._columns.passed(row), _UNIT)
                continue
            raw = {header: str(value) for header, value in zip(self._headers, row, strict=True) if value is not None}
            yield Reject(file=self._file, line=number, member=found.member, rule=found.rule, raw=raw, unit=_UNIT)


@contextmanager
def _told(pa: Any) -> Generator[None]:
    """What pyarrow says of a file, as a rule."""
    try:
        yield
    except UnicodeDecodeError:
        rule = "holds texts that are not UTF-8"
    except (pa.ArrowException, OSError, OverflowError) as error:
        rule = f"the Parquet data is broken: {printable(str(error), 300)}"
    except MemoryError:
        rule = "the Parquet data is broken, or asks for more memory than there is"
    else:
        return
    raise Unreadable(rule)
