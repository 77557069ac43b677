"""A token that a server sends back is blotted out, however it is written there.

A proxy or a debugging server may put into its answer what it was sent, and from there it would come into errors, logs
and journals. Looked for is the token as it is, in JSON with escaped slashes, in a URL, and in base64.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final
from urllib.parse import quote

from .credentials import Secret

_BLOT: Final = "****"
# Anything shorter would blot out words of a message; X's tokens have 50 characters and more.
_LEAST: Final = 16
_URL_SAFE: Final = str.maketrans("+/", "-_")
_PERCENT: Final = re.compile("%[0-9A-F]{2}")


class Veiled(bytes):
    """A secret as bytes; it prints as little as a `Secret`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'****'"


class Echoes:
    """The forms of one token, and how they are blotted out.

    Args:
        token: one of fewer than 16 characters is let stand.
    """

    __slots__ = ("_needles", "_token", "_usual")

    def __init__(self, token: Secret) -> None:
        self._token = token if len(token) >= _LEAST else None
        self._usual = () if self._token is None else _as_text(self._token)
        self._needles: tuple[bytes, ...] = tuple(Veiled(form.encode()) for form in self._usual)

    def out_of_success(self, body: bytes, transaction_id: str) -> tuple[bytes, str]:
        """What is kept of a success, without the token in its usual forms: each look takes time with each answer."""
        for needle in self._needles:
            if needle in body:
                body = body.replace(needle, _BLOT.encode())
        for form in self._usual:
            transaction_id = transaction_id.replace(form, _BLOT)
        return body, transaction_id

    def out_of_failure(self, *texts: str, body: bytes = b"") -> tuple[list[str], bytes]:
        """Texts and a body without the token in any form."""
        if self._token is None:
            return list(texts), body
        forms = (*self._usual, *_in_base64(self._token))
        for form in forms:
            body = body.replace(form.encode(), _BLOT.encode())
        return [_without(text, forms) for text in texts], body

    def __repr__(self) -> str:
        return f"<Echoes of {'nothing' if self._token is None else 'a token'}>"


def _without(text: str, forms: tuple[Secret, ...]) -> str:
    for form in forms:
        text = text.replace(form, _BLOT)
    return text


def _as_text(token: Secret) -> tuple[Secret, ...]:
    in_url = Secret(quote(token, safe=""))
    lower = _PERCENT.sub(lambda found: found[0].lower(), in_url)
    forms = (Secret(token), Secret(token.replace("/", "\\/")), in_url, Secret(lower))
    return tuple(dict.fromkeys(forms))


def _in_base64(token: Secret) -> tuple[Secret, ...]:
    """What of a token is the same in any text in base64 that holds it, wherever in the text the token stands."""
    secret = Veiled(token.encode())
    forms: dict[Secret, None] = {}
    # Three bytes become four letters, and those at either end hold bits of what is beside the token.
    for before, mixed in ((0, 0), (1, 2), (2, 3)):
        letters = Secret(b64encode(bytes(before) + secret).decode().rstrip("="))
        core = letters[mixed:] if (before + len(secret)) % 3 == 0 else letters[mixed:-1]
        forms |= {Secret(core): None, Secret(core.translate(_URL_SAFE)): None}
    return tuple(forms)
