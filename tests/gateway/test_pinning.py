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
from tests.gateway.conftest import Start
from tests.gateway.market import DOMAIN, Answer, reply_json
from tests.gateway.test_verifying import ANSWERED, ASKED

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
