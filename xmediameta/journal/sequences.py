"""Media ids with several rows in one input: their order, what they are joined to, and whether they set the same.

Rows that are coalesced all take the request that is to be sent for them; as equal neighbours they then share it, and
its outcome, by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import msgspec
from msgspec import Struct

from xmediameta.coalesce import Coalesce, merged
from xmediameta.models import decode_update
from xmediameta.wire import encode

from .chains import dues
from .file import Changes, JournalFile
from .records import Clash, Clashes, digest
from .schema import beyond, first, seq_of

_EXAMPLES: Final = 3

# Sorts numbers alone, which takes half the time, and tells nearly always that there is no more to do.
_PERHAPS: Final = (
    "SELECT 1 FROM task WHERE task >= ? AND task < ? AND digest IS NOT NULL"
    " GROUP BY CAST(media_id AS INTEGER) HAVING count(*) > 1 LIMIT 1"
)
_SEVERAL: Final = (
    "SELECT group_concat(task), count(send_before), min(digest) <> max(digest) FROM task"
    " WHERE task >= ? AND task < ? AND digest IS NOT NULL GROUP BY account, media_id HAVING count(*) > 1"
)
_BODIES: Final = (
    "SELECT last, min(digest) OVER same <> max(digest) OVER same, task, CAST(body AS BLOB) FROM task"
    " WHERE last >= ? AND last < ? WINDOW same AS (PARTITION BY last) ORDER BY last, task"
)


class _Members(Struct, gc=False):
    metadata: dict[str, msgspec.Raw] = {}


_members: Final = msgspec.json.Decoder(_Members).decode


def have_sequences(file: JournalFile, load: int) -> bool:
    """Whether any media id has several rows."""
    return file.one("SELECT 1 FROM task WHERE last >= ? AND last < ? LIMIT 1", first(load), beyond(load)) is not None


def put_in_order(file: JournalFile, load: int, coalesce: Coalesce) -> None:
    """For media ids with several rows: coalesce, note the last, and let none be due after a later one."""
    if file.one(_PERHAPS, first(load), beyond(load)) is None:
        return
    # Sorted before the first row is given, so that tasks may be changed meanwhile.
    groups = file.db.execute(_SEVERAL, (first(load), beyond(load)))
    order = Changes(file.db, "UPDATE task SET last = ?, due = coalesce(?, due) WHERE task = ?")
    requests = Changes(file.db, "UPDATE task SET digest = ?, body = ? WHERE task = ?")
    for numbers, dated, differ in groups:
        tasks = sorted(map(int, numbers.split(",")))
        due: list[float | None] = [None] * len(tasks)
        if dated:
            due = dues([file.one("SELECT send_before FROM task WHERE task = ?", task) for task in tasks])
        order.add((tasks[-1], *each) for each in zip(due, tasks, strict=True))
        if coalesce is not None and differ:
            body = _coalesced(file, tasks, coalesce)
            requests.add((digest(body), body.decode(), task) for task in tasks)
    order.make()
    requests.make()


def clashes(file: JournalFile, load: int) -> Clashes:
    """Media ids whose rows set different members: X may replace what an earlier one has set."""
    count = 0
    examples: list[Clash] = []
    for _, rows in groupby(_bodies(file, load), key=itemgetter(0)):
        members: list[tuple[int, frozenset[str]]] = []
        for _, task, body in rows:
            members.append((task, frozenset(_members(body).metadata)))
        different = next((each for each in members if each[1] != members[0][1]), None)
        if different is not None:
            count += 1
            if len(examples) < _EXAMPLES:
                examples.append(_clash(file, members[0], different))
    return Clashes(count=count, examples=tuple(examples))


def _coalesced(file: JournalFile, tasks: Sequence[int], coalesce: Coalesce) -> bytes:
    chosen = tasks[-1:] if coalesce == "last" else tasks
    bodies = [file.one("SELECT CAST(body AS BLOB) FROM task WHERE task = ?", task) for task in chosen]
    if len(bodies) == 1:
        return bytes(bodies[0])
    # Each was checked as strictly as was asked for, and a rule that joins members of two rows is X's to judge.
    return encode(reduce(merged, (decode_update(body, strict=False) for body in bodies)), strict=False)


def _bodies(file: JournalFile, load: int) -> Iterator[tuple[int, int, bytes]]:
    """(last, task, request) of rows whose media id has others that differ."""
    for last, differ, task, body in file.db.execute(_BODIES, (first(load), beyond(load))):
        if differ:
            yield last, task, body


def _clash(file: JournalFile, *rows: tuple[int, frozenset[str]]) -> Clash:
    told: list[tuple[Any, ...]] = [
        file.db.execute(
            "SELECT media_id, name, source FROM task JOIN account USING (account) WHERE task = ?", (task,)
        ).fetchone()
        for task, _ in rows
    ]
    return Clash(
        id=told[0][0],
        account=told[0][1] or None,
        sources=tuple(source or f"row {seq_of(task) + 1}" for (*_, source), (task, _) in zip(told, rows, strict=True)),
        members=tuple(tuple(sorted(members)) for _, members in rows),
    )
