"""What `settlement status` and `session show` say of a session in each of its states, on a real chain."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from pocketnode.chain.client import Rpc
from pocketnode.chain.contracts import contract
from pocketnode.chain.deployment import write
from pocketnode.cli.main import main
from pocketnode.settlement.equivocation import contradiction_of
from pocketnode.store.audits import AuditRow, AuditStage, AuditStore
from pocketnode.store.engine import sqlite_url
from pocketnode.store.journal import Intent, Journal
from pocketnode.store.pots import PotStage
from tests.settlement.market import SUPPLIERS, Party, Stage, receipt
from tests.settlement.test_paying import go_to, open_all, serve
from tests.settlement.test_reporting import signed_anew

GOOD, SLOW, _ = SUPPLIERS
NET = 9_800  # ten-thousandths that the fee leaves
STATED, EARNED = 20_000, 45_000  # base units: 4,000 units are stated, receipts of the first prove 9,000


async def printed(*words: str) -> list[dict[str, Any]]:
    """Return what a command prints for programs."""
    done = await asyncio.to_thread(CliRunner().invoke, main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


async def status(party: Party, folder: Path, everything: bool = False) -> dict[str, Any]:
    """Return the one row of a party's `settlement status`; nothing where it is finished."""
    words = ["settlement", "status", "--store", sqlite_url(folder / "state.db"), "--party"]
    rows = await printed(*words, "0x" + party.key.address.hex(), *(["--all"] if everything else []))
    assert len(rows) < 2
    return rows[0] if rows else {}


def amounts(row: dict[str, Any]) -> tuple[str, int, int, int, int, int]:
    return row["stage"], row["owed"], row["stated"], row["claimed"], row["payable"], row["paid"]


async def begin(stage: Stage, supplier: Party, folder: Path) -> dict[str, Any]:
    """Go to the claim window, and return what the supplier's status says with its claim in the journal."""
    claiming = supplier.claiming()
    await claiming.note_pots()
    row = await status(supplier, folder)
    assert amounts(row) == ("open", 0, 0, 0, 0, 0)
    assert row["waits_for"] == "the end of the session or of the statement window"
    (pot,) = supplier.pots.all()
    journal, key = Journal(supplier.pots._engine, supplier.key.address), claiming.key_of(pot) + ":before"
    target = stage.deployment.contracts.settlement
    journal.add(Intent(key, target, contract("Settlement").call_data("domainSeparator")))
    assert (await status(supplier, folder))["waits_for"].startswith("its claim to be mined and confirmed (")
    await asyncio.wait_for(supplier.sender.send(Intent(key, target, b"")), 10)
    AuditStore(supplier.pots._engine, supplier.key.address).note(
        AuditRow(pot.id, pot.application, pot.service, pot.number, pot.gateway)
    )
    return row


