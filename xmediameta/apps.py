"""What the accounts of one app share: the window of 24 hours, and what stops them all."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol

from .errors import XMediaMetaError
from .windows import Window

PROBE_EVERY: Final = 60.0


class Stop:
    """Why an account or an app is out, and when the next probe may go."""

    __slots__ = ("error", "probe_at", "prober")

    def __init__(self, error: XMediaMetaError, now: float) -> None:
        self.error = error
        self.probe_at = now + PROBE_EVERY
        self.prober: object = None

    def holds(self, now: float, who: object) -> bool:
        """Whether `who` may not go now; a probe may, and try again."""
        return now < self.probe_at and (who is None or who is not self.prober)

    def probe(self, now: float, who: object) -> None:
        """`who` goes, to see whether it still holds."""
        self.probe_at, self.prober = now + PROBE_EVERY, who


class HeldUp(Protocol):
    """A gate, as it is seen from here."""

    def pump(self) -> None:
        """Let in whom the windows now allow."""


class Group:
    """The accounts of one app.

    Attributes:
        window: of 24 hours.
        stop: what stops them all (no credits, a cap, a wrong address), or None.
        held_up: gates that wait for the window, first come first served.
    """

    __slots__ = ("held_up", "stop", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.stop: Stop | None = None
        self.held_up: OrderedDict[HeldUp, None] = OrderedDict()

    def hold(self, gate: HeldUp, *, first: bool) -> None:
        """The shared window holds a gate up, until it has changed; `first` ahead of the others."""
        self.held_up[gate] = None
        if first:
            self.held_up.move_to_end(gate, last=False)

    def forget(self, gate: HeldUp) -> None:
        """The gate is closed."""
        self.held_up.pop(gate, None)

    def changed(self) -> None:
        """The shared window may have changed: let in from the gates that it holds up, first come first served."""
        for _ in range(len(self.held_up)):
            gate = self.held_up.popitem(last=False)[0]
            gate.pump()
            if gate in self.held_up:
                # Still held up, and so are those behind it. It keeps its place.
                self.held_up.move_to_end(gate, last=False)
                return

    def __repr__(self) -> str:
        return f"<Group {self.window!r}, {len(self.held_up)} held up>"
