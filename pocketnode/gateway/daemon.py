"""The gateway daemon put together: what runs, in which order it stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import structlog
from sqlalchemy import Engine

from pocketnode import daemon
from pocketnode.daemon import Job
from pocketnode.errors import Unavailable
from pocketnode.gateway.access import Access
from pocketnode.gateway.admin import AdminServer, Extra, token_of
from pocketnode.gateway.catalog import catalog_of
from pocketnode.gateway.config import GatewayConfig
from pocketnode.gateway.dashboard import GatewaySource
from pocketnode.gateway.gate import Gate
from pocketnode.gateway.ingress import Ingress
from pocketnode.gateway.ledger import Ledger
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.openai_api import OpenAiApi
from pocketnode.gateway.ports import LaneOpener, Market, Proofs, RecordFiles, Records
from pocketnode.gateway.recount import recount_of
from pocketnode.gateway.relay_api import RelayApi
from pocketnode.gateway.relaying import Relaying
from pocketnode.gateway.rpc_api import RpcApi
from pocketnode.gateway.rpc_items import RpcItems
from pocketnode.gateway.rpc_ws import RpcSockets
from pocketnode.gateway.scoreboard import HALF_LIFE_S, Score, Scoreboard
from pocketnode.gateway.sessions import Sessions
from pocketnode.gateway.status import Status
from pocketnode.store.history import HistoryStore
from pocketnode.store.keys import KeyStore
from pocketnode.store.scores import ScoreRow, ScoreStore
from pocketnode.store.usage import UsageStore
from pocketnode.web.feed import Feed
from pocketnode.web.ports import Panel
from pocketnode.web.serve import Dashboard

SCORES_EVERY_S: Final = 10.0
SCORES_KEPT_S: Final = 10 * HALF_LIFE_S
DRAIN_S: Final = 10.0

log = structlog.get_logger("gateway")


@dataclass(frozen=True, slots=True)
class Outside:
    """What the daemon stands on: made by the command line, or by tests.

    Parameters
    ----------
    address : the gateway's, 20 bytes.
    serving : filled with the ids of sessions that are not to be stated yet.
    proofs : shows users that a relay is in its session's records.
    files : gives suppliers whole sessions' records.
    panels : parts of the dashboard that show what the chain and the records say.
    """

    address: bytes
    market: Market
    opener: LaneOpener
    records: Records
    engine: Engine
    serving: set[bytes] = field(default_factory=set)
    panels: Sequence[Panel] = ()
    proofs: Proofs | None = None
    files: RecordFiles | None = None


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
        self.metrics = Metrics()
        self._jobs = jobs or {}
        self._keys, usage = KeyStore(outside.engine), UsageStore(outside.engine)
        self._score_store = ScoreStore(outside.engine)
        self.scores = Scoreboard(time.time)
        catalog = catalog_of(config)
        self.sessions = Sessions(
            outside.address,
            catalog,
            outside.market,
            outside.opener,
            outside.records,
            self.scores,
            config.selection,
            outside.serving,
        )
        self.gate = Gate(Access(self._keys.by_hash, usage.units), config.limits)
        self.ledger = Ledger(usage)
        relaying = Relaying(outside.records, self.metrics, config.retry, config.selection)
        recount = recount_of(config.tokenizers, self.metrics)
        openai = OpenAiApi(self.gate, catalog, self.sessions, relaying, self.ledger, recount, self.metrics)
        self.items = RpcItems(catalog, self.sessions, relaying, self.ledger, self.metrics)
        rpc = RpcApi(self.gate, catalog, self.items, self.metrics)
        self.sockets = RpcSockets(self.gate, rpc, self.items)
        relays = RelayApi(self.gate, outside.proofs, outside.files)
        self._ingress = Ingress(self.gate, openai, rpc, self.sockets, relays, self.metrics, config.limits)
        self.status = Status(outside.address, catalog, self.sessions)
        token = token_of(config.admin.token_file)
        self._admin = AdminServer(self.status, self.metrics, self.sessions, self._keys, usage, token, extra)
        source = GatewaySource(outside.address, catalog, self.status, self.gate, bool(outside.panels))
        self._feed = Feed(self.metrics.meter, source, HistoryStore(outside.engine))
        Dashboard(source, self._feed, token, outside.panels).attach(self._admin.app)

    async def __aenter__(self) -> Self:
        self.admin_port = await self._admin.start(self.config.admin.listen)
        self.scores.restore(_restored(await asyncio.to_thread(self._score_store.all)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set or a job fails; then finish what is in flight, within `DRAIN_S`."""
        own: dict[str, Job] = {"serve": self._serve, "ledger": self.ledger.run, "scores": self._keep_scores}
        own["heads-of-services"] = self.items.watch
        own["subscriptions"] = self.sockets.run
        await daemon.run({**daemon.patient(self._jobs), **own, "dashboard": self._feed.run}, stop)

    async def _serve(self) -> None:
        """Answer requests; at the end let them finish before their lanes close."""
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self.sessions.run())
            try:
                self.port = await self._ingress.start(self.config.listen)
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

    async def _keep_scores(self) -> None:
        """Write scores now and then, and at the end, so that they survive a restart."""
        try:
            while True:
                await asyncio.sleep(SCORES_EVERY_S)
                await self._write_scores()
        finally:
            await self._write_scores()

    async def _write_scores(self) -> None:
        rows = [
            ScoreRow(*key, score.passes, score.tries, score.traffic, score.latency_ms, score.at_s)
            for key, score in self.scores.items()
        ]
        try:
            await asyncio.to_thread(self._score_store.keep, rows, time.time() - SCORES_KEPT_S)
        except Unavailable as error:
            log.warning("scores are not kept", error=str(error))


def _restored(rows: list[ScoreRow]) -> list[tuple[tuple[str, str, bytes], Score]]:
    return [
        ((row.service, row.kind, row.operator), Score(row.passes, row.tries, row.traffic, row.latency_ms, row.at_s))
        for row in rows
    ]
