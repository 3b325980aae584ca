"""Every way in which a user gets no answer: OpenAI's error, the client's typed exception, and the headers with it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

from pocketnode.gateway.sse import Meter
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.quality import Verdict
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Running, Start, until
from tests.gateway.market import EVENTS, broken, chat, event
from tests.gateway.test_bad_input import head, raw

MODEL = "smollm2-135m"
CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
LIMITED = '{"requests_per_day": 1000, "tokens_per_day": 1000, "models": ["smollm2-135m"]}'
Break = Callable[[Running], Awaitable[None] | None]


def client(gateway: Running) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.secret, max_retries=0)


def all_answer(answer: Any) -> Break:
    def make(gateway: Running) -> None:
        for supplier in gateway.suppliers:
            supplier.answers["smollm2"] = answer

    return make


async def busy(relay: Relay) -> Served:
    raise RelayFailed(FaultClass.BUSY, "full", 1_500)


async def refused_by_engine(relay: Relay) -> Served:
    raise RelayFailed(FaultClass.BAD_REQUEST, "context is too long")


def full(gateway: Running) -> None:
    gate = gateway.daemon.gate
    gate.adopt(gate.limits.model_copy(update={"concurrency": 0}))


def our_bug(gateway: Running) -> None:
    gateway.daemon.catalog.models = {MODEL: None}  # type: ignore[dict-item]


async def nobody(gateway: Running) -> None:
    for supplier in gateway.suppliers:
        await supplier.server.drain(0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("make", "fields", "raised", "code", "waits"),
    [
        (None, {"messages": "none"}, openai.BadRequestError, "invalid_request", False),
        (all_answer(refused_by_engine), {}, openai.BadRequestError, "invalid_request", False),
        (None, {"model": "none"}, openai.NotFoundError, "model_not_found", False),
        (None, {"messages": [{"role": "user", "content": "x" * 3_000_000}]}, openai.APIStatusError, None, False),
        (None, {"max_tokens": 5_000}, openai.RateLimitError, "rate_limit_exceeded", True),
        (all_answer(broken), {}, openai.InternalServerError, "no_supplier", True),
        (all_answer(busy), {}, openai.InternalServerError, "no_supplier", True),
        (nobody, {}, openai.InternalServerError, "no_supplier", True),
        (full, {}, openai.InternalServerError, "overloaded", True),
        (our_bug, {}, openai.InternalServerError, "internal_error", True),
    ],
    ids=["400", "engine's 400", "404", "413", "429", "503", "busy", "nobody", "overloaded", "500"],
)
async def test_every_error_is_one_that_the_client_knows(
    start: Start, make: Break | None, fields: dict[str, Any], raised: Any, code: str | None, waits: bool, stream: bool
) -> None:
    gateway = await start(suppliers=2, rules=LIMITED, limits={"body_mib": 1})
    if make is not None and (doing := make(gateway)) is not None:
        await doing
    asked = {**ASK, "stream": stream, **fields, "extra_headers": {"x-request-id": "mine"}}
    async with client(gateway) as llm:
        with pytest.raises(raised) as caught:
            await llm.chat.completions.create(**asked)
    error = caught.value
    assert code in (error.code, None)
    assert set(error.body) == {"message", "type", "param", "code"}
    told = error.response.headers
    assert told["x-request-id"] == error.request_id == "mine"
    assert ("retry-after" in told) == waits
    if waits:
        assert int(told["retry-after"]) >= 1
    if code != "overloaded":  # whose key it is was not looked at
        assert told["x-ratelimit-limit-requests"] == "1000"
        assert int(told["x-ratelimit-remaining-tokens"]) <= 1_000
    assert sum(record.units for record in gateway.records()) == 0
    holder = await gateway.daemon.gate.access.holder(gateway.secret)
    assert holder.headers(gateway.daemon.gate.now_s())["x-ratelimit-remaining-tokens"] == "1000"


async def test_keys_are_refused_in_the_same_shape(start: Start) -> None:
    gateway = await start(suppliers=1, rules='{"models": ["other"], "requests_per_day": 9}')
    async with client(gateway) as llm:
        with pytest.raises(openai.PermissionDeniedError) as forbidden:
            await llm.chat.completions.create(**ASK)
        assert (forbidden.value.code, forbidden.value.param) == ("not_allowed", "model")
        assert forbidden.value.response.headers["x-ratelimit-limit-requests"] == "9"
        llm.api_key = "nobody's"
        with pytest.raises(openai.AuthenticationError) as unknown:
            await llm.models.list()
        assert unknown.value.response.headers["www-authenticate"] == "Bearer"
        assert unknown.value.request_id


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("PUT", CHAT, 405),
        ("GET", CHAT, 405),
        ("DELETE", "/v1/models", 404),
        ("GET", "/v1/relays/zz", 400),
        ("GET", f"/v1/relays/0x{'00' * 32}", 404),
        ("GET", "/v1/models/none", 404),
        ("GET", "/v1/models", 200),
        ("GET", f"/v1/models/{MODEL}", 200),
    ],
)
async def test_every_path_answers_in_the_shape_of_the_api(start: Start, method: str, path: str, status: int) -> None:
    gateway = await start(suppliers=1, rules='{"requests_per_day": 9}')
    async with gateway.http.request(method, gateway.url + path, headers=gateway.headers) as answer:
        body = await answer.json()
    assert answer.status == status
    assert ("error" in body) == (status >= 400)
    assert answer.headers["x-request-id"]
    if status == 200:
        assert answer.headers["x-ratelimit-limit-requests"] == "9"


async def test_a_late_answer_is_a_timeout(start: Start) -> None:
    gateway = await start(suppliers=1)
    for active in gateway.daemon.sessions.all():
        object.__setattr__(active.service, "spec", active.service.spec.model_copy(update={"timeout_s": 0.1}))
    all_answer(chat(["late"] * 50, pause_s=0.1))(gateway)
    status, answer, headers = await gateway.post(CHAT, ASK)
    assert (status, answer["error"]["code"]) == (504, "timeout")
    assert headers["retry-after"]


async def test_a_body_that_is_not_what_its_head_says_is_the_users_fault(start: Start) -> None:
    gateway = await start(suppliers=1)
    request = head(CHAT, gateway.secret, "Transfer-Encoding: chunked") + b"zz\r\nnot a chunk\r\n\r\n"
    status, _, body = await raw(gateway, request)
    assert status == 400, body


@pytest.mark.parametrize("how", ["supplier", "ours"])
async def test_an_error_in_mid_stream_is_raised_by_the_client(start: Start, how: str) -> None:
    gateway = await start(suppliers=1)
    said = asyncio.Event()

    async def dies(relay: Relay) -> Served:
        await relay.start(EVENTS)
        await relay.write(event({"choices": [{"index": 0, "delta": {"content": "Hel"}}]}))
        await said.wait()
        if how == "supplier":
            return await broken(relay)
        await relay.write(event({"choices": [], "usage": {"prompt_tokens": 5}}))
        await asyncio.sleep(10)
        raise AssertionError("nobody stops it")

    all_answer(dies)(gateway)
    words = []
    async with client(gateway) as llm:
        stream = await llm.chat.completions.create(**ASK, stream=True)
        with pytest.raises(openai.APIError) as caught:  # noqa: PT012
            async for chunk in stream:
                words.append(chunk.choices[0].delta.content)
                said.set()
                if how == "ours":
                    break_meters()
    assert words == ["Hel"]
    assert caught.value.code == ("no_supplier" if how == "supplier" else "internal_error")
    await until(lambda: bool(gateway.records()))
    expected = Verdict.FAULT if how == "supplier" else Verdict.CUT
    assert [r.verdict for r in gateway.records()] == [expected]


def break_meters() -> None:
    """Let the gateway fail at the next part of any stream."""
    for meter in [one for one in gc.get_objects() if isinstance(one, Meter)]:
        meter.text_bytes = None  # type: ignore[assignment]
