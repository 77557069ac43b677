"""What a careful person writes in an afternoon on aiohttp, aiolimiter and tenacity: the peer of the benchmarks.

One session, N workers on a shared iterator, an `AsyncLimiter(limit, window)` per token as the documented limit
suggests, and tenacity's random exponential wait for 429, 5xx and broken connections. It does nothing else that the
library does: it checks nothing, keeps no order per media id, and tells outcomes by a count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiolimiter import AsyncLimiter
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

PATH: Final = "/2/media/metadata"


class Busy(Exception):
    """A 429 or a 5xx: worth another try."""


class HandwrittenClient:
    """Posts updates, `(account, media id, metadata as plain objects)`.

    Args:
        tokens: of each account.
        limit, window: the documented limit, requests in so many seconds; None: none is kept.
    """

    def __init__(
        self,
        base_url: str,
        tokens: Mapping[str | None, str],
        *,
        limit: int | None = 500,
        window: float = 900.0,
        concurrency: int = 32,
    ) -> None:
        self._url = base_url + PATH
        self._headers = {account: {"Authorization": f"Bearer {token}"} for account, token in tokens.items()}
        self._limiters = {account: None if limit is None else AsyncLimiter(limit, window) for account in tokens}
        self._concurrency = concurrency
        self._session: aiohttp.ClientSession | None = None
        self.requests = 0
        self.refused = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency), timeout=aiohttp.ClientTimeout(total=30)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def run(self, updates: Iterable[tuple[str | None, str, Mapping[str, Any]]]) -> int:
        """Send them all; returns how many were applied."""
        source = iter(updates)
        return sum(await asyncio.gather(*(self._work(source) for _ in range(self._concurrency))))

    async def _work(self, source: Iterable[tuple[str | None, str, Mapping[str, Any]]]) -> int:
        applied = 0
        for account, media_id, metadata in source:
            applied += await self.post(account, media_id, metadata)
        return applied

    @retry(
        retry=retry_if_exception_type((Busy, aiohttp.ClientConnectionError, TimeoutError)),
        wait=wait_random_exponential(multiplier=1, max=60),
        stop=stop_after_attempt(20),
        reraise=True,
    )
    async def post(self, account: str | None, media_id: str, metadata: Mapping[str, Any]) -> bool:
        """Send one update; returns whether it was applied."""
        limiter = self._limiters[account]
        if limiter is not None:
            await limiter.acquire()
        assert self._session is not None
        self.requests += 1
        async with self._session.post(
            self._url, json={"id": media_id, "metadata": metadata}, headers=self._headers[account]
        ) as response:
            if response.status == 429:
                self.refused += 1
                raise Busy
            if response.status >= 500:
                raise Busy
            await response.json()
            return response.status == 200
