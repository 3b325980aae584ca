"""A power cut takes what the system had not written yet: what was said to be done is there, and nothing wrong besides.

No machine is switched off here. A daemon is killed, and then its files are cut and spoiled where a power cut may do so:
behind what was brought to disk last. That it is brought to disk when it is said to be is seen from outside, by strace.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from pocketnode.localnet.plan import GATEWAY, SUPPLIERS
from pocketnode.protocol.record import RECORD_BYTES
from pocketnode.protocol.session import pot_id
from pocketnode.protocol.types import Receipt, SignedReceipt
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.power import NAME, PowerMark
from pocketnode.store.receipt_log import ENTRY_BYTES, ReceiptLog
from pocketnode.store.receipts import KeptReceipt, ReceiptStore
from tests.faults import books
from tests.faults.world import ROOT, UNITS, World

CALLS: Final = 60
AT_ONCE: Final = 4
ON_DISK_S: Final = 2.6  # the last bare Receipts (rule 3.13) and a write of the records
SESSION, SUPPLIER, GIVER = b"\x01" * 32, b"\x02" * 20, b"\x05" * 20


def kept(total: int, lane: int = 1) -> KeptReceipt:
    receipt = Receipt(SESSION, SUPPLIER, lane.to_bytes(32, "big"), total + 1, total, 0)
    return KeptReceipt(b"\x03" * 20, b"\x04" * 32, 7, GIVER, SignedReceipt(receipt, b"\x06" * 65))


def spoiled(luck: random.Random, count: int) -> bytes:
    """Return what may stand where bytes were not written: nothing, zeros, or what stood on the disk before."""
    return luck.choice([b"", bytes(count), luck.randbytes(count)])


@pytest.mark.parametrize("seed", range(20))
def test_what_is_committed_survives_whatever_becomes_of_the_rest(tmp_path: Path, seed: int) -> None:
    luck = random.Random(seed)
    path = tmp_path / "state.db"
    engine = open_store(sqlite_url(path))
    store, wal = ReceiptStore(engine), path.with_name("state.db-wal")
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM receipts")  # as long as it reads, nothing moves from the log to the file
    for lane in range(10):
        store.keep([kept(5, lane)])
    safe = wal.stat().st_size
    for lane in range(10, 20):
        store.keep([kept(5, lane)])
    (tmp_path / "after").mkdir()
    copy = shutil.copy(path, tmp_path / "after" / "state.db")
    raw = wal.read_bytes()
    reader.close()
    engine.dispose()
    cut = luck.randrange(safe, len(raw))
    (tmp_path / "after" / "state.db-wal").write_bytes(raw[:cut] + spoiled(luck, len(raw) - cut))
    again = open_store(sqlite_url(Path(copy)))
    found = [int.from_bytes(one.receipt.receipt.lane, "big") for one in ReceiptStore(again).lanes(SESSION, GIVER)]
    again.dispose()
    assert found == list(range(len(found)))
    assert 10 <= len(found) <= 20


@pytest.mark.parametrize("seed", range(20))
def test_no_receipt_comes_out_of_spoiled_bytes(tmp_path: Path, seed: int) -> None:
    luck = random.Random(seed)
    log = ReceiptLog(tmp_path / "receipts")
    for total in range(8):
        log.note(kept(total))
    log.close()
    path = tmp_path / "receipts.a"
    raw = path.read_bytes()
    cut = luck.randrange(len(raw))
    path.write_bytes(raw[:cut] + spoiled(luck, len(raw) - cut))
    again = ReceiptLog(tmp_path / "receipts")
    found = [one.receipt.receipt.total for one in again.replay()]
    again.close()
    assert found == list(range(cut // ENTRY_BYTES))


def test_a_mark_tells_a_power_cut_from_all_else(tmp_path: Path) -> None:
    def begun(boot: str) -> PowerMark:
        mark = PowerMark(tmp_path, boot)
        mark.begin()
        return mark

    assert not begun("monday").lost  # nothing ran here before
    assert not begun("monday").lost  # it was killed
    begun("monday").end()
    assert not begun("tuesday").lost  # it was stopped, and so was the machine
    after = begun("wednesday")
    assert after.lost
    after.end()
    again = begun("wednesday")
    assert again.lost  # until nothing of that time is left to state
    again.trust()
    assert not begun("wednesday").lost
    assert not begun("").lost  # where it cannot be told
    assert PowerMark(tmp_path)._boot


WRITES: Final = """
import os, sys
from pathlib import Path
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.power import PowerMark
from pocketnode.store.receipts import ReceiptStore
from tests.faults.test_power_cut import kept
store = ReceiptStore(open_store(sqlite_url(Path(sys.argv[1]) / "state.db")))
os.write(1, b"BEGUN")
store.keep([kept(1)])
os.write(1, b"KEPT")
os._exit(0)
"""


def test_what_is_said_to_be_kept_was_brought_to_disk(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("no strace here")
    traced = ["strace", "-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o", str(tmp_path / "trace")]
    words = [*traced, sys.executable, "-c", WRITES, str(tmp_path)]
    done = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    if "ptrace" in done.stderr:
        pytest.skip("may not trace here")
    assert done.stdout == "BEGUNKEPT", done.stderr
    said = (tmp_path / "trace").read_text().partition('"BEGUN"')[2].partition('"KEPT"')[0]
    calls = [line for line in said.splitlines() if "state.db-wal" in line]
    assert any("pwrite64(" in line for line in calls)
    assert "sync(" in calls[-1], calls


e2e = pytest.mark.e2e
audit = pytest.mark.audit


@e2e
@pytest.mark.asyncio(loop_scope="session")
async def test_a_gateway_does_not_state_what_it_lost_records_of(world: World) -> None:
    """Its suppliers claim all that was acknowledged, and its bond pays nothing; the sessions after are stated."""
    await world.withhold(False)
    number = await world.new_session()
    assert await world.load(CALLS, AT_ONCE) == CALLS
    await asyncio.sleep(ON_DISK_S)
    await world.kill(GATEWAY)
    records = Path(world.configured(GATEWAY)["records"])
    file = records / f"{pot_id(world.session(number), world.gateway).hex()}.records"
    os.truncate(file, file.stat().st_size - 20 * RECORD_BYTES - 31)
    (records / NAME).write_text("the boot before")
    await world.start(GATEWAY)
    assert await world.load(CALLS, AT_ONCE) == CALLS
    await asyncio.sleep(ON_DISK_S)
    await world.settle(number)
    users = world.users(number)

    async def paid() -> bool:
        return (await books.pot(world, number)).paid.keys() >= users.keys()

    await world.mine_until(paid, 40, f"session {number} is not paid out")
    pot = await books.pot(world, number)
    assert (pot.statements, pot.faults, pot.payments) == (0, [], len(pot.paid))
    assert all(units <= pot.claimed[name] <= units + AT_ONCE * UNITS for name, units in users.items()), (users, pot)
    books.check_pay(pot)
    assert "records_doubtful" in world.log(GATEWAY)
    await world.new_session()
    later = await world.new_session()
    assert await world.load(CALLS, AT_ONCE) == CALLS
    await world.settle(later)
    pot, accepted = await books.settled(world, later)
    assert (pot.statements, pot.units) == (1, accepted)


@e2e
@audit
@pytest.mark.asyncio(loop_scope="session")
async def test_a_supplier_claims_all_but_the_newest(world: World) -> None:
    """Its receipt log is not brought to disk, and what it wrote last may be anything: the store has all of it."""
    victim = SUPPLIERS[0]
    await world.withhold(True)
    number = await world.new_session()
    assert await world.load(CALLS, AT_ONCE) == CALLS
    await asyncio.sleep(ON_DISK_S)
    await world.kill(victim)
    for path in world.layout.data(victim).glob("*.receipts.*"):
        path.write_bytes(bytes(ENTRY_BYTES) + random.Random(7).randbytes(ENTRY_BYTES * 3 + 40))
    with (world.layout.data(victim) / "state.db-wal").open("ab") as wal:
        wal.write(random.Random(8).randbytes(10_000))
    await world.start(victim)
    await world.settle(number)
    pot, accepted = await books.settled(world, number)
    assert victim in accepted
    assert pot.units == accepted
    assert pot.statements == 0
