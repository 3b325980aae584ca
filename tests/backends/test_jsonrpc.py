"""Against anvil, and against nodes that misbehave."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from pocketnode.backends.failure import BackendFailed
from pocketnode.backends.jsonrpc import JsonRpcBackend
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.services.spec import builtin
from tests.backends.conftest import RPC, FakeExchange, PosterTo, RawServer, http_answer

SPEC = builtin("eth")


def call(method: str, *params: object, call_id: object = 7) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params})


async def test_a_call_goes_through_with_its_id_and_costs_what_its_method_costs(
    poster_to: PosterTo, anvil_url: str
) -> None:
    exchange = FakeExchange(RPC, call("eth_chainId", call_id="mine"))
    assert await JsonRpcBackend(poster_to(anvil_url), SPEC).answer(exchange) == 10
    assert orjson.loads(exchange.sent) == {"jsonrpc": "2.0", "id": "mine", "result": "0x7a69"}
    assert exchange.sent_head == b"200\ncontent-type: application/json\n\n"


async def test_an_error_of_the_chain_is_an_answer(poster_to: PosterTo, anvil_url: str) -> None:
    exchange = FakeExchange(RPC, call("eth_sendRawTransaction", "0x00"))
    assert await JsonRpcBackend(poster_to(anvil_url), SPEC).answer(exchange) == 80
    assert orjson.loads(exchange.sent)["error"]


async def test_a_check_asks_the_real_node(poster_to: PosterTo, anvil_url: str) -> None:
    await JsonRpcBackend(poster_to(anvil_url), SPEC).check()
    with pytest.raises(BackendFailed):
        await JsonRpcBackend(poster_to(anvil_url), SPEC, "no_such_method").check()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"x", b'{"method":1}', call("anvil_setBalance"), call("admin_peers")]
)
async def test_what_no_node_may_answer_reaches_none(body: bytes, poster_to: PosterTo, raw_server: RawServer) -> None:
    with pytest.raises(RelayFailed) as refused:
        await JsonRpcBackend(poster_to(raw_server.url), SPEC).answer(FakeExchange(RPC, body))
    assert refused.value.fault.kind is FaultClass.BAD_REQUEST
    assert not raw_server.requests


async def test_a_call_that_costs_more_than_is_held_is_not_made(poster_to: PosterTo, raw_server: RawServer) -> None:
    with pytest.raises(RelayFailed) as refused:
        await JsonRpcBackend(poster_to(raw_server.url), SPEC).answer(FakeExchange(RPC, call("eth_getLogs"), hold=74))
    assert refused.value.fault.kind is FaultClass.OUT_OF_BUDGET
    assert not raw_server.requests


RESULT = b'{"jsonrpc":"2.0","id":7,"result":"0x1"}'
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
MISBEHAVIOUR = {
    "HTML": http_answer(b"<html>", kind="text/html"),
    "HTML with 502": http_answer(b"<html>", "502 Bad Gateway"),
    "500": http_answer(b"oops", "500 Oops"),
    "401": http_answer(b"{}", "401 Unauthorized"),
    "redirect": http_answer(b"", "302 Found", headers="location: http://127.0.0.1/\r\n"),
    "empty": http_answer(b""),
    "cut inside": http_answer(RESULT[:-5]),
    "promises more": http_answer(RESULT).replace(b"content-length: 39", b"content-length: 99"),
    "not HTTP": b"what?\r\n\r\n",
    "hangs up": b"",
    "too long": http_answer(b'{"result":"' + b"0" * 1_100_000 + b'"}'),
    "too long, in chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"10000\r\n"
    + b"{" * 65536
    + b"\r\n",
}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
async def test_misbehaviour_is_the_backends_fault_and_nothing_of_it_is_sent_on(
    name: str, poster_to: PosterTo, raw_server: RawServer
) -> None:
    raw_server.answers(MISBEHAVIOUR[name], close=True)
    exchange = FakeExchange(RPC, call("eth_call"))
    with pytest.raises(BackendFailed) as failed:
        await JsonRpcBackend(poster_to(raw_server.url), SPEC).answer(exchange)
    assert failed.value.fault.kind is FaultClass.BACKEND
    assert failed.value.elsewhere or name.startswith("too long")
    assert not exchange.sent_head


async def test_429_is_busy(poster_to: PosterTo, raw_server: RawServer) -> None:
    raw_server.answers(http_answer(b"slow down", "429 Too Many"))
    with pytest.raises(BackendFailed) as failed:
        await JsonRpcBackend(poster_to(raw_server.url), SPEC).answer(FakeExchange(RPC, call("eth_call")))
    assert failed.value.fault.kind is FaultClass.BUSY


async def test_an_error_of_the_chain_under_http_400_or_500_is_still_an_answer(
    poster_to: PosterTo, raw_server: RawServer
) -> None:
    reverted = b'{"jsonrpc":"2.0","id":7,"error":{"code":3,"message":"execution reverted"}}'
    for status in ("400 Bad Request", "500 Oops"):
        raw_server.answers(http_answer(reverted, status))
        exchange = FakeExchange(RPC, call("eth_call"))
        await JsonRpcBackend(poster_to(raw_server.url), SPEC).answer(exchange)
        assert exchange.sent == reverted


@pytest.mark.parametrize("method", ["eth_sendRawTransaction", "eth_submitWork"])
async def test_what_changes_the_chain_is_not_asked_of_a_second_node(
    method: str, poster_to: PosterTo, raw_server: RawServer
) -> None:
    raw_server.answers(b"", close=True)
    with pytest.raises(BackendFailed) as failed:
        await JsonRpcBackend(poster_to(raw_server.url), SPEC).answer(FakeExchange(RPC, call(method)))
    assert not failed.value.elsewhere
    assert not failed.value.again


async def test_a_node_that_hangs_is_given_up(poster_to: PosterTo, raw_server: RawServer) -> None:
    backend = JsonRpcBackend(poster_to(raw_server.url, total_s=0.1), SPEC)
    with pytest.raises(BackendFailed, match="in time") as failed:
        await backend.answer(FakeExchange(RPC, call("eth_call")))
    assert not failed.value.elsewhere


async def test_nobody_there(poster_to: PosterTo) -> None:
    with pytest.raises(BackendFailed, match="no connection") as failed:
        await JsonRpcBackend(poster_to("http://127.0.0.1:1"), SPEC).answer(FakeExchange(RPC, call("eth_call")))
    assert failed.value.elsewhere


async def test_20_mb_go_through(poster_to: PosterTo, raw_server: RawServer) -> None:
    body = b'{"result":"' + b"0" * 20_000_000 + b'"}'
    raw_server.answers(http_answer(body))
    poster = poster_to(raw_server.url, most=32_000_000)
    exchange = FakeExchange(RPC, call("eth_getLogs"))
    await JsonRpcBackend(poster, SPEC).answer(exchange)
    assert exchange.sent == body


async def test_cancel_closes_the_nodes_connection_within_100_ms(poster_to: PosterTo, raw_server: RawServer) -> None:
    answering = asyncio.ensure_future(
        JsonRpcBackend(poster_to(raw_server.url), SPEC).answer(FakeExchange(RPC, call("eth_call")))
    )
    await raw_server.asked.wait()
    answering.cancel()
    async with asyncio.timeout(0.1):
        await raw_server.gone.wait()
