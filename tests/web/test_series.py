"""What is counted comes back in charts: nothing lost, nothing twice, quantiles near the truth."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from pocketnode.store.engine import open_store
from pocketnode.store.history import HistoryStore, Row, Span, merged
from pocketnode.web.feed import KEPT_STEP_S, TICK_S, Feed
from pocketnode.web.meter import ERRORS_MOST, Meter, Sums, from_rows, quantile_ms, rows_of
from pocketnode.web.tracks import Track, series
from tests.web.fakes import FakeClock, FakeSource

latencies = st.lists(st.floats(min_value=0.3, max_value=60_000), min_size=1, max_size=200)


def sums_of(values: list[float]) -> Sums:
    sums = Sums()
    for ms in values:
        sums.succeed(ms, 2 * ms)
    return sums


@given(latencies, st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_right_to_a_bucket(values: list[float], share: float) -> None:
    found = quantile_ms(sums_of(values).first, share)
    exact = sorted(values)[max(0, -(-int(share * 1000) * len(values) // 1000) - 1)]
    assert found is not None
    assert exact / 1.25 <= found <= exact * 1.25


@given(latencies, latencies)
def test_merging_is_the_same_as_counting_together(one: list[float], other: list[float]) -> None:
    merged_sums = sums_of(one)
    merged_sums.merge(sums_of(other))
    assert merged_sums == sums_of(one + other)


def test_failures_have_no_latency() -> None:
    sums = Sums()
    sums.fail("timeout")
    assert (sums.relays, sums.good, quantile_ms(sums.first, 0.5)) == (1, 0, None)


def test_who_is_turned_away_does_not_count_against_success() -> None:
    sums = Sums()
    sums.succeed(1.0, 2.0, kept=True)
    sums.refuse("rate_limit_exceeded")
    assert (sums.relays, sums.good, sums.kept, sums.refused) == (1, 1, 1, 1)
    assert sums.errors == {"rate_limit_exceeded": 1}


def test_classes_of_errors_are_bounded() -> None:
    sums = Sums()
    for number in range(3 * ERRORS_MOST):
        sums.fail(f"error {number}")
    assert len(sums.errors) <= ERRORS_MOST + 1
    assert sum(sums.errors.values()) == 3 * ERRORS_MOST


def test_what_a_worker_counted_reaches_another_process_whole() -> None:
    meter = Meter()
    meter.of("eth").succeed(3.0, 4.0, kept=True)
    meter.of("eth", "0xaa").fail("timeout")
    counted = meter.turn()
    assert dict(from_rows(json.loads(json.dumps(rows_of(counted))))) == counted


def test_a_turn_begins_anew() -> None:
    meter = Meter()
    meter.of("eth").succeed(3.0, 4.0)
    meter.of("eth", "0xaa").succeed(3.0, 4.0)
    assert set(meter.turn()) == {("eth", ""), ("eth", "0xaa")}
    assert meter.turn() == {}


def test_a_track_keeps_its_last_spans() -> None:
    track = Track(step_s=2, keep=3)
    for second in range(20):
        track.add(1000.0 + second, {("eth", ""): sums_of([5.0])})
    spans = list(track.spans)
    assert [start for start, _ in spans] == [1012, 1014, 1016]
    assert all(rows["eth", ""].relays == 2 for _, rows in spans)


def test_columns_stand_in_line_with_time() -> None:
    track = Track(step_s=2, keep=10)
    track.add(1000.0, {("eth", ""): sums_of([5.0])})
    track.add(1002.0, {("llm", ""): sums_of([5.0])})
    track.add(1004.0, {})
    data = series(track.spans, 2, lambda key: key[0])
    assert data["t"] == [1000, 1002]
    assert data["series"]["eth"]["relays"] == [1, 0]
    assert data["series"]["llm"]["relays"] == [0, 1]
    assert data["series"]["llm"]["p50_ms"][0] is None


async def test_weeks_are_kept_over_a_restart() -> None:
    store = HistoryStore(open_store("sqlite://"))
    clock = FakeClock()
    for _ in range(2):  # two lives of a daemon within the same ten minutes
        meter = Meter()
        feed = Feed(meter, FakeSource(), store, clock)
        for _ in range(3):
            meter.of("eth").succeed(4.0, 5.0)
            meter.of("eth").spend(10, 50_000_000)
            meter.of("eth").refuse("invalid_api_key")
            clock.now_s += TICK_S
            await feed.turn()
        feed._kept.close()
        feed._keep()
    data = await Feed(Meter(), FakeSource(), store, clock).chart(86_400)
    assert data["step_s"] == KEPT_STEP_S
    assert sum(data["series"]["eth"]["relays"]) == 6
    assert sum(data["series"]["eth"]["amount"]) == 300.0
    assert sum(data["series"]["eth"]["refused"]) == 6
    assert sum(errors.get("invalid_api_key", 0) for errors in data["series"]["eth"]["errors"]) == 6


async def test_charts_tell_peers_from_services() -> None:
    meter, clock = Meter(), FakeClock()
    feed = Feed(meter, FakeSource(), None, clock)
    for _ in range(12):
        meter.of("eth").succeed(4.0, 4.0)
        meter.of("eth", "0xaa").succeed(4.0, 4.0)
        meter.of("llm", "0xaa").succeed(400.0, 400.0)
        clock.now_s += TICK_S
        await feed.turn()
    assert set((await feed.chart(3600))["series"]) == {"eth"}
    of_eth = (await feed.chart(3600, "eth", peers=True))["series"]["0xaa"]
    assert all(ms is None or ms < 10 for ms in of_eth["p95_ms"])


async def test_a_peer_of_several_services_is_one_line() -> None:
    store, clock = HistoryStore(open_store("sqlite://")), FakeClock()
    meter = Meter()
    feed = Feed(meter, FakeSource(), store, clock)
    for _ in range(12):
        meter.of("eth", "0xaa").succeed(4.0, 4.0)
        meter.of("llm", "0xaa").fail("busy")
        clock.now_s += TICK_S
        await feed.turn()
    for span_s in (3600, 86_400):
        columns = (await feed.chart(span_s, peers=True))["series"]["0xaa"]
        assert sum(columns["relays"]) == 2 * sum(columns["good"])
        assert sum(errors.get("busy", 0) for errors in columns["errors"]) == sum(columns["good"]) > 0
        assert all(ms is None or ms < 10 for ms in columns["p95_ms"])


def test_old_spans_are_forgotten() -> None:
    store = HistoryStore(open_store("sqlite://"))
    span = Span(1000, "eth", "", Row(1, 1, 0, 0, 1, 1.0, 5.0, 6.0, 7.0, 1.0, 2.0, {}))
    store.add([span], oldest_s=0)
    store.add([], oldest_s=2000)
    assert store.since(0) == []


def test_parts_of_a_span_are_weighed_by_what_they_saw() -> None:
    one = Row(10, 9, 2, 1, 90, 1.0, 10.0, 20.0, 30.0, 1.0, 2.0, {"timeout": 1})
    other = Row(1, 1, 1, 0, 10, 1.0, 20.0, None, 40.0, 1.0, 2.0, {"timeout": 1, "busy": 1})
    whole = merged(one, other)
    assert (whole.relays, whole.good, whole.units, whole.p50_ms, whole.p95_ms) == (11, 10, 100, 11.0, 20.0)
    assert (whole.kept, whole.refused, whole.errors) == (3, 1, {"timeout": 2, "busy": 1})
