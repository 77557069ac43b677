# ruff: noqa: F811 - fixtures come by import
"""`xmediameta login`, against the sandbox's authorise page and token endpoint."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from xmediameta import FileStore, OAuth2Token
from xmediameta.sandbox import Sandbox

from .browsing import CHROMIUM, chromium, decided, free_port, listens, visited
from .commandline import Ran, folder, records, rows, run, serve  # noqa: F401 - fixtures

Run = Callable[..., Ran]
Serve = Callable[..., Sandbox]

SECRET = "canary-secret-of-the-app"


@pytest.fixture
def sandbox(serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox with a public app and a confidential one, to which commands go."""
    sandbox = serve()
    sandbox.oauth.app("public")
    sandbox.oauth.app("confidential", SECRET)
    monkeypatch.setenv("XMEDIAMETA_BASE_URL", sandbox.url)
    monkeypatch.delenv("XMEDIAMETA_TOKEN")
    return sandbox


class Browser:
    """Stands where the system's browser does, and does what a person would do in it, on a thread of its own.

    Attributes:
        pages: what the browser was shown in the end.
    """

    def __init__(self) -> None:
        self.user, self.decision = "alice", "allow"
        self.first: list[str] = []
        self.pages: list[tuple[int, str]] = []
        self._threads: list[threading.Thread] = []

    def open(self, url: str) -> bool:
        self._threads.append(threading.Thread(target=self._person, args=(url,)))
        self._threads[-1].start()
        return True

    def _person(self, url: str) -> None:
        back = decided(url, self.user, self.decision)
        at = urlsplit(back)
        for other in self.first:
            self.pages.append(visited(f"{at.scheme}://{at.netloc}{other}"))
        self.pages.append(visited(back))

    def gone(self) -> None:
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    browser = Browser()
    monkeypatch.setenv("BROWSER", "a test")
    monkeypatch.setattr(webbrowser, "open", browser.open)
    yield browser
    browser.gone()


def kept(name: str = "alice") -> OAuth2Token | None:
    token = asyncio.run(FileStore(os.environ["XMEDIAMETA_ACCOUNTS"]).load(name))
    assert token is None or isinstance(token, OAuth2Token)
    return token


def nothing_shows(*said: str) -> None:
    """No secret of any account that is kept, and none of the app."""
    secrets = [SECRET]
    for path in Path(os.environ["XMEDIAMETA_ACCOUNTS"]).glob("*.json"):
        secrets += re.findall(r'"(?:access_token|refresh_token|client_secret)": *"([^"]+)"', path.read_text("utf-8"))
    for secret in secrets:
        assert all(secret not in text for text in said)


# With a browser


def test_a_browser_logs_in_and_apply_uses_the_account(run: Run, sandbox: Sandbox, browser: Browser, folder: Path):
    ran = run("login", "--client-id", "public", "--port", free_port(), "-vv")
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[-1] == "logged in as @alice; rows name the account 'alice'"
    assert browser.pages[-1][0] == 200
    assert "You can close this page" in browser.pages[-1][1]
    token = kept()
    assert token is not None
    assert (token.client_id, token.client_secret, token.issuer) == ("public", None, sandbox.url)
    assert token.refresh_token is not None
    assert token.expires_at is not None
    assert token.scopes == ("media.write", "tweet.read", "users.read", "offline.access")
    nothing_shows(ran.err, ran.out, browser.pages[-1][1])

    (folder / "a.jsonl").write_text(rows(3), "utf-8")
    ran = run("apply", "a.jsonl")
    assert ran.code == 0, ran.err
    assert len(sandbox.applied) == 3
    nothing_shows(ran.err, ran.out)


def test_the_page_is_asked_with_pkce_a_state_and_the_scopes(run: Run, sandbox: Sandbox, browser: Browser):
    port = free_port()
    ran = run("login", "--client-id", "public", "--port", port)
    url = next(line for line in ran.err.splitlines() if line.startswith(sandbox.url))
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert len(asked.pop("state")) >= 30
    assert len(asked.pop("code_challenge")) == 43
    assert asked == {
        "response_type": "code",
        "client_id": "public",
        "redirect_uri": f"http://127.0.0.1:{port}/callback",
        "scope": "media.write tweet.read users.read offline.access",
        "code_challenge_method": "S256",
    }


def test_an_answer_of_another_login_is_turned_away_and_the_login_goes_on(run: Run, sandbox: Sandbox, browser: Browser):
    browser.first = ["/callback?code=stolen&state=another", "/callback?error=access_denied", "/callback", "/else"]
    ran = run("login", "--client-id", "public", "--port", free_port())
    assert ran.code == 0, ran.err
    assert [status for status, _ in browser.pages] == [400, 400, 400, 404, 200]
    assert kept() is not None


