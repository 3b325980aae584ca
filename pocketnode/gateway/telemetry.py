"""Traces and LLM metrics for an OpenTelemetry collector, with the names of its GenAI and RPC conventions.

One span for a request, one below it for each attempt, made when the request has ended from what its trail holds: while
it runs nothing is added. The libraries are loaded only where `telemetry.otlp` names a collector.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping
from typing import Any, Final

from pocketnode.errors import ConfigError
from pocketnode.gateway.attempt import Attempt
from pocketnode.gateway.config import Telemetry
from pocketnode.gateway.trail import Trail
from pocketnode.protocol.quality import Verdict

MISSING: Final = "telemetry: OpenTelemetry is not installed: pip install 'pocketnode[otel]'"
PROVIDER: Final = "pocketnode"
METRICS_EVERY_S: Final = 15.0
OPERATIONS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}
# The conventions' own buckets: seconds for durations, tokens for usage.
SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_S: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
EACH_S: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS: Final = tuple(4**power for power in range(14))
_GOOD: Final = (Verdict.GOOD, Verdict.CUT)


class Exporter:
    """Sends spans and metrics, in threads of its own; what the collector does not take is dropped.

    Raises
    ------
    ConfigError
        the extra `otel` is not installed.
    """

    def __init__(self, config: Telemetry, name: str = "gateway") -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ConfigError(MISSING) from error
        assert config.otlp is not None
        base, headers = config.otlp.rstrip("/"), dict(config.headers)
        resource = Resource.create({"service.name": "pocketnode-gateway", "service.instance.id": name})
        self._trace = trace
        self._traces = TracerProvider(sampler=ParentBasedTraceIdRatio(config.sample), resource=resource)
        self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces", headers=headers)))
        exporter = OTLPMetricExporter(f"{base}/v1/metrics", headers=headers)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=METRICS_EVERY_S * 1000)
        self._metrics = MeterProvider([reader], resource=resource)
        self._tracer = self._traces.get_tracer("pocketnode.gateway")
        self._parents = TraceContextTextMapPropagator()
        meter = self._metrics.get_meter("pocketnode.gateway")

        def histogram(name: str, unit: str, bounds: tuple[float, ...]) -> Any:
            return meter.create_histogram(name, unit, explicit_bucket_boundaries_advisory=bounds)

        self._duration = histogram("gen_ai.server.request.duration", "s", SECONDS)
        self._first = histogram("gen_ai.server.time_to_first_token", "s", FIRST_S)
        self._each = histogram("gen_ai.server.time_per_output_token", "s", EACH_S)
        self._usage = histogram("gen_ai.client.token.usage", "{token}", TOKENS)

    def request(self, trail: Trail, request_id: str) -> None:
        """Tell of one request that has ended."""
        # Spans are dated by the wall clock, attempts by one that never jumps.
        zero_ns = time.time_ns() - int(time.perf_counter() * 1e9)
        context = self._parents.extract({"traceparent": trail.parent}) if trail.parent else None
        ended_ns = time.time_ns()
        span = self._tracer.start_span(
            _name(trail),
            context=context,
            kind=self._trace.SpanKind.SERVER,
            attributes={**_attributes(trail), "http.request.header.x-request-id": [request_id]},
            start_time=zero_ns + int(trail.started_s * 1e9),
        )
        if span.is_recording():
            below = self._trace.set_span_in_context(span)
            for number, attempt in enumerate(trail.attempts, 1):
                self._attempt(attempt, number, trail, below, zero_ns)
        if trail.status >= 500:
            span.set_attribute("error.type", str(trail.status))
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(ended_ns)
        if trail.route in OPERATIONS:
            self._measured(trail)

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._traces.shutdown()
        self._metrics.shutdown(timeout_millis=3_000)

    def _attempt(self, attempt: Attempt, number: int, trail: Trail, context: Any, zero_ns: int) -> None:
        begun_ns = zero_ns + int(attempt.started_s * 1e9)
        facts: dict[str, Any] = {
            "pocketnode.attempt": number,
            "pocketnode.supplier": attempt.seat.supplier_hex,
            "pocketnode.session": attempt.active.session_hex,
            "pocketnode.units": attempt.units,
        }
        address, _, port = attempt.seat.supplier.endpoint.rpartition(":")
        if port.isdigit():
            facts |= {"server.address": address.strip("[]"), "server.port": int(port)}
        if attempt.verdict is not None:
            facts["pocketnode.verdict"] = attempt.verdict.name.lower()
        name = f"attempt {trail.what}"
        span = self._tracer.start_span(
            name, context, self._trace.SpanKind.CLIENT, attributes=facts, start_time=begun_ns
        )
        if attempt.first_s:
            span.add_event("first byte", timestamp=begun_ns + int(attempt.first_s * 1e9))
        if attempt.verdict is not None and attempt.verdict not in _GOOD:
            span.set_attribute("error.type", attempt.verdict.name.lower())
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(begun_ns + int((attempt.done_s or attempt.waited_s) * 1e9))

    def _measured(self, trail: Trail) -> None:
        at = {
            "gen_ai.operation.name": OPERATIONS[trail.route],
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": trail.what,
        }
        taken_s = time.perf_counter() - trail.started_s
        self._duration.record(taken_s, {**at, "error.type": str(trail.status)} if trail.status >= 400 else at)
        good = next((a for a in reversed(trail.attempts) if a.verdict in _GOOD), None)
        if good is None or trail.status >= 400:
            return
        first_s = good.started_s + good.first_s - trail.started_s
        self._first.record(first_s, at)
        if trail.output_tokens > 1:
            self._each.record(max(0.0, good.done_s - good.first_s) / (trail.output_tokens - 1), at)
        self._usage.record(trail.prompt_tokens, {**at, "gen_ai.token.type": "input"})
        self._usage.record(trail.output_tokens, {**at, "gen_ai.token.type": "output"})


def check(config: Telemetry) -> None:
    """Raise ConfigError if a collector is named and the libraries that speak to it are missing."""
    if config.otlp is not None and importlib.util.find_spec("opentelemetry") is None:
        raise ConfigError(MISSING)


def exporter_of(config: Telemetry, name: str = "gateway") -> Exporter | None:
    """Return what sends to the configured collector; None where there is none."""
    return Exporter(config, name) if config.otlp is not None else None


def _name(trail: Trail) -> str:
    operation = OPERATIONS.get(trail.route)
    return f"{operation} {trail.what}" if operation else f"{trail.service}/{trail.what}"


def _attributes(trail: Trail) -> Mapping[str, Any]:
    facts: dict[str, Any] = {
        "http.request.method": "GET" if trail.route.endswith("websocket") else "POST",
        "http.route": trail.route,
        "http.response.status_code": trail.status,
        "pocketnode.service": trail.service,
        "pocketnode.key": trail.key,
        "pocketnode.units": trail.units,
    }
    if trail.cache:
        facts["pocketnode.cache"] = trail.cache
    if (operation := OPERATIONS.get(trail.route)) is None:
        return {**facts, "rpc.system.name": "jsonrpc", "rpc.method": trail.what}
    return {
        **facts,
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": trail.what,
        "gen_ai.response.model": trail.what,
        "gen_ai.usage.input_tokens": trail.prompt_tokens,
        "gen_ai.usage.output_tokens": trail.output_tokens,
    }
