"""The gateway daemon put together: what runs, in which order it stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import structlog
from aiohttp import web
from prometheus_client.core import Metric
from sqlalchemy import Engine

from pocketnode import daemon
from pocketnode.daemon import Job
from pocketnode.gateway.access import Access
from pocketnode.gateway.admin import AdminServer, Extra
from pocketnode.gateway.catalog import Catalog, catalog_of
from pocketnode.gateway.config import GatewayConfig
from pocketnode.gateway.dashboard import GatewaySource
from pocketnode.gateway.facts import OwnFacts
from pocketnode.gateway.gate import Gate
from pocketnode.gateway.ingress import Ingress
from pocketnode.gateway.keeping import ALONE_EVERY_S, TOGETHER_EVERY_S, ScoreKeeping
from pocketnode.gateway.ledger import Ledger
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.models_api import ModelsApi
from pocketnode.gateway.openai_api import OpenAiApi
from pocketnode.gateway.ports import LaneOpener, Market, Proofs, RecordFiles, Records
from pocketnode.gateway.recount import recount_of
from pocketnode.gateway.relay_api import RelayApi
from pocketnode.gateway.relaying import Relaying
from pocketnode.gateway.reporting import Reporting
from pocketnode.gateway.rpc_api import RpcApi
from pocketnode.gateway.rpc_items import RpcItems
from pocketnode.gateway.rpc_ws import RpcSockets
from pocketnode.gateway.scoreboard import Scoreboard
from pocketnode.gateway.sessions import Sessions
from pocketnode.gateway.shared import Shared
from pocketnode.gateway.status import Status
from pocketnode.gateway.telemetry import Exporter, exporter_of
from pocketnode.store.history import HistoryStore
from pocketnode.store.keys import KeyStore
from pocketnode.store.scores import ScoreStore
from pocketnode.store.usage import UsageStore
from pocketnode.web import meter
from pocketnode.web.feed import Feed
from pocketnode.web.listener import token_in
from pocketnode.web.ports import Panel
from pocketnode.web.serve import Dashboard

WARM_WITHIN_S: Final = 10.0
WARM_LOOK_S: Final = 0.05
METER: Final = "/meter"
DRAIN_S: Final = 10.0

log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker is found: the port that all share, and the Unix socket of its own admin listener."""

    listen: str
    socket: Path


@dataclass(frozen=True, slots=True)
class Outside:
    """What the daemon stands on: made by the command line, or by tests.

    Parameters
    ----------
    address : the gateway's, 20 bytes.
    proofs : shows users that a relay is in its session's records.
    files : gives suppliers whole sessions' records.
    panels : parts of the dashboard that show what the chain and the records say.
    metrics : further samples for /metrics.
    shared : what is counted together with other workers.
    name : of this process among all that share the store, at most 32 characters.
    place : where this worker of several is; None for a gateway of one process.
    """

    address: bytes
    market: Market
    opener: LaneOpener
    records: Records
    engine: Engine
    panels: Sequence[Panel] = ()
    proofs: Proofs | None = None
    files: RecordFiles | None = None
    metrics: Callable[[], Iterable[Metric]] = tuple
    shared: Shared = field(default_factory=Shared)
    name: str = "0"
    place: Place | None = None


