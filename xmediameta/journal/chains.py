"""What is decided about the rows of one media id, by plain arithmetic on their digests.

Theory. The rows of a media id (and account) are a sequence: the last one is what the media shall have in the end, and
each earlier one is sent before it, since nobody knows whether X merges or replaces. Rows that are settled for good
(invalid, expired, and failed ones unless they are tried again) are left out of it. Then:

- If the last row equals what the media was last sent, for sure, the whole sequence is settled: nothing is sent.
- Otherwise its rows are sent, less the leading part that this run has applied already. A row that was applied but
  comes after one that is to be sent is sent again, else the media would end with the wrong row.
- Equal neighbours are one request: the first of those that wait leads, the others share its outcome.

When the input changes in the middle of a run, the new rows keep what still holds. What the run has applied is a
sequence too, and the media has its end. So the longest leading part of the new rows that is an end of the applied ones
counts as applied; a failed or expired row keeps its state wherever its equal now stands.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from .records import State

_DONE: frozenset[State] = frozenset(("applied", "unchanged"))


class Link(NamedTuple):
    """One valid row of a media id.

    Attributes:
        task: its number; the rows of an id are in the order of their numbers.
        state: `pending` for a row without an outcome.
        leader: the row whose request it shares, as recorded.
    """

    task: int
    digest: bytes
    state: State = "pending"
    send_before: float | None = None
    leader: int | None = None


class Settlement(NamedTuple):
    """What changes for the rows of a media id.

    Attributes:
        pending: tasks whose outcome is taken back.
        unchanged: tasks that are settled by what was sent before.
        leaders: (leader, task) where these differ from what is recorded.
    """

    pending: list[int]
    unchanged: list[int]
    leaders: list[tuple[int | None, int]]


def settle(links: Sequence[Link], sent: bytes | None, again: frozenset[State]) -> Settlement:
    """Decide what is sent of the rows of one media id when a run starts.

    Args:
        links: all its valid rows.
        sent: the digest of what the media was last sent, where that is sure and counts; else None.
        again: the states that are looked at afresh: as if pending.
    """
    states: list[State] = ["pending" if link.state in again else link.state for link in links]
    open_ones = [i for i, state in enumerate(states) if state == "pending" or state in _DONE]
    if open_ones and sent is not None and links[open_ones[-1]].digest == sent:
        for i in open_ones:
            if states[i] == "pending":
                states[i] = "unchanged"
    else:
        sending = False
        for i in open_ones:
            sending = sending or states[i] == "pending"
            if sending:
                states[i] = "pending"
    changes = Settlement([], [], [])
    leader: int | None = None
    before = b""
    for link, state in ((links[i], states[i]) for i in open_ones):
        if link.digest != before:
            leader, before = None, link.digest
        if state == "unchanged" and (link.state in again or link.state == "pending"):
            changes.unchanged.append(link.task)
        elif state == "pending":
            if link.state != "pending":
                changes.pending.append(link.task)
            if link.leader != leader:
                changes.leaders.append((leader, link.task))
            leader = link.task if leader is None else leader
    return changes


def dues(deadlines: Sequence[float | None]) -> list[float | None]:
    """For each row the earliest `send_before` from there on: nothing is due after what comes behind it."""
    result: list[float | None] = []
    due: float | None = None
    for deadline in reversed(deadlines):
        if deadline is not None:
            due = deadline if due is None else min(due, deadline)
        result.append(due)
    return result[::-1]


class Kept(NamedTuple):
    """What the rows of a changed input keep.

    Attributes:
        pairs: (new, old) tasks: the new one gets the outcome of the old one.
        known: how many of the new rows were in the input before.
    """

    pairs: list[tuple[int, int]]
    known: int


_NOTHING = Kept([], 0)
_KNOWN = Kept([], 1)


def keep(old: Sequence[Link], new: Sequence[Link], *, applied: bool) -> Kept:
    """Which rows of a changed input keep the outcomes of rows of the old one; all of one media id.

    Args:
        old, new: its valid rows before and now.
        applied: whether what was applied or unchanged still counts; else what it was sent is looked up afresh.
    """
    if len(old) == len(new) == 1:  # nearly always
        one, other = old[0], new[0]
        if one.digest != other.digest:
            return _NOTHING
        still = one.state == "failed" or (applied and one.state in _DONE)
        if still or (one.state == "expired" and one.send_before == other.send_before):
            return Kept([(other.task, one.task)], 1)
        return _KNOWN
    known = sum((Counter(link.digest for link in old) & Counter(link.digest for link in new)).values())
    # What expired has a new chance with another send_before; a failure does not ask for it.
    ended: dict[tuple[object, ...], deque[Link]] = {}
    for link in old:
        if link.state == "failed":
            ended.setdefault((link.digest,), deque()).append(link)
        elif link.state == "expired":
            ended.setdefault((link.digest, link.send_before), deque()).append(link)
    pairs: list[tuple[int, int]] = []
    leading: list[Link] = []
    for link in new:
        former = ended.get((link.digest,)) or ended.get((link.digest, link.send_before))
        if former:
            pairs.append((link.task, former.popleft().task))
        else:
            leading.append(link)
    if applied:
        pairs.extend(_leading_part([link for link in old if link.state in _DONE], leading))
    return Kept(pairs, known)


def _leading_part(done: list[Link], new: list[Link]) -> list[tuple[int, int]]:
    """The longest leading part of the new rows that is an end of the done ones, equal neighbours counting as one."""
    before, now = _runs(done), _runs(new)
    for length in range(min(len(before), len(now)), 0, -1):
        if all(one[0].digest == other[0].digest for one, other in zip(before[-length:], now[:length], strict=True)):
            return [
                (link.task, one[0].task)
                for one, other in zip(before[-length:], now[:length], strict=True)
                for link in other
            ]
    return []


def _runs(links: list[Link]) -> list[list[Link]]:
    runs: list[list[Link]] = []
    for link in links:
        if runs and runs[-1][0].digest == link.digest:
            runs[-1].append(link)
        else:
            runs.append([link])
    return runs
