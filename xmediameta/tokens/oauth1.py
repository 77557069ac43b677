"""OAuth 1.0a user tokens (RFC 5849): every request is signed anew, with a nonce and the time."""

from __future__ import annotations

import hashlib
from importlib import import_module
from typing import Any, Final, NamedTuple, NoReturn

from xmediameta.credentials import Secret, broken_rule
from xmediameta.errors import ConfigurationError, MissingExtra
from xmediameta.wire import PATH

_ENDPOINT: Final = "https://api.x.com" + PATH


class OAuth1Token:
    """An OAuth 1.0a user token of an app with the permission to write. It does not expire.

    The signature (HMAC-SHA1, by oauthlib) covers method and URL; a JSON body is no part of it (RFC 5849, 3.4.1.3.1).

    Args:
        consumer_key, consumer_secret: the API key and secret of the app.
        access_token, access_token_secret: of the user.
        app: a name for the app, shared by its accounts; by default made from the consumer key.

    Raises:
        ConfigurationError: a part that cannot be used; no part is echoed.
        MissingExtra: the extra [oauth] is not installed.
    """

    __slots__ = ("_oauthlib", "access_token", "access_token_secret", "app", "consumer_key", "consumer_secret")

    def __init__(
        self,
        consumer_key: str,
        consumer_secret: str,
        access_token: str,
        access_token_secret: str,
        *,
        app: str | None = None,
    ) -> None:
        # Of the frames that a traceback shows none is to hold a part as it was given.
        consumer_key, consumer_secret = _veiled(consumer_key), _veiled(consumer_secret)
        access_token, access_token_secret = _veiled(access_token), _veiled(access_token_secret)
        self.consumer_key = _checked("consumer key", consumer_key)
        self.consumer_secret = _checked("consumer secret", consumer_secret)
        self.access_token = _checked("access token", access_token)
        self.access_token_secret = _checked("access token secret", access_token_secret)
        self._oauthlib = _Parts()
        self.app = app if app is not None else hashlib.blake2b(self.consumer_key.encode(), digest_size=8).hexdigest()

    def authorization(self) -> Secret:
        """The `Authorization` header of one request to X's endpoint; `sign` is for any other."""
        return self.sign("POST", _ENDPOINT)

    def sign(self, method: str, url: str) -> Secret:
        """The value of the `Authorization` header of one request, which has no form in its body."""
        # Not by oauthlib's `Client`, which logs what it signs, and is made anew for each request in any case.
        common, signature, parameters = self._oauthlib.common, self._oauthlib.signature, self._oauthlib.parameters
        bare, _, query = url.partition("?")
        signed = [
            ("oauth_nonce", common.generate_nonce()),
            ("oauth_timestamp", common.generate_timestamp()),
            ("oauth_version", "1.0"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_consumer_key", self.consumer_key),
            ("oauth_token", self.access_token),
        ]
        normal = signature.normalize_parameters(signature.collect_parameters(uri_query=query) + signed)
        base = signature.signature_base_string(method, signature.base_string_uri(bare), normal)
        made = signature.sign_hmac_sha1_with_client(base, _Secrets(self.consumer_secret, self.access_token_secret))
        headers = parameters.prepare_headers([*signed, ("oauth_signature", made)])
        return Secret(headers["Authorization"])

    def as_dict(self) -> dict[str, Any]:
        """All its parts, for a store of your own; they print as `****`, and are text all the same."""
        names = ("consumer_key", "consumer_secret", "access_token", "access_token_secret", "app")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return f"OAuth1Token('****', '****', '****', '****', app={self.app!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OAuth1Token) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash((self.consumer_key, self.access_token, self.access_token_secret))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is not pickled: store its as_dict() as you would any secret")


class _Secrets(NamedTuple):
    """The secrets, under oauthlib's names."""

    client_secret: Secret
    resource_owner_secret: Secret


class _Parts:
    """The parts of oauthlib that sign.

    Raises:
        MissingExtra: it is not installed.
    """

    __slots__ = ("common", "parameters", "signature")

    def __init__(self) -> None:
        try:
            self.common: Any = import_module("oauthlib.common")
            self.signature: Any = import_module("oauthlib.oauth1.rfc5849.signature")
            self.parameters: Any = import_module("oauthlib.oauth1.rfc5849.parameters")
        except ModuleNotFoundError:
            self.common = None
        if self.common is None:
            raise MissingExtra("an OAuth 1.0a token", "oauth")


def _veiled(text: Any) -> Any:
    return Secret(text.strip()) if isinstance(text, str) else text


def _checked(what: str, text: object) -> Secret:
    if not isinstance(text, Secret):
        kind, text = type(text).__name__, None
        raise ConfigurationError(f"the {what} must be text, not {kind}")
    rule = broken_rule(text)
    if rule:
        raise ConfigurationError(f"the {what} cannot be used: {rule}")
    return text
