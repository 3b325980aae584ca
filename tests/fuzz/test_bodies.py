"""Bodies of users, streams of backends and suppliers, logs of nodes: judged or refused, in bounded memory and time."""

from __future__ import annotations

import json
import os
import random
import tracemalloc
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from pocketnode.backends.usage import StreamMeter, usage_of
from pocketnode.chain.blocks import _block
from pocketnode.chain.client import Node, _result_of
from pocketnode.chain.contracts import contract, log_of
from pocketnode.chain.events import typed
from pocketnode.errors import BadInput, PocketError, RemoteError
from pocketnode.gateway import llm_codec, rpc_codec, trust
from pocketnode.gateway.refusal import Refused
from pocketnode.gateway.sse import EVENT_BYTES_MOST, Meter
from pocketnode.protocol import fault, payload
from pocketnode.services.spec import builtin

# The same cases each time; FUZZ=100000 looks at so many others.
MANY = int(os.environ.get("FUZZ", "0"))
often = settings(max_examples=MANY or 300, deadline=2000, derandomize=not MANY)
TOKENS = builtin("smollm2").tokens
assert TOKENS is not None
RATES = TOKENS

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
bodies = st.binary(max_size=300) | values.map(lambda value: json.dumps(value).encode())
calls = st.fixed_dictionaries(
    {}, optional={"jsonrpc": values, "id": values, "method": values | st.just("eth_chainId"), "params": values}
)
batches = calls.map(json.dumps) | st.lists(calls | values, max_size=6).map(json.dumps)


@often
@given(bodies | batches.map(str.encode))
def test_json_rpc_is_read_or_refused(body: bytes) -> None:
    try:
        parsed = rpc_codec.parse(body, items_most=5)
    except Refused as refused:
        assert orjson.loads(refused.raw_id) is None or refused.raw_id
        return
    for item in parsed if isinstance(parsed, list) else [parsed]:
        if isinstance(item, Refused):
            continue
        again = orjson.loads(item.raw)
        assert again["method"] == item.method
        assert (item.raw_id == rpc_codec.NOTIFICATION) == ("id" not in again)
        assert orjson.loads(rpc_codec.numbered(item)).get("id") is not None or "id" in again


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 100_000, b'"' + b"\\u0000" * 100_000, b"[" + b"{}," * 99 + b"{}]"]
)
def test_deep_and_long_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        rpc_codec.parse(body, items_most=50)
    with pytest.raises(Refused):
        llm_codec.read_request("/v1/chat/completions", body, 2048)


chats = st.fixed_dictionaries(
    {},
    optional={
        "model": values | st.just("smollm2-135m"),
        "messages": values | st.just([{"role": "user", "content": "?"}]),
        "prompt": values,
        "input": values,
        "stream": values,
        "stream_options": values,
        "max_tokens": values,
        "max_completion_tokens": values,
        "n": values,
        "best_of": values,
    },
)


@often
@given(bodies | chats.map(lambda chat: json.dumps(chat).encode()), st.sampled_from(list(llm_codec.ANSWERS)))
def test_a_chat_is_read_or_refused(body: bytes, path: str) -> None:
    try:
        asked = llm_codec.read_request(path, body, 2048)
    except Refused:
        return
    first, most = llm_codec.holds(asked, RATES)
    assert 0 <= first <= most
    assert llm_codec.with_model(body, "other")


usages = st.fixed_dictionaries({}, optional={"prompt_tokens": values, "completion_tokens": values | st.just(-(10**12))})
answers = st.fixed_dictionaries({}, optional={"choices": values | st.just([]), "usage": usages, "error": values})


@often
@given(bodies | answers.map(lambda answer: json.dumps(answer).encode()), st.integers(0, 10**9))
def test_an_answer_of_an_llm_is_judged(body: bytes, units: int) -> None:
    asked = llm_codec.read_request("/v1/chat/completions", b'{"model":"m","messages":[{"role":"user"}]}', 2048)
    _, usage = llm_codec.judge_whole("/v1/chat/completions", asked, RATES, body, units)
    prompt, output = llm_codec.counts(usage)
    assert prompt >= 0
    assert output >= 0


events = st.one_of(
    st.binary(max_size=60),
    answers.map(lambda answer: b"data: " + json.dumps(answer).encode() + b"\n\n"),
    st.sampled_from([b"data: [DONE]\n\n", b"\r\n\r\n", b"\n\n", b"data:", b": ping\n\n", b'data: {"usage": 1}\n\n']),
)


