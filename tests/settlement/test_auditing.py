"""A gateway's statement on a real chain, its records over real HTTP, and what its suppliers make of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from pocketnode.chain.actor import acting
from pocketnode.errors import Unavailable
from pocketnode.gateway.access import Access
from pocketnode.gateway.config import Limits
from pocketnode.gateway.gate import Gate
from pocketnode.gateway.relay_api import RelayApi
from pocketnode.protocol.digest import statement_digest
from pocketnode.protocol.quality import Verdict
from pocketnode.protocol.record import RECORD_BYTES
from pocketnode.protocol.statement import pack
from pocketnode.protocol.types import Entry, Session, Statement
from pocketnode.settlement.account import entries_of, lines_of
from pocketnode.settlement.auditing import Auditing
from pocketnode.settlement.files import RecordFiles
from pocketnode.settlement.hearing import Hearing
from pocketnode.store.audits import AuditRow, AuditStage, AuditStore
from pocketnode.store.pots import Pot, PotStage
from pocketnode.transport.records import HttpRecords
from tests.settlement.market import GATEWAY, SLO, SUPPLIERS, Party, Stage, party, receipt, record
from tests.settlement.test_paying import go_to

GOOD, SLOW, _ = SUPPLIERS
MOST_BYTES = 1_000_000


@asynccontextmanager
async def serving(gateway: Party, files: RecordFiles | None = None, parts: bool = True) -> AsyncIterator[str]:
    """Serve a gateway's records as its daemon does, and give the address."""
    gate = Gate(Access(lambda _: {}, lambda *_: 0), Limits())
    relays = RelayApi(gate, None, files or RecordFiles(gateway.records.directory, gateway.pots))
    app = web.Application()
    app.router.add_get("/v1/records/{pot}", relays.records)
    if parts:
        app.router.add_get("/v1/records/{pot}/{index}", relays.part)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def serve(stage: Stage, gateway: Party, hidden: int = 0) -> tuple[Session, Pot]:
    """Let two suppliers serve 40 relays of 100 units each; the last few of the first are not recorded."""
    session = await gateway.session(stage)
    records = gateway.session_records
    for place in range(40):
        if place < 40 - hidden:
            records.append(session, record(session, GOOD, 100))
        records.append(session, record(session, SLOW, 100, Verdict.GOOD, ms=900))
    records.note()
    (pot,) = gateway.pots.all()
    return session, pot


def auditing(supplier: Party, most_bytes: int = MOST_BYTES) -> tuple[Auditing, AuditStore]:
    store = AuditStore(supplier.pots._engine, supplier.key.address)
    source = HttpRecords(most_bytes)
    shared = supplier.market, supplier.follower, supplier.key.address, supplier.receipts
    return Auditing(*shared, store, source, lambda _: SLO), store


def heard(supplier: Party, pot: Pot, url: str, served: int = 0) -> None:
    """Note what the supplier's daemon hears while the session runs."""
    row = AuditRow(pot.id, pot.application, pot.service, pot.number, pot.gateway, url, served)
    Hearing(supplier.pots._engine, lambda: [(supplier.key.address, row)]).note()


async def audited(stage: Stage, supplier: Party, pot: Pot, blocks: int = 1) -> AuditRow:
    """Run a supplier's audits until that of a pot has ended."""
    job, store = auditing(supplier)
    running = asyncio.create_task(job.run())
    try:
        async with asyncio.timeout(30):
            while (row := store.get(pot.id)) is None or row.stage is AuditStage.WAITING:
                await stage.rpc.ask("anvil_mine", hex(blocks))
                await asyncio.sleep(0.2)
        return row
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def state(stage: Stage, gateway: Party, pot: Pot, lie: Callable[[Entry], Entry] | None = None) -> None:
    """State a pot, with the entries changed by `lie`."""
    if lie is None:
        assert await gateway.stating().state(pot) is PotStage.STATED
        return
    entries = [lie(entry) for entry in entries_of(lines_of(gateway.records.read(pot.id), SLO), 5_000)]
    root = gateway.records.root(pot.id)
    statement = Statement(pot.application, pot.service, pot.number, pack(entries), root)
    signature = GATEWAY.sign(statement_digest(stage.deployment.domain, statement))
    fields = (pot.application, pot.service, pot.number, statement.entries, root)
    async with acting(stage.rpc, stage.deployment, GATEWAY) as actor:
        await actor.do("Settlement", "postStatement", fields, GATEWAY.address, signature)
    gateway.pots.change(pot.id, stage=PotStage.STATED)


@asynccontextmanager
async def both(stage: Stage, folder: Path) -> AsyncIterator[tuple[Party, Party]]:
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(party(stage, GATEWAY, folder / "gateway"))
        yield gateway, await stack.enter_async_context(party(stage, GOOD, folder / "supplier"))


async def test_an_honest_statement_agrees(stage: Stage, tmp_path: Path) -> None:
    async with both(stage, tmp_path) as (gateway, supplier), serving(gateway) as url:
        session, pot = await serve(stage, gateway)
        supplier.receipts.keep([receipt(stage, session, GOOD, 4_000)])
        heard(supplier, pot, url, served=4_000)
        await go_to(stage, session.end + 2, gateway, supplier)
        await state(stage, gateway, pot)
        row = await audited(stage, supplier, pot)
        assert (row.stage, row.note) == (AuditStage.AGREES, "")
        assert (row.relays, row.units, row.stated_units) == (80, 4_000, 4_000)
        assert row.quality == row.stated_quality > 9_000


