"""What tenacity decides after a failure: our strategies, a caller's own, and the times they see."""

from __future__ import annotations

from datetime import timedelta

import pytest
import tenacity
from tenacity import RetryCallState
from tenacity.stop import stop_base

from xmediameta.attempts import Course, Retrier, RetryPolicy, retry_if_verdict, verdict_of, wait_for_verdict
from xmediameta.errors import (
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    CreditsDepleted,
    MediaNotFound,
    RateLimited,
    RequestTimedOut,
    ServerFault,
    Unauthorized,
    XMediaMetaError,
)
from xmediameta.problems import Problem
from xmediameta.verdict import FailUpdate, RefreshToken, Retry, StopAccount, StopRun, WaitForWindow

FAULT = ServerFault(503, Problem())


def told(seconds: float) -> ServerFault:
    return ServerFault(503, Problem(), retry_after=seconds)


def course(**policy: object) -> Course:
    """The course of an update whose first attempt began at 100.0; its jitter is the most there is."""
    policy.setdefault("wait", wait_for_verdict(rand=lambda: 1.0))
    return Retrier(RetryPolicy(**policy)).course(100.0)  # type: ignore[arg-type]


def after(one: Course, error: XMediaMetaError = FAULT, now: float = 101.0, **options: bool) -> object:
    return one.after(error, now, refreshable=options.pop("refreshable", False), **options)


def test_five_attempts_with_full_jitter() -> None:
    one = course()
    assert [after(one) for _ in range(5)] == [Retry(0.5), Retry(1.0), Retry(2.0), Retry(4.0), FailUpdate()]
    assert one.counted == 5


def test_the_jitter_is_full_and_capped() -> None:
    waits = [course(wait=wait_for_verdict(rand=lambda: 0.25), attempts=99)]
    assert [after(waits[0]) for _ in range(9)][-3:] == [Retry(7.5)] * 3
    spread = {after(Retrier(RetryPolicy()).course(0.0)).after for _ in range(50)}  # type: ignore[attr-defined]
    assert len(spread) > 40
    assert all(0.0 <= wait <= 0.5 for wait in spread)


def test_retry_after_is_honoured_with_a_little_jitter_on_top() -> None:
    assert after(course(), told(7.0)) == Retry(7.5)
    assert after(course(), told(1.0)) == Retry(1.1)
    assert after(course(wait=wait_for_verdict(rand=lambda: 0.0)), told(7.0)) == Retry(7.0)
    assert after(course(), told(0.0)) == Retry(0.0)
    assert after(course(), told(10_000.0)) == Retry(300.5)


def test_a_stale_connection_is_tried_again_at_once_the_first_time() -> None:
    one = course()
    stale = ConnectionLost("gone", stale=True)
    assert after(one, stale) == Retry(0.0)
    assert after(one, stale) == Retry(1.0)
    assert after(course(), ConnectionLost("gone")) == Retry(0.5)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (MediaNotFound(404, Problem()), FailUpdate()),
        (CreditsDepleted(402, Problem()), StopRun()),
        (Unauthorized(401, Problem()), StopAccount()),
        (ConnectFailed("certificate", retryable=False), FailUpdate()),
        (RateLimited(429, Problem()), WaitForWindow()),
    ],
)
def test_what_is_not_retried(error: XMediaMetaError, verdict: object) -> None:
    assert after(course(), error) == verdict


def test_a_wait_for_a_window_does_not_count() -> None:
    one = course(attempts=2)
    for _ in range(10):
        assert after(one, RateLimited(429, Problem())) == WaitForWindow()
    assert one.counted == 0
    assert after(one) == Retry(0.5)
    assert after(one) == FailUpdate()


def test_a_token_is_refreshed_once() -> None:
    one = course()
    error = Unauthorized(401, Problem())
    assert after(one, error, refreshable=True) == RefreshToken()
    one.refreshed = True
    assert after(one, error, refreshable=True) == StopAccount()


def test_an_excused_failure_does_not_count_but_the_first_one_does() -> None:
    one = course(attempts=2)
    assert after(one, excused=True) == Retry(0.5)
    assert [after(one, excused=True) for _ in range(50)] == [Retry(0.5)] * 50
    assert one.counted == 1
    assert after(one) == FailUpdate()


def test_an_excused_failure_is_not_stopped_by_a_callers_stop() -> None:
    one = course(stop=tenacity.stop_after_attempt(1))
    assert after(one, excused=True) == Retry(0.5)
    assert after(one) == FailUpdate()


def test_where_the_server_may_be_down_five_attempts_take_half_a_minute() -> None:
    one = Retrier(RetryPolicy()).course(0.0)
    waits = [after(one, patient=True) for _ in range(5)]
    assert waits.pop() == FailUpdate()
    for wait, least in zip(waits, (2.0, 4.0, 8.0, 16.0), strict=True):
        assert isinstance(wait, Retry)
        assert least <= (wait.after or 0.0) <= 1.25 * least


def test_patience_leaves_alone_what_the_server_or_the_caller_asks_for() -> None:
    def patient(error: XMediaMetaError = FAULT, **options: bool) -> float:
        verdict = after(Retrier(RetryPolicy()).course(0.0), error, patient=True, **options)
        assert isinstance(verdict, Retry)
        return verdict.after or 0.0

    assert patient(told(1.0)) <= 1.1
    assert patient(ConnectionLost("gone", stale=True)) == 0.0
    assert patient(excused=True) <= 0.5
    assert after(course(wait=tenacity.wait_fixed(1)), patient=True) == Retry(1.0)


