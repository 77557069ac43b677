"""The tree of errors: its scopes, its messages, pickling, and what a hostile text cannot do."""

from __future__ import annotations

import copy
import pickle
import unicodedata
from datetime import UTC, datetime

import pytest

import xmediameta
from xmediameta import errors as tree
from xmediameta.errors import (
    AccountForbidden,
    AccountSuspended,
    AuthError,
    BatcherClosed,
    BatcherFull,
    BudgetReached,
    ClientClosed,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    CreditsDepleted,
    EndpointNotFound,
    InvalidUpdate,
    JournalError,
    MediaNotFound,
    MissingExtra,
    OutageTooLong,
    ProblemError,
    ProtocolViolation,
    RateLimited,
    RateLimitWaitTooLong,
    ReconnectRequired,
    RefreshFailed,
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
from xmediameta.limits import RateLimit
from xmediameta.problems import Problem

RESET = datetime(2026, 11, 25, 8, 45, tzinfo=UTC)
PROBLEM = Problem(
    type="https://api.x.com/2/problems/usage-capped",
    title="Title",
    detail="Detail",
    status=400,
    extensions={"errors": [{"message": "m", "parameters": {"id": ["1"]}}], "account_id": 1234567890123456789},
)


def answered(kind: type[ProblemError], status: int) -> ProblemError:
    return kind(
        status,
        PROBLEM,
        body_excerpt="{…}",
        transaction_id="9f3c",
        windows={"user-15min": RateLimit(500, 0, int(RESET.timestamp()))},
        retry_after=3.0,
        date=1_795_595_852.0,
    )


EVERY_ERROR: list[XMediaMetaError] = [
    ConfigurationError("the base URL has no host"),
    MissingExtra("xmediameta apply", "cli"),
    InvalidUpdate("metadata.alt_text.text", "1,001 characters, 1 too many (at most 1,000)"),
    TransportError("lost", maybe_applied=True),
    ConnectFailed("refused"),
    ConnectionLost("reset"),
    RequestTimedOut(30.0),
    ProtocolViolation("a bad chunk", maybe_applied=True),
    RateLimitWaitTooLong(retry_after=61.25, max_wait=10.0, reset_at=RESET, window="user-15min"),
    AuthError("no token for 'main'"),
    ReconnectRequired("the refresh token is spent", login="ana"),
    RefreshFailed("two answers were lost"),
    BudgetReached("money", limit=10.0, spent=10.005),
    OutageTooLong(900.4, ConnectFailed("refused")),
    JournalError("the disk is full"),
    BatcherClosed("closed"),
    BatcherFull("full"),
    ClientClosed("closed"),
    answered(UpdateRejected, 400),
    answered(MediaNotFound, 404),
    answered(UpdateForbidden, 403),
    answered(Unauthorized, 401),
    answered(AccountForbidden, 403),
    answered(AccountSuspended, 403),
    answered(CreditsDepleted, 402),
    answered(UsageCapped, 429),
    answered(EndpointNotFound, 404),
    answered(RateLimited, 429),
    answered(ServerFault, 503),
    answered(UnreadableResponse, 200),
]

# The table of the design. `ConnectionLost`, `MissingExtra` and what it leaves open are decided here.
SCOPES = {
    "update": "InvalidUpdate UpdateRejected MediaNotFound UpdateForbidden ProblemError",
    "account": (
        "RateLimitWaitTooLong AuthError ReconnectRequired RefreshFailed Unauthorized AccountForbidden AccountSuspended "
        "RateLimited"
    ),
    "run": (
        "XMediaMetaError ConfigurationError MissingExtra BudgetReached OutageTooLong JournalError BatcherClosed "
        "ClientClosed CreditsDepleted UsageCapped EndpointNotFound"
    ),
    "retry": (
        "TransportError ConnectFailed ConnectionLost RequestTimedOut ProtocolViolation BatcherFull ServerFault "
        "UnreadableResponse"
    ),
}
IN_TREE = {
    kind.__name__: kind for kind in vars(tree).values() if isinstance(kind, type) and issubclass(kind, XMediaMetaError)
}
HOSTILE = "\x1b[31m\x1b]0;owned\x07\u202edrow\u2066\nFORGED line\r\x00\x9b\u2028\ud800\U000e0041 "


def ids(error: XMediaMetaError) -> str:
    return type(error).__name__


def is_safe(text: str) -> bool:
    """One line, nothing that drives a terminal, turns the direction of text or breaks an encoder."""
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


class TestTree:
    def test_one_of_each_is_tested(self) -> None:
        assert {type(error) for error in EVERY_ERROR} == set(IN_TREE.values()) - {XMediaMetaError, ProblemError}

    def test_every_scope_is_the_designs(self) -> None:
        table = {name: scope for scope, names in SCOPES.items() for name in names.split()}
        assert {name: kind.scope for name, kind in IN_TREE.items()} == table

    @pytest.mark.parametrize("name", sorted(IN_TREE))
    def test_every_class_is_public_under_its_public_name(self, name: str) -> None:
        assert getattr(xmediameta, name) is IN_TREE[name]
        assert IN_TREE[name].__module__ == "xmediameta"

    @pytest.mark.parametrize(
        ("kind", "base"),
        [
            (ConfigurationError, ValueError),
            (InvalidUpdate, ValueError),
            (MissingExtra, ConfigurationError),
            (ConnectFailed, TransportError),
            (ReconnectRequired, AuthError),
            (RefreshFailed, AuthError),
            (RateLimited, ProblemError),
        ],
    )
    def test_what_is_also_what(self, kind: type[Exception], base: type[Exception]) -> None:
        assert issubclass(kind, base)

    @pytest.mark.parametrize("kind", [UpdateRejected, MediaNotFound, RateLimited, ServerFault])
    def test_each_kind_of_answer_is_caught_alone(self, kind: type[ProblemError]) -> None:
        others = [error for error in EVERY_ERROR if type(error) is not kind]
        assert not any(isinstance(error, kind) for error in others)


class TestPickling:
    @pytest.mark.parametrize("error", EVERY_ERROR, ids=ids)
    @pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
    def test_every_error_survives(self, error: XMediaMetaError, protocol: int) -> None:
        error = copy.copy(error)
        error.about("123", "row 7", "main", 3)
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert repr(again) == repr(error)
        fields, kept = dict(vars(error)), dict(vars(again))
        last, kept_last = fields.pop("last", None), kept.pop("last", None)
        assert kept == fields
        assert str(kept_last) == str(last)

    @pytest.mark.parametrize("error", EVERY_ERROR, ids=ids)
    def test_a_copy_is_its_own(self, error: XMediaMetaError) -> None:
        again = copy.copy(error)
        again.about("123", None, None)
        assert error.media_id is None
        assert copy.deepcopy(again).media_id == "123"

    def test_notes_survive(self) -> None:
        error = JournalError("the disk is full")
        error.add_note("while writing row 7")
        assert pickle.loads(pickle.dumps(error)).__notes__ == ["while writing row 7"]


class TestMessages:
    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (InvalidUpdate("id", "is empty"), "id: is empty"),
            (InvalidUpdate("", "broken JSON"), "broken JSON"),
            (MissingExtra("apply", "cli"), "apply needs the extra [cli]: pip install 'xmediameta[cli]'"),
            (RequestTimedOut(2.5), "no answer within 2.5 s"),
            (
                RateLimitWaitTooLong(retry_after=61.25, max_wait=10, reset_at=RESET, window="user-15min"),
                "the user-15min window opens in 61.2 s (until 2026-11-25 08:45:00Z), longer than max_wait=10 s",
            ),
            (
                RateLimitWaitTooLong(retry_after=None, max_wait=0.5, reset_at=None, window=None),
                "the rate limit window opens in an unknown time, longer than max_wait=0.5 s",
            ),
            (
                RateLimitWaitTooLong(retry_after=0.004, max_wait=0, reset_at=RESET, window=None),
                "others were ahead of it at this pace for longer than max_wait=0 s",
            ),
            (BudgetReached("money", limit=10, spent=10.005), "the budget of 10 USD is reached (10.005 spent)"),
            (BudgetReached("requests", limit=100, spent=100), "the budget of 100 requests is reached (100 spent)"),
            (
                OutageTooLong(900.4, ConnectFailed("refused")),
                "no request came through for 900 s; the last one said: refused",
            ),
            (UpdateRejected(400, Problem(title="Invalid", detail="Too long")), "400 Invalid: Too long"),
            (ServerFault(520, Problem(), body_excerpt="<html>"), "520: <html>"),
            (ServerFault(520, Problem()), "520: an empty body"),
            (
                CreditsDepleted(402, Problem(title="CreditsDepleted")),
                "402 CreditsDepleted. Top up the credits in X's developer console, then run the same again.",
            ),
        ],
    )
    def test_what_it_says(self, error: XMediaMetaError, text: str) -> None:
        assert str(error) == text

    def test_it_names_the_update(self) -> None:
        error = UpdateRejected(400, Problem(title="Invalid"))
        error.about("123", 7, "main", 1)
        assert str(error) == "400 Invalid [media 123, ref 7, account main]"
        error.about("123", None, None, 3)
        assert str(error) == "400 Invalid [media 123, 3 attempts]"
        assert error.message == "400 Invalid"

    def test_advice_follows_the_update(self) -> None:
        error = MediaNotFound(404, Problem(title="Not Found"))
        error.about("123", None, None)
        assert str(error).startswith("404 Not Found [media 123]. A media id lives a limited time")

    @pytest.mark.parametrize("error", EVERY_ERROR, ids=ids)
    def test_one_safe_line(self, error: XMediaMetaError) -> None:
        assert str(error)
        assert is_safe(str(error))


