"""A small market on a real chain: one application, one gateway, three suppliers, and what they sign."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pocketnode.chain import operations
from pocketnode.chain.actor import Actor, acting, sending
from pocketnode.chain.client import Rpc
from pocketnode.chain.deploy import LOCAL_SPANS, Plan, Spans, deploy
from pocketnode.chain.deployment import Deployment
from pocketnode.chain.follower import Follower
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.operations import Profile
from pocketnode.chain.reader import Reader
from pocketnode.chain.sender import Sender
from pocketnode.crypto.keccak import keccak
from pocketnode.crypto.keys import Key
from pocketnode.protocol.digest import receipt_digest, response_digest
from pocketnode.protocol.quality import Slo, Verdict
from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.types import Receipt, Response, Session, SignedReceipt, SignedResponse
from pocketnode.services.spec import builtin_bytes
from pocketnode.settlement.claiming import Claiming
from pocketnode.settlement.poking import Poking
from pocketnode.settlement.pruning import Keep, Pruning
from pocketnode.settlement.records import SessionRecords
from pocketnode.settlement.stating import Stating
from pocketnode.settlement.withdrawing import Collecting, Withdrawing, WithdrawPolicy
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.events import EventStore
from pocketnode.store.journal import Journal
from pocketnode.store.pots import PotStore
from pocketnode.store.receipts import KeptReceipt, ReceiptStore
from pocketnode.store.records import RecordLog
from tests.anvil import KEYS, mine_to

APPLICATION, GATEWAY, *SUPPLIERS = (KEYS[i] for i in (1, 2, 3, 4, 5))
PRICE = 5_000_000  # base units per million units: five for each unit
CAP = 10_000_000
ESCROW = 100 * CAP
SLO = Slo(first_byte_ms=250)


@dataclass(frozen=True)
class Stage:
    """The market with everyone registered, in the first session that they are all in."""

    rpc: Rpc
    deployment: Deployment
    service: bytes

    @property
    def length(self) -> int:
        return self.deployment.windows.length


async def set_up(rpc: Rpc, escrow: int = ESCROW, cap: int = CAP, bond: int = 0, spans: Spans = LOCAL_SPANS) -> Stage:
    """Deploy, add the service, fund the application, register the suppliers, and go to the next session's start."""
    async with sending(rpc, KEYS[0]) as sender:
        deployment = await deploy(rpc, sender, Plan(spans=spans))
    async with acting(rpc, deployment, KEYS[0]) as actor:
        service = await operations.add_service(actor, builtin_bytes("eth"), "", max_price=10 * PRICE, owner_share=5_000)
        for key in (APPLICATION, GATEWAY, *SUPPLIERS):
            await operations.mint(actor, key.address, 10 * ESCROW)
    async with acting(rpc, deployment, APPLICATION) as actor:
        await operations.deposit(actor, actor.address, escrow)
        await operations.grant(actor, GATEWAY.address, service, cap)
    if bond:
        async with acting(rpc, deployment, GATEWAY) as actor:
            await operations.bond_gateway(actor, actor.address, bond)
    for number, key in enumerate(SUPPLIERS):
        async with acting(rpc, deployment, key) as actor:
            await _register(actor, service, key, number)
    head = int(await rpc.ask("eth_blockNumber"), 16)
    number = (head - deployment.windows.anchor) // deployment.windows.length + 1
    await mine_to(rpc, deployment.windows.anchor + number * deployment.windows.length)
    return Stage(rpc, deployment, service)


async def _register(actor: Actor, service: bytes, key: Key, number: int) -> None:
    profile = Profile(key.address, f"127.0.0.1:{9000 + number}", ((payout_of(key), 10_000),))
    await operations.register(actor, service, profile, PRICE, 1_000)


def payout_of(key: Key) -> bytes:
    """Return the address that a supplier is paid to: one that holds nothing else."""
    return keccak(key.address)[:20]


@dataclass
class Party:
    """A daemon's settlement half: one key, one store, one follower, one sender."""

    key: Key
    market: Market
    follower: Follower
    sender: Sender
    pots: PotStore
    receipts: ReceiptStore
    records: RecordLog
    events: EventStore
    journal: Journal

    @property
    def session_records(self) -> SessionRecords:
        return SessionRecords(self.records, self.pots, self.key.address)

    def stating(self, withhold: bool = False) -> Stating:
        return Stating(
            self.market, self.follower, self.sender, self.key, self.pots, self.records, lambda _: SLO, withhold
        )

    def claiming(self) -> Claiming:
        return Claiming(self.market, self.follower, self.sender, self.key.address, self.receipts, self.pots)

    def withdrawing(self, policy: WithdrawPolicy | None = None) -> Withdrawing:
        shared = self.market, self.follower, self.sender, self.key.address, self.receipts, self.pots
        return Withdrawing(*shared, policy)

    def collecting(self) -> Collecting:
        return Collecting(self.market, self.follower, self.sender, self.pots)

    def poking(self) -> Poking:
        return Poking(self.market, self.sender, self.key.address, self.pots)

    def pruning(self) -> Pruning:
        stores = self.pots, self.events, self.journal, self.receipts, self.records
        return Pruning(self.market, self.key.address, *stores, keep=Keep(sessions=2))

    async def session(self, stage: Stage) -> Session:
        return await self.market.session(APPLICATION.address, stage.service, self.market.number_now())


@asynccontextmanager
async def party(stage: Stage, key: Key, folder: Path, confirmations: int = 0) -> AsyncIterator[Party]:
    """Run what every daemon runs for the chain, on the files in `folder`."""
    engine = open_store(sqlite_url(folder / "state.db"))
    heads = Heads(stage.rpc, poll_interval_s=0.05)
    await heads.refresh()
    reader = Reader(stage.rpc, stage.deployment)
    market = Market(reader, heads, confirmations=1)
    events = EventStore(engine)
    follower = Follower(reader, heads, events, confirmations)
    journal = Journal(engine, key.address)
    sender = Sender(stage.rpc, heads, key, journal, stage.deployment.chain_id, confirmations)
    pots, records = PotStore(engine, key.address), RecordLog(folder / "records")
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(job()) for job in (heads.run, follower.run, sender.run, records.run)]
        try:
            yield Party(key, market, follower, sender, pots, ReceiptStore(engine), records, events, journal)
        finally:
            for job in jobs:
                job.cancel()
    engine.dispose()


def record(session: Session, supplier: Key, units: int, verdict: Verdict = Verdict.GOOD, ms: int = 10) -> RelayRecord:
    """Return the record of one relay that `supplier` answered."""
    listed = session.supplier(supplier.address)
    assert listed is not None
    return RelayRecord(bytes(32), bytes(32), listed.index, units, ms, ms + 5, int(verdict))


def receipt(
    stage: Stage, session: Session, supplier: Key, total: int, hold: int = 0, units: int | None = None, lane: int = 1
) -> KeptReceipt:
    """Return a Receipt that the gateway signed, with the supplier's Response if `units` says what that is of."""
    domain = stage.deployment.domain
    unsigned = Receipt(
        session.id, supplier.address, lane.to_bytes(32, "big"), 1 + total, total, hold, keccak(b"request")
    )
    digest = receipt_digest(domain, unsigned)
    signed = SignedReceipt(unsigned, GATEWAY.sign(digest))
    answer = None
    if units is not None:
        response = Response(digest, keccak(b"answer"), units, 1, 2, keccak(b"backend"))
        answer = SignedResponse(response, supplier.sign(response_digest(domain, response)))
    return KeptReceipt(session.application, session.service, session.number, GATEWAY.address, signed, answer)