# A caller's own strategies


def test_stop_after_attempt() -> None:
    one = course(stop=tenacity.stop_after_attempt(2))
    assert [after(one), after(one)] == [Retry(0.5), FailUpdate()]


def test_stop_never() -> None:
    one = course(stop=tenacity.stop_never)
    assert all(isinstance(after(one), Retry) for _ in range(100))


def test_stop_after_delay_counts_on_the_clock_that_is_passed_in_from_the_first_attempt() -> None:
    one = course(stop=tenacity.stop_after_delay(10))
    assert isinstance(after(one, now=109.9), Retry)
    assert after(one, now=110.0) == FailUpdate()
    assert after(course(stop=tenacity.stop_after_delay(10)), RequestTimedOut(30.0), now=130.0) == FailUpdate()


def test_stop_before_delay_sees_the_wait_to_come() -> None:
    policy = {"stop": tenacity.stop_before_delay(timedelta(seconds=10)), "wait": tenacity.wait_fixed(4)}
    assert after(course(**policy), now=105.9) == Retry(4.0)
    assert after(course(**policy), now=106.0) == FailUpdate()


def test_stops_can_be_joined() -> None:
    one = course(stop=tenacity.stop_after_attempt(3) | tenacity.stop_after_delay(5))
    assert isinstance(after(one, now=101), Retry)
    assert after(one, now=106) == FailUpdate()


def test_a_callers_wait_replaces_the_jitter_and_nothing_else() -> None:
    one = course(wait=tenacity.wait_fixed(3) + tenacity.wait_incrementing(1, 1))
    assert [after(one) for _ in range(3)] == [Retry(4.0), Retry(5.0), Retry(6.0)]
    seven = after(course(wait=tenacity.wait_none()), told(7.0))
    assert isinstance(seven, Retry)
    assert 7.0 <= (seven.after or 0.0) <= 7.5
    assert after(course(wait=tenacity.wait_fixed(3)), ConnectionLost("gone", stale=True)) == Retry(0.0)


def test_a_wait_sees_the_failure_and_how_long_was_waited() -> None:
    seen: list[tuple[int, type, float]] = []

    class Mine(tenacity.wait.wait_base):
        def __call__(self, retry_state: RetryCallState) -> float:
            assert retry_state.outcome is not None
            seen.append((retry_state.attempt_number, type(retry_state.outcome.exception()), retry_state.idle_for))
            return 2

    one = course(wait=Mine())
    assert [after(one), after(one, RequestTimedOut(1.0))] == [Retry(2.0), Retry(2.0)]
    assert seen == [(1, ServerFault, 0.0), (2, RequestTimedOut, 2.0)]


def test_a_wait_is_never_negative() -> None:
    class Mine(tenacity.wait.wait_base):
        def __call__(self, retry_state: RetryCallState) -> float:
            return -1.0

    assert after(course(wait=Mine())) == Retry(0.0)


def test_a_callers_retry_only_narrows() -> None:
    one = course(retry=tenacity.retry_if_exception_type(RequestTimedOut))
    assert after(one, RequestTimedOut(1.0)) == Retry(0.5)
    assert after(one, FAULT) == FailUpdate()
    assert after(course(retry=tenacity.retry_always), MediaNotFound(404, Problem())) == FailUpdate()
    assert after(course(retry=tenacity.retry_never)) == FailUpdate()


def test_plain_functions_serve_as_strategies() -> None:
    one = course(retry=lambda state: state.attempt_number < 3, stop=lambda _: False)
    assert [type(after(one)) for _ in range(3)] == [Retry, Retry, FailUpdate]


def test_our_strategies_serve_in_a_callers_own_retrying() -> None:
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise told(0.0)
        return "done"

    retrying = tenacity.Retrying(
        retry=retry_if_verdict(), wait=wait_for_verdict(), stop=tenacity.stop_after_attempt(5), reraise=True
    )
    assert retrying(call) == "done"
    assert len(calls) == 3


def test_a_failure_that_is_not_ours_is_not_retried() -> None:
    state = RetryCallState(tenacity.Retrying(), None, (), {})
    assert verdict_of(state) == FailUpdate()
    state.set_exception((ValueError, ValueError("x"), None))
    assert verdict_of(state) == FailUpdate()
    assert not retry_if_verdict()(state)


def test_courses_share_nothing() -> None:
    retrier = Retrier(RetryPolicy(attempts=3, wait=wait_for_verdict(rand=lambda: 1.0)))
    one, other = retrier.course(0.0), retrier.course(0.0)
    assert [after(one), after(one), after(one)] == [Retry(0.5), Retry(1.0), FailUpdate()]
    assert after(other) == Retry(0.5)


@pytest.mark.parametrize(
    "policy", [{"attempts": 0}, {"attempts": -1}, {"max_outage": -1}, {"max_outage": float("nan")}]
)
def test_a_policy_that_makes_no_sense_is_refused(policy: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(policy))):
        Retrier(RetryPolicy(**policy))  # type: ignore[arg-type]


def test_a_policy_without_patience_for_an_outage() -> None:
    assert Retrier(RetryPolicy(max_outage=0)).policy.max_outage == 0


def test_a_caller_may_write_a_stop_of_their_own() -> None:
    class TooOften(stop_base):
        def __call__(self, retry_state: RetryCallState) -> bool:
            return retry_state.idle_for >= 1.5

    one = course(stop=TooOften())
    assert [after(one), after(one), after(one)] == [Retry(0.5), Retry(1.0), FailUpdate()]
