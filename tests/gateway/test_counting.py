"""The dashboard's figures of a gateway: every request once, by how its user saw it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from pocketnode.errors import ConfigError
from pocketnode.gateway.catalog import catalog_of
from pocketnode.gateway.watching import UNROUTED
from pocketnode.transport.ports import Relay, Served
from pocketnode.web.meter import Meter, Sums
from tests.gateway.conftest import Running, Start, configured
from tests.gateway.market import broken, reply_json
from tests.gateway.test_reading import all_answer, results


async def metered(start: Start, **options: Any) -> Running:
    """Return a gateway that counts where only the test looks: the dashboard takes what is counted every two seconds."""
    gateway = await start(**options)
    gateway.daemon.metrics.meter = Meter()
    return gateway


def counted(gateway: Running, service: str = "eth") -> Sums:
    return gateway.daemon.metrics.meter.of(service)


async def ask(gateway: Running, secret: str, body: Any) -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    async with gateway.http.post(f"{gateway.url}/rpc/eth", json=body, headers=headers) as answer:
        return answer.status


async def test_bought_and_kept_answers_count_alike(start: Start) -> None:
    gateway = await metered(start)
    all_answer(gateway, results({"eth_gasPrice": "0x1"}))
    for _ in range(3):
        await gateway.rpc("eth_gasPrice")
    sums = counted(gateway)
    assert (sums.relays, sums.good, sums.kept, sums.refused) == (3, 3, 2, 0)
    assert sums.units > 0, "what the one relay cost"


async def test_each_item_of_a_batch_counts(start: Start) -> None:
    gateway = await metered(start)
    all_answer(gateway, results({"eth_gasPrice": "0x1"}))
    items = [{"jsonrpc": "2.0", "id": n, "method": m, "params": []} for n, m in enumerate(("eth_gasPrice", "no_such"))]
    await gateway.post("/rpc/eth", items)
    sums = counted(gateway)
    assert (sums.good, sums.errors) == (1, {"method_not_found": 1})


async def test_a_user_without_a_key_is_turned_away_and_no_failure(start: Start) -> None:
    gateway = await metered(start)
    await ask(gateway, "pn_wrong", {"jsonrpc": "2.0", "id": 1, "method": "eth_gasPrice", "params": []})
    await gateway.post("/rpc/unheard", {})
    assert (counted(gateway).relays, counted(gateway).errors) == (0, {"invalid_api_key": 1})
    assert counted(gateway, UNROUTED).errors == {"service_not_found": 1}


async def test_a_limit_is_no_failure(start: Start) -> None:
    gateway = await metered(start, rules='{"requests_per_minute": 1}')
    all_answer(gateway, results({"eth_gasPrice": "0x1"}))
    for _ in range(3):
        await gateway.rpc("eth_gasPrice")
    assert (counted(gateway).relays, counted(gateway).errors) == (1, {"rate_limit_exceeded": 2})


async def test_what_suppliers_fail_is_a_failure_once_and_an_error_of_each(start: Start) -> None:
    gateway = await metered(start, suppliers=2)
    all_answer(gateway, broken)
    await gateway.rpc("eth_gasPrice")
    assert (counted(gateway).relays, counted(gateway).good) == (1, 0)
    assert counted(gateway).errors == {"no_supplier": 1}
    for supplier in gateway.suppliers:
        assert gateway.daemon.metrics.meter.of("eth", "0x" + supplier.key.address.hex()).errors == {"backend": 1}


async def test_a_request_that_outlives_a_turn_of_the_meter_is_counted_in_the_next(start: Start) -> None:
    gateway = await metered(start)
    all_answer(gateway, results({"eth_gasPrice": "0x1"}, pause_s=0.3))
    meter = gateway.daemon.metrics.meter
    under_way = asyncio.ensure_future(gateway.rpc("eth_gasPrice"))
    await asyncio.sleep(0.1)
    meter.turn()
    await under_way
    assert meter.of("eth").good == 1


async def test_a_service_is_held_against_the_target_of_the_configuration(start: Start) -> None:
    gateway = await start(slo={"eth": {"success": 0.9999, "price": 7}})
    _, about = await gateway.admin("/api/about")
    by_name = {one["id"]: one["slo"] for one in about["services"]}
    assert (by_name["eth"]["success"], by_name["eth"]["price"]) == (0.9999, 7)
    assert by_name["eth"]["first_byte_ms"] > 0, "the service's own promise"
    assert by_name["smollm2"]["success"] == 0.995


def test_a_target_of_a_service_that_is_not_sold_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="slo: solana is not sold here"):
        catalog_of(configured(tmp_path, slo={"solana": {"success": 0.9}}))


async def test_a_request_of_which_one_part_failed_costs_nothing(start: Start) -> None:
    gateway = await metered(start)

    async def logs(relay: Relay) -> Served:
        asked = orjson.loads(relay.body)
        if asked["method"] == "eth_getLogs" and asked["params"][0]["fromBlock"] != "0x1":
            return await broken(relay)
        return await reply_json(relay, {"jsonrpc": "2.0", "id": asked["id"], "result": []}, 75)

    all_answer(gateway, logs)
    asked = {"id": 1, "method": "eth_getLogs", "params": [{"fromBlock": "0x1", "toBlock": hex(4000)}]}
    _, refused, headers = await gateway.post("/rpc/eth", asked)
    assert "error" in refused
    assert sum(record.units for record in gateway.records()) > 0, "the part that was answered is paid to its supplier"
    assert (headers["x-pocketnode-cost"], counted(gateway).good) == ("units=0, amount=0", 0)
