"""What users and operators are told of each request: headers, a line in the log, a trace that a collector takes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, rpc_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes
from structlog.testing import capture_logs

from pocketnode.gateway import telemetry
from pocketnode.gateway.trail import ATTEMPTS, COST, OVERHEAD
from tests.gateway.conftest import Running, Start
from tests.gateway.market import broken, chat

CHAT: dict[str, Any] = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "Hi"}]}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@dataclass
class Collector:
    """A collector of OpenTelemetry: decodes what comes as its protocol says."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    tokens: set[str | None] = field(default_factory=set)

    async def traces(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers.get("x-token"))
        for resource in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return web.Response()

    async def take_metrics(self, request: web.Request) -> web.Response:
        for resource in ExportMetricsServiceRequest.FromString(await request.read()).resource_metrics:
            self.metrics.update({m.name: m for scope in resource.scope_metrics for m in scope.metrics})
        return web.Response()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector, app = Collector(), web.Application()
    app.router.add_post("/v1/traces", collector.traces)
    app.router.add_post("/v1/metrics", collector.take_metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


def facts_of(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


async def stopped(gateway: Running) -> None:
    """Stop the daemon, which sends what waits."""
    gateway.stop.set()
    await gateway.task
    await asyncio.to_thread(gateway.daemon.reporting.close)


async def test_headers_tell_who_was_asked_what_it_cost_and_our_own_time(start: Start) -> None:
    gateway = await start(suppliers=2)
    gateway.suppliers[0].answers["eth"] = broken
    seen: set[str] = set()
    for number in range(20):
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": [hex(number), "latest"]}
        _, _, headers = await gateway.post("/rpc/eth", body)
        verdicts = [one.split(";") for one in headers[ATTEMPTS].split(", ")]
        assert verdicts[-1][:2] == ["0x" + gateway.suppliers[1].key.address.hex(), "good"]
        assert headers[COST] == "units=10, amount=10"
        assert 0 <= float(headers[OVERHEAD]) < 1000
        assert sum(float(ms) for _, _, ms in verdicts) > 0
        seen.update(verdict for _, verdict, _ in verdicts)
    assert seen == {"good", "fault"}


async def test_what_fails_and_what_is_kept_say_so_too(start: Start) -> None:
    gateway = await start(suppliers=2)
    static = {"jsonrpc": "2.0", "id": 1, "method": "net_version", "params": []}
    await gateway.post("/rpc/eth", static)
    _, _, headers = await gateway.post("/rpc/eth", static)
    assert ATTEMPTS not in headers
    assert OVERHEAD in headers
    for supplier in gateway.suppliers:
        supplier.answers = {"eth": broken, "smollm2": broken}
    status, _, headers = await gateway.post("/v1/chat/completions", CHAT)
    assert (status, headers[ATTEMPTS].count(";fault;"), headers[COST]) == (503, 2, "units=0, amount=0")
    batch = [{**static, "id": n, "method": "eth_getCode", "params": [hex(n)]} for n in range(20)]
    _, answers, headers = await gateway.post("/rpc/eth", batch)
    assert all("error" in answer for answer in answers)
    assert headers[ATTEMPTS].count(";") == 16


async def test_each_request_is_a_line_in_the_access_log(start: Start) -> None:
    gateway = await start(suppliers=1, log={"access": True})
    with capture_logs() as lines:
        await gateway.post("/v1/chat/completions", CHAT, **{"x-request-id": "mine"})
        await gateway.rpc("eth_getBalance", "0x1", "latest")
        await gateway.rpc("eth_" + "x" * 50)
        async with gateway.http.post(gateway.url + "/v1/embeddings", data=b"{", headers=gateway.headers) as answer:
            assert answer.status == 400
    told = [line for line in lines if line["event"] == "request"]
    assert [(line["status"], line["what"]) for line in told] == [
        (200, "smollm2-135m"),
        (200, "eth_getBalance"),
        (404, "unknown"),
        (400, ""),
    ]
    assert told[0]["request_id"] == "mine"
    assert (told[0]["prompt_tokens"], told[0]["output_tokens"], told[0]["units"]) == (5, 2, 13)
    assert gateway.secret not in str(told)


async def test_a_trace_has_a_span_for_each_attempt(start: Start, collector: Collector) -> None:
    telemetry = {"otlp": collector.url, "headers": {"x-token": "abc"}}
    gateway = await start(suppliers=2, telemetry=telemetry)
    gateway.suppliers[0].answers["smollm2"] = broken
    client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.secret, max_retries=0)
    async with client:
        for _ in range(8):
            stream = await client.chat.completions.create(**CHAT, stream=True, extra_headers={"traceparent": PARENT})
            assert [chunk async for chunk in stream]
    await gateway.rpc("eth_getBalance", "0x1", "latest")
    await stopped(gateway)
    chats = [span for span in collector.spans if span.name == "chat smollm2-135m"]
    assert len(chats) == 8
    assert {span.trace_id.hex() for span in chats} == {TRACE}
    assert {span.parent_span_id.hex() for span in chats} == {"00f067aa0ba902b7"}
    facts = facts_of(chats[0])
    assert facts["gen_ai.operation.name"] == "chat"
    assert facts["gen_ai.request.model"] == "smollm2-135m"
    assert (facts["gen_ai.usage.input_tokens"], facts["gen_ai.usage.output_tokens"]) == (5, 2)
    assert facts["http.request.method"] == "POST"
    attempts = [span for span in collector.spans if span.name == "attempt smollm2-135m"]
    assert {span.parent_span_id for span in attempts} <= {span.span_id for span in chats}
    assert {facts_of(span)["pocketnode.verdict"] for span in attempts} == {"good", "fault"}
    assert {facts_of(span)["server.address"] for span in attempts} == {"127.0.0.1"}
    assert {facts_of(span)["server.port"] for span in attempts} == {s.port for s in gateway.suppliers}
    for span in attempts:
        above = next(s for s in chats if s.span_id == span.parent_span_id)
        assert above.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
    (rpc,) = [span for span in collector.spans if span.name == "eth/eth_getBalance"]
    assert facts_of(rpc)["rpc.method"] == "eth_getBalance"
    assert collector.tokens == {"abc"}
    first = collector.metrics["gen_ai.server.time_to_first_token"].histogram.data_points[0]
    assert first.count == 8
    kinds = {
        facts_of(p)["gen_ai.token.type"] for p in collector.metrics["gen_ai.client.token.usage"].histogram.data_points
    }
    assert kinds == {"input", "output"}


def test_every_name_is_one_of_the_conventions() -> None:
    text = Path(telemetry.__file__).read_text()
    used = set(re.findall(r'"((?:gen_ai|rpc|http|server|error)\.[a-z_.]+[a-z])"', text))
    modules = (gen_ai_attributes, gen_ai_metrics, rpc_attributes, error_attributes, http_attributes, server_attributes)
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    assert len(used) > 15
    assert used <= known


async def test_who_leaves_is_told_of_as_such(start: Start) -> None:
    gateway = await start(suppliers=1, log={"access": True})
    gateway.suppliers[0].answers["smollm2"] = chat(["a"] * 500, pause_s=0.02)
    with capture_logs() as lines:
        async with gateway.http.post(
            f"{gateway.url}/v1/chat/completions", json={**CHAT, "stream": True}, headers=gateway.headers
        ) as answer:
            await answer.content.readany()
            answer.close()
        for _ in range(100):
            await asyncio.sleep(0.02)
            if told := [line for line in lines if line["event"] == "request"]:
                break
    assert [(line["status"], ";cut;" in line["attempts"]) for line in told] == [(499, True)]
    assert told[0]["units"] > 0
