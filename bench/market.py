"""Opens the market that our daemons are measured in: a real chain, the real contracts, long sessions, ample escrow."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from pocketnode.chain import deployment as deployments
from pocketnode.chain import operations
from pocketnode.chain.actor import acting, sending
from pocketnode.chain.client import Rpc
from pocketnode.chain.deploy import Plan, Spans, deploy
from pocketnode.chain.deployment import Deployment
from pocketnode.chain.heads import block_at
from pocketnode.chain.operations import Profile
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import Key, checksum
from pocketnode.protocol.session import service_id
from pocketnode.store.engine import open_store

GAS_WEI: Final = 10**24
TOKEN: Final = 10**6
BOND: Final = 10_000 * TOKEN
PRICE: Final = 1_000_000  # base units per million units: a unit costs one base unit
CAP: Final = 10**9 * TOKEN
PASSWORD: Final = "bench"
BLOCK_S: Final = 2
AT_ONCE: Final = 16
SESSION_BLOCKS: Final = Spans().length  # that of a chain with blocks of 2 s: a session of an hour
MINE_BLOCKS: Final = 100  # in one call, so that it answers in time


def spans_of(session_blocks: int) -> Spans:
    """Return the windows: the default ones, or short ones for short sessions, so that few are unsettled at once."""
    if session_blocks == SESSION_BLOCKS:
        return Spans()
    return Spans(length=session_blocks, grace=2, statement=20, claim=20, thaw=10 * session_blocks)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part: keys by name, each in a file of its own."""

    folder: Path
    suppliers: tuple[str, ...]
    applications: tuple[str, ...]
    keys: dict[str, Key] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, suppliers: int, applications: int) -> Cast:
        """Make everyone's key."""
        cast = cls(
            folder,
            tuple(f"supplier-{number}" for number in range(suppliers)),
            tuple(f"application-{number}" for number in range(applications)),
        )
        cast.password.write_text(PASSWORD)
        for name in ("gateway", *cast.suppliers, *cast.applications):
            cast.keys[name] = Key(secrets.token_bytes(32))
            keystore.create(cast.keystore(name), cast.keys[name], PASSWORD, cost=keystore.LIGHT_COST)
        return cast

    @property
    def password(self) -> Path:
        return self.folder / "password"

    @property
    def deployment(self) -> Path:
        return self.folder / "deployment.json"

    def keystore(self, name: str) -> Path:
        return self.folder / f"{name}.key.json"


async def open_market(
    url: str, cast: Cast, services: dict[str, bytes], endpoints: dict[str, str], session_blocks: int = SESSION_BLOCKS
) -> Deployment:
    """Deploy, register every supplier for every service, fund and grant, and go to the next session's first block.

    Parameters
    ----------
    url : of a chain that mines at once.
    services : specs (YAML) by id.
    endpoints : `host:port` by supplier.
    """
    async with Rpc([url]) as rpc:
        deployer = Key(secrets.token_bytes(32))
        for key in (deployer, *cast.keys.values()):
            await rpc.ask("anvil_setBalance", checksum(key.address), hex(GAS_WEI))
        journal = open_store("sqlite://")
        async with sending(rpc, deployer, journal) as sender:
            deployment = await deploy(rpc, sender, Plan(spans=spans_of(session_blocks)))
        await _open_services(rpc, deployment, deployer, journal, cast, services)
        await _fund(rpc, deployment, journal, cast, services)
        for name in cast.suppliers:
            await _register(rpc, deployment, journal, cast.keys[name], services, endpoints[name])
        await _begin_session(rpc, deployment)
    deployments.write(cast.deployment, deployment)
    return deployment


async def _open_services(
    rpc: Rpc, deployment: Deployment, deployer: Key, journal: Engine, cast: Cast, services: dict[str, bytes]
) -> None:
    async with acting(rpc, deployment, deployer, journal) as actor:
        for spec in services.values():
            await operations.add_service(actor, spec, "", 10 * PRICE)
        escrow = CAP * 4 * len(services)
        for name, key in cast.keys.items():
            amount = escrow if name in cast.applications else BOND * len(services)
            await operations.mint(actor, key.address, amount)


async def _fund(rpc: Rpc, deployment: Deployment, journal: Engine, cast: Cast, services: dict[str, bytes]) -> None:
    gateway = cast.keys["gateway"]
    async with acting(rpc, deployment, gateway, journal) as actor:
        await operations.bond_gateway(actor, gateway.address, BOND)
    room = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for name in cast.applications:
            group.create_task(_grant(rpc, deployment, journal, cast.keys[name], gateway.address, services, room))


async def _grant(
    rpc: Rpc,
    deployment: Deployment,
    journal: Engine,
    application: Key,
    gateway: bytes,
    services: dict[str, bytes],
    room: asyncio.Semaphore,
) -> None:
    async with room, acting(rpc, deployment, application, journal) as actor:
        await operations.deposit(actor, actor.address, CAP * 4 * len(services))
        for service in services:
            await operations.grant(actor, gateway, service_id(service), CAP)


async def _register(
    rpc: Rpc, deployment: Deployment, journal: Engine, key: Key, services: dict[str, bytes], endpoint: str
) -> None:
    async with acting(rpc, deployment, key, journal) as actor:
        profile = Profile(key.address, endpoint, ((key.address, 10_000),))
        for service in services:
            await operations.register(actor, service_id(service), profile, PRICE, BOND)


async def _begin_session(rpc: Rpc, deployment: Deployment) -> None:
    """What was registered and granted holds from the next session's first block."""
    head = (await block_at(rpc, "latest")).number
    windows = deployment.windows
    start = windows.anchor + ((head - windows.anchor) // windows.length + 1) * windows.length
    await mine(rpc, start - head)
    await rpc.ask("evm_setIntervalMining", BLOCK_S)


async def mine(rpc: Rpc, blocks: int) -> None:
    """Let so many blocks pass at once."""
    while blocks > 0:
        await rpc.ask("anvil_mine", hex(min(blocks, MINE_BLOCKS)))
        blocks -= MINE_BLOCKS
