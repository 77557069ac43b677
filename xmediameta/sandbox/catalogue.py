"""The catalogue of faults, and how the entries of a script name them.

An entry is a name (`"503"`, or the number 503), a name with a number (`"slow:2.5"`), or `"ok"`. Any status from 400 to
599 is a fault, whether it stands in the catalogue or not: an `about:blank` problem.
"""

from __future__ import annotations

import difflib
import math
from typing import Final

from aiohttp import web

from xmediameta.errors import ConfigurationError
from xmediameta.text import printable

from . import documents
from .breaks import BREAKS
from .exchange import Exchange
from .faults import Fault, Injected
from .rates import RATES
from .refusals import REFUSALS
from .successes import SUCCESSES

OK: Final = "ok"
# Not for a single request, since one that arrived was not refused.
REFUSED: Final = "refused"
FAULTS: Final[dict[str, Fault]] = {fault.name: fault for fault in (*REFUSALS, *RATES, *SUCCESSES, *BREAKS)}


def injected(entry: object) -> Injected:
    """What an entry of a script names.

    Raises:
        ConfigurationError: no such fault, or a number that it does not take.
    """
    if isinstance(entry, bool) or not isinstance(entry, str | int):
        raise ConfigurationError(f"a fault is a name or a status, not {printable(repr(entry), 60)}")
    text = str(entry).strip()
    name, colon, number = text.partition(":")
    if text == OK:
        return Injected(None, 0.0, OK)
    if name == REFUSED:
        raise ConfigurationError("'refused' is an outage, not the fault of one request: see Sandbox.schedule")
    fault = FAULTS.get(name) or _any_status(name)
    if fault is None:
        raise ConfigurationError(f"no fault is called {printable(repr(name), 60)}{_near(name)}")
    if not colon:
        return Injected(fault, fault.default, text)
    if not fault.number:
        raise ConfigurationError(f"the fault {name!r} takes no number")
    return Injected(fault, _number(number, fault), text)


def _number(text: str, fault: Fault) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        shown = printable(repr(text), 40)
        raise ConfigurationError(f"the fault {fault.name!r} takes a number ({fault.number}), not {shown}")
    return value


def _any_status(name: str) -> Fault | None:
    if not (len(name) == 3 and name.isascii() and name.isdigit() and 400 <= int(name) <= 599):
        return None
    status = int(name)

    async def send(exchange: Exchange, _: float) -> web.StreamResponse:
        return exchange.reply(status, documents.problem(status), documents.PROBLEM_JSON)

    return Fault(name=name, about=f"{status} {documents.phrase(status)}, about:blank", send=send)


def _near(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), [*FAULTS, OK], n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(found) for found in near)}?" if near else ""
