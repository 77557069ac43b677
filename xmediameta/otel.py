"""Spans and metrics through OpenTelemetry (extra [otel]): the HTTP client's semantic conventions, and a few of our own.

A client that is not instrumented knows nothing of this module, and pays nothing for it.

Of the conventions (HTTP client, stable): a span and `http.client.request.duration` for each request. Our own, under
`xmediameta.`: `requests` that were spent, `retries`, `updates` by outcome, `stops`, `wait.duration`, and
`window.remaining` for each window of each account.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from . import __version__
from .client import Client
from .errors import ProblemError
from .extras import needed
from .gate import Wait
from .hooks import Attempt, Retrying, Stopped
from .outcomes import Applied, Failed, NotSent, Outcome, Unchanged
from .text import printable
from .wire import PATH

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

Attributes = dict[str, str | int]

# In seconds, as the conventions advise.
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_WAITS: Final = (1, 5, 15, 60, 180, 300, 600, 900, 3_600, 21_600, 86_400)
_OUTCOMES: Final = {Applied: "applied", Unchanged: "unchanged", Failed: "failed", NotSent: "not_sent"}


def instrument(
    client: Client, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> None:
    """Tell OpenTelemetry what a client does, from now on.

    Args:
        client: each of a process; once.
        tracer_provider, meter_provider: by default the global ones.

    Raises:
        MissingExtra: opentelemetry-api is not installed.
    """
    needed("opentelemetry.trace", "telemetry", "otel")
    _Instruments(client, tracer_provider, meter_provider)


class _Instruments:
    """What one client is told through; its listeners keep it alive."""

    def __init__(
        self, client: Client, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
    ) -> None:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - optional

        url = client.base_url + PATH
        parts = urlsplit(url)
        self._server: Attributes = {
            "http.request.method": "POST",
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        }
        self._url = url
        self._tracer = trace.get_tracer("xmediameta", __version__, tracer_provider)
        self._kind, self._failed = trace.SpanKind.CLIENT, trace.Status(trace.StatusCode.ERROR)
        meter = metrics.get_meter("xmediameta", __version__, meter_provider)
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._waiting = meter.create_histogram(
            "xmediameta.wait.duration",
            "s",
            "How long an account waits for a window, as it is known when the wait begins.",
            explicit_bucket_boundaries_advisory=_WAITS,
        )
        self._requests = meter.create_counter("xmediameta.requests", "{request}", "Requests spent.")
        self._retries = meter.create_counter("xmediameta.retries", "{request}", "Requests to be repeated.")
        self._updates = meter.create_counter("xmediameta.updates", "{update}", "Updates, by how they ended.")
        self._stops = meter.create_counter("xmediameta.stops", "{stop}", "Accounts or apps taken out.")
        self._left = meter.create_gauge(
            "xmediameta.window.remaining", "{request}", "What the last answer told to be left of a window."
        )
        client.listen(
            on_attempt=self._on_attempt,
            on_retry=self._on_retry,
            on_wait=self._on_wait,
            on_stop=self._on_stop,
            on_outcome=self._on_outcome,
        )

    def _on_attempt(self, attempt: Attempt) -> None:
        told = dict(self._server)
        if attempt.status is not None:
            told["http.response.status_code"] = attempt.status
        if attempt.error is not None:
            # By the conventions the status where that is the error, else what class of error it is.
            known = attempt.status is not None and attempt.status >= 400 and isinstance(attempt.error, ProblemError)
            told["error.type"] = str(attempt.status) if known else type(attempt.error).__name__
        self._duration.record(attempt.seconds, told)
        whose = _account(attempt.account)
        self._requests.add(1, whose)
        for name, window in attempt.windows.items():
            if window.remaining is not None:
                self._left.set(window.remaining, {"xmediameta.window": name, **whose})
        ended = time.time_ns()
        span = self._tracer.start_span(
            f"POST {PATH}",
            kind=self._kind,
            start_time=ended - round(attempt.seconds * 1e9),
            attributes={
                **told,
                **whose,
                **({"http.request.resend_count": attempt.attempt - 1} if attempt.attempt > 1 else {}),
                **({} if attempt.transaction_id is None else {"xmediameta.transaction_id": attempt.transaction_id}),
                "url.full": self._url,
                "xmediameta.media_id": attempt.id,
            },
        )
        if attempt.error is not None:
            span.set_status(self._failed)
        span.end(ended)

    def _on_retry(self, retry: Retrying) -> None:
        self._retries.add(1, {"error.type": type(retry.error).__name__, **_account(retry.account)})

    def _on_wait(self, wait: Wait) -> None:
        self._waiting.record(wait.seconds, {"xmediameta.window": wait.window, **_account(wait.account)})

    def _on_stop(self, stop: Stopped) -> None:
        self._stops.add(1, {"error.type": type(stop.error).__name__, **_account(stop.account)})

    def _on_outcome(self, outcome: Outcome) -> None:
        ended: Attributes = {"xmediameta.outcome": _OUTCOMES[type(outcome)]}
        if isinstance(outcome, Failed):
            ended["error.type"] = type(outcome.error).__name__
        self._updates.add(1, ended | _account(outcome.update.account))


def _account(name: str | None) -> Attributes:
    return {} if name is None else {"xmediameta.account": printable(name, 200)}
