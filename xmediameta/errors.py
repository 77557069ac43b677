"""Every error of this package: each has fields, a message made from them, and a `scope`.

`scope` tells what is out of action: one `"update"`, an `"account"`, the whole `"run"`, or nothing yet (`"retry"`).
No error holds a credential, all survive pickling, and text from a server is escaped before it enters a message.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

from .limits import RateLimit, WindowName
from .problems import Problem
from .text import counted, printable

Scope = Literal["update", "account", "run", "retry"]


class XMediaMetaError(Exception):
    """The root of the tree.

    Attributes:
        scope: what the error puts out of action.
        media_id, ref, account: the update that met it, where there is one.
        attempts: how many requests were sent for that update.
        advice: what a person can do about it, or an empty string.
        retry_after: seconds after which it may be worth trying again, where somebody said so; else None.
        message: without the update and the advice; holds nothing that must not be shown.
        http_status: what a web backend may answer its own caller with.
    """

    scope: ClassVar[Scope] = "run"
    advice: ClassVar[str] = ""
    http_status: ClassVar[int] = 502
    retry_after: float | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.media_id: str | None = None
        self.ref: str | int | None = None
        self.account: str | None = None
        self.attempts = 0

    def about(self, media_id: str | None, ref: str | int | None, account: str | None, attempts: int = 0) -> None:
        """Note which update met the error; shown at the end of its message."""
        self.media_id, self.ref, self.account, self.attempts = media_id, ref, account, attempts

    def __str__(self) -> str:
        where = [
            f"{name} {printable(str(value), 80)}"
            for name, value in (("media", self.media_id), ("ref", self.ref), ("account", self.account))
            if value is not None
        ]
        if self.attempts > 1:
            where.append(counted(self.attempts, "attempt"))
        text = f"{self.message} [{', '.join(where)}]" if where else self.message
        return f"{text}. {self.advice}" if self.advice else text

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[XMediaMetaError], args: tuple[object, ...], fields: dict[str, object]) -> XMediaMetaError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(fields)
    return error


class ConfigurationError(XMediaMetaError, ValueError):
    """A base URL, a token or an option that cannot be used; a token is never echoed."""

    http_status = 500


class MissingExtra(ConfigurationError):
    """An optional dependency is not installed; the message says which extra brings it."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra [{extra}]: pip install 'xmediameta[{extra}]'")
        self.feature, self.extra = feature, extra


class InvalidUpdate(XMediaMetaError, ValueError):
    """An update that breaks the contract, found before anything was sent.

    Attributes:
        member: the dotted path of the member, such as `metadata.alt_text.text`; empty for the whole update.
        rule: what is wrong with it, and by how much.
    """

    scope = "update"
    http_status = 422

    def __init__(self, member: str, rule: str) -> None:
        super().__init__(f"{member}: {rule}" if member else rule)
        self.member, self.rule = member, rule


class TransportError(XMediaMetaError):
    """No answer could be read.

    Attributes:
        maybe_applied: whether the request may have reached X; sending the same update again is safe all the same.
        retryable: False where another attempt cannot help, as with a certificate that does not fit.
    """

    scope = "retry"

    def __init__(self, message: str, *, maybe_applied: bool, retryable: bool = True) -> None:
        super().__init__(message)
        self.maybe_applied, self.retryable = maybe_applied, retryable


class ConnectFailed(TransportError):
    """No connection: refused, unknown host, no TLS. Nothing was sent."""

    def __init__(self, message: str, *, maybe_applied: bool = False, retryable: bool = True) -> None:
        super().__init__(message, maybe_applied=maybe_applied, retryable=retryable)


class ConnectionLost(TransportError):
    """The connection ended before the answer was whole.

    Attributes:
        stale: the server closed a kept-alive connection before it answered a byte, so a fresh one may do at once.
    """

    def __init__(self, message: str, *, maybe_applied: bool = True, stale: bool = False) -> None:
        super().__init__(message, maybe_applied=maybe_applied)
        self.stale = stale


