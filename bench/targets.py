"""What is to be reached, and whether it was: one row each, read from the results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

Results = dict[str, dict[str, Any]]
OURS: Final = "pocketnode"
BYTES_A_RECORD_MOST: Final = 130
MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Row:
    """One target and what was measured; `met` is None where it could not be measured."""

    what: str
    target: str
    measured: str
    met: bool | None


def rows(results: Results) -> list[Row]:
    """Return a row for each target that the results say something of."""
    found: list[Row] = []
    for source, make in _SOURCES.items():
        if source in results:
            found.extend(make(results[source]["data"], results))
    return found


def middle(value: Any, *path: str) -> float:
    """Return the median at the end of a path in a merged result."""
    for name in path:
        value = value[name]
    return float(value["median"])


def _at_most(what: str, limit: float, unit: str, value: float) -> Row:
    return Row(
        what, f"≤ {limit:g} {unit}", f"{value:,.3g} {unit}" if value < 100 else f"{value:,.0f} {unit}", value <= limit
    )


def _at_least(what: str, limit: float, unit: str, value: float) -> Row:
    shown = f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
    return Row(what, f"≥ {limit:,g} {unit}".strip(), f"{shown} {unit}".strip(), value >= limit)


def _relay(data: dict[str, Any], results: Results) -> Iterator[Row]:
    ours = data["capacity"][OURS][data["width"]]
    for role in ("gateway", "supplier"):
        yield _at_most(f"CPU a JSON-RPC relay, {role}", 220, "us", middle(ours, "processes", role, "cpu_us_each"))
    yield _at_least("JSON-RPC relays, 64 connections", 3500, "/s", middle(ours, "rate"))
    steady = data["latency"][OURS]
    name = next(iter(steady))
    if "p50" not in steady[name]["added_ms"]:
        return
    yield _at_most(f"added latency at {name}, p50", 1.5, "ms", middle(steady, name, "added_ms", "p50"))
    yield _at_most(f"added latency at {name}, p99", 6, "ms", middle(steady, name, "added_ms", "p99"))


def _chat(data: dict[str, Any], results: Results) -> Iterator[Row]:
    capacity, width = data["capacity"], data["width"]
    for peer, times in (("litellm", 20), ("portkey", 3)):
        if peer in capacity and (rate := middle(capacity[peer], width, "rate")):
            factor = middle(capacity[OURS], width, "rate") / rate
            yield _at_least(f"chat completions, against {peer}", times, "times", factor)


def _streams(data: dict[str, Any], results: Results) -> Iterator[Row]:
    timed = data["timed"][OURS]
    fewest, most = next(iter(timed)), list(timed)[-1]
    if "added_ms" in timed[fewest]:
        added = middle(timed, fewest, "added_ms", "p50")
        yield _at_most(f"time to first token added, {fewest} streams, p50", 2, "ms", added)
    for role in ("gateway", "supplier"):
        title = f"CPU a streamed chunk, {most} streams, {role}"
        if failed := middle(timed, most, "failed"):
            yield Row(title, "≤ 40 us", f"not measured: {failed:,.0f} streams failed", None)
        else:
            yield _at_most(title, 40, "us", middle(timed, most, "processes", role, "cpu_us_each_event"))
    free = [int(n) for n, run in timed.items() if middle(run, "stall_free_share") >= 0.99 and not middle(run, "failed")]
    yield _at_least("streams at once without a stall (99 % of them)", 300, "", max(free, default=0))


def _soak(data: dict[str, Any], results: Results) -> Iterator[Row]:
    before, after, burst = data["rss_mib"]["before"], data["rss_mib"]["after"], data["after_burst"]["rss_mib"]
    relays = f"{data['relays']:,} relays"
    for role in ("gateway", "supplier"):
        yield _at_most(f"memory after start, {role}", 120, "MiB", before[role])
        yield _at_most(f"memory gained by {relays}, {role}", 10, "MiB", after[role] - before[role])
        yield _at_most(f"memory gained by a burst of 150 kB bodies, {role}", 10, "MiB", burst[role] - after[role])
    store = data["supplier_store_bytes"]
    grown = (store["after"] - store["before"]) / MIB * 1e6 / data["relays"]
    yield _at_most(
        "supplier's store, for a million relays", 1, "MB", grown if data["relays"] >= 1e6 else store["after"] / MIB
    )
    each = data["gateway_records_bytes"] / data["relays"]
    yield _at_most("relay record at the gateway", BYTES_A_RECORD_MOST, "bytes", each)


def _scaling(data: dict[str, Any], results: Results) -> Iterator[Row]:
    for what, word in (("suppliers", "suppliers a session"), ("sessions", "sessions")):
        few, *_, many = data[what].items()
        for role in ("gateway", "supplier"):
            cost = [middle(run, "processes", role, "cpu_us_each") for _, run in (few, many)]
            change = (cost[1] / cost[0] - 1) * 100 if cost[0] else 0.0
            title = f"cost a relay from {few[0]} to {many[0]} {word}, {role}"
            yield Row(title, "within 10 %", f"{change:+.0f} %", change <= 10)
    start = data["session_start"]
    yield _at_most(f"session start with {start['suppliers']} suppliers", 50, "ms", middle(start, "whole_ms"))
    one, two = (middle(run, "rate") for run in data["workers"].values())
    ratio = two / one if one else 0.0
    yield Row("two gateway workers on two cores", "≥ 1.7 times one", f"{ratio:.2f} times", ratio >= 1.7)
    costs = [middle(run, "processes", "gateway", "cpu_us_each") for run in data["workers"].values()]
    each = 2 * costs[0] / costs[1] if costs[1] else 0.0
    yield Row("the same, by what a relay costs in each", "told beside it", f"{each:.2f} times", None)


_SOURCES: Final[dict[str, Callable[[dict[str, Any], Results], Iterator[Row]]]] = {
    "relay": _relay,
    "chat": _chat,
    "streams": _streams,
    "soak": _soak,
    "scaling": _scaling,
}
