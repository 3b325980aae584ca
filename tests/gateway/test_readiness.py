"""When a gateway calls itself ready, and how it stops: what it began is finished, and nothing new is begun."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import openai
import pytest

from tests.gateway.conftest import Start, until
from tests.gateway.market import chat

ASK: dict[str, Any] = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "Hi"}]}


async def test_without_a_lane_it_is_not_ready_and_says_why(start: Start) -> None:
    gateway = await start(suppliers=0)
    status, facts = await gateway.admin("/readyz", token="")
    assert status == 503
    assert {line.partition(":")[0] for line in facts["missing"]} == {"eth", "smollm2"}
    assert (await gateway.admin("/healthz", token=""))[0] == 200
    _, _, headers = await gateway.post("/v1/chat/completions", ASK)
    assert headers["retry-after"]


async def test_it_is_ready_as_long_as_somebody_serves(start: Start) -> None:
    gateway = await start(suppliers=2)
    for left, supplier in ((1, gateway.suppliers[0]), (0, gateway.suppliers[1])):
        assert (await gateway.admin("/readyz", token=""))[0] == 200
        await supplier.server.drain(0)
        seats = [seat for active in gateway.daemon.sessions.all() for seat in active.seats.values()]
        await until(lambda seats=seats, left=left: sum(seat.open() for seat in seats) == 2 * left)  # type: ignore[misc]
    assert (await gateway.admin("/readyz", token=""))[0] == 503


async def test_a_stream_is_finished_while_nothing_new_is_begun(start: Start) -> None:
    gateway = await start(suppliers=1)
    gateway.suppliers[0].answers["smollm2"] = chat(["slow "] * 12, pause_s=0.1)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.secret, max_retries=0) as client:
        stream = await client.chat.completions.create(**ASK, stream=True)
        words = [(await anext(stream)).choices[0].delta.content]
        gateway.stop.set()
        await asyncio.sleep(0.2)
        status, facts = await gateway.admin("/readyz", token="")
        assert (status, facts["missing"]) == (503, ["draining"])
        async with aiohttp.ClientSession() as stranger:
            with pytest.raises(aiohttp.ClientConnectorError):
                await stranger.post(f"{gateway.url}/v1/chat/completions", json=ASK, headers=gateway.headers)
        words += [chunk.choices[0].delta.content async for chunk in stream]
    assert words == ["slow "] * 12
    async with asyncio.timeout(5):
        await gateway.task
    assert sum(account.acknowledged for account in gateway.suppliers[0].accounts.values()) == 5 + 4 * 12
