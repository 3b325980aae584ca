"""A chain that is away, slow, behind, lying, failing, dear, forgetful or rewritten: money waits, and then is right."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from pocketnode.chain.events import Claimed, Stated, Withdrawn
from pocketnode.localnet.plan import CHAIN, GATEWAY, SUPPLIERS
from tests.faults import books
from tests.faults.chain_proxy import ChainProxy, Mood
from tests.faults.world import DAEMONS, World, until

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

CALLS: Final = 60
GWEI: Final = 10**9
audit = pytest.mark.audit


async def served(world: World, withhold: bool = False) -> int:
    """Return a session that has just begun and in which users got answers."""
    await world.withhold(withhold)
    number = await world.new_session()
    assert await world.load(CALLS) == CALLS
    return number


async def paid(world: World, number: int, stated: bool | None = None) -> None:
    """Check that everyone is paid once and exactly for what was accepted, by a statement or without one."""
    pot, accepted = await books.settled(world, number)
    assert pot.units == accepted
    assert stated is None or pot.statements == stated
    assert all(world.alive(name) for name in DAEMONS)


async def test_a_node_away_for_the_whole_statement_window(world: World) -> None:
    number = await served(world)
    world.nodes[GATEWAY].mood.down = True
    windows = world.deployment.windows
    await world.mine_to(world.end_of(number))
    await world.pace(world.end_of(number) + windows.statement + 1)
    world.nodes[GATEWAY].mood.down = False
    await world.pace(world.end_of(number) + windows.statement + windows.claim + 1)
    await paid(world, number, stated=False)
    assert "statement_missed" in world.log(GATEWAY)


MOODS: Final = {
    "slow": Mood(delay_s=0.1),
    "failing": Mood(failing=0.5),
    "behind": Mood(behind=2),
}


@audit
@pytest.mark.parametrize("name", MOODS)
async def test_a_node_that_is_no_good(world: World, name: str) -> None:
    number = await served(world)
    for daemon in DAEMONS:
        mood = MOODS[name]
        world.nodes[daemon].mood = Mood(delay_s=mood.delay_s, failing=mood.failing, behind=mood.behind)
    assert await world.load(CALLS) == CALLS
    await world.settle(number, rest_s=2.5)
    for daemon in DAEMONS:
        world.nodes[daemon].mood = Mood()
    # With a window of five blocks the statement may come too late: then suppliers claim.
    await paid(world, number)


@audit
async def test_a_gateway_that_is_only_slow_states_in_time(world: World) -> None:
    """A block a second, five of them to state in, and a node that takes a fifth of a second for each call."""
    await world.withhold(False)
    number = await world.new_session()
    world.nodes[GATEWAY].mood.delay_s = 0.2
    assert await world.load(CALLS) == CALLS
    await world.mine_to(world.end_of(number) - 2)
    await world.rpc.ask("evm_setIntervalMining", 1)
    try:
        await until(has(world, number, Stated, 1), 15, f"session {number} is not stated", 0.2)
    finally:
        await world.rpc.ask("evm_setIntervalMining", 0)
        world.nodes[GATEWAY].mood.delay_s = 0
    await world.settle(number)
    await paid(world, number, stated=True)


@audit
async def test_a_node_that_lies_about_its_head(world: World) -> None:
    number = await served(world)
    for daemon in DAEMONS:
        world.nodes[daemon].mood.ahead = 500
    await world.load(CALLS)
    await asyncio.sleep(2)
    for daemon in DAEMONS:
        world.nodes[daemon].mood.ahead = 0

    async def works_again() -> bool:
        return bool(await world.ask())

    await until(works_again, 20, "the gateway does not find back", 0.5)
    await world.settle(number)
    await paid(world, number)


@audit
@pytest.mark.parametrize("mood", [Mood(ahead=500), Mood(behind=10), Mood(forks=True)], ids=["ahead", "behind", "fork"])
async def test_one_liar_among_three_nodes_changes_nothing(world: World, mood: Mood) -> None:
    """Every daemon asks the liar first and two good nodes besides: sessions are served and stated as ever."""
    liar, good = ChainProxy(world.plan.url(CHAIN), mood=mood), ChainProxy(world.plan.url(CHAIN))
    await liar.start()
    await good.start()
    try:
        for daemon in DAEMONS:
            await world.restart(daemon, rpc=[liar.own_url, good.own_url, world.nodes[daemon].own_url])
        number = await served(world)
        await world.settle(number)
        await paid(world, number, stated=True)
        assert liar.asked > 0
        assert all("chain_node_failed" in world.log(daemon) for daemon in DAEMONS)
    finally:
        for daemon in DAEMONS:
            await world.restart(daemon, rpc=[world.nodes[daemon].own_url])
        await liar.close()
        await good.close()


@audit
async def test_daemons_that_wait_for_confirmations(world: World) -> None:
    """A statement that was mined is not done for its gateway before two more blocks; everything is paid as ever."""
    waits = {"confirmations": 2}
    try:
        for supplier in SUPPLIERS:
            await world.restart(supplier, settlement=waits)
        await world.restart(GATEWAY, statements={"withhold": False, **waits})
        number = await world.new_session()
        assert await world.load(CALLS) == CALLS
        await world.mine_to(world.end_of(number))
        await world.mine_until(has(world, number, Stated, 1), 30, "nobody states")
        ended = f'"session": {number}, "stage": "stated"'
        assert ended not in world.log(GATEWAY)
        await world.pace(await world.head() + 2)
        await until(lambda: logged(world, GATEWAY, ended), 10, "the statement is never done")
        await world.settle(number)
        await paid(world, number, stated=True)
    finally:
        for supplier in SUPPLIERS:
            await world.restart(supplier, settlement={})
        await world.restart(GATEWAY, statements={"withhold": False})


async def logged(world: World, name: str, words: str) -> bool:
    return words in world.log(name)


@audit
async def test_an_empty_gas_balance_is_told_and_recovered_from(world: World) -> None:
    address = world.plan.addresses[GATEWAY]
    balance = await world.rpc.ask("eth_getBalance", address, "latest")
    number = await served(world)
    await world.rpc.ask("anvil_setBalance", address, "0x0")
    await world.mine_to(world.end_of(number))
    await world.pace(world.end_of(number) + 4)
    assert "gas_balance_low" in world.log(GATEWAY)
    assert (await books.pot(world, number)).statements == 0
    await world.rpc.ask("anvil_setBalance", address, balance)
    await world.settle(number)
    await paid(world, number)


@audit
async def test_a_fee_spike_is_waited_for(world: World) -> None:
    number = await served(world)
    await world.mine_to(world.end_of(number))
    for _ in range(3):
        await world.rpc.ask("anvil_setNextBlockBaseFeePerGas", hex(900 * GWEI))
        await world.tick(0.5)
    await world.rpc.ask("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    await world.settle(number)
    await paid(world, number)
    assert "fee_above_cap" in world.log(GATEWAY)


@audit
async def test_a_transaction_that_no_node_passes_on(world: World) -> None:
    number = await served(world)
    world.nodes[GATEWAY].mood.swallows = True
    await world.mine_to(world.end_of(number))

    async def swallowed() -> bool:
        return bool(world.nodes[GATEWAY].swallowed)

    await world.mine_until(swallowed, 10, "no statement was sent")
    world.nodes[GATEWAY].mood.swallows = False
    await world.settle(number)
    await paid(world, number)


def has(
    world: World, number: int, kind: type[Stated | Claimed | Withdrawn], times: int
) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        pot = await books.pot(world, number)
        return {Stated: pot.statements, Claimed: len(pot.claimed), Withdrawn: pot.payments}[kind] >= times

    return holds


DEPTHS: Final = range(1, 9)
OFTEN: Final = {(Stated, 2), (Withdrawn, 3), (Claimed, 6)}


def reorgs(*kinds: type[Stated | Claimed | Withdrawn]) -> list[Any]:
    """Return rows of all depths; one of each kind runs with the other tests."""
    return [
        pytest.param(kind, depth, id=f"{kind.__name__}-{depth}", marks=[] if (kind, depth) in OFTEN else [audit])
        for kind in kinds
        for depth in DEPTHS
    ]


@pytest.mark.parametrize(("kind", "depth"), reorgs(Stated, Withdrawn))
async def test_a_reorg_across_it(world: World, kind: type[Stated | Withdrawn], depth: int) -> None:
    await survive_reorg(world, kind, depth)


@pytest.mark.parametrize(("kind", "depth"), reorgs(Claimed))
async def test_a_reorg_across_a_claim(slow_world: World, kind: type[Claimed], depth: int) -> None:
    """What is unwound must be mined again before the claim window closes: that of most localnets is too short."""
    await survive_reorg(slow_world, kind, depth)


async def survive_reorg(world: World, kind: type[Stated | Claimed | Withdrawn], depth: int) -> None:
    """Have the chain forget the newest `depth` blocks and all that was in them, and go on with others."""
    withhold = kind is Claimed
    number = await served(world, withhold)
    await world.mine_to(world.end_of(number))
    suppliers = len(world.answered.of(world.session(number)))
    await world.mine_until(has(world, number, kind, 1 if kind is Stated else suppliers), 30, f"nobody {kind.__name__}")
    # One block is on top already when it is seen; as many as the reorg is deep are gone, the transaction with them.
    await world.pace(await world.head() + depth - 1)
    await asyncio.sleep(0.5)
    await world.rpc.ask("anvil_reorg", depth, [])
    await world.settle(number)
    await paid(world, number)
