"""Heads: what is encoded is read back; anything else is refused by its rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.errors import RemoteError
from pocketnode.protocol import fault as faults
from pocketnode.protocol.fault import Fault, FaultClass
from pocketnode.protocol.payload import (
    AnswerHead,
    RequestHead,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    payload_hash,
)

values = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=40)
paths = values.map(lambda v: "/" + v)


@given(st.sampled_from(["GET", "POST"]), paths, st.dictionaries(st.sampled_from(["accept", "content-type"]), values))
def test_request_heads_are_read_back(method: str, path: str, headers: dict[str, str]) -> None:
    head = RequestHead(method, path, headers)
    assert decode_request(encode_request(head)) == head


@given(st.integers(100, 599), st.dictionaries(st.just("content-type"), values))
def test_answer_heads_are_read_back(status: int, headers: dict[str, str]) -> None:
    head = AnswerHead(status, headers)
    assert decode_answer(encode_answer(head)) == head


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_an_error(raw: bytes) -> None:
    for decode, rule in ((decode_request, "2.1"), (decode_answer, "2.2")):
        try:
            decode(raw)
        except RemoteError as error:
            assert error.rule == rule


@given(st.sampled_from(FaultClass), values, st.integers(0, 10**6))
def test_faults_are_read_back(kind: FaultClass, message: str, delay: int) -> None:
    fault = Fault(kind, message, delay)
    assert faults.decode(*faults.encode(fault)) == fault


def test_private_headers_are_not_relayed() -> None:
    head = RequestHead("POST", "/", {"authorization": "Bearer secret", "accept": "*/*"})
    assert b"secret" not in encode_request(head)


def test_a_line_break_cannot_be_smuggled_into_a_head() -> None:
    with pytest.raises(ValueError, match="line break"):
        encode_request(RequestHead("POST", "/", {"accept": "a\nb: c"}))


def test_head_and_body_cannot_trade_bytes() -> None:
    one = payload_hash(b"POST /\n\n", b"abc")
    assert one != payload_hash(b"POST /a\n\n", b"bc")
