"""Two runs of one journal side by side, against what a server was really sent.

Whatever two runs send to the same media ids at the same time, in whatever order that arrives, fails or is killed: what
the journal is sure that a media was last sent is what the server has.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.unit.journal_desk import Desk, row, text_of
from xmediameta.journal import Drawn, digest
from xmediameta.journal.lock import RunLock

INPUTS = (["1A"], ["1B"], ["1A", "1B"], ["1B", "2A"], ["2B", "1A"])


@dataclass
class Seat:
    """One process and its run."""

    desk: Desk
    lock: RunLock
    name: str
    held: bool = False
    out: list[Drawn] = field(default_factory=list)  # drawn, and not sent yet
    flying: list[Drawn] = field(default_factory=list)
    landed: set[int] = field(default_factory=set)  # which of these have arrived


class RivalMachine(RuleBasedStateMachine):
    """Two seats at one journal, and a server."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal.db"
        self.server: dict[str, str] = {}
        self.seats: list[Seat] = []
        for name in ("one", "two"):
            desk = Desk(self.path)
            self.seats.append(Seat(desk, RunLock(desk.store.path, name), name))

    def teardown(self) -> None:
        if hasattr(self, "seats"):
            for seat in self.seats:
                seat.lock.release()
                seat.desk.store.close()
            self.folder.cleanup()

    @rule(data=st.data())
    def act(self, data: st.DataObject) -> None:
        """Something that can be done now."""
        seat, what = data.draw(st.sampled_from([(seat, what) for seat in self.seats for what in self.possible(seat)]))
        what(data, seat)

    def possible(self, seat: Seat) -> list[Callable[[st.DataObject, Seat], None]]:
        if not seat.held:
            return [self.start]
        able = [self.end if not seat.flying else self.kill]
        if self.free(seat):
            able += [self.send] * 3
        if seat.flying:
            able += [self.finish] * 2
        if len(seat.landed) < len(seat.flying):
            able += [self.land] * 3
        return able

    def start(self, data: st.DataObject, seat: Seat) -> None:
        assert seat.lock.acquire()
        given = data.draw(st.sampled_from(INPUTS))
        seat.desk.start([row(one[0], one[1]) for one in given], name=seat.name)
        seat.held, seat.out = True, seat.desk.draw(data.draw(st.integers(1, 3)))

    def free(self, seat: Seat) -> list[Drawn]:
        """In order for each media id, and one at a time, as a client sends them."""
        busy = {task.update.id for task in seat.flying}
        return [task for task in seat.out if task.update.id not in busy]

    def send(self, data: st.DataObject, seat: Seat) -> None:
        task = self.free(seat)[0]
        seat.out.remove(task)
        seat.flying.append(task)

    def land(self, data: st.DataObject, seat: Seat) -> None:
        self.arrive(seat, next(task for task in seat.flying if task.seq not in seat.landed))

    def arrive(self, seat: Seat, task: Drawn) -> None:
        self.server[task.update.id] = text_of(task)
        seat.landed.add(task.seq)

    def finish(self, data: st.DataObject, seat: Seat) -> None:
        """What has arrived is applied, what has not is refused; or the answer is lost."""
        task = seat.flying.pop(data.draw(st.integers(0, len(seat.flying) - 1)))
        arrived, lost = task.seq in seat.landed, data.draw(st.sampled_from([False, False, True]))
        seat.landed.discard(task.seq)
        seat.desk.finish(task, state="failed" if lost or not arrived else "applied", maybe=lost)

    def end(self, data: st.DataObject, seat: Seat) -> None:
        seat.desk.end(*seat.out)
        self.leave(seat)

    def kill(self, data: st.DataObject, seat: Seat) -> None:
        """What it had in flight arrives by now, or never."""
        arrives = data.draw(st.booleans())
        for task in seat.flying:
            if arrives and task.seq not in seat.landed:
                self.arrive(seat, task)
        self.leave(seat)

    def leave(self, seat: Seat) -> None:
        seat.lock.release()
        seat.held = False
        seat.out, seat.flying, seat.landed = [], [], set()

    @invariant()
    def what_is_sure_is_so(self) -> None:
        if not hasattr(self, "seats"):
            return
        rows = self.seats[0].desk.store._file.db.execute("SELECT media_id, digest FROM sent WHERE unsure = 0")
        for media_id, hashed in rows.fetchall():
            body = row(media_id, self.server[media_id]).body
            assert body is not None
            assert hashed == digest(body), f"the server has {self.server[media_id]} for {media_id}"


TestRivals = RivalMachine.TestCase
TestRivals.settings = settings(max_examples=50, stateful_step_count=40, derandomize=True, database=None)
