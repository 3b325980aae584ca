"""Cheats on real contracts: each fails, or is paid and slashed as the protocol says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pocketnode.chain import operations
from pocketnode.chain.actor import Actor, acting
from pocketnode.chain.client import Rpc
from pocketnode.chain.errors import TransactionFailed
from pocketnode.chain.events import Claimed, GatewayFaulted, Stated, SupplierFaulted, read_logs, typed
from pocketnode.chain.operations import token_balance
from pocketnode.crypto.keccak import keccak
from pocketnode.crypto.keys import Key
from pocketnode.protocol.digest import receipt_digest, response_digest, statement_digest
from pocketnode.protocol.statement import amount_down, pack
from pocketnode.protocol.types import Entry, Response, Session, SignedResponse, Statement
from pocketnode.settlement.proof import proof_of
from pocketnode.store.receipts import KeptReceipt
from tests.anvil import anvil, mine_to, ready
from tests.settlement.market import (
    APPLICATION,
    CAP,
    GATEWAY,
    PRICE,
    SUPPLIERS,
    Stage,
    party,
    payout_of,
    receipt,
    set_up,
)

BOND = 1_000_000
HONEST, CHEAT, OTHER = SUPPLIERS


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[str, Stage]]:
    """A chain with a market in its first session; tests put it back to this."""
    with anvil() as url:
        yield url, asyncio.run(open_market(url))


async def open_market(url: str) -> Stage:
    async with Rpc([url]) as rpc:
        await ready(rpc)
        return await set_up(rpc, bond=BOND)


@dataclass
class Court:
    """One session on real contracts; what is asserted is read from the chain."""

    stage: Stage
    session: Session

    @asynccontextmanager
    async def acting_as(self, key: Key) -> AsyncIterator[Actor]:
        try:
            async with acting(self.stage.rpc, self.stage.deployment, key) as actor:
                yield actor
        except ExceptionGroup as group:  # what fails inside ends the actor's jobs too
            raise group.exceptions[0] from group

    async def to(self, blocks_after_end: int) -> None:
        await mine_to(self.stage.rpc, self.session.end + blocks_after_end)

    async def to_statements(self) -> None:
        await self.to(0)

    async def to_claims(self) -> None:
        await self.to(self.stage.deployment.windows.statement)

    async def to_pay(self) -> None:
        windows = self.stage.deployment.windows
        await self.to(windows.statement + windows.claim)

    @property
    def key(self) -> tuple[bytes, bytes, int, bytes]:
        session = self.session
        return session.application, session.service, session.number, GATEWAY.address

    def index(self, supplier: Key) -> int:
        found = self.session.supplier(supplier.address)
        assert found is not None
        return found.index

    async def state(self, units: dict[Key, int], signer: Key = GATEWAY, number: int | None = None) -> None:
        """Post a statement that says so many units, all at full quality."""
        entries = sorted((Entry(self.index(key), n, 10_000) for key, n in units.items()), key=lambda e: e.index)
        number = self.session.number if number is None else number
        statement = Statement(self.session.application, self.session.service, number, pack(entries), bytes(32))
        signature = signer.sign(statement_digest(self.stage.deployment.domain, statement))
        fields = (statement.application, statement.service, number, statement.entries, bytes(32))
        async with self.acting_as(HONEST) as actor:  # anyone may post
            await actor.do("Settlement", "postStatement", fields, GATEWAY.address, signature)

    async def claim(self, supplier: Key, kept: list[KeptReceipt], priced: bytes | None = None) -> None:
        proof = proof_of(kept, self.stage.deployment.domain)
        if priced is None:
            stated = await self.logged(Stated)
            priced = stated[-1].priced if stated else b""
        await self.claim_raw(supplier, priced, proof.lanes, proof.responses)

    async def claim_raw(self, supplier: Key, priced: bytes, lanes: Any, responses: Any = ()) -> None:
        async with self.acting_as(supplier) as actor:
            await actor.do("Settlement", "claim", self.key, self.index(supplier), priced, lanes, responses)

    async def withdraw(self, supplier: Key) -> int:
        """Withdraw, and return what the supplier's payout address got."""
        before = await self.balance(payout_of(supplier))
        stated = await self.logged(Stated)
        me = self.session.supplier(supplier.address)
        assert me is not None
        rank = self.session.suppliers.index(me)
        async with self.acting_as(OTHER) as actor:
            reference = (self.key, rank, stated[-1].priced if stated else b"")
            await actor.do("Settlement", "withdraw", me.registration, [reference])
        return await self.balance(payout_of(supplier)) - before

    async def balance(self, address: bytes) -> int:
        async with self.acting_as(OTHER) as actor:
            return await token_balance(actor.reader, address)

    async def logged(self, kind: type[Any]) -> list[Any]:
        rpc, deployment = self.stage.rpc, self.stage.deployment
        head = int(await rpc.ask("eth_blockNumber"), 16)
        logs = await read_logs(rpc, deployment.contracts.settlement, self.session.start, head)
        return [event for log in logs if isinstance(event := typed(log), kind)]

    async def bond(self) -> int:
        async with self.acting_as(OTHER) as actor:
            (found,) = await actor.reader.call("Gateways", "bondOf", GATEWAY.address)
            return int(found[0])


