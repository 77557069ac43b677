"""The proxy that the environment names, where a caller asked for it."""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

from yarl import URL

from .address import is_loopback
from .errors import ConfigurationError


def environment_proxy(url: URL) -> URL | None:
    """The proxy for a URL, with its user and password where it has them.

    aiohttp's own look-up would take a password for X from .netrc as well, and look for it at each request.

    Raises:
        ConfigurationError: it is no http(s) URL; nothing of it is echoed.
    """
    found = None if is_loopback(str(url)) or proxy_bypass(f"{url.host}:{url.port}") else getproxies().get(url.scheme)
    if not found:
        return None
    try:
        proxy = URL(found)
    except ValueError:
        proxy = URL()
    if proxy.scheme not in {"http", "https"} or proxy.host is None:
        raise ConfigurationError("the proxy of the environment cannot be used: it must be an http:// or https:// URL")
    return proxy
