"""What is told of an update on its way: the fields of log records, and errors that widen or sum up others."""

from __future__ import annotations

from .coalesce import Entry
from .errors import (
    AccountForbidden,
    BatcherClosed,
    ClientClosed,
    ProblemError,
    RateLimitWaitTooLong,
    XMediaMetaError,
)
from .models import Update
from .outcomes import Failed, NotSent, Reason
from .text import printable


def extras(account: str | None, entry: Entry, error: XMediaMetaError | None = None) -> dict[str, object]:
    """The structured fields of a log record, safe to show."""
    return _fields(account, entry.update.id, entry.update.ref, entry.attempts, error)


def about(error: XMediaMetaError) -> dict[str, object]:
    """The same of an error alone."""
    return _fields(error.account, error.media_id, error.ref, error.attempts, error)


def _fields(
    account: str | None, media_id: str | None, ref: str | int | None, attempts: int, error: XMediaMetaError | None
) -> dict[str, object]:
    return {
        "account": None if account is None else printable(account, 200),
        "media_id": media_id,
        "ref": printable(ref, 200) if isinstance(ref, str) else ref,
        "attempt": attempts,
        "x_transaction_id": error.transaction_id if isinstance(error, ProblemError) else None,
    }


def named(account: str | None) -> str:
    """An account in a sentence."""
    return "the account" if account is None else f"account {printable(account, 80)}"


def of_account(error: XMediaMetaError) -> XMediaMetaError:
    """A plain 403 that was one too many in a row, as an error of the account."""
    if not isinstance(error, ProblemError):
        return error
    wider = AccountForbidden(
        error.status,
        error.problem,
        body_excerpt=error.body_excerpt,
        transaction_id=error.transaction_id,
        windows=error.windows,
        retry_after=error.retry_after,
        date=error.date,
    )
    wider.about(error.media_id, error.ref, error.account, error.attempts)
    return wider


def asked_for(error: XMediaMetaError) -> bool:
    """Whether the wait before a retry is the server's wish."""
    return isinstance(error, ProblemError) and error.retry_after is not None


def too_long(error: RateLimitWaitTooLong, entry: Entry, account: str | None, max_wait: float) -> RateLimitWaitTooLong:
    """The same with what the caller would have waited in all, and with the update that did."""
    whole = RateLimitWaitTooLong(
        retry_after=error.retry_after, max_wait=max_wait, reset_at=error.reset_at, window=error.window
    )
    whole.about(entry.update.id, entry.update.ref, account, entry.attempts)
    return whole


def unsuccessful(update: Update, error: XMediaMetaError) -> Failed | NotSent:
    """What an error means for an update: one that is about more than the update leaves it unsettled."""
    if error.scope in {"update", "retry"}:
        return Failed(update=update, error=error)
    return NotSent(update=update, reason=reason_of(error), error=error)


def reason_of(error: XMediaMetaError) -> Reason:
    """Why updates are not sent after an error that stops an account or a run."""
    if isinstance(error, ClientClosed | BatcherClosed):
        return "closed"
    # A certificate that does not fit has the scope "retry", and ends the run.
    return "run_stopped" if error.scope in {"run", "retry"} else "account_stopped"
