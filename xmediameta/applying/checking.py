"""The first pass: every row is checked before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping

from msgspec import Struct

from xmediameta.readers import Inputs, Reject, Row
from xmediameta.text import counted, printable

from .course import Stop
from .order import Order


class Checked(Struct, frozen=True, kw_only=True):
    """What the first pass found.

    Attributes:
        valid, invalid: rows.
        unreadable: files that could not be read to their end.
        accounts: valid rows by account.
    """

    valid: int
    invalid: int
    unreadable: int
    accounts: Mapping[str | None, int]


def check(inputs: Inputs, fault: Callable[[Reject], None], stopped: Callable[[], bool] | None = None) -> Checked:
    """Read all rows once.

    Args:
        fault: told of each row that is no update, and of each file that cannot be read on.
        stopped: asked at each row; true ends it.
    """
    accounts: Counter[str | None] = Counter()
    invalid = unreadable = 0
    for item in inputs.rows():
        if stopped is not None and stopped():
            break
        if isinstance(item, Row):
            accounts[item.update.account] += 1
            continue
        if item.fatal:
            unreadable += 1
        else:
            invalid += 1
        fault(item)
    return Checked(valid=accounts.total(), invalid=invalid, unreadable=unreadable, accounts=accounts)


def refusal(order: Order, checked: Checked) -> Stop | None:
    """Why nothing can be sent, from what the input holds."""
    if checked.unreadable:
        return Stop.of_input(f"{counted(checked.unreadable, 'fault')} in what could not be read on; nothing was sent")
    if checked.invalid and not order.skip_invalid:
        return Stop.of_input(f"{counted(checked.invalid, 'invalid row')}; nothing was sent")
    if order.max_invalid is not None and checked.invalid > order.max_invalid:
        return Stop.of_input(
            f"{counted(checked.invalid, 'invalid row')}, more than --max-invalid {order.max_invalid:,}; "
            "nothing was sent"
        )
    return None


def changed(inputs: Inputs) -> Stop | None:
    """Why nothing can be sent: what was checked is not what is there."""
    found = inputs.changed()
    return None if found is None else Stop.of_input(str(found), reason="input-changed")


def lacking(accounts: Collection[str | None], given: Collection[str | None]) -> str | None:
    """What to say about accounts that rows name and a mapping of credentials does not."""
    without = sorted("None" if name is None else printable(name, 60) for name in set(accounts) - set(given))
    if not without:
        return None
    more = f" and {len(without) - 5:,} more" if len(without) > 5 else ""
    return f"auth names no credential for {', '.join(without[:5])}{more}; nothing was sent"
