"""The gateways and proxies that install from PyPI and npm, each as its documentation sets it up for one backend."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import yaml

from bench import tools
from bench.nginx import MODEL, PATHS, base_of
from bench.servers import HOST, KINDS, LLM_KINDS, Bench, Place, Server, answers
from pocketnode.localnet import ports

API_KEY: Final = "sk-bench-0123456789"

StartPeer = Callable[[Bench, Server], Awaitable[Server]]


async def envoy(bench: Bench, behind: Server) -> Server:
    """Envoy with one worker thread, a listener and a cluster for each kind."""
    *chosen, admin = ports.free(len(KINDS) + 1)
    by_kind = dict(zip(KINDS, chosen, strict=True))
    listeners = [_envoy_listener(kind, port) for kind, port in by_kind.items()]
    clusters = [_envoy_cluster(kind, base_of(behind.places[kind].url)) for kind in KINDS]
    config = {
        "admin": {"address": _socket(HOST, admin)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }
    path = bench.folder / "envoy.yaml"
    path.write_text(yaml.safe_dump(config))
    argv = [str(tools.ENVOY.path()), "-c", str(path), "--concurrency", "1", "--log-level", "error"]
    pid = await bench.start("envoy", argv, answers(f"http://{HOST}:{admin}/ready"))
    places = {kind: Place(f"http://{HOST}:{port}{PATHS[kind]}") for kind, port in by_kind.items()}
    return Server("envoy", places, {"proxy": pid})


async def litellm(bench: Bench, behind: Server) -> Server:
    """LiteLLM's proxy with one worker, without a database."""
    (port,) = ports.free(1)
    models = [
        {
            "model_name": _model_of(kind),
            "litellm_params": {
                "model": f"openai/{MODEL}",
                "api_base": f"http://{base_of(behind.places[kind].url)}/v1",
                "api_key": API_KEY,
            },
        }
        for kind in LLM_KINDS
    ]
    config = {
        "model_list": models,
        "litellm_settings": {"telemetry": False, "request_timeout": 60},
        "general_settings": {"master_key": API_KEY},
    }
    path = bench.folder / "litellm.yaml"
    path.write_text(yaml.safe_dump(config))
    argv = [str(tools.LITELLM.path()), "--config", str(path), "--host", HOST, "--port", str(port), "--num_workers", "1"]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    pid = await bench.start("litellm", argv, answers(f"http://{HOST}:{port}/health/liveliness"), env)
    url = f"http://{HOST}:{port}/v1/chat/completions"
    headers = {"authorization": f"Bearer {API_KEY}"}
    return Server("litellm", {kind: Place(url, _model_of(kind), headers) for kind in LLM_KINDS}, {"proxy": pid})


async def portkey(bench: Bench, behind: Server) -> Server:
    """Portkey's gateway; each request names its backend in headers.

    Its 1.15.2 answers every stream of our backend with 500 ("TypeError: immutable" in its log, on Node 20 and 24).
    """
    (port,) = ports.free(1)
    argv = [str(tools.node()), str(tools.PORTKEY.path()), f"--port={port}", "--headless"]
    env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": f"{HOST},localhost"}
    pid = await bench.start("portkey", argv, answers(f"http://{HOST}:{port}/"), env)
    places = {}
    for kind in LLM_KINDS:
        headers = {
            "authorization": f"Bearer {API_KEY}",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://{base_of(behind.places[kind].url)}/v1",
        }
        places[kind] = Place(f"http://{HOST}:{port}/v1/chat/completions", MODEL, headers)
    return Server("portkey", places, {"proxy": pid})


async def vllm_router(bench: Bench, behind: Server) -> Server:
    """vllm-router before one worker; a router for each kind, since it does not choose by model. One is idle then."""
    places, pids = {}, {}
    for kind, port, prometheus in zip(LLM_KINDS, *_pairs(len(LLM_KINDS)), strict=True):
        worker = f"http://{base_of(behind.places[kind].url)}"
        argv = [str(tools.VLLM_ROUTER.path()), "--host", HOST, "--port", str(port), "--worker-urls", worker]
        argv += ["--policy", "round_robin", "--prometheus-port", str(prometheus), "--log-level", "error"]
        pid = await bench.start(f"vllm-router-{port}", argv, answers(f"http://{HOST}:{port}/health"))
        places[kind] = Place(f"http://{HOST}:{port}/v1/chat/completions", MODEL)
        pids[kind] = pid
    return Server("vllm-router", places, pids)


PEERS: Final[dict[str, StartPeer]] = {
    "envoy": envoy,
    "vllm-router": vllm_router,
    "portkey": portkey,
    "litellm": litellm,
}


def _pairs(count: int) -> tuple[list[int], list[int]]:
    chosen = ports.free(2 * count)
    return chosen[:count], chosen[count:]


def _model_of(kind: str) -> str:
    return f"{MODEL}-{KINDS.index(kind)}"


def _socket(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _envoy_listener(kind: str, port: int) -> dict[str, Any]:
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    route = {"match": {"prefix": "/"}, "route": {"cluster": f"cluster-{KINDS.index(kind)}", "timeout": "60s"}}
    http = {
        "@type": manager,
        "stat_prefix": "bench",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}]
    return {"name": f"listener-{port}", "address": _socket(HOST, port), "filter_chains": [{"filters": filters}]}


def _envoy_cluster(kind: str, to: str) -> dict[str, Any]:
    host, port = to.split(":")
    name = f"cluster-{KINDS.index(kind)}"
    endpoint = {"endpoint": {"address": _socket(host, int(port))}}
    most = {"max_connections": 16384, "max_pending_requests": 16384, "max_requests": 16384}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [json.loads(json.dumps(most))]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
