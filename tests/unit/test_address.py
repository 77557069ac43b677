"""Where a token may be sent."""

from __future__ import annotations

import pytest
from yarl import URL

from xmediameta import Client
from xmediameta.address import checked_base_url, is_loopback
from xmediameta.errors import ConfigurationError
from xmediameta.proxy import environment_proxy

PASSWORD = "hunter2-secret"


def refused(base_url: object, *, allow_insecure: bool = False) -> str:
    with pytest.raises(ConfigurationError) as caught:
        checked_base_url(base_url, allow_insecure=allow_insecure)  # type: ignore[arg-type]
    assert caught.value.__cause__ is None
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        ("https://api.x.com", "https://api.x.com"),
        (" https://api.x.com/ ", "https://api.x.com"),
        ("https://api.x.com:8443/proxy/x//", "https://api.x.com:8443/proxy/x"),
        ("https://bücher.example", "https://bücher.example"),
        ("https://[2001:db8::1]:443", "https://[2001:db8::1]:443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://LOCALHOST", "http://LOCALHOST"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_what_may_be_sent_to(given: str, checked: str) -> None:
    assert checked_base_url(given, allow_insecure=False) == checked


@pytest.mark.parametrize(
    "given",
    [
        "http://api.x.com",
        "http://127.example.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://10.0.0.1:80",
        "http://0.0.0.0",
        "http://[2001:db8::1]",
        "http://2130706433",
    ],
)
def test_plain_http_to_another_machine_must_be_insisted_on(given: str) -> None:
    message = refused(given)
    assert "must be https" in message
    assert "XMEDIAMETA_ALLOW_INSECURE=1" in message
    assert checked_base_url(given, allow_insecure=True) == given


@pytest.mark.parametrize(
    "given",
    [
        f"https://user:{PASSWORD}@api.x.com",
        f"https://{PASSWORD}@api.x.com",
        "https://@api.x.com",
        f"user:{PASSWORD}@api.x.com",
        f"http://127.0.0.1:{PASSWORD}@api.x.com",
        f"https://user:{PASSWORD}@[::1",
        f"https://user:{PASSWORD}@api.x.com:port",
        f"ftp://user:{PASSWORD}@api.x.com",
        f"https://user:{PASSWORD}@api.x.com\n",
        f"https://user:{PASSWORD} @api.x.com",
    ],
)
def test_a_password_in_a_url_is_refused_and_never_echoed(given: str) -> None:
    assert PASSWORD not in refused(given, allow_insecure=True)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("", "must begin with https://"),
        ("api.x.com", "must begin with https://"),
        ("https://", "must begin with https://"),
        ("https:///path", "must begin with https://"),
        ("ftp://api.x.com", "must begin with https://"),
        ("https://api.x.com?", "no query"),
        ("https://api.x.com/?a=1", "no query"),
        ("https://api.x.com#", "no query and no fragment"),
        ("https://api.x.com/#top", "no query and no fragment"),
        ("https://api.x.com:99999", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("https://api.x.com\\.example.com", "no spaces, control characters or backslashes"),
        ("https://api.x\n.com", "no spaces, control characters or backslashes"),
        ("https://api.x.com/a b", "no spaces, control characters or backslashes"),
        ("https://api.x.com/\x1b[2J", "no spaces, control characters or backslashes"),
        ("https://api.\u202ex.com", "no spaces, control characters or backslashes"),
        (None, "must be text, not NoneType"),
        (b"https://api.x.com", "must be text, not bytes"),
    ],
)
def test_what_is_no_base_url(given: object, rule: str) -> None:
    message = refused(given, allow_insecure=True)
    assert rule in message
    assert message.isprintable()


def test_a_client_insists_by_argument_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XMEDIAMETA_ALLOW_INSECURE", raising=False)
    with pytest.raises(ConfigurationError, match="must be https"):
        Client("a-token-that-is-long", base_url="http://intranet.example")
    Client("a-token-that-is-long", base_url="http://intranet.example", allow_insecure=True)
    monkeypatch.setenv("XMEDIAMETA_ALLOW_INSECURE", "1")
    Client("a-token-that-is-long", base_url="http://intranet.example")
    monkeypatch.setenv("XMEDIAMETA_ALLOW_INSECURE", "0")
    with pytest.raises(ConfigurationError, match="must be https"):
        Client("a-token-that-is-long", base_url="http://intranet.example")


@pytest.mark.parametrize(
    ("base_url", "loopback"),
    [("https://api.x.com", False), ("http://localhost:1/x", True), ("http://[::1]", True), ("nothing", False)],
)
def test_loopback(base_url: str, loopback: bool) -> None:
    assert is_loopback(base_url) is loopback


# The proxy of the environment


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    return monkeypatch


def test_no_proxy(environment: pytest.MonkeyPatch) -> None:
    assert environment_proxy(URL("https://api.x.com/2")) is None


def test_a_proxy_is_for_its_scheme(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("https_proxy", "http://proxy.example:3128")
    assert environment_proxy(URL("https://api.x.com/2")) == URL("http://proxy.example:3128")
    assert environment_proxy(URL("http://api.x.com/2")) is None


def test_a_proxy_is_not_for_loopback_nor_for_what_is_excepted(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("http_proxy", "http://proxy.example:3128")
    environment.setenv("https_proxy", "http://proxy.example:3128")
    environment.setenv("no_proxy", ".x.com")
    for url in ("http://127.0.0.1:8080/", "http://localhost/", "https://api.x.com/2"):
        assert environment_proxy(URL(url)) is None
    assert environment_proxy(URL("https://api.example.com/2")) is not None


@pytest.mark.parametrize("proxy", [f"socks5://user:{PASSWORD}@proxy.example", f"user:{PASSWORD}@proxy", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_not_echoed(environment: pytest.MonkeyPatch, proxy: str) -> None:
    environment.setenv("https_proxy", proxy)
    with pytest.raises(ConfigurationError, match="proxy of the environment") as caught:
        environment_proxy(URL("https://api.x.com/2"))
    assert PASSWORD not in str(caught.value)
