"""Rows are made while others are written: on which threads, how far ahead, and what comes of a side that fails."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.journals import X, finish, incoming, well
from xmediameta.errors import JournalError
from xmediameta.journal import Incoming, Journal
from xmediameta.journal.intake import _AHEAD, _PIECE
from xmediameta.journal.loading import Loading

MANY = 8 * _PIECE


def held(path: Path, what: str = "task") -> int:
    """How many rows a journal has."""
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute(f"SELECT count(*) FROM {what}").fetchone()[0])


class OddError(Exception):
    """An iterable's own."""


async def test_all_rows_arrive_in_their_order(tmp_path: Path) -> None:
    async with await Journal.open(tmp_path / "journal.db") as journal:
        run = await journal.start("nightly", X, incoming(MANY + 7))
        assert run.loaded.total == MANY + 7
        refs = [row.ref async for row in await journal.results(run.record)]
        assert refs == [f"r{n}" for n in range(1, MANY + 8)]


async def test_an_iterable_is_read_on_one_thread_that_is_neither_the_loops_nor_the_journals(tmp_path: Path) -> None:
    threads: set[str] = set()

    def rows() -> Iterator[Incoming]:
        for row in incoming(MANY):
            threads.add(threading.current_thread().name)
            yield row

    async with await Journal.open(tmp_path / "journal.db") as journal:
        await journal.start("nightly", X, rows())
    assert threads == {"xmediameta-rows"}
    assert "xmediameta-rows" not in {thread.name for thread in threading.enumerate()}


async def test_no_more_is_made_than_a_few_pieces_ahead_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    enough, go_on = threading.Event(), threading.Event()
    ahead: list[int] = []
    add = Loading.add

    def slow(loading: Loading, rows: Sequence[Incoming]) -> None:
        if not ahead:
            assert enough.wait(60)
            asyncio.run_coroutine_threadsafe(settle(), loop).result(60)
            ahead.append(made)
            go_on.set()
        add(loading, rows)

    def rows() -> Iterator[Incoming]:
        nonlocal made
        for row in incoming(MANY):
            made += 1
            if made == (_AHEAD + 1) * _PIECE:
                enough.set()
            yield row

    async def settle() -> None:
        for _ in range(100):  # turns of the loop in which more could be asked for
            await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(Loading, "add", slow)
    async with await Journal.open(tmp_path / "journal.db") as journal:
        await journal.start("nightly", X, rows())
    assert go_on.is_set()
    assert ahead == [(_AHEAD + 1) * _PIECE]
    assert made == MANY


@pytest.mark.parametrize("waiting", [False, True])
async def test_an_error_of_the_iterable_is_raised_as_it_is_and_nothing_is_left(tmp_path: Path, waiting: bool) -> None:
    def rows() -> Iterator[Incoming]:
        yield from incoming(5 * _PIECE + 3)
        raise OddError

    async def slowly() -> AsyncIterator[Incoming]:
        for row in rows():
            yield row

    async with await Journal.open(tmp_path / "journal.db") as journal:
        with pytest.raises(OddError):
            await journal.start("nightly", X, slowly() if waiting else rows())
        assert await journal.run("nightly") is None
        assert held(tmp_path / "journal.db") == 0
        run = await journal.start("nightly", X, incoming(2))
        assert await finish(run, well) == 2


async def test_a_piece_that_cannot_be_written_ends_it_before_all_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pieces = 0
    add = Loading.add

    def full(loading: Loading, rows: Sequence[Incoming]) -> None:
        nonlocal pieces
        pieces += 1
        if pieces == 2:
            raise sqlite3.OperationalError("no more")
        add(loading, rows)

    def rows() -> Iterator[Incoming]:
        nonlocal made
        for row in incoming(MANY):
            made += 1
            yield row

    async with await Journal.open(tmp_path / "journal.db") as journal:
        monkeypatch.setattr(Loading, "add", full)
        with pytest.raises(JournalError, match="no more"):
            await journal.start("nightly", X, rows())
        monkeypatch.setattr(Loading, "add", add)
        assert pieces > 1
        assert made <= (_AHEAD + 3) * _PIECE
        assert await journal.run("nightly") is None
        assert held(tmp_path / "journal.db") == 0


async def test_media_ids_that_come_again_later_are_found_in_whatever_order(tmp_path: Path) -> None:
    first, second = list(incoming(_PIECE)), list(incoming(2))

    async with await Journal.open(tmp_path / "journal.db") as journal:
        run = await journal.start("again", X, [*first, *second])
        assert await finish(run, well) == _PIECE  # equal neighbours share a request
        await run.aclose()
        run = await journal.start("backwards", X, [*reversed(first), second[0]])
        (counted,) = await journal.counts(run.record)
        assert (counted.state, counted.rows) == ("unchanged", _PIECE + 1)
    assert held(tmp_path / "journal.db", "task WHERE last IS NOT NULL") == 4 + 2
