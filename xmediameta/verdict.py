"""What a failure means and what happens next: one table, one function, and the brakes on retrying.

Nothing here waits or knows the time. `classify` names the error of an answer that is not a success, `judge` says what
to do about an error, `RetryQuota` and `ForbiddenStreak` count what many updates met together.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from collections.abc import Set as AbstractSet
from typing import Final

from msgspec import Struct

from .errors import (
    AccountForbidden,
    AccountSuspended,
    AuthError,
    BatcherFull,
    ConnectionLost,
    CreditsDepleted,
    EndpointNotFound,
    MediaNotFound,
    ProblemError,
    RateLimited,
    RateLimitWaitTooLong,
    RequestTimedOut,
    ServerFault,
    TransportError,
    Unauthorized,
    UnreadableResponse,
    UpdateForbidden,
    UpdateRejected,
    UsageCapped,
    XMediaMetaError,
)
from .problems import Problem, as_list, as_object

LONGEST_RETRY_AFTER: Final = 300.0
FORBIDDEN_IN_A_ROW: Final = 10


class Row(Struct, frozen=True):
    """One row of the table: all that is given must hold.

    Attributes:
        error: what the answer means then.
        status: the statuses it is about; every one below 500 where not given.
        slugs: last segments of the problem's `type`; `*word` is any whose last word that is.
        codes: numbers of the legacy shape `{"errors": [{"code": …}]}`.
        bare: only an answer with no body, no JSON content type and no rate-limit headers.
    """

    error: type[ProblemError]
    status: Container[int] = range(500)
    slugs: AbstractSet[str] = frozenset()
    codes: AbstractSet[int] = frozenset()
    bare: bool = False

    def fits(self, status: int, problem: Problem, code: int | None, *, bare: bool) -> bool:
        """Whether the row is about this answer."""
        if status not in self.status or (self.bare and not bare):
            return False
        if self.slugs and problem.slug not in self.slugs and "*" + problem.slug.rpartition("-")[2] not in self.slugs:
            return False
        return not self.codes or code in self.codes


_SERVER: Final = range(500, 1_000)

# The first row that fits decides. The facts are those of FACTS, "Failures seen"; slugs are those of both published
# contracts (2.159, 2.167); legacy codes are those of the v1.1 API. Where an answer says more by its type than by its
# status, the type wins, except over a 5xx, which may say anything.
TABLE: Final[tuple[Row, ...]] = (
    Row(ServerFault, status=_SERVER),
    # No later request can succeed. The rate-limit headers beside it may look healthy.
    Row(UsageCapped, slugs={"usage-capped"}),
    Row(CreditsDepleted, slugs={"credits-depleted", "credits"}),
    Row(CreditsDepleted, status={402}),
    # The window is used up; 88 is "Rate limit exceeded", which has come with other statuses than 429 too.
    Row(RateLimited, codes={88}),
    Row(RateLimited, status={429}),
    # The account or its app is out. Legacy: 64 suspended, 326 locked, 261 and 453 the app may not.
    Row(Unauthorized, status={401}),
    Row(AccountSuspended, slugs={"*suspended"}),
    Row(AccountSuspended, codes={64, 326}),
    Row(AccountForbidden, slugs={"client-forbidden", "unsupported-authentication"}),
    Row(AccountForbidden, status={403}, codes={261, 453}),
    # One media is refused.
    Row(MediaNotFound, slugs={"resource-not-found", "resource-unavailable"}),
    Row(
        UpdateForbidden,
        slugs={"not-authorized-for-resource", "not-authorized-for-field", "field-unauthorized", "disallowed-resource"},
    ),
    # The server's own trouble under a status that does not say so. 408 and 425 ask for the same again.
    Row(
        ServerFault,
        slugs={
            "internal-error",
            "field-hydration-failure",
            "operational-disconnect",
            "client-disconnected",
            "streaming-connection",
        },
    ),
    Row(ServerFault, status={408, 425}),
    Row(UpdateForbidden, status={403}),
    Row(EndpointNotFound, status={404}, bare=True),
    Row(MediaNotFound, status={404}),
    # 400, 409, 413, 415, 422 …; a redirect, which is never followed; a stray 1xx; an `errors` of unknown type.
    Row(UpdateRejected),
)

# These speak of one media, so a row of them says nothing about the account.
_OF_ONE_MEDIA: Final = next(row.slugs for row in TABLE if row.error is UpdateForbidden)


def classify(status: int, problem: Problem, *, bare: bool) -> type[ProblemError]:
    """The error that an unsuccessful answer stands for.

    Args:
        status: the HTTP status, or the problem's own where a 200 carries nothing but problems.
        problem: what the body said.
        bare: an empty body, no JSON content type, and no rate-limit headers.
    """
    code = _legacy_code(problem)
    return next((row.error for row in TABLE if row.fits(status, problem, code, bare=bare)), UpdateRejected)


def _legacy_code(problem: Problem) -> int | None:
    """The first `code` of the legacy shape, or of the contract's `Error`."""
    errors = as_list(problem.extensions.get("errors"))
    told = as_object(errors[0]) if errors else problem.extensions
    code = told.get("code")
    return code if isinstance(code, int) else None


