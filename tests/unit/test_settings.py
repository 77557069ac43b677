"""The options of a client, checked before anything is sent."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest

from xmediameta import Client, ConfigurationError, Limits
from xmediameta.settings import ClientOptions

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("concurrency", value) for value in (0, -1, 1.5, "32", True, None)),
        *(("reserve", value) for value in (-1, 0.5, "1")),
        *(("timeout", value) for value in (0, -1, NAN, INF, "5", True)),
        *(("pace", value) for value in ("slow", 0, -1, NAN, INF, [5], True)),
    ],
)
def test_an_option_that_makes_no_sense_is_named(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option} must be"):
        Client("token", **{option: value})


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 1}, {"reserve": 0}, {"timeout": None}, {"timeout": 0.1}, {"pace": None}, {"pace": "burst"},
        {"pace": "even"}, {"pace": 1}, {"pace": 0.01}, {"limits": None}, {"limits": Limits(app_24hour=None)},
    ],
)  # fmt: skip
def test_what_makes_sense_is_taken(options: Any) -> None:
    assert "new" in repr(Client("token", **options))


def test_the_named_options_are_those_of_the_class() -> None:
    """`from_env` takes them by this list."""
    parameters = inspect.signature(Client).parameters
    named = {name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
    assert set(ClientOptions.__annotations__) == named
    assert ClientOptions.__required_keys__ == frozenset()
    for name in named:
        given = str(parameters[name].annotation)
        assert typing.cast("Any", ClientOptions.__annotations__[name]).__forward_arg__ == given, name


@pytest.mark.parametrize("token", [None, "", "  \n"])
def test_from_env_without_a_token(token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if token is None:
        monkeypatch.delenv("XMEDIAMETA_TOKEN", raising=False)
    else:
        monkeypatch.setenv("XMEDIAMETA_TOKEN", token)
    with pytest.raises(ConfigurationError, match="XMEDIAMETA_TOKEN is not set"):
        Client.from_env()


@pytest.mark.parametrize(("value", "refused"), [("1", False), ("", True), ("0", True)])
def test_plain_http_to_another_machine(value: str, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XMEDIAMETA_ALLOW_INSECURE", value)
    if refused:
        with pytest.raises(ConfigurationError, match="must be https"):
            Client("token", base_url="http://example.org")
    else:
        Client("token", base_url="http://example.org")
    Client("token", base_url="http://example.org", allow_insecure=True)
    Client("token", base_url="http://127.0.0.1:5")
