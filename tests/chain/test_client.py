"""What one chain node cannot answer the next is asked; what a node refuses is not asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import Log, contract, explain, log_of
from pocketnode.chain.errors import Refused, Reverted
from pocketnode.chain.events import typed
from pocketnode.chain.heads import Heads, block_at
from pocketnode.chain.reader import view
from pocketnode.errors import BadInput, ConfigError, NotFound, PocketError, Unavailable
from tests.anvil import KEYS
from tests.chain.conftest import Chain
from tests.chain.proxy import Proxy, proxy


@pytest.fixture
async def flaky(anvil_url: str, rpc: Rpc) -> AsyncIterator[Proxy]:
    async with proxy(anvil_url) as running:
        yield running


async def test_a_second_node_stands_in_for_the_first(flaky: Proxy, anvil_url: str) -> None:
    flaky.down = True
    async with Rpc([flaky.url, anvil_url], patience_s=2) as rpc:
        assert await rpc.ask("eth_chainId") == "0x7a69"
        calls = len(flaky.calls)
        await rpc.ask("eth_chainId")
        assert len(flaky.calls) == calls  # benched: not asked again for a while


async def test_errors_for_half_the_calls_are_ridden_out(flaky: Proxy) -> None:
    turn = count()
    flaky.answer = lambda method, params: (
        {"error": {"code": -32603, "message": "internal"}} if next(turn) % 2 == 0 else None
    )
    async with Rpc([flaky.url], patience_s=5) as rpc:
        for _ in range(5):
            assert await rpc.ask("eth_chainId") == "0x7a69"


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=500, text="<html>"),
        web.Response(text="null"),
        {"error": {"code": -32005, "message": "rate limit"}},
        {"error": {"code": -32000, "message": "header not found"}},
        {},
    ],
    ids=["html", "null", "limited", "lagging", "neither"],
)
async def test_nonsense_is_unavailable_in_the_end(flaky: Proxy, answer: Any) -> None:
    flaky.answer = lambda method, params: _fresh(answer)
    async with Rpc([flaky.url], patience_s=0.2) as rpc:
        with pytest.raises(Unavailable):
            await rpc.ask("eth_chainId")


async def test_a_slow_node_is_given_up(flaky: Proxy, anvil_url: str) -> None:
    flaky.delay_s = 2.0
    async with Rpc([flaky.url, anvil_url], timeout_s=0.2, patience_s=2) as rpc:
        assert await rpc.ask("eth_chainId") == "0x7a69"


async def test_a_refusal_is_not_asked_again(flaky: Proxy) -> None:
    async with Rpc([flaky.url]) as rpc:
        with pytest.raises(Refused):
            await rpc.ask("eth_noSuchMethod")
    assert len(flaky.calls) == 1


@pytest.mark.parametrize("urls", [[], ["ftp://node"], ["nonsense"]])
def test_a_url_that_is_none_is_refused(urls: list[str]) -> None:
    with pytest.raises(ConfigError):
        Rpc(urls)


async def test_a_revert_is_named_with_what_it_compared(chain: Chain) -> None:
    call = contract("Services").call_data("ownerOf", b"nosuchservice".ljust(32, b"\x00"))
    with pytest.raises(Reverted) as caught:
        await view(chain.rpc, chain.deployment.contracts.services, call)
    assert caught.value.name == "NoService"
    assert list(caught.value.facts) == ["service"]


async def test_an_argument_that_does_not_fit_is_bad_input() -> None:
    with pytest.raises(BadInput, match="deposit"):
        contract("Escrow").call_data("deposit", KEYS[0].address, -1)


async def test_a_block_that_is_not_there_yet_is_unavailable(rpc: Rpc) -> None:
    with pytest.raises(Unavailable, match="no block"):
        await block_at(rpc, 10**9)


async def test_a_lagging_node_does_not_take_the_head_back(flaky: Proxy, anvil_url: str) -> None:
    async with Rpc([anvil_url]) as rpc, Rpc([flaky.url]) as lagging:
        await rpc.ask("anvil_mine", "0x3")
        heads = Heads(lagging)
        before = await heads.refresh()
        await rpc.ask("anvil_mine", "0x2")
        newest = await heads.refresh()
        old = await rpc.ask("eth_getBlockByNumber", hex(before.number), False)
        flaky.answer = lambda method, params: {"result": old}
        assert await heads.refresh() == newest
        assert heads.reorgs == 0


def test_an_unknown_contract_is_not_found() -> None:
    with pytest.raises(NotFound):
        contract("Nothing")


@given(st.binary(max_size=200))
def test_any_bytes_of_a_revert_are_explained(data: bytes) -> None:
    assert isinstance(explain(Refused(3, "execution reverted", data)), PocketError)


@settings(max_examples=200)
@given(
    topic=st.sampled_from(sorted(contract("Settlement").events)),
    topics=st.lists(st.binary(min_size=32, max_size=32), max_size=3),
    data=st.binary(max_size=400),
)
def test_any_log_is_an_event_or_unavailable(topic: bytes, topics: list[bytes], data: bytes) -> None:
    with suppress(Unavailable):
        typed(Log(b"a" * 20, (topic, *topics), data, 1, b"h" * 32, b"t" * 32, 0))


@given(
    st.dictionaries(
        st.sampled_from(["address", "topics", "data", "blockNumber"]), st.text("0xaf", max_size=70) | st.none()
    )
)
def test_any_answer_is_a_log_or_unavailable(raw: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        log_of(raw)


def _fresh(answer: Any) -> Any:
    return web.Response(status=answer.status, text=answer.text) if isinstance(answer, web.Response) else answer
