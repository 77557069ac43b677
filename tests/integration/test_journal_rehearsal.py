"""A rehearsal tells what a start would do, and leaves the journal as it is."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.integration.journals import X, finish, ill, incoming, invalid, make, well
from tests.unit.journal_desk import row
from xmediameta import estimate
from xmediameta.errors import JournalError
from xmediameta.journal import Counted, Drawn, Finished, Incoming, Journal, Rehearsal, file


async def rehearse(
    path: Path, rows: Iterable[Incoming], *, force: bool = False, retry_failed: bool = False
) -> Rehearsal:
    return await Journal.rehearse(path, "updates.csv", X, rows, force=force, retry_failed=retry_failed)


async def start(
    path: Path, rows: Iterable[Incoming], *, force: bool = False, retry_failed: bool = False
) -> tuple[Counted, ...]:
    async with await Journal.open(path) as journal:
        run = await journal.start("updates.csv", X, rows, force=force, retry_failed=retry_failed)
        return tuple(await journal.counts(run.record))


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_without_a_journal_everything_is_to_be_sent_and_none_is_made(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.db"
    told = await rehearse(path, [*incoming(6, accounts=("a", "b")), invalid(7), row(9, "x"), row(9, "x"), row(9, "y")])
    assert told.requests == {"a": 3, "b": 3, None: 2}
    assert (told.rows("pending"), told.collapsed, told.rows("invalid"), told.loaded.total) == (9, 1, 1, 10)
    assert told.windows == {}
    assert list(tmp_path.iterdir()) == []


async def test_a_file_without_a_byte_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.touch()
    assert (await rehearse(path, incoming(2))).requests == {None: 2}
    assert everything(tmp_path) == {"journal.db": b""}


def four_ways(task: Drawn) -> Finished | None:
    """Applied, failed, expired, left."""
    ways = (well(task), ill(task), Finished(task=task, state="expired"), None)
    return ways[task.seq % 4]


@pytest.mark.parametrize("name", ["updates.csv", "others.csv"])
@pytest.mark.parametrize("most", [5, 1_000])
@pytest.mark.parametrize(
    "options", [{}, {"force": True}, {"retry_failed": True}, {"force": True, "retry_failed": True}], ids=str
)
@pytest.mark.parametrize("rows", ["same", "fewer", "more", "others"])
async def test_it_tells_what_a_start_then_does(
    tmp_path: Path, name: str, most: int, options: dict[str, bool], rows: str
) -> None:
    path = tmp_path / "journal.db"
    given = [*incoming(12, accounts=("a", "b", None)), invalid(13), row(1, "A"), row(1, "B"), row(1, "B")]
    again = {
        "same": given,
        "fewer": given[3:-1],
        "more": [*given, row(1, "C"), row(2, "D", account="new")],
        "others": [row(n, "another") for n in range(20)],
    }[rows]
    await make(path, given, well if most > 5 else four_ways, name=name, most=most)
    before = everything(tmp_path)
    told = await rehearse(path, again, **options)
    assert everything(tmp_path) == before
    assert told.counts == await start(path, again, **options)


async def test_an_input_that_its_fingerprint_tells_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with await Journal.open(path) as journal:
        run = await journal.start("updates.csv", X, incoming(5), fingerprint="one")
        await finish(run, well, 2)
        await run.aclose()

    def never() -> Iterator[Incoming]:
        raise AssertionError("read")
        yield

    told = await Journal.rehearse(path, "updates.csv", X, never(), fingerprint="one")
    assert (told.loaded.same, told.requests, told.rows("applied")) == (True, {None: 3}, 2)


async def test_nobody_waits_for_it_nor_it_for_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where the very run is under way, and somebody is in the middle of a commit."""
    path = tmp_path / "journal.db"
    await make(path, incoming(4), most=1)
    monkeypatch.setattr(file, "_PATIENCE", 0.0)
    async with await Journal.open(path) as journal:
        run = await journal.start("updates.csv", X, incoming(4))
        writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        writer.execute("BEGIN IMMEDIATE")

        def rows() -> Iterator[Incoming]:
            yield from incoming(3)
            writer.execute("COMMIT")
            # In the middle of the rehearsal another process writes.
            writer.execute("UPDATE run SET requests = requests + 1")
            writer.execute("BEGIN IMMEDIATE")
            yield from [*incoming(5)][3:]

        told = await rehearse(path, rows())
        assert told.requests == {None: 4}
        writer.execute("COMMIT")
        writer.close()
        assert await finish(run, well) == 3
        await run.aclose()


