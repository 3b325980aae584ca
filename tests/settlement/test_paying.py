"""A session is stated, compared, claimed, withdrawn and collected on a real chain, and balances to the base unit."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from pocketnode.chain.client import Rpc
from pocketnode.chain.operations import token_balance
from pocketnode.protocol.quality import Verdict
from pocketnode.protocol.types import Session
from pocketnode.settlement.books import Book, books
from pocketnode.settlement.stating import pot_of
from pocketnode.settlement.withdrawing import WithdrawPolicy
from pocketnode.store.pots import PotStage
from tests.anvil import mine_to
from tests.settlement.market import (
    GATEWAY,
    PRICE,
    SUPPLIERS,
    Party,
    Stage,
    party,
    payout_of,
    receipt,
    record,
    set_up,
)

GOOD, SLOW, IDLE = SUPPLIERS
OTHER_GATEWAY = b"\x99" * 20


async def open_all(stage: Stage, folder: Path, stack: AsyncExitStack) -> tuple[Party, list[Party]]:
    """Return the gateway and the suppliers, running."""
    gateway = await stack.enter_async_context(party(stage, GATEWAY, folder / "gateway"))
    suppliers = [
        await stack.enter_async_context(party(stage, key, folder / f"supplier{number}"))
        for number, key in enumerate(SUPPLIERS)
    ]
    return gateway, suppliers


async def serve(stage: Stage, gateway: Party, suppliers: list[Party]) -> Session:
    """Let two suppliers serve 40 relays of 100 units each, the second one badly."""
    session = await gateway.session(stage)
    records = gateway.session_records
    for _ in range(40):
        records.append(session, record(session, GOOD, 100))
        records.append(session, record(session, SLOW, 100, Verdict.GOOD, ms=900))
    records.note()
    for supplier in suppliers[:2]:
        supplier.receipts.keep([receipt(stage, session, supplier.key, 4_000)])
    return session


async def end_of_statements(stage: Stage, session: Session) -> int:
    return session.end + stage.deployment.windows.statement


async def go_to(stage: Stage, block: int, *parties: Party) -> None:
    """Mine to a block and wait until everyone knows."""
    await mine_to(stage.rpc, block)
    for one in parties:
        await asyncio.wait_for(one.market.wait_block(block), 5)
        await asyncio.wait_for(one.follower.wait(block), 5)


async def pay(stage: Stage, session: Session, gateway: Party, suppliers: list[Party]) -> Book:
    """Take a stated or unstated session through claims, withdrawals and collection, and return its book."""
    statements = session.end + stage.deployment.windows.statement
    await go_to(stage, statements + 1, gateway, *suppliers)
    for supplier in suppliers:
        claiming = supplier.claiming()
        await claiming.note_pots()
        for pot in supplier.pots.all([PotStage.OPEN]):
            await asyncio.wait_for(claiming.compare(pot), 5)
    await go_to(stage, statements + stage.deployment.windows.claim + 1, gateway, *suppliers)
    for supplier in suppliers:
        await asyncio.wait_for(supplier.withdrawing().withdraw(), 5)
    await asyncio.wait_for(gateway.collecting().collect(), 5)
    await asyncio.wait_for(gateway.market.heads.refresh(), 5)
    (book,) = await books(gateway.market)
    return book


async def test_quality_is_paid_for_and_the_books_balance(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        await go_to(stage, session.end + 2, gateway)
        (pot,) = gateway.pots.all()
        assert await gateway.stating().state(pot) is PotStage.STATED
        book = await pay(stage, session, gateway, suppliers)
        assert book.balances
        assert book.final
        assert book.debit == 2 * 4_000 * PRICE // 1_000_000
        by_operator = {line.operator: line for line in book.lines}
        good, slow = by_operator[GOOD.address], by_operator[SLOW.address]
        assert len(book.lines) == 2
        assert good.units == slow.units == 4_000
        assert good.quality > slow.quality
        assert good.pay > slow.pay > 0
        assert [s.pots.all()[0].stage for s in suppliers[:2]] == [PotStage.PAID] * 2
        for key, line in ((GOOD, good), (SLOW, slow)):
            assert await token_balance(gateway.market.reader, payout_of(key)) == line.pay == line.withdrawn


async def test_a_supplier_whose_statement_is_withheld_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        suppliers[0].receipts.keep([receipt(stage, session, GOOD, total=50, hold=30, units=20, lane=2)])
        await go_to(stage, session.end + 2, gateway)
        (pot,) = gateway.pots.all()
        assert await gateway.stating(withhold=True).state(pot) is PotStage.EMPTY
        book = await pay(stage, session, gateway, suppliers)
        assert book.balances
        assert not book.stated
        line = next(line for line in book.lines if line.operator == GOOD.address)
        assert line.claimed == 4_070 * PRICE // 1_000_000
        assert line.pay == line.withdrawn == line.claimed * 98 // 100


async def test_a_short_statement_is_claimed_on_top(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        suppliers[0].receipts.keep([receipt(stage, session, GOOD, total=9_000)])
        await go_to(stage, session.end + 2, gateway)
        (pot,) = gateway.pots.all()
        await gateway.stating().state(pot)
        book = await pay(stage, session, gateway, suppliers)
        assert book.balances
        line = next(line for line in book.lines if line.operator == GOOD.address)
        assert (line.stated, line.claimed) == (20_000, 45_000)
        assert line.compensation == 25_000  # rule 5.15: the bond pays what the statement hid once more
        assert line.withdrawn == line.pay + 25_000


async def test_a_supplier_that_lost_its_store_is_paid_what_was_stated(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        for key in suppliers[0].receipts.pots():
            suppliers[0].receipts.drop(key)
        await go_to(stage, session.end + 2, gateway)
        (pot,) = gateway.pots.all()
        await gateway.stating().state(pot)
        book = await pay(stage, session, gateway, suppliers)
        line = next(line for line in book.lines if line.operator == GOOD.address)
        assert line.withdrawn == line.pay > 0
        assert suppliers[2].pots.all() == []  # the statement does not name it


async def test_a_session_that_costs_more_than_its_cap_is_divided(rpc: Rpc, tmp_path: Path) -> None:
    stage = await set_up(rpc, cap=30_000)
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)  # 20,000 each
        await go_to(stage, session.end + 2, gateway)
        (pot,) = gateway.pots.all()
        assert await gateway.stating().state(pot) is PotStage.STATED
        book = await pay(stage, session, gateway, suppliers)
        assert book.balances
        assert book.debit == 30_000
        assert [line.pay for line in book.lines] == [15_000 * 98 // 100] * 2


async def test_a_missed_statement_window_is_said_and_claimed(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        await go_to(stage, await end_of_statements(stage, session), gateway)
        (pot,) = gateway.pots.all()
        assert await gateway.stating().state(pot) is PotStage.MISSED
        assert (await pay(stage, session, gateway, suppliers)).debit == 40_000


async def test_a_missed_claim_window_leaves_what_was_stated(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        suppliers[0].receipts.keep([receipt(stage, session, GOOD, total=9_000)])
        await go_to(stage, session.end + 2, gateway)
        (pot,) = gateway.pots.all()
        await gateway.stating().state(pot)
        windows = stage.deployment.windows
        await go_to(stage, session.end + windows.statement + windows.claim + 1, gateway, *suppliers)
        claiming = suppliers[0].claiming()
        await claiming.note_pots()
        (pot,) = suppliers[0].pots.all()
        assert await claiming.compare(pot) is PotStage.STATED
        assert await suppliers[0].withdrawing().withdraw() == 1
        (pot,) = suppliers[0].pots.all()
        assert pot.earned == 45_000
        assert 0 < pot.paid <= pot.stated == 20_000


async def test_a_claim_that_the_chain_lost_does_not_hold_up_other_pay(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        lost = pot_of(session.application, session.service, session.number, OTHER_GATEWAY)
        suppliers[0].pots.open(replace(lost, stage=PotStage.CLAIMED, claimed=1))
        await go_to(stage, session.end + 2, gateway)
        (pot,) = gateway.pots.all()
        await gateway.stating().state(pot)
        assert (await pay(stage, session, gateway, suppliers)).balances
        assert sorted(p.stage for p in suppliers[0].pots.all()) == [PotStage.MISSED, PotStage.PAID]


async def test_a_withdrawal_waits_for_a_lower_fee_until_it_is_old(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        await go_to(stage, session.end + 2, gateway)
        (pot,) = gateway.pots.all()
        await gateway.stating().state(pot)
        windows = stage.deployment.windows
        await go_to(stage, session.end + windows.statement + 1, suppliers[0])
        await suppliers[0].claiming().note_pots()
        (own,) = suppliers[0].pots.all()
        await suppliers[0].claiming().compare(own)
        final = session.end + windows.statement + windows.claim + 1
        await go_to(stage, final, suppliers[0])
        newest = suppliers[0].market.heads.newest
        assert newest is not None
        assert newest.base_fee_wei > 1
        age = final - session.end - 1
        assert await suppliers[0].withdrawing(WithdrawPolicy(0, age + 9, most_fee_wei=1)).withdraw() == 0
        assert await suppliers[0].withdrawing(WithdrawPolicy(10**9, age + 9)).withdraw() == 0
        assert await suppliers[0].withdrawing(WithdrawPolicy(10**9, age, most_fee_wei=1)).withdraw() == 1


async def test_the_jobs_do_it_all_by_themselves(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        jobs = [gateway.stating().run, gateway.collecting().run]
        jobs += [job for s in suppliers for job in (s.claiming().run, s.withdrawing().run)]
        tasks = [group.create_task(job()) for job in jobs]
        await mine_to(stage.rpc, session.end)
        async with asyncio.timeout(40):
            while (gateway.pots.all()[0].stage, suppliers[0].pots.all()[:1] and suppliers[0].pots.all()[0].stage) != (
                PotStage.PAID,
                PotStage.PAID,
            ):
                await stage.rpc.ask("anvil_mine", "0x1")
                await asyncio.sleep(0.4)
        for task in tasks:
            task.cancel()
        await gateway.market.heads.refresh()
        (book,) = await books(gateway.market)
        assert book.balances
        assert book.collected == book.fee > 0


async def test_what_is_settled_is_forgotten_and_what_waits_is_kept(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        (pot,) = gateway.pots.all()
        assert gateway.pruning().prune(session.number + 10) == 0
        assert gateway.records.pots() == [pot.id]
        await go_to(stage, session.end + 2, gateway)
        await gateway.stating().state(pot)
        await pay(stage, session, gateway, suppliers)
        await gateway.collecting().collect()
        assert suppliers[0].pruning().prune(session.number + 10) == 1
        assert (suppliers[0].pots.all(), suppliers[0].receipts.pots()) == ([], [])
        assert gateway.pruning().prune(session.number + 10) == 1
        assert gateway.records.pots() == []
