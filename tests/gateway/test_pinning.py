"""What a client reads at `latest` is never older than what it has seen."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.errors import BadInput
from pocketnode.gateway.json_places import with_item
from pocketnode.gateway.trust import PINNED, PROOF
from pocketnode.gateway.verifying import as_relayed, verify
from pocketnode.protocol.quality import Verdict
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Running, Start
from tests.gateway.market import DOMAIN, Answer, reply_json
from tests.gateway.test_verifying import ANSWERED, ASKED

REVERTED = {"code": 3, "message": "execution reverted", "data": "0x"}
UNKNOWN = {"code": -32000, "message": "header not found"}


class Chain:
    """A node at a head of its own: a state read says at which block it was read."""

    def __init__(self, head: int, lie: int = 0) -> None:
        self.head, self.lie = head, lie

    def number(self, tag: Any) -> int:
        behind = {"latest": 0, "safe": 32, "finalized": 64}
        return self.head - behind[tag] if tag in behind else int(tag, 16)

    def answer(self) -> Answer:
        async def answer(relay: Relay) -> Served:
            asked = orjson.loads(relay.body)
            params, said = asked["params"], {"jsonrpc": "2.0", "id": asked["id"]}
            if asked["method"] == "eth_blockNumber":
                return await reply_json(relay, {**said, "result": hex(self.head + self.lie)}, 10)
            if asked["method"] == "eth_getTransactionReceipt":
                return await reply_json(relay, {**said, "result": {"blockNumber": hex(self.head)}}, 10)
            number = self.number(
                params[0] if asked["method"] == "eth_getBlockByNumber" else (params[1:] or ["latest"])[0]
            )
            if number > self.head:
                return await reply_json(relay, {**said, "error": UNKNOWN}, 10)
            if asked["method"] == "eth_getBlockByNumber":
                return await reply_json(relay, {**said, "result": {"number": hex(number), "hash": "0x"}}, 10)
            return await reply_json(relay, {**said, "result": hex(number)}, 10)

        return answer


async def test_a_state_read_is_not_older_than_the_head_that_was_seen(start: Start) -> None:
    gateway = await start()
    chains = [Chain(1000), Chain(1001), Chain(998)]
    for supplier, chain in zip(gateway.suppliers, chains, strict=True):
        supplier.answers["eth"] = chain.answer()
    seen = 0
    for turn in range(30):
        seen = max(seen, int((await gateway.rpc("eth_blockNumber"))["result"], 16))
        block = await gateway.rpc("eth_getBlockByNumber", "latest", False)
        assert int(block["result"]["number"], 16) >= seen
        seen = max(seen, int(block["result"]["number"], 16))
        assert int((await gateway.rpc("eth_getBalance", hex(turn), "latest"))["result"], 16) >= seen
        assert int((await gateway.rpc("eth_call", {"data": hex(turn)}))["result"], 16) >= seen
        for chain in chains:
            chain.head += turn % 2
    assert {r.verdict for r in gateway.records()} <= {Verdict.GOOD, Verdict.NOBODY}


async def test_what_is_read_after_a_receipt_knows_of_it(start: Start) -> None:
    gateway = await start(suppliers=2)
    for supplier, chain in zip(gateway.suppliers, (Chain(1000), Chain(1001)), strict=True):
        supplier.answers["eth"] = chain.answer()
    for number in range(20):
        receipt = await gateway.rpc("eth_getTransactionReceipt", hex(number))
        balance = await gateway.rpc("eth_getBalance", hex(number), "latest")
        assert int(balance["result"], 16) >= int(receipt["result"]["blockNumber"], 16)


async def test_one_liar_about_the_head_makes_no_read_fail(start: Start) -> None:
    gateway = await start()
    for supplier, chain in zip(gateway.suppliers, (Chain(1000), Chain(1000, lie=5), Chain(1000)), strict=True):
        supplier.answers["eth"] = chain.answer()
    for number in range(20):
        await gateway.rpc("eth_blockNumber")
        assert (await gateway.rpc("eth_getBalance", hex(number), "latest"))["result"] == "0x3e8"


async def ahead(gateway: Running) -> list[list[bytes]]:
    """Let the client have seen a block that no two suppliers have; return what each is asked from now on."""
    for supplier in gateway.suppliers:
        supplier.answers["eth"] = Chain(1000).answer()
    await gateway.daemon.items.own.look_twice("eth")
    gateway.daemon.items.blocks["eth"].show(gateway.keys.all()[0].id, 1002)
    for supplier in gateway.suppliers:
        supplier.asked.clear()
    return [supplier.asked for supplier in gateway.suppliers]


async def test_a_revert_at_the_block_that_was_seen_is_an_answer(start: Start) -> None:
    gateway = await start()
    asked = await ahead(gateway)

    async def reverts(relay: Relay) -> Served:
        call = orjson.loads(relay.body)
        if call["params"][1:] == ["0x3ea"]:
            return await reply_json(relay, {"jsonrpc": "2.0", "id": call["id"], "error": REVERTED}, 10)
        return await reply_json(relay, {"jsonrpc": "2.0", "id": call["id"], "result": "0x"}, 10)

    for supplier in gateway.suppliers:
        supplier.answers["eth"] = reverts
    assert (await gateway.rpc("eth_call", {"data": "0x01"}, "latest"))["error"] == REVERTED
    assert sum(map(len, asked)) == 1


async def test_a_notification_of_a_client_that_is_ahead_harms_no_batch(start: Start) -> None:
    gateway = await start()
    await ahead(gateway)
    items = [
        {"jsonrpc": "2.0", "method": "eth_getBalance", "params": ["0x1", "latest"]},
        {"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": ["0x1", "latest"]},
    ]
    status, answers, _ = await gateway.post("/rpc/eth", items)
    assert (status, [answer["id"] for answer in answers]) == (200, [1])


async def test_who_never_looks_at_the_head_is_relayed_as_it_asks(start: Start) -> None:
    gateway = await start(suppliers=1)
    gateway.suppliers[0].answers["eth"] = Chain(1000).answer()
    body = b'{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x1","latest"]}'
    _, _, headers = await gateway.post("/rpc/eth", body)
    assert PINNED not in headers
    assert gateway.suppliers[0].asked == [body]


async def test_safe_and_finalized_do_not_go_back_either(start: Start) -> None:
    gateway = await start()
    for supplier, chain in zip(gateway.suppliers, (Chain(1000), Chain(1010), Chain(990)), strict=True):
        supplier.answers["eth"] = chain.answer()
    for tag in ("safe", "finalized"):
        await gateway.rpc("eth_blockNumber")
        found = [int((await gateway.rpc("eth_getBalance", hex(n), tag))["result"], 16) for n in range(12)]
        assert all(one <= other for one, other in itertools.pairwise(found))


async def test_a_pinned_answer_can_be_verified(start: Start) -> None:
    gateway = await start(suppliers=1)
    gateway.suppliers[0].answers["eth"] = Chain(1000).answer()
    await gateway.rpc("eth_blockNumber")
    request = b'{ "id":1.0, "jsonrpc":"2.0","method":"eth_getBalance", "params":["0x1" ,"latest" ] }'
    async with gateway.http.post(f"{gateway.url}/rpc/eth", data=request, headers=gateway.headers) as answer:
        pin, proof, body = answer.headers[PINNED], answer.headers[PROOF], await answer.read()
    assert pin == "1=0x3e8"
    assert verify(DOMAIN, proof, ASKED, as_relayed(request, pin), ANSWERED, body).response.units == 10
    with pytest.raises(Exception, match="did not sign"):
        verify(DOMAIN, proof, ASKED, request, ANSWERED, body)


@pytest.mark.parametrize("pin", ["x", "1=", "-1=0x1", "1=latest", "9=0x1"])
def test_a_pin_that_is_none_is_refused(pin: str) -> None:
    with pytest.raises(BadInput):
        as_relayed(b'{"id":1}', pin)


@given(
    params=st.lists(st.recursive(st.integers(0, 99) | st.text(), st.lists, max_leaves=4), max_size=4), data=st.data()
)
def test_one_parameter_changes_and_no_other(params: list[Any], data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(params)))
    body = orjson.dumps({"id": 1, "params": params, "z": params}, option=orjson.OPT_INDENT_2)
    found = orjson.loads(with_item(body, "params", position, b'"0x5"'))
    assert found == {"id": 1, "params": [*params[:position], "0x5", *params[position + 1 :]], "z": params}


class Ledgers(Chain):
    """A node that answers every method with a block parameter by saying what it was asked for."""

    def answer(self) -> Answer:
        async def answer(relay: Relay) -> Served:
            asked = orjson.loads(relay.body)
            params, said = asked["params"], {"jsonrpc": "2.0", "id": asked["id"]}
            if asked["method"] == "eth_blockNumber":
                return await reply_json(relay, {**said, "result": hex(self.head)}, 10)
            if asked["method"] == "eth_getBlockByNumber" and params[0] == "pending":
                return await reply_json(relay, {**said, "result": {"number": hex(self.head + 1)}}, 10)
            if asked["method"] == "eth_getLogs":
                ends = [params[0].get(end, "latest") for end in ("fromBlock", "toBlock")]
                if any(self.number(end) > self.head for end in ends):
                    return await reply_json(relay, {**said, "error": UNKNOWN}, 10)
                logs = [{"blockNumber": hex(self.number(ends[1])), "asked": ends}]
                return await reply_json(relay, {**said, "result": logs}, 10)
            number = self.number(BLOCK_OF[asked["method"]](params) or "latest")
            if number > self.head:
                return await reply_json(relay, {**said, "error": UNKNOWN}, 10)
            return await reply_json(relay, {**said, "result": {"at": hex(number)}}, 10)

        return answer


BLOCK_OF: dict[str, Any] = {
    "eth_estimateGas": lambda p: p[1] if len(p) > 1 else None,
    "eth_feeHistory": lambda p: p[1],
    "eth_getProof": lambda p: p[2],
    "eth_getBlockReceipts": lambda p: p[0],
    "eth_getUncleCountByBlockNumber": lambda p: p[0],
    "eth_simulateV1": lambda p: p[1] if len(p) > 1 else None,
    "debug_traceCall": lambda p: p[1],
    "debug_traceBlockByNumber": lambda p: p[0],
    "trace_block": lambda p: p[0],
    "eth_createAccessList": lambda p: p[1] if len(p) > 1 else None,
}


async def ledgers(start: Start, *heads: int) -> Any:
    gateway = await start(suppliers=len(heads))
    for supplier, head in zip(gateway.suppliers, heads, strict=True):
        supplier.answers["eth"] = Ledgers(head).answer()
    seen = 0
    while seen < max(heads):
        seen = int((await gateway.rpc("eth_blockNumber"))["result"], 16)
    return gateway


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_estimateGas", [{}]),
        ("eth_estimateGas", [{}, "latest"]),
        ("eth_feeHistory", ["0x1", "latest", []]),
        ("eth_getProof", ["0x1", [], "latest"]),
        ("eth_getBlockReceipts", ["latest"]),
        ("eth_getUncleCountByBlockNumber", ["latest"]),
        ("eth_simulateV1", [{}]),
        ("debug_traceCall", [{}, "latest", {}]),
        ("debug_traceBlockByNumber", ["latest"]),
        ("trace_block", ["latest"]),
        ("eth_createAccessList", [{}, None]),
    ],
)
async def test_every_method_with_a_tag_is_held_to_the_head_that_was_seen(
    start: Start, method: str, params: list[Any]
) -> None:
    gateway = await ledgers(start, 998, 1000)
    for _ in range(6):
        assert (await gateway.rpc(method, *params))["result"] == {"at": hex(1000)}


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ({}, ["0x3e8", "0x3e8"]),
        ({"fromBlock": "0x1"}, ["0x1", "0x3e8"]),
        ({"fromBlock": "0x384", "toBlock": "latest"}, ["0x384", "0x3e8"]),
        ({"fromBlock": None, "toBlock": "latest"}, ["0x3e8", "0x3e8"]),
        ({"fromBlock": "finalized", "toBlock": "latest"}, None),
    ],
)
async def test_the_ends_of_a_range_are_pinned(start: Start, wanted: Any, asked: list[str] | None) -> None:
    gateway = await ledgers(start, 998, 1000)
    for number in range(6):
        filtered = {"address": hex(number), **wanted}
        _, answer, headers = await gateway.post(
            "/rpc/eth", {"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [filtered]}
        )
        assert answer["result"][0]["blockNumber"] == hex(1000)
        if asked is not None:
            assert answer["result"][0]["asked"] == asked
        assert "0.toBlock=0x3e8" in headers[PINNED].split(",")
        request = orjson.dumps({"params": [filtered]})
        assert orjson.loads(as_relayed(request, headers[PINNED]))["params"][0]["toBlock"] == "0x3e8"


async def test_who_waits_for_the_next_block_is_told_of_none(start: Start) -> None:
    gateway = await ledgers(start, 1000, 1000)
    _, _, headers = await gateway.post(
        "/rpc/eth", {"id": 1, "method": "eth_getLogs", "params": [{"fromBlock": "0x3e9", "toBlock": "latest"}]}
    )
    assert PINNED not in headers
    by_hash = {"id": 1, "method": "eth_getLogs", "params": [{"blockHash": "0x" + "11" * 32}]}
    assert PINNED not in (await gateway.post("/rpc/eth", by_hash))[2]


async def test_what_is_pending_is_not_older_either(start: Start) -> None:
    gateway = await ledgers(start, 998, 1000)
    for _ in range(10):
        block = (await gateway.rpc("eth_getBlockByNumber", "pending", False))["result"]
        assert int(block["number"], 16) == 1001


async def test_one_supplier_alone_does_not_move_what_is_final(start: Start) -> None:
    gateway = await start(suppliers=2)
    honest, liar = Chain(1000), Chain(1000)
    liar.number = lambda tag: 1000 if tag in ("latest", "finalized") else int(tag, 16)  # type: ignore[method-assign]
    for supplier, chain in zip(gateway.suppliers, (honest, liar), strict=True):
        supplier.answers["eth"] = chain.answer()
    await gateway.rpc("eth_blockNumber")
    for n in range(6):
        assert (await gateway.rpc("eth_getBalance", hex(n), "finalized"))["result"] == hex(936)


async def test_a_read_that_was_ahead_is_remembered(start: Start) -> None:
    gateway = await ledgers(start, 1000, 1000)
    for supplier in gateway.suppliers:
        supplier.answers["eth"] = Ledgers(1003).answer()
    await gateway.daemon.items.own.look_twice("eth")
    assert (await gateway.rpc("eth_getBlockReceipts", "latest"))["result"] == {"at": hex(1003)}
    blocks = gateway.daemon.items.blocks["eth"]
    assert [blocks.noted(key.id) for key in gateway.keys.all()] == [1003]


async def test_what_a_node_says_of_itself_alone_is_answered_here(start: Start) -> None:
    gateway = await start(suppliers=1)
    assert (await gateway.rpc("eth_syncing"))["result"] is False
    assert (await gateway.rpc("net_listening"))["result"] is True
    assert (await gateway.rpc("eth_accounts"))["result"] == []
    hashed = await gateway.rpc("web3_sha3", "0x68656c6c6f20776f726c64", identity="a")
    assert hashed == {
        "jsonrpc": "2.0",
        "id": "a",
        "result": "0x47173285a8d7341e5e972fc677286384f802f8ef42a5ec5f03bbfa254cb01fad",
    }
    for params in ([], ["0x1"], ["zz"], [1], ["0x", "0x"]):
        assert (await gateway.rpc("web3_sha3", *params))["error"]["code"] == -32602
    assert gateway.suppliers[0].asked == []
