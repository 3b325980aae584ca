"""Against llama.cpp with a real model, and against servers that break the rules."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import orjson
import pytest

from pocketnode.backends.failure import BackendFailed
from pocketnode.backends.openai import OpenAiBackend, prepare
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.payload import RequestHead, encode_request
from pocketnode.services.spec import builtin
from tests.backends.conftest import CHAT, CallerTo, FakeExchange, RawServer, http_answer
from tests.backends.engines import MODEL

SPEC = builtin("smollm2")


def chat(**fields: object) -> bytes:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Name a colour."}], "temperature": 0}
    return orjson.dumps({**asked, **fields})


def events(*payloads: bytes) -> bytes:
    return b"".join(b"data: " + payload + b"\n\n" for payload in payloads)


@pytest.fixture
def real(caller_to: CallerTo, llama_url: str) -> OpenAiBackend:
    return OpenAiBackend(caller_to(llama_url), SPEC)


async def test_a_plain_answer_goes_through_and_costs_what_the_model_says(real: OpenAiBackend) -> None:
    exchange = FakeExchange(CHAT, chat(max_tokens=8))
    units = await real.answer(exchange)
    answer = orjson.loads(exchange.sent)
    usage = answer["usage"]
    assert exchange.sent_head.startswith(b"200\n")
    assert answer["choices"][0]["message"]["content"]
    assert usage["completion_tokens"] == 8
    assert units == usage["prompt_tokens"] + 4 * 8


async def test_a_stream_comes_in_parts_and_is_metered_though_the_user_asked_for_no_usage(real: OpenAiBackend) -> None:
    exchange = FakeExchange(CHAT, chat(max_tokens=12, stream=True))
    units = await real.answer(exchange)
    *parts, last = [line[6:] for line in exchange.sent.split(b"\n\n") if line]
    usage = orjson.loads(parts[-1])["usage"]
    assert last == b"[DONE]"
    assert exchange.writes > 5
    assert units == usage["prompt_tokens"] + 4 * usage["completion_tokens"]
    assert usage["completion_tokens"] == 12


async def test_a_stream_waits_where_its_hold_is_used_up_and_goes_on_when_it_is_raised(real: OpenAiBackend) -> None:
    body = chat(max_tokens=20, stream=True)
    exchange = FakeExchange(CHAT, body, hold=len(body) // 4 + 4 * 5)
    answering = asyncio.ensure_future(real.answer(exchange))
    await exchange.first.wait()
    await asyncio.sleep(0.5)
    stopped_at = exchange.sent.count(b'"content":"')
    assert not answering.done()
    assert stopped_at <= 7
    exchange.hold = 10_000
    exchange.raised.set()
    assert await answering > 80


async def test_cancelling_a_stream_frees_the_models_slot(real: OpenAiBackend, llama_url: str) -> None:
    exchange = FakeExchange(CHAT, chat(max_tokens=1500, stream=True))
    answering = asyncio.ensure_future(real.answer(exchange))
    await exchange.first.wait()
    assert await busy_slots(llama_url) == 1
    answering.cancel()
    begun_s = time.monotonic()
    while await busy_slots(llama_url):
        assert time.monotonic() - begun_s < 5.0, "the model goes on"
        await asyncio.sleep(0.005)
    print(f"slot free after {1000 * (time.monotonic() - begun_s):.0f} ms")


async def busy_slots(url: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/slots") as answer:
        return sum(slot["is_processing"] for slot in await answer.json())


async def test_a_check_makes_a_real_token(real: OpenAiBackend) -> None:
    await real.check()


async def test_models_are_listed(real: OpenAiBackend) -> None:
    exchange = FakeExchange(encode_request(RequestHead("GET", "/v1/models")), b"")
    await real.answer(exchange)
    assert orjson.loads(exchange.sent)["data"][0]["id"] == MODEL


async def test_an_error_of_the_clients_own_making_is_an_answer_that_costs_nothing(real: OpenAiBackend) -> None:
    exchange = FakeExchange(CHAT, orjson.dumps({"model": MODEL, "messages": "none"}))
    assert await real.answer(exchange) == 0
    assert exchange.sent_head.startswith(b"4")


async def test_an_engines_own_routes_are_not_for_gateways(real: OpenAiBackend) -> None:
    for method, path in (
        ("GET", "/slots"),
        ("POST", "/props"),
        ("GET", "/metrics"),
        ("POST", "/v1/chat/completions/x"),
    ):
        with pytest.raises(RelayFailed) as refused:
            await real.answer(FakeExchange(encode_request(RequestHead(method, path)), b"{}"))
        assert refused.value.fault.kind is FaultClass.BAD_REQUEST


async def test_a_plain_answer_ends_where_its_hold_does(real: OpenAiBackend) -> None:
    exchange = FakeExchange(CHAT, chat(max_tokens=1_000_000), hold=40)
    await real.answer(exchange)
    assert orjson.loads(exchange.sent)["usage"]["completion_tokens"] <= 10
    with pytest.raises(RelayFailed) as refused:
        await real.answer(FakeExchange(CHAT, chat(max_tokens=100), hold=3))
    assert refused.value.fault.kind is FaultClass.OUT_OF_BUDGET


CHATS = "/v1/chat/completions"


def test_the_users_bytes_stay_as_they_are() -> None:
    body = b' {"model" : "m", "max_tokens":5, "x_unknown": 1.50}'
    assert prepare(CHATS, body, 100).body == body
    streamed = b'{"stream":true, "stream_options":{"include_usage":true}, "x": 1.50}'
    assert prepare(CHATS, streamed, 100).body == streamed
    assert prepare("/v1/embeddings", b'{"input":"x" }', 0).body == b'{"input":"x" }'


def test_a_stream_is_asked_for_its_usage() -> None:
    streamed = prepare(CHATS, b'{"stream":true, "x": 1.50}', 100)
    assert streamed.body == b'{"stream_options":{"include_usage":true},"stream":true, "x": 1.50}'
    told = prepare("/v1/completions", b'{"stream":true,"stream_options":{"a":1}}', 100)
    assert orjson.loads(told.body) == {"stream": True, "stream_options": {"a": 1, "include_usage": True}}


def test_a_plain_answer_is_bounded_by_what_is_held() -> None:
    assert prepare(CHATS, b"{}", 100).body == b'{"max_tokens":100}'
    assert prepare(CHATS, b'{"x": 1.50}', 100).body == b'{"max_tokens":100,"x": 1.50}'
    assert orjson.loads(prepare(CHATS, b'{"max_tokens":101}', 100).body) == {"max_tokens": 100}
    assert orjson.loads(prepare(CHATS, b'{"max_completion_tokens":30,"n":4}', 100).body) == {
        "max_completion_tokens": 25,
        "n": 4,
    }
    assert orjson.loads(prepare(CHATS, b'{"max_tokens":null}', 100).body) == {"max_tokens": 100}
    many = prepare("/v1/completions", b'{"prompt":["a","b"],"n":5}', 100)
    assert orjson.loads(many.body)["max_tokens"] == 10


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"max_tokens":"many"}', b'{"max_tokens":-1}', b'{"n":0}'])
def test_what_is_no_request_is_the_clients_fault(body: bytes) -> None:
    with pytest.raises(RelayFailed) as refused:
        prepare(CHATS, body, 100)
    assert refused.value.fault.kind is FaultClass.BAD_REQUEST


def sse(*parts: bytes, length: int | None = None) -> bytes:
    body = b"".join(parts)
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    head += f"content-length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


TOKEN = b'{"choices":[{"delta":{"content":"a"}}]}'
LAST = b'{"choices":[{"delta":{},"finish_reason":"stop"}]}'
BROKEN = {
    "garbage": sse(b"<html>oops</html>\n"),
    "garbage after a token": sse(events(TOKEN), b"\x00\xff\n"),
    "not JSON": sse(events(TOKEN), b"data: {oops\n\n"),
    "ends early": sse(events(TOKEN)),
    "lies about its length": sse(events(TOKEN, LAST), length=10_000),
    "500": http_answer(b"{}", "500 Oops"),
    "no usage": http_answer(b'{"choices":[]}'),
    "HTML": http_answer(b"<html>", kind="text/html"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_stream_is_the_backends_fault(name: str, raw_server: RawServer, caller_to: CallerTo) -> None:
    raw_server.answers(BROKEN[name], close=True)
    exchange = FakeExchange(CHAT, chat(stream=True))
    with pytest.raises(BackendFailed) as failed:
        await OpenAiBackend(caller_to(raw_server.url), SPEC).answer(exchange)
    assert failed.value.fault.kind is FaultClass.BACKEND
    assert failed.value.elsewhere != bool(exchange.sent_head)


async def test_too_many_requests_means_busy_with_the_delay_that_was_asked(
    raw_server: RawServer, caller_to: CallerTo
) -> None:
    raw_server.answers(http_answer(b"{}", "429 Too Many", headers="retry-after: 3\r\n"))
    with pytest.raises(BackendFailed) as failed:
        await OpenAiBackend(caller_to(raw_server.url), SPEC).answer(FakeExchange(CHAT, chat(stream=True)))
    assert failed.value.fault.kind is FaultClass.BUSY
    assert failed.value.fault.retry_after_ms == 3000


async def test_a_stream_that_stalls_is_given_up(raw_server: RawServer, caller_to: CallerTo) -> None:
    head = sse(events(TOKEN), length=10_000)
    raw_server.answers(head)
    backend = OpenAiBackend(caller_to(raw_server.url, between_s=0.1), SPEC)
    begun_s = time.monotonic()
    with pytest.raises(BackendFailed, match="in time"):
        await backend.answer(FakeExchange(CHAT, chat(stream=True)))
    assert time.monotonic() - begun_s < 1


async def test_cancel_closes_the_backends_connection_within_100_ms(raw_server: RawServer, caller_to: CallerTo) -> None:
    async def token_and_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sse(events(TOKEN), length=10_000))
        await reader.read()
        raw_server.gone.set()

    raw_server.handler = token_and_hang
    exchange = FakeExchange(CHAT, chat(stream=True))
    answering = asyncio.ensure_future(OpenAiBackend(caller_to(raw_server.url), SPEC).answer(exchange))
    await exchange.first.wait()
    answering.cancel()
    async with asyncio.timeout(0.1):
        await raw_server.gone.wait()


async def test_cancel_of_a_plain_request_closes_the_connection_too(raw_server: RawServer, caller_to: CallerTo) -> None:
    answering = asyncio.ensure_future(OpenAiBackend(caller_to(raw_server.url), SPEC).answer(FakeExchange(CHAT, chat())))
    await raw_server.asked.wait()
    answering.cancel()
    async with asyncio.timeout(0.1):
        await raw_server.gone.wait()
