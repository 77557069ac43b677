"""A login by the authorization code grant with PKCE (RFC 6749, RFC 7636), and the server that a browser comes back to.

The state and the verifier never leave this process but for the requests that they are meant for, so whatever else a
browser brings to the loopback address is turned away, and a code that somebody sees is worth nothing to them.
"""

from __future__ import annotations

import asyncio
import html
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from xmediameta.credentials import Secret, broken_rule
from xmediameta.errors import AuthError, ConfigurationError
from xmediameta.text import printable

from .endpoint import TokenEndpoint
from .messages import oauth2_client
from .oauth2 import OAuth2Token

PORT: Final = 8778
CALLBACK_PATH: Final = "/callback"
# What each is for, in the words that people are shown.
SCOPES: Final = {
    "media.write": "set the metadata of media",
    "tweet.read": "with users.read: learn who logged in",
    "users.read": "with tweet.read: learn who logged in",
    "offline.access": "renew the token, so that nobody has to log in again",
}
_X: Final = ("https://api.x.com", "https://api.twitter.com")
_AUTHORIZE: Final = "/i/oauth2/authorize"
# A verifier of 43 to 128 characters (RFC 7636, section 4.1).
_VERIFIER: Final = 96
_LONGEST_ANSWER: Final = 8_192
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>xmediameta</title><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""

log: Final = logging.getLogger("xmediameta")


def callback_url(port: int = PORT) -> str:
    """What is to be registered in X's console. A name such as localhost is not taken there."""
    return f"http://127.0.0.1:{port}{CALLBACK_PATH}"


class Login:
    """One login that has begun.

    Args:
        client_id: of the app.
        base_url: as `checked_base_url` returned it.
        redirect_uri: as it is registered.

    Attributes:
        url: where the person logs in.

    Raises:
        ConfigurationError: the client id is none.
        MissingExtra: the extra [oauth] is not installed.
    """

    def __init__(self, client_id: str, *, base_url: str, redirect_uri: str) -> None:
        if rule := broken_rule(Secret(client_id)):
            raise ConfigurationError(f"the client id cannot be used: {rule}")
        client = oauth2_client(client_id)
        self.client_id = client_id
        self.redirect_uri = redirect_uri
        self._base_url = base_url
        self._verifier = Secret(client.create_code_verifier(_VERIFIER))
        self._state = Secret(client.state_generator())
        site = "https://x.com" if base_url in _X else base_url
        # oauthlib wants https, which the sandbox does without; where else that may be, the base URL was checked for.
        scheme, _, rest = site.partition("://")
        asked: str = client.prepare_request_uri(
            f"https://{rest}{_AUTHORIZE}",
            redirect_uri=redirect_uri,
            scope=list(SCOPES),
            state=str(self._state),
            code_challenge=client.create_code_challenge(str(self._verifier), "S256"),
            code_challenge_method="S256",
        )
        self.url = scheme + asked.removeprefix("https")

    def code(self, answer: str) -> Secret:
        """The code in the address to which the browser was sent back.

        Raises:
            AuthError: it was refused, or the address is not this login's; nothing of it is echoed.
        """
        answer = Secret(answer.strip())
        query = Secret(answer.partition("?")[2].partition("#")[0])
        if not query or len(answer) > _LONGEST_ANSWER:
            raise AuthError(
                f"this is not the address that the browser was sent to: it begins with {self.redirect_uri}?"
            )
        # oauthlib wants https, which a loopback address has no use for (RFC 8252, section 7.3).
        secure = Secret(f"https://callback/?{query}")
        said = ""
        try:
            given = oauth2_client(self.client_id).parse_request_uri_response(secure, state=str(self._state))
            return Secret(given["code"])
        except Exception as error:  # noqa: BLE001 - oauthlib raises its own, whose frames know the code
            said = _said(error)
        raise AuthError(said)

    async def finished(
        self, code: Secret, client_secret: Secret | None, endpoint: TokenEndpoint, now: float
    ) -> OAuth2Token:
        """The first pair of tokens.

        Args:
            now: Unix seconds.

        Raises:
            AuthError: X gives none, or without the scopes that are needed.
        """
        grant = await endpoint.exchange(self.client_id, client_secret, code, self._verifier, self.redirect_uri)
        scopes = tuple(SCOPES) if grant.scopes is None else grant.scopes
        if "media.write" not in scopes:
            raise AuthError("the login does not allow media.write: check the app's permissions (Read and write)")
        return OAuth2Token(
            grant.access_token,
            grant.refresh_token,
            client_id=self.client_id,
            client_secret=client_secret,
            expires_at=None if grant.expires_in is None else now + grant.expires_in,
            lifetime=grant.expires_in,
            scopes=scopes,
            issuer=self._base_url,
        )

    @asynccontextmanager
    async def callback(self, port: int) -> AsyncGenerator[asyncio.Future[Secret]]:
        """Listen on this machine for the browser; gives what the code will be in, or why there is none.

        Raises:
            ConfigurationError: the port is taken.
        """
        came: asyncio.Future[Secret] = asyncio.get_running_loop().create_future()

        async def handler(request: web.Request) -> web.Response:
            return self._received(request, came)

        app = web.Application()
        app.router.add_get(CALLBACK_PATH, handler)
        runner = web.AppRunner(app, access_log=None)  # which would log the code
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, "127.0.0.1", port).start()
            except OSError as error:
                reason = error.strerror or "it cannot be had"
                raise ConfigurationError(
                    f"port {port} of this machine cannot be listened on ({reason}): end what uses it, or take another "
                    "with --port, and register its callback URL"
                ) from None
            yield came
        finally:
            came.cancel()
            await runner.cleanup()

    def _received(self, request: web.Request, came: asyncio.Future[Secret]) -> web.Response:
        if came.done():
            return _page(409, "Already done", "This login has ended; you can close this page.")
        if Secret(request.query.get("state", "")) != self._state:
            # Any page in the browser can send it here; the login that has begun goes on.
            log.warning("a browser came back with an answer that is not this login's; it was ignored")
            return _page(400, "Not this login", "This answer is not that of the login that waits on this machine.")
        try:
            came.set_result(self.code(f"{self.redirect_uri}?{request.query_string}"))
        except AuthError as error:
            came.set_exception(error)
            return _page(400, "Not logged in", error.message)
        return _page(200, "Logged in", "You can close this page and go back to the terminal.")

    def __repr__(self) -> str:
        return f"<Login with {printable(self.client_id, 80)}>"


def _page(status: int, title: str, text: str) -> web.Response:
    return web.Response(
        status=status,
        text=_PAGE.format(title=title, text=html.escape(text)),
        content_type="text/html",
        headers={"Cache-Control": "no-store", "Connection": "close", "Referrer-Policy": "no-referrer"},
    )


def _said(error: Exception) -> str:
    """What oauthlib found, in words that hold nothing of the address but the server's own."""
    kind = type(error).__name__
    if kind == "MismatchingStateError":
        return "this address is not that of the login that has begun here: begin again, and use its own address"
    if kind == "MissingCodeError":
        return "the address holds no code: copy it in full"
    name = getattr(error, "error", None)
    if name == "access_denied":
        return "the login was refused by whoever was asked"
    shown = printable(str(name), 100) if isinstance(name, str) else kind
    description = getattr(error, "description", None)
    return f"X refused the login: {shown}" + (f": {printable(str(description), 200)}" if description else "")
