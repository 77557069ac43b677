"""What a run was asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from xmediameta.readers import Kind

PRICE: Final = 0.005
PRICE_DATE: Final = "2026-11"


class Order(Struct, frozen=True, kw_only=True):
    """What is read, where it goes, how far it may go, and where it is kept.

    Attributes:
        files: paths, URIs, or `-`; empty for updates that are no files.
        kind, passed, renames, sheet, strict: how they are read; see `ReadOptions`.
        sandbox: whether it goes to a sandbox that ends with the run.
        price: USD a request.
        journal: a path, `"none"`, or None for the person's own.
        run_name: what the run is called; None: after its files.
        coalesce: what becomes of different pending updates for one media id.
    """

    files: tuple[str, ...] = ()
    kind: Kind | None = None
    passed: tuple[str, ...] = ()
    renames: Mapping[str, str] = {}
    sheet: str | None = None
    strict: bool = True
    skip_invalid: bool = False
    max_invalid: int | None = None
    sandbox: bool = False
    base_url: str
    price: float = PRICE
    max_cost: float | None = None
    max_requests: int | None = None
    max_wait: float | None = None
    max_duration: float | None = None
    coalesce: Literal["last", "merge"] | None = None
    concurrency: int = 32
    pace: Literal["burst", "even"] | float | None = "burst"
    journal: str | None = None
    run_name: str | None = None
    retry_failed: bool = False
    force: bool = False

    @property
    def bound(self) -> int | None:
        """The most requests that may be sent, from `max_requests` and `max_cost`; None is no bound."""
        bounds = [self.max_requests] if self.max_requests is not None else []
        if self.max_cost is not None and self.price:
            bounds.append(int(self.max_cost / self.price + 1e-9))
        return min(bounds, default=None)

    @property
    def place(self) -> str:
        """Where it sends to, as the journal knows it; whatever sandbox it is, it is the sandbox."""
        return "sandbox" if self.sandbox else self.base_url.rstrip("/")