def test_a_login_that_is_refused(run: Run, sandbox: Sandbox, browser: Browser):
    browser.decision = "deny"
    ran = run("login", "--client-id", "public", "--port", free_port())
    assert ran.code == 4
    assert "the login was refused by whoever was asked" in ran.err
    assert browser.pages[-1][0] == 400
    assert kept() is None


def test_a_browser_that_does_not_come_back(run: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    ran = run("login", "--client-id", "public", "--port", free_port(), "--wait", "50ms")
    assert ran.code == 4
    assert "no browser can be opened here: open the address yourself, or use --no-browser" in ran.err
    assert "nobody came back from the browser within 0.05 s" in ran.err


def test_a_port_that_is_taken(run: Run, sandbox: Sandbox, browser: Browser):
    ran = run("login", "--client-id", "public", "--port", urlsplit(sandbox.url).port)
    assert ran.code == 2
    assert "cannot be listened on" in ran.err
    assert "--port" in ran.err
    assert browser.pages == []


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_waiting(sandbox: Sandbox, number: signal.Signals, code: int):
    port = free_port()
    login = subprocess.Popen(
        [sys.executable, "-m", "xmediameta.cli", "login", "--client-id", "public", "--port", str(port)],
        env={**os.environ, "BROWSER": "true"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert login.stderr is not None
        assert any(line.startswith(sandbox.url) for line in login.stderr)
        while not listens(port):
            assert login.poll() is None
        login.send_signal(number)
        assert login.wait(30) == code
    finally:
        login.kill()
        login.communicate()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.slow
async def test_chromium_logs_in(tmp_path: Path):
    async with Sandbox() as sandbox:
        sandbox.oauth.app("confidential", SECRET)
        env = {
            **os.environ,
            "BROWSER": "true",  # it is Chromium that opens the page, from here
            "XMEDIAMETA_BASE_URL": sandbox.url,
            "XMEDIAMETA_ACCOUNTS": str(tmp_path / "accounts"),
            "XMEDIAMETA_CLIENT_SECRET": SECRET,
            "HOME": str(tmp_path),
        }
        command = ("login", "--account", "Alice", "--client-id", "confidential", "--port", str(free_port()))
        login = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "xmediameta.cli", *command, env=env, stderr=subprocess.PIPE
        )
        assert login.stderr is not None
        said: list[str] = []
        try:
            async with asyncio.timeout(90):
                while not said or not said[-1].startswith(sandbox.url):
                    line = (await login.stderr.readline()).decode()
                    assert line, said
                    said.append(line)
                async with chromium(tmp_path / "browser", said[-1].strip()) as page:
                    assert await page.until("document.querySelector('#allow')?.innerText") == "Authorize app"
                    assert "offline.access" in await page.run("document.body.innerText")
                    await page.run("document.querySelector('#allow').click()")
                    assert await page.until("document.title === 'xmediameta' && document.body.innerText")
                    assert "Logged in" in await page.run("document.body.innerText")
                said.append((await login.stderr.read()).decode())
                assert await login.wait() == 0, said
        finally:
            if login.returncode is None:
                login.kill()
                await login.wait()
        assert "logged in as @alice; rows name the account 'Alice'" in said[-1]
        assert SECRET not in "".join(said)
        token = await FileStore(tmp_path / "accounts").load("Alice")
        assert isinstance(token, OAuth2Token)
        assert token.client_secret == SECRET


# Without one: the address that the browser ends at is pasted


class Pasting:
    """A login in a process of its own, since its address is known only once it has begun."""

    def __init__(self, *argv: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "xmediameta.cli", "login", "--no-browser", *map(str, argv)],
            # Without a buffer, in which `communicate` would not look for what was read ahead.
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self.said = ""

    def url(self) -> str:
        assert self._process.stderr is not None
        while line := self._process.stderr.readline().decode():
            self.said += line
            if line.startswith("http"):
                return line.strip()
        raise AssertionError(self.said)

    def paste(self, text: str) -> int:
        out, err = self._process.communicate(f"{text}\n".encode(), timeout=30)
        self.said += (out + err).decode()
        nothing_shows(self.said)
        return self._process.returncode


def test_the_address_is_pasted_where_there_is_no_browser(sandbox: Sandbox):
    login = Pasting("--client-id", "public", "--account", "alice")
    assert login.paste(f"  {decided(login.url())} ") == 0, login.said
    assert "Log in as @alice, and let the app in, at:" in login.said
    assert "begins with http://127.0.0.1:8778/callback?..." in login.said
    assert kept() is not None


def test_an_address_with_another_code_brings_nothing(sandbox: Sandbox):
    login = Pasting("--client-id", "public")
    back = decided(login.url())
    assert login.paste(back.replace("code=", "code=x")) == 4
    assert "Value passed for the authorization code was invalid." in login.said
    assert parse_qs(urlsplit(back).query)["code"][0] not in login.said
    assert kept() is None


# Who logs in


def test_somebody_else_logs_in_and_nothing_is_kept(run: Run, sandbox: Sandbox, browser: Browser):
    browser.user = "mallory"
    ran = run("login", "--client-id", "public", "--account", "alice", "--port", free_port())
    assert ran.code == 4
    assert "you logged in as @mallory, and not as @alice; nothing is kept" in ran.err
    assert "add --user mallory" in ran.err
    assert not list(Path(os.environ["XMEDIAMETA_ACCOUNTS"]).iterdir())


def test_rows_may_call_an_account_something_else(run: Run, sandbox: Sandbox, browser: Browser, folder: Path):
    browser.user = "acme_news"
    ran = run("login", "--client-id", "public", "--account", "news", "--user", "@ACME_News", "--port", free_port())
    assert ran.code == 0, ran.err
    assert "logged in as @acme_news; rows name the account 'news'" in ran.err
    ran = run("set", "1", "--alt-text", "x", "--account", "news")
    assert ran.code == 0, ran.err


# The app


def test_a_confidential_app_is_asked_for_again_only_once(
    run: Run, sandbox: Sandbox, browser: Browser, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XMEDIAMETA_CLIENT_SECRET", SECRET)
    ran = run("login", "--client-id", "confidential", "--account", "alice", "--port", free_port())
    assert ran.code == 0, ran.err
    nothing_shows(ran.err, ran.out)
    first = kept()
    monkeypatch.delenv("XMEDIAMETA_CLIENT_SECRET")
    ran = run("login", "--account", "alice", "--port", free_port())
    assert ran.code == 0, ran.err
    nothing_shows(ran.err, ran.out)
    again = kept()
    assert first is not None
    assert again is not None
    assert (again.client_id, again.client_secret) == ("confidential", SECRET)
    assert again.refresh_token != first.refresh_token


def test_a_wrong_secret_is_not_echoed(run: Run, sandbox: Sandbox, browser: Browser, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XMEDIAMETA_CLIENT_SECRET", "canary-wrong-secret")
    ran = run("login", "--client-id", "confidential", "--port", free_port())
    assert ran.code == 4
    assert "no tokens were given for the login: 401 unauthorized_client" in ran.err
    assert "canary-wrong-secret" not in ran.err
    assert kept() is None


def test_the_steps_in_the_console_are_told(run: Run, sandbox: Sandbox, browser: Browser):
    port = free_port()
    ran = run("login", "--port", port, stdin=b"public\n")
    assert ran.code == 0, ran.err
    assert f"3. Callback URI, exactly this: http://127.0.0.1:{port}/callback" in ran.err
    for scope in ("media.write: set the metadata of media", "offline.access: renew", "users.read: "):
        assert scope in ran.err
    assert ran.out == ""


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_person_at_a_terminal_types_the_secret_and_it_does_not_show(sandbox: Sandbox):
    ours, theirs = os.openpty()
    login = subprocess.Popen(
        [sys.executable, "-m", "xmediameta.cli", "login", "--no-browser"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""

    def until(pattern: bytes) -> str:
        nonlocal said
        while not (found := re.search(pattern, said)):
            said += os.read(ours, 4096)  # an error where the process has ended
        return found[0].decode()

    try:
        until(rb"Client ID: ")
        os.write(ours, b"confidential\n")
        until(rb"Client Secret \(it does not show; press Enter if the app has none\): ")
        os.write(ours, SECRET.encode() + b"\n")
        url = until(rb"http://[^\r\n]+/authorize[^\r\n]+(?=\r)")
        until(rb"Address: ")
        os.write(ours, decided(url).encode() + b"\n")
        until(rb"logged in as @alice")
        assert login.wait(30) == 0
    finally:
        login.kill()
        login.wait()
        os.close(ours)
    nothing_shows(said.decode())
    token = kept()
    assert token is not None
    assert token.client_secret == SECRET


def test_nobody_is_there_to_ask(run: Run, sandbox: Sandbox):
    ran = run("login")
    assert ran.code == 2
    assert "no Client ID was given: pass --client-id or set XMEDIAMETA_CLIENT_ID" in ran.err


def test_a_login_in_the_clear_is_refused(run: Run, sandbox: Sandbox, browser: Browser):
    ran = run("login", "--client-id", "public", "--base-url", "http://example.com")
    assert ran.code == 2
    assert "must be https" in ran.err
    assert browser.pages == []
