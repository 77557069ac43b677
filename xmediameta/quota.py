"""How the windows of all accounts stand, as `client.quota` shows it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from .account import Account
from .limits import WindowName
from .models import utc

__all__ = ["Quota", "quotas"]


class Quota(Struct, frozen=True, kw_only=True):
    """One window of one account, as `client.quota` shows it.

    Attributes:
        account: its name, or None.
        window: `"user-15min"`, `"user-24hour"` or `"app-24hour"`.
        limit, remaining: requests; before the first answer as `limits=` assumes, None where it assumes nothing.
        reset_at: when it opens again, aware (UTC), or None.
        waiting: whether calls wait for it now.
        in_flight: requests sent and not yet answered.
    """

    account: str | None
    window: WindowName
    limit: int | None
    remaining: int | None
    reset_at: datetime | None
    waiting: bool
    in_flight: int


def quotas(accounts: Iterable[Account], now: float, wall: float) -> tuple[Quota, ...]:
    """Every window of these accounts, as it is seen now.

    Args:
        now, wall: the time by the loop's clock, and in Unix seconds.
    """
    return tuple(
        Quota(
            account=account.name,
            window=window.name,
            limit=window.limit,
            remaining=window.remaining,
            reset_at=None if window.opens_in is None else utc(wall + window.opens_in),
            waiting=window.name == account.gate.waiting_for and not account.gate.idle,
            in_flight=window.in_flight,
        )
        for account in accounts
        for window in account.gate.ledger.status(now)
    )
