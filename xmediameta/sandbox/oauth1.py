"""OAuth 1.0a signatures (RFC 5849), checked by oauthlib; only where a test has made tokens of that kind."""

from __future__ import annotations

import secrets
from importlib import import_module
from typing import Any, Final

from aiohttp import web
from msgspec import Struct

from xmediameta.errors import MissingExtra

from .accounts import Account, Accounts

# Seconds by which the clock of a client may differ.
_SKEW: Final = 300.0


class OAuth1Keys(Struct, frozen=True, kw_only=True):
    """What a user and an app share with the server."""

    consumer_key: str
    consumer_secret: str
    access_token: str
    access_token_secret: str

    def __repr__(self) -> str:
        return "<OAuth1Keys ****>"


class Signatures:
    """Makes keys, and checks what is signed with them.

    Attributes:
        checked: how many signatures were good.
        refused: why others were not.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._keys: dict[str, tuple[OAuth1Keys, Account, str]] = {}
        self._nonces: set[tuple[str, str]] = set()
        self.checked = 0
        self.refused: list[str] = []

    def login(self, user: str = "alice", *, keys: OAuth1Keys | None = None) -> OAuth1Keys:
        """Keys of a user.

        Args:
            keys: where a test wants certain ones.

        Raises:
            MissingExtra: signatures are checked with oauthlib.
        """
        _oauthlib("signature")
        if keys is None:
            keys = OAuth1Keys(
                consumer_key=secrets.token_hex(12),
                consumer_secret=secrets.token_urlsafe(36),
                access_token=f"{secrets.randbelow(10**18)}-{secrets.token_hex(20)}",
                access_token_secret=secrets.token_urlsafe(34),
            )
        self._keys[keys.access_token] = (keys, self._accounts.admit(keys.access_token, None), user)
        return keys

    def judge(self, request: web.Request, authorization: str, now: float) -> tuple[int, str] | None:
        """The status that a signed request brings, and whose it is; None where its token is not ours.

        Args:
            now: the server's clock, in Unix seconds.
        """
        if not self._keys or not authorization.lower().startswith("oauth "):
            return None
        signature, common = _oauthlib("signature"), import_module("oauthlib.common")
        url = str(request.url)
        signed: list[tuple[str, str]] = signature.collect_parameters(
            uri_query=request.query_string,
            headers={"Authorization": authorization},
            exclude_oauth_signature=False,
        )
        given = dict(signed)
        kept = self._keys.get(given.get("oauth_token", ""))
        if kept is None:
            return None
        keys, _, user = kept
        why = self._fault(given, keys, now)
        if not why:
            asked: Any = common.Request(url, request.method)
            asked.params = [pair for pair in signed if pair[0] != "oauth_signature"]
            asked.signature = given.get("oauth_signature", "")
            good = signature.verify_hmac_sha1(asked, keys.consumer_secret, keys.access_token_secret)
            why = "" if good else "the signature does not fit"
        if why:
            self.refused.append(why)
            return 401, user
        self.checked += 1
        return 200, user

    def _fault(self, given: dict[str, str], keys: OAuth1Keys, now: float) -> str:
        if given.get("oauth_consumer_key") != keys.consumer_key:
            return "another consumer key"
        if given.get("oauth_signature_method") != "HMAC-SHA1":
            return "another signature method"
        stamp, nonce = given.get("oauth_timestamp", ""), given.get("oauth_nonce", "")
        if not stamp.isdigit() or abs(int(stamp) - now) > _SKEW:
            return "the timestamp is out of bounds"
        if not nonce or (stamp, nonce) in self._nonces:
            return "the nonce was used before"
        self._nonces.add((stamp, nonce))
        return ""

    def __repr__(self) -> str:
        return f"<Signatures {self.checked} good, {len(self.refused)} refused>"


def _oauthlib(module: str) -> Any:
    try:
        return import_module(f"oauthlib.oauth1.rfc5849.{module}")
    except ModuleNotFoundError:
        pass
    raise MissingExtra("checking OAuth 1.0a signatures", "oauth")
