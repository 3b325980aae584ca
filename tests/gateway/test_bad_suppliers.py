"""What users see where suppliers lie, crawl and die: nothing, as long as another one could have answered."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.gateway.continuing import Continuation, Delivered, Diverged
from pocketnode.protocol.quality import Verdict
from pocketnode.protocol.types import ZERO32
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Running, Start
from tests.gateway.market import EVENTS, Answer, broken, chat, event, node, reply_json

WORDS = [f"word{n} " for n in range(12)]
TEXT = "".join(WORDS)
ASK: dict[str, Any] = {
    "model": "smollm2-135m",
    "messages": [{"role": "user", "content": "Hi"}],
    "temperature": 0,
}


def after(delay_s: float, answer: Answer) -> Answer:
    async def late(relay: Relay) -> Served:
        await asyncio.sleep(delay_s)
        return await answer(relay)

    return late


async def lies_about_ids(relay: Relay) -> Served:
    asked = orjson.loads(relay.body)
    answer = {"jsonrpc": "2.0", "id": asked["id"] + 1, "result": {"method": "x"}}
    return await reply_json(relay, answer, 10)


async def dies_in_mid_stream(relay: Relay) -> Served:
    if not orjson.loads(relay.body).get("stream"):
        return await broken(relay)
    await relay.start(EVENTS)
    for word in WORDS[:5]:
        await relay.write(event({"choices": [{"index": 0, "delta": {"content": word}}]}))
        await asyncio.sleep(0.001)
    return await broken(relay)


def make_bad(gateway: Running) -> None:
    liar, crawls, dies = gateway.suppliers
    liar.answers = {"eth": after(0.002, lies_about_ids), "smollm2": chat(WORDS, 0.001)}
    crawls.answers = {"eth": after(0.06, node), "smollm2": chat(WORDS, 0.03)}
    dies.answers = {"eth": after(0.002, node), "smollm2": dies_in_mid_stream}


async def test_two_thousand_mixed_requests_are_answered_rightly(start: Start) -> None:
    gateway = await start()
    make_bad(gateway)
    numbers, right, choose = itertools.count(), [0], random.Random(7)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.secret, max_retries=0) as client:

        async def one() -> None:
            number, draw = next(numbers), choose.random()
            if draw < 0.90:
                answer = await gateway.rpc("eth_getCode", hex(number), "0x1", identity=number)
                right[0] += (answer["id"], answer["result"]["params"]) == (number, [hex(number), "0x1"])
            elif draw < 0.95:
                whole = await client.chat.completions.create(**ASK)
                right[0] += whole.choices[0].message.content == TEXT
            else:
                chunks = [c async for c in await client.chat.completions.create(**ASK, stream=True)]
                right[0] += "".join(c.choices[0].delta.content or "" for c in chunks) == TEXT

        async def some(count: int) -> None:
            for _ in range(count):
                await one()

        await asyncio.gather(*(some(100) for _ in range(20)))
    assert right[0] >= 1998
    by_index = [
        {Verdict(r.verdict) for r in gateway.records() if r.index == index} for index in range(len(gateway.suppliers))
    ]
    assert Verdict.WRONG not in by_index[1] | by_index[2]
    assert Verdict.FAULT not in by_index[0] | by_index[1]
    assert all(r.units == 0 for r in gateway.records() if r.verdict in (Verdict.WRONG, Verdict.FAULT))


async def test_a_stream_goes_on_where_its_supplier_dies(start: Start) -> None:
    gateway = await start(suppliers=2)
    gateway.suppliers[0].answers["smollm2"] = dies_in_mid_stream
    gateway.suppliers[1].answers["smollm2"] = chat(["word0 word1 ", "word2 word3 word4 w", *TEXT[31:]])
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.secret, max_retries=0) as client:
        for _ in range(6):
            stream = await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
            chunks = [c async for c in stream]
            assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
            assert chunks[-1].usage is not None
    assert {r.verdict for r in gateway.records() if r.index == 0} == {Verdict.FAULT}


async def test_another_text_is_not_glued_to_the_first(start: Start) -> None:
    gateway = await start(suppliers=2)
    gateway.suppliers[0].answers["smollm2"] = dies_in_mid_stream
    gateway.suppliers[1].answers["smollm2"] = chat(["quite ", "another ", "text"] * 10)
    texts = []
    for _ in range(6):
        async with gateway.http.post(
            f"{gateway.url}/v1/chat/completions", json={**ASK, "stream": True}, headers=gateway.headers
        ) as answer:
            texts.append((await answer.read()).decode())
    for text in texts:
        assert ("word0" in text) != ("quite" in text)
        assert ('"error"' in text) == ("word0" in text)


def chunks_of(pieces: list[str]) -> bytes:
    ends = [None] * (len(pieces) - 1) + ["stop"]
    return b"".join(
        event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": end}]})
        for piece, end in zip(pieces, ends, strict=True)
    )


@given(
    pieces=st.lists(st.text("ab", max_size=3), min_size=1, max_size=8),
    other=st.lists(st.integers(0, 3), max_size=12),
    cut=st.integers(0, 30),
)
def test_a_continuation_gives_each_letter_once(pieces: list[str], other: list[int], cut: int) -> None:
    whole = "".join(pieces)
    sent = whole[:cut]
    again, at = [], 0
    for size in other:
        again.append(whole[at : at + size])
        at += size
    again.append(whole[at:])
    first = Delivered()
    first.add(chunks_of([sent]))
    assert first.text() == sent
    seen = Delivered()
    seen.add(chunks_of([sent]))
    seen.add(Continuation(sent).feed(chunks_of(again)))
    assert seen.text() == whole


@given(sent=st.text("ab", min_size=1, max_size=8), other=st.text("ab", max_size=8))
def test_a_text_that_begins_otherwise_is_refused(sent: str, other: str) -> None:
    if other.startswith(sent):
        return
    with pytest.raises(Diverged):
        Continuation(sent).feed(chunks_of(list(other) or [""]))


async def test_records_of_failed_attempts_name_the_receipt_and_the_signed_error(start: Start) -> None:
    gateway = await start(suppliers=2)
    answers: Any = (broken, lies_about_ids)
    for supplier, answer in zip(gateway.suppliers, answers, strict=True):
        supplier.answers["eth"] = answer
    await gateway.rpc("eth_getCode", "0x1", "latest")
    for supplier in gateway.suppliers:
        await supplier.server.drain(0)
    await gateway.rpc("eth_getCode", "0x2", "latest")
    records = gateway.records()
    assert {r.verdict for r in records} >= {Verdict.WRONG, Verdict.FAULT}
    assert all(r.receipt != ZERO32 and r.response != ZERO32 for r in records[:2])
    assert len({r.receipt for r in records}) == len(records)
