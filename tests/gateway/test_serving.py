"""A gateway between unmodified clients and real lanes."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
from eth_utils.address import to_checksum_address
from web3 import AsyncHTTPProvider, AsyncWeb3

from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.quality import Verdict
from pocketnode.services.spec import builtin_bytes
from pocketnode.transport.ports import Relay, Served
from tests.gateway.conftest import Start, until
from tests.gateway.market import APPLICATION, EVENTS, Supplier, broken, chat, event, node, reply_json

ASK: dict[str, Any] = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "Hi"}]}


async def test_a_request_is_answered_recorded_and_paid(start: Start) -> None:
    gateway = await start()
    status, answer, headers = await gateway.post(
        "/rpc/eth", {"jsonrpc": "2.0", "id": "é-1", "method": "eth_getBalance", "params": ["0x1", "0x5"]}
    )
    assert (status, answer["id"]) == (200, "é-1")
    assert answer["result"] == {"method": "eth_getBalance", "params": ["0x1", "0x5"]}
    (record,) = gateway.records()
    assert (record.verdict, record.units) == (Verdict.GOOD, 10)
    assert headers["x-pocketnode-relay"] == "0x" + record.receipt.hex()
    asked = [s for s in gateway.suppliers if s.asked]
    assert [headers["x-pocketnode-supplier"]] == ["0x" + s.key.address.hex() for s in asked]


async def test_the_request_reaches_the_supplier_byte_for_byte(start: Start) -> None:
    gateway = await start(suppliers=1)
    raw = b'{ "jsonrpc":"2.0", "method":"eth_call","params":[{"x":1.0,"y":12345678901234567890123}, "0x1"],"id":1e2}'
    assert (await gateway.post("/rpc/eth", raw))[0] == 200
    assert gateway.suppliers[0].asked == [raw]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/v1/completions"])
async def test_pictures_and_fields_of_tomorrow_reach_the_supplier_byte_for_byte(start: Start, path: str) -> None:
    gateway = await start(suppliers=1)
    picture = b'{"type": "image_url", "image_url": {"url":"data:image/png;base64,' + b"iVBORw0KGgo" * 2000 + b'"}}'
    given = {
        "/v1/chat/completions": b'"messages":[ {"role":"user","content":[' + picture + b"]} ]",
        "/v1/embeddings": b'"input" :["a", "b"]',
        "/v1/completions": b'"prompt":"\\u00e9"',
    }[path]
    raw = (
        b'{ "tomorrow": {"x":1.0, "y":12345678901234567890123},'
        + given
        + b', "temperature":1e-1,"model":"smollm2-135m" }'
    )
    assert (await gateway.post(path, raw))[0] == 200
    assert gateway.suppliers[0].asked == [raw]


async def test_a_batch_keeps_order_and_ids_and_answers_no_notification(start: Start) -> None:
    gateway = await start()
    items: list[Any] = [
        {"jsonrpc": "2.0", "id": n, "method": "eth_getCode", "params": [hex(n), "0x1"]} for n in range(20)
    ]
    items[3].pop("id")
    items[4] = {"id": 4, "method": "no_such"}
    items[5] = 7
    status, answers, _ = await gateway.post("/rpc/eth", items)
    assert status == 200
    assert [a["id"] for a in answers] == [0, 1, 2, 4, None, *range(6, 20)]
    assert answers[3]["error"]["code"] == -32601
    assert answers[4]["error"]["code"] == -32600
    assert answers[5]["result"]["params"] == ["0x6", "0x1"]
    assert len(gateway.records()) == 18
    assert (await gateway.post("/rpc/eth", [items[3]]))[:2] == (204, None)


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (b"{", -32700, 400),
        (b"\xff\xfe", -32700, 400),
        (b"[" * 100_000, -32700, 400),
        (b"[]", -32600, 400),
        (b'"x"', -32600, 400),
        (b'{"id": 1}', -32600, 400),
        (b'{"id": [1], "method": "eth_chainId"}', -32600, 400),
        (b'{"id": 1, "method": "eth_chainId", "params": 5}', -32602, 400),
        (b'{"id": 1, "method": "admin_peers"}', -32601, 404),
        (b"[" + b",".join([b"1"] * 101) + b"]", -32600, 413),
    ],
)
async def test_bad_json_rpc_bothers_no_supplier(start: Start, body: bytes, code: int, status: int) -> None:
    gateway = await start(suppliers=1)
    got, answer, _ = await gateway.post("/rpc/eth", body)
    assert (got, answer["error"]["code"]) == (status, code)
    assert not gateway.suppliers[0].asked


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        (b'{"model": 5, "messages": []}', 400, "model"),
        (b'{"model": "gpt-9", "messages": [{}]}', 404, "model"),
        (b'{"model": "smollm2-135m", "messages": "x"}', 400, "messages"),
        (b'{"model": "smollm2-135m", "messages": [{}], "max_tokens": -1}', 400, "max_tokens"),
        (b'{"model": "smollm2-135m", "messages": [{}], "stream": "yes"}', 400, "stream"),
        (b"x" * (2 * 1024 * 1024), 413, None),
    ],
)
async def test_bad_chats_bother_no_supplier(start: Start, body: bytes, status: int, param: str | None) -> None:
    gateway = await start(suppliers=1, limits={"body_mib": 1})
    got, answer, headers = await gateway.post("/v1/chat/completions", body)
    assert (got, answer["error"]["param"]) == (status, param)
    assert headers["x-request-id"]
    assert not gateway.suppliers[0].asked


async def test_without_a_key_nothing_is_answered(start: Start) -> None:
    gateway = await start(suppliers=1)
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer nobody's"}):
        status, answer, _ = await gateway.post("/v1/chat/completions", ASK, **headers)
        assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
    body = {"id": 1, "method": "eth_chainId"}
    async with gateway.http.post(f"{gateway.url}/rpc/eth", json=body) as refused:
        assert (refused.status, (await refused.json())["error"]["code"]) == (401, -32001)
    for url in (f"/rpc/eth/{gateway.secret}", f"/rpc/eth?key={gateway.secret}"):
        async with gateway.http.post(gateway.url + url, json=body) as answered:
            assert answered.status == 200


async def test_openai_reads_whole_and_streamed_answers(start: Start) -> None:
    gateway = await start()
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.secret, max_retries=0) as client:
        whole = await client.chat.completions.create(**ASK)
        assert whole.choices[0].message.content == "Hello world"
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 2
        streamed = await client.chat.completions.create(**ASK, stream=True)
        chunks = [chunk async for chunk in streamed]
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello world"
        assert all(chunk.usage is None for chunk in chunks)
        counted = await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
        assert [c.usage.completion_tokens async for c in counted if c.usage] == [2]
        embedded = await client.embeddings.create(model="smollm2-135m", input="x", encoding_format="float")
        assert embedded.data[0].embedding == [0.5, -1.0]
        assert [m.id async for m in client.models.list()] == ["smollm2-135m"]
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="none", messages=[{"role": "user", "content": "x"}])
    assert [r.units for r in gateway.records()] == [13, 13, 13, 5]


async def test_web3_reads_through_the_gateway(start: Start) -> None:
    gateway = await start()

    async def chain(relay: Relay) -> Served:
        asked = orjson.loads(relay.body)
        results = {"eth_chainId": "0x7a69", "eth_blockNumber": "0x10", "eth_getBalance": "0x5"}
        return await reply_json(relay, {"jsonrpc": "2.0", "id": asked["id"], "result": results[asked["method"]]}, 10)

    for supplier in gateway.suppliers:
        supplier.answers["eth"] = chain
    web3 = AsyncWeb3(AsyncHTTPProvider(f"{gateway.url}/rpc/eth/{gateway.secret}"))
    assert await web3.eth.chain_id == 31337
    assert await web3.eth.block_number == 16
    assert await web3.eth.get_balance(to_checksum_address("0x" + "00" * 20)) == 5
    await web3.provider.disconnect()


async def test_another_supplier_is_asked_where_one_fails(start: Start) -> None:
    gateway = await start()
    gateway.suppliers[0].answers["eth"] = broken

    async def wrong_id(relay: Relay) -> Served:
        return await reply_json(relay, {"jsonrpc": "2.0", "id": 999, "result": "0x1"}, 10)

    gateway.suppliers[1].answers["eth"] = wrong_id
    for n in range(40):
        answer = await gateway.rpc("eth_getCode", hex(n), "0x1", identity=n)
        assert (answer["id"], answer["result"]["params"]) == (n, [hex(n), "0x1"])
    by_index: dict[int, set[Verdict]] = {}
    for record in gateway.records():
        by_index.setdefault(record.index, set()).add(Verdict(record.verdict))
    assert by_index == {0: {Verdict.FAULT}, 1: {Verdict.WRONG}, 2: {Verdict.GOOD}}
    assert all(r.units == 0 for r in gateway.records() if r.index != 2)


async def test_a_user_who_leaves_stops_the_supplier(start: Start) -> None:
    gateway = await start(suppliers=1)
    supplier = gateway.suppliers[0]
    supplier.answers["smollm2"] = chat(["word"] * 1000, pause_s=0.02)
    for stream in (False, True):
        asked, before = len(supplier.asked), supplier.cancelled
        asking = asyncio.create_task(gateway.post("/v1/chat/completions", {**ASK, "stream": stream}))
        await until(partial(_above, supplier, "asked", asked))
        await asyncio.sleep(0.1)
        asking.cancel()
        left_s = time.monotonic()
        await until(partial(_above, supplier, "cancelled", before))
        assert time.monotonic() - left_s < 0.2
    await until(lambda: len(gateway.records()) == 2)
    assert [r.verdict for r in gateway.records()] == [Verdict.NOBODY, Verdict.CUT]
    assert gateway.records()[1].units > 0
    assert gateway.daemon.gate.in_flight == 0


def _above(supplier: Supplier, what: str, before: int) -> bool:
    now = len(supplier.asked) if what == "asked" else supplier.cancelled
    return now > before


async def test_chunks_arrive_when_they_are_made(start: Start) -> None:
    gateway = await start(suppliers=1)
    gateway.suppliers[0].answers["smollm2"] = chat(["a", "b", "c"], pause_s=0.1)
    arrived: list[float] = []
    async with gateway.http.post(
        f"{gateway.url}/v1/chat/completions", json={**ASK, "stream": True}, headers=gateway.headers
    ) as answer:
        arrived.extend([time.monotonic() async for line in answer.content if line.startswith(b"data: {")])
    gaps = [later - earlier for earlier, later in pairwise(arrived)]
    assert len(arrived) == 3
    assert all(gap > 0.05 for gap in gaps)


async def test_a_supplier_that_dies_in_mid_stream_is_told_of_in_the_stream(start: Start) -> None:
    gateway = await start(suppliers=1)

    async def dies(relay: Relay) -> Served:
        await relay.start(EVENTS)
        await relay.write(event({"choices": [{"index": 0, "delta": {"content": "Hel"}}]}))
        await asyncio.sleep(0.05)
        return await broken(relay)

    gateway.suppliers[0].answers["smollm2"] = dies
    async with gateway.http.post(
        f"{gateway.url}/v1/chat/completions", json={**ASK, "stream": True}, headers=gateway.headers
    ) as answer:
        text = (await answer.read()).decode()
    assert '"Hel"' in text
    assert '"code":"no_supplier"' in text
    assert [r.verdict for r in gateway.records()] == [Verdict.FAULT]


async def test_an_inflated_count_is_not_paid(start: Start) -> None:
    gateway = await start()

    async def greedy(relay: Relay) -> Served:
        usage = {"prompt_tokens": 5, "completion_tokens": 5000, "total_tokens": 5005}
        body = {"choices": [{"index": 0, "message": {"content": "x"}}], "usage": usage}
        return await reply_json(relay, body, relay.hold)

    gateway.suppliers[0].answers["smollm2"] = gateway.suppliers[1].answers["smollm2"] = greedy
    for _ in range(5):
        status, answer, _ = await gateway.post("/v1/chat/completions", ASK)
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "Hello world")
    assert all((r.verdict == Verdict.WRONG) == (r.units == 0) for r in gateway.records())


async def test_the_session_changes_without_a_failed_request(start: Start) -> None:
    gateway = await start()
    first = {active.session.number for active in gateway.daemon.sessions.all()}

    async def load() -> int:
        for n in range(150):
            answer = await gateway.rpc("eth_getCode", hex(n), "0x1")
            assert "result" in answer
            await asyncio.sleep(0.01)
        return 150

    loading = asyncio.create_task(load())
    await asyncio.sleep(0.3)
    gateway.market.head = 160
    assert await loading == 150
    numbers = {active.session.number for active in gateway.daemon.sessions.all()}
    assert first == {2}
    assert numbers == {3}
    await until(lambda: len(gateway.kept.serving) == 2)
    assert len(gateway.kept.records) == 2
    acknowledged = sum(a.acknowledged for s in gateway.suppliers for a in s.accounts.values())
    assert acknowledged > 0


async def test_a_request_that_finds_its_session_over_is_answered_in_the_next(start: Start) -> None:
    """Every supplier has seen a boundary that this gateway has not (rule 3.12)."""
    gateway = await start()

    async def over(relay: Relay) -> Served:
        if relay.opening.number == 2:
            gateway.market.head = 160
            raise RelayFailed(FaultClass.NOT_IN_SESSION, "session 2 is over")
        return await node(relay)

    for supplier in gateway.suppliers:
        supplier.answers["eth"] = over
    answer = await gateway.rpc("eth_getCode", "0x5", "0x1")
    assert "result" in answer
    verdicts = [r.verdict for r in gateway.records()]
    assert verdicts == [Verdict.NOBODY] * len(gateway.suppliers) + [Verdict.GOOD]


async def test_a_supplier_that_does_not_open_its_lane_holds_up_no_session(start: Start) -> None:
    gateway = await start()
    mute = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    gateway.suppliers[0].port = mute.sockets[0].getsockname()[1]
    gateway.market.head = 160
    await until(lambda: 3 in {active.session.number for active in gateway.daemon.sessions.all()})
    new = next(active for active in gateway.daemon.sessions.all() if active.session.number == 3)
    assert new.ready()
    assert new.seats[gateway.suppliers[0].key.address].connecting
    mute.close()


async def test_a_cap_is_not_exceeded(start: Start) -> None:
    gateway = await start()
    for active in gateway.daemon.sessions.all():
        active.purse.cap = 45 * 1_000_000
    answers = await asyncio.gather(*(gateway.rpc("eth_getCode", hex(n), "0x1") for n in range(10)))
    assert sum("result" in answer for answer in answers) <= 4
    assert sum(r.units for r in gateway.records()) <= 45
    assert any("error" in answer for answer in answers)


async def test_limits_of_a_key_hold_under_concurrency(start: Start) -> None:
    gateway = await start(rules='{"requests_per_day": 5, "services": ["eth"]}')
    answers = await asyncio.gather(
        *(gateway.post("/rpc/eth", {"id": n, "method": "eth_getCode", "params": ["0x1", "0x1"]}) for n in range(12))
    )
    assert sorted(status for status, _, _ in answers) == [200] * 5 + [429] * 7
    refused = next(headers for status, _, headers in answers if status == 429)
    assert int(refused["retry-after"]) >= 1
    assert {headers["x-ratelimit-limit-requests"] for _, _, headers in answers} == {"5"}
    assert (await gateway.post("/v1/chat/completions", ASK))[0] == 403


async def test_usage_is_kept_by_key_service_method_and_day(start: Start) -> None:
    gateway = await start()
    gateway.suppliers[0].answers["eth"] = gateway.suppliers[1].answers["eth"] = broken
    for n in range(3):
        await gateway.rpc("eth_getCode", hex(n), "0x1")
    await gateway.post("/v1/chat/completions", ASK)
    await asyncio.sleep(1.3)
    _, rows = await gateway.admin("/usage")
    facts = {(row["service"], row["what"]): (row["requests"], row["units"], row["output_tokens"]) for row in rows}
    assert facts == {("eth", "eth_getCode"): (3, 30, 0), ("smollm2", "smollm2-135m"): (1, 13, 2)}
    _, text = await gateway.admin("/usage?format=csv")
    assert text.startswith("day,key,service,what,requests,units")


async def test_the_admin_listener_needs_its_token(start: Start) -> None:
    gateway = await start()
    assert (await gateway.admin("/status", token="guess"))[0] == 401
    assert (await gateway.admin("/healthz", token=""))[0] == 200
    assert (await gateway.admin("/readyz", token=""))[0] == 200
    await gateway.rpc("eth_getCode", "0x1", "0x1")
    _, facts = await gateway.admin("/status")
    eth = next(s for s in facts["sessions"] if s["service"] == "eth")
    assert sum(s["relays"] for s in eth["suppliers"]) == 1
    assert {s["lane"] for s in eth["suppliers"]} == {"open"}
    _, text = await gateway.admin("/metrics")
    assert 'pocketnode_gateway_attempts_total{service="eth",verdict="good"} 1.0' in text
    _, why = await gateway.admin("/explain/eth?class=quick")
    assert len(why) == 3
    status, made = await gateway.admin("/keys", "POST", body={"name": "x", "rules": {"services": ["eth"]}})
    assert status == 201
    assert (await gateway.admin(f"/keys/{made['id']}", "DELETE"))[1]["revoked_s"]
    assert (await gateway.admin("/keys", "POST", body={"rules": {"nonsense": 1}}))[0] == 400


async def test_a_stopped_gateway_finishes_what_is_in_flight(start: Start) -> None:
    gateway = await start(suppliers=1)
    gateway.suppliers[0].answers["smollm2"] = chat(["slow"] * 5, pause_s=0.1)
    asking = asyncio.create_task(gateway.post("/v1/chat/completions", ASK))
    await until(lambda: bool(gateway.suppliers[0].asked))
    gateway.stop.set()
    assert (await asking)[0] == 200
    await asyncio.wait_for(gateway.task, 5)
    (account,) = (a for a in gateway.suppliers[0].accounts.values() if a.acknowledged)
    assert account.acknowledged == 5 + 4 * 5


async def test_sound_answers_are_remembered_over_restarts(start: Start) -> None:
    gateway = await start()
    gateway.suppliers[0].answers["eth"] = broken
    for n in range(30):
        await gateway.rpc("eth_getCode", hex(n), "0x1")
    gateway.stop.set()
    await gateway.task
    again = await start()
    operator = gateway.suppliers[0].key.address
    score = again.daemon.scores.score("eth", "quick", operator)
    assert score.tries > 0
    assert score.passes == 0


@pytest.mark.parametrize("read_bytes", [1, 4_000, 400_000])
async def test_a_user_who_resets_the_connection_is_no_error_of_ours(
    start: Start, caplog: pytest.LogCaptureFixture, read_bytes: int
) -> None:
    gateway = await start(suppliers=1)
    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    gateway.suppliers[0].answers["smollm2"] = chat(["word " * 400] * 2_000)
    body = orjson.dumps({**ASK, "stream": True})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.secret}\r\n"
    for _ in range(4):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.daemon.port)
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await reader.readexactly(read_bytes)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()  # a reset: what was sent and not read is thrown away
    await until(lambda: len(gateway.records()) == 4)
    await until(lambda: not gateway.daemon.gate.in_flight)
    assert not problems
    assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


async def test_the_turns_of_a_conversation_go_to_one_supplier(start: Start) -> None:
    gateway = await start()
    opening = [{"role": "system", "content": "You know all of " + "the sea. " * 60}, {"role": "user", "content": "Hi"}]
    turns = [*opening]
    for _ in range(12):
        assert (await gateway.post("/v1/chat/completions", {**ASK, "messages": turns}))[0] == 200
        turns += [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "And then?"}]
    served = Counter(record.index for record in gateway.records())
    assert served.most_common(1)[0][1] >= 10  # a little goes elsewhere, so that others are known too


async def test_limits_on_tokens_are_shown_and_what_was_not_used_comes_back(start: Start) -> None:
    gateway = await start(rules='{"tokens_per_day": 1000, "requests_per_minute": 9}')
    for left in (993, 986):
        _, _, headers = await gateway.post("/v1/chat/completions", {**ASK, "max_tokens": 50})
        assert (headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-limit-requests"]) == ("1000", "9")
        assert left - 150 < int(headers["x-ratelimit-remaining-tokens"]) <= left
        assert headers["x-ratelimit-reset-tokens"].endswith("s")
    status, refused, headers = await gateway.post("/v1/chat/completions", {**ASK, "max_tokens": 5000})
    assert (status, refused["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(headers["retry-after"]) > 0


async def test_a_model_that_nobody_can_serve_falls_back(start: Start, tmp_path: Path) -> None:
    spec = builtin_bytes("smollm2").replace(b"id: smollm2", b"id: large").replace(b"smollm2-135m", b"large-1")
    (tmp_path / "large.yaml").write_bytes(spec)
    gateway = await start(
        suppliers=2,
        services={"large": "large.yaml"},
        applications=[{"address": "0x" + APPLICATION.hex(), "services": ["smollm2", "large"]}],
        fallbacks={"large-1": ["smollm2-135m"]},
    )
    for supplier in gateway.suppliers:
        supplier.answers["large"] = broken
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.secret, max_retries=0) as client:
        asked: dict[str, Any] = {**ASK, "model": "large-1"}
        whole = await client.chat.completions.create(**asked)
        assert (whole.model, whole.choices[0].message.content) == ("smollm2-135m", "Hello world")
        chunks = [c async for c in await client.chat.completions.create(**asked, stream=True)]
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello world"
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(**{**asked, "max_tokens": -1})
        for supplier in gateway.suppliers:
            supplier.answers["large"] = chat(["from the large one"])
        again = await client.chat.completions.create(**asked)
        assert again.model == "large-1"


async def test_a_model_that_stands_in_is_no_second_request(start: Start, tmp_path: Path) -> None:
    spec = builtin_bytes("smollm2").replace(b"id: smollm2", b"id: large").replace(b"smollm2-135m", b"large-1")
    (tmp_path / "large.yaml").write_bytes(spec)
    gateway = await start(
        suppliers=2,
        rules='{"requests_per_day": 3, "concurrency": 1}',
        services={"large": "large.yaml"},
        applications=[{"address": "0x" + APPLICATION.hex(), "services": ["smollm2", "large"]}],
        fallbacks={"large-1": ["smollm2-135m"]},
    )
    for supplier in gateway.suppliers:
        supplier.answers["large"] = broken
    for left in (2, 1, 0):
        status, answer, headers = await gateway.post("/v1/chat/completions", {**ASK, "model": "large-1"})
        assert (status, answer["model"]) == (200, "smollm2-135m")
        assert headers["x-ratelimit-remaining-requests"] == str(left)
    status, _, _ = await gateway.post("/v1/chat/completions", {**ASK, "model": "large-1"})
    assert status == 429
