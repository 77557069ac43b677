"""What a run has come to so far: counts, stops, the exit code, and the summary of it all."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct, field

from xmediameta.errors import (
    BudgetReached,
    ConfigurationError,
    JournalError,
    OutageTooLong,
    RateLimited,
    RateLimitWaitTooLong,
    RefreshFailed,
    TransportError,
    XMediaMetaError,
)
from xmediameta.journal import Counted
from xmediameta.outcomes import Applied, Failed, NotSent, Outcome, Unchanged
from xmediameta.text import counted, printable

from .summary import Counts, EarlyEnd, Summary

INTERRUPTED: Final = {2: 130, 15: 143}
_INTERRUPTED: Final = "interrupted"
# Errors after which the same command may go on by itself, later; after all others somebody must act first.
_PASSING: Final = (BudgetReached, RateLimitWaitTooLong, RateLimited, OutageTooLong, JournalError, RefreshFailed)
_ACTIONS: Final[Mapping[type[XMediaMetaError], str]] = {
    BudgetReached: "Run the rest with a higher bound.",
    RateLimitWaitTooLong: "Run the rest once the window is open, or with a longer --max-wait.",
    RateLimited: "Run the rest once the window is open.",
    OutageTooLong: "Run the rest once X answers again.",
    RefreshFailed: "Run the rest once X gives tokens again.",
    JournalError: "Run the rest once the journal can be written again.",
    ConfigurationError: "Correct the option.",
    TransportError: "Check the network and the base URL.",
}


class Stop(Struct, frozen=True, kw_only=True):
    """Why a run ended early.

    Attributes:
        reason: a slug, such as `credits-depleted`.
        account: whose stop it is, or None for the whole run.
        action: what a person can do.
        resume_at: when the same may go on, or None.
        message: what happened, for people; not part of the JSON.
        exit_code: 3 where it goes on by itself, 4 where a person must act.
    """

    reason: str
    account: str | None
    action: str
    resume_at: datetime | None
    message: str
    exit_code: int

    @classmethod
    def of(cls, error: XMediaMetaError) -> Stop:
        """The stop that an error is."""
        kind = next((kind for kind in _ACTIONS if isinstance(error, kind)), None)
        reset_at = getattr(error, "reset_at", None)
        return cls(
            reason=f"budget-{error.budget}" if isinstance(error, BudgetReached) else _slug(type(error).__name__),
            account=error.account if error.scope == "account" else None,
            action=error.advice or (_ACTIONS[kind] if kind else "See the message, and run the rest once it is mended."),
            resume_at=reset_at.replace(microsecond=0) if isinstance(reset_at, datetime) else None,
            message=without_advice(error),
            exit_code=3 if isinstance(error, _PASSING) else 4,
        )

    @classmethod
    def of_input(cls, message: str, *, exit_code: int = 2, reason: str = "invalid-input") -> Stop:
        """A stop for what was read, or for what was not agreed to."""
        mend = "Correct the input, or skip invalid rows with --skip-invalid."
        action = mend if reason == "invalid-input" else message
        return cls(reason=reason, account=None, action=action, resume_at=None, message=message, exit_code=exit_code)

    @classmethod
    def of_results(cls, error: OSError) -> Stop:
        """The results cannot be written, so nobody would know what became of further rows."""
        return cls(
            reason="results-failed",
            account=None,
            action="Make room for the results.",
            resume_at=None,
            message=f"the results cannot be written: {error.strerror or error}",
            exit_code=4,
        )


class Course(Struct, kw_only=True):
    """What a run has come to.

    Attributes:
        invalid: rows that were not updates.
        unit_price: in USD a request; 0 where nothing is sent to X.
        signal: what interrupted the run, or None.
        max_cost: the budget in USD from which the bound of requests was made, or None.
        before: rows that were settled before this sitting.
        expected: whether all rows are known beforehand, and count as pending until they are settled.
        run, journal: the name of the run and the path of its journal, where it is kept in one.
        stops: all of them; the gravest decides.
        seen: kinds of stop and their accounts, each noted once.
    """

    counts: Counts = field(default_factory=Counts)
    by_account: dict[str | None, Counts] = field(default_factory=dict[str | None, Counts])
    invalid: int = 0
    requests: int = 0
    retries: int = 0
    unit_price: float = 0.0
    seconds: float = 0.0
    signal: int | None = None
    max_cost: float | None = None
    stops: list[Stop] = field(default_factory=list[Stop])
    before: int = 0
    expected: bool = False
    run: str | None = None
    journal: str | None = None
    seen: set[tuple[str, str | None]] = field(default_factory=set[tuple[str, str | None]])

    @property
    def cost(self) -> float:
        """In USD, at most: whether X bills failed calls is not known."""
        return round(self.requests * self.unit_price, 6)

    @property
    def total(self) -> int:
        """All rows of the input."""
        return self.counts.done + self.counts.pending + self.invalid

    @property
    def stop(self) -> Stop | None:
        """The gravest stop; the earliest of these."""
        return max(self.stops, key=lambda stop: stop.exit_code if stop.exit_code != 2 else 9, default=None)

    def note(self, outcome: Outcome) -> None:
        """Count an outcome."""
        account, state = outcome.update.account, _state(outcome)
        if account not in self.by_account:
            self.by_account[account] = Counts()
        for counts in (self.counts, self.by_account[account]):
            if state != "pending":
                setattr(counts, state, getattr(counts, state) + 1)
                counts.pending = max(counts.pending - self.expected, 0)
            elif not self.expected:
                counts.pending += 1
        if isinstance(outcome, NotSent) and outcome.error is not None and outcome.reason != "expired":
            self.note_stop(outcome.error)

    def note_stop(self, error: XMediaMetaError) -> None:
        """Note what stopped an account or the run; the same stop of the same account counts once."""
        if isinstance(error, BudgetReached) and error.budget == "requests" and self.max_cost is not None:
            error = BudgetReached("money", limit=self.max_cost, spent=self.max_cost)
        account = error.account if error.scope == "account" else None
        key = (type(error).__name__, account)
        if key not in self.seen:
            self.seen.add(key)
            self.stops.append(Stop.of(error))

    @property
    def exit_code(self) -> int:
        """As DESIGN has it: the first of 130/143, 2 (nothing was sent), 4, 3, 1 that holds."""
        if self.signal is not None:
            return INTERRUPTED.get(self.signal, 128 + self.signal)
        if self.stop is not None:
            return self.stop.exit_code
        if self.counts.pending:
            return 3
        return 1 if self.counts.failed or self.counts.expired or self.invalid else 0

    def summary(self) -> Summary:
        """What programs see of it."""
        counts = self.counts
        return Summary(
            run=self.run,
            total=self.total,
            applied=counts.applied,
            unchanged=counts.unchanged,
            failed=counts.failed,
            expired=counts.expired,
            pending=counts.pending,
            invalid=self.invalid,
            requests=self.requests,
            retries=self.retries,
            cost_usd=self.cost,
            seconds=round(self.seconds, 3),
            by_account={account or "": copy(counts) for account, counts in self.by_account.items()},
            stopped=self.early_end(),
            journal=self.journal,
        )

    def early_end(self) -> EarlyEnd | None:
        """Why it ended early."""
        stop = self.stop
        if self.signal is not None:
            return EarlyEnd(reason=_INTERRUPTED, account=None, action="Run the same command again.", resume_at=None)
        if stop is None:
            return None
        return EarlyEnd(reason=stop.reason, account=stop.account, action=stop.action, resume_at=stop.resume_at)

    def noted(self) -> str | None:
        """Why it ended early, as the journal keeps it: with a message for people."""
        end, stop = self.early_end(), self.stop
        if end is None:
            return None
        message = _INTERRUPTED if self.signal is not None or stop is None else stop.message
        return msgspec.json.encode({**msgspec.structs.asdict(end), "message": message}).decode()

    def expect(self, accounts: Mapping[str | None, int], invalid: int) -> None:
        """So many rows, by account, are to be sent."""
        self.expected, self.invalid = True, invalid
        self.counts.pending = sum(accounts.values())
        self.by_account = {account: Counts(pending=rows) for account, rows in accounts.items()}

    def take(self, counted: list[Counted]) -> None:
        """Take over how a run stands in its journal, all its sittings together."""
        self.counts, self.by_account = Counts(), dict[str | None, Counts]()
        for one in counted:
            if one.state == "invalid":
                continue
            account = one.account or None
            for counts in (self.counts, self.by_account.setdefault(account, Counts())):
                setattr(counts, one.state, getattr(counts, one.state) + one.rows)
        self.before, self.expected = self.counts.done, True

    def told(self) -> str:
        """`1,190 applied, 10 failed, 3 pending`."""
        counts = self.counts
        named = {
            "applied": counts.applied, "unchanged": counts.unchanged, "failed": counts.failed,
            "expired": counts.expired, "pending": counts.pending, "invalid": self.invalid,
        }  # fmt: skip
        return ", ".join(f"{value:,} {name}" for name, value in named.items() if value) or counted(0, "update")


def _state(outcome: Outcome) -> str:
    match outcome:
        case Applied():
            return "applied"
        case Unchanged():
            return "unchanged"
        case Failed():
            return "failed"
        case NotSent(reason="expired"):
            return "expired"
        case _:
            return "pending"


def without_advice(error: XMediaMetaError) -> str:
    """What an error says, without what to do about it: that is told once, and not for every row."""
    return str(error).removesuffix(f". {error.advice}") if error.advice else str(error)


def _slug(name: str) -> str:
    return printable("".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-"))
