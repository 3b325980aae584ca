"""Transactions go to two suppliers and are paid for once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pocketnode.store.usage import UsageStore
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Start, until
from tests.gateway.market import broken, reply_json

RAW = "0x02f8"
HASH = "0x" + "dd" * 32


def errors(code: int, message: str) -> Any:
    async def answer(relay: Relay) -> Served:
        identity = orjson.loads(relay.body)["id"]
        return await reply_json(
            relay, {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": message}}, 80
        )

    return answer


async def takes(relay: Relay) -> Served:
    return await reply_json(relay, {"jsonrpc": "2.0", "id": orjson.loads(relay.body)["id"], "result": HASH}, 80)


async def test_two_suppliers_get_it_and_the_user_pays_once(start: Start) -> None:
    gateway = await start()
    for supplier in gateway.suppliers:
        supplier.answers["eth"] = takes
    assert (await gateway.rpc("eth_sendRawTransaction", RAW))["result"] == HASH
    await until(lambda: len(gateway.records()) == 2)
    assert len({record.index for record in gateway.records()}) == 2
    gateway.stop.set()
    await gateway.task
    assert [used.units for _, used in UsageStore(gateway.engine).rows()] == [80]


async def test_already_known_is_success(start: Start) -> None:
    gateway = await start()
    for supplier in gateway.suppliers:
        supplier.answers["eth"] = errors(-32000, "already known")
    answer = await gateway.rpc("eth_sendRawTransaction", RAW, identity="x")
    assert answer["id"] == "x"
    assert answer["result"].startswith("0x")
    assert len(answer["result"]) == 66


@pytest.mark.parametrize("message", ["nonce too low", "insufficient funds for gas * price + value"])
async def test_a_refusal_of_the_chain_is_given_to_the_user(start: Start, message: str) -> None:
    gateway = await start()
    for supplier in gateway.suppliers:
        supplier.answers["eth"] = errors(-32000, message)
    assert (await gateway.rpc("eth_sendRawTransaction", RAW))["error"]["message"] == message


async def test_one_sound_supplier_is_enough(start: Start) -> None:
    gateway = await start()
    for supplier in gateway.suppliers[:2]:
        supplier.answers["eth"] = broken
    gateway.suppliers[2].answers["eth"] = takes
    for _ in range(5):
        assert (await gateway.rpc("eth_sendRawTransaction", RAW))["result"] == HASH
