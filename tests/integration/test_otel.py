"""Spans and metrics as an OpenTelemetry backend receives them."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from xmediameta import Client, CreditsDepleted, MissingExtra, Sandbox
from xmediameta.otel import instrument

from .clients import ID, TOKEN, alt, client_of, outcomes_of, updates


class Backend:
    """Where spans and metrics arrive."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    def instrument(self, client: Client) -> None:
        instrument(client, tracer_provider=self.tracers, meter_provider=self.meters)

    def metrics(self) -> dict[str, dict[tuple[tuple[str, Any], ...], Any]]:
        """Each metric's points, by name and attributes."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: {tuple(sorted((point.attributes or {}).items())): point for point in metric.data.data_points}
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


async def test_a_span_for_each_request() -> None:
    backend = Backend()
    async with Sandbox() as sandbox, client_of(sandbox) as client:
        url = sandbox.url
        backend.instrument(client)
        sandbox.script(ID, ["503", "reset", "ok"])
        with backend.tracers.get_tracer("app").start_as_current_span("handler") as handler:
            applied = await client.create(ID, alt())
    spans = [span for span in backend.exporter.get_finished_spans() if span.name != "handler"]
    assert [span.name for span in spans] == ["POST /2/media/metadata"] * 3
    assert {span.kind for span in spans} == {SpanKind.CLIENT}
    assert {span.parent.span_id for span in spans if span.parent} == {handler.get_span_context().span_id}
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    told = [dict(span.attributes or {}) for span in spans]
    assert [one.get("http.response.status_code") for one in told] == [503, None, 200]
    assert [one.get("error.type") for one in told] == ["503", "ConnectionLost", None]
    assert [one.get("http.request.resend_count") for one in told] == [None, 1, 2]
    assert told[2] == {
        "http.request.method": "POST",
        "http.request.resend_count": 2,
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": int(url.rpartition(":")[2]),
        "url.full": f"{url}/2/media/metadata",
        "xmediameta.media_id": ID,
        "xmediameta.transaction_id": applied.transaction_id,
    }
    for span in spans:
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.start_time <= span.end_time
    assert TOKEN not in str([span.to_json() for span in spans])


@pytest.mark.looptime
async def test_metrics_of_a_run() -> None:
    backend = Backend()
    async with Sandbox(limit=4, window=60) as sandbox, client_of(sandbox, {"a": TOKEN}) as client:
        backend.instrument(client)
        sandbox.script("2", ["404"])
        sandbox.script("3", ["503", "ok"])
        await outcomes_of(client, updates(5, account="a"))
        sandbox.deplete()
        with pytest.raises(CreditsDepleted):
            await client.create(ID, alt(), account="a")
    found = backend.metrics()
    whose = ("xmediameta.account", "a")
    assert found["xmediameta.requests"][(whose,)].value == 7
    assert found["xmediameta.retries"][(("error.type", "ServerFault"), whose)].value == 1
    updates_ended = {dict(key)["xmediameta.outcome"]: one.value for key, one in found["xmediameta.updates"].items()}
    assert updates_ended == {"applied": 4, "failed": 1, "not_sent": 1}
    assert found["xmediameta.stops"][(("error.type", "CreditsDepleted"), whose)].value == 1
    (wait,) = found["xmediameta.wait.duration"].values()
    assert wait.count == 1
    assert 50 < wait.sum < 62
    assert {dict(key)["xmediameta.window"] for key in found["xmediameta.window.remaining"]} == {
        "user-15min",
        "app-24hour",
    }
    durations = found["http.client.request.duration"]
    assert sum(point.count for point in durations.values()) == 7
    assert {dict(key).get("http.response.status_code") for key in durations} == {200, 402, 404, 503}


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(MissingExtra, match=r"pip install 'xmediameta\[otel\]'"):
        instrument(Client(TOKEN))