class Retry(Struct, frozen=True, gc=False):
    """Send the same again.

    Attributes:
        after: seconds to wait, or None: the policy's jitter decides.
    """

    after: float | None = None


class WaitForWindow(Struct, frozen=True, gc=False):
    """Send the same again when the account's window opens; it does not count as an attempt."""


class RefreshToken(Struct, frozen=True, gc=False):
    """Get a new access token, then send the same once more."""


class FailUpdate(Struct, frozen=True, gc=False):
    """This update ends as failed; the others go on."""


class StopAccount(Struct, frozen=True, gc=False):
    """Nothing of this account is sent any more; other accounts go on."""


class StopRun(Struct, frozen=True, gc=False):
    """Nothing is sent any more."""


Verdict = Retry | WaitForWindow | RefreshToken | FailUpdate | StopAccount | StopRun


def judge(
    error: XMediaMetaError,
    *,
    attempt: int,
    most_attempts: int = 5,
    refreshable: bool = False,
    refreshed: bool = False,
) -> Verdict:
    """What happens next, after an attempt that ended in `error`.

    Args:
        error: any error of this package.
        attempt: the number of the attempt that met it, from 1. Waits for a window are not attempts.
        most_attempts: how many an update may have.
        refreshable: whether the credential can be renewed.
        refreshed: whether that was done already for this update.
    """
    if isinstance(error, RateLimited):
        return WaitForWindow()
    if isinstance(error, Unauthorized):
        return RefreshToken() if refreshable and not refreshed else StopAccount()
    if isinstance(error, AccountForbidden | AccountSuspended | AuthError):
        return StopAccount()
    # Both are told to a caller who would not wait: nothing is out of action.
    if isinstance(error, RateLimitWaitTooLong | BatcherFull):
        return FailUpdate()
    if error.scope == "run":
        return StopRun()
    retry = _retry(error, attempt)
    return FailUpdate() if retry is None or attempt >= most_attempts else retry


def _retry(error: XMediaMetaError, attempt: int) -> Retry | None:
    if isinstance(error, TransportError):
        if not error.retryable:
            return None
        # The server closed an idle connection as we wrote to it: no sign of trouble, so the first retry is at once.
        return Retry(0.0) if attempt == 1 and isinstance(error, ConnectionLost) and error.stale else Retry()
    if isinstance(error, ServerFault | UnreadableResponse):
        after = error.retry_after
        return Retry(None if after is None else min(max(after, 0.0), LONGEST_RETRY_AFTER))
    return None


class RetryQuota:
    """The bucket that retries drain and successes refill, so that an outage does not become a storm.

    As in the standard retry mode of the AWS SDKs: it holds 500, a retry takes 5, one after a time-out 10. A success
    puts back 1, and a success after a retry what that retry took.

    Args:
        capacity: what the bucket holds when full.
    """

    __slots__ = ("_capacity", "_level")

    def __init__(self, capacity: int = 500) -> None:
        self._capacity = self._level = capacity

    @property
    def level(self) -> int:
        """What is left."""
        return self._level

    @property
    def full(self) -> bool:
        """Whether nothing was taken that is not put back."""
        return self._level >= self._capacity

    def try_take(self, error: XMediaMetaError) -> int | None:
        """Take for one retry after `error`: how much that was, or None where too little is left."""
        cost = 10 if isinstance(error, RequestTimedOut) else 5
        if cost > self._level:
            return None
        self._level -= cost
        return cost

    def refill(self, cost: int = 1) -> None:
        """Put back what a success gives: what its last retry took, else 1."""
        self._level = min(self._capacity, self._level + cost)

    def __repr__(self) -> str:
        return f"<RetryQuota {self._level}/{self._capacity}>"


class ForbiddenStreak:
    """Ten plain 403s in a row: each may be about its media, all together are about the account.

    A missing `media.write` gives the same 403 as one media that may not be changed (FACTS), so one stops nothing.
    Other failures neither count nor break the row; a problem that names the media as its subject does not count.

    Args:
        most: how many it takes.
    """

    __slots__ = ("_count", "_most")

    def __init__(self, most: int = FORBIDDEN_IN_A_ROW) -> None:
        self._most = most
        self._count = 0

    @staticmethod
    def counts(error: XMediaMetaError) -> bool:
        """Whether a failure may be about the account."""
        return isinstance(error, UpdateForbidden) and error.problem.slug not in _OF_ONE_MEDIA

    def failed(self, error: XMediaMetaError) -> bool:
        """Take in a failure; True where it makes the row full, or meets it full."""
        if not self.counts(error):
            return False
        self._count += 1
        return self._count >= self._most

    def succeeded(self) -> None:
        """Take in a success: the row begins anew."""
        self._count = 0

    def __repr__(self) -> str:
        return f"<ForbiddenStreak {self._count}/{self._most}>"


def full_jitter(attempt: int, rand: Callable[[], float], *, base: float = 0.5, cap: float = 30.0) -> float:
    """How long to wait before the retry after `attempt`, in seconds: anything up to a bound that doubles.

    Args:
        attempt: the number of the attempt that failed, from 1.
        rand: a number from 0 up to 1, as `random.random` gives.
        base: the bound after the first attempt.
        cap: the highest bound.
    """
    return rand() * min(cap, base * 2.0 ** min(max(attempt - 1, 0), 64))
