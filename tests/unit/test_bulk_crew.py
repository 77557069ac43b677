"""The workers of a run, and the shelf from which it is read."""

from __future__ import annotations

import asyncio

import pytest

from xmediameta import Applied, Outcome, Update
from xmediameta.bulk.crew import Crew, Shelf


def outcome(number: int) -> Outcome:
    return Applied(update=Update(str(number)))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_shelf_keeps_the_order_and_ends() -> None:
    shelf = Shelf(10, lambda: None)
    for number in range(3):
        shelf.put(outcome(number))
    shelf.close()
    assert [(await shelf.take()).id for _ in range(3)] == ["0", "1", "2"]  # type: ignore[union-attr]
    assert await shelf.take() is None
    assert await shelf.take() is None


async def test_a_full_shelf_asks_for_more_once_it_is_half_read() -> None:
    lows: list[int] = []
    shelf = Shelf(4, lambda: lows.append(1))
    for number in range(5):
        shelf.put(outcome(number))
    assert shelf.full
    for expected in ([], [], [1], [1]):
        await shelf.take()
        assert lows == expected
    shelf.put(outcome(9))
    await shelf.take()
    assert lows == [1], "it was not full again"


async def test_a_reader_that_is_cancelled_as_it_is_woken_wakes_another() -> None:
    shelf = Shelf(4, lambda: None)
    first, second = asyncio.create_task(shelf.take()), asyncio.create_task(shelf.take())
    await settle()
    shelf.put(outcome(1))
    first.cancel()
    await settle()
    assert first.cancelled()
    assert second.result() == outcome(1)


async def test_a_reader_that_is_cancelled_as_it_waits_leaves_no_trace() -> None:
    shelf = Shelf(4, lambda: None)
    for _ in range(10):
        reader = asyncio.create_task(shelf.take())
        await settle()
        reader.cancel()
        await settle()
    assert len(shelf._readers) == 0
    shelf.put(outcome(1))
    assert await shelf.take() == outcome(1)


async def test_closing_wakes_every_reader() -> None:
    shelf = Shelf(4, lambda: None)
    readers = [asyncio.create_task(shelf.take()) for _ in range(3)]
    await settle()
    shelf.close()
    assert await asyncio.gather(*readers) == [None] * 3


class Work:
    """Workers that rest until told otherwise."""

    def __init__(self, most: int) -> None:
        self.failures: list[BaseException] = []
        self.turns = 0
        self.running = 0
        self.crew = Crew(self.work, most, self.failures.append)

    async def work(self) -> None:
        self.running += 1
        try:
            while True:
                self.turns += 1
                await self.crew.rest()
        finally:
            self.running -= 1


async def test_a_crew_hires_up_to_its_size_and_wakes_who_rests() -> None:
    work = Work(2)
    work.crew.call_one()
    await settle()
    assert (work.running, work.turns) == (1, 1)
    work.crew.call_one()
    await settle()
    assert (work.running, work.turns) == (1, 2), "it wakes one before it hires one"
    work.crew.call_one()
    work.crew.call_one()
    work.crew.call_one()
    await settle()
    assert work.running == 2
    await work.crew.dismiss()
    assert work.running == 0
    assert work.failures == []


async def test_a_worker_that_is_cancelled_as_it_is_woken_wakes_another() -> None:
    work = Work(2)
    work.crew.call_one()
    work.crew.call_one()
    await settle()
    tasks = list(work.crew._workers)
    turns = work.turns
    work.crew.wake()
    for task in tasks:
        if task._fut_waiter is not None and task._fut_waiter.done():  # type: ignore[attr-defined]
            task.cancel()
    await settle()
    assert work.running == 1
    assert work.turns == turns + 1
    await work.crew.dismiss()


async def test_wake_all_wakes_everyone() -> None:
    work = Work(3)
    for _ in range(3):
        work.crew.call_one()
    await settle()
    turns = work.turns
    work.crew.wake_all()
    await settle()
    assert work.turns == turns + work.running
    await work.crew.dismiss()


async def test_a_failure_is_told() -> None:
    failures: list[BaseException] = []

    async def fail() -> None:
        raise LookupError("mine")

    crew = Crew(fail, 1, failures.append)
    crew.call_one()
    crew.start(fail())
    await settle()
    assert [type(error) for error in failures] == [LookupError, LookupError]
    await crew.dismiss()


async def test_dismissed_jobs_are_cancelled_too() -> None:
    crew = Crew(lambda: asyncio.sleep(100), 1, pytest.fail)
    job = crew.start(asyncio.sleep(100))
    await crew.dismiss()
    assert job.cancelled()
