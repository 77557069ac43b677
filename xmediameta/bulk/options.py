"""What a caller asks of a run."""

from __future__ import annotations

from msgspec import Struct

from xmediameta.coalesce import Coalesce
from xmediameta.errors import ConfigurationError
from xmediameta.settings import check_coalesce, check_whole


class Options(Struct, frozen=True, kw_only=True):
    """The options of one run; see `Client.bulk`.

    Raises:
        ConfigurationError: one that makes no sense.
    """

    concurrency: int
    strict: bool
    max_wait: float | None
    coalesce: Coalesce
    max_requests: int | None
    max_duration: float | None
    lookahead: int

    def __post_init__(self) -> None:
        check_whole("concurrency", self.concurrency, 1)
        check_whole("lookahead", self.lookahead, 1)
        if self.max_requests is not None:
            check_whole("max_requests", self.max_requests, 0)
        for name, seconds in (("max_wait", self.max_wait), ("max_duration", self.max_duration)):
            if seconds is not None and not seconds >= 0:  # NaN included
                raise ConfigurationError(f"{name} must be a number of seconds from 0, or None, not {seconds!r}")
        check_coalesce(self.coalesce)
