"""What a run would do, and what it would cost and take: rehearsed beside the journal, then reckoned."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from xmediameta import memory
from xmediameta.journal import Incoming, Journal, Rehearsal
from xmediameta.ledger import Limits
from xmediameta.limits import WindowName
from xmediameta.reckon import estimate

from .keeping import Keeping
from .order import Order
from .summary import SCHEMA_VERSION

_BURST: Final = 250.0
# Seconds to an answer of X, which is a guess, and of a server on this machine.
_LATENCY: Final = 0.25
_LATENCY_HERE: Final = 0.01


class AccountPlan(Struct, frozen=True, kw_only=True):
    """What is planned for one account.

    Attributes:
        requests: retries aside.
        would_expire: of these, what could not be sent in time, and would not be paid for.
        seconds: until its last answer.
        binding: the window that it waits for most, or None.
    """

    requests: int
    would_expire: int
    seconds: float
    binding: WindowName | None


class Plan(Struct, frozen=True, kw_only=True):
    """What `apply` would do; the names are those of its summary where they are the same.

    Attributes:
        total: rows of the input; the counts after it add up to it.
        to_send: rows that would be sent, `collapsed` among them.
        applied, unchanged, failed, expired: rows of which nothing would be sent.
        invalid: rows that are no updates.
        collapsed: rows that share the request of an equal one.
        requests: retries aside, less what would expire.
        would_expire: requests that could not be sent in time.
        budget: requests that the bounds allow, or None.
        cost_usd: of these requests, or of the budget where that is less.
        seconds: until the last answer, where nothing fails and nobody else spends of the same windows.
        binding: the window that the slowest account waits for most, or None.
        by_account: those that have something to send; rows that name none stand under the empty name.
        resumed: whether it goes on with an earlier sitting.
        differing: media ids whose rows set different members.
    """

    schema_version: int = SCHEMA_VERSION
    run: str | None
    total: int
    to_send: int
    applied: int
    unchanged: int
    failed: int
    expired: int
    invalid: int
    collapsed: int
    requests: int
    would_expire: int
    budget: int | None
    cost_usd: float
    seconds: float
    binding: WindowName | None
    by_account: Mapping[str, AccountPlan]
    resumed: bool
    differing: int
    journal: str | None


async def rehearsed(order: Order, kept: Keeping, rows: Iterable[Incoming], fingerprint: str | None) -> Rehearsal:
    """What loading the input would make of it; the journal stays as it is, and is not made.

    Raises:
        JournalError: the journal cannot be read, or the run sends to another place.
    """
    return await Journal.rehearse(
        kept.path,
        kept.name,
        order.place,
        rows,
        fingerprint=fingerprint,
        force=order.force,
        retry_failed=order.retry_failed,
        coalesce=order.coalesce,
    )


def planned(
    order: Order,
    kept: Keeping | None,
    found: Rehearsal,
    *,
    limits: Limits,
    apps: Mapping[str | None, str],
    local: bool,
) -> Plan:
    """Reckon what was found in a rehearsal.

    Args:
        kept: where the run is kept; None for nowhere.
        limits: of the windows.
        apps: the app of each account that has one.
        local: whether nothing is sent to X.
    """
    requests, price = found.requests, 0.0 if local else order.price
    budget = None if order.bound is None else max(0, order.bound - found.record.requests)
    work = estimate(
        requests,
        limits,
        apps=apps,
        starts_per_second=_starts(order, limits),
        concurrency=order.concurrency,
        latency=_LATENCY_HERE if local else _LATENCY,
        price=price,
        deadlines=found.deadlines,
        kept={name: _windows(found, name, apps.get(name)) for name in requests},
        wall=time.time(),
    )
    paid = work.requests if budget is None else min(budget, work.requests)
    return Plan(
        run=None if kept is None else kept.name,
        total=found.loaded.total,
        to_send=found.rows("pending"),
        applied=found.rows("applied"),
        unchanged=found.rows("unchanged"),
        failed=found.rows("failed"),
        expired=found.rows("expired"),
        invalid=found.rows("invalid"),
        collapsed=found.collapsed,
        requests=work.requests,
        would_expire=work.expired,
        budget=budget,
        cost_usd=round(paid * price, 6),
        seconds=round(work.seconds, 1),
        binding=work.binding,
        by_account={
            name or "": AccountPlan(
                requests=one.requests, would_expire=one.expired, seconds=round(one.seconds, 1), binding=one.binding
            )
            for name, one in work.accounts.items()
        },
        resumed=found.loaded.resumed,
        differing=found.loaded.clashes.count,
        journal=None if kept is None or kept.throw_away else str(kept.path),
    )


def _starts(order: Order, limits: Limits) -> float | None:
    """Starts a second of one account; `even` spreads them over the window."""
    if order.pace == "even":
        window = limits.user_15min
        return None if window is None else window[0] / window[1]
    return _BURST if order.pace == "burst" else order.pace


def _windows(found: Rehearsal, account: str | None, app: str | None) -> list[memory.KeptWindow]:
    owners = [memory.owner(account), *([] if app is None else [f"app:{app}"])]
    return [window for name in owners for window in memory.read_kept(found.windows.get(name, "[]"))]
