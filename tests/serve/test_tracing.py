"""Spans around calls and scoring, without anything of a person in them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from tests.serve.conftest import Site

from ebbtide.core.errors import MissingExtraError
from ebbtide.serve.app import make_app
from ebbtide.serve.tracing import NO_TRACE, OpenTelemetryTracer, Tracer, make_tracer

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_without_an_endpoint_nothing_is_traced() -> None:
    with make_tracer("").span("call") as span:
        span.note({"status": 200})
        assert span.trace_id == NO_TRACE
    assert type(make_tracer("")) is Tracer


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ebbtide.serve.tracing.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="otel"):
        make_tracer("http://127.0.0.1:4318")


def test_a_call_goes_on_in_its_callers_trace_and_scoring_is_a_span_within(site: Site) -> None:
    memory = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="OpenTelemetry's SDK is not installed"
    )
    exporter = memory.InMemorySpanExporter()
    tracer = OpenTelemetryTracer(exporter)
    user = site.shop.score().frame["user_id"][0]
    headers = {"Authorization": f"Bearer {site.key('risk:read')}", "traceparent": PARENT}
    with TestClient(make_app(replace(site.service, tracer=tracer))) as client:
        assert client.get(f"/v1/users/{user}/risk", headers=headers).status_code == 200
    tracer._provider.force_flush()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"GET", "score"}
    assert spans["score"].parent.span_id == spans["GET"].context.span_id
    assert f"{spans['GET'].context.trace_id:032x}" == PARENT.split("-")[1]
    assert spans["GET"].attributes["http.route"] == "/v1/users/{user_id}/risk"
    assert user not in "".join(span.to_json() for span in spans.values())
    assert [line["trace_id"] for line in site.lines()] == [PARENT.split("-")[1]]
    tracer.close()
