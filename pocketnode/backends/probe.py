"""Finds out what LLM server stands behind a URL: its engine, version, models, context and slots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pocketnode.backends.failure import BackendFailed
from pocketnode.backends.http import HttpAnswer, HttpCaller
from pocketnode.crypto.keccak import keccak

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Engine:
    """What a server says of itself; empty or 0 where it does not.

    Parameters
    ----------
    name : llama.cpp, vllm, ollama, tgi, sglang or unknown.
    models : as they are called in requests.
    context : tokens that fit one request.
    slots : requests that it answers at once.
    weights : a digest, file or quantisation that tells one set of weights from another.
    """

    name: str
    version: str = ""
    models: tuple[str, ...] = ()
    context: int = 0
    slots: int = 0
    weights: str = ""

    @property
    def identity(self) -> bytes:
        """32 bytes that change when engine, version, models or weights do."""
        return keccak("\n".join((self.name, self.version, *self.models, self.weights)).encode())


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a server is; `waiting` are requests that it has queued."""

    running: int
    waiting: int = 0


async def probe(caller: HttpCaller) -> Engine:
    """Ask what no other engine answers, one engine after the other.

    Raises
    ------
    BackendFailed
        nothing answers, or it is no OpenAI-compatible server.
    """
    models = await _models(caller)
    for recognise in _ENGINES:
        engine = await recognise(caller, models)
        if engine is not None:
            return engine
    return Engine(UNKNOWN, models=tuple(m["id"] for m in models), context=_context_of(models))


async def load(caller: HttpCaller, engine: Engine) -> Load | None:
    """Return how busy a server is, or None where it does not tell."""
    if engine.name == "llama.cpp":
        slots = await _json(caller, "/slots")
        return Load(sum(bool(slot.get("is_processing")) for slot in slots)) if isinstance(slots, list) else None
    names = _LOAD_METRICS.get(engine.name)
    return _load_in(await _text(caller, "/metrics"), *names) if names else None


# Engine -> its Prometheus metrics of running and of waiting requests.
_LOAD_METRICS: Final = {
    "vllm": ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    "sglang": ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    "tgi": ("tgi_batch_current_size", "tgi_queue_size"),
}


async def _llama_cpp(caller: HttpCaller, models: list[dict[str, Any]]) -> Engine | None:
    props = await _json(caller, "/props")
    if not isinstance(props, dict) or "default_generation_settings" not in props:
        return None
    context = props["default_generation_settings"].get("n_ctx", 0)
    meta = models[0].get("meta") or {} if models else {}
    weights = " ".join(str(value) for value in (props.get("model_path", ""), meta.get("size", "")) if value)
    names = tuple(m["id"] for m in models)
    return Engine("llama.cpp", str(props.get("build_info", "")), names, context, props.get("total_slots", 0), weights)


async def _vllm(caller: HttpCaller, models: list[dict[str, Any]]) -> Engine | None:
    told = await _json(caller, "/version")
    if not isinstance(told, dict) or "version" not in told:
        return None
    roots = " ".join(str(m["root"]) for m in models if m.get("root"))
    return Engine("vllm", str(told["version"]), tuple(m["id"] for m in models), _context_of(models), weights=roots)


async def _ollama(caller: HttpCaller, models: list[dict[str, Any]]) -> Engine | None:
    told, tags = await _json(caller, "/api/version"), await _json(caller, "/api/tags")
    if not isinstance(told, dict) or not isinstance(tags, dict):
        return None
    digests = " ".join(str(m.get("digest", "")) for m in tags.get("models", []))
    return Engine("ollama", str(told.get("version", "")), tuple(m["id"] for m in models), weights=digests)


async def _tgi(caller: HttpCaller, models: list[dict[str, Any]]) -> Engine | None:
    told = await _json(caller, "/info")
    if not isinstance(told, dict) or "max_total_tokens" not in told or "model_id" not in told:
        return None
    slots, context = told.get("max_concurrent_requests", 0), told["max_total_tokens"]
    weights = " ".join(str(told[key]) for key in ("model_sha", "model_dtype") if told.get(key))
    return Engine("tgi", str(told.get("version", "")), (str(told["model_id"]),), context, slots, weights)


async def _sglang(caller: HttpCaller, models: list[dict[str, Any]]) -> Engine | None:
    told = await _json(caller, "/get_server_info")
    if not isinstance(told, dict) or "model_path" not in told:
        return None
    names = tuple(m["id"] for m in models) or (str(told.get("served_model_name", told["model_path"])),)
    slots = told.get("max_running_requests") or 0
    weights = " ".join(str(told[key]) for key in ("model_path", "quantization", "dtype") if told.get(key))
    return Engine("sglang", str(told.get("version", "")), names, _context_of(models), slots, weights)


# Most telling first: vLLM's `/version` is the least particular.
_Recognise = Callable[[HttpCaller, list[dict[str, Any]]], Awaitable[Engine | None]]
_ENGINES: Final[tuple[_Recognise, ...]] = (_llama_cpp, _sglang, _tgi, _ollama, _vllm)


async def _models(caller: HttpCaller) -> list[dict[str, Any]]:
    answer = await caller.whole("GET", "/v1/models", b"", {})
    told = _parsed(answer)
    listed = told.get("data") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise BackendFailed(f"{caller.target.name}: HTTP {answer.status} at /v1/models: no OpenAI-compatible server")
    return [model for model in listed if isinstance(model, dict) and isinstance(model.get("id"), str)]


async def _json(caller: HttpCaller, path: str) -> Any:
    try:
        answer = await caller.whole("GET", path, b"", {})
    except BackendFailed:
        return None
    return _parsed(answer) if answer.status == 200 else None


async def _text(caller: HttpCaller, path: str) -> str:
    try:
        answer = await caller.whole("GET", path, b"", {})
    except BackendFailed:
        return ""
    return answer.body.decode("utf-8", "replace") if answer.status == 200 else ""


def _parsed(answer: HttpAnswer) -> Any:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None


def _context_of(models: list[dict[str, Any]]) -> int:
    return max((int(m.get("max_model_len") or 0) for m in models), default=0)


def _load_in(text: str, running: str, waiting: str) -> Load | None:
    """Return the load in Prometheus' text; each metric is summed over its labels."""
    sums: dict[str, float] = {}
    for line in text.splitlines():
        name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
        if name in (running, waiting):
            sums[name] = sums.get(name, 0.0) + float(rest.rpartition(" ")[2] or rest)
    return Load(int(sums[running]), int(sums.get(waiting, 0))) if running in sums else None