@often
@given(st.lists(events, max_size=12), st.booleans())
def test_a_stream_of_a_supplier_passes_or_waits(parts: list[bytes], strip: bool) -> None:
    meter = Meter(strip_usage=strip)
    out = b"".join(meter.feed(part) for part in parts) + meter.rest() + meter.done
    assert len(out) <= sum(map(len, parts)) + 4 * (len(parts) + 1) * 60
    prompt, output = llm_codec.counts(meter.usage or {})
    assert prompt >= 0
    assert output >= 0


@often
@given(st.lists(events, max_size=12))
def test_a_stream_of_a_backend_is_metered_or_refused(parts: list[bytes]) -> None:
    meter = StreamMeter()
    with suppress(RemoteError):
        for part in parts:
            assert meter.feed(part) >= 0
    assert meter.usage is None or (meter.usage.prompt_tokens >= 0 and meter.usage.output_tokens >= 0)


@often
@given(st.binary(max_size=400), st.randoms(use_true_random=False))
def test_where_a_stream_is_cut_does_not_matter(raw: bytes, luck: random.Random) -> None:
    """Cut anywhere, what a user gets and what is metered is the same."""
    whole, cut = Meter(strip_usage=True), Meter(strip_usage=True)
    text = raw.replace(b"\r", b"").replace(b"\x00", b"\n\n")
    at_once = whole.feed(text) + whole.rest()
    places = sorted(luck.randrange(len(text) + 1) for _ in range(4))
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    assert b"".join(cut.feed(piece) for piece in pieces) + cut.rest() == at_once
    assert (cut.usage, cut.done, cut.error) == (whole.usage, whole.done, whole.error)


@pytest.mark.parametrize("meter", [Meter(strip_usage=False), StreamMeter()])
def test_a_stream_without_an_end_does_not_fill_the_memory(meter: Meter | StreamMeter) -> None:
    piece = b"data: " + b"x" * (512 * 1024)
    tracemalloc.start()
    with suppress(PocketError):
        for _ in range(64):
            meter.feed(piece)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < EVENT_BYTES_MOST * 2


hexes = st.binary(max_size=40).map(lambda raw: "0x" + raw.hex()) | values
logs = st.fixed_dictionaries(
    {},
    optional={
        "address": hexes,
        "topics": st.lists(hexes, max_size=4) | values,
        "data": hexes,
        "blockNumber": hexes,
        "blockHash": hexes,
        "transactionHash": hexes,
        "logIndex": hexes,
    },
)


@often
@given(logs)
def test_a_log_of_a_node_is_read_or_refused(raw: dict[str, Any]) -> None:
    with suppress(PocketError):
        typed(log_of(raw))


@often
@given(st.sampled_from(["Stated", "Claimed", "Withdrawn", "Collected", "GatewayFaulted", "SupplierFaulted"]), st.data())
def test_an_event_with_any_content_is_read_or_refused(name: str, data: st.DataObject) -> None:
    words = st.binary(max_size=32).map(lambda raw: "0x" + raw.hex()) | st.binary(min_size=32, max_size=32).map(
        lambda raw: "0x" + raw.hex()
    )
    raw = {
        "address": "0x" + "11" * 20,
        "topics": ["0x" + contract("Settlement").topic(name).hex(), *data.draw(st.lists(words, max_size=3))],
        "data": "0x" + data.draw(st.binary(max_size=400)).hex(),
        "blockNumber": "0x1",
        "blockHash": "0x" + "22" * 32,
        "transactionHash": "0x" + "33" * 32,
        "logIndex": "0x0",
    }
    with suppress(PocketError):
        event = typed(log_of(raw))
        if name == "Stated" and event is not None:
            assert list(event.entries) is not None  # type: ignore[union-attr]


@often
@given(values)
def test_a_block_or_reply_of_a_node_is_read_or_refused(raw: Any) -> None:

    with suppress(PocketError):
        _block(raw)
    with suppress(PocketError):
        _result_of(Node(URL("http://127.0.0.1:1")), "eth_chainId", raw)


@often
@given(st.binary(max_size=200), st.binary(max_size=100))
def test_heads_of_payloads_are_read_or_refused(head: bytes, body: bytes) -> None:
    for read in (payload.decode_request, payload.decode_answer):
        with suppress(PocketError):
            read(head)
    with suppress(PocketError):
        fault.decode(head, body)


@often
@given(st.text(max_size=400))
def test_a_proof_is_read_or_refused(text: str) -> None:
    with suppress(BadInput):
        trust.read_proof(text, bytes(32), bytes(32), bytes(32))


@often
@given(values)
def test_usage_of_a_backend_is_read_or_ignored(answer: Any) -> None:
    usage = usage_of(answer)
    assert usage is None or usage.prompt_tokens >= 0