class RequestTimedOut(TransportError):
    """One attempt took longer than `timeout`.

    Attributes:
        timeout: the bound that was passed, in seconds.
    """

    http_status = 504

    def __init__(self, timeout: float, *, maybe_applied: bool = True) -> None:
        super().__init__(f"no answer within {timeout:g} s", maybe_applied=maybe_applied)
        self.timeout = timeout


class ProtocolViolation(TransportError):
    """The answer was not HTTP as it should be, or was larger than 1 MiB."""


class RateLimitWaitTooLong(XMediaMetaError):
    """A window is used up and opens later than the caller would wait, or the pace is too slow; nothing was sent.

    Attributes:
        retry_after: seconds until the window opens, or None where no one knows.
        max_wait: what the caller would have waited, in seconds.
        reset_at: when the window opens, aware (UTC), or None.
        window: the name of the window that binds, such as `user-15min`; None where it is the pace.
    """

    scope = "account"
    http_status = 503

    def __init__(
        self, *, retry_after: float | None, max_wait: float, reset_at: datetime | None, window: str | None
    ) -> None:
        wait = "an unknown time" if retry_after is None else f"{retry_after:.1f} s"
        until = f" (until {reset_at:%Y-%m-%d %H:%M:%SZ})" if reset_at else ""
        what = f"the {window or 'rate limit'} window opens in {wait}{until}, longer than"
        if window is None and retry_after is not None:
            what = "others were ahead of it at this pace for longer than"
        super().__init__(f"{what} max_wait={max_wait:g} s")
        self.retry_after, self.max_wait, self.reset_at, self.window = retry_after, max_wait, reset_at, window


class AuthError(XMediaMetaError):
    """A credential could not be had or made."""

    scope = "account"


class ReconnectRequired(AuthError):
    """The refresh token is spent or revoked: a person must log the account in again, with the command in `advice`.

    Attributes:
        login: the name that the account has in its store, or None.
    """

    def __init__(self, message: str, *, login: str | None = None) -> None:
        super().__init__(message)
        self.login = login

    @property
    def advice(self) -> str:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride]
        """The command to type."""
        name = self.login or self.account
        return f"Type: xmediameta login{'' if name is None else f' --account {shlex.quote(printable(name, 200))}'}"


class RefreshFailed(AuthError):
    """The access token could not be renewed now; later it may, and nobody has to log in for that."""


class BudgetReached(XMediaMetaError):
    """A bound that the caller set was reached; the same run goes on with a higher one.

    Attributes:
        budget: `"money"`, `"requests"` or `"duration"`.
        limit, spent: in USD, requests or seconds.
    """

    def __init__(self, budget: Literal["money", "requests", "duration"], *, limit: float, spent: float) -> None:
        unit = {"money": " USD", "requests": " requests", "duration": " s"}[budget]
        super().__init__(f"the budget of {limit:g}{unit} is reached ({spent:g} spent)")
        self.budget, self.limit, self.spent = budget, limit, spent


class OutageTooLong(XMediaMetaError):
    """The server answered nothing usable for longer than `max_outage`.

    Attributes:
        seconds: how long no request came through.
        last: the last error that was met.
    """

    def __init__(self, seconds: float, last: XMediaMetaError) -> None:
        super().__init__(f"no request came through for {seconds:.0f} s; the last one said: {last.message}")
        self.seconds, self.last = seconds, last


class JournalError(XMediaMetaError):
    """The journal could not be read or written."""


class BatcherClosed(XMediaMetaError):
    """The batcher takes no more updates."""

    http_status = 503


class BatcherFull(XMediaMetaError):
    """As many updates are pending as `max_pending` allows."""

    scope = "retry"
    http_status = 503


class ClientClosed(XMediaMetaError):
    """The client was closed before the update was sent."""

    http_status = 503