class TestHostileText:
    @pytest.mark.parametrize("size", [1, 10_000, 300_000])
    def test_a_servers_text_is_escaped_and_bounded(self, size: int) -> None:
        text = HOSTILE * size
        problem = Problem(title=text, detail=text[1:], type=text, extensions={"errors": [{"message": text}]})
        error = UpdateRejected(400, problem)
        error.about(text, text, text, 2)
        assert is_safe(str(error))
        assert is_safe(repr(error))
        assert "\\x1b[31m" in str(error)
        assert "\\u202e" in str(error)
        assert "\\nFORGED" in str(error)
        # 500 characters of message, three of 80, each at most ten times as long when it is escaped.
        assert len(str(error)) < 8_000

    def test_emoji_and_scripts_are_left_alone(self) -> None:
        family = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
        assert str(UpdateRejected(400, Problem(title=f"貓 {family} שלום"))) == f"400 貓 {family} שלום"


class TestRateLimited:
    def test_reset_at_is_the_latest_of_the_windows_that_are_used_up(self) -> None:
        soon, late = int(RESET.timestamp()), int(RESET.timestamp()) + 3_600
        windows = {"user-15min": RateLimit(500, 0, soon), "app-24hour": RateLimit(50_000, 9, late)}
        assert RateLimited(429, Problem(), windows=windows).reset_at == RESET
        windows["app-24hour"] = RateLimit(50_000, 0, late)
        assert RateLimited(429, Problem(), windows=windows).reset_at == datetime(2026, 11, 25, 9, 45, tzinfo=UTC)

    @pytest.mark.parametrize("window", [RateLimit(500, 0, None), RateLimit(500, 0, 10**15), RateLimit(500, 3, 5)])
    def test_no_reset_that_can_be_told(self, window: RateLimit) -> None:
        assert RateLimited(429, Problem(), windows={"user-15min": window}).reset_at is None
        assert RateLimited(429, Problem()).reset_at is None
