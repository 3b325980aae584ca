"""What the workers of a gateway tell of themselves, put together as if one process told it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from pocketnode.gateway.active import tally_of
from pocketnode.protocol.quality import Verdict, quality
from pocketnode.protocol.statement import amount_down

Facts = dict[str, Any]
# What is a part of one whole in each worker, so that the sum means something and a worker's own does not.
SUMMED: Final = frozenset({"pocketnode_gateway_grant_spent_ratio"})
_SUMS: Final = ("in_flight", "relays", "units", "fast")


def sessions_of(told: Iterable[Sequence[Facts]]) -> list[Facts]:
    """Return the sessions that workers told of, each once, in the order in which they first came."""
    groups: dict[str, list[Facts]] = {}
    for sessions in told:
        for session in sessions:
            groups.setdefault(session["session"], []).append(session)
    return [_session(group) for group in groups.values()]


def _session(group: Sequence[Facts]) -> Facts:
    suppliers: dict[str, list[Facts]] = {}
    for session in group:
        for supplier in session["suppliers"]:
            suppliers.setdefault(supplier["operator"], []).append(supplier)
    return {
        **group[0],
        "retiring": all(session["retiring"] for session in group),
        "spent": sum(session["spent"] for session in group),
        "reserved": sum(session["reserved"] for session in group),
        "suppliers": [_supplier(lines, group[0]["w_min"]) for lines in suppliers.values()],
    }


def _supplier(group: Sequence[Facts], w_min: int) -> Facts:
    whole = dict(next((line for line in group if line["lane"] == "open"), group[0]))
    whole |= {name: sum(line[name] for line in group) for name in _SUMS}
    counts = {name: sum(line["verdicts"][name] for line in group) for name in whole["verdicts"]}
    weight = sum(line["relays"] for line in group if line["first_byte_ms"])
    first_bytes = sum(line["first_byte_ms"] * line["relays"] for line in group)
    tally = tally_of([counts[verdict.name.lower()] for verdict in Verdict], whole["fast"])
    return {
        **whole,
        "amount": amount_down(whole["units"], whole["price"]),
        "first_byte_ms": round(first_bytes / weight, 1) if weight else 0.0,
        "quality": quality(tally, w_min),
        "verdicts": counts,
    }


def explained_of(told: Iterable[Sequence[Facts]]) -> list[Facts]:
    """Return one row for each supplier and class, as the worker tells it that has it in the best tier."""
    groups: dict[tuple[str, str], list[Facts]] = {}
    for rows in told:
        for row in rows:
            groups.setdefault((row["class"], row["supplier"]), []).append(row)
    found = []
    for group in groups.values():
        best = min(group, key=_tier)
        found.append({**best, "in_flight": sum(row["in_flight"] for row in group)})
    return sorted(found, key=lambda row: (row["class"], _tier(row), row["latency_ms"]))


def _tier(row: Facts) -> float:
    return float("inf") if row["tier"] is None else row["tier"]


def exposition_of(told: Mapping[int, str], own: Iterable[Metric] = ()) -> bytes:
    """Return the text that Prometheus scrapes: every sample with its `worker`, but parts of one whole summed.

    Parameters
    ----------
    told : each worker's own text.
    own : further families, as they are.
    """
    families: dict[str, Metric] = {}
    sums: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for worker, text in told.items():
        for family in text_string_to_metric_families(text):
            whole = families.get(family.name)
            if whole is None:
                whole = families[family.name] = Metric(family.name, family.documentation, family.type)
            for sample in family.samples:
                if family.name in SUMMED:
                    place = (family.name, frozenset(sample.labels.items()))
                    sums[place] = sums.get(place, 0.0) + sample.value
                else:
                    whole.add_sample(sample.name, {**sample.labels, "worker": str(worker)}, sample.value)
    for (name, labels), value in sums.items():
        families[name].add_sample(name, dict(labels), value)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([*families.values(), *own]))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
