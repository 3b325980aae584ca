"""Every intent takes effect once: over restarts, reorgs, outages, stuck transactions and an empty balance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import contract
from pocketnode.chain.errors import Expired, Refused, TransactionFailed
from pocketnode.chain.fees import FeePolicy, Offer, bumped, first_offer
from pocketnode.chain.heads import Heads
from pocketnode.chain.reader import view
from pocketnode.chain.sender import Sender
from pocketnode.crypto.keys import checksum
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.journal import Intent, Journal, Stage
from tests.anvil import KEYS, eventually, mine, reorg
from tests.chain.conftest import Chain
from tests.chain.proxy import Proxy, proxy

KEY = KEYS[5]
MANY_WEI = 10**18


@asynccontextmanager
async def sender_at(
    rpc: Rpc, folder: Path, confirmations: int = 0, policy: FeePolicy | None = None
) -> AsyncIterator[tuple[Sender, Journal]]:
    engine = open_store(sqlite_url(folder / "journal.db"))
    heads = Heads(rpc, poll_interval_s=0.02)
    await heads.refresh()
    journal = Journal(engine, KEY.address)
    sender = Sender(rpc, heads, KEY, journal, 31337, confirmations, policy or FeePolicy(bump_after_blocks=2))
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(heads.run()), group.create_task(sender.run())]
        try:
            yield sender, journal
        finally:
            for job in jobs:
                job.cancel()
    engine.dispose()


@asynccontextmanager
async def forgetful(chain: Chain) -> AsyncIterator[tuple[Proxy, Rpc]]:
    """Give a node that takes transactions and forgets them, as a full pool does."""
    async with proxy(chain.url) as node, Rpc([node.url], patience_s=1.0) as rpc:
        node.answer = lambda method, params: (
            {"result": "0x" + "00" * 32} if method == "eth_sendRawTransaction" else None
        )
        yield node, rpc


def mint(chain: Chain, key: str = "mint", amount: int = 7, deadline: int | None = None) -> Intent:
    """Return an intent whose effect adds up if it happens twice."""
    data = contract("TestToken").call_data("mint", KEY.address, amount)
    return Intent(key, chain.deployment.contracts.token, data, deadline=deadline)


async def minted(chain: Chain) -> int:
    known = contract("TestToken")
    raw = await view(chain.rpc, chain.deployment.contracts.token, known.call_data("balanceOf", KEY.address))
    amount: int = known.result("balanceOf", raw)[0]
    return amount


async def head(chain: Chain) -> int:
    return int(await chain.rpc.ask("eth_blockNumber"), 16)


async def until(journal: Journal, key: str, stage: Stage) -> None:
    """Wait until an intent stands where it should."""
    await eventually(lambda: any(e.intent.key == key and e.stage is stage for e in journal.live()))


async def test_the_same_key_is_sent_once(chain: Chain, tmp_path: Path) -> None:
    async with sender_at(chain.rpc, tmp_path) as (sender, _):
        first, second = await asyncio.gather(sender.send(mint(chain)), sender.send(mint(chain)))
        assert first.hash == second.hash == (await sender.send(mint(chain))).hash
        assert await minted(chain) == 7


async def test_many_at_once_get_a_nonce_each(chain: Chain, tmp_path: Path) -> None:
    async with sender_at(chain.rpc, tmp_path) as (sender, _):
        await asyncio.gather(*(sender.send(mint(chain, f"mint:{n}", 1)) for n in range(10)))
        assert await minted(chain) == 10


async def test_a_refusal_is_named_and_can_be_tried_again(chain: Chain, tmp_path: Path) -> None:
    pull = contract("TestToken").call_data("transferFrom", KEYS[0].address, KEY.address, 1)
    async with sender_at(chain.rpc, tmp_path) as (sender, journal):
        with pytest.raises(TransactionFailed, match="ERC20InsufficientAllowance"):
            await sender.send(Intent("pull", chain.deployment.contracts.token, pull))
        with pytest.raises(TransactionFailed):
            await sender.send(Intent("pull", chain.deployment.contracts.token, pull))
        again = Intent("pull", chain.deployment.contracts.token, mint(chain).data)
        assert (await sender.retry(again)).receipt["status"] == "0x1"
        assert journal.get("pull").stage is Stage.DONE


async def test_a_killed_sender_sends_the_same_bytes_again(chain: Chain, tmp_path: Path) -> None:
    async with proxy(chain.url) as node:
        # It is killed after it signed and before the node heard of it.
        node.answer = lambda method, params: (
            {"error": {"code": -32603, "message": "lost"}} if method == "eth_sendRawTransaction" else None
        )
        async with Rpc([node.url], patience_s=0.1) as lossy, sender_at(lossy, tmp_path) as (sender, journal):
            waiting = asyncio.ensure_future(sender.send(mint(chain)))
            await until(journal, "mint", Stage.SENT)
            (attempt,) = journal.attempts("mint")
            waiting.cancel()
        assert await minted(chain) == 0
    async with sender_at(chain.rpc, tmp_path) as (sender, _):
        assert (await sender.send(mint(chain))).hash == attempt.hash
        assert await minted(chain) == 7


async def test_a_sender_killed_after_sending_finds_what_was_mined(chain: Chain, tmp_path: Path) -> None:
    async with sender_at(chain.rpc, tmp_path, confirmations=5) as (sender, journal):
        waiting = asyncio.ensure_future(sender.send(mint(chain)))
        await until(journal, "mint", Stage.MINED)
        waiting.cancel()
    await mine(chain.rpc, 6)
    async with sender_at(chain.rpc, tmp_path, confirmations=5) as (sender, _):
        await sender.send(mint(chain))
        assert await minted(chain) == 7


async def test_a_stuck_transaction_is_replaced(chain: Chain, tmp_path: Path) -> None:
    async with forgetful(chain) as (node, rpc), sender_at(rpc, tmp_path) as (sender, journal):
        waiting = asyncio.ensure_future(sender.send(mint(chain)))
        await until(journal, "mint", Stage.SENT)
        for attempts in (2, 3):
            await mine(chain.rpc, 2)
            await eventually(lambda wanted=attempts: len(journal.attempts("mint")) >= wanted)  # type: ignore[misc]
        node.answer = lambda method, params: None
        await mine(chain.rpc)
        mined = await asyncio.wait_for(waiting, 10)
        made = journal.attempts("mint")
        assert mined.hash in [attempt.hash for attempt in made]
        assert len({attempt.nonce for attempt in made}) == 1
        assert await minted(chain) == 7


async def test_what_was_not_mined_by_its_deadline_never_is(chain: Chain, tmp_path: Path) -> None:
    async with forgetful(chain) as (node, rpc), sender_at(rpc, tmp_path) as (sender, journal):
        waiting = asyncio.ensure_future(sender.send(mint(chain, deadline=await head(chain) + 2)))
        await until(journal, "mint", Stage.SENT)
        await mine(chain.rpc, 4)
        await eventually(lambda: journal.attempts("mint")[-1].cancels)
        node.answer = lambda method, params: None
        await mine(chain.rpc)
        with pytest.raises(Expired):
            await asyncio.wait_for(waiting, 10)
        with pytest.raises(Refused, match="nonce"):
            await chain.rpc.ask("eth_sendRawTransaction", "0x" + journal.attempts("mint")[0].raw.hex())
        assert await minted(chain) == 0


async def test_a_deadline_in_the_past_sends_nothing(chain: Chain, tmp_path: Path) -> None:
    async with sender_at(chain.rpc, tmp_path) as (sender, journal):
        with pytest.raises(Expired):
            await sender.send(mint(chain, deadline=await head(chain) - 1))
        assert journal.attempts("mint") == []


async def test_a_nonce_that_another_program_used_is_given_anew(chain: Chain, tmp_path: Path) -> None:
    async with forgetful(chain) as (node, rpc), sender_at(rpc, tmp_path) as (sender, journal):
        waiting = asyncio.ensure_future(sender.send(mint(chain)))
        await until(journal, "mint", Stage.SENT)
        (attempt,) = journal.attempts("mint")
        await chain.rpc.ask("anvil_setNonce", checksum(KEY.address), hex(attempt.nonce + 1))
        await mine(chain.rpc, 3)
        await eventually(lambda: [a.nonce for a in journal.attempts("mint")] > [attempt.nonce])
        node.answer = lambda method, params: None
        await mine(chain.rpc)
        await asyncio.wait_for(waiting, 10)
        assert await minted(chain) == 7


@pytest.mark.parametrize("depth", [1, 4, 8])
async def test_what_a_reorg_undid_is_sent_again(chain: Chain, tmp_path: Path, depth: int) -> None:
    async with sender_at(chain.rpc, tmp_path) as (sender, journal):
        await sender.send(mint(chain))
        await mine(chain.rpc, depth - 1)
        before = journal.get("mint").block_hash
        await asyncio.sleep(0.1)
        await reorg(chain.rpc, depth)
        assert await minted(chain) == 0
        await eventually(lambda: journal.get("mint").block_hash not in (None, before))
        assert await minted(chain) == 7


async def test_an_empty_balance_is_told_and_recovered_from(chain: Chain, tmp_path: Path) -> None:
    await chain.rpc.ask("anvil_setBalance", checksum(KEY.address), "0x0")
    async with sender_at(chain.rpc, tmp_path) as (sender, journal):
        waiting = asyncio.ensure_future(sender.send(mint(chain)))
        await mine(chain.rpc, 2)
        await asyncio.sleep(0.3)
        assert sender.balance_wei == 0
        assert journal.get("mint").stage is Stage.QUEUED
        await chain.rpc.ask("anvil_setBalance", checksum(KEY.address), hex(MANY_WEI))
        await mine(chain.rpc)
        await asyncio.wait_for(waiting, 10)
        assert await minted(chain) == 7


async def test_a_fee_spike_is_waited_out(chain: Chain, tmp_path: Path) -> None:
    policy = FeePolicy(cap_wei=50 * 10**9)
    await chain.rpc.ask("anvil_setNextBlockBaseFeePerGas", hex(90 * 10**9))
    await mine(chain.rpc)
    async with sender_at(chain.rpc, tmp_path, policy=policy) as (sender, journal):
        waiting = asyncio.ensure_future(sender.send(mint(chain)))
        await asyncio.sleep(0.3)
        assert journal.get("mint").stage is Stage.QUEUED
        await chain.rpc.ask("anvil_setNextBlockBaseFeePerGas", hex(10**9))
        await mine(chain.rpc)
        await asyncio.wait_for(waiting, 10)


async def test_an_outage_is_survived(chain: Chain, tmp_path: Path) -> None:
    async with (
        proxy(chain.url) as node,
        Rpc([node.url], patience_s=0.2) as lossy,
        sender_at(lossy, tmp_path) as (sender, _),
    ):
        node.down = True
        waiting = asyncio.ensure_future(sender.send(mint(chain)))
        await asyncio.sleep(0.5)
        node.down = False
        await asyncio.wait_for(waiting, 10)
        assert await minted(chain) == 7


@given(st.integers(0, 10**12), st.integers(0, 10**11), st.integers(0, 10**12), st.integers(1, 10**13))
def test_offers_stay_under_the_cap_and_always_rise(base: int, tip: int, later_base: int, cap: int) -> None:
    policy = FeePolicy(cap_wei=cap)
    offer = first_offer(base, tip, policy)
    while offer is not None:
        assert 0 <= offer.tip_wei <= offer.fee_wei <= cap
        after = bumped(offer, later_base, tip, policy)
        if after is not None:
            assert after.fee_wei * 10 >= offer.fee_wei * 11
            assert after.tip_wei * 10 >= offer.tip_wei * 11 or after.tip_wei == after.fee_wei
        offer = after


def test_an_offer_at_the_cap_is_not_raised() -> None:
    assert bumped(Offer(100, 1), 10, 1, FeePolicy(cap_wei=100)) is None
