"""The token endpoint over HTTP: a request now and then, on a connection of its own.

What is raised here holds nothing of aiohttp's and oauthlib's, whose exceptions and frames know the tokens.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler
from msgspec import Struct
from yarl import URL

from xmediameta import __version__
from xmediameta.body import read_body
from xmediameta.credentials import Secret
from xmediameta.errors import AuthError, ConfigurationError, ReconnectRequired, RefreshFailed
from xmediameta.text import printable

from .messages import Grant, Refusal, basic, code_form, refresh_form, understood
from .oauth2 import OAuth2Token
from .steadfast import let_go

TOKEN_PATH: Final = "/2/oauth2/token"  # noqa: S105 - a path
ME_PATH: Final = "/2/users/me"
_PAUSES: Final = (0.5, 2.0, 5.0)
_LONGEST_PAUSE: Final = 15.0


class _Lost(Struct, frozen=True):
    """No answer that can be used.

    Attributes:
        why: for people.
        sent: whether the request may have had its effect.
        pause: seconds that the server asks to wait, or None.
    """

    why: str
    sent: bool
    pause: float | None = None


class _Answer(Struct, frozen=True):
    status: int
    body: Secret
    retry_after: float | None

    def __repr__(self) -> str:
        return f"<Answer {self.status} ****>"


class TokenEndpoint:
    """Asks for tokens.

    Args:
        base_url: as `checked_base_url` returned it.
        proxy: as `environment_proxy` returned it.
        timeout: seconds for one request.
        wall: the time in Unix seconds.
    """

    def __init__(
        self,
        base_url: str,
        *,
        proxy: URL | None = None,
        timeout: float = 30.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.base_url = base_url
        self._proxy = proxy
        self._timeout = timeout
        self._wall = wall

    def now(self) -> float:
        """The time in Unix seconds, as it counts the lives of tokens."""
        return self._wall()

    async def refresh(self, token: OAuth2Token) -> OAuth2Token:
        """The next pair of an account.

        A request that did not arrive is sent again a few times. One whose answer was lost on the way is sent again
        once: the server may have taken the refresh token, which is good for one use.

        Raises:
            ReconnectRequired: the refresh token is spent or revoked.
            RefreshFailed: not now; the old pair may still be good.
            AuthError: the app is refused.
        """
        refresh_token, client_id = token.refresh_token, token.client_id
        if refresh_token is None or client_id is None:
            raise ReconnectRequired("the access token has ended, and there is no refresh token to renew it with")
        form = refresh_form(client_id, refresh_token, public=token.client_secret is None)
        secrets = tuple(secret for secret in (refresh_token, token.client_secret, token.access_token) if secret)
        lost = False
        for pause in (*_PAUSES, None):
            asked_at = self._wall()
            answer = await self._ask(form, client_id, token.client_secret, secrets)
            if isinstance(answer, Grant):
                ends = None if answer.expires_in is None else asked_at + answer.expires_in
                return _renewed(token, answer, ends)
            if isinstance(answer, Refusal):
                raise _refused(answer, lost=lost)
            if answer.sent and lost:
                raise RefreshFailed(
                    f"two answers to the renewal of the token were lost on the way ({answer.why}); its refresh token "
                    "may be spent, and the account has to be logged in again if it does not come back"
                )
            lost = lost or answer.sent
            if pause is None:
                raise RefreshFailed(f"the access token could not be renewed: {answer.why}")
            asked = answer.pause
            with nullcontext() if lost else let_go():
                await asyncio.sleep(pause * random.uniform(1.0, 1.5) if asked is None else min(_LONGEST_PAUSE, asked))
        raise AssertionError("the last turn ends in one way or another")

    async def exchange(
        self, client_id: str, client_secret: Secret | None, code: Secret, verifier: Secret, redirect_uri: str
    ) -> Grant:
        """The first pair, for the code that a login brought.

        Raises:
            AuthError: it was not given, in the server's words.
        """
        form = code_form(client_id, code, verifier, redirect_uri, public=client_secret is None)
        secrets = tuple(secret for secret in (code, verifier, client_secret) if secret)
        answer = await self._ask(form, client_id, client_secret, secrets)
        if isinstance(answer, Grant):
            return answer
        raise AuthError(
            f"no tokens were given for the login: {answer.said() if isinstance(answer, Refusal) else answer.why}"
        )

    async def username(self, authorization: Secret) -> str:
        """Whose token it is: the name behind the @.

        Raises:
            AuthError: X does not say.
        """
        headers = {"Authorization": authorization}
        answer = await self._send("GET", ME_PATH, headers, None, (authorization,))
        why = answer.why if isinstance(answer, _Lost) else f"the answer was {answer.status}"
        if isinstance(answer, _Answer) and answer.status == 200:
            try:
                found = msgspec.json.decode(answer.body.encode(), type=dict[str, Any])["data"]["username"]
            except (msgspec.DecodeError, KeyError, TypeError, UnicodeDecodeError, RecursionError):
                found = None
            if isinstance(found, str) and found:
                return printable(found, 100)
            why = "the answer holds no user name"
        raise AuthError(f"who logged in could not be learnt: {why}")

    async def _ask(
        self, form: Secret, client_id: str, client_secret: Secret | None, secrets: tuple[Secret, ...]
    ) -> Grant | Refusal | _Lost:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if client_secret is not None:
            headers["Authorization"] = basic(client_id, client_secret)
        answer = await self._send("POST", TOKEN_PATH, headers, form, secrets)
        if isinstance(answer, _Lost):
            return answer
        status = answer.status
        if status == 429 or status >= 500:
            return _Lost(f"the token endpoint answered {status}", sent=False, pause=answer.retry_after)
        told = understood(status, answer.body, secrets)
        if told is not None:
            return told
        if status == 200:
            return _Lost("the token endpoint answered 200 without tokens", sent=True)
        said = _safe(answer.body, secrets)[:100] or "an empty body"
        return Refusal(status=status, error=said, description="", spent=False, of_the_app=status == 401)

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], form: Secret | None, secrets: tuple[Secret, ...]
    ) -> _Answer | _Lost:
        """One request. Of failures nothing but their text is kept, without the secrets."""
        headers = {
            **headers,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"xmediameta/{__version__}",
        }
        connector = _Connector(force_close=True)
        answer: _Answer | None = None
        failure: BaseException | None = None
        with _Timer(self._timeout) as timer:
            try:
                async with aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                ) as http:
                    url, proxy = self.base_url + path, self._proxy
                    response = await http.request(
                        method, url, data=form, headers=headers, allow_redirects=False, proxy=proxy
                    )
                    with closing(response):
                        body = Secret(_text(await read_body(response.status, response.headers, response.content)))
                    answer = _Answer(response.status, body, _seconds(response.headers.get("Retry-After")))
            except asyncio.CancelledError as cancelled:
                failure = None if timer.expired() else cancelled
            except Exception as error:  # noqa: BLE001 - whatever aiohttp raises, none of it may go further
                timer.why = f"{type(error).__name__}: {error}"
        if isinstance(failure, asyncio.CancelledError):
            failure.__context__ = failure.__cause__ = None
            raise failure.with_traceback(None)
        if answer is not None:
            return answer
        return _Lost(_safe(timer.why, secrets), sent=connector.made)


class _Connector(aiohttp.TCPConnector):
    """Knows whether a connection was made: if not, nothing was sent."""

    made = False

    async def _create_connection(self, *args: Any, **kwargs: Any) -> ResponseHandler:
        connection = await super()._create_connection(*args, **kwargs)
        self.made = True
        return connection


class _Timer:
    """Ends the current task after some seconds, also one that nobody else can end (`Steadfast`)."""

    def __init__(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - of a coroutine that runs
        self._task = task
        self._seconds = seconds
        self._cancelling = task.cancelling()
        self._late = False
        self.why = ""

    def __enter__(self) -> Self:
        self._handle = asyncio.get_running_loop().call_later(self._seconds, self._end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.cancel()

    def expired(self) -> bool:
        """Whether a cancellation that was met is this timer's, and no one else's."""
        return self._late and self._task.uncancel() <= self._cancelling

    def _end(self) -> None:
        self._late = True
        self.why = f"no answer within {self._seconds:g} s"
        getattr(self._task, "expire", self._task.cancel)()


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() else None


def _safe(text: str, secrets: tuple[Secret, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, "****")
    return printable(" ".join(text.split()), 200)


def _renewed(token: OAuth2Token, grant: Grant, ends: float | None) -> OAuth2Token:
    try:
        return token.renewed(
            grant.access_token,
            grant.refresh_token,
            expires_at=ends,
            lifetime=grant.expires_in,
            scopes=grant.scopes,
        )
    except ConfigurationError as error:
        rule = error.message
    raise AuthError(f"the token endpoint gave what is no token: {rule}")


def _refused(answer: Refusal, *, lost: bool) -> AuthError:
    if answer.spent:
        why = "the answer to its renewal was lost on the way" if lost else "it was used before, or revoked"
        return ReconnectRequired(f"the refresh token is worth nothing any more ({why}); X said: {answer.said()}")
    if answer.of_the_app:
        return AuthError(
            f"the app was refused as the token was to be renewed: {answer.said()}; check its client id and secret"
        )
    return AuthError(f"the token was not renewed: {answer.said()}")