@pytest.fixture
async def court(opened: tuple[str, Stage], tmp_path: Path) -> AsyncIterator[Court]:
    url, stage = opened
    async with Rpc([url]) as rpc:
        snapshot = await rpc.ask("evm_snapshot")
        stage = replace(stage, rpc=rpc)
        async with party(stage, OTHER, tmp_path) as reader:
            yield Court(stage, await reader.session(stage))
        await rpc.ask("evm_revert", snapshot)


def net(units: int) -> int:
    """What units are worth after the fee, base units."""
    return amount_down(units, PRICE) * 9_800 // 10_000


# ---- a cheating gateway


async def test_a_short_statement_costs_the_gateway_its_bond(court: Court) -> None:
    await court.to_statements()
    await court.state({HONEST: 1_000, OTHER: 500})
    bond = await court.bond()
    await court.to_claims()
    await court.claim(HONEST, [receipt(court.stage, court.session, HONEST, 4_000, hold=100, units=60)])
    faults = await court.logged(GatewayFaulted)
    shortfall = amount_down(4_000 - 1_000, PRICE)
    assert [fault.amount for fault in faults] == [shortfall]
    assert await court.bond() == bond - shortfall
    await court.to_pay()
    # Stated and claimed for all of it, and what was hidden once more from the bond.
    assert abs(await court.withdraw(HONEST) - (net(4_060) + shortfall)) <= 1
    assert abs(await court.withdraw(OTHER) - net(500)) <= 1


async def test_a_statement_short_by_what_was_in_flight_is_no_fault(court: Court) -> None:
    await court.to_statements()
    await court.state({HONEST: 1_000})
    await court.to_claims()
    await court.claim(HONEST, [receipt(court.stage, court.session, HONEST, 1_100, hold=100, units=60)])
    assert await court.logged(GatewayFaulted) == []


async def test_a_second_statement_is_refused(court: Court) -> None:
    await court.to_statements()
    await court.state({HONEST: 1_000})
    with pytest.raises(TransactionFailed, match="AlreadyStated"):
        await court.state({HONEST: 2})
    with pytest.raises(TransactionFailed, match="AlreadyStated"):
        await court.state({CHEAT: 5_000})
    (stated,) = await court.logged(Stated)
    assert [entry.units for entry in stated.entries] == [1_000]


async def test_a_statement_that_somebody_else_signs_is_refused(court: Court) -> None:
    await court.to_statements()
    with pytest.raises(TransactionFailed, match="Sign"):
        await court.state({CHEAT: 1_000_000}, signer=CHEAT)


async def test_a_statement_beyond_the_cap_is_refused(court: Court) -> None:
    await court.to_statements()
    units = CAP // (PRICE // 1_000_000)
    with pytest.raises(TransactionFailed, match="OverCap"):
        await court.state({HONEST: units, CHEAT: 1})
    await court.state({HONEST: units})


