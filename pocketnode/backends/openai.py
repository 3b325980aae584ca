"""LLM servers that speak OpenAI's API: llama.cpp, vLLM, Ollama, TGI, SGLang. Answers go through byte by byte."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from pocketnode.backends.failure import BackendFailed, bad_request
from pocketnode.backends.http import HttpAnswer, HttpCaller, StreamedAnswer, refusal_of
from pocketnode.backends.ports import Exchange
from pocketnode.backends.probe import Engine, load, probe
from pocketnode.backends.usage import StreamMeter, usage_of
from pocketnode.crypto.keccak import keccak
from pocketnode.errors import RemoteError
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.metering import TokenRates, untold_units
from pocketnode.protocol.payload import AnswerHead, decode_request, encode_answer
from pocketnode.services.spec import ServiceSpec

ROUTES: Final = frozenset(
    {
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/models"),
    }
)
_GENERATES: Final = frozenset({"/v1/chat/completions", "/v1/completions"})
_MOST_FIELDS: Final = ("max_tokens", "max_completion_tokens")
_LEAST_UNITS: Final = 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as the engine gets it."""

    body: bytes
    stream: bool


def prepare(path: str, body: bytes, output_tokens_held: int) -> Prepared:
    """Return the request to send.

    The user's bytes stay as they are but for two things. A stream is asked to tell its usage. A plain answer, whose
    hold cannot be raised (rule 3.2), is bounded by the output tokens that are held for it; a stream waits instead.

    Raises
    ------
    RelayFailed
        `bad-request`: not a JSON object, or a count that is none. `out-of-budget`: not one token is held.
    """
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"not JSON: {error}") from error
    if not isinstance(asked, dict):
        raise bad_request("not a JSON object")
    if path not in _GENERATES:
        return Prepared(body, stream=False)
    if asked.get("stream") is True:
        return Prepared(_with_fields(body, asked, _with_usage(asked)), stream=True)
    return Prepared(_with_fields(body, asked, _bounded(asked, output_tokens_held)), stream=False)


def _with_usage(asked: dict[str, Any]) -> dict[str, Any]:
    told = asked.get("stream_options")
    told = told if isinstance(told, dict) else {}
    return {} if told.get("include_usage") is True else {"stream_options": {**told, "include_usage": True}}


def _bounded(asked: dict[str, Any], output_tokens_held: int) -> dict[str, Any]:
    """Return the fields that keep each of the choices within its share of what is held."""
    prompts = asked.get("prompt")
    several = len(prompts) if isinstance(prompts, list) and all(isinstance(p, str) for p in prompts) else 1
    share = output_tokens_held // max(1, (_count(asked, "n") or 1) * several)
    if share < 1:
        raise RelayFailed(FaultClass.OUT_OF_BUDGET, f"{output_tokens_held} output tokens are held")
    named = {name: most for name in _MOST_FIELDS if (most := _count(asked, name)) is not None}
    if not named:
        return {_MOST_FIELDS[0]: share}
    return {name: share for name, most in named.items() if most > share}


def _count(asked: dict[str, Any], name: str) -> int | None:
    value = asked.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise bad_request(f"{name} must be a whole number of at least 1")
    return value


def _with_fields(body: bytes, asked: dict[str, Any], added: dict[str, Any]) -> bytes:
    """Return the body with fields put in front, or written anew where it names one: the later of equal names wins."""
    if not added:
        return body
    if not asked or any(name in asked for name in added):
        return orjson.dumps({**asked, **added})
    return orjson.dumps(added)[:-1] + b"," + body.lstrip()[1:]


