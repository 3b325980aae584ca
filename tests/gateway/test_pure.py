"""Laws of the gateway's pure parts."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketnode.errors import BadInput
from pocketnode.gateway.access import Holder, rules_of
from pocketnode.gateway.blocks import Blocks
from pocketnode.gateway.json_places import field, items, with_field
from pocketnode.gateway.refusal import Refused
from pocketnode.gateway.rpc_codec import Item, parse
from pocketnode.gateway.selection import Standing, pick, rank
from pocketnode.gateway.sse import Meter
from pocketnode.store.keys import ApiKey

standings = st.lists(
    st.builds(
        Standing,
        operator=st.binary(min_size=20, max_size=20),
        owner=st.sampled_from([b"a", b"b", b"c", b"d"]),
        passes=st.floats(0, 500),
        tries=st.floats(500, 1000),
        latency_ms=st.floats(0, 10_000),
        traffic=st.floats(0, 10_000),
        usable=st.booleans(),
        resting=st.booleans(),
    ),
    unique_by=lambda s: s.operator,
    max_size=24,
)
texts = st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def spaced(value: Any) -> bytes:
    return json.dumps(value, indent=random.Random(0).randint(0, 2), ensure_ascii=False).encode()


@given(pool=standings, seed=st.integers(), share=st.floats(0.01, 1), probation=st.floats(0, 0.5))
def test_somebody_is_chosen_while_anybody_can_be_reached(
    pool: list[Standing], seed: int, share: float, probation: float
) -> None:
    ranking = rank(pool, share)
    usable = {s.operator for s in pool if s.usable}
    draw = random.Random(seed).random
    chosen = pick(ranking, lambda _: 0, draw, probation)
    assert (chosen in usable) if usable else chosen is None


@given(pool=standings, seed=st.integers())
def test_a_retry_tries_everybody_once_and_other_owners_first(pool: list[Standing], seed: int) -> None:
    ranking = rank(pool, 1.0)
    draw = random.Random(seed).random
    tried: list[bytes] = []
    ranked = [operator for tier in ranking.tiers for operator in tier]
    while (operator := pick(ranking, lambda _: 0, draw, 0.0, tried)) is not None:
        owners = {ranking.owners[o] for o in tried}
        if tried and ranking.owners[operator] in owners:
            assert {ranking.owners[o] for o in ranked} == owners
        tried.append(operator)
    assert sorted(tried) == sorted(ranked)


@given(pool=standings)
def test_tiers_are_in_the_order_of_quality(pool: list[Standing]) -> None:
    rates = {s.operator: s.rate for s in pool}
    tiers = rank(pool, 1.0).tiers
    for better, worse in pairwise(tiers):
        assert min(rates[o] for o in better) >= max(rates[o] for o in worse)


def test_a_slow_supplier_with_sound_answers_stays_in_the_best_tier() -> None:
    quick = Standing(b"q" * 20, b"q", passes=100, tries=100, latency_ms=10)
    slow = Standing(b"s" * 20, b"s", passes=100, tries=100, latency_ms=3000)
    ranking = rank([quick, slow], 1.0)
    assert set(ranking.tiers[0]) == {quick.operator, slow.operator}
    draw = random.Random(1).random
    assert {pick(ranking, lambda _: 0, draw) for _ in range(50)} == {quick.operator}


@given(st.lists(values, max_size=6))
def test_items_are_taken_out_as_written(array: list[Any]) -> None:
    pieces = items(spaced(array).decode())
    assert [spaced_again(piece) for piece in pieces] == [spaced_again(spaced(value)) for value in array]


def spaced_again(raw: bytes) -> Any:
    return json.dumps(json.loads(raw))


@given(st.dictionaries(texts, values, max_size=5), texts, values)
def test_one_field_changes_and_no_other(fields: dict[str, Any], name: str, value: Any) -> None:
    fields[name] = 1
    changed = with_field(spaced(fields), name, spaced(value))
    assert json.dumps(json.loads(changed)) == json.dumps({**fields, name: value})
    found = field(changed, name)
    assert found is not None
    assert json.dumps(json.loads(found)) == json.dumps(value)


@given(st.binary(max_size=200))
def test_any_body_is_a_request_or_refused(body: bytes) -> None:
    try:
        parsed = parse(body, 10)
    except Refused:
        return
    assert isinstance(parsed, Item | list)


@given(cuts=st.lists(st.integers(1, 60), max_size=30), strip=st.booleans(), crlf=st.booleans())
def test_a_stream_is_passed_on_whole_however_it_is_cut(cuts: list[int], strip: bool, crlf: bool) -> None:
    end = b"\r\n\r\n" if crlf else b"\n\n"
    deltas = [b'data: {"choices":[{"delta":{"content":"usage \\" [DON"}}]}' + end for _ in range(4)]
    usage = b'data: {"choices":[],"usage":{"completion_tokens":4,"prompt_tokens":1}}' + end
    done = b"data: [DONE]" + end
    whole = b"".join([*deltas, b": ping" + end, usage, done])
    meter, out, at = Meter(strip), b"", 0
    for cut in [*cuts, len(whole)]:
        out += meter.feed(whole[at : at + cut])
        at += cut
    out += meter.rest()
    expected = b"".join([*deltas, b": ping" + end, b"" if strip else usage])
    assert out == expected
    assert meter.done == done
    assert meter.usage == {"completion_tokens": 4, "prompt_tokens": 1}


@given(
    honest=st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(1000, 1004)), min_size=9, max_size=40),
    lies=st.lists(st.integers(0, 10**12), max_size=9),
)
def test_one_liar_does_not_move_the_head(honest: list[tuple[bytes, int]], lies: list[int]) -> None:
    blocks = Blocks()
    for number, (operator, head) in enumerate([(o, 1000) for o in (b"a", b"b", b"c")] + honest):
        if number < len(lies):
            blocks.report(b"liar", lies[number], 0.0)
        blocks.report(operator, head, 0.0)
    assert 1000 <= blocks.head <= 1004 + 8


def test_a_client_is_not_held_at_a_head_that_was_a_lie() -> None:
    blocks = Blocks()
    blocks.report(b"liar", 10**12, 0.0)
    blocks.show("client", 10**12)
    for operator in (b"a", b"b"):
        blocks.report(operator, 1000, 0.0)
    assert blocks.shown("client") == 0
    blocks.show("client", 1000)
    assert blocks.shown("client") == 1000


@given(
    st.lists(st.tuples(st.integers(0, 300), st.floats(0, 100), st.booleans()), max_size=60),
    st.integers(1, 500),
)
def test_a_limit_is_never_exceeded(calls: list[tuple[int, float, bool]], most: int) -> None:
    rules = orjson.dumps({"units_per_minute": most, "concurrency": 1}).decode()
    holder = Holder(ApiKey("k", b"", "", 0, rules=rules))
    used: dict[int, int] = {}
    for units, at_s, fails in sorted(calls, key=lambda c: c[1]):
        try:
            reservation = holder.reserve(at_s, units)
        except Refused as refused:
            assert 0 < refused.retry_after_s <= 60
            continue
        spent = 0 if fails else units
        reservation.settle(spent)
        used[int(at_s) // 60] = used.get(int(at_s) // 60, 0) + spent
    assert all(units <= most for units in used.values())
    holder.reserve(1e6, most).settle(0)  # nothing is left set aside, nothing in flight


@pytest.mark.parametrize(
    "text",
    ['{"x": 1}', '{"requests_per_day": 0}', '{"services": 5}', '{"addresses": ["10.0.0.0/99"]}', "[]", "nonsense"],
)
def test_rules_are_strict(text: str) -> None:
    with pytest.raises(BadInput):
        rules_of(text)


@given(count=st.integers(2, 8), prefix=st.binary(min_size=1))
def test_a_prefix_stays_where_it_is_and_moves_only_with_its_supplier(count: int, prefix: bytes) -> None:
    alike = [Standing(bytes([n]), bytes([n]), latency_ms=10.0) for n in range(count)]
    first = pick(rank(alike, 1.0), lambda _: 0, random.random, prefix=prefix)
    assert {pick(rank(alike, 1.0), lambda _: 0, random.random, prefix=prefix) for _ in range(5)} == {first}
    other = next(s for s in alike if s.operator != first)
    left = [s for s in alike if s is not other]
    assert pick(rank(left, 1.0), lambda _: 0, random.random, prefix=prefix) == first
    busy = pick(rank(alike, 1.0), lambda o: 9 if o == first else 0, random.random, prefix=prefix)
    assert busy != first


def test_prefixes_spread_over_all() -> None:
    pool = rank([Standing(bytes([n]), bytes([n]), latency_ms=10.0) for n in range(4)], 1.0)
    chosen = [pick(pool, lambda _: 0, random.random, prefix=n.to_bytes(4, "big")) for n in range(400)]
    assert all(60 < chosen.count(bytes([n])) < 140 for n in range(4))
