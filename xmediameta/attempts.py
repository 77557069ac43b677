"""What happens after a failed attempt: tenacity decides whether and when, from the verdict table's answer.

tenacity is the retry engine: its `retry`, `wait` and `stop` strategies, ours among them, decide every step after a
first failure. Two things of it are not used. A shared `AsyncRetrying` keeps its state per thread, not per task, so each
failing update has a `RetryCallState` of its own. And the first attempt is awaited directly, since building a retry
object for each success costs more than the request.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from tenacity import RetryCallState, Retrying
from tenacity.retry import retry_all, retry_base
from tenacity.stop import stop_after_attempt, stop_base
from tenacity.wait import wait_base

from .errors import ConfigurationError, XMediaMetaError
from .verdict import FailUpdate, Retry, Verdict, WaitForWindow, full_jitter, judge

_UNBOUNDED: Final = 1 << 30
# Where nobody has had a usable answer since an update was first sent, the server may be down: the five attempts of bulk
# then take 30 s at the least (2 + 4 + 8 + 16).
_PATIENCE: Final = 2.0


def verdict_of(state: RetryCallState) -> Verdict:
    """The verdict on the failure that a retry state holds; for use in one's own strategies."""
    error = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(error, XMediaMetaError):
        return FailUpdate()
    return judge(error, attempt=state.attempt_number, most_attempts=_UNBOUNDED)


class retry_if_verdict(retry_base):  # noqa: N801
    """Retry where the verdict table says so; named as tenacity names its strategies."""

    def __call__(self, retry_state: RetryCallState) -> bool:
        """Whether to retry."""
        return isinstance(verdict_of(retry_state), Retry)


class wait_for_verdict(wait_base):  # noqa: N801
    """Wait as long as the verdict says (`Retry-After`, at once after a stale connection), else with full jitter.

    Args:
        base: seconds, the upper bound of the first wait, which doubles with each attempt.
        cap: seconds, the most that the bound grows to.
        rand: gives a number from 0 to 1.
        otherwise: a wait strategy of tenacity's instead of the jitter, where the verdict says nothing.
    """

    def __init__(
        self,
        base: float = 0.5,
        cap: float = 30.0,
        rand: Callable[[], float] = random.random,
        otherwise: wait_base | None = None,
    ) -> None:
        self.base, self.cap, self.rand, self.otherwise = base, cap, rand, otherwise

    def __call__(self, retry_state: RetryCallState) -> float:
        """Seconds to wait."""
        verdict = verdict_of(retry_state)
        jitter = full_jitter(retry_state.attempt_number, self.rand, base=self.base, cap=self.cap)
        after = verdict.after if isinstance(verdict, Retry) else None
        if after is None:
            return jitter if self.otherwise is None else float(self.otherwise(retry_state))
        # Everybody was told the same time: a little jitter keeps them from coming back together.
        return after + min(jitter, 0.1 * after)


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How failed attempts are repeated.

    Attributes:
        attempts: per update, the first included; waits for a window do not count.
        stop: a stop strategy of tenacity's instead of `attempts`.
        wait: a wait strategy of tenacity's instead of full jitter from 0.5 s to 30 s. What the server asks for by
            `Retry-After` stays, and so does the retry at once after a stale connection.
        retry: a retry strategy of tenacity's; it can only narrow what the verdict table would retry.
        max_outage: seconds that bulk bears a server that answers nothing usable.

    In bulk, where nobody has had a usable answer since an update was first sent, the jitter gives way to waits of 2, 4,
    8 and 16 s, so that half a minute of outage fails no update; a `wait` of the caller's is left as it is.
    """

    attempts: int = 5
    stop: stop_base | None = None
    wait: wait_base | None = None
    retry: retry_base | None = None
    max_outage: float = 900.0


class Retrier:
    """A policy made ready, one for each client.

    Raises:
        ConfigurationError: a number in it makes no sense.
    """

    __slots__ = ("engine", "policy")

    def __init__(self, policy: RetryPolicy) -> None:
        if policy.attempts < 1:
            raise ConfigurationError(f"attempts must be at least 1, not {policy.attempts}")
        if not policy.max_outage >= 0:  # NaN included
            raise ConfigurationError(f"max_outage must be a number of seconds from 0, not {policy.max_outage}")
        self.policy = policy
        wait = policy.wait
        self.engine = Retrying(
            stop=policy.stop if policy.stop is not None else stop_after_attempt(policy.attempts),
            wait=wait if isinstance(wait, wait_for_verdict) else wait_for_verdict(otherwise=wait),
            retry=retry_if_verdict() if policy.retry is None else retry_all(retry_if_verdict(), policy.retry),
        )

    def course(self, began: float) -> Course:
        """The course of one update whose first attempt began at `began` (the loop's clock) and failed."""
        return Course(self.engine, began, _PATIENCE if self.policy.wait is None else 0.0)


class Course:
    """What is kept of one failing update between its attempts.

    Attributes:
        refreshed: whether its credential was renewed once.
        stale: whether the last attempt met a kept-alive connection that the server had closed.
        cost: what its last retry took of the retry quota.
        sent_at: when its last attempt left (the loop's clock).
    """

    __slots__ = ("_engine", "_patience", "_state", "cost", "refreshed", "sent_at", "stale")

    def __init__(self, engine: Retrying, began: float, patience: float) -> None:
        self._engine = engine
        self._patience = patience
        self._state = RetryCallState(engine, None, (), {})
        self._state.attempt_number = 0
        self._state.start_time = self.sent_at = began
        self.refreshed = self.stale = False
        self.cost = 0

    @property
    def counted(self) -> int:
        """Attempts that count against the update."""
        return self._state.attempt_number

    @property
    def began(self) -> float:
        """When the first attempt left (the loop's clock)."""
        return self._state.start_time

    def after(
        self,
        error: XMediaMetaError,
        now: float,
        *,
        refreshable: bool,
        excused: bool = False,
        patient: bool = False,
    ) -> Verdict:
        """What to do after a failure at `now`.

        Args:
            error: what the attempt met.
            now: the loop's clock: tenacity's own reads `time.monotonic`.
            refreshable: whether another credential may be had.
            excused: whether the attempt does not count, as during an outage of the server.
            patient: whether to wait longer than the jitter, since the server may be down. A caller's own wait strategy
                is left as it is, and so is what the server asks for.

        Returns:
            `Retry` with its wait in seconds, or the verdict as it is.
        """
        verdict = judge(
            error,
            attempt=self._state.attempt_number + 1,
            most_attempts=_UNBOUNDED,
            refreshable=refreshable,
            refreshed=self.refreshed,
        )
        if isinstance(verdict, WaitForWindow):
            return verdict
        state = self._state
        state.attempt_number += 0 if excused and state.attempt_number else 1
        state.set_exception((type(error), error, None))
        state.outcome_timestamp = now
        if not isinstance(verdict, Retry):
            return verdict
        if not self._engine.retry(state):
            return FailUpdate()
        # In tenacity's own order: `stop_before_delay` looks at the wait to come.
        wait = max(0.0, float(self._engine.wait(state)))
        if patient and not excused and verdict.after is None and self._patience:
            wait = max(wait, self._patience * 2.0 ** (state.attempt_number - 1) * (1.0 + 0.25 * random.random()))
        state.upcoming_sleep = wait
        if not excused and self._engine.stop(state):
            return FailUpdate()
        state.idle_for += wait
        return Retry(wait)