async def test_an_account_that_another_process_names_meanwhile_is_not_mistaken_for_ours(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await make(path, [row(1, "A", account="old")])

    def rows() -> Iterator[Incoming]:
        # Another process sends the same to the same media id, for an account that is new to the journal too.
        writer = sqlite3.connect(path)
        writer.execute("INSERT INTO account (place, name) SELECT place, 'theirs' FROM place")
        writer.execute(
            "INSERT INTO sent SELECT (SELECT max(account) FROM account), media_id, digest, sent_at, unsure FROM sent"
        )
        writer.commit()
        writer.close()
        yield row(1, "A", account="ours")

    assert (await rehearse(path, rows())).requests == {"ours": 1}


async def test_deadlines_of_what_is_to_be_sent(tmp_path: Path) -> None:
    now = time.time()
    rows = [
        row(1, "A", send_before=now + 100),
        row(2, "A"),
        row(3, "A", account="b", send_before=now + 300),
        row(4, "A", send_before=now - 50),
        # One request, which makes sense as long as it does for one of them.
        row(5, "A", send_before=now + 10),
        row(5, "A", send_before=now + 500),
        row(6, "A", send_before=now + 20),
        row(6, "A"),
    ]
    told = await rehearse(tmp_path / "journal.db", rows)
    assert {name: sorted(times) for name, times in told.deadlines.items()} == {
        None: pytest.approx([-50, 100, 500], abs=60),
        "b": pytest.approx([300], abs=60),
    }
    reckoned = estimate(told.requests, deadlines=told.deadlines)
    assert (reckoned.requests, reckoned.expired) == (5, 1)


async def test_what_was_sent_has_no_deadline(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    rows = [row(1, "A", send_before=time.time() + 100)]
    await make(path, rows)
    assert (await rehearse(path, rows)).deadlines == {}


async def test_how_the_windows_stood(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with await Journal.open(path) as journal:
        run = await journal.start("updates.csv", X, incoming(2))
        run.windows = lambda accounts: {f"account {name}": "[]" for name in accounts}
        await finish(run, well)
        await run.aclose()
    assert (await rehearse(path, incoming(3))).windows == {"account None": "[]"}
    told = await Journal.rehearse(path, "others", "https://elsewhere.example", incoming(3))
    assert (told.windows, told.requests) == ({}, {None: 3})


async def test_a_run_of_another_place_is_refused_as_by_a_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await make(path, incoming(1))
    with pytest.raises(JournalError, match=r"sends to https://api\.x\.com, not to https://elsewhere"):
        await Journal.rehearse(path, "updates.csv", "https://elsewhere.example", incoming(1))


async def test_a_folder_or_a_damaged_file_is_refused_and_left(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="is a folder"):
        await rehearse(tmp_path, incoming(1))
    path = tmp_path / "journal.db"
    path.write_bytes(b"no journal at all" * 100)
    before = everything(tmp_path)
    with pytest.raises(JournalError, match="damaged, or no journal"):
        await rehearse(path, incoming(1))
    assert everything(tmp_path) == before


async def test_an_error_of_the_rows_is_raised_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def rows() -> Iterator[Incoming]:
        yield from incoming(1)
        raise ValueError("the file ends in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        await rehearse(tmp_path / "journal.db", rows())
    assert list(tmp_path.iterdir()) == []
