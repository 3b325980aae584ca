"""What the gateway answers without buying it again, and what it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from pocketnode.gateway.blocks import FINAL_DEPTH, Blocks
from pocketnode.protocol.types import ZERO32
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Running, Start
from tests.gateway.market import OK, Answer, Supplier, node, reply_json

CACHE = "x-pocketnode-cache"


def results(by_method: dict[str, Any], pause_s: float = 0.0) -> Answer:
    async def answer(relay: Relay) -> Served:
        asked = orjson.loads(relay.body)
        await asyncio.sleep(pause_s)
        result = by_method.get(asked["method"])
        return await reply_json(relay, {"jsonrpc": "2.0", "id": asked["id"], "result": result}, 10)

    return answer


def all_answer(gateway: Running, answer: Answer) -> None:
    for supplier in gateway.suppliers:
        supplier.answers["eth"] = answer


def asked(suppliers: list[Supplier]) -> int:
    return sum(len(supplier.asked) for supplier in suppliers)


async def call(gateway: Running, method: str, *params: Any, identity: Any = 1) -> tuple[Any, str | None]:
    body = {"jsonrpc": "2.0", "id": identity, "method": method, "params": list(params)}
    _, answer, headers = await gateway.post("/rpc/eth", body)
    return answer, headers.get(CACHE)


async def test_static_answers_are_agreed_once_by_several_suppliers(start: Start) -> None:
    gateway = await start()
    all_answer(gateway, results({"eth_chainId": "0x1"}))
    gateway.suppliers[0].answers["eth"] = results({"eth_chainId": "0x66"})
    for identity in (1, "b", 2.5):
        said = {"jsonrpc": "2.0", "id": identity, "result": "0x1"}
        assert await call(gateway, "eth_chainId", identity=identity) == (said, "hit; static")
    assert [len(supplier.asked) for supplier in gateway.suppliers] == [1, 1, 1]


async def test_static_answers_that_differ_are_not_kept(start: Start) -> None:
    gateway = await start(suppliers=2)
    gateway.suppliers[0].answers["eth"] = results({"net_version": "1"})
    gateway.suppliers[1].answers["eth"] = results({"net_version": "2"})
    for _ in range(3):
        answer, why = await call(gateway, "net_version")
        assert (answer["result"] in ("1", "2"), why) == (True, None)


async def test_only_what_is_final_is_kept_for_good(start: Start) -> None:
    gateway = await start()
    head = 1000
    all_answer(gateway, results({"eth_blockNumber": hex(head), "eth_getBalance": "0x5"}))
    await call(gateway, "eth_blockNumber")
    final, young = hex(head - FINAL_DEPTH), hex(head - FINAL_DEPTH + 1)
    for block, hit in ((final, "hit; final"), (young, None), ("latest", None), ("finalized", None)):
        await call(gateway, "eth_getBalance", "0xab", block)
        assert (await call(gateway, "eth_getBalance", "0xab", block))[1] == hit


async def test_null_and_errors_are_never_kept(start: Start) -> None:
    gateway = await start()
    all_answer(gateway, results({"eth_blockNumber": hex(1000)}))
    await call(gateway, "eth_blockNumber")
    before = asked(gateway.suppliers)
    for _ in range(3):
        assert await call(gateway, "eth_getTransactionReceipt", "0x1") == (
            {"jsonrpc": "2.0", "id": 1, "result": None},
            None,
        )
    assert asked(gateway.suppliers) == before + 3


async def test_a_transaction_is_kept_once_its_block_is_final(start: Start) -> None:
    gateway = await start()
    answers = {"eth_blockNumber": hex(1000), "eth_getTransactionReceipt": {"blockNumber": hex(990)}}
    all_answer(gateway, results(answers))
    await call(gateway, "eth_blockNumber")
    await call(gateway, "eth_getTransactionReceipt", "0x1")
    assert (await call(gateway, "eth_getTransactionReceipt", "0x1"))[1] is None
    answers["eth_getTransactionReceipt"] = {"blockNumber": hex(10)}
    await call(gateway, "eth_getTransactionReceipt", "0x2")
    assert (await call(gateway, "eth_getTransactionReceipt", "0x2"))[1] == "hit; final"


async def test_alike_requests_in_flight_share_one_relay(start: Start) -> None:
    gateway = await start()
    all_answer(gateway, results({"eth_getCode": "0x60"}, pause_s=0.1))
    found = await asyncio.gather(*(call(gateway, "eth_getCode", "0x1", "latest", identity=n) for n in range(10)))
    assert [answer["id"] for answer, _ in found] == list(range(10))
    assert {answer["result"] for answer, _ in found} == {"0x60"}
    assert asked(gateway.suppliers) == 1
    assert sorted(str(how) for _, how in found) == ["None"] + ["shared"] * 9
    assert not len(gateway.daemon.items.sharing)


async def test_who_shares_is_answered_where_the_first_leaves(start: Start) -> None:
    gateway = await start()
    all_answer(gateway, results({"eth_getCode": "0x60"}, pause_s=0.2))
    first = asyncio.create_task(call(gateway, "eth_getCode", "0x1", "latest"))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(call(gateway, "eth_getCode", "0x1", "latest"))
    await asyncio.sleep(0.05)
    first.cancel()
    assert (await second)[0]["result"] == "0x60"


async def test_a_client_never_sees_the_head_go_back(start: Start) -> None:
    gateway = await start()
    heads = iter([100, 105, 103, 101, 106, 104, 90, 107] + [107] * 100)

    async def jumping(relay: Relay) -> Served:
        asked = orjson.loads(relay.body)
        return await reply_json(relay, {"jsonrpc": "2.0", "id": asked["id"], "result": hex(next(heads))}, 10)

    all_answer(gateway, jumping)
    seen = []
    for _ in range(6):
        answer, _ = await call(gateway, "eth_blockNumber")
        seen.append(int(answer["result"], 16))
        await asyncio.sleep(0.26)
    assert seen == sorted(seen)
    assert seen[-1] >= 105


def test_a_lying_head_is_not_believed() -> None:
    blocks = Blocks()
    for operator, number in ((b"a", 1000), (b"liar", 10**12), (b"b", 1001)):
        blocks.report(operator, number, 1.0)
    assert blocks.head == 1001


async def test_a_filter_stays_with_who_keeps_it(start: Start) -> None:
    gateway = await start()
    for number, supplier in enumerate(gateway.suppliers):
        supplier.answers["eth"] = results({"eth_newFilter": hex(number + 1), "eth_getFilterChanges": [hex(number + 1)]})
    for _ in range(10):
        made, _ = await call(gateway, "eth_newFilter", {})
        for _ in range(3):
            changes, _ = await call(gateway, "eth_getFilterChanges", made["result"])
            assert changes["result"] == [made["result"]]


async def test_kept_results_are_given_as_they_were_written(start: Start) -> None:
    gateway = await start()

    async def spaced(relay: Relay) -> Served:
        identity = orjson.dumps(orjson.loads(relay.body)["id"]).decode()
        await relay.start(OK)
        await relay.write(f'{{ "id":{identity}, "result" : {{"big":12345678901234567890123, "x":1.0}} }}'.encode())
        return Served(10, ZERO32)

    all_answer(gateway, spaced)
    texts = []
    for _ in range(2):
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_gasPrice", "params": []}
        async with gateway.http.post(f"{gateway.url}/rpc/eth", json=body, headers=gateway.headers) as answer:
            texts.append((await answer.text(), answer.headers.get(CACHE)))
    assert texts[1][1] == "hit; head"
    assert '{"big":12345678901234567890123, "x":1.0}' in texts[1][0]


async def test_methods_with_effects_are_not_shared(start: Start) -> None:
    gateway = await start()
    all_answer(gateway, node)
    await asyncio.gather(*(call(gateway, "eth_newBlockFilter") for _ in range(5)))
    assert asked(gateway.suppliers) == 5


async def test_a_wide_range_of_logs_is_put_together(start: Start) -> None:
    gateway = await start()

    async def logs(relay: Relay) -> Served:
        asked = orjson.loads(relay.body)
        wanted = asked["params"][0]
        if "fromBlock" not in wanted:
            return await node(relay)
        first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
        assert last - first < 2000
        found = [{"blockNumber": hex(n)} for n in range(first, last + 1) if n % 1500 == 0]
        return await reply_json(relay, {"jsonrpc": "2.0", "id": asked["id"], "result": found}, 75)

    all_answer(gateway, logs)
    answer, how = await call(gateway, "eth_getLogs", {"fromBlock": "0x1", "toBlock": hex(10_000), "address": "0xab"})
    assert [int(entry["blockNumber"], 16) for entry in answer["result"]] == list(range(1500, 10_001, 1500))
    assert how == "5 parts"
    assert sum(r.units for r in gateway.records()) == 5 * 75
    answer, how = await call(gateway, "eth_getLogs", {"fromBlock": "0x1", "toBlock": hex(2000)})
    assert how is None
    too_wide, _ = await call(gateway, "eth_getLogs", {"fromBlock": "0x1", "toBlock": hex(10**6)})
    assert too_wide["error"]["code"] == -32600


async def test_browsers_may_ask(start: Start) -> None:
    gateway = await start(suppliers=1)
    async with gateway.http.options(f"{gateway.url}/rpc/eth", headers={"Origin": "https://x.example"}) as answer:
        assert answer.status == 204
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    _, _, headers = await gateway.post("/rpc/eth", {"id": 1, "method": "eth_gasPrice"}, Origin="https://x.example")
    assert headers["access-control-allow-origin"] == "*"
