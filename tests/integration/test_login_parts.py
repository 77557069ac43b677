"""What a login makes of the address that the browser ends at, and of what X then grants."""

from __future__ import annotations

import traceback
from urllib.parse import parse_qs, urlsplit

import pytest
from oauthlib.oauth2 import WebApplicationClient

from xmediameta.credentials import Secret
from xmediameta.errors import AuthError, ConfigurationError
from xmediameta.tokens.endpoint import TokenEndpoint
from xmediameta.tokens.login import Login, callback_url
from xmediameta.tokens.messages import Grant

CODE = "canary-5d1c-code"


def begun(base_url: str = "https://api.x.com") -> Login:
    return Login("an-app", base_url=base_url, redirect_uri=callback_url())


def state_of(login: Login) -> str:
    return parse_qs(urlsplit(login.url).query)["state"][0]


@pytest.mark.parametrize(
    ("base_url", "at"),
    [
        ("https://api.x.com", "https://x.com/i/oauth2/authorize"),
        ("https://api.twitter.com", "https://x.com/i/oauth2/authorize"),
        ("http://127.0.0.1:8777", "http://127.0.0.1:8777/i/oauth2/authorize"),
        ("https://proxy.example/x", "https://proxy.example/x/i/oauth2/authorize"),
    ],
)
def test_where_a_person_logs_in(base_url: str, at: str):
    assert begun(base_url).url.partition("?")[0] == at


def test_no_two_logins_are_alike():
    first, second = (parse_qs(urlsplit(begun().url).query) for _ in range(2))
    assert first["state"] != second["state"]
    assert first["code_challenge"] != second["code_challenge"]


def test_the_code_of_an_address():
    login = begun()
    assert login.code(f" {callback_url()}?state={state_of(login)}&code={CODE}\n") == CODE


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("", "it begins with http://127.0.0.1:8778/callback?"),
        (callback_url(), "this is not the address that the browser was sent to"),
        (f"{callback_url()}?code={CODE}", "is not that of the login that has begun here"),
        (f"{callback_url()}?code={CODE}&state=other", "is not that of the login that has begun here"),
        (f"{callback_url()}?error=access_denied", "is not that of the login that has begun here"),
        (f"{callback_url()}?state=STATE", "the address holds no code: copy it in full"),
        (f"{callback_url()}?state=STATE&error=access_denied", "the login was refused by whoever was asked"),
        (f"{callback_url()}?state=STATE&error=server_error&error_description=%1b[2J%0aoh",
         "X refused the login: server_error: \\x1b[2J\\noh"),
        (f"{callback_url()}?state=STATE&error=odd%1b", "X refused the login: odd\\x1b"),
        (f"{callback_url()}?state=STATE&code={CODE}&{'x' * 9_000}", "this is not the address"),
        ("http://[?state=other", "is not that of the login that has begun here"),
    ],
)  # fmt: skip
def test_an_address_that_does_not_do(answer: str, said: str):
    login = begun()
    with pytest.raises(AuthError) as caught:
        login.code(answer.replace("STATE", state_of(login)))
    assert said in str(caught.value)
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert CODE not in told.partition("def test_an_address")[0].replace(answer, "")
    assert caught.value.__context__ is None


class Granting(TokenEndpoint):
    """An endpoint that grants what it was made with, and notes what it was asked."""

    def __init__(self, grant: Grant) -> None:
        super().__init__("https://api.x.com")
        self.grant = grant
        self.verifier = ""

    async def exchange(
        self, client_id: str, client_secret: Secret | None, code: Secret, verifier: Secret, redirect_uri: str
    ) -> Grant:
        self.verifier = str(verifier)
        return self.grant


def grant(*, scopes: tuple[str, ...] | None, expires_in: float | None = 7200.0) -> Grant:
    return Grant(access_token=Secret("a"), refresh_token=Secret("r"), expires_in=expires_in, scopes=scopes)


async def test_what_is_granted_is_kept_with_its_time_and_place():
    login = begun()
    endpoint = Granting(grant(scopes=("media.write",)))
    token = await login.finished(Secret(CODE), Secret("s"), endpoint, 1_000.0)
    assert (token.expires_at, token.issuer, token.scopes) == (8_200.0, "https://api.x.com", ("media.write",))
    assert token.client_secret == "s"
    challenge = parse_qs(urlsplit(login.url).query)["code_challenge"][0]
    assert WebApplicationClient("").create_code_challenge(endpoint.verifier, "S256") == challenge


async def test_a_server_that_names_no_scopes_and_no_time():
    endpoint = Granting(grant(scopes=None, expires_in=None))
    token = await begun().finished(Secret(CODE), None, endpoint, 1_000.0)
    assert token.expires_at is None
    assert "media.write" in token.scopes


async def test_a_login_without_media_write_is_refused():
    with pytest.raises(AuthError, match=r"does not allow media\.write: check the app's permissions"):
        await begun().finished(Secret(CODE), None, Granting(grant(scopes=("users.read",))), 1_000.0)


def test_a_login_shows_nothing():
    login = begun()
    assert repr(login) == "<Login with an-app>"


def test_what_is_no_client_id_is_refused_before_anybody_logs_in():
    with pytest.raises(ConfigurationError, match="the client id cannot be used: it holds a space"):
        Login("an app", base_url="https://api.x.com", redirect_uri=callback_url())
