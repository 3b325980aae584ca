"""A stream whose first part is long in coming is kept alive, and its errors are told of in it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest

from pocketnode.gateway.sse import KEEP_ALIVE
from pocketnode.services.spec import builtin_bytes
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Start, until
from tests.gateway.market import APPLICATION, OK, Answer, broken, chat

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
SOON = {"keep_alive_s": 0.05}


def after(delay_s: float, answer: Answer) -> Answer:
    async def late(relay: Relay) -> Served:
        await asyncio.sleep(delay_s)
        return await answer(relay)

    return late


async def refused_by_engine(relay: Relay) -> Served:
    await relay.start(OK.replace(b"200", b"400"))
    await relay.write(b'{"error": {"message": "too long",\n "type": "invalid_request_error", "code": 400}}')
    return Served(0, b"\0" * 32)


async def test_comments_come_before_the_first_part_and_between_parts(start: Start) -> None:
    gateway = await start(suppliers=1, limits=SOON, rules='{"requests_per_day": 9}')
    gateway.suppliers[0].answers["smollm2"] = after(0.3, chat(["Hello", " you"], pause_s=0.2))
    async with gateway.http.post(gateway.url + CHAT, json=ASK, headers=gateway.headers) as answer:
        assert answer.status == 200
        assert answer.headers["x-request-id"]
        assert answer.headers["x-ratelimit-limit-requests"] == "9"
        text = await answer.read()
    first = text.index(b"data:")
    assert text[:first].count(KEEP_ALIVE) >= 3
    assert text[first:].count(KEEP_ALIVE) >= 2
    assert text.rstrip().endswith(b"data: [DONE]")
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.secret, max_retries=0) as client:
        chunks = [chunk async for chunk in await client.chat.completions.create(**ASK)]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello you"


@pytest.mark.parametrize(
    ("answer", "code"), [(broken, "no_supplier"), (refused_by_engine, "400")], ids=["nobody", "engine"]
)
async def test_an_error_that_comes_late_is_raised_by_the_client(start: Start, answer: Answer, code: str) -> None:
    gateway = await start(suppliers=1, limits=SOON)
    gateway.suppliers[0].answers["smollm2"] = after(0.2, answer)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.secret, max_retries=0) as client:
        stream = await client.chat.completions.create(**ASK)
        with pytest.raises(openai.APIError) as caught:
            await anext(stream)
    assert caught.value.code == code
    assert sum(record.units for record in gateway.records()) == 0
    await until(lambda: not gateway.daemon.gate.in_flight)


async def test_a_model_that_stands_in_late_answers_in_the_same_stream(start: Start, tmp_path: Path) -> None:
    spec = builtin_bytes("smollm2").replace(b"id: smollm2", b"id: large").replace(b"smollm2-135m", b"large-1")
    (tmp_path / "large.yaml").write_bytes(spec)
    gateway = await start(
        suppliers=1,
        limits=SOON,
        services={"large": "large.yaml"},
        applications=[{"address": "0x" + APPLICATION.hex(), "services": ["smollm2", "large"]}],
        fallbacks={"large-1": ["smollm2-135m"]},
    )
    gateway.suppliers[0].answers["large"] = after(0.2, broken)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.secret, max_retries=0) as client:
        chunks = [c async for c in await client.chat.completions.create(**{**ASK, "model": "large-1"})]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello world"


async def test_who_leaves_while_waiting_stops_the_supplier(start: Start) -> None:
    gateway = await start(suppliers=1, limits=SOON)
    gateway.suppliers[0].answers["smollm2"] = after(30, chat())
    async with gateway.http.post(gateway.url + CHAT, json=ASK, headers=gateway.headers) as answer:
        await answer.content.readuntil(KEEP_ALIVE)
        answer.close()
    await until(lambda: gateway.suppliers[0].cancelled == 1, 1)
    await until(lambda: not gateway.daemon.gate.in_flight)