class OpenAiBackend:
    """One LLM server."""

    def __init__(self, caller: HttpCaller, spec: ServiceSpec) -> None:
        if spec.tokens is None:
            raise ValueError(f"service {spec.id} has no token rates")
        self._caller = caller
        self._rates = TokenRates(spec.tokens.units_per_prompt_token, spec.tokens.units_per_output_token)
        self._model = spec.models[0] if spec.models else ""
        self._engine: Engine | None = None
        self.name = caller.target.name
        self.identity = keccak(f"openai {self.name}".encode())

    @property
    def facts(self) -> dict[str, Any]:
        """What the server was recognised as; nothing before the first check."""
        return asdict(self._engine) if self._engine else {}

    async def answer(self, exchange: Exchange) -> int:
        """Answer one request; units by the engine's own count of tokens."""
        head = _request_head(exchange.head)
        if head not in ROUTES:
            raise bad_request(f"{head[0]} {head[1]} is not served")
        method, path = head
        if method != "POST":
            return await self._plain(method, path, b"", exchange)
        prepared = prepare(path, exchange.body, exchange.hold // self._rates.output)
        if prepared.stream:
            return await self._stream(path, prepared.body, exchange)
        return await self._plain(method, path, prepared.body, exchange)

    async def check(self) -> None:
        """Recognise the server, once after each failure, and have one token made.

        What lists models may still be unable to answer.
        """
        known, self._engine = self._engine, None
        engine = known or await probe(self._caller)
        asked = {"model": self._model, "messages": [{"role": "user", "content": "1"}], "max_tokens": 1}
        answer = await self._caller.whole("POST", "/v1/chat/completions", orjson.dumps(asked), _headers("POST"))
        if answer.status != 200 or usage_of(_parsed(answer.body)) is None:
            raise BackendFailed(f"{self.name}: HTTP {answer.status}: {answer.body[:120]!r}")
        self._engine = engine
        self.identity = keccak(f"openai {self.name}".encode() + engine.identity)

    async def load(self) -> int | None:
        """Return how many requests the engine works on or has queued."""
        found = await load(self._caller, self._engine) if self._engine else None
        return found.running + found.waiting if found else None

    async def _plain(self, method: str, path: str, body: bytes, exchange: Exchange) -> int:
        answer = await self._caller.whole(method, path, body, _headers(method))
        return await self._pass_on(answer, path, exchange)

    async def _pass_on(self, answer: HttpAnswer, path: str, exchange: Exchange, retry_after_ms: int = 0) -> int:
        """Send on a whole answer; an error of the client's own making costs nothing."""
        refused = refusal_of(self._caller.target, answer.status, retry_after_ms)
        if refused is not None:
            raise refused
        parsed = _parsed(answer.body)
        if not isinstance(parsed, dict):
            raise BackendFailed(f"{self.name}: HTTP {answer.status}, not JSON: {answer.body[:60]!r}")
        units = self._units_of(parsed, answer.status, path)
        await exchange.start(encode_answer(AnswerHead(answer.status, {"content-type": "application/json"})))
        await exchange.write(answer.body)
        return units

    def _units_of(self, parsed: dict[str, Any], status: int, path: str) -> int:
        if status != 200:
            return 0
        if path == "/v1/models":
            return _LEAST_UNITS
        usage = usage_of(parsed)
        if usage is None:
            raise BackendFailed(f"{self.name}: an answer without usage cannot be paid for")
        return usage.units(self._rates)

    async def _stream(self, path: str, body: bytes, exchange: Exchange) -> int:
        passing = _Passing(exchange, self._rates)
        try:
            async with self._caller.streamed("POST", path, body, _headers("POST")) as answer:
                if answer.status != 200 or not answer.content_type.startswith("text/event-stream"):
                    return await self._pass_on(await answer.rest(), path, exchange, answer.retry_after_ms)
                return await passing.run(answer)
        except RemoteError as error:
            raise BackendFailed(f"{self.name}: {error}", elsewhere=not passing.begun) from error
        except BackendFailed as failure:
            failure.elsewhere = failure.elsewhere and not passing.begun
            failure.again = failure.again and not passing.begun
            raise


class _Passing:
    """Sends on the events of one stream as they come, waiting where the hold is used up (rule 3.11)."""

    def __init__(self, exchange: Exchange, rates: TokenRates) -> None:
        self.begun = False
        self._exchange = exchange
        self._rates = rates
        self._meter = StreamMeter()

    async def run(self, answer: StreamedAnswer) -> int:
        """Return the units of the whole stream.

        Raises
        ------
        RemoteError
            rule 3.9: it is none, or it ends early.
        """
        data = await answer.read()
        while data:
            await self._pass(data, answer.content_type)
            data = await answer.read()
        if not self._meter.complete:
            raise RemoteError("3.9", "the stream ended early")
        return self._units()

    async def _pass(self, data: bytes, content_type: str) -> None:
        sent_tokens = self._meter.tokens
        tokens = self._meter.feed(data)
        if not self.begun:
            await self._exchange.start(encode_answer(AnswerHead(200, {"content-type": content_type})))
            self.begun = True
        if tokens:  # told before they are sent: the end of a stream never waits for a hold
            await self._exchange.produced(self._untold(sent_tokens))
        await self._exchange.write(data)

    def _units(self) -> int:
        if self._meter.usage is not None:
            return self._meter.usage.units(self._rates)
        return self._untold(self._meter.tokens)

    def _untold(self, pieces: int) -> int:
        return untold_units(len(self._exchange.body), pieces, self._rates)


def _request_head(raw: bytes) -> tuple[str, str]:
    try:
        head = decode_request(raw)
    except RemoteError as error:
        raise bad_request(str(error)) from error
    return head.method, head.path.partition("?")[0]


def _headers(method: str) -> dict[str, str]:
    return {"content-type": "application/json"} if method == "POST" else {}


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
