"""Who is paid what: by quality where the gateway states, in full where it does not, and to the base unit on chain."""

from __future__ import annotations

import json
import struct
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from web3 import Web3

from pocketnode.localnet.configs import PRICES
from tests.e2e.network import Localnet

pytestmark = pytest.mark.e2e

SETTLED_WITHIN_S = 100
FEE_SHARE = 200  # of 10,000 (docs/protocol.md, section 7)
DEGRADED = "supplier-3"


@pytest.fixture(scope="module")
def settled(localnet: Localnet) -> dict[str, Any]:
    """A settled session of Ethereum calls that all three suppliers served, under steady load."""
    sent = localnet.traffic(rate=15, seconds=26)
    assert sent["sent"] > 300
    assert sent["failed"] <= sent["sent"] * 0.02, sent
    return localnet.settled_with("eth", suppliers=3, within_s=SETTLED_WITHIN_S)


def test_pay_and_fee_are_the_debit_to_the_base_unit(settled: dict[str, Any]) -> None:
    pay = sum(supplier["pay"] for supplier in settled["suppliers"])
    assert pay > 0
    assert pay + settled["fee"] == settled["debit"]
    assert settled["balanced"] is True


def test_the_debit_is_what_the_units_cost(settled: dict[str, Any]) -> None:
    for supplier in settled["suppliers"]:
        assert supplier["amount"] == supplier["units"] * PRICES["eth"] // 1_000_000
    assert settled["debit"] == sum(supplier["amount"] for supplier in settled["suppliers"])


def test_the_degraded_supplier_is_paid_less_for_each_unit(settled: dict[str, Any]) -> None:
    by_name = {supplier["supplier"]: supplier for supplier in settled["suppliers"]}
    degraded = by_name.pop(DEGRADED)
    for other in by_name.values():
        assert degraded["quality"] < other["quality"]
        assert degraded["pay"] / degraded["amount"] < other["pay"] / other["amount"]


def test_the_chain_says_the_same(localnet: Localnet, settled: dict[str, Any]) -> None:
    """The token's own transfers, read without any code of ours, sum up to what `payouts` shows of all sessions."""
    deployment = json.loads((localnet.folder / "deployment.json").read_text())
    addresses = json.loads((localnet.folder / "network.json").read_text())["addresses"]
    chain = Web3(Web3.HTTPProvider(localnet.chain_url))
    before = paid(localnet.payouts())
    for _ in range(30):
        received = {
            name: transferred_to(chain, deployment, addresses[f"{name}-owner"]) for name in addresses if name in before
        }
        shown = paid(localnet.payouts())
        if shown == before:  # nobody was paid between the two readings
            break
        before = shown
        time.sleep(1)
    assert received == shown
    assert len(received) == 3
    assert settled["debit"] > 0


def paid(sessions: list[dict[str, Any]]) -> dict[str, int]:
    """Return what each supplier was paid in all sessions."""
    sums: Counter[str] = Counter()
    for session in sessions:
        for supplier in session["suppliers"]:
            sums[supplier["supplier"]] += supplier["pay"] + supplier["compensation"]
    return dict(sums)


def transferred_to(chain: Web3, deployment: dict[str, Any], address: str) -> int:
    """Return the sum of all ERC-20 transfers from escrow to an address, in base units."""
    transfer = Web3.keccak(text="Transfer(address,address,uint256)").to_0x_hex()
    contracts = deployment["contracts"]
    sender, receiver = (f"0x{'0' * 24}{end.removeprefix('0x').lower()}" for end in (contracts["escrow"], address))
    logs = chain.eth.get_logs(
        {
            "address": Web3.to_checksum_address(contracts["token"]),
            "fromBlock": 0,
            "toBlock": "latest",
            "topics": [transfer, sender, receiver],
        }
    )
    return sum(int.from_bytes(log["data"]) for log in logs)


def test_suppliers_lose_nothing_where_the_gateway_withholds_its_statement(withholding: Localnet) -> None:
    sent = withholding.traffic(rate=10, seconds=24)
    assert sent["failed"] <= sent["sent"] * 0.02, sent
    session = withholding.settled_with("eth", suppliers=3, within_s=SETTLED_WITHIN_S)
    assert session["stated"] is False
    for supplier in session["suppliers"]:
        assert supplier["claimed"] is True
        assert supplier["quality"] is None
        assert supplier["amount"] == supplier["units"] * PRICES["eth"] // 1_000_000
        # As at equal quality: all of the amount but the fee (rule 5.9).
        assert supplier["pay"] == supplier["amount"] * (10_000 - FEE_SHARE) // 10_000
    assert session["debit"] == sum(supplier["amount"] for supplier in session["suppliers"])
    assert session["balanced"] is True
    claimed = sorted(supplier["units"] for supplier in session["suppliers"])
    assert claimed == sorted(units_accepted(withholding.folder, session["pot"]).values())


def units_accepted(folder: Path, pot: str) -> dict[int, int]:
    """Return the units that the gateway itself recorded for each supplier of a pot, by index (rule 5.5)."""
    raw = (folder / "data" / "gateway" / "records" / f"{pot}.records").read_bytes()
    sums: Counter[int] = Counter()
    for index, units in struct.iter_unpack(">64xIQ9x", raw):
        sums[index] += units
    return {index: units for index, units in sums.items() if units}
