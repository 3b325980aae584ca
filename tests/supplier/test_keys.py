"""One process, several operator keys: who is served under which, and what a reload does to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pocketnode.cli.supplier_parts import keys_of
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import checksum
from pocketnode.errors import ConfigError, RemoteError
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.session import service_id, session_id
from pocketnode.protocol.types import Receipt, SignedReceipt
from pocketnode.store.receipts import KeptReceipt
from pocketnode.supplier import config as configs
from tests.supplier.conftest import APPLICATION, GATEWAY, RPC, SECOND, SUPPLIER, Running, Start, ask, described
from tests.supplier.test_config import loaded
from tests.supplier.test_daemon import BLOCK_NUMBER, eth

SESSION = session_id(APPLICATION, service_id("eth"), 2)
BOTH: dict[str, Any] = {"operators": [{"keystore": "second.json", "password_file": "password"}]}


@pytest.fixture
async def running(start: Start, tmp_path: Path, anvil_url: str) -> Running:
    return await start({**described(tmp_path, eth=eth(anvil_url)), **BOTH})


async def test_a_lane_is_for_the_key_that_it_names(running: Running) -> None:
    for supplier in (SUPPLIER, SECOND):
        lane = await running.lane(supplier=supplier)
        for _ in range(3):
            await ask(lane, RPC, BLOCK_NUMBER)
        await lane.close()
    await running.daemon.keeper.flush()
    for supplier in (SUPPLIER, SECOND):
        (kept,) = running.store.lanes(SESSION, GATEWAY.address, supplier.address)
        assert kept.units == 30
        assert kept.receipt.receipt.supplier == supplier.address
    facts = running.daemon.status.facts()
    assert {row["operator"] for row in facts["sessions"]} == {checksum(SUPPLIER.address), checksum(SECOND.address)}
    assert len(facts["services"][0]["backends"]) == 1, "keys share the backends of a service"


async def test_a_key_sells_only_the_services_that_name_it(start: Start, tmp_path: Path, anvil_url: str) -> None:
    services = {"eth": {**eth(anvil_url), "operators": ["second"]}}
    running = await start({**described(tmp_path, **services), **BOTH})
    await ask(await running.lane(supplier=SECOND), RPC, BLOCK_NUMBER)
    with pytest.raises(RemoteError) as refused:
        await running.lane(supplier=SUPPLIER)
    assert refused.value.rule == "3.7"


async def test_keys_share_neither_credit_nor_guarantee(running: Running) -> None:
    """Escrow guarantees each supplier five million units (rule 3.8); the first key is owed all but five of them."""
    signed = SignedReceipt(Receipt(SESSION, SUPPLIER.address, b"\x01" * 32, 9, 4_999_995, 0), b"\x02" * 65)
    running.store.keep([KeptReceipt(APPLICATION, service_id("eth"), 2, GATEWAY.address, signed)])
    with pytest.raises(RelayFailed) as refused:
        await ask(await running.lane(supplier=SUPPLIER), RPC, BLOCK_NUMBER, hold=10)
    assert refused.value.fault.kind is FaultClass.OUT_OF_BUDGET
    await ask(await running.lane(supplier=SECOND), RPC, BLOCK_NUMBER, hold=10)


async def test_a_reload_adds_a_key_and_takes_one_away_and_lanes_that_are_open_go_on(
    start: Start, tmp_path: Path, anvil_url: str
) -> None:
    alone = described(tmp_path, eth=eth(anvil_url))
    running = await start(alone)
    with pytest.raises(RemoteError):
        await running.lane(supplier=SECOND)
    running.write({**alone, **BOTH})
    await running.daemon.reload()
    lane = await running.lane(supplier=SECOND)
    await ask(lane, RPC, BLOCK_NUMBER)
    running.write(alone)
    await running.daemon.reload()
    await ask(lane, RPC, BLOCK_NUMBER)
    with pytest.raises(RemoteError):
        await running.lane(supplier=SECOND)


async def test_an_operator_may_relay_to_itself_under_each_key(running: Running) -> None:
    await ask(await running.lane(key=SECOND, number=0, supplier=SECOND), RPC, BLOCK_NUMBER)
    assert not running.daemon.answerer.accounts


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"operators": [{"keystore": "operator.json", "password_file": "p"}]}, "two keys of one name"),
        (
            {"services": [{"id": "eth", "price": 1, "operators": ["x"], "backends": [{"url": "http://x"}]}]},
            "no operator is named 'x'",
        ),
        ({"limits": {"replicas": 2}}, "name a PostgreSQL one"),
    ],
)
def test_what_does_not_go_together_is_named(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(tmp_path, **changed)


def test_two_names_of_one_key_are_refused(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    for name in ("operator", "second"):
        keystore.create(tmp_path / f"{name}.json", SUPPLIER, "secret", keystore.LIGHT_COST)
    loaded(tmp_path, **BOTH)
    with pytest.raises(ConfigError, match="operator and second are one key"):
        keys_of(configs.load(tmp_path / "supplier.yaml"))