class GatewayDaemon:
    """One daemon, used as `async with GatewayDaemon(...) as gateway: await gateway.run(stop)`.

    Parameters
    ----------
    jobs : further jobs, such as stating sessions.
    extra : further facts for /status.
    """

    def __init__(
        self,
        config: GatewayConfig,
        outside: Outside,
        jobs: dict[str, Job] | None = None,
        extra: Extra | None = None,
    ) -> None:
        self.config = config
        self.port = 0
        self.admin_port = 0
        self.started = asyncio.Event()
        self.metrics = Metrics(outside.metrics)
        self._jobs = jobs or {}
        self._outside = outside
        shared = outside.shared
        self._keys, usage = KeyStore(outside.engine), UsageStore(outside.engine, outside.name)
        self.scores = Scoreboard(time.time)
        self._keeping = ScoreKeeping(self.scores, ScoreStore(outside.engine, outside.name), _keep_every_s(outside))
        self.catalog = catalog_of(config)
        self.sessions = Sessions(
            outside.address,
            self.catalog,
            outside.market,
            outside.opener,
            outside.records,
            self.scores,
            config.selection,
            shared,
        )
        self.gate = Gate(Access(self._keys.by_hashes, usage.units, counters=shared.counters), config.limits, shared)
        self.ledger = Ledger(usage)
        self._relaying = Relaying(outside.records, self.metrics, config.retry, config.selection)
        self.reporting = reporting = Reporting(config.log.access, exporter_of(config.telemetry, outside.name))
        self._recount = recount_of(config.tokenizers, self.metrics)
        self._telemetry = config.telemetry
        self._closing: set[asyncio.Future[None]] = set()
        openai = OpenAiApi(
            self.gate, self.catalog, self.sessions, self._relaying, self.ledger, self._recount, self.metrics, reporting
        )
        self.items = RpcItems(self.catalog, self.sessions, self._relaying, self.ledger, self.metrics, shared.notes)
        rpc = RpcApi(self.gate, self.catalog, self.items, self.metrics, reporting)
        self.sockets = RpcSockets(self.gate, rpc, self.items)
        relays = RelayApi(self.gate, outside.proofs, outside.files)
        models = ModelsApi(self.gate, self.catalog, self.sessions)
        self._ingress = Ingress(self.gate, openai, models, rpc, self.sockets, relays, self.metrics)
        self.status = Status(outside.address, self.catalog, self.sessions)
        facts = OwnFacts(self.status, self.metrics, self.sessions, self.gate)
        token = token_in(config.admin.token_file)
        self._admin = AdminServer(facts, self._keys, usage, token, extra)
        self._feed = self._dashboard(facts, token) if outside.place is None else None
        if outside.place is not None:
            self._admin.app.router.add_get(METER, self._turn_meter)

    async def __aenter__(self) -> Self:
        if self._outside.place is None:
            self.admin_port = await self._admin.start(self.config.admin.listen)
        else:
            await self._admin.start_at(self._outside.place.socket)
        await self._keeping.restore()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await asyncio.to_thread(self.reporting.close)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set or a job fails; then finish what is in flight, within `DRAIN_S`."""
        own: dict[str, Job] = {"serve": self._serve, "ledger": self.ledger.run, "scores": self._keeping.run}
        own["heads-of-services"] = self.items.watch
        own["subscriptions"] = self.sockets.run
        if self._feed is not None:
            own["dashboard"] = self._feed.run
        await daemon.run({**daemon.patient(self._jobs), **own}, stop)

    def adopt(self, config: GatewayConfig, catalog: Catalog) -> None:
        """Take up a changed configuration; requests under way go on with what they began with."""
        self.gate.adopt(config.limits)
        self.reporting.access = config.log.access
        self._relaying.adopt(config.retry, config.selection)
        self.catalog.adopt(catalog)
        self.items.adopt()
        self.sessions.adopt(config.selection)

    def prepare(self, config: GatewayConfig) -> Callable[[], None]:
        """Read the tokenizers that a changed configuration names, prepare for its collector; return what takes them up.

        Raises
        ------
        ConfigError
            a file is missing or broken, or a library is.
        """
        recount = recount_of(config.tokenizers, self.metrics)
        moved = config.telemetry != self._telemetry
        exporter = exporter_of(config.telemetry, self._outside.name) if moved else None

        def take() -> None:
            self._recount.adopt(recount)
            if moved:
                self._telemetry = config.telemetry
                self._close(self.reporting.adopt(exporter))

        return take

    def _close(self, exporter: Exporter | None) -> None:
        if exporter is not None:
            closing = asyncio.ensure_future(asyncio.to_thread(exporter.close))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _serve(self) -> None:
        """Answer requests; at the end let them finish before their lanes close."""
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self.sessions.run())
            try:
                self.port = await self._listen()
                self.started.set()
                log.info("listening", address=self.config.listen, port=self.port, admin_port=self.admin_port)
                await asyncio.Event().wait()
            finally:
                await self._drain()
                following.cancel()

    async def _drain(self) -> None:
        self.status.draining = True
        log.info("draining", in_flight=self.gate.in_flight)
        await self._ingress.stop_listening()
        await self.sockets.close()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.gate.quiet()
        except TimeoutError:
            log.warning("requests given up", in_flight=self.gate.in_flight)
        await self._ingress.close()

    async def _listen(self) -> int:
        """Begin to take connections; one of several workers once it can answer, so that others take them meanwhile."""
        place = self._outside.place
        if place is None:
            return await self._ingress.start(self.config.listen)
        warm_by_s = time.monotonic() + WARM_WITHIN_S
        while self.status.missing() and time.monotonic() < warm_by_s:  # noqa: ASYNC110 - suppliers have no event
            await asyncio.sleep(WARM_LOOK_S)
        return await self._ingress.start(place.listen, reuse_port=True)

    def _dashboard(self, facts: OwnFacts, token: str) -> Feed:
        """Attach the dashboard to the admin listener; return what feeds it."""
        outside = self._outside
        source = GatewaySource(outside.address, self.catalog, facts, bool(outside.panels))
        feed = Feed(self.metrics.meter, source, HistoryStore(outside.engine))
        Dashboard(source, feed, token, outside.panels).attach(self._admin.app)
        return feed

    async def _turn_meter(self, _request: web.Request) -> web.Response:
        return web.json_response(meter.rows_of(self.metrics.meter.turn()))


def _keep_every_s(outside: Outside) -> float:
    """Return how often scores are shared: rarely where nobody else reads them."""
    alone = outside.place is None and outside.engine.dialect.name == "sqlite"
    return ALONE_EVERY_S if alone else TOGETHER_EVERY_S
