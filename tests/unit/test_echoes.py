"""A token in what a server sends back, in every form that it may have there."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest

from xmediameta.credentials import Secret
from xmediameta.echoes import Echoes

TOKEN = "canary-7f3a9c51d20e/token+Zm9v=="
LENGTHS = [TOKEN[: len(TOKEN) - cut] for cut in range(3)]


def blotted(text: str, token: str = TOKEN) -> str:
    """A text, taken once as it is and once as a body."""
    texts, body = Echoes(Secret(token)).out_of_failure(text, body=text.encode())
    assert texts == [body.decode()]
    return texts[0]


@pytest.mark.parametrize("token", LENGTHS)
@pytest.mark.parametrize(
    "form",
    [
        str,
        json.dumps,
        lambda token: json.dumps(token).replace("/", "\\/"),
        lambda token: quote(token, safe=""),
        quote_plus,
        lambda token: quote(token, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
        lambda token: urlencode({"Authorization": f"Bearer {token}"}),
    ],
)
def test_as_text(token: str, form: Callable[[str], str]) -> None:
    assert "canary" in form(token)
    text = blotted(f"you sent <{form(token)}>, {form(token)}", token)
    assert text.count("****") == 2
    assert "canary" not in text
    body, transaction_id = Echoes(Secret(token)).out_of_success(form(token).encode(), form(token))
    assert b"canary" not in body
    assert body.decode() == transaction_id


@pytest.mark.parametrize("token", LENGTHS)
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "x", "Bearer ", "Authorization: Bearer "])
@pytest.mark.parametrize("after", ["", "\n", "\r\nAccept: */*", "end"])
def test_in_base64(token: str, encode: Callable[[bytes], bytes], before: str, after: str) -> None:
    """Of what is left, no part can be decoded that holds more than a letter of the token's ends."""
    text = blotted(encode((before + token + after).encode()).decode(), token)
    assert "****" in text
    left = "".join(encode(before.encode()).decode()[: len(before) // 3 * 4])
    assert text.startswith(left)
    assert len(text.partition("****")[0]) - len(left) <= 3
    assert len(text) <= len("****") + 4 * (len(before) + len(after) + 6) // 3 + 4


def test_what_holds_no_token_stays() -> None:
    echoes = Echoes(Secret(TOKEN))
    body = b'{"data":{"id":"1"}}'
    assert echoes.out_of_success(body, "0123") == (body, "0123")
    assert echoes.out_of_failure("a", "b", body=body) == (["a", "b"], body)
    assert echoes.out_of_failure() == ([], b"")


def test_a_short_token_blots_out_no_words() -> None:
    echoes = Echoes(Secret("token"))
    assert echoes.out_of_failure("token expired", body=b"token") == (["token expired"], b"token")
    assert echoes.out_of_success(b"token", "token") == (b"token", "token")
    assert repr(echoes) == "<Echoes of nothing>"


def test_nothing_of_it_shows() -> None:
    echoes = Echoes(Secret(TOKEN))
    assert "canary" not in repr([getattr(echoes, name) for name in Echoes.__slots__])
