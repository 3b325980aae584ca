"""The supplier daemon put together: what runs, in which order it stops, and how it is reloaded."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import grpc
import structlog

from pocketnode import daemon
from pocketnode.backends.http import open_session
from pocketnode.backends.lean import Connections
from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.daemon import Job
from pocketnode.errors import ConfigError
from pocketnode.store.history import HistoryStore
from pocketnode.store.receipt_log import ReceiptLog
from pocketnode.supplier.admin import AdminServer, Extra, token_of
from pocketnode.supplier.answerer import Offer, Owed, SupplierAnswerer
from pocketnode.supplier.config import SupplierConfig, Tls
from pocketnode.supplier.dashboard import SupplierSource
from pocketnode.supplier.keeping import Keeper
from pocketnode.supplier.metrics import Metrics
from pocketnode.supplier.offers import Clients, make_offers
from pocketnode.supplier.ports import Clock, Experience, Market, Receipts
from pocketnode.supplier.standard import StandardServices
from pocketnode.supplier.status import Status
from pocketnode.transport.server import RelayServer
from pocketnode.web.feed import Feed
from pocketnode.web.ports import Panel
from pocketnode.web.serve import Dashboard

TIDY_EVERY_S = 1.0
_log = structlog.get_logger("supplier")


def nothing_owed(session: bytes, gateway: bytes) -> int:
    """Say that no gateway owes anything from before."""
    return 0


@dataclass(frozen=True, slots=True)
class Outside:
    """What the daemon stands on: made by the command line, or by tests."""

    key: Key
    domain: Domain
    market: Market
    clock: Clock
    receipts: Receipts
    experience: Experience | None = None
    panels: Sequence[Panel] = ()
    history: HistoryStore | None = None
    log: ReceiptLog | None = None
    owed: Owed = nothing_owed


class SupplierDaemon:
    """One daemon, used as `async with SupplierDaemon(...) as supplier: await supplier.run(stop)`.

    Parameters
    ----------
    reread : returns the configuration anew, for SIGHUP.
    jobs : further jobs, such as claiming and withdrawing.
    extra : further facts for /status.
    """

    def __init__(
        self,
        config: SupplierConfig,
        outside: Outside,
        reread: Callable[[], SupplierConfig] | None = None,
        jobs: dict[str, Job] | None = None,
        extra: Extra | None = None,
    ) -> None:
        self.config = config
        self.metrics = Metrics()
        self.keeper = Keeper(outside.receipts, outside.log)
        self.port = 0
        self.admin_port = 0
        self.started = asyncio.Event()
        self._outside = outside
        self._reread = reread
        self._jobs = jobs or {}
        self._clients = Clients(open_session(), Connections())
        self.answerer = SupplierAnswerer(
            outside.key.address,
            make_offers(config.services, self._clients),
            config.policy,
            config.limits,
            outside.market,
            outside.clock,
            self.keeper,
            self.metrics,
            outside.experience,
            outside.owed,
        )
        self.server = RelayServer(self.answerer, outside.key, outside.domain, config.limits.lanes)
        self.status = Status(outside.key.address, self.answerer, self.server, self.keeper, outside.clock)
        token = token_of(config.admin.token_file)
        self._standard = StandardServices(self.server.server)
        self._admin = AdminServer(self.status, self.metrics, token, extra)
        shown = SupplierSource(outside.key.address, self.answerer, self.status, extra, bool(outside.panels))
        self._feed = Feed(self.metrics.meter, shown, outside.history)
        Dashboard(shown, self._feed, token, outside.panels).attach(self._admin.app)
        self.metrics.watch(self.status.gauges)

    async def __aenter__(self) -> Self:
        self.admin_port = await self._admin.start(self.config.admin.listen)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()
        await self._clients.close()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set or a job fails; then finish what is in flight, within `limits.drain_s`."""
        own: dict[str, Job] = {"serve": self._serve, "check-backends": self._check_backends, "tidy": self._tidy}
        if self._reread is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reload)
        await daemon.run({**daemon.patient(self._jobs), **own, "dashboard": self._feed.run}, stop)

    def reload(self) -> None:
        """Read the configuration again and go on with its backends, limits and policy.

        A configuration that does not hold changes nothing. Relays in flight finish at the backends where they are.
        """
        if self._reread is None:
            return
        try:
            config = self._reread()
            offers = self._changed_offers(config)
        except ConfigError as error:
            _log.error("reload refused", reason=str(error))
            return
        self.answerer.adopt(offers, config.policy)
        self.config = config
        self._clients.connections.close()
        _log.info("reloaded", services=[service.id for service in config.services])

    def _changed_offers(self, config: SupplierConfig) -> dict[bytes, Offer]:
        """Return the offers of `config`; a service whose lines did not change keeps its pool and what it learnt."""
        before = {service.id: service for service in self.config.services}
        new = [service for service in config.services if before.get(service.id) != service]
        kept = {service.id for service in config.services} - {service.id for service in new}
        offers = {key: offer for key, offer in self.answerer.offers.items() if offer.spec.id in kept}
        return {**offers, **make_offers(new, self._clients)}

    async def _serve(self) -> None:
        """Answer relays; at the end drain lanes first, so that their last Receipts still reach the disk."""
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self.keeper.run())
            try:
                await self._listen()
                await asyncio.Event().wait()
            finally:
                self.answerer.draining = True
                await self._standard.tell(False)
                _log.info("draining", lanes=self.server.lanes, in_flight=self.server.in_flight)
                await self.server.drain(self.config.limits.drain_s)
                keeping.cancel()

    async def _listen(self) -> None:
        tls = credentials_of(self.config.tls) if self.config.tls else None
        self.port = await self.server.start(self.config.listen, tls)
        host = self.config.listen.rpartition(":")[0]
        self.status.listening = f"{host}:{self.port}"
        self.started.set()
        _log.info("listening", address=self.status.listening, admin_port=self.admin_port)

    async def _check_backends(self) -> None:
        while True:
            pools = [pool for offer in self.answerer.offers.values() for pool in offer.pools]
            await asyncio.gather(*(pool.check() for pool in pools))
            await asyncio.sleep(TIDY_EVERY_S)

    async def _tidy(self) -> None:
        while True:
            self.answerer.forget_ended()
            await self._standard.tell(not self.status.not_ready())
            await asyncio.sleep(TIDY_EVERY_S)


def credentials_of(tls: Tls) -> grpc.ServerCredentials:
    """Return what the lanes' listener shows; with a `client_ca`, gateways must show a certificate of it.

    Raises
    ------
    ConfigError
        a file is missing.
    """
    try:
        pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
        roots = tls.client_ca.read_bytes() if tls.client_ca else None
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}: name a readable PEM file") from error
    return grpc.ssl_server_credentials([pair], roots, require_client_auth=roots is not None)
