"""The process that keeps a gateway of several workers: what must be one is here, what users reach is in the workers.

It follows the chain, states sessions and keeps their money, shows all workers as one on the admin listener and the
dashboard, and answers no user itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Engine

from pocketnode import daemon
from pocketnode.daemon import Job
from pocketnode.errors import Unavailable
from pocketnode.gateway import merging
from pocketnode.gateway.admin import AdminServer
from pocketnode.gateway.catalog import Catalog
from pocketnode.gateway.config import GatewayConfig
from pocketnode.gateway.daemon import METER
from pocketnode.gateway.dashboard import GatewaySource
from pocketnode.gateway.ports import Market
from pocketnode.gateway.workers import Workers
from pocketnode.store.history import HistoryStore
from pocketnode.store.keys import KeyStore
from pocketnode.store.usage import UsageStore
from pocketnode.web import meter
from pocketnode.web.feed import Feed
from pocketnode.web.listener import token_in
from pocketnode.web.meter import Meter
from pocketnode.web.ports import Panel
from pocketnode.web.serve import Dashboard

METER_EVERY_S: Final = 1.0

log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Kept:
    """What the keeper stands on.

    Parameters
    ----------
    address : the gateway's, 20 bytes.
    catalog : shared with who reloads.
    socket : where workers ask the keeper.
    metrics : further samples for /metrics.
    """

    address: bytes
    market: Market
    engine: Engine
    catalog: Catalog
    workers: Workers
    socket: Path
    panels: Sequence[Panel] = ()
    metrics: Callable[[], Iterable[Metric]] = tuple


class GatheredFacts:
    """Facts of all workers as those of one gateway."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._workers = kept.workers
        self._started_s = time.time()
        self._was_ready = False

    async def missing(self) -> list[str]:
        """Return what is missing: at first of any worker; once all were ready, nothing while one of them still is."""
        answers = await self._workers.ask_all("/readyz")
        missing, ready = [], 0
        for worker in self._workers.all:
            told = answers.get(worker.number, {"missing": ["it does not answer"]})
            missing += [f"worker {worker.number}: {what}" for what in told["missing"]]
            ready += not told["missing"]
        self._was_ready = self._was_ready or not missing
        return [] if self._was_ready and ready else missing

    async def status(self) -> dict[str, Any]:
        told = await self._workers.ask_all("/status")
        missing = await self.missing()
        return {
            "gateway": "0x" + self._kept.address.hex(),
            "ready": not missing,
            "missing": missing,
            "uptime_s": round(time.time() - self._started_s, 1),
            "head": max([self._kept.market.head, *(one["head"] for one in told.values())]),
            "tasks": len(asyncio.all_tasks()) + sum(one["tasks"] for one in told.values()),
            "in_flight": sum(one["in_flight"] for one in told.values()),
            "workers": [self._worker(number, told) for number in range(1, len(self._workers.all) + 1)],
            "sessions": merging.sessions_of(one["sessions"] for one in told.values()),
        }

    async def explain(self, service: str, kind: str | None = None) -> list[dict[str, Any]]:
        query = f"?class={kind}" if kind else ""
        told = await self._workers.ask_all(f"/explain/{service}{query}")
        return merging.explained_of(rows for rows in told.values() if isinstance(rows, list))

    async def exposition(self) -> bytes:
        return merging.exposition_of(await self._workers.ask_all("/metrics"), self._own())

    def _worker(self, number: int, told: dict[int, Any]) -> dict[str, Any]:
        worker = self._workers.all[number - 1]
        facts = told.get(number)
        return {
            "worker": number,
            "pid": worker.process.pid if worker.process is not None and worker.running else None,
            "restarts": worker.restarts,
            "ready": bool(facts and facts["ready"]),
            "in_flight": facts["in_flight"] if facts else 0,
            "relays": sum(s["relays"] for one in facts["sessions"] for s in one["suppliers"]) if facts else 0,
            "uptime_s": facts["uptime_s"] if facts else 0.0,
        }

    def _own(self) -> list[Metric]:
        running = GaugeMetricFamily("pocketnode_gateway_workers", "Worker processes that run")
        running.add_metric([], sum(worker.running for worker in self._workers.all))
        restarts = CounterMetricFamily(
            "pocketnode_gateway_worker_restarts", "Workers that ended and were begun again", labels=["worker"]
        )
        for worker in self._workers.all:
            restarts.add_metric([str(worker.number)], worker.restarts)
        return [running, restarts, *self._kept.metrics()]


class Keeper:
    """Used as `async with Keeper(...) as keeper: await keeper.run(stop)`.

    Parameters
    ----------
    jobs : further jobs, such as stating sessions.
    """

    def __init__(self, config: GatewayConfig, kept: Kept, jobs: dict[str, Job]) -> None:
        self._config, self._kept, self._jobs = config, kept, jobs
        self.admin_port = 0
        token = token_in(config.admin.token_file)
        facts = GatheredFacts(kept)
        self._admin = AdminServer(facts, KeyStore(kept.engine), UsageStore(kept.engine), token)
        self._meter = Meter()
        source = GatewaySource(kept.address, kept.catalog, facts, bool(kept.panels))
        self._feed = Feed(self._meter, source, HistoryStore(kept.engine))
        Dashboard(source, self._feed, token, kept.panels).attach(self._admin.app)

    async def __aenter__(self) -> Self:
        self.admin_port = await self._admin.start(self._config.admin.listen)
        await self._admin.start_at(self._kept.socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the workers running until `stop` is set or a job fails."""
        own: dict[str, Job] = {"workers": self._kept.workers.run, "meter": self._read_meters}
        own["dashboard"] = self._feed.run
        log.info("keeping", workers=len(self._kept.workers.all), admin_port=self.admin_port)
        await daemon.run({**daemon.patient(self._jobs), **own}, stop)

    async def _read_meters(self) -> None:
        """Take in what workers count for the charts, and see by that whether they live."""
        while True:
            await asyncio.sleep(METER_EVERY_S)
            for worker in self._kept.workers.all:
                try:
                    rows = await self._kept.workers.ask(worker, METER) if worker.running else []
                except Unavailable:
                    continue  # a worker that begins or drains; one that hangs is told of when it is killed
                for key, counted in meter.from_rows(rows):
                    self._meter.add(key, counted)
            self._kept.workers.kill_silent()
