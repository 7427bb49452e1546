"""Tracing: a span around each call and each scoring, for OpenTelemetry where it is installed and wanted (extra `otel`).

Spans carry routes, statuses and counts, never anything of a person. A call that brings a W3C `traceparent` goes on in its trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

from ebbtide.core.errors import MissingExtraError
from ebbtide.core.language import Text

NO_TRACE = ""
Facts = Mapping[str, str | int | float]


class Span(Protocol):
    """A span that is open. `trace_id`: 32 hex digits, or `NO_TRACE`."""

    trace_id: str

    def note(self, facts: Facts) -> None:
        """Add facts to it."""


class Tracer:
    """Traces nothing; what a service has unless it is told where spans go."""

    def span(
        self, name: str, headers: Mapping[str, str] | None = None, **facts: str | int | float
    ) -> AbstractContextManager[Span]:
        """A span for as long as the block lasts; `headers`: those of a call, which may name its trace."""
        return _NOTHING

    def close(self) -> None:
        """Send what waits."""


class _NoSpan:
    trace_id = NO_TRACE

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *fault: object) -> None: ...

    def note(self, facts: Facts) -> None: ...


_NOTHING = _NoSpan()


class OpenTelemetryTracer(Tracer):
    """Spans by OpenTelemetry's SDK; `exporter` is any of its span exporters."""

    def __init__(self, exporter: Any) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - the extra `otel`
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        self._provider = TracerProvider(resource=Resource.create({"service.name": "ebbtide"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("ebbtide")

    @contextmanager
    def span(self, name: str, headers: Mapping[str, str] | None = None, **facts: str | int | float) -> Iterator[Span]:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        context = TraceContextTextMapPropagator().extract(dict(headers)) if headers else None
        with self._tracer.start_as_current_span(name, context=context, attributes=facts) as opened:
            yield _OpenSpan(opened)

    def close(self) -> None:
        self._provider.shutdown()


class _OpenSpan:
    def __init__(self, span: Any) -> None:
        self._span = span
        self.trace_id = f"{span.get_span_context().trace_id:032x}"

    def note(self, facts: Facts) -> None:
        self._span.set_attributes(dict(facts))


def make_tracer(endpoint: str) -> Tracer:
    """A tracer that sends spans to an OTLP endpoint over HTTP; "" traces nothing.

    Raises MissingExtraError without the extra `otel`.
    """
    if not endpoint:
        return Tracer()
    try:
        found = all(find_spec(f"opentelemetry.{part}") for part in ("sdk", "exporter.otlp.proto.http"))
    except ModuleNotFoundError:
        found = False
    if not found:
        raise MissingExtraError("otel", Text("sending spans", "发送追踪数据"))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OpenTelemetryTracer(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))
