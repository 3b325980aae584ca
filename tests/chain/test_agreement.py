"""Several nodes in front of one real chain: who lies about the newest block, lags or is away decides nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from pocketnode.chain import agreement
from pocketnode.chain.agreement import agreed_head, majority_height
from pocketnode.chain.blocks import block_at
from pocketnode.chain.client import Rpc
from pocketnode.chain.heads import Heads
from pocketnode.errors import Unavailable
from tests.anvil import mine
from tests.faults.chain_proxy import ChainProxy, Mood

SLACK = 5
LIES = 500


@asynccontextmanager
async def nodes(url: str, *moods: Mood) -> AsyncIterator[tuple[Rpc, list[ChainProxy]]]:
    """Give a client of as many nodes as there are moods."""
    async with AsyncExitStack() as stack:
        proxies = [ChainProxy(url, mood=mood) for mood in moods]
        for proxy in proxies:
            await proxy.start()
            stack.push_async_callback(proxy.close)
        yield await stack.enter_async_context(Rpc([p.own_url for p in proxies], patience_s=3)), proxies


async def head(rpc: Rpc) -> int:
    return int(await rpc.ask("eth_blockNumber"), 16)


@pytest.mark.parametrize(
    "moods",
    [
        (Mood(ahead=LIES), Mood(), Mood()),
        (Mood(behind=20), Mood(), Mood()),
        (Mood(down=True), Mood(), Mood()),
        (Mood(delay_s=9.0), Mood(), Mood()),
        (Mood(ahead=LIES), Mood(behind=20), Mood(), Mood(), Mood()),
        (Mood(ahead=LIES), Mood()),
        (Mood(down=True), Mood()),
    ],
    ids=str,
)
async def test_the_head_is_that_of_the_good(anvil_url: str, rpc: Rpc, moods: tuple[Mood, ...]) -> None:
    await mine(rpc, 30)
    async with nodes(anvil_url, *moods) as (several, proxies):
        assert (await agreed_head(several, SLACK)).number == await head(rpc)
        bad = several.nodes[: sum(mood != Mood() for mood in moods)]
        assert [node.benched for node in several.nodes] == [node in bad for node in several.nodes]
        asked = [proxy.asked for proxy in proxies[: len(bad)]]
        await several.ask("eth_chainId")
        assert [proxy.asked for proxy in proxies[: len(bad)]] == asked  # the others are asked first


@pytest.mark.parametrize(("later_s", "believed_behind"), [(-1, 59), (2, 0)])
async def test_of_two_the_one_that_stands_still_is_left(
    anvil_url: str, rpc: Rpc, later_s: int, believed_behind: int
) -> None:
    await mine(rpc, 60)
    newest = await head(rpc)
    stands_s = (await block_at(rpc, newest - 59)).timestamp_s
    now_s = stands_s + agreement.STANDS_STILL_S + later_s
    async with nodes(anvil_url, Mood(behind=59), Mood()) as (two, _):
        assert (await agreed_head(two, SLACK, lambda: now_s)).number == newest - believed_behind


async def test_nobody_is_believed_where_all_disagree(anvil_url: str, rpc: Rpc) -> None:
    await mine(rpc, 10)
    async with nodes(anvil_url, Mood(forks=True), Mood()) as (two, _):
        with pytest.raises(Unavailable, match="do not agree"):
            await agreed_head(two, SLACK)
    async with nodes(anvil_url, Mood(forks=True), Mood(), Mood()) as (three, _):
        assert (await agreed_head(three, SLACK)).hash == (await block_at(rpc, "latest")).hash
        assert three.nodes[0].benched


@pytest.mark.parametrize("liar", [Mood(ahead=LIES), Mood(ahead=1)], ids=str)
async def test_a_single_node_that_lies_is_not_followed(anvil_url: str, rpc: Rpc, liar: Mood) -> None:
    """Its block has no parent; once it tells the truth again nothing is left of the lie."""
    await mine(rpc, 10)
    async with nodes(anvil_url, liar) as (one, (proxy,)):
        with pytest.raises(Unavailable):
            await Heads(one).refresh()  # not even at the start
        proxy.mood = Mood()
        heads = Heads(one)
        honest = await heads.refresh()
        proxy.mood = liar
        with pytest.raises(Unavailable):
            await heads.refresh()
        assert heads.newest == honest
        proxy.mood = Mood()
        await mine(rpc, 2)
        assert (await heads.refresh()).number == honest.number + 2
        assert heads.reorgs == 0


async def test_heads_go_on_while_a_node_comes_and_goes(anvil_url: str, rpc: Rpc) -> None:
    async with nodes(anvil_url, Mood(), Mood(), Mood()) as (three, proxies):
        heads = Heads(three, poll_interval_s=0.02)
        running = asyncio.create_task(heads.run())
        begun_s = time.monotonic()
        for mood in (Mood(down=True), Mood(ahead=LIES), Mood(), Mood(behind=3), Mood(ahead=1)):
            proxies[0].mood = mood
            await mine(rpc, 3)
            await asyncio.wait_for(heads.wait(await head(rpc)), 10)
            assert heads.number == await head(rpc)
        assert time.monotonic() - begun_s < 20
        assert heads.reorgs == 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_the_majority_is_more_than_half() -> None:
    for count in range(2, 10):
        numbers = list(range(count))
        height = majority_height(numbers)
        assert 2 * sum(number >= height for number in numbers) > count
        assert 2 * sum(number > height for number in numbers) <= count
