"""The token endpoint, the page where a user lets an app in, and `GET /2/users/me`."""

from __future__ import annotations

import asyncio
import base64
import binascii
import html
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote, urlencode, urlsplit

from aiohttp import hdrs, web

from . import documents
from .exchange import Exchange
from .oauth import ME, Asked, Issuer, Refused, Tokens
from .oauth1 import Signatures
from .record import Received

TOKEN_PATH: Final = "/2/oauth2/token"  # noqa: S105 - a path
AUTHORIZE_PATHS: Final = ("/i/oauth2/authorize", "/2/oauth2/authorize")
ME_PATH: Final = "/2/users/me"
_SECURE: Final = {"Cache-Control": "no-store"}
_LOOPBACK: Final = frozenset(("127.0.0.1", "localhost", "::1"))
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Authorize app</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}}
label,button{{display:block;margin:1rem 0}}input{{font:inherit;padding:.3rem}}button{{font:inherit;padding:.5rem 1rem}}
</style></head><body><h1>{title}</h1>{body}</body></html>
"""
_FORM: Final = """<p>The app <b>{client_id}</b> wants to act for you, with:</p><ul>{scopes}</ul>
<form method="post"><label>Log in as <input name="user" value="alice" required pattern="[A-Za-z0-9_]{{1,15}}"></label>
<button name="decision" value="allow" id="allow">Authorize app</button>
<button name="decision" value="deny" id="deny">Cancel</button></form>
<p>This is a sandbox on this machine: it knows no passwords, and nothing is sent to X.</p>"""

Arrive = Callable[[web.Request, str], tuple[Received, Exchange]]


class Pages:
    """The handlers.

    Args:
        arrive: notes a request.
        clock: the server's clock, in Unix seconds.
        latency: seconds until a token request is answered.
    """

    def __init__(
        self, issuer: Issuer, signatures: Signatures, arrive: Arrive, *, clock: Callable[[], float], latency: float
    ) -> None:
        self._issuer, self._signatures, self._arrive = issuer, signatures, arrive
        self._clock, self._latency = clock, latency

    def add_to(self, app: web.Application) -> None:
        """Put the handlers in their places."""
        app.router.add_post(TOKEN_PATH, self.token)
        app.router.add_get(ME_PATH, self.me)
        for path in AUTHORIZE_PATHS:
            app.router.add_get(path, self.authorize)
            app.router.add_post(path, self.decide)

    async def token(self, request: web.Request) -> web.StreamResponse:
        """POST /2/oauth2/token."""
        _, exchange = self._arrive(request, f"POST {TOKEN_PATH}")
        form = {name: str(value) for name, value in (await request.post()).items()}
        fault = self._issuer.fault()
        if fault is not None and fault.fault is not None and not fault.fault.applied:
            return await fault.fault.send(exchange, fault.number)
        try:
            tokens = self._tokens(form, _basic(request.headers.get(hdrs.AUTHORIZATION)))
            status, document = 200, _told(tokens)
        except Refused as refused:
            status = refused.status
            document = {"error": refused.error, "error_description": refused.description}
        if self._latency:
            await asyncio.sleep(self._latency)
        if fault is not None and fault.fault is not None:
            return await fault.fault.send(exchange, fault.number)
        return exchange.reply(status, documents.encode(document), extra=_SECURE)

    def _tokens(self, form: dict[str, str], named: tuple[str, str] | None) -> Tokens:
        client_id, secret = named if named is not None else (form.get("client_id", ""), None)
        if form.get("grant_type") == "refresh_token":
            return self._issuer.refresh(client_id, secret, form.get("refresh_token", ""))
        if form.get("grant_type") == "authorization_code":
            verifier, redirect = form.get("code_verifier", ""), form.get("redirect_uri", "")
            return self._issuer.exchange(client_id, secret, form.get("code", ""), verifier, redirect)
        raise Refused(400, "unsupported_grant_type", "The grant type is not one of those that are known.")

    async def me(self, request: web.Request) -> web.StreamResponse:
        """GET /2/users/me."""
        _, exchange = self._arrive(request, f"GET {ME_PATH}")
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        token = authorization[7:].strip() if authorization.lower().startswith("bearer ") else ""
        verdict = self._issuer.judge(token) if token else None
        allowed = self._issuer.may(token, *ME)
        if verdict is None:
            verdict = self._signatures.judge(request, authorization, self._clock())
            allowed = True
        if verdict is None or verdict[0] == 401:
            return exchange.reply(401, documents.problem(401), documents.PROBLEM_JSON)
        if not allowed:
            return exchange.reply(403, documents.problem(403), documents.PROBLEM_JSON)
        user = verdict[1]
        number = str(int.from_bytes(user.encode()[:7], "big"))
        return exchange.reply(200, documents.encode({"data": {"id": number, "name": user, "username": user}}))

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        """The page that asks the user."""
        _, exchange = self._arrive(request, f"GET {request.path}")
        asked = self._asked(request)
        if isinstance(asked, str):
            return _page(exchange, 400, "Something went wrong", f"<p>{html.escape(asked)}</p>")
        scopes = "".join(f"<li>{html.escape(scope)}</li>" for scope in asked.scopes)
        form = _FORM.format(client_id=html.escape(asked.client_id), scopes=scopes)
        return _page(exchange, 200, "Authorize app", form)

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """What the user said: back to the app with a code, or without one."""
        _, exchange = self._arrive(request, f"POST {request.path}")
        asked = self._asked(request)
        if isinstance(asked, str):
            return _page(exchange, 400, "Something went wrong", f"<p>{html.escape(asked)}</p>")
        form = await request.post()
        user = str(form.get("user", ""))
        answer = {"state": request.query.get("state", "")}
        if form.get("decision") == "allow" and user.isascii() and user.replace("_", "a").isalnum():
            answer["code"] = self._issuer.code(asked, user)
        else:
            answer["error"] = "access_denied"
        joined = "&" if urlsplit(asked.redirect_uri).query else "?"
        return exchange.reply(302, b"", None, extra={"Location": asked.redirect_uri + joined + urlencode(answer)})

    def _asked(self, request: web.Request) -> Asked | str:
        query = request.query
        redirect = query.get("redirect_uri", "")
        if not self._issuer.known(query.get("client_id", "")):
            return "There is no app with this client id."
        if query.get("response_type") != "code":
            return "The response type must be code."
        if urlsplit(redirect).hostname not in _LOOPBACK:
            return "This callback URL is not registered: the sandbox knows those on this machine."
        if query.get("code_challenge_method") != "S256" or not query.get("code_challenge"):
            return "A code challenge (S256) is needed."
        return Asked(
            client_id=query["client_id"],
            redirect_uri=redirect,
            scopes=tuple(query.get("scope", "").split()),
            challenge=query["code_challenge"],
        )


def _told(tokens: Tokens) -> dict[str, object]:
    told: dict[str, object] = {
        "token_type": "bearer",
        "expires_in": max(1, round(tokens.expires_at - tokens.issued_at)),
        "access_token": tokens.access_token,
        "scope": " ".join(tokens.scopes),
    }
    if "offline.access" in tokens.scopes:
        told["refresh_token"] = tokens.refresh_token
    return told


def _page(exchange: Exchange, status: int, title: str, body: str) -> web.Response:
    text = _PAGE.format(title=html.escape(title), body=body)
    return exchange.reply(status, text.encode(), documents.HTML, extra=_SECURE)


def _basic(authorization: str | None) -> tuple[str, str] | None:
    if authorization is None or not authorization.lower().startswith("basic "):
        return None
    try:
        name, _, secret = base64.b64decode(authorization[6:], validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote(name), unquote(secret)
