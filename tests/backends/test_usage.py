"""Metering a stream however it is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.backends.usage import StreamMeter, Usage
from pocketnode.errors import RemoteError
from pocketnode.protocol.metering import TokenRates

STREAM = b"".join(
    b"data: " + event + b"\n\n"
    for event in (
        b'{"choices":[{"delta":{"role":"assistant"}}]}',
        '{"choices":[{"delta":{"content":"é"}}]}'.encode(),
        b'{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}',
        b'{"choices":[{"text":"old style"}]}',
        b'{"choices":[{"delta":{},"finish_reason":"stop"}]}',
        b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}',
        b"[DONE]",
    )
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_a_stream_costs_the_same_however_it_is_cut(cuts: list[int]) -> None:
    meter = StreamMeter()
    edges = [0, *sorted(cuts), len(STREAM)]
    counted = sum(meter.feed(STREAM[a:b]) for a, b in pairwise(edges))
    assert counted == meter.tokens == 3
    assert meter.complete
    assert meter.usage == Usage(7, 5)
    assert meter.usage.units(TokenRates(1, 4)) == 27


@given(st.binary(min_size=1, max_size=100))
def test_garbage_is_refused_or_waits_for_the_end_of_its_line(noise: bytes) -> None:
    meter = StreamMeter()
    try:
        meter.feed(noise + b"\n")
    except RemoteError as error:
        assert error.rule == "3.9"
    assert meter.usage is None


def test_comments_and_carriage_returns_are_fine() -> None:
    meter = StreamMeter()
    meter.feed(b': keep-alive\r\n\r\nevent: x\r\ndata: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\ndata:[DONE]\r\n')
    assert meter.tokens == 1
    assert meter.complete


@pytest.mark.parametrize("usage", ['{"prompt_tokens":-1}', '{"prompt_tokens":"many"}', "[]", "null"])
def test_usage_that_is_none_is_not_believed(usage: str) -> None:
    meter = StreamMeter()
    meter.feed(f'data: {{"choices":[],"usage":{usage}}}\n\n'.encode())
    assert meter.usage is None


@pytest.mark.parametrize("event", ["7", "[]", '{"choices":7}', '{"choices":[7]}', '{"choices":{"a":1}}', "{oops"])
def test_events_of_another_shape_are_refused(event: str) -> None:
    with pytest.raises(RemoteError):
        StreamMeter().feed(f"data: {event}\n\n".encode())
