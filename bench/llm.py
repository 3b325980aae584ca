"""The real thing: llama.cpp with a small model, asked directly and through our gateway and supplier."""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING, Any, Final

from bench.ours import LLM
from bench.servers import HOST, Bench, Place, answers
from pocketnode.bench.http import Exchange, Url
from pocketnode.bench.load import Load, closed_loop
from pocketnode.bench.requests import chat_body, numbered
from pocketnode.bench.summary import of_run, over_rounds
from pocketnode.localnet import parts, ports

if TYPE_CHECKING:
    from bench.run import Runner

MODEL: Final = "smollm2-135m"
TOKENS: Final = 64
LEAST_S: Final = 3.0


async def start(bench: Bench) -> str:
    """Start llama.cpp and return its URL."""
    (port,) = ports.free(1)
    url = f"http://{HOST}:{port}"
    argv = [sys.executable, "-m", "pocketnode.localnet.llama", "--model", str(parts.weights())]
    await bench.start("llama", [*argv, "--alias", MODEL, "--port", str(port)], answers(f"{url}/health"))
    return url


async def real_llm(runner: Runner) -> dict[str, Any]:
    """Return time to first token and tokens a second, one stream at a time, taking turns."""
    url = await runner.llama()
    ours = await runner.ours(llm_url=url)
    places = {"direct": Place(f"{url}/v1/chat/completions", MODEL), "pocketnode": ours.server.places[LLM]}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in places}
    for place in places.values():
        await _stream(place, runner.counts.seconds)  # the first ones read the weights
    for _ in range(runner.counts.rounds):
        for name, place in places.items():
            rounds[name].append(await _stream(place, runner.counts.seconds))
    return {name: over_rounds(found) for name, found in rounds.items()}


async def _stream(place: Place, seconds: float) -> dict[str, Any]:
    target = Url.parse(place.url)
    body = chat_body(place.model, TOKENS, stream=True)
    load = Load(target, numbered(target, body, place.headers), sound=_answered, events=True, warmup_s=0.2)
    run = await closed_loop(load, 1, max(seconds, LEAST_S))
    rates = [rate_of(exchange) for exchange in run.sound]
    return {**of_run(run), "tokens_per_second": round(statistics.median(rates), 1) if rates else 0.0}


def _answered(exchange: Exchange) -> bool:
    return exchange.status == 200 and len(exchange.event_s) > 2


def rate_of(exchange: Exchange) -> float:
    """Return events a second after the first."""
    times = exchange.event_s
    return (len(times) - 1) / max(1e-9, times[-1] - times[0])
