"""What the quota's arithmetic hands out: leave to send, or until when to wait, or how a window stands."""

from __future__ import annotations

from msgspec import Struct

from .limits import WindowName


class Ticket(Struct, frozen=True, gc=False):
    """Leave to send one request; goes back to its ledger once.

    Attributes:
        mark: its serial number.
        at: when it was taken (monotonic).
        count: how many requests it stands for; more than one only where they are reckoned and not sent (`estimate`).
    """

    mark: int
    at: float
    count: int = 1


class WaitUntil(Struct, frozen=True, gc=False):
    """No request may go now. Any answer that comes in may change that, so ask again after each.

    Attributes:
        at: when to ask again at the latest (monotonic), or None: an answer must come in first.
        window: the name of the window that binds.
    """

    at: float | None
    window: WindowName


class Spent(Struct, frozen=True, gc=False):
    """What was sent in a window.

    Attributes:
        ends_at: when it ends, or has ended (monotonic).
        limit: requests.
        sent: from here, as far as it was answered.
        used: by all who share the window, as the server told it.
    """

    name: WindowName
    ends_at: float
    limit: int
    sent: int
    used: int


class WindowStatus(Struct, frozen=True, gc=False, kw_only=True):
    """A window as it is seen now.

    Attributes:
        limit, remaining: requests; None where nothing is known.
        opens_in: seconds until the window has surely ended, or None where no reset is known.
        closed: whether nothing may be sent before then.
        told: whether the server tells when the window ends.
        refused: whether a 429 closed it.
        in_flight: requests sent and not yet answered.
    """

    name: WindowName
    limit: int | None
    remaining: int | None
    opens_in: float | None
    closed: bool
    told: bool
    refused: bool
    in_flight: int
