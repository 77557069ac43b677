"""`login`: a person lets an app in, and the tokens of the account are kept."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import webbrowser
from functools import partial
from typing import Final

import click
from msgspec import Struct

from xmediameta.address import checked_base_url
from xmediameta.credentials import Secret, TokenStore
from xmediameta.errors import AuthError
from xmediameta.text import printable
from xmediameta.tokens.endpoint import TokenEndpoint
from xmediameta.tokens.login import PORT, SCOPES, Login, callback_url
from xmediameta.tokens.oauth2 import OAuth2Token

from .auth import account_store
from .looping import run_in_loop
from .say import Reporter

CONSOLE: Final = "https://console.x.com"


class Wish(Struct, frozen=True, kw_only=True):
    """What a login was asked to be.

    Attributes:
        account: under which name the tokens are kept; by default the user's.
        user: who must log in; by default `account`.
        client_id: of the app, or None to find out.
        browser: whether one is opened here; else the address that it ends at is pasted.
        patience: seconds to wait for the browser.
    """

    account: str | None = None
    user: str | None = None
    client_id: str | None = None
    browser: bool = True
    port: int = PORT
    patience: float = 600.0
    base_url: str

    @property
    def wanted(self) -> str | None:
        """The name on X, without its @."""
        name = self.user or self.account
        return None if name is None else printable(name.strip().removeprefix("@"), 100)


def login(wish: Wish, reporter: Reporter) -> int:
    """Run the command; its exit code.

    Raises:
        click.UsageError: something is missing, and nobody can be asked.
        ConfigurationError: the base URL or the port cannot be used.
        AuthError: nobody was logged in, or somebody else; nothing is kept then.
    """
    insecure = os.environ.get("XMEDIAMETA_ALLOW_INSECURE") == "1"
    base_url = checked_base_url(wish.base_url, allow_insecure=insecure)
    store = account_store()
    before = run_in_loop(partial(_before, store, wish.account))
    client_id, secret = _app(wish, before, reporter)
    begun = Login(client_id, base_url=base_url, redirect_uri=callback_url(wish.port))
    reporter.info(f"Log in{'' if wish.wanted is None else f' as @{wish.wanted}'}, and let the app in, at:")
    click.echo(begun.url, err=True)  # as it is: wrapped it could not be copied
    code = None if wish.browser else _pasted(begun)
    finish = partial(_finished, wish, begun, code, secret, TokenEndpoint(base_url), store, reporter)
    with reporter.log_records():
        # It serves the browser, and asyncio's own loop, unlike uvloop's, is ended by SIGTERM while it waits.
        return run_in_loop(finish, own=True)


async def _before(store: TokenStore, account: str | None) -> OAuth2Token | None:
    """What is kept for an account that is logged in again: it names the app."""
    if account is None:
        return None
    try:
        kept = await store.load(account)
    except AuthError:
        return None  # damaged: it is written over
    return kept if isinstance(kept, OAuth2Token) else None


def _app(wish: Wish, before: OAuth2Token | None, reporter: Reporter) -> tuple[str, Secret | None]:
    """The id and the secret of the app: given, kept from the last login, or asked for."""
    client_id = (wish.client_id or "").strip()
    secret = Secret(os.environ.get("XMEDIAMETA_CLIENT_SECRET", "").strip()) or None
    if before is not None and before.client_id is not None and client_id in {"", before.client_id}:
        return before.client_id, secret or before.client_secret
    if client_id:
        return client_id, secret
    for line in steps(wish.port):
        reporter.info(line)
    client_id = _asked("Client ID", "pass --client-id or set XMEDIAMETA_CLIENT_ID")
    if secret is None:
        secret = _asked_secret()
    return client_id, secret


def steps(port: int) -> list[str]:
    """What to do in X's console before the first login."""
    scopes = [f"       {name}: {why}" for name, why in SCOPES.items()]
    return [
        f"Once for each app, at {CONSOLE}: choose your app (or make one), then its user authentication settings:",
        "  1. App permissions: Read and write.",
        "  2. Type of app: Native App, which has no secret; or Web App, Automated App or Bot, which has one.",
        f"  3. Callback URI, exactly this: {callback_url(port)}",
        "  4. Website URL: any address of yours. Save.",
        "  5. Copy the OAuth 2.0 Client ID, and the Client Secret if there is one. (They are not the API key.)",
        "The app will ask for:",
        *scopes,
    ]


def _asked(what: str, instead: str) -> str:
    try:
        answer = click.prompt(what, err=True, default="", show_default=False)
    except click.Abort as error:
        if sys.stdin.isatty() or isinstance(error.__context__, KeyboardInterrupt):
            raise
        answer = ""  # standard input has ended
    if not answer.strip():
        raise click.UsageError(f"no {what} was given: {instead}")
    return str(answer).strip()


def _asked_secret() -> Secret | None:
    """Not shown while it is typed; where nobody types, the environment has had its chance."""
    if not sys.stdin.isatty():
        return None
    asked = "Client Secret (it does not show; press Enter if the app has none)"
    return (
        Secret(Secret(click.prompt(asked, err=True, default="", show_default=False, hide_input=True)).strip()) or None
    )


def _pasted(begun: Login) -> Secret:
    click.echo(
        "Open it in any browser. In the end that goes to an address which it cannot show, and which begins with "
        f"{begun.redirect_uri}?... Copy it in full from the address line.",
        err=True,
    )
    return begun.code(_asked("Address", "paste the one that the browser ended at"))


async def _finished(
    wish: Wish,
    begun: Login,
    code: Secret | None,
    secret: Secret | None,
    endpoint: TokenEndpoint,
    store: TokenStore,
    reporter: Reporter,
) -> int:
    if code is None:
        code = await _from_browser(wish, begun, reporter)
    token = await begun.finished(code, secret, endpoint, time.time())
    username = await endpoint.username(token.authorization())
    if wish.wanted is not None and wish.wanted.casefold() != username.casefold():
        raise AuthError(
            f"you logged in as @{username}, and not as @{wish.wanted}; nothing is kept. Log out at x.com and begin "
            f"again, or, if {wish.wanted} is what rows call @{username}, add --user {username}"
        )
    name = wish.account or username
    async with store.lock(name):
        await store.save(name, token)
    reporter.info(f"logged in as @{username}; rows name the account {printable(name, 100)!r}")
    if token.refresh_token is None:
        reporter.warn("X gave no refresh token, so this login ends with its access token: offline.access is missing")
    return 0


async def _from_browser(wish: Wish, begun: Login, reporter: Reporter) -> Secret:
    async with begun.callback(wish.port) as came:
        if not await asyncio.to_thread(_opened, begun.url):
            reporter.info("no browser can be opened here: open the address yourself, or use --no-browser")
        try:
            async with asyncio.timeout(wish.patience):
                return await came
        except TimeoutError:
            raise AuthError(f"nobody came back from the browser within {wish.patience:g} s") from None


def _opened(url: str) -> bool:
    """Open a browser with a window; one in the terminal would take that over."""
    graphic = os.name == "nt" or sys.platform == "darwin"
    if not graphic and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")):
        return False
    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False