class ProblemError(XMediaMetaError):
    """X answered, and the answer is not a success.

    Attributes:
        status: the HTTP status.
        problem: what the body said (RFC 9457), read from any of X's shapes.
        body_excerpt: the first bytes of the body, safe to show.
        transaction_id: `x-transaction-id`, which X's support asks for.
        windows: the rate-limit headers of the answer, by window name.
        retry_after: seconds from `Retry-After`, clamped, or None.
        date: the server's `Date` in Unix seconds, or None.
    """

    scope: ClassVar[Scope] = "update"

    def __init__(
        self,
        status: int,
        problem: Problem,
        *,
        body_excerpt: str = "",
        transaction_id: str | None = None,
        windows: Mapping[WindowName, RateLimit] | None = None,
        retry_after: float | None = None,
        date: float | None = None,
    ) -> None:
        said = problem.said()
        super().__init__(f"{status} {said}" if said else f"{status}: {body_excerpt or 'an empty body'}")
        self.status, self.problem, self.body_excerpt = status, problem, body_excerpt
        self.transaction_id, self.windows = transaction_id, dict(windows or {})
        self.retry_after, self.date = retry_after, date


class UpdateRejected(ProblemError):
    """X refuses this update (400, 409, 413 …), or leads elsewhere (3xx); sending it again does not help."""

    http_status = 422

    @property
    def advice(self) -> str:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride]
        """What to look at where the server redirects; nothing where it refuses."""
        if 300 <= self.status <= 399:
            return "Redirects are not followed, since the token would go along: check the base URL."
        return ""


class MediaNotFound(ProblemError):
    """X does not know the media id (404): never uploaded, expired, or another account's."""

    advice = "A media id lives a limited time after the upload, and only for the account that uploaded it."
    http_status = 404


class UpdateForbidden(ProblemError):
    """This account may not change this media (403)."""

    http_status = 403


class Unauthorized(ProblemError):
    """The token is expired or revoked (401), and a refresh did not help."""

    scope = "account"
    advice = "Log the account in again; the token needs the scope media.write and must belong to a user."


class AccountForbidden(ProblemError):
    """X refuses this app or this kind of token (403 by type), or ten updates in a row."""

    scope = "account"
    advice = "Check the app's enrolment and the token's scope media.write in X's developer console."


class AccountSuspended(ProblemError):
    """The account is suspended."""

    scope = "account"
    advice = "X has suspended the account; only its owner can have that lifted."


class CreditsDepleted(ProblemError):
    """No money is left (402): no request will succeed until the credits are topped up."""

    scope = "run"
    advice = "Top up the credits in X's developer console, then run the same again."


class UsageCapped(ProblemError):
    """A daily or monthly cap is reached (429 by type): waiting for the rate limit's reset does not help."""

    scope = "run"
    advice = "Raise the cap in X's developer console, or wait for the period to end."


class EndpointNotFound(ProblemError):
    """The address is wrong (an empty 404): every request would fail."""

    scope = "run"
    advice = "Check the base URL: the path /2/media/metadata is added to it."


class RateLimited(ProblemError):
    """The rate limit is used up (429), though this client kept within what it knew.

    Attributes:
        reset_at: when the window opens, aware (UTC), or None.
    """

    scope = "account"
    http_status = 503

    @property
    def reset_at(self) -> datetime | None:
        """The latest reset of the windows that are used up."""
        return max((w.reset_at for w in self.windows.values() if w.reset_at and not w.remaining), default=None)


class ServerFault(ProblemError):
    """The server failed (5xx)."""

    scope = "retry"


class UnreadableResponse(ProblemError):
    """A 2xx that does not say that the update was applied: HTML, cut JSON, another id."""

    scope = "retry"


for _kind in list(globals().values()):
    if isinstance(_kind, type) and issubclass(_kind, XMediaMetaError):
        _kind.__module__ = "xmediameta"  # tracebacks and pickles use the public name
