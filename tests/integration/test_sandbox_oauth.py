"""The sandbox's token endpoint, its page that asks the user, `GET /2/users/me`, and what its tokens may do."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from xmediameta import ConfigurationError, MissingExtra, OAuth1Token
from xmediameta.sandbox import Sandbox
from xmediameta.sandbox.oauth import ALL, Tokens

VERIFIER = "a-verifier-that-is-long-enough-to-be-one-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
REDIRECT = "http://127.0.0.1:8778/callback"
ASKED = {
    "response_type": "code", "client_id": "app", "redirect_uri": REDIRECT, "scope": " ".join(ALL), "state": "s1",
    "code_challenge": CHALLENGE, "code_challenge_method": "S256",
}  # fmt: skip
BODY = {"id": "1146654567674912769", "metadata": {"alt_text": {"text": "A dancing cat"}}}


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


class Browser:
    """A client of the sandbox that follows no redirect."""

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
        self.sandbox, self.http = sandbox, http

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        return await self._asked("GET", path, **options)

    async def post(self, path: str, **options: Any) -> tuple[int, Any]:
        return await self._asked("POST", path, **options)

    async def _asked(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        url = self.sandbox.url + path
        async with self.http.request(method, url, allow_redirects=False, **options) as response:
            if "Location" in response.headers:
                return response.status, response.headers["Location"]
            json = "json" in response.content_type
            return response.status, await (response.json(content_type=None) if json else response.text())

    async def code(self, **other: str) -> str:
        """The code that a user's consent brings."""
        status, to = await self.post(
            "/i/oauth2/authorize", params=ASKED | other, data={"user": "alice", "decision": "allow"}
        )
        assert status == 302
        assert to.startswith(REDIRECT + "?")
        given = parse_qs(urlsplit(to).query)
        assert given["state"] == ["s1"]
        return given["code"][0]

    async def exchange(self, code: str, **other: str) -> tuple[int, Any]:
        form = {
            "grant_type": "authorization_code", "code": code, "client_id": "app", "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        }  # fmt: skip
        return await self.post("/2/oauth2/token", data=form | other)

    async def refresh(self, token: str, client_id: str = "app", **options: Any) -> tuple[int, Any]:
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client_id}
        return await self.post("/2/oauth2/token", data=form, **options)

    async def update(self, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return (await self.post("/2/media/metadata", json=BODY, headers=headers))[0]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(limit=20, app_limit=None) as made:
        yield made


@pytest.fixture
async def browser(sandbox: Sandbox) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession() as http:
        yield Browser(sandbox, http)


class TestLogin:
    async def test_from_the_page_to_the_tokens(self, browser: Browser) -> None:
        for path in ("/i/oauth2/authorize", "/2/oauth2/authorize"):
            status, page = await browser.get(path, params=ASKED)
            assert status == 200
            assert "<b>app</b>" in page
            assert all(f"<li>{scope}</li>" in page for scope in ALL)
        status, tokens = await browser.exchange(await browser.code())
        assert status == 200
        assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("bearer", 7200, " ".join(ALL))
        assert await browser.update(tokens["access_token"]) == 200
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        status, me = await browser.get("/2/users/me", headers=headers)
        assert (status, me["data"]["username"]) == (200, "alice")

    async def test_a_code_is_good_for_one_use(self, browser: Browser) -> None:
        code = await browser.code()
        assert (await browser.exchange(code))[0] == 200
        status, refusal = await browser.exchange(code)
        assert (status, refusal["error"]) == (400, "invalid_request")

    @pytest.mark.parametrize(
        "other", [{"code_verifier": VERIFIER + "x"}, {"redirect_uri": REDIRECT + "/"}, {"client_id": "other"}]
    )
    async def test_a_code_is_bound_to_what_it_was_asked_with(self, browser: Browser, other: dict[str, str]) -> None:
        assert (await browser.exchange(await browser.code(), **other))[0] == 400

    async def test_a_code_does_not_live_long(self, sandbox: Sandbox, browser: Browser) -> None:
        code = await browser.code()
        sandbox.advance(31)
        assert (await browser.exchange(code))[0] == 400

    async def test_a_user_may_refuse(self, browser: Browser) -> None:
        for form in ({"decision": "deny", "user": "alice"}, {"decision": "allow", "user": "<b>"}, {}):
            status, to = await browser.post("/i/oauth2/authorize", params=ASKED, data=form)
            assert status == 302
            assert parse_qs(urlsplit(to).query) == {"state": ["s1"], "error": ["access_denied"]}

    @pytest.mark.parametrize(
        "other",
        [
            {"redirect_uri": "https://evil.example/callback"},
            {"redirect_uri": ""},
            {"client_id": ""},
            {"response_type": "token"},
            {"code_challenge_method": "plain"},
            {"code_challenge": ""},
        ],
    )
    async def test_what_is_asked_amiss_leads_nowhere(self, browser: Browser, other: dict[str, str]) -> None:
        for status, page in (
            await browser.get("/i/oauth2/authorize", params=ASKED | other),
            await browser.post("/i/oauth2/authorize", params=ASKED | other, data={"decision": "allow", "user": "a"}),
        ):
            assert status == 400
            assert "Something went wrong" in page

    async def test_the_page_escapes_what_it_shows(self, browser: Browser) -> None:
        _, page = await browser.get("/i/oauth2/authorize", params=ASKED | {"client_id": "<script>", "scope": "<x>"})
        assert "<script>" not in page
        assert "&lt;script&gt;" in page
        assert "<li>&lt;x&gt;</li>" in page

    async def test_without_offline_access_there_is_no_refresh_token(self, browser: Browser) -> None:
        _, tokens = await browser.exchange(await browser.code(scope="media.write users.read"))
        assert "refresh_token" not in tokens


class TestTokens:
    async def test_a_refresh_token_is_good_for_one_use(self, sandbox: Sandbox, browser: Browser) -> None:
        first = sandbox.oauth.login(client_id="app")
        status, second = await browser.refresh(first.refresh_token)
        assert status == 200
        assert len({first.access_token, first.refresh_token, second["access_token"], second["refresh_token"]}) == 4
        status, refusal = await browser.refresh(first.refresh_token)
        assert (status, refusal["error"]) == (400, "invalid_request")
        assert refusal["error_description"] == "Value passed for the token was invalid."
        assert (sandbox.oauth.renewals, sandbox.oauth.reused) == (1, 1)
        assert (await browser.refresh(second["refresh_token"]))[0] == 200

    async def test_an_access_token_ends(self, sandbox: Sandbox, browser: Browser) -> None:
        token = sandbox.oauth.login().access_token
        assert await browser.update(token) == 200
        sandbox.advance(7_201)
        assert await browser.update(token) == 401
        assert sandbox.oauth.denied == 1
        assert await browser.update("any-other") == 200

    async def test_a_user_keeps_the_windows_whatever_token(self, sandbox: Sandbox, browser: Browser) -> None:
        first = sandbox.oauth.login()
        for _ in range(20):
            assert await browser.update(first.access_token) == 200
        _, second = await browser.refresh(first.refresh_token, "sandbox-app")
        assert await browser.update(second["access_token"]) == 429
        assert await browser.update(sandbox.oauth.login("bob").access_token) == 200

    async def test_they_are_accepted_beside_the_only_token(self) -> None:
        async with Sandbox(token="only") as sandbox, aiohttp.ClientSession() as http:
            browser = Browser(sandbox, http)
            assert await browser.update(sandbox.oauth.login().access_token) == 200
            assert await browser.update("another") == 401

    async def test_scopes(self, sandbox: Sandbox, browser: Browser) -> None:
        reader = sandbox.oauth.login(scopes=["users.read", "tweet.read"]).access_token
        writer = sandbox.oauth.login(scopes=["media.write"]).access_token
        assert await browser.update(reader) == 403
        assert await browser.update(writer) == 200
        for token, status in ((reader, 200), (writer, 403), ("any-other", 401)):
            headers = {"Authorization": f"Bearer {token}"}
            assert (await browser.get("/2/users/me", headers=headers))[0] == status
        assert (await browser.get("/2/users/me"))[0] == 401

    async def test_revoked(self, sandbox: Sandbox, browser: Browser) -> None:
        given, other = sandbox.oauth.login("alice", client_id="app"), sandbox.oauth.login("bob")
        sandbox.oauth.revoke("alice")
        assert await browser.update(given.access_token) == 401
        assert (await browser.refresh(given.refresh_token))[0] == 400
        assert await browser.update(other.access_token) == 200

    async def test_apps(self, sandbox: Sandbox, browser: Browser) -> None:
        sandbox.oauth.app("app", "secret")
        given = sandbox.oauth.login(client_id="app")
        for client_id, secret in (("app", "other"), ("other", "secret"), ("app", "")):
            login = basic(client_id, secret)
            status, refusal = await browser.refresh(given.refresh_token, headers={"Authorization": login})
            assert (status, refusal["error"]) == (401, "unauthorized_client")
        assert (await browser.refresh(given.refresh_token))[0] == 401
        login = basic("app", "secret")
        assert (await browser.refresh(given.refresh_token, headers={"Authorization": login}))[0] == 200
        assert (await browser.get("/i/oauth2/authorize", params=ASKED | {"client_id": "x"}))[0] == 400
        for odd in ("Basic ?", "Basic /w=="):
            assert (await browser.refresh("x", headers={"Authorization": odd}))[0] == 401

    async def test_other_grants(self, browser: Browser) -> None:
        for form in ({"grant_type": "password"}, {}):
            status, refusal = await browser.post("/2/oauth2/token", data=form)
            assert (status, refusal["error"]) == (400, "unsupported_grant_type")

    async def test_faults(self, sandbox: Sandbox, browser: Browser) -> None:
        given = sandbox.oauth.login(client_id="app")
        sandbox.oauth.script("503", "reset", "reset-applied")
        assert (await browser.refresh(given.refresh_token))[0] == 503
        for renewals in (0, 1):
            with pytest.raises(aiohttp.ClientError):
                await browser.refresh(given.refresh_token)
            assert sandbox.oauth.renewals == renewals
        with pytest.raises(ConfigurationError, match="no fault is called"):
            sandbox.oauth.script("no-such")

    async def test_they_do_not_show(self, sandbox: Sandbox) -> None:
        given = sandbox.oauth.login()
        assert isinstance(given, Tokens)
        keys = sandbox.oauth1.login()
        shown = repr([given, keys, sandbox, sandbox.oauth, vars(sandbox.oauth), sandbox.oauth1, vars(sandbox.oauth1)])
        for secret in (given.access_token, given.refresh_token, keys.consumer_secret, keys.access_token_secret):
            assert secret not in shown

    async def test_signatures_need_the_extra(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "oauthlib.oauth1.rfc5849", None)
        monkeypatch.delitem(sys.modules, "oauthlib.oauth1.rfc5849.signature", raising=False)
        with pytest.raises(MissingExtra, match=r"xmediameta\[oauth\]"):
            sandbox.oauth1.login()

    async def test_whose_signature_it_is(self, sandbox: Sandbox, browser: Browser) -> None:
        keys = sandbox.oauth1.login("carol")
        token = OAuth1Token(keys.consumer_key, keys.consumer_secret, keys.access_token, keys.access_token_secret)
        signed = str(token.sign("GET", f"{sandbox.url}/2/users/me"))
        for status in (200, 401):  # the second time its nonce is known
            got, me = await browser.get("/2/users/me", headers={"Authorization": signed})
            assert got == status
            assert status != 200 or me["data"]["username"] == "carol"
        assert sandbox.oauth1.refused == ["the nonce was used before"]
