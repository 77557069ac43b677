"""How a run stands, in words: what works on it, why it stopped, what to do about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct

from xmediameta.journal import RunRecord
from xmediameta.problems import as_object
from xmediameta.text import counted, printable

from .timeline import unix

Kind = Literal["working", "complete", "stopped", "cut-off", "unfinished"]


class Stopped(Struct, frozen=True, kw_only=True):
    """Why a run stopped early, as the journal keeps it; safe to show."""

    reason: str
    account: str | None
    action: str
    resume_at: str | None
    message: str


class Standing(Struct, frozen=True, kw_only=True):
    """How a run stands.

    Attributes:
        kind: `working`, `complete`, `stopped`, `cut-off` (its process is gone) or `unfinished`.
        text: a sentence.
        action: what a person can do, or an empty text.
    """

    kind: Kind
    text: str
    action: str = ""


def read_stopped(text: str | None) -> Stopped | None:
    """The stop that a run's record holds. Never raises."""
    if text is None:
        return None
    try:
        plain = as_object(msgspec.json.decode(text))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        plain = {"message": text}

    def member(name: str, limit: int) -> str | None:
        value = plain.get(name)
        return printable(str(value), limit) if value is not None else None

    return Stopped(
        reason=member("reason", 100) or "stopped",
        account=member("account", 100),
        action=member("action", 1_000) or "",
        resume_at=member("resume_at", 100),
        message=member("message", 2_000) or "",
    )


def standing(record: RunRecord, *, running: bool, pending: int) -> Standing:
    """How a run stands.

    Args:
        running: whether a process holds the run's lock.
        pending: rows that are not settled.
    """
    who = f"process {record.pid} on {printable(record.host or 'an unknown machine', 100)}"
    left = counted(pending, "row") + " pending"
    if running:
        since = f", since {clock(record.started_at)}" if record.started_at is not None else ""
        return Standing(kind="working", text=f"{who} works on it{since}")
    stopped = read_stopped(record.stopped)
    if stopped is not None and (pending or record.ended_at is not None):
        why = stopped.message.rstrip(".") or stopped.reason.replace("-", " ")
        of = f" (account {stopped.account})" if stopped.account else ""
        at = f" at {clock(record.ended_at)}" if record.ended_at else ""
        goes = f" It can go on at {clock(stopped.resume_at)}." if stopped.resume_at else ""
        return Standing(kind="stopped", text=f"stopped{at}{of}: {why}", action=f"{stopped.action}{goes}".strip())
    again = "The same command goes on with what is left."
    if record.ended_at is not None:
        if pending:
            return Standing(kind="unfinished", text=f"ended at {clock(record.ended_at)} with {left}", action=again)
        return Standing(kind="complete", text=f"complete since {clock(record.ended_at)}")
    if record.started_at is None:
        return Standing(kind="unfinished", text="loaded and never started", action=again)
    if not pending:
        return Standing(kind="complete", text=f"complete; {who} ended without saying so")
    return Standing(kind="cut-off", text=f"cut off: {who} is gone, and left {left}", action=again)


def clock(text: str | None) -> str:
    """A time of the journal for people, in UTC: `2026-11-03 14:05:09 UTC`."""
    at = unix(text)
    return moment(at) if at is not None else printable(text or "an unknown time", 100)


def moment(at: float) -> str:
    """Unix seconds for people, in UTC."""
    return f"{moment_short(at)} UTC"


def moment_short(at: float) -> str:
    """The same where all times are said to be UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
