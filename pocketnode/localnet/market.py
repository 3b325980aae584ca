"""Opens a market on a fresh chain: contracts, money, services, registrations, escrow, grants and bonds.

By the functions behind the commands that an operator uses; only the test token and the chain's own gas are given away.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy import Engine

from pocketnode.chain import deployment as deployments
from pocketnode.chain import operations
from pocketnode.chain.actor import Actor, acting, sending
from pocketnode.chain.client import Rpc
from pocketnode.chain.deploy import LOCAL_SPANS, Spans, deploy
from pocketnode.chain.deploy import Plan as DeploymentPlan
from pocketnode.chain.deployment import Deployment
from pocketnode.chain.heads import block_at
from pocketnode.chain.operations import Profile
from pocketnode.crypto.keys import Key, checksum
from pocketnode.localnet import plan as plans
from pocketnode.localnet.configs import PRICES
from pocketnode.localnet.plan import APPLICATION, CHAIN, GATEWAY, SUPPLIERS, Plan
from pocketnode.localnet.ports import HOST
from pocketnode.localnet.state import Layout
from pocketnode.protocol.session import service_id
from pocketnode.services import spec
from pocketnode.store.engine import open_store, sqlite_url

GAS_WEI: Final = 1_000 * 10**18
TOKEN: Final = 10**6  # base units of one test token
ESCROW: Final = 1_000_000 * TOKEN
CAP: Final = 1_000 * TOKEN  # what the gateway may spend on one service in one session
BOND: Final = 10_000 * TOKEN
OWNER_SHARE: Final = 5_000  # of the fee, in ten-thousandths


class Opening:
    """The steps that open the market, on one chain."""

    def __init__(self, layout: Layout, plan: Plan, rpc: Rpc, journals: Engine, spans: Spans) -> None:
        self._layout = layout
        self._spans = spans
        self._plan = plan
        self._rpc = rpc
        self._journals = journals

    async def run(self) -> Deployment:
        """Do them all; return where the contracts stand."""
        deployer = Key(secrets.token_bytes(32))
        await self._give_gas([deployer.address, *map(raw, self._plan.addresses.values())])
        async with sending(self._rpc, deployer, self._journals) as sender:
            deployment = await deploy(self._rpc, sender, DeploymentPlan(spans=self._spans))
        async with acting(self._rpc, deployment, deployer, self._journals) as actor:
            await self._give_tokens(actor)
            for name, price in PRICES.items():
                await operations.add_service(actor, spec.builtin_bytes(name), "", 10 * price, OWNER_SHARE)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fund_application(deployment))
            group.create_task(self._bond_gateway(deployment))
            for name in SUPPLIERS:
                group.create_task(self._register(deployment, name))
        await self._begin_session(deployment)
        return deployment

    @asynccontextmanager
    async def _as(self, deployment: Deployment, name: str) -> AsyncIterator[Actor]:
        async with acting(self._rpc, deployment, plans.key(self._layout, name), self._journals) as actor:
            yield actor

    async def _give_gas(self, addresses: list[bytes]) -> None:
        for address in addresses:
            await self._rpc.ask("anvil_setBalance", checksum(address), hex(GAS_WEI))

    async def _give_tokens(self, actor: Actor) -> None:
        amounts = {APPLICATION: ESCROW, GATEWAY: BOND}
        amounts |= {f"{name}-owner": BOND * len(PRICES) for name in SUPPLIERS}
        for name, amount in amounts.items():
            await operations.mint(actor, raw(self._plan.addresses[name]), amount)

    async def _fund_application(self, deployment: Deployment) -> None:
        async with self._as(deployment, APPLICATION) as actor:
            await operations.deposit(actor, actor.address, ESCROW)
            for name in PRICES:
                await operations.grant(actor, raw(self._plan.addresses[GATEWAY]), service_id(name), CAP)

    async def _bond_gateway(self, deployment: Deployment) -> None:
        async with self._as(deployment, GATEWAY) as actor:
            await operations.bond_gateway(actor, actor.address, BOND)

    async def _register(self, deployment: Deployment, name: str) -> None:
        """Register every service of one supplier: its owner key owns and is paid, its own key operates."""
        operator = plans.key(self._layout, name)
        endpoint = f"{HOST}:{self._plan.ports[name]}"
        async with self._as(deployment, f"{name}-owner") as actor:
            profile = Profile(operator.address, endpoint, ((actor.address, 10_000),))
            for service, price in PRICES.items():
                await operations.register(actor, service_id(service), profile, price, BOND, operator)

    async def _begin_session(self, deployment: Deployment) -> None:
        """Mine up to the first block of the next session: what was registered holds from there on."""
        head = (await block_at(self._rpc, "latest")).number
        windows = deployment.windows
        start = windows.anchor + ((head - windows.anchor) // windows.length + 1) * windows.length
        await self._rpc.ask("anvil_mine", hex(start - head))


def raw(address: str) -> bytes:
    """Return the 20 bytes of an address in hex."""
    return bytes.fromhex(address.removeprefix("0x"))


async def open_market(layout: Layout, plan: Plan, spans: Spans = LOCAL_SPANS) -> None:
    """Deploy everything, register everyone, and write the deployment file.

    Parameters
    ----------
    spans : of the sessions and their windows.

    Raises
    ------
    PocketError
        the chain does not answer or a contract refuses.
    """
    journals = open_store(sqlite_url(layout.data(CHAIN) / "opening.db"))
    async with Rpc([plan.url(CHAIN)]) as rpc:
        deployment = await Opening(layout, plan, rpc, journals, spans).run()
    journals.dispose()
    deployments.write(layout.deployment, deployment)
