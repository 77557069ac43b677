"""What a failure means and what happens next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.samples.load import SAMPLES, Sample
from tests.unit.test_errors import EVERY_ERROR
from xmediameta import errors as tree
from xmediameta.errors import (
    AccountForbidden,
    AccountSuspended,
    AuthError,
    BatcherFull,
    ConnectFailed,
    ConnectionLost,
    CreditsDepleted,
    EndpointNotFound,
    InvalidUpdate,
    MediaNotFound,
    ProblemError,
    ProtocolViolation,
    RateLimited,
    RequestTimedOut,
    ServerFault,
    Unauthorized,
    UnreadableResponse,
    UpdateForbidden,
    UpdateRejected,
    UsageCapped,
    XMediaMetaError,
)
from xmediameta.problems import Problem
from xmediameta.verdict import (
    TABLE,
    FailUpdate,
    ForbiddenStreak,
    RefreshToken,
    Retry,
    RetryQuota,
    StopAccount,
    StopRun,
    Verdict,
    WaitForWindow,
    _legacy_code,
    classify,
    full_jitter,
    judge,
)

SPEC = Path(__file__).parents[3] / "shared" / "spec"
VERDICTS = {kind.__name__: kind for kind in (Retry, WaitForWindow, RefreshToken, FailUpdate, StopAccount, StopRun)}

# Every row of the table "Failures seen", and the successes of "Contract".
ROWS = {
    "200",
    "400 invalid-request",
    "401",
    "402 credits-depleted",
    "402 credits",
    "403 about:blank",
    "403 client-forbidden",
    "403 user-suspended",
    "403 unsupported-authentication",
    "404 resource-not-found",
    "404 empty",
    "429 about:blank",
    "429 legacy code",
    "429 usage-capped",
    "500",
    "502, 503, 504",
    "any legacy code",
    "any legacy error",
    "any html",
}

# What a problem of each published type stands for: where only its type speaks (a 200 with nothing but errors), and
# under the status it usually has.
SLUGS_2_159: dict[str, tuple[type[ProblemError], int, type[ProblemError]]] = {
    "client-disconnected": (ServerFault, 503, ServerFault),
    "client-forbidden": (AccountForbidden, 403, AccountForbidden),
    "conflict": (UpdateRejected, 409, UpdateRejected),
    "disallowed-resource": (UpdateForbidden, 403, UpdateForbidden),
    "duplicate-rules": (UpdateRejected, 400, UpdateRejected),
    "invalid-request": (UpdateRejected, 400, UpdateRejected),
    "invalid-rules": (UpdateRejected, 400, UpdateRejected),
    "noncompliant-rules": (UpdateRejected, 400, UpdateRejected),
    "not-authorized-for-field": (UpdateForbidden, 403, UpdateForbidden),
    "not-authorized-for-resource": (UpdateForbidden, 403, UpdateForbidden),
    "operational-disconnect": (ServerFault, 503, ServerFault),
    "resource-not-found": (MediaNotFound, 404, MediaNotFound),
    "resource-unavailable": (MediaNotFound, 403, MediaNotFound),
    "rule-cap": (UpdateRejected, 422, UpdateRejected),
    "streaming-connection": (ServerFault, 503, ServerFault),
    "unsupported-authentication": (AccountForbidden, 403, AccountForbidden),
    "usage-capped": (UsageCapped, 429, UsageCapped),
}
SLUGS_2_167: dict[str, tuple[type[ProblemError], int, type[ProblemError]]] = {
    "disallowed-resource": (UpdateForbidden, 403, UpdateForbidden),
    "field-hydration-failure": (ServerFault, 500, ServerFault),
    "field-unauthorized": (UpdateForbidden, 403, UpdateForbidden),
    "internal-error": (ServerFault, 500, ServerFault),
    "invalid-request": (UpdateRejected, 400, UpdateRejected),
    "not-authorized-for-field": (UpdateForbidden, 403, UpdateForbidden),
    "not-authorized-for-resource": (UpdateForbidden, 403, UpdateForbidden),
    "resource-not-found": (MediaNotFound, 404, MediaNotFound),
    "resource-unavailable": (MediaNotFound, 403, MediaNotFound),
}
# These are not in the contracts: they were met (FACTS).
SLUGS_SEEN: dict[str, tuple[type[ProblemError], int, type[ProblemError]]] = {
    "credits": (CreditsDepleted, 402, CreditsDepleted),
    "credits-depleted": (CreditsDepleted, 402, CreditsDepleted),
    "user-suspended": (AccountSuspended, 403, AccountSuspended),
}


def typed(slug: str, host: str = "api.x.com", **more: Any) -> Problem:
    return Problem(type=f"https://{host}/2/problems/{slug}", **more)


def legacy(code: object) -> Problem:
    return Problem(extensions={"errors": [{"code": code, "message": "?"}]})


def failures() -> dict[str, Sample]:
    return {name: sample for name, sample in SAMPLES.items() if sample.expect["class"] != "Reply"}


class TestSamples:
    @pytest.mark.parametrize("sample", failures().values(), ids=failures())
    def test_each_ends_as_it_should(self, sample: Sample) -> None:
        error = sample.decipher()
        assert isinstance(error, ProblemError)
        kind = VERDICTS[sample.expect["verdict"]]
        expected = Retry(sample.expect.get("after")) if kind is Retry else kind()
        assert judge(error, attempt=1) == expected
        refreshable = VERDICTS[sample.expect["refreshable"]]() if "refreshable" in sample.expect else expected
        assert judge(error, attempt=1, refreshable=True) == refreshable
        assert judge(error, attempt=1, refreshable=True, refreshed=True) == expected

    @pytest.mark.parametrize("sample", failures().values(), ids=failures())
    def test_no_retry_after_the_last_attempt(self, sample: Sample) -> None:
        error = sample.decipher()
        assert isinstance(error, ProblemError)
        assert not isinstance(judge(error, attempt=5), Retry)
        assert not isinstance(judge(error, attempt=1, most_attempts=1), Retry)

    @pytest.mark.parametrize(
        "name",
        [
            "302-elsewhere",
            "307-same-host",
            "400-invalid-request",
            "400-html",
            "400-empty",
            "403-forbidden",
            "404-resource-not-found",
            "404-legacy-34",
            "409-conflict",
            "413-too-large",
            "200-errors-only",
            "200-errors-only-unknown-type",
            "200-v11-request-error",
            "200-contract-error",
            "402-empty",
            "429-usage-capped",
            "401-unauthorized",
        ],
    )
    def test_what_must_not_be_sent_again(self, name: str) -> None:
        error = SAMPLES[name].decipher()
        assert isinstance(error, ProblemError)
        assert not isinstance(judge(error, attempt=1), Retry | WaitForWindow)

    @pytest.mark.parametrize(
        "name",
        [
            "400-legacy-88",
            "403-forbidden",
            "403-html",
            "403-empty",
            "403-user-suspended",
            "404-resource-not-found",
            "404-about-blank",
            "404-legacy-34",
            "404-empty-with-rate",
            "404-empty-json-type",
            "429-remaining",
            "429-reset-past",
            "429-bare",
            "500-strings",
            "500-problem",
            "401-unauthorized",
            "200-html",
        ],
    )
    def test_what_must_not_stop_the_run(self, name: str) -> None:
        error = SAMPLES[name].decipher()
        assert isinstance(error, ProblemError)
        assert not isinstance(judge(error, attempt=1), StopRun)
        assert error.scope != "run"

    @pytest.mark.parametrize(
        "name", ["403-forbidden", "403-not-authorized-for-resource", "404-about-blank", "503-json"]
    )
    def test_what_must_not_stop_the_account(self, name: str) -> None:
        error = SAMPLES[name].decipher()
        assert isinstance(error, ProblemError)
        assert not isinstance(judge(error, attempt=1), StopAccount)

    @pytest.mark.parametrize("remaining", ["0", "1", "499", "1199998", "-1", "many"])
    def test_usage_capped_stops_the_run_however_healthy_remaining_looks(self, remaining: str) -> None:
        sample = SAMPLES["429-usage-capped"]
        capped = sample._replace(headers={**sample.headers, "x-rate-limit-remaining": remaining})
        error = capped.decipher()
        assert isinstance(error, UsageCapped)
        assert [judge(error, attempt=attempt) for attempt in (1, 5, 50)] == [StopRun()] * 3

    def test_every_row_of_the_facts_has_a_sample(self) -> None:
        assert {sample.row for sample in SAMPLES.values()} - {""} == ROWS

    def test_every_error_of_an_answer_has_a_sample(self) -> None:
        answers = {
            kind.__name__ for kind in vars(tree).values() if isinstance(kind, type) and issubclass(kind, ProblemError)
        }
        assert {sample.expect["class"] for sample in SAMPLES.values()} == answers - {"ProblemError"} | {"Reply"}

    def test_every_row_of_the_table_decides_a_sample_or_a_slug(self) -> None:
        """A row that nothing reaches would be dead, or shadowed by one above it."""
        reached: set[int] = set()
        for sample in failures().values():
            error = sample.decipher()
            assert isinstance(error, ProblemError)
            code, bare = _legacy_code(error.problem), isinstance(error, EndpointNotFound)
            fitting = (i for i, row in enumerate(TABLE) if row.fits(sample.status, error.problem, code, bare=bare))
            reached.add(next(fitting))
        assert reached == set(range(len(TABLE)))


class TestClassify:
    @pytest.mark.parametrize("host", ["api.x.com", "api.twitter.com", "example.org"])
    @pytest.mark.parametrize("slug", sorted(SLUGS_2_159 | SLUGS_2_167 | SLUGS_SEEN))
    def test_every_type_is_decided_whatever_its_host(self, slug: str, host: str) -> None:
        alone, status, under = (SLUGS_2_159 | SLUGS_2_167 | SLUGS_SEEN)[slug]
        assert classify(200, typed(slug, host), bare=False) is alone
        assert classify(status, typed(slug, host), bare=False) is under

    def test_the_two_contracts_agree_where_they_overlap(self) -> None:
        both = SLUGS_2_159.keys() & SLUGS_2_167.keys()
        assert {slug: SLUGS_2_159[slug] for slug in both} == {slug: SLUGS_2_167[slug] for slug in both}

    @pytest.mark.parametrize(("version", "slugs"), [("2.159", SLUGS_2_159), ("2.167", SLUGS_2_167)])
    def test_the_lists_are_those_of_the_contracts(self, version: str, slugs: dict[str, Any]) -> None:
        path = SPEC / f"media-metadata-{version}.openapi.json"
        if not path.exists():
            pytest.skip("the contract is not here")
        mapping = json.loads(path.read_text("utf-8"))["components"]["schemas"]["Problem"]["discriminator"]["mapping"]
        assert {uri.rpartition("/")[2] for uri in mapping} - {"about:blank"} == slugs.keys()

    @pytest.mark.parametrize(
        ("status", "problem", "error"),
        [
            # The status wins over the type where the server failed, and where it is a 401 or a 402.
            (500, typed("invalid-request"), ServerFault),
            (503, typed("usage-capped"), ServerFault),
            (599, legacy(88), ServerFault),
            (401, typed("client-forbidden"), Unauthorized),
            (401, typed("user-suspended"), Unauthorized),
            (402, Problem(), CreditsDepleted),
            # The type wins over any other status.
            (403, typed("usage-capped"), UsageCapped),
            (400, typed("credits-depleted"), CreditsDepleted),
            (400, typed("resource-not-found"), MediaNotFound),
            (400, typed("user-suspended"), AccountSuspended),
            (429, typed("invalid-request"), RateLimited),
            (400, typed("Usage-Capped/"), UsageCapped),
            (429, typed("usage-capped?page=1#top"), UsageCapped),
            (403, typed("unsuspended-thing"), UpdateForbidden),
            # Legacy codes.
            (404, legacy(34), MediaNotFound),
            (403, legacy(88), RateLimited),
            (403, legacy(326), AccountSuspended),
            (403, legacy(261), AccountForbidden),
            (400, legacy(261), UpdateRejected),
            (400, legacy("88"), UpdateRejected),
            (400, legacy(None), UpdateRejected),
            (400, Problem(extensions={"code": 88}), RateLimited),
            (400, Problem(extensions={"errors": ["88"], "code": 88}), UpdateRejected),
            # Any other 4xx is final.
            (405, Problem(), UpdateRejected),
            (410, Problem(), UpdateRejected),
            (422, Problem(), UpdateRejected),
            (451, Problem(), UpdateRejected),
            # Statuses that no server should end with.
            (0, Problem(), UpdateRejected),
            (101, Problem(), UpdateRejected),
            (304, Problem(), UpdateRejected),
            (999, Problem(), ServerFault),
            (-1, Problem(), UpdateRejected),
        ],
    )
    def test_who_wins(self, status: int, problem: Problem, error: type[ProblemError]) -> None:
        assert classify(status, problem, bare=False) is error

    def test_only_a_404_is_about_the_address_when_bare(self) -> None:
        kinds = {status: classify(status, Problem(), bare=True) for status in range(300, 600)}
        assert [status for status, kind in kinds.items() if kind is EndpointNotFound] == [404]
        assert classify(404, Problem(), bare=False) is MediaNotFound


class TestJudge:
    @pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
    def test_every_error_of_the_tree_has_a_verdict(self, error: XMediaMetaError) -> None:
        first = judge(error, attempt=1)
        expected: dict[str, Verdict] = {
            "retry": Retry(getattr(error, "retry_after", None)),
            "update": FailUpdate(),
            "account": StopAccount(),
            "run": StopRun(),
        }
        odd: dict[str, Verdict] = {
            "RateLimited": WaitForWindow(),
            "RateLimitWaitTooLong": FailUpdate(),
            "BatcherFull": FailUpdate(),
        }
        assert first == odd.get(type(error).__name__, expected[error.scope])

    @pytest.mark.parametrize(
        "error", [ConnectFailed("refused"), RequestTimedOut(3), ProtocolViolation("?", maybe_applied=True)]
    )
    def test_a_transport_error_is_retried(self, error: XMediaMetaError) -> None:
        assert [judge(error, attempt=attempt) for attempt in (1, 2, 4, 5, 6)] == [Retry()] * 3 + [FailUpdate()] * 2

    def test_not_where_another_attempt_cannot_help(self) -> None:
        assert judge(ConnectFailed("a certificate for another host", retryable=False), attempt=1) == FailUpdate()

    def test_a_stale_connection_is_retried_at_once_and_once(self) -> None:
        stale = ConnectionLost("closed", stale=True)
        assert judge(stale, attempt=1) == Retry(0.0)
        assert judge(stale, attempt=2) == Retry(None)
        assert judge(ConnectionLost("closed"), attempt=1) == Retry(None)

    @pytest.mark.parametrize(
        ("asked", "given"), [(None, None), (0.0, 0.0), (7.5, 7.5), (300.0, 300.0), (86_400.0, 300.0), (-1.0, 0.0)]
    )
    @pytest.mark.parametrize("kind", [ServerFault, UnreadableResponse])
    def test_retry_after_is_kept_within_five_minutes(
        self, kind: type[ProblemError], asked: float | None, given: float | None
    ) -> None:
        assert judge(kind(503, Problem(), retry_after=asked), attempt=1) == Retry(given)

    def test_a_used_up_window_is_waited_for_however_often(self) -> None:
        error = RateLimited(429, Problem(), retry_after=5.0)
        assert [judge(error, attempt=attempt, most_attempts=1) for attempt in (1, 2, 99)] == [WaitForWindow()] * 3

    def test_a_401_is_refreshed_once(self) -> None:
        error = Unauthorized(401, Problem())
        assert judge(error, attempt=1) == StopAccount()
        assert judge(error, attempt=1, refreshable=True) == RefreshToken()
        assert judge(error, attempt=2, refreshable=True, refreshed=True) == StopAccount()
        assert judge(error, attempt=5, refreshable=True) == RefreshToken()

    @pytest.mark.parametrize(
        "error", [InvalidUpdate("id", "is empty"), BatcherFull("full"), UpdateForbidden(403, Problem())]
    )
    @pytest.mark.parametrize("attempt", [1, 5])
    def test_what_fails_one_update(self, error: XMediaMetaError, attempt: int) -> None:
        assert judge(error, attempt=attempt, refreshable=True) == FailUpdate()

    def test_a_credential_that_cannot_be_had_stops_its_account(self) -> None:
        assert judge(AuthError("no token"), attempt=1, refreshable=True) == StopAccount()


class TestRetryQuota:
    def test_a_hundred_retries_drain_it(self) -> None:
        quota, fault = RetryQuota(), ServerFault(503, Problem())
        assert [quota.try_take(fault) for _ in range(101)] == [5] * 100 + [None]
        assert quota.level == 0

    def test_a_time_out_takes_twice_as_much(self) -> None:
        quota = RetryQuota(14)
        assert quota.try_take(RequestTimedOut(30)) == 10
        assert quota.try_take(RequestTimedOut(30)) is None
        assert quota.level == 4
        assert quota.try_take(ConnectFailed("refused")) is None

    def test_a_success_puts_back_one_and_after_a_retry_what_that_took(self) -> None:
        quota = RetryQuota()
        cost = quota.try_take(RequestTimedOut(30))
        assert cost == 10
        quota.refill()
        assert quota.level == 491
        quota.refill(cost)
        assert quota.level == 500
        quota.refill(cost)
        assert quota.level == 500
        assert repr(quota) == "<RetryQuota 500/500>"


class TestForbiddenStreak:
    def test_ten_in_a_row_and_not_nine(self) -> None:
        streak, refused = ForbiddenStreak(), UpdateForbidden(403, Problem())
        assert [streak.failed(refused) for _ in range(11)] == [False] * 9 + [True] * 2
        assert repr(streak) == "<ForbiddenStreak 11/10>"

    def test_a_success_begins_anew(self) -> None:
        streak, refused = ForbiddenStreak(3), UpdateForbidden(403, Problem())
        assert [streak.failed(refused) for _ in range(2)] == [False, False]
        streak.succeeded()
        assert [streak.failed(refused) for _ in range(3)] == [False, False, True]

    def test_other_failures_neither_count_nor_break_it(self) -> None:
        streak, refused = ForbiddenStreak(2), UpdateForbidden(403, Problem())
        others = [MediaNotFound(404, Problem()), ServerFault(503, Problem()), InvalidUpdate("id", "?")]
        assert [streak.failed(error) for error in [refused, *others, refused]] == [False] * 4 + [True]

    def test_a_problem_about_one_media_does_not_count(self) -> None:
        streak = ForbiddenStreak(1)
        assert not streak.failed(UpdateForbidden(403, typed("not-authorized-for-resource")))
        assert streak.failed(UpdateForbidden(403, typed("something-else")))


class TestFullJitter:
    def test_the_bound_doubles_up_to_its_cap(self) -> None:
        bounds = [full_jitter(attempt, lambda: 1.0) for attempt in range(1, 10)]
        assert bounds == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]

    def test_anything_below_it_may_come(self) -> None:
        assert full_jitter(3, lambda: 0.0) == 0.0
        assert full_jitter(3, lambda: 0.25, base=1.0) == 1.0
        assert full_jitter(3, lambda: 0.5, base=1.0, cap=2.0) == 1.0

    def test_absurd_attempts(self) -> None:
        assert full_jitter(10**9, lambda: 1.0) == 30.0
        assert full_jitter(0, lambda: 1.0) == 0.5
