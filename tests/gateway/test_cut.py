"""A stream that its user cuts: paid for by what was sent, and by no more than that."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from pocketnode.gateway.llm_codec import read_request
from pocketnode.protocol.quality import Verdict
from pocketnode.protocol.types import ZERO32
from pocketnode.transport.ports import LaneTerms, Relay, Served
from tests.gateway.conftest import Running, Start, until
from tests.gateway.market import EVENTS, Account, Answer, chat, event
from tests.gateway.test_recount import folder  # noqa: F401 - a fixture

MODEL = "smollm2-135m"
CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": True}


def telling(units_of_an_event: int, word: str = "word ") -> Answer:
    """Answer with words without end, and say of each that it has cost so many units."""

    async def answer(relay: Relay) -> Served:
        await relay.start(EVENTS)
        units = len(relay.body) // 4
        while True:
            await relay.write(event({"choices": [{"index": 0, "delta": {"content": word}}]}))
            units += units_of_an_event
            await relay.produced(units)
            await asyncio.sleep(0.02)

    return answer


async def cut(gateway: Running, **more: Any) -> None:
    """Leave a stream once some of it is here."""
    before = len(gateway.records())
    async with gateway.http.post(gateway.url + CHAT, json={**ASK, **more}, headers=gateway.headers) as answer:
        assert answer.status == 200
        for _ in range(8):
            await answer.content.readuntil(b"\n\n")
        answer.close()
    await until(lambda: len(gateway.records()) > before)


async def recounts(gateway: Running) -> list[str]:
    _, metrics = await gateway.admin("/metrics")
    return [line for line in metrics.splitlines() if line.startswith("pocketnode_gateway_recounts_total")]


@pytest.mark.parametrize(("choices", "units", "verdict"), [(1, 4, "cut"), (1, 40, "wrong"), (2, 8, "cut")])
async def test_what_is_signed_of_a_cut_stream_follows_from_its_events(
    start: Start, choices: int, units: int, verdict: str
) -> None:
    gateway = await start(suppliers=1)
    gateway.suppliers[0].answers["smollm2"] = telling(units)
    await cut(gateway, n=choices)
    (record,) = gateway.records()
    assert Verdict(record.verdict).name.lower() == verdict
    assert (record.units > 0) == (verdict == "cut")
    found = [line.partition("result=")[2] for line in await recounts(gateway)]
    assert found == ([] if verdict == "cut" else ['"disagrees"} 1.0'])


async def test_a_word_cut_into_letters_is_not_paid_for(start: Start, folder: Any) -> None:  # noqa: F811
    gateway = await start(suppliers=2, tokenizers={MODEL: str(folder)})
    gateway.suppliers[0].answers["smollm2"] = gateway.suppliers[1].answers["smollm2"] = letters
    async with gateway.http.post(gateway.url + CHAT, json=ASK, headers=gateway.headers) as answer:
        for _ in range(60):
            await answer.content.readuntil(b"\n\n")
        answer.close()
    await until(lambda: bool(gateway.records()))
    assert [(r.verdict, r.units) for r in gateway.records()] == [(Verdict.WRONG, 0)]


async def letters(relay: Relay) -> Served:
    """Answer in single letters, and call each a token."""
    await relay.start(EVENTS)
    units = len(relay.body) // 4
    for letter in "understanding " * 100:
        await relay.write(event({"choices": [{"index": 0, "delta": {"content": letter}}]}))
        units += 4
        await relay.produced(units)
        await asyncio.sleep(0.002)
    return Served(units, ZERO32)


async def test_who_takes_no_request_so_large_is_not_asked(start: Start) -> None:
    class Small(Account):
        terms = LaneTerms(10**9, max_in_flight=10_000, max_request=2_000)

    gateway = await start(suppliers=2)
    for supplier in gateway.suppliers:
        supplier.answers["smollm2"] = chat()
    small = gateway.suppliers[0]
    for active in gateway.daemon.sessions.all():
        lane = active.seats[small.key.address].lane
        assert lane is not None
        lane.terms = Small.terms  # type: ignore[misc]
    body = {**ASK, "stream": False, "messages": [{"role": "user", "content": "x" * 3_000}]}
    for _ in range(8):
        assert (await gateway.post(CHAT, body))[0] == 200
    assert not small.asked
    for active in gateway.daemon.sessions.all():
        for seat in active.seats.values():
            assert seat.lane is not None
            seat.lane.terms = Small.terms  # type: ignore[misc]
    status, refused, _ = await gateway.post(CHAT, body)
    assert (status, refused["error"]["code"]) == (413, "request_too_large")
    assert not small.asked


@pytest.mark.parametrize(
    ("fields", "choices", "most"),
    [
        ({"prompt": ["a", "b", "c"], "max_tokens": 5}, 3, 15),
        ({"prompt": ["a", "b"], "max_tokens": 5, "n": 2}, 4, 20),
        ({"prompt": [1, 2, 3], "max_tokens": 5}, 1, 5),
        ({"prompt": [[1], [2]], "max_tokens": 5}, 2, 10),
    ],
)
def test_each_prompt_has_its_own_answers(fields: dict[str, Any], choices: int, most: int) -> None:
    asked = read_request("/v1/completions", orjson.dumps({"model": MODEL, **fields}), 1000)
    assert (asked.choices, asked.output_most) == (choices, most)
