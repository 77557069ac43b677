"""`StoredToken`: one account's token, kept fresh in its store."""

from __future__ import annotations

import asyncio
import copy
import logging
import random
from collections.abc import Callable
from typing import Any, Final, NoReturn

from xmediameta.credentials import Credential, Secret, TokenStore
from xmediameta.errors import AuthError, ReconnectRequired, XMediaMetaError
from xmediameta.text import printable

from .endpoint import TokenEndpoint
from .oauth2 import OAuth2Token
from .steadfast import Steadfast
from .stores import only_name

log: Final = logging.getLogger("xmediameta")

_LONGEST_MARGIN: Final = 60.0
_SHARE: Final = 0.1


class StoredToken:
    """What signs for one account of a store; as OAuth 2.0 token it is renewed in good time, and after a 401.

    It is made with `load`, and given to a client as any credential.
    """

    __slots__ = ("__weakref__", "_seen", "_task", "_unsaved", "_waiting", "name", "store", "token")

    def __init__(self, store: TokenStore, name: str | None, token: Credential) -> None:
        self.store = store
        self.name = name
        self.token = token
        self._task: Steadfast | None = None
        self._seen: Secret | None = None
        self._waiting = 0
        self._unsaved: OAuth2Token | None = None

    @classmethod
    async def load(cls, store: TokenStore, name: str | None) -> StoredToken | None:
        """The account of a store as it is kept now; without a name, the only one. None where there is none.

        Raises:
            AuthError: the store cannot be used.
        """
        token = await store.load(name)
        if token is None and name is None and (only := await only_name(store)) is not None:
            name, token = only, await store.load(only)
        return None if token is None else cls(store, name, token)

    @property
    def app(self) -> str | None:
        """The app's name."""
        return self.token.app

    def authorization(self) -> Secret:
        """The value of the `Authorization` header now."""
        return self.token.authorization()

    @property
    def renewable(self) -> bool:
        """Whether there is a refresh token."""
        return isinstance(self.token, OAuth2Token) and self.token.refresh_token is not None

    @property
    def expires_at(self) -> float | None:
        """When the access token ends (Unix seconds), as far as that is known."""
        return self.token.expires_at if isinstance(self.token, OAuth2Token) else None

    def due_at(self, now: float, rand: Callable[[], float] = random.random) -> float | None:
        """When to renew it: ahead of its end by the smaller of a minute and a tenth of its life, and some jitter.

        Args:
            now: Unix seconds.
            rand: a number from 0 to 1, so that many processes do not come at once.
        """
        token, ends = self.token, self.expires_at
        if ends is None or not self.renewable or not isinstance(token, OAuth2Token):
            return None
        # Where its life is not known, what is left of it has to do.
        life = max(0.0, ends - now) if token.lifetime is None else token.lifetime
        margin = min(_LONGEST_MARGIN, _SHARE * life)
        return ends - margin * (1.0 + 0.5 * rand())

    async def renew(self, seen: Secret, endpoint: TokenEndpoint, now: Callable[[], float]) -> bool:
        """See that it signs with something else than `seen`; all who ask meanwhile share one renewal.

        A caller that is cancelled leaves the renewal to the others; and where a request was sent, it ends in storing.

        Returns:
            Whether it does.

        Raises:
            AuthError: it cannot be renewed: for good (`ReconnectRequired`), or for now (`RefreshFailed`).
        """
        if self.authorization() != seen:
            return True
        task, loop = self._task, asyncio.get_running_loop()
        ended = task is None or (task.done() and (self._seen != seen or not self._waiting))
        if task is None or ended or task.get_loop() is not loop:
            task = self._task = Steadfast(self._renewed(seen, endpoint, now), loop=loop)
            task.add_done_callback(self._done)
            self._seen = seen
        self._waiting += 1
        try:
            await asyncio.wait((task,))
        finally:
            self._waiting -= 1
            self._done(task)
        if self.authorization() != seen:
            return True
        if task.cancelled():
            raise AuthError("the renewal of the token was cancelled")
        error = task.exception()
        if error is not None:
            # One exception object must not be raised in many tasks: each would add its frames to the same traceback.
            mine = copy.copy(error)
            mine.__cause__ = error.__cause__
            raise mine
        return False

    @property
    def renewing(self) -> bool:
        """Whether a renewal is under way, or those who wait for it have still to hear how it ended."""
        return self._task is not None

    async def settled(self) -> None:
        """Wait until no renewal is under way; one that nobody waits for is given up, unless a pair could be lost."""
        if self._task is not None:
            if not self._waiting:
                self._task.cancel()
            await asyncio.wait((self._task,))

    async def _renewed(self, seen: Secret, endpoint: TokenEndpoint, now: Callable[[], float]) -> None:
        try:
            async with self.store.lock(self.name):
                if self._unsaved is not None:
                    await self._save(self._unsaved)
                    return
                kept = await self._reread()
                if not isinstance(kept, OAuth2Token):
                    return
                if kept.authorization() != seen and (kept.expires_at is None or kept.expires_at > now()):
                    return  # another process was here first
                try:
                    await self._exchanged(kept, endpoint)
                except ReconnectRequired as error:
                    if (await self._reread()).authorization() == kept.authorization():
                        await self._note(error)
                        raise
        except ReconnectRequired as error:
            error.login = self.name
            raise self._about(error) from None
        except XMediaMetaError as error:
            raise self._about(error) from error.__cause__
        except Exception as error:
            # A store of the caller's own; its text may hold a secret, and the chain keeps it for whoever looks there.
            raise self._about(AuthError(f"the token store failed with {type(error).__name__}")) from error

    async def _reread(self) -> Credential:
        """Take over what the store holds now."""
        kept = await self.store.load(self.name)
        if kept is None:
            raise ReconnectRequired("the account is no longer in its store")
        self.token = kept
        return kept

    async def _exchanged(self, kept: OAuth2Token, endpoint: TokenEndpoint) -> None:
        task = asyncio.current_task()
        assert isinstance(task, Steadfast)  # noqa: S101 - see `renew`
        task.hold()
        try:
            # What is not stored is not used: if this process ended, the account would be lost with it.
            self._unsaved = await endpoint.refresh(kept)
            await self._save(self._unsaved)
        finally:
            task.let_go()
        log.info("a new access token for %s", _named(self.name), extra={"account": self._shown()})

    async def _save(self, fresh: OAuth2Token) -> None:
        try:
            await self.store.save(self.name, fresh)
        except Exception as error:
            why = error.message if isinstance(error, XMediaMetaError) else type(error).__name__
            raise AuthError(
                f"the new token could not be stored ({why}); this process still has it, and stores it at the next try"
            ) from error
        self.token, self._unsaved = fresh, None

    async def _note(self, error: ReconnectRequired) -> None:
        """Let `xmediameta accounts` tell of it, where the store can."""
        note = getattr(self.store, "note", None)
        if note is not None:
            try:
                await note(self.name, trouble=error.message)
            except AuthError as worse:
                log.warning("%s", worse)

    def _shown(self) -> str | None:
        return None if self.name is None else printable(self.name, 200)

    def _about(self, error: XMediaMetaError) -> XMediaMetaError:
        error.about(None, None, self.name)
        error.__traceback__ = None
        return error

    def _done(self, task: asyncio.Task[Any]) -> None:
        """Forget a renewal that has ended once all have heard of it: whoever comes between must not begin another."""
        if task.done():
            if task is self._task and not self._waiting:
                self._task = None
            if not task.cancelled():
                task.exception()  # fetched, in case every caller has gone

    def __repr__(self) -> str:
        return f"<StoredToken of {_named(self.name)} in {self.store!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is not pickled")


def _named(name: str | None) -> str:
    return "the account" if name is None else f"account {printable(name, 80)}"
