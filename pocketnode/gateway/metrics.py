"""What Prometheus reads. Counted in plain dictionaries on the hot path, turned into samples when it asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pocketnode.gateway.active import ActiveSession
from pocketnode.gateway.refusal import Refused
from pocketnode.gateway.watching import Watched, turn_away
from pocketnode.protocol.quality import Verdict, quality
from pocketnode.web.meter import Meter

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """Counts of durations by bucket."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return the running totals, as Prometheus wants them."""
        total, found = 0, []
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found

    def quantile_s(self, q: float) -> float:
        """Return the upper bound of the bucket in which the quantile lies; 0 before the first observation."""
        wanted, total = q * sum(self.counts), 0
        for bound, count in zip((*BUCKETS_S, BUCKETS_S[-1]), self.counts, strict=True):
            total += count
            if count and total >= wanted:
                return bound
        return 0.0


class Metrics:
    """One for the daemon. Labels are services, routes and verdicts: all bounded by the configuration.

    Parameters
    ----------
    more : samples of others, made when Prometheus asks.
    """

    def __init__(self, more: Callable[[], Iterable[Metric]] = tuple) -> None:
        self.more = more
        self.requests: Counter[tuple[str, int]] = Counter()  # route, HTTP status
        self.attempts: Counter[tuple[str, Verdict]] = Counter()  # service, verdict
        self.served: Counter[tuple[str, str]] = Counter()  # service, from where: supplier, cache, local, shared
        self.recounts: Counter[tuple[str, str]] = Counter()  # model, agrees or disagrees
        self.durations: dict[str, Histogram] = {}  # by service
        self.first_bytes: dict[str, Histogram] = {}
        self.meter = Meter()  # what the dashboard's charts are drawn from

    def answered(self, route: str, status: int) -> None:
        """Count one HTTP answer."""
        self.requests[(route, status)] += 1

    def attempted(self, service: str, verdict: Verdict, first_byte_s: float, done_s: float) -> None:
        """Count one attempt."""
        self.attempts[(service, verdict)] += 1
        if verdict is Verdict.GOOD:
            if service not in self.durations:
                self.durations[service], self.first_bytes[service] = Histogram(), Histogram()
            self.durations[service].observe(done_s)
            self.first_bytes[service].observe(first_byte_s)

    def charted(self, service: str, supplier: str, verdict: Verdict, error: str, first_s: float, done_s: float) -> None:
        """Count one attempt for the charts; what is nobody's fault says nothing of the supplier."""
        sums = self.meter.of(service, supplier)
        if verdict in (Verdict.GOOD, Verdict.CUT):
            sums.succeed(first_s * 1000, done_s * 1000)
        elif verdict is Verdict.NOBODY:
            sums.refuse(error)
        else:
            sums.fail(error)

    def spent(self, service: str, supplier: str, units: int, worth: int) -> None:
        """Count what an attempt costs."""
        self.meter.of(service, supplier).spend(units, worth)
        self.meter.of(service).spend(units, worth)

    def watch(self, service: str) -> Watched:
        """Return what counts one request of a user, for the charts."""
        return Watched(self.meter, service)

    def turned_away(self, service: str, refused: Refused) -> None:
        """Count a request that was refused before anything was done for it."""
        turn_away(self.meter.of(service), refused)

    def exposition(self, sessions: Callable[[], Iterable[ActiveSession]]) -> bytes:
        """Return the text that Prometheus scrapes."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(self, sessions))
        return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, metrics: Metrics, sessions: Callable[[], Iterable[ActiveSession]]) -> None:
        self._metrics = metrics
        self._sessions = sessions

    def collect(self) -> Iterable[Metric]:
        yield from self._traffic()
        yield from self._suppliers()
        yield from self._metrics.more()

    def _traffic(self) -> Iterable[Metric]:
        metrics = self._metrics
        requests = CounterMetricFamily("pocketnode_gateway_requests", "HTTP answers", labels=["route", "status"])
        for (route, status), count in metrics.requests.items():
            requests.add_metric([route, str(status)], count)
        attempts = CounterMetricFamily("pocketnode_gateway_attempts", "Attempts", labels=["service", "verdict"])
        for (service, verdict), count in metrics.attempts.items():
            attempts.add_metric([service, verdict.name.lower()], count)
        served = CounterMetricFamily("pocketnode_gateway_served", "Answers by source", labels=["service", "source"])
        for (service, source), count in metrics.served.items():
            served.add_metric([service, source], count)
        recounts = CounterMetricFamily(
            "pocketnode_gateway_recounts", "Token counts of suppliers held against our own", labels=["model", "result"]
        )
        for (model, result), count in metrics.recounts.items():
            recounts.add_metric([model, result], count)
        yield from (requests, attempts, served, recounts)
        names = {"duration": metrics.durations, "first_byte": metrics.first_bytes}
        for name, histograms in names.items():
            family = HistogramMetricFamily(
                f"pocketnode_gateway_{name}_seconds", "Good attempts, as the gateway measured them", labels=["service"]
            )
            for service, histogram in histograms.items():
                family.add_metric([service], histogram.buckets(), histogram.sum_s)
            yield family

    def _suppliers(self) -> Iterable[Metric]:
        labels = ["service", "supplier"]
        rated = GaugeMetricFamily("pocketnode_gateway_supplier_quality", "w of the session, 0 to 1", labels=labels)
        lanes = GaugeMetricFamily("pocketnode_gateway_supplier_lane", "1 while its lane is open", labels=labels)
        spent = GaugeMetricFamily(
            "pocketnode_gateway_grant_spent_ratio",
            "Part of the session's cap that is spent",
            labels=["service", "application"],
        )
        worst: dict[tuple[str, str], float] = {}  # over the applications that share a supplier
        reached: dict[tuple[str, str], float] = {}
        for active in self._sessions():
            if active.retiring:
                continue
            ratio = active.purse.spent / active.purse.cap if active.purse.cap else 0.0
            spent.add_metric([active.service.name, "0x" + active.session.application.hex()], ratio)
            for seat in active.seats.values():
                at = active.service.name, seat.supplier_hex
                worst[at] = min(worst.get(at, 1.0), quality(seat.tally(), active.w_min) / 10_000)
                reached[at] = max(reached.get(at, 0.0), float(seat.open()))
        for at, w in worst.items():
            rated.add_metric(at, w)
            lanes.add_metric(at, reached[at])
        yield from (rated, lanes, spent)
