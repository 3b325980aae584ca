"""Runs as numbers: what is written into results and printed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from pocketnode.bench.http import Exchange
from pocketnode.bench.load import Run

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all are not above (nearest rank).

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    rank = max(1, -int(-share * len(ordered) // 1))
    return ordered[min(rank, len(ordered)) - 1]


def spread_ms(seconds: Iterable[float]) -> dict[str, float]:
    """Return quantiles and the greatest of some durations, in milliseconds; empty for none."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    found = {name: quantile(ordered, share) for name, share in QUANTILES.items()}
    return {name: round(value * 1000, 3) for name, value in {**found, "max": ordered[-1]}.items()}


def of_run(run: Run) -> dict[str, Any]:
    """Return one run: rate, failures, latency from when requests were due."""
    summary: dict[str, Any] = {
        "seconds": round(run.seconds, 3),
        "answers": len(run.sound),
        "failed": run.failed,
        "rate": round(run.rate, 1),
        "latency_ms": spread_ms(exchange.latency_s for exchange in run.sound),
        "client_lag_ms": spread_ms(exchange.sent_s - exchange.due_s for exchange in run.sound),
    }
    if run.unsound:
        summary["statuses"] = {str(status): count for status, count in run.unsound.items()}
    if any(exchange.event_s for exchange in run.sound):
        summary.update(of_streams(run.sound))
    return summary


def of_streams(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """Return what users of streams notice: the first event, and the longest silence of each stream."""
    with_events = [exchange for exchange in exchanges if exchange.event_s]
    return {
        "events": sum(len(exchange.event_s) for exchange in with_events),
        "first_event_ms": spread_ms(exchange.event_s[0] - exchange.due_s for exchange in with_events),
        "longest_gap_ms": spread_ms(longest_gap_s(exchange) for exchange in with_events),
    }


def longest_gap_s(exchange: Exchange) -> float:
    """Return the longest time between two events of a stream."""
    times = exchange.event_s
    return max((later - sooner for sooner, later in pairwise(times)), default=0.0)


def over_rounds(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each number over several rounds, and next to it the least and the greatest.

    >>> over_rounds([{"rate": 1.0}, {"rate": 3.0}, {"rate": 2.0}])
    {'rate': {'median': 2.0, 'min': 1.0, 'max': 3.0}}
    """
    merged: dict[str, Any] = {}
    for name in {name: None for round_ in rounds for name in round_}:
        values = [round_[name] for round_ in rounds if name in round_]
        if all(isinstance(value, int | float) for value in values):
            merged[name] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
        elif all(isinstance(value, dict) for value in values):
            merged[name] = over_rounds(values)
    return merged
