"""The base URL that a caller gave: whether a token may be sent there."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from yarl import URL

from .errors import ConfigurationError
from .text import printable


def checked_base_url(base_url: str, *, allow_insecure: bool) -> str:
    """The base URL without a trailing slash.

    Raises:
        ConfigurationError: not http(s), userinfo, a query or a fragment, or plain http to another machine. What may
            hold a password is not echoed.
    """
    if not isinstance(base_url, str):  # pyright: ignore[reportUnnecessaryIsInstance] - a caller may not check types
        raise ConfigurationError(f"the base URL must be text, not {type(base_url).__name__}")
    text = base_url.strip()
    rule = _broken_rule(text, allow_insecure=allow_insecure)
    if rule:
        raise ConfigurationError(f"the base URL {rule}")
    return text.rstrip("/")


def is_loopback(base_url: str) -> bool:
    """Whether a base URL points to this machine."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"  # and not 127.example.com


def _broken_rule(text: str, *, allow_insecure: bool) -> str:
    # urlsplit drops line breaks and reads a backslash as any character; what is sent to must be what was checked.
    if not text.isprintable() or " " in text or "\\" in text:
        return "must hold no spaces, control characters or backslashes"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
        same = URL(text).host == host or not (host or "").isascii()
    except ValueError:
        return "cannot be read"
    if "@" in parts.netloc or ("@" in text and not parts.netloc):
        return "must not hold a user name or password"
    if parts.scheme not in {"http", "https"} or not host:
        return f"must begin with https:// and a host, not {printable(text, 60)!r}"
    if "?" in text or "#" in text:
        return "must have no query and no fragment"
    if not same:
        return "cannot be read"
    if parts.scheme == "http" and not is_loopback(text) and not allow_insecure:
        return (
            f"must be https: a token in the clear to {printable(host, 60)} could be read on the way "
            "(allow_insecure=True or XMEDIAMETA_ALLOW_INSECURE=1 to insist)"
        )
    return ""