async def test_settlement_status_in_each_state(stage: Stage, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        good, slow = suppliers[:2]
        homes = {one.key.address: tmp_path / f"supplier{number}" for number, one in enumerate(suppliers)}
        home, other = homes[GOOD.address], homes[SLOW.address]
        good.receipts.keep([receipt(stage, session, GOOD, total=9_000)])
        row = await status(gateway, tmp_path / "gateway")
        assert amounts(row) == ("open", 0, 0, 0, 0, 0)
        await go_to(stage, session.end + 2, gateway, *suppliers)
        (pot,) = gateway.pots.all()
        await gateway.stating().state(pot)
        row = await status(gateway, tmp_path / "gateway")
        assert amounts(row) == ("stated", 2 * STATED, 2 * STATED, 0, 0, 0)
        assert row["waits_for"] == "the end of the claim window"
        windows = stage.deployment.windows
        payable = session.end + windows.statement + windows.claim + 1
        assert row["until_block"] == payable
        await begin(stage, good, home)
        await slow.claiming().note_pots()
        await go_to(stage, session.end + windows.statement + 1, gateway, *suppliers)
        assert await good.claiming().compare(pot) is PotStage.CLAIMED
        assert await slow.claiming().compare(pot) is PotStage.STATED
        claimed, stated = await status(good, home), await status(slow, other)
        assert amounts(claimed) == ("claimed", EARNED, STATED, EARNED, 0, 0)
        assert amounts(stated) == ("stated", STATED, STATED, 0, 0, 0)
        assert {row["waits_for"] for row in (claimed, stated)} == {"the end of the claim window"}
        assert {row["until_block"] for row in (claimed, stated)} == {payable}
        assert (claimed["audit"], stated["audit"]) == ("waiting", "")
        note = "quality: 0.5 is stated"
        AuditStore(good.pots._engine, GOOD.address).finish(pot.id, AuditStage.DIFFERS, note=note)
        claimed = await status(good, home)
        assert (claimed["audit"], claimed["note"]) == ("differs", note)
        await go_to(stage, payable, gateway, *suppliers)
        good.pots.change(pot.id, stage=PotStage.PAYABLE)
        row = await status(good, home)
        assert amounts(row) == ("payable", EARNED, STATED, EARNED, EARNED, 0)
        assert row["waits_for"] == "the next withdrawal"
        assert await asyncio.wait_for(good.withdrawing().withdraw(), 10) == 1
        assert await status(good, home) == {}
        row = await status(good, home, everything=True)
        assert amounts(row)[:5] == ("paid", 0, STATED, EARNED, 0)
        # All of it, less the fee, and from the gateway's bond what its statement hid (rule 5.15).
        assert row["paid"] > EARNED * 9 // 10, row["paid"]
        assert row["waits_for"] == "nothing"


async def test_session_show_in_each_state(stage: Stage, rpc: Rpc, anvil_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gateway, suppliers = await open_all(stage, tmp_path, stack)
        session = await serve(stage, gateway, suppliers)
        good = suppliers[0]
        answered = receipt(stage, session, GOOD, total=9_000, hold=100, units=5)
        good.receipts.keep([answered])
        await go_to(stage, session.end + 2, gateway, *suppliers)
        (pot,) = gateway.pots.all()
        await gateway.stating().state(pot)
        write(tmp_path / "deployment.json", stage.deployment)
        at = ["--deployment", str(tmp_path / "deployment.json"), "--rpc", anvil_url]

        async def shown() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
            (facts,) = await printed("session", "show", "0x" + pot.id.hex(), *at)
            by_operator = {row["operator"].lower(): row for row in facts["suppliers"]}
            return facts, *(by_operator["0x" + key.address.hex()] for key in (GOOD, SLOW))

        windows = stage.deployment.windows
        payable = session.end + windows.statement + windows.claim + 1
        facts, first, second = await shown()
        assert (facts["stated"], facts["final"], facts["balances"]) == (True, False, True)
        assert (first["owed"], first["stated"], first["claimed"], first["payable"]) == (STATED, STATED, 0, 0)
        assert first["waits_for"] == f"block {payable}, when the claim window has closed" == facts["fee_waits_for"]
        await go_to(stage, session.end + windows.statement + 1, gateway, *suppliers)
        await good.claiming().note_pots()
        assert await good.claiming().compare(good.pots.all()[0]) is PotStage.CLAIMED
        facts, first, second = await shown()
        worth = EARNED + 25
        assert (first["owed"], first["claimed"], first["compensation"]) == (worth, worth, EARNED - STATED)
        assert (second["owed"], second["claimed"], second["slashed"], first["slashed"]) == (STATED, 0, 0, 0)
        await report(stage, gateway, answered)
        facts, first, second = await shown()
        assert (first["slashed"], second["slashed"]) == (100, 0)
        await go_to(stage, payable, gateway, *suppliers)
        facts, first, second = await shown()
        assert facts["final"]
        assert first["payable"] == first["pay"] + first["compensation"] > 0
        assert first["waits_for"] == "a withdrawal, which anyone may send"
        assert facts["fee_waits_for"] == "session collect, which anyone may send"
        await asyncio.wait_for(good.withdrawing().withdraw(), 10)
        await asyncio.wait_for(gateway.collecting().collect(), 10)
        facts, first, second = await shown()
        assert first["withdrawn"] == first["pay"] + first["compensation"]
        assert (first["payable"], first["waits_for"], facts["fee_waits_for"]) == (0, "nothing", "nothing")
        assert (second["withdrawn"], second["payable"], facts["balances"]) == (None, second["pay"], True)


async def report(stage: Stage, gateway: Party, answered: Any) -> None:
    """Report two answers to one Receipt of this session."""
    found = contradiction_of(answered, signed_anew(stage, answered, 9, GOOD), stage.deployment.domain)
    data = contract("Settlement").call_data("reportEquivocation", *found.arguments)
    intent = Intent("report", stage.deployment.contracts.settlement, data)
    await asyncio.wait_for(gateway.sender.send(intent), 10)
