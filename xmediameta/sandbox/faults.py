"""What a fault is: a name, one line that says what it does, and how it is sent. `catalogue` has all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web
from msgspec import Struct

from .exchange import Exchange

Send = Callable[[Exchange, float], Awaitable[web.StreamResponse]]


class Fault(Struct, frozen=True, kw_only=True):
    """One way in which a server or a network can fail.

    Attributes:
        name: its name in scripts.
        about: what it does, in one line.
        send: how it is sent.
        applied: whether the update is applied despite it.
        counted: whether it takes a request from the windows; what a proxy answers does not.
        early: by schedule, by rate and under `"*"` it strikes before the body is read.
        number: what the number after the colon means; empty where there is none.
        default: that number, when it is left out.
    """

    name: str
    about: str
    send: Send
    applied: bool = False
    counted: bool = True
    early: bool = False
    number: str = ""
    default: float = 0.0

    def __repr__(self) -> str:
        return f"<Fault {self.name}: {self.about}>"


class Injected(NamedTuple):
    """A fault with its number, as a script names it; a fault of None is a normal answer."""

    fault: Fault | None
    number: float
    name: str
