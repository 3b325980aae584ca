"""A supplier that signs its answer anew to claim more is reported by the gateway, on a real chain."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from pocketnode.chain.contracts import contract
from pocketnode.chain.events import SupplierFaulted
from pocketnode.crypto.keys import Key
from pocketnode.errors import RemoteError
from pocketnode.protocol.digest import response_digest
from pocketnode.protocol.types import Session, SignedResponse
from pocketnode.settlement.answers import Answers
from pocketnode.settlement.equivocation import among, contradiction_of, with_claim
from pocketnode.settlement.proof import proof_of
from pocketnode.settlement.reporting import Outcome, Reporting
from pocketnode.store.answers import AnswerFiles
from pocketnode.store.journal import Intent
from pocketnode.store.receipts import KeptReceipt
from pocketnode.transport.ports import Ended, Opening
from tests.settlement.market import APPLICATION, GATEWAY, SUPPLIERS, Party, Stage, party, receipt
from tests.settlement.test_paying import go_to
from tests.transport.test_lane import until

CHEAT, HONEST, _ = SUPPLIERS
BOND = 1_000
SLASHED = BOND // 10  # rule 5.16: the share of the bond


def signed_anew(stage: Stage, kept: KeptReceipt, units: int, key: Key) -> SignedResponse:
    """Return another answer to the same Receipt."""
    assert kept.response is not None
    other = replace(kept.response.response, units=units)
    return SignedResponse(other, key.sign(response_digest(stage.deployment.domain, other)))


def keep(stage: Stage, folder: Path, gateway: Party, kept: KeptReceipt, *more: SignedResponse) -> None:
    """Have the gateway keep an answer as a lane does."""
    told = kept.receipt.receipt
    opening = Opening(
        kept.application, kept.service, kept.number, told.supplier, kept.gateway, told.lane, "http://gateway"
    )
    answers = Answers(gateway.market, AnswerFiles(folder))
    lane = answers.lane(opening)
    first, *others = (
        Ended(signed.response.receipt, response_digest(stage.deployment.domain, signed.response), signed, kept.receipt)
        for signed in (kept.response, *more)
        if signed is not None
    )
    lane.add(first)
    for other in others:
        lane.add_double(first, other)
    answers.save()


def reporting(gateway: Party, folder: Path) -> Reporting:
    return Reporting(gateway.market, gateway.follower, gateway.sender, AnswerFiles(folder / "records"))


async def claim(stage: Stage, session: Session, supplier: Party, kept: KeptReceipt, by: bytes = b"") -> None:
    """Claim as a supplier that was stated nothing, by way of a contract if one is named."""
    listed = session.supplier(supplier.key.address)
    assert listed is not None
    proof = proof_of([kept], stage.deployment.domain)
    key = session.application, session.service, session.number, GATEWAY.address
    data = contract("Settlement").call_data("claim", key, listed.index, b"", proof.lanes, proof.responses)
    settlement = stage.deployment.contracts.settlement
    called = bytes(12) + settlement + data if by else data
    intent = Intent(f"claim:{supplier.key.address.hex()}", by or settlement, called)
    await asyncio.wait_for(supplier.sender.retry(intent), 10)


async def faults(gateway: Party) -> list[SupplierFaulted]:
    await gateway.market.heads.refresh()
    await gateway.follower.wait(gateway.market.head)
    return await gateway.follower.events(SupplierFaulted)


async def test_a_claim_with_inflated_units_is_reported_once(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(party(stage, GATEWAY, tmp_path / "gateway"))
        cheat, honest = [
            await stack.enter_async_context(party(stage, key, tmp_path / key.address.hex())) for key in (CHEAT, HONEST)
        ]
        session = await gateway.session(stage)
        answered = receipt(stage, session, CHEAT, total=500, hold=100, units=5)
        sound = receipt(stage, session, HONEST, total=500, hold=100, units=5, lane=2)
        for number, one in enumerate((answered, sound)):
            folder = tmp_path / "gateway" / "records" / f"worker-{number}"
            folder.mkdir()
            keep(stage, folder, gateway, one)
        before = reporting(gateway, tmp_path / "gateway")
        assert await before.look() == []
        await go_to(stage, session.end + stage.deployment.windows.statement + 1, gateway, cheat, honest)
        await claim(stage, session, cheat, replace(answered, response=signed_anew(stage, answered, 100, CHEAT)))
        await claim(stage, session, honest, sound)
        await faults(gateway)
        first = reporting(gateway, tmp_path / "gateway")
        (found,) = await first.look()
        assert (found.receipt.supplier, found.first.response.units) == (CHEAT.address, 5)
        assert found.second.response.units == 100
        assert first.outcomes == {Outcome.AGREES: 1, Outcome.FOUND: 1}
        await asyncio.wait_for(first.report(found), 10)
        (fault,) = await faults(gateway)
        assert (fault.receipt, fault.amount) == (found.digest, SLASHED)
        # After a restart it is found again, and nothing is sent.
        again = reporting(gateway, tmp_path / "gateway")
        (found,) = await again.look()
        nonce = await stage.rpc.ask("eth_getTransactionCount", "0x" + GATEWAY.address.hex(), "latest")
        assert await again.report(found) is Outcome.REPORTED
        assert await stage.rpc.ask("eth_getTransactionCount", "0x" + GATEWAY.address.hex(), "latest") == nonce


async def test_two_ends_are_reported_once_the_session_is_over(stage: Stage, tmp_path: Path) -> None:
    async with party(stage, GATEWAY, tmp_path) as gateway:
        session = await gateway.session(stage)
        answered = receipt(stage, session, CHEAT, total=0, hold=100, units=5)
        keep(stage, tmp_path / "records", gateway, answered, signed_anew(stage, answered, 6, CHEAT))
        files, job = AnswerFiles(tmp_path / "records"), reporting(gateway, tmp_path)
        running = asyncio.create_task(job.run())
        try:
            windows = stage.deployment.windows
            await go_to(stage, session.end + windows.statement, gateway)
            await until(lambda: job.outcomes[Outcome.REPORTED] == 1)
            assert [fault.amount for fault in await faults(gateway)] == [SLASHED]
            assert files.pots()
            final = session.end + windows.statement + windows.claim + 2
            await go_to(stage, final, gateway)
            await go_to(stage, final + 1, gateway)  # it looks once a block, at what is known then
            await until(lambda: not files.pots())
        finally:
            running.cancel()
        assert job.outcomes[Outcome.REPORTED] == 1
        assert len(await faults(gateway)) == 1


async def test_what_the_other_side_did_not_sign_is_no_contradiction(stage: Stage, tmp_path: Path) -> None:
    async with party(stage, GATEWAY, tmp_path) as gateway:
        session, domain = await gateway.session(stage), stage.deployment.domain
    kept = receipt(stage, session, CHEAT, total=500, hold=100, units=5)
    assert kept.response is not None
    forged = signed_anew(stage, kept, 100, HONEST)
    with pytest.raises(RemoteError, match=r"1\.1"):
        contradiction_of(kept, forged, domain)
    with pytest.raises(RemoteError, match=r"5\.16"):
        contradiction_of(kept, kept.response, domain)
    other = receipt(stage, session, CHEAT, total=501, hold=100, units=5)
    assert other.response is not None
    with pytest.raises(RemoteError, match=r"5\.16"):
        contradiction_of(kept, other.response, domain)
    assert list(among([kept, other, kept, replace(kept, response=forged)], domain)) == []
    assert len(list(among([kept, replace(kept, response=signed_anew(stage, kept, 7, CHEAT))], domain))) == 1
    key = APPLICATION.address, stage.service, session.number, GATEWAY.address
    function = contract("Settlement").functions["claim"]
    for claimed, expected in ((kept, 0), (other, 0), (replace(kept, response=signed_anew(stage, kept, 9, CHEAT)), 1)):
        proof = proof_of([claimed], domain)
        data = contract("Settlement").call_data("claim", key, 0, b"", proof.lanes, proof.responses)
        assert len(list(with_claim([kept], function.arguments(data), domain))) == expected


async def test_answers_survive_a_restart_and_a_torn_file(stage: Stage, tmp_path: Path) -> None:
    async with party(stage, GATEWAY, tmp_path / "x") as gateway:
        session = await gateway.session(stage)
    before = receipt(stage, session, CHEAT, total=500, hold=100, units=5)
    after = receipt(stage, session, CHEAT, total=900, hold=100, units=5, lane=9)
    pot = AnswerFiles(tmp_path / "records")
    (tmp_path / "records").mkdir()
    keep(stage, tmp_path / "records", gateway, before)
    keep(stage, tmp_path / "records", gateway, after)  # as a process that was begun anew
    (known,) = pot.pots()
    assert pot.read(known) == [before, after]
    (path,) = (tmp_path / "records").glob("*.answers")
    path.write_bytes(path.read_bytes()[:-1])
    assert pot.read(known) == [before]
    pot.drop(known)
    assert (pot.read(known), pot.pots()) == ([], [])


# Calls the contract in the first word of its input with the rest, and fails if that does.
FORWARDER = bytes.fromhex(
    "6022600c60003960226000f3602036038060206000376000600082600060006000355af160205760006000fd5b00"
)


async def test_a_claim_by_way_of_another_contract_is_read(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(party(stage, GATEWAY, tmp_path / "gateway"))
        cheat = await stack.enter_async_context(party(stage, CHEAT, tmp_path / "cheat"))
        session = await gateway.session(stage)
        answered = receipt(stage, session, CHEAT, total=500, hold=100, units=5)
        keep(stage, tmp_path / "gateway" / "records", gateway, answered)
        made = await asyncio.wait_for(cheat.sender.send(Intent("deploy", None, FORWARDER)), 10)
        await go_to(stage, session.end + stage.deployment.windows.statement + 1, gateway, cheat)
        by = bytes.fromhex(made.receipt["contractAddress"][2:])
        await claim(stage, session, cheat, replace(answered, response=signed_anew(stage, answered, 100, CHEAT)), by)
        await faults(gateway)
        job = reporting(gateway, tmp_path / "gateway")
        (found,) = await job.look()
        assert found.second.response.units == 100
        assert job.outcomes == {Outcome.FOUND: 1, Outcome.AGREES: 0}
