"""What a request is signed with never shows."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest

from xmediameta import BearerToken, ConfigurationError, Credential
from xmediameta.credentials import Secret

CANARY = "AAAAcanary0123456789"


class TestBearerToken:
    def test_it_signs(self) -> None:
        token = BearerToken(f"  {CANARY}\n")
        assert token.authorization() == f"Bearer {CANARY}"
        assert isinstance(token, Credential)
        assert token.app is None
        assert BearerToken(CANARY, app="news").app == "news"

    def test_equal_tokens_are_equal(self) -> None:
        assert BearerToken(CANARY) == BearerToken(CANARY)
        assert hash(BearerToken(CANARY)) == hash(BearerToken(CANARY))
        assert BearerToken(CANARY) != BearerToken(CANARY + "x")
        assert BearerToken(CANARY) != BearerToken(CANARY, app="news")
        assert BearerToken(CANARY) != CANARY

    def test_it_does_not_show(self) -> None:
        token = BearerToken(CANARY, app="news")
        shown = [repr(token), str(token), f"{token}", repr([token]), repr({"a": token.authorization()})]
        assert not any(CANARY in text for text in shown)
        assert repr(token) == "BearerToken('****', app='news')"
        assert repr(BearerToken(CANARY)) == "BearerToken('****')"

    def test_it_does_not_show_in_a_traceback_with_locals(self) -> None:
        def work(token: BearerToken) -> None:
            header = token.authorization()
            raise RuntimeError(f"no {type(header).__name__} here")

        with pytest.raises(RuntimeError) as caught:
            work(BearerToken(CANARY))
        told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        frame = list(told.stack)[-1]
        assert frame.locals is not None
        assert "header" in frame.locals
        assert CANARY not in repr(frame.locals)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_is_not_pickled(self, protocol: int) -> None:
        token = BearerToken(CANARY)
        for secret in (token, token.authorization(), {"nested": [token]}):
            with pytest.raises(TypeError, match="not pickled"):
                pickle.dumps(secret, protocol)

    def test_it_has_no_place_for_more(self) -> None:
        with pytest.raises(AttributeError):
            BearerToken(CANARY).token = CANARY  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("token", "rule"),
        [
            ("", "it is empty"),
            (" \n", "it is empty"),
            (CANARY + "\n" + CANARY, "line break"),
            (CANARY + "\r\nX-Evil: 1", "line break"),
            (CANARY + " " + CANARY, "a space"),
            (CANARY + "é", "not ASCII"),
            (CANARY + "\x7f", "control character"),
            (CANARY + "\ud800", "not ASCII"),
            (CANARY * 500, "it has 10,000 characters"),
            (None, "a token must be text, not NoneType"),
            (CANARY.encode(), "a token must be text, not bytes"),
            (7, "a token must be text, not int"),
        ],
    )
    def test_what_no_header_can_carry_is_refused_without_echo(self, token: object, rule: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            BearerToken(token)  # type: ignore[arg-type]
        assert rule in str(caught.value)
        assert CANARY not in str(caught.value) + repr(caught.value)
        assert caught.value.__cause__ is None


class TestSecret:
    def test_it_is_text_that_does_not_show_itself(self) -> None:
        secret = Secret(CANARY)
        assert secret == CANARY
        assert repr(secret) == "'****'"
        assert repr({"token": secret}) == "{'token': '****'}"

    def test_it_is_not_copied_by_way_of_a_pickle(self) -> None:
        for copier in (copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="not pickled"):
                copier(Secret(CANARY))
