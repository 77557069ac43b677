"""Tokens as values: what they check, that they do not show, what is stored of them, when they are due."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime

import pytest
from oauthlib.oauth1 import Client as Signing

from xmediameta import (
    AuthError,
    BearerToken,
    ConfigurationError,
    Credential,
    OAuth1Token,
    OAuth2Token,
    ReconnectRequired,
    RefreshFailed,
)
from xmediameta.applying.course import Stop
from xmediameta.credentials import RequestSigner, Secret, TokenStore, veiled
from xmediameta.tokens import messages
from xmediameta.tokens.keeper import StoredToken
from xmediameta.tokens.messages import Grant, Refusal, understood
from xmediameta.tokens.records import credential_of, read, record_of, written
from xmediameta.tokens.stores import MemoryStore

CANARY = "canary-7f3a9c51d20e"
ACCESS, REFRESH, SECRET = f"{CANARY}-access", f"{CANARY}-refresh", f"{CANARY}-secret"


def pair(**more: object) -> OAuth2Token:
    return OAuth2Token(ACCESS, REFRESH, client_id="app", client_secret=SECRET, **more)  # type: ignore[arg-type]


def keys(**more: str) -> OAuth1Token:
    parts = {
        "consumer_key": "key", "consumer_secret": f"{CANARY}-consumer",
        "access_token": f"{CANARY}-token", "access_token_secret": f"{CANARY}-token-secret",
    }  # fmt: skip
    return OAuth1Token(**(parts | more))


class TestOAuth2Token:
    def test_it_signs(self) -> None:
        token = pair(expires_at=datetime(2026, 11, 25, tzinfo=UTC), scopes=["media.write"])
        assert token.authorization() == f"Bearer {ACCESS}"
        assert isinstance(token, Credential)
        assert not isinstance(token, RequestSigner)
        assert token.app == "app"
        assert token.expires_at == 1_795_564_800.0
        assert OAuth2Token(ACCESS).app is None

    def test_it_does_not_show(self) -> None:
        token = pair(expires_at=1.0, app="news", issuer="https://api.x.com")
        for thing in (token, [token], token.as_dict(), token.access_token, vars(type(token)), record_of("a", token)):
            assert CANARY not in repr(thing)
        assert repr(token) == (
            "OAuth2Token('****', '****', client_id='app', expires_at=1.0, app='news', issuer='https://api.x.com')"
        )
        for made in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="not pickled"):
                made(token)

    def test_its_next_pair(self) -> None:
        token = pair(expires_at=1.0, scopes=["a", "b"], app="news", issuer="https://api.x.com")
        after = token.renewed("access2", "refresh2", expires_at=5.0)
        assert (after.access_token, after.refresh_token, after.expires_at) == ("access2", "refresh2", 5.0)
        assert (after.scopes, after.app, after.issuer, after.client_secret) == (
            ("a", "b"), "news", "https://api.x.com", SECRET,
        )  # fmt: skip
        assert token.renewed("access2", None, expires_at=None, scopes=["c"]).refresh_token == REFRESH
        assert token.renewed("access2", None, expires_at=None, scopes=["c"]).scopes == ("c",)

    def test_equal_ones_are_equal(self) -> None:
        assert pair() == pair()
        assert hash(pair()) == hash(pair())
        assert pair() != pair(expires_at=1.0)
        assert pair() != ACCESS

    def test_it_goes_through_a_database(self) -> None:
        token = pair(expires_at=1.5, scopes=["media.write"], issuer="https://api.x.com")
        assert OAuth2Token.from_dict(json.loads(json.dumps(token.as_dict()))) == token
        assert OAuth2Token.from_dict(OAuth2Token(ACCESS).as_dict()) == OAuth2Token(ACCESS)

    @pytest.mark.parametrize(
        "given",
        [
            {"access_token": ""},
            {"access_token": f"{CANARY} {CANARY}"},
            {"access_token": CANARY.encode()},
            {"refresh_token": f"{CANARY}\n{CANARY}"},
            {"refresh_token": [CANARY]},
            {"client_secret": f"{CANARY}é"},
            {"client_id": None},
            {"expires_at": "soon"},
            {"expires_at": datetime(2026, 1, 1)},
            {"expires_at": float("nan")},
            {"lifetime": "long"},
            {"lifetime": datetime(2026, 1, 1, tzinfo=UTC)},
        ],
    )
    def test_what_cannot_be_used_is_refused_without_echo(self, given: dict[str, object]) -> None:
        parts = {"access_token": ACCESS, "refresh_token": REFRESH, "client_id": "app", "client_secret": SECRET} | given
        with pytest.raises(ConfigurationError) as caught:
            OAuth2Token(**parts)  # type: ignore[arg-type]
        assert CANARY not in str(caught.value) + repr(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(
        "parts",
        [
            {},
            {"access_token": 7},
            {"access_token": CANARY, "scopes": CANARY},
            {"access_token": CANARY, "app": [CANARY]},
        ],
    )
    def test_what_a_database_gives_back_amiss(self, parts: dict[str, object]) -> None:
        with pytest.raises(ConfigurationError) as caught:
            OAuth2Token.from_dict(parts)
        assert CANARY not in str(caught.value)


class TestOAuth1Token:
    def test_each_request_is_signed_as_oauthlib_signs_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("oauthlib.common.generate_nonce", lambda: "nonce-1")
        monkeypatch.setattr("oauthlib.common.generate_timestamp", lambda: "1795564800")
        token = keys()
        theirs = Signing(
            "key", f"{CANARY}-consumer", f"{CANARY}-token", f"{CANARY}-token-secret",
            nonce="nonce-1", timestamp="1795564800",
        )  # fmt: skip
        for url in ("https://api.x.com/2/media/metadata", "http://127.0.0.1:80/a%20b?c=2&b=1%2B&a"):
            _, headers, _ = theirs.sign(url, "POST", headers={"Content-Type": "application/json"})
            assert token.sign("POST", url) == headers["Authorization"]

    def test_no_two_requests_are_signed_alike(self) -> None:
        token = keys()
        assert len({token.authorization() for _ in range(50)}) == 50
        assert isinstance(token, RequestSigner)

    def test_it_does_not_show(self) -> None:
        token = keys()
        for thing in (token, [token], token.as_dict(), record_of("a", token), token.authorization()):
            assert CANARY not in repr(thing)
        for made in (copy.copy, pickle.dumps):
            with pytest.raises(TypeError, match="not pickled"):
                made(token)

    def test_those_of_one_app_share_it(self) -> None:
        assert keys().app == keys(access_token="another").app
        assert keys().app != keys(consumer_key="another").app
        assert keys() == keys()
        assert hash(keys()) == hash(keys())
        assert keys() != keys(access_token_secret="another")

    @pytest.mark.parametrize("name", ["consumer_key", "consumer_secret", "access_token", "access_token_secret"])
    def test_what_cannot_be_used_is_refused_without_echo(self, name: str) -> None:
        for odd in ("", f"{CANARY} {CANARY}", [CANARY]):
            with pytest.raises(ConfigurationError) as caught:
                keys(**{name: odd})  # type: ignore[arg-type]
            assert CANARY not in str(caught.value) + repr(caught.value)


class TestRecords:
    @pytest.mark.parametrize(
        "token", [BearerToken(ACCESS), BearerToken(ACCESS, app="news"), keys(), pair(expires_at=2.5, scopes=["a"])]
    )
    def test_what_is_written_is_read(self, token: Credential) -> None:
        raw = written(record_of("ana", token))
        assert CANARY in raw.decode()
        assert CANARY not in repr(raw)
        record = read(raw, "the file")
        assert record.account == "ana"
        assert credential_of(record, "the file") == token

    @pytest.mark.parametrize(
        ("raw", "told"),
        [
            (b"", "is damaged"),
            (CANARY.encode(), "is damaged"),
            (b'{"kind": "oauth2", "parts": "%s"}' % CANARY.encode(), "is damaged"),
            (b"\xff" + CANARY.encode(), "is damaged"),
            (b"[" * 100_000, "is damaged"),
            (b'{"version": 9, "kind": "oauth2", "parts": {}}', "another version"),
            (b'{"kind": "oauth2", "parts": {"refresh_token": "%s"}}' % CANARY.encode(), "cannot be used"),
            (b'{"kind": "oauth1", "parts": {"access_token": "%s"}}' % CANARY.encode(), "cannot be used"),
            (b'{"kind": "bearer", "parts": {"token": "%s x"}}' % CANARY.encode(), "cannot be used"),
        ],
    )
    def test_what_is_damaged_is_told_without_echo(self, raw: bytes, told: str) -> None:
        with pytest.raises(AuthError, match=told) as caught:
            credential_of(read(raw, "the file"), "the file")
        assert CANARY not in str(caught.value)
        assert caught.value.__cause__ is None


class TestAnswers:
    def test_tokens(self) -> None:
        body = {"access_token": "a2", "refresh_token": "r2", "expires_in": 7200, "scope": "media.write users.read"}
        assert understood(200, Secret(json.dumps(body | {"token_type": "bearer"})), ()) == Grant(
            access_token=Secret("a2"), refresh_token=Secret("r2"), expires_in=7200.0,
            scopes=("media.write", "users.read"),
        )  # fmt: skip

    def test_as_little_as_is_enough(self) -> None:
        grant = understood(200, Secret('{"access_token": "a2", "token_type": "bearer"}'), ())
        assert grant == Grant(access_token=Secret("a2"), refresh_token=None, expires_in=None, scopes=None)

    @pytest.mark.parametrize("seconds", ["Infinity", "1e300", "-5", "NaN", "0"])
    def test_a_life_that_no_clock_counts(self, seconds: str) -> None:
        grant = understood(200, Secret(f'{{"access_token": "a2", "token_type": "b", "expires_in": {seconds}}}'), ())
        assert grant is None or (isinstance(grant, Grant) and 0 <= (grant.expires_in or 0) <= 1e9)

    @pytest.mark.parametrize(
        ("status", "document", "spent", "of_the_app"),
        [
            (400, {"error": "invalid_grant"}, True, False),
            (
                400,
                {"error": "invalid_request", "error_description": "Value passed for the token was invalid."},
                True,
                False,
            ),
            (400, {"error": "invalid_request", "error_description": "Missing required parameter"}, False, False),
            (401, {"error": "unauthorized_client", "error_description": "Missing valid authorization"}, False, True),
            (400, {"error": "invalid_client"}, False, True),
            (400, {"error": "of_their_own"}, False, False),
        ],
    )
    def test_refusals(self, status: int, document: dict[str, str], spent: bool, of_the_app: bool) -> None:
        refusal = understood(status, Secret(json.dumps(document)), ())
        assert isinstance(refusal, Refusal)
        assert (refusal.spent, refusal.of_the_app) == (spent, of_the_app)
        assert document["error"] in refusal.said()

    @pytest.mark.parametrize(
        "body",
        ["", "<html>", "[]", "null", '"text"', "{}", '{"access_token": 7}', '{"access_token": ""}', '{"error": 7}',
         '{"access_token": "a", "expires_in": "soon", "token_type": "bearer"}', "access_token", "\ud800"],
    )  # fmt: skip
    @pytest.mark.parametrize("status", [200, 400, 404])
    def test_what_is_neither(self, status: int, body: str) -> None:
        assert understood(status, Secret(body), ()) is None

    def test_a_token_is_no_success_under_another_status(self) -> None:
        assert understood(404, Secret('{"access_token": "a2", "token_type": "bearer"}'), ()) is None

    def test_what_is_sent_back_is_blotted_out(self) -> None:
        body = Secret(json.dumps({"error": "odd", "error_description": f"you sent {REFRESH}\x1b[31m"}))
        refusal = understood(400, body, (Secret(REFRESH),))
        assert isinstance(refusal, Refusal)
        assert refusal.said() == "400 odd: you sent ****\\x1b[31m"

    def test_requests(self) -> None:
        public = messages.refresh_form("app", Secret("r/1"), public=True)
        assert public == "grant_type=refresh_token&client_id=app&refresh_token=r%2F1"
        assert "client_id" not in messages.refresh_form("app", Secret("r1"), public=False)
        form = messages.code_form("app", Secret("c1"), Secret("v1"), "http://127.0.0.1:1/c", public=True)
        assert "code_verifier=v1" in form
        assert messages.basic("a:b", Secret("c d")) == "Basic YSUzQWI6YyUyMGQ="


class TestDue:
    def made(self, expires_at: float | None) -> StoredToken:
        return StoredToken(MemoryStore(), None, pair(expires_at=expires_at))

    def test_a_minute_or_a_tenth_ahead_and_some_jitter(self) -> None:
        assert self.made(8_200.0).due_at(1_000.0, lambda: 0.0) == 8_140.0
        assert self.made(8_200.0).due_at(1_000.0, lambda: 1.0) == 8_110.0
        assert self.made(1_002.0).due_at(1_000.0, lambda: 0.0) == pytest.approx(1_001.8)
        assert self.made(900.0).due_at(1_000.0, lambda: 1.0) == 900.0

    def test_where_its_life_is_known_that_counts_and_not_what_is_left_of_it(self) -> None:
        token = pair(expires_at=1_010.0, lifetime=7_200.0)
        assert StoredToken(MemoryStore(), None, token).due_at(1_000.0, lambda: 0.0) == 950.0
        assert OAuth2Token.from_dict(token.as_dict()).lifetime == 7_200.0
        assert token.renewed("a", "r", expires_at=1.0).lifetime is None

    def test_an_unknown_end_means_until_401(self) -> None:
        assert self.made(None).due_at(1_000.0) is None
        assert StoredToken(MemoryStore(), None, OAuth2Token(ACCESS, expires_at=5.0)).due_at(1_000.0) is None
        assert StoredToken(MemoryStore(), None, BearerToken(ACCESS)).due_at(1_000.0) is None


class TestStores:
    def test_what_is_given_as_auth_does_not_show(self) -> None:
        store = MemoryStore({"ana": pair()})
        assert isinstance(store, TokenStore)
        assert CANARY not in repr(store)
        assert CANARY not in repr(veiled(store))
        assert CANARY not in repr(StoredToken(store, "ana", pair()))
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(StoredToken(store, "ana", pair()))


def test_a_run_goes_on_by_itself_after_one_and_not_after_the_other() -> None:
    lost, now_not = ReconnectRequired("it is spent", login="ana"), RefreshFailed("the token endpoint answered 503")
    for error in (lost, now_not):
        error.about("1", None, "ana")
    assert (Stop.of(lost).exit_code, Stop.of(lost).action) == (4, "Type: xmediameta login --account ana")
    assert (Stop.of(now_not).exit_code, Stop.of(now_not).action) == (3, "Run the rest once X gives tokens again.")
    assert Stop.of(lost).account == Stop.of(now_not).account == "ana"


def test_the_error_names_the_command() -> None:
    error = ReconnectRequired("it is spent", login="an na")
    assert error.advice == "Type: xmediameta login --account 'an na'"
    error = ReconnectRequired("it is spent")
    error.about(None, None, "ana")
    assert str(error) == "it is spent [account ana]. Type: xmediameta login --account ana"
    assert ReconnectRequired("it is spent").advice == "Type: xmediameta login"
