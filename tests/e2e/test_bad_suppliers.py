"""Three supplier daemons, of which one lies, one crawls and one dies: what users of unmodified clients get of that."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final, cast

import aiohttp
import openai
import pytest
import pytest_asyncio
from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3 import AsyncHTTPProvider, AsyncWeb3, WebSocketProvider
from web3.exceptions import Web3Exception
from web3.types import TxParams

from pocketnode.localnet.plan import GATEWAY, LLM, SUPPLIERS
from tests.faults.world import World, running

pytestmark = pytest.mark.e2e

REQUESTS: Final = 2_000
USERS: Final = 16
CHATS: Final = 0.02  # share of them: the model runs on the cores that everything else here runs on
SHARES: Final = (CHATS / 2, CHATS / 2, 0.1, 0.2, 0.7 - CHATS)  # chats, streams, batches, WebSocket, HTTP
COPIES: Final[ChecksumAddress] = to_checksum_address("0x" + "00" * 19 + "04")
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
        self.kinds: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self._numbers, self._dice = itertools.count(1), random.Random(11)
        self._text = text
        key = world.layout.api_key.read_text().strip()
        self._llm = openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key=key, max_retries=0, timeout=60)
        url = f"{world.url}/rpc/eth/{key}"
        self._http = AsyncWeb3(AsyncHTTPProvider(url, exception_retry_configuration=None))
        self._socket = AsyncWeb3(WebSocketProvider(url.replace("http", "ws", 1)))

    async def __aenter__(self) -> Users:
        await self._socket.provider.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._llm.close()
        await self._socket.provider.disconnect()
        await self._http.provider.disconnect()

    async def send(self, count: int) -> None:
        kinds = (self._chat, self._stream, self._batch, self._by_socket, self._call)
        for _ in range(count):
            (kind,) = self._dice.choices(kinds, SHARES)
            self.kinds[kind.__name__] += 1
            try:
                found, expected = await kind()
            except (openai.OpenAIError, aiohttp.ClientError, Web3Exception, TimeoutError, ValueError) as error:
                self.wrong[f"{kind.__name__}: {error!r}"] += 1
                continue
            self.right += found == expected
            self.wrong[f"{kind.__name__}: {found!r} for {expected!r}"] += found != expected

    def _new(self) -> tuple[bytes, TxParams]:
        """Return what was never asked for, and a call of the contract that gives it back."""
        asked = next(self._numbers).to_bytes(8, "big")
        return asked, {"to": COPIES, "data": HexBytes(asked)}

    async def _call(self) -> tuple[Any, Any]:
        asked, call = self._new()
        return bytes(await self._http.eth.call(call)), asked

    async def _by_socket(self) -> tuple[Any, Any]:
        asked, call = self._new()
        return bytes(await self._socket.eth.call(call)), asked

    async def _batch(self) -> tuple[Any, Any]:
        asked, calls = zip(*(self._new() for _ in range(3)), strict=True)
        async with self._http.batch_requests() as batch:
            for call in calls:
                batch.add(self._http.eth.call(call))
            found = cast(list[HexBytes], await batch.async_execute())
        return [bytes(one) for one in found], list(asked)

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
    assert users.kinds.total() == REQUESTS
    assert len(users.kinds) == len(SHARES), users.kinds
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
