"""Faults of quota: 429s of every kind, and successes whose rate-limit headers are odd (FACTS, "Limits and price").

An injected 429 takes from no window and leaves the windows as they are; for a window that is really used up, see
`limit=` and `Sandbox.spend`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from aiohttp import web

from .documents import JSON, PROBLEM_JSON, PROBLEMS, encode, problem
from .exchange import Exchange
from .faults import Fault

_STEM: Final = "x-rate-limit-"
_LIMIT, _REMAINING, _RESET = (f"{_STEM}{name}" for name in ("limit", "remaining", "reset"))
_ENORMOUS: Final = "1199998"
_YEARS: Final = 10 * 365 * 86_400

Oddity = Callable[[Exchange], None]


def _spent(exchange: Exchange, seconds: float) -> None:
    """Nothing remains; the reset is the window's own, or so many seconds from now."""
    exchange.rates.setdefault(_LIMIT, "500")
    exchange.rates[_REMAINING] = "0"
    if seconds or _RESET not in exchange.rates:
        exchange.rates[_RESET] = str(math.ceil(exchange.now() + (seconds or 900)))


def _as_is(exchange: Exchange) -> None:
    del exchange


def _bare(exchange: Exchange) -> None:
    exchange.rates = {}


def _lying(exchange: Exchange) -> None:
    exchange.rates[_REMAINING] = "17"


def _past(exchange: Exchange) -> None:
    exchange.rates[_RESET] = str(int(exchange.now()) - 3600)


def _far(exchange: Exchange) -> None:
    exchange.rates[_RESET] = str(int(exchange.now()) + _YEARS)


def _milliseconds(exchange: Exchange) -> None:
    exchange.rates[_RESET] = exchange.rates.get(_RESET, str(int(exchange.now()) + 900)) + "000"


def _no_reset(exchange: Exchange) -> None:
    exchange.rates.pop(_RESET, None)


def _malformed(exchange: Exchange) -> None:
    exchange.rates |= {_LIMIT: "five hundred", _REMAINING: "-3", _RESET: "1.7e9"}


def _enormous(exchange: Exchange) -> None:
    exchange.rates |= {_LIMIT: "1200000", _REMAINING: _ENORMOUS, _RESET: str(int(exchange.now()) + 900)}


def _limited(
    name: str,
    about: str,
    oddity: Oddity = _as_is,
    *,
    body: bytes | None = None,
    kind: str = PROBLEM_JSON,
    number: str = "",
    retry_after: bool = False,
) -> Fault:
    document = problem(429) if body is None else body

    async def send(exchange: Exchange, seconds: float) -> web.StreamResponse:
        _spent(exchange, seconds)
        oddity(exchange)
        extra = {"Retry-After": str(math.ceil(seconds))} if retry_after else None
        return exchange.reply(429, document, kind, extra=extra)

    default = 1.0 if retry_after else 0.0
    return Fault(name=name, about=about, send=send, counted=False, number=number, default=default)


def _capped(name: str, period: str) -> Fault:
    document = problem(
        429, "UsageCapExceeded", f"Usage cap exceeded: {period} product cap", type=f"{PROBLEMS}usage-capped",
        period=period, scope="Product", product_name="standard-basic", account_id=1460323737035677698,
    )  # fmt: skip
    return _limited(name, f"429 usage-capped ({period}) while most of the rate limit remains", _enormous, body=document)


def _applied(name: str, about: str, oddity: Oddity) -> Fault:
    async def send(exchange: Exchange, _: float) -> web.StreamResponse:
        oddity(exchange)
        return exchange.success()

    return Fault(name=name, about=f"200, applied, {about}", send=send, applied=True)


_LEGACY: Final = encode({"errors": [{"code": 88, "message": "Rate limit exceeded"}]})
_TO_RESET: Final = "seconds to the reset"

RATES: Final = (
    _limited("429", "429 Too Many Requests, nothing remaining until the window's reset", number=_TO_RESET),
    _limited("429-bare", "429 without rate-limit headers", _bare),
    _limited("429-empty", "429 without rate-limit headers and without a body", _bare, body=b"", kind="text/plain"),
    _limited("429-legacy-88", "429 in the legacy shape: code 88", body=_LEGACY, kind=JSON, number=_TO_RESET),
    _limited("429-lying", "429 although 17 requests remain", _lying, number=_TO_RESET),
    _limited("429-past", "429 whose reset was an hour ago", _past),
    _limited("429-far", "429 whose reset is in ten years", _far),
    _limited("429-milliseconds", "429 whose reset is in milliseconds", _milliseconds, number=_TO_RESET),
    _limited("429-no-reset", "429 without a reset", _no_reset),
    _limited("429-malformed", "429 whose headers are not numbers", _malformed),
    _limited("429-retry-after", "429 with Retry-After and without rate-limit headers", _bare, number="seconds",
             retry_after=True),
    _capped("usage-capped", "Monthly"),
    _capped("usage-capped-daily", "Daily"),
    _applied("rates-absent", "without rate-limit headers", _bare),
    _applied("rates-malformed", "whose rate-limit headers are not numbers", _malformed),
    _applied("rates-enormous", "with 1,199,998 requests remaining in 15 minutes", _enormous),
    _applied("rates-past", "whose reset was an hour ago", _past),
    _applied("rates-far", "whose reset is in ten years", _far),
    _applied("rates-milliseconds", "whose reset is in milliseconds", _milliseconds),
    _applied("rates-no-reset", "without a reset", _no_reset),
)  # fmt: skip
