"""Three supplier daemons, of which one lies, one crawls and one dies: what users of unmodified clients get of that."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import openai
import pytest
import pytest_asyncio

from pocketnode.crypto.keccak import keccak
from pocketnode.localnet.plan import GATEWAY, LLM, SUPPLIERS
from tests.faults.world import World, running

pytestmark = pytest.mark.e2e

REQUESTS: Final = 2_000
USERS: Final = 16
CHATS: Final = 0.02  # share of them: the model runs on the cores that everything else here runs on
RIGHT: Final = 0.999
MODEL: Final = "smollm2-135m"
ASK: Final[dict[str, Any]] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Name a river."}],
    "temperature": 0,
    "max_tokens": 12,
}
LIAR, SLOW, DYING = SUPPLIERS


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("bad") / "net", llm=True, start=False) as world:
        ways = {LIAR: "false-ids", SLOW: "slow", DYING: "dies"}
        await asyncio.gather(*(world.start(name, cheat=way) for name, way in ways.items()))
        await world.start(GATEWAY)
        yield world


class Users:
    """Sends mixed requests and keeps what was wrong."""

    def __init__(self, world: World, text: str) -> None:
        self.right = 0
        self.wrong: Counter[str] = Counter()
        self._numbers, self._dice = itertools.count(1), random.Random(11)
        self._text = text
        key = world.layout.api_key.read_text().strip()
        self._llm = openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key=key, max_retries=0, timeout=60)
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"})
        self._url = f"{world.url}/rpc/eth"

    async def __aenter__(self) -> Users:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._llm.close()
        await self._http.close()

    async def send(self, count: int) -> None:
        for _ in range(count):
            draw = self._dice.random()
            kind = self._chat if draw < CHATS / 2 else self._stream if draw < CHATS else self._call
            try:
                found, expected = await kind()
            except (openai.OpenAIError, aiohttp.ClientError, TimeoutError) as error:
                self.wrong[f"{kind.__name__}: {error}"] += 1
                continue
            self.right += found == expected
            self.wrong[f"{kind.__name__}: {found!r} for {expected!r}"] += found != expected

    async def _call(self) -> tuple[Any, Any]:
        number = next(self._numbers)
        asked = number.to_bytes(8, "big")
        body = {"jsonrpc": "2.0", "id": number, "method": "web3_sha3", "params": ["0x" + asked.hex()]}
        async with self._http.post(self._url, json=body) as answer:
            reply = await answer.json()
        return (reply["id"], reply.get("result", reply)), (number, "0x" + keccak(asked).hex())

    async def _chat(self) -> tuple[Any, Any]:
        return (await self._llm.chat.completions.create(**ASK)).choices[0].message.content, self._text

    async def _stream(self) -> tuple[Any, Any]:
        stream = await self._llm.chat.completions.create(**ASK, stream=True)
        chunks = [chunk async for chunk in stream]
        return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices), self._text


@pytest.mark.asyncio(loop_scope="session")
async def test_users_get_right_answers_from_bad_suppliers(world: World) -> None:
    async with openai.AsyncOpenAI(base_url=f"{world.plan.url(LLM)}/v1", api_key="none", timeout=60) as direct:
        text = (await direct.chat.completions.create(**ASK)).choices[0].message.content or ""
    assert len(text) > 10
    async with Users(world, text) as users:
        await asyncio.gather(*(users.send(REQUESTS // USERS) for _ in range(USERS)))
    assert users.right >= REQUESTS * RIGHT, +users.wrong
    verdicts = await verdicts_of(world)
    assert verdicts["eth", LIAR]["wrong"] > 0
    assert verdicts["smollm2", DYING]["fault"] > 0
    for service, honest in (("eth", SLOW), ("eth", DYING), ("smollm2", LIAR), ("smollm2", SLOW)):
        found = verdicts[service, honest]
        assert found["wrong"] == 0, (service, honest)
        assert found["fault"] <= 2, (service, honest)  # a lane may break on a machine that does much else
    # Who lies and who dies keep no more than the probation share: the others serve.
    assert verdicts["eth", LIAR]["wrong"] < REQUESTS * 0.1
    hedged = sum(sum(verdicts["eth", name].values()) for name in SUPPLIERS)
    assert hedged >= REQUESTS * (1 - CHATS) * 0.9


@pytest.mark.asyncio(loop_scope="session")
async def test_a_killed_supplier_is_seen_by_nobody(world: World) -> None:
    async with Users(world, "") as users:
        sending = asyncio.gather(*(users.send(60) for _ in range(4)))
        await asyncio.sleep(0.3)
        await world.kill(SLOW)
        await sending
    failed = {what: count for what, count in (+users.wrong).items() if not re.match("_(chat|stream)", what)}
    assert not failed


async def verdicts_of(world: World) -> dict[tuple[str, str], dict[str, int]]:
    facts = await world.facts(GATEWAY)
    names = {world.plan.addresses[name].lower(): name for name in SUPPLIERS}
    return {
        (session["service"], names[supplier["operator"].lower()]): supplier["verdicts"]
        for session in facts["sessions"]
        for supplier in session["suppliers"]
    }
