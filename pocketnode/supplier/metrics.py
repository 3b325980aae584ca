"""Prometheus metrics. Labels are bounded: services, backends, keys, outcomes, from the configuration or a fixed list.

| metric | labels | meaning |
|---|---|---|
| pocketnode_supplier_relays_total | service, outcome | relays ended; outcome is `good` or a class of rule 3.12 |
| pocketnode_supplier_units_total | service | units of good relays |
| pocketnode_supplier_relay_seconds | service | time from the whole request to the end of its answer |
| pocketnode_supplier_backend_up | service, backend | 1 while it is in use, 0 while it is left alone |
| pocketnode_supplier_backend_in_flight | service, backend | requests at the backend now |
| pocketnode_supplier_backend_failures_total | service, backend | failures of the backend, checks among them |
| pocketnode_supplier_waiting | service | requests that wait for a free backend |
| pocketnode_supplier_lanes | | open lanes |
| pocketnode_supplier_accounts | | gateways times sessions that are not over |
| pocketnode_supplier_unacknowledged_units | service | served and not yet acknowledged |
| pocketnode_supplier_unsaved_lanes | | lanes whose newest Receipt is not on disk |
| pocketnode_supplier_block | | newest block known |
| pocketnode_supplier_settles | | 1 where this process holds the store's lease and settles |
| pocketnode_supplier_gas_wei | operator | what the key has for gas; where this process settles |
| pocketnode_supplier_pending_amount | operator | base units earned whose pay is not final |
| pocketnode_supplier_paid_amount | operator | base units sent to the payout addresses |
| pocketnode_supplier_missed_amount | operator | base units not claimed in time |
| pocketnode_supplier_audits_total | result | statements recomputed from their records: `agrees`, `differs`, .. |
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.web.meter import Meter, Sums

PREFIX = "pocketnode_supplier"
_OURS = (FaultClass.BACKEND, FaultClass.BUSY)  # what a chart of answered relays counts as not answered
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


@dataclass(slots=True)
class Watch:
    """What one relay cost, told by who answered it."""

    units: int = 0
    price: int = 0


@dataclass(frozen=True, slots=True)
class Gauge:
    """One number of a snapshot; `labels` in the order of the metric's names."""

    name: str
    help: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


class _ServiceMetrics:
    """The label children of one service: looked up once, not at each relay."""

    def __init__(self, service: str, relays: Counter, units: Counter, seconds: Histogram) -> None:
        self.good = relays.labels(service, "good")
        self.units = units.labels(service)
        self.seconds = seconds.labels(service)


class Metrics:
    """The metrics of one daemon, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._relays = Counter(f"{PREFIX}_relays", "relays ended", ["service", "outcome"], registry=self.registry)
        self._units = Counter(f"{PREFIX}_units", "units of good relays", ["service"], registry=self.registry)
        self._seconds = Histogram(
            f"{PREFIX}_relay_seconds", "time of a relay", ["service"], buckets=_BUCKETS, registry=self.registry
        )
        self._services: dict[str, _ServiceMetrics] = {}
        self.meter = Meter()  # what the dashboard's charts are drawn from

    @contextmanager
    def relay(self, service: str, gateway: str) -> Iterator[Watch]:
        """Count one relay and how it ended."""
        known = self._services.get(service)
        if known is None:
            known = self._services[service] = _ServiceMetrics(service, self._relays, self._units, self._seconds)
        watch = Watch()
        begun_s = time.monotonic()
        try:
            yield watch
        except RelayFailed as failure:
            self._relays.labels(service, failure.fault.kind.value).inc()
            for sums in self._counted(service, gateway):
                (sums.fail if failure.fault.kind in _OURS else sums.refuse)(failure.fault.kind.value)
            raise
        except BaseException:
            self._relays.labels(service, "cancelled").inc()
            raise
        known.good.inc()
        known.units.inc(watch.units)
        spent_s = time.monotonic() - begun_s
        known.seconds.observe(spent_s)
        for sums in self._counted(service, gateway):
            sums.succeed(spent_s * 1000, spent_s * 1000)
            sums.spend(watch.units, watch.units * watch.price)

    def _counted(self, service: str, gateway: str) -> tuple[Sums, Sums]:
        """Return where a relay counts that is over: the meter may have been turned since it began."""
        return self.meter.of(service), self.meter.of(service, gateway)

    def watch(self, snapshot: Callable[[], Iterable[Gauge]]) -> None:
        """Have `snapshot` asked at each scrape."""
        self.registry.register(_Snapshot(snapshot))

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Snapshot(Collector):
    def __init__(self, snapshot: Callable[[], Iterable[Gauge]]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for gauge in self._snapshot():
            kind = CounterMetricFamily if gauge.name.endswith("_total") else GaugeMetricFamily
            names = [name for name, _ in gauge.labels]
            family = families.setdefault(gauge.name, kind(f"{PREFIX}_{gauge.name}", gauge.help, labels=names))
            family.add_metric([value for _, value in gauge.labels], gauge.value)
        return families.values()
