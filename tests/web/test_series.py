"""What is counted comes back in charts: nothing lost, nothing twice, quantiles near the truth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pocketnode.store.engine import open_store
from pocketnode.store.history import HistoryStore, Span, merged
from pocketnode.web.feed import KEPT_STEP_S, TICK_S, Feed
from pocketnode.web.meter import Meter, Sums
from pocketnode.web.tracks import Track, series
from tests.web.fakes import FakeClock, FakeSource

latencies = st.lists(st.floats(min_value=0.3, max_value=60_000), min_size=1, max_size=200)


def sums_of(values: list[float]) -> Sums:
    sums = Sums()
    for ms in values:
        sums.add(True, ms, 1, 1)
    return sums


@given(latencies, st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_right_to_a_bucket(values: list[float], share: float) -> None:
    found = sums_of(values).quantile_ms(share)
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
    sums.add(False, 9999.0, 0, 0)
    assert (sums.relays, sums.good, sums.quantile_ms(0.5)) == (1, 0, None)


def test_a_turn_begins_anew() -> None:
    meter = Meter()
    meter.request("eth", True, 3.0, 10, 50)
    meter.attempt("eth", "0xaa", True, 3.0, 10, 50)
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
            meter.request("eth", True, 4.0, 10, 50_000_000)
            clock.now_s += TICK_S
            await feed.turn()
        feed._kept.close()
        feed._keep()
    data = await Feed(Meter(), FakeSource(), store, clock).chart(86_400)
    assert data["step_s"] == KEPT_STEP_S
    assert sum(data["series"]["eth"]["relays"]) == 6
    assert sum(data["series"]["eth"]["amount"]) == 300.0


async def test_charts_tell_peers_from_services() -> None:
    meter, clock = Meter(), FakeClock()
    feed = Feed(meter, FakeSource(), None, clock)
    for _ in range(12):
        meter.request("eth", True, 4.0)
        meter.attempt("eth", "0xaa", True, 4.0)
        meter.attempt("llm", "0xaa", True, 400.0)
        clock.now_s += TICK_S
        await feed.turn()
    assert set((await feed.chart(3600))["series"]) == {"eth"}
    of_eth = (await feed.chart(3600, "eth", peers=True))["series"]["0xaa"]
    assert all(ms is None or ms < 10 for ms in of_eth["p95_ms"])


def test_old_spans_are_forgotten() -> None:
    store = HistoryStore(open_store("sqlite://"))
    span = Span(1000, "eth", "", 1, 1, 1, 1.0, 5.0, 6.0, 7.0)
    store.add([span], oldest_s=0)
    store.add([], oldest_s=2000)
    assert store.since(0) == []


def test_parts_of_a_span_are_weighed_by_what_they_saw() -> None:
    one = Span(0, "eth", "", 10, 9, 90, 1.0, 10.0, 20.0, 30.0)
    other = Span(0, "eth", "", 1, 1, 10, 1.0, 20.0, None, 40.0)
    whole = merged(one, other)
    assert (whole.relays, whole.good, whole.units, whole.p50_ms, whole.p95_ms) == (11, 10, 100, 11.0, 20.0)