async def test_a_gateway_that_states_less_than_its_records_say(stage: Stage, tmp_path: Path) -> None:
    async with both(stage, tmp_path) as (gateway, supplier), serving(gateway) as url:
        session, pot = await serve(stage, gateway)
        heard(supplier, pot, url, served=4_000)
        await go_to(stage, session.end + 2, gateway, supplier)
        await state(stage, gateway, pot, lambda entry: replace(entry, quality=5_000, units=entry.units - 1))
        row = await audited(stage, supplier, pot)
        assert row.stage is AuditStage.DIFFERS
        assert "quality: 0.5000 is stated, the records give 0.9" in row.note
        assert "units: 3999 units are stated, the records give 4000" in row.note


async def test_a_gateway_that_hides_records(stage: Stage, tmp_path: Path) -> None:
    async with both(stage, tmp_path) as (gateway, supplier), serving(gateway) as url:
        session, pot = await serve(stage, gateway, hidden=10)
        supplier.receipts.keep([receipt(stage, session, GOOD, 4_000)])
        heard(supplier, pot, url, served=4_000)
        await go_to(stage, session.end + 2, gateway, supplier)
        await state(stage, gateway, pot)
        row = await audited(stage, supplier, pot)
        assert (row.stage, row.note) == (
            AuditStage.DIFFERS,
            "hidden: receipts acknowledge 4000 units, recorded are 3000",
        )


async def test_a_gateway_that_gives_other_records_than_it_stated(stage: Stage, tmp_path: Path) -> None:
    async with both(stage, tmp_path) as (gateway, supplier), serving(gateway) as url:
        session, pot = await serve(stage, gateway)
        heard(supplier, pot, url)
        await go_to(stage, session.end + 2, gateway, supplier)
        await state(stage, gateway, pot)
        path = gateway.records.directory / f"{pot.id.hex()}.records"
        raw = path.read_bytes()
        path.write_bytes(raw[RECORD_BYTES : 2 * RECORD_BYTES] + raw[:RECORD_BYTES] + raw[2 * RECORD_BYTES :])
        row = await audited(stage, supplier, pot)
        assert row.stage is AuditStage.DIFFERS
        assert row.note.startswith("root: 80 records hash to 0x")


async def test_a_gateway_that_gives_no_records(stage: Stage, tmp_path: Path) -> None:
    async with both(stage, tmp_path) as (gateway, supplier), serving(gateway) as url:
        session, pot = await serve(stage, gateway)
        heard(supplier, pot, url + "/elsewhere")
        await go_to(stage, session.end + 2, gateway, supplier)
        await state(stage, gateway, pot)
        row = await audited(stage, supplier, pot, blocks=8)
        assert row.stage is AuditStage.UNKNOWN
        assert row.note.endswith(": HTTP 404")


async def test_a_session_that_nobody_stated(stage: Stage, tmp_path: Path) -> None:
    async with both(stage, tmp_path) as (gateway, supplier):
        session, pot = await serve(stage, gateway)
        heard(supplier, pot, "")
        await go_to(stage, session.end + 2, gateway, supplier)
        row = await audited(stage, supplier, pot)
        assert (row.stage, row.note) == (AuditStage.NOTHING, "no statement was made")


async def test_records_are_given_once_they_are_stated(stage: Stage, tmp_path: Path) -> None:
    async with both(stage, tmp_path) as (gateway, _), serving(gateway) as url:
        session, pot = await serve(stage, gateway)
        source = HttpRecords(MOST_BYTES)
        with pytest.raises(Unavailable, match="HTTP 404"):
            async with source.records(url, pot.id):
                pass
        await go_to(stage, session.end + 2, gateway)
        await state(stage, gateway, pot)
        async with source.records(url, pot.id) as pieces:
            assert len(b"".join([piece async for piece in pieces])) == 80 * RECORD_BYTES
        with pytest.raises(Unavailable, match="more than 100 bytes"):
            async with HttpRecords(100).records(url, pot.id) as pieces:
                assert [piece async for piece in pieces] == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host", "", "http://", "http://a?b=c", "http://x:y@z"])
async def test_an_address_that_is_none_is_not_asked(url: str) -> None:
    with pytest.raises(Unavailable, match="no address"):
        async with HttpRecords(MOST_BYTES).records(url, bytes(32)):
            pass


async def test_a_gateway_that_gives_no_parts_is_asked_for_all(stage: Stage, tmp_path: Path) -> None:
    async with both(stage, tmp_path) as (gateway, supplier), serving(gateway, parts=False) as url:
        session, pot = await serve(stage, gateway)
        heard(supplier, pot, url, served=4_000)
        await go_to(stage, session.end + 2, gateway, supplier)
        await state(stage, gateway, pot)
        row = await audited(stage, supplier, pot)
        assert (row.stage, row.relays, row.units) == (AuditStage.AGREES, 80, 4_000)


async def test_a_part_is_all_that_is_fetched(stage: Stage, tmp_path: Path) -> None:
    async with both(stage, tmp_path) as (gateway, supplier), serving(gateway) as url:
        session, pot = await serve(stage, gateway)
        heard(supplier, pot, url, served=4_000)
        await go_to(stage, session.end + 2, gateway, supplier)
        await state(stage, gateway, pot)
        listed = session.supplier(GOOD.address)
        assert listed is not None
        async with HttpRecords(MOST_BYTES).records(url, pot.id, listed.index) as pieces:
            part = b"".join([piece async for piece in pieces])
        assert len(part) == 40 * (RECORD_BYTES + 1) + 40 * 33  # by turns: each of the others is one hash
        for wrong in ("x", "-1", str(2**32)):
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"{url}/v1/records/0x{pot.id.hex()}/{wrong}") as answer,
            ):
                assert answer.status == 400
