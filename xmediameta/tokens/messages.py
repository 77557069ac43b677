"""What is said to a token endpoint and what it answers (RFC 6749, RFC 7636), by oauthlib; nothing is sent here.

Of what oauthlib raises, and of its frames, nothing goes further: they hold tokens.
"""

from __future__ import annotations

import base64
from importlib import import_module
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct

from xmediameta.credentials import Secret
from xmediameta.errors import MissingExtra
from xmediameta.text import printable

# X's words for a refresh token that is spent, revoked or unknown, under the error `invalid_request` (FACTS).
_SPENT: Final = "value passed for the token was invalid"
# Seconds; what is longer, or infinite, is as good as this.
_LONGEST_LIFE: Final = 1e9
_OF_THE_APP: Final = frozenset(("invalid_client", "unauthorized_client"))


class Grant(Struct, frozen=True, kw_only=True):
    """A new pair.

    Attributes:
        expires_in: seconds from now, or None where the server does not say.
        scopes: None where the server does not say: as they were asked for.
    """

    access_token: Secret
    refresh_token: Secret | None
    expires_in: float | None
    scopes: tuple[str, ...] | None

    def __repr__(self) -> str:
        return f"<Grant **** for {self.expires_in} s>"


class Refusal(Struct, frozen=True, kw_only=True):
    """What the endpoint answered in place of tokens.

    Attributes:
        error, description: in its words, safe to show.
        spent: whether the refresh token, or the code, is worth nothing any more.
        of_the_app: whether the app is refused: its client id or secret is wrong.
    """

    status: int
    error: str
    description: str
    spent: bool
    of_the_app: bool

    def said(self) -> str:
        """On one line."""
        return f"{self.status} {self.error}" + (f": {self.description}" if self.description else "")


def oauth2_client(client_id: str) -> Any:
    """Oauthlib's client of the authorization code grant.

    Raises:
        MissingExtra: the extra [oauth] is not installed.
    """
    try:
        return import_module("oauthlib.oauth2").WebApplicationClient(client_id)
    except ModuleNotFoundError:
        pass
    raise MissingExtra("an OAuth 2.0 login", "oauth")


def refresh_form(client_id: str, refresh_token: Secret, *, public: bool) -> Secret:
    """The body that asks for a new pair; a public app names itself in it."""
    named = {"client_id": client_id} if public else {}
    return Secret(oauth2_client(client_id).prepare_refresh_body(refresh_token=refresh_token, **named))


def code_form(client_id: str, code: Secret, verifier: Secret, redirect_uri: str, *, public: bool) -> Secret:
    """The body that asks for the first pair."""
    return Secret(
        oauth2_client(client_id).prepare_request_body(
            code=code, redirect_uri=redirect_uri, code_verifier=verifier, include_client_id=public
        )
    )


def basic(client_id: str, client_secret: Secret) -> Secret:
    """The `Authorization` of a confidential app: id and secret are form-encoded first (RFC 6749, section 2.3.1)."""
    pair = Secret(f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}")
    return Secret("Basic " + base64.b64encode(pair.encode()).decode())


def understood(status: int, body: Secret, secrets: tuple[Secret, ...]) -> Grant | Refusal | None:
    """An answer of a token endpoint; None where it is neither tokens nor a refusal in OAuth's words.

    Args:
        secrets: what the request held; a server that sends it back finds it blotted out.
    """
    client = oauth2_client("")
    try:
        given = client.parse_request_body_response(body)
        access, refresh = given.get("access_token"), given.get("refresh_token")
        expires, scope = given.get("expires_in"), given.get("scope")
        return (
            Grant(
                access_token=Secret(access),
                refresh_token=Secret(refresh) if isinstance(refresh, str) and refresh else None,
                expires_in=min(max(0.0, float(expires)), _LONGEST_LIFE) if expires is not None else None,
                scopes=tuple(scope.split() if isinstance(scope, str) else scope) if scope else None,
            )
            if status == 200 and isinstance(access, str) and access
            else None
        )
    except Exception as error:  # noqa: BLE001 - it raises its own, and others for odd bodies
        # Its own have the server's words; an answer without a token is no refusal.
        name, description = getattr(error, "error", None), getattr(error, "description", None)
        if type(error).__name__ == "MissingTokenError":
            name = None
    if not isinstance(name, str) or not name or status < 400:
        return None
    description = description if isinstance(description, str) else ""
    return Refusal(
        status=status,
        error=_safe(name, secrets),
        description=_safe(description, secrets),
        spent=name == "invalid_grant" or _SPENT in description.lower(),
        of_the_app=name in _OF_THE_APP or status == 401,
    )


def _safe(text: str, secrets: tuple[Secret, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "****")
    return printable(" ".join(text.split()), 200)