async def test_claims_beyond_the_cap_share_it(court: Court) -> None:
    """A gateway that has spent more than its grant: each supplier gets its guarantee first (rules 5.10 and 5.14)."""
    units = CAP // (PRICE // 1_000_000)
    await court.to_claims()
    await court.claim(HONEST, [receipt(court.stage, court.session, HONEST, units // 10)])
    await court.claim(OTHER, [receipt(court.stage, court.session, OTHER, units * 3)])
    await court.to_pay()
    small, big = await court.withdraw(HONEST), await court.withdraw(OTHER)
    assert abs(small - net(units // 10)) <= 1
    assert small + big <= CAP * 9_800 // 10_000
    assert abs(small + big - CAP * 9_800 // 10_000) <= 2


async def test_a_statement_without_a_grant_is_worth_nothing(court: Court) -> None:
    """The grant was taken back: from the next session on nothing can be spent under it."""
    async with court.acting_as(APPLICATION) as actor:
        await operations.revoke(actor, GATEWAY.address, court.stage.service)
    later = court.session.number + 1
    await mine_to(court.stage.rpc, court.session.end + court.stage.length)
    with pytest.raises(TransactionFailed, match="NoGrant"):
        await court.state({HONEST: 1_000}, number=later)


async def test_a_statement_is_only_for_its_window(court: Court) -> None:
    with pytest.raises(TransactionFailed):
        await court.state({HONEST: 1_000})
    await court.to_claims()
    with pytest.raises(TransactionFailed):
        await court.state({HONEST: 1_000})
    assert await court.logged(Stated) == []


# ---- a cheating supplier


async def test_receipts_of_another_session_are_refused(court: Court) -> None:
    """Old receipts, and receipts that a gateway hands out twice: a Receipt names its session."""
    session = court.session
    older = replace(session, number=session.number - 1, id=keccak(b"another session"))
    old = receipt(court.stage, older, CHEAT, 9_000)
    await court.to_claims()
    lanes = proof_of([old], court.stage.deployment.domain).lanes
    with pytest.raises(TransactionFailed, match="Sign"):
        await court.claim_raw(CHEAT, b"", lanes)
    assert await court.logged(Claimed) == []


async def test_receipts_of_another_supplier_are_refused(court: Court) -> None:
    await court.to_claims()
    lanes = proof_of([receipt(court.stage, court.session, HONEST, 9_000)], court.stage.deployment.domain).lanes
    with pytest.raises(TransactionFailed, match="Sign"):
        await court.claim_raw(CHEAT, b"", lanes)


async def test_a_lane_counts_once(court: Court) -> None:
    await court.to_claims()
    lanes = proof_of([receipt(court.stage, court.session, CHEAT, 9_000)], court.stage.deployment.domain).lanes
    with pytest.raises(TransactionFailed, match="LaneNotAscending"):
        await court.claim_raw(CHEAT, b"", (*lanes, *lanes))


async def test_a_lower_claim_after_a_higher_changes_nothing(court: Court) -> None:
    await court.to_claims()
    await court.claim(CHEAT, [receipt(court.stage, court.session, CHEAT, 500)])
    with pytest.raises(TransactionFailed, match="ClaimTooLow"):
        await court.claim(CHEAT, [receipt(court.stage, court.session, CHEAT, 500)])
    await court.claim(CHEAT, [receipt(court.stage, court.session, CHEAT, 700)])
    await court.to_pay()
    assert abs(await court.withdraw(CHEAT) - net(700)) <= 1
    with pytest.raises(TransactionFailed, match="NothingToWithdraw"):
        await court.withdraw(CHEAT)


async def test_inflated_units_are_paid_up_to_the_hold(court: Court) -> None:
    await court.to_claims()
    await court.claim(CHEAT, [receipt(court.stage, court.session, CHEAT, 500, hold=30, units=10**12)])
    (claimed,) = await court.logged(Claimed)
    assert claimed.units == 530


async def test_a_response_to_another_receipt_adds_nothing(court: Court) -> None:
    await court.to_claims()
    kept = receipt(court.stage, court.session, CHEAT, 500, hold=30, units=20)
    other = receipt(court.stage, court.session, CHEAT, 400, hold=30, units=20, lane=9)
    assert kept.response is not None
    proof, mixed = (proof_of([one], court.stage.deployment.domain) for one in (kept, other))
    with pytest.raises(TransactionFailed, match="Sign"):
        await court.claim_raw(CHEAT, b"", proof.lanes, mixed.responses)
    await court.claim_raw(CHEAT, b"", proof.lanes)


async def test_two_answers_to_one_receipt_are_slashed_once(court: Court) -> None:
    kept = receipt(court.stage, court.session, CHEAT, 500, hold=30, units=20)
    await court.to_statements()
    answers = [signed_response(court, kept, word) for word in (b"one", b"two")]
    async with court.acting_as(HONEST) as actor:
        await report(actor, court, kept, answers)
        with pytest.raises(TransactionFailed, match="AlreadyReported"):
            await report(actor, court, kept, answers)
        with pytest.raises(TransactionFailed, match="SameResponse"):
            await report(actor, court, kept, [answers[0], answers[0]])
    (fault,) = await court.logged(SupplierFaulted)
    me = court.session.supplier(CHEAT.address)
    assert me is not None
    assert fault.registration == me.registration
    assert fault.amount == 1_000 * 1_000 // 10_000  # a tenth of the bond of 1,000


def signed_response(court: Court, kept: KeptReceipt, word: bytes) -> SignedResponse:
    domain = court.stage.deployment.domain
    response = Response(receipt_digest(domain, kept.receipt.receipt), keccak(word), 20, 1, 2, keccak(b"backend"))
    return SignedResponse(response, CHEAT.sign(response_digest(domain, response)))


async def report(actor: Actor, court: Court, kept: KeptReceipt, answers: list[SignedResponse]) -> None:
    r = kept.receipt.receipt
    fields = (r.session, r.supplier, r.lane, r.seq, r.total, r.hold, r.request)
    first, second = ((x.response.receipt, x.response.payload, x.response.units, x.response.first_byte_ms,
                      x.response.done_ms, x.response.backend) for x in answers)  # fmt: skip
    session = court.session
    where = session.application, session.service, session.number
    signatures = [answer.signature for answer in answers]
    await actor.do("Settlement", "reportEquivocation", *where, fields, first, signatures[0], second, signatures[1])
