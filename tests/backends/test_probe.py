"""llama.cpp as it is; the others by the answers that their documentation shows, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from pocketnode.backends.failure import BackendFailed
from pocketnode.backends.probe import Engine, Load, load, probe
from tests.backends.conftest import CallerTo, RawServer, http_answer
from tests.backends.engines import MODEL


async def test_llama_cpp_is_recognised_with_what_it_serves(caller_to: CallerTo, llama_url: str) -> None:
    engine = await probe(caller_to(llama_url))
    assert engine.name == "llama.cpp"
    assert engine.models == (MODEL,)
    assert engine.slots == 2
    assert engine.context == 2048
    assert engine.version
    assert "gguf" in engine.weights.lower()
    assert await load(caller_to(llama_url), engine) == Load(running=0)


def models(*ids: str, **more: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model", **more} for name in ids]}


ENGINES: dict[str, tuple[dict[str, Any], Engine]] = {
    "vllm": (
        {"/v1/models": models("m", root="org/m", max_model_len=4096), "/version": {"version": "0.9.1"}},
        Engine("vllm", "0.9.1", ("m",), 4096, weights="org/m"),
    ),
    "ollama": (
        {
            "/v1/models": models("qwen:0.5b"),
            "/api/version": {"version": "0.5.1"},
            "/api/tags": {"models": [{"name": "qwen:0.5b", "digest": "abc"}]},
        },
        Engine("ollama", "0.5.1", ("qwen:0.5b",), weights="abc"),
    ),
    "tgi": (
        {
            "/v1/models": models("org/m"),
            "/info": {
                "model_id": "org/m",
                "model_sha": "f00",
                "model_dtype": "float16",
                "max_total_tokens": 2048,
                "max_concurrent_requests": 128,
                "version": "2.0.2",
            },
        },
        Engine("tgi", "2.0.2", ("org/m",), 2048, 128, "f00 float16"),
    ),
    "sglang": (
        {
            "/v1/models": models("m", max_model_len=8192),
            "/get_server_info": {
                "model_path": "m",
                "version": "0.4.6",
                "max_running_requests": 64,
                "dtype": "auto",
            },
        },
        Engine("sglang", "0.4.6", ("m",), 8192, 64, "m auto"),
    ),
    "unknown": ({"/v1/models": models("m")}, Engine("unknown", models=("m",))),
}


Serve = Any


@pytest.fixture
async def serving() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def begin(answers: dict[str, Any]) -> str:
        async def handle(request: web.Request) -> web.Response:
            found = answers.get(request.path)
            if found is None:
                return web.json_response({"detail": "Not Found"}, status=404)
            return web.Response(text=found) if isinstance(found, str) else web.json_response(found)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runners[-1].addresses[0][1]}"

    yield begin
    for runner in runners:
        await runner.cleanup()


@pytest.mark.parametrize("name", ENGINES)
async def test_engines_are_told_apart(name: str, serving: Serve, caller_to: CallerTo) -> None:
    answers, expected = ENGINES[name]
    assert await probe(caller_to(await serving(answers))) == expected


async def test_load_comes_from_the_engines_metrics(serving: Serve, caller_to: CallerTo) -> None:
    text = '# HELP x\nvllm:num_requests_running{model="m"} 3.0\nvllm:num_requests_waiting{model="m"} 2.0\n'
    caller = caller_to(await serving({"/metrics": text}))
    assert await load(caller, Engine("vllm")) == Load(3, 2)
    tgi = "tgi_batch_current_size 4\ntgi_queue_size 1\n"
    assert await load(caller_to(await serving({"/metrics": tgi})), Engine("tgi")) == Load(4, 1)
    assert await load(caller, Engine("unknown")) is None


async def test_what_is_no_llm_server_is_refused(raw_server: RawServer, caller_to: CallerTo) -> None:
    raw_server.answers(http_answer(b"<html>", kind="text/html"))
    with pytest.raises(BackendFailed, match="no OpenAI-compatible server"):
        await probe(caller_to(raw_server.url))


def test_an_identity_changes_with_the_weights() -> None:
    assert Engine("vllm", weights="a").identity != Engine("vllm", weights="b").identity
