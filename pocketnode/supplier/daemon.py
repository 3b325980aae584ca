"""The supplier daemon put together: what runs, in which order it stops, and how it is reloaded."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import structlog

from pocketnode import daemon
from pocketnode.backends.http import open_session
from pocketnode.backends.lean import Connections
from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.daemon import Job
from pocketnode.errors import ConfigError, Unavailable
from pocketnode.store.history import HistoryStore
from pocketnode.store.receipt_log import ReceiptLog
from pocketnode.supplier.admin import AdminServer, Extra, token_of
from pocketnode.supplier.answerer import Offer, Owed, SupplierAnswerer
from pocketnode.supplier.config import ServiceConfig, SupplierConfig, Tls
from pocketnode.supplier.dashboard import SupplierSource
from pocketnode.supplier.keeping import Keeper
from pocketnode.supplier.listening import ListenerTls, shown_by
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
NEEDS_RESTART: Final = ("deployment", "listen", "admin", "store", "settlement")
_log = structlog.get_logger("supplier")


def nothing_owed(supplier: bytes, session: bytes, gateway: bytes) -> int:
    """Say that no gateway owes anything from before."""
    return 0


@dataclass(frozen=True, slots=True)
class Outside:
    """What the daemon stands on: made by the command line, or by tests. `keys` are the operator keys by name."""

    keys: Mapping[str, Key]
    domain: Domain
    market: Market
    clock: Clock
    receipts: Receipts
    experience: Experience | None = None
    panels: Sequence[Panel] = ()
    history: HistoryStore | None = None
    log: ReceiptLog | None = None
    owed: Owed = nothing_owed


@dataclass(frozen=True, slots=True)
class Reread:
    """The configuration as it is now, its keys by name, and what else is to go on with it once it is found to hold."""

    config: SupplierConfig
    keys: Mapping[str, Key]
    adopt: Callable[[], None] = lambda: None


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
        reread: Callable[[], Awaitable[Reread]] | None = None,
        jobs: dict[str, Job] | None = None,
        extra: Extra | None = None,
    ) -> None:
        self.config = config
        self.keys = {name: key.address for name, key in outside.keys.items()}
        self.metrics = Metrics()
        self.keeper = Keeper(outside.receipts, outside.log)
        self.port = 0
        self.admin_port = 0
        self.started = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._tls = ListenerTls(shown_by(config.tls)) if config.tls else None
        self._reread = reread
        self._jobs = jobs or {}
        self._clients = Clients(open_session(), Connections())
        self.answerer = SupplierAnswerer(
            make_offers(config, outside.keys, self._clients),
            config.policy,
            config.limits,
            outside.market,
            outside.clock,
            self.keeper,
            self.metrics,
            outside.experience,
            outside.owed,
        )
        self.server = RelayServer(self.answerer, outside.keys.values(), outside.domain, config.limits.lanes)
        self.status = Status(self.answerer, self.server, self.keeper, outside.clock)
        token = token_of(config.admin.token_file)
        self._standard = StandardServices(self.server.server)
        self._admin = AdminServer(self.status, self.metrics, token, extra)
        shown = SupplierSource(lambda: self.server.operators, self.answerer, self.status, extra, bool(outside.panels))
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
            own["reload"] = self._reload_when_told
        if self.config.limits.replicas > 1:
            own["replicas"] = daemon.patient({"replicas": self._look_elsewhere})["replicas"]
        await daemon.run({**daemon.patient(self._jobs), **own, "dashboard": self._feed.run}, stop)

    async def reload(self) -> None:
        """Read the configuration again and go on with it: backends, keys, policy, limits, certificate.

        A configuration that does not hold changes nothing. Relays in flight finish at the backends where they are.
        """
        assert self._reread is not None
        async with self._reloading:
            try:
                new = await self._reread()
                offers = make_offers(new.config, new.keys, self._clients, self._unchanged(new.config))
                shown = shown_by(new.config.tls) if new.config.tls else None
            except (ConfigError, Unavailable) as error:
                _log.error("reload refused", reason=str(error))
                return
            if self._tls is not None and shown is not None:
                self._tls.adopt(shown)
            self.answerer.adopt(offers, new.config.policy, new.config.limits)
            self.server.adopt(new.keys.values(), new.config.limits.lanes)
            new.adopt()
            self._clients.connections.close()
            waits = list(_waiting(self.config, new.config))
            self.config = new.config
            self.keys = {name: key.address for name, key in new.keys.items()}
        _log.info("reloaded", services=[service.id for service in new.config.services], keys=len(new.keys))
        if waits:
            _log.warning("restart needed", changed=waits)

    async def _reload_when_told(self) -> None:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, told.set)
        while True:
            await told.wait()
            told.clear()
            await self.reload()

    def _unchanged(self, config: SupplierConfig) -> dict[bytes, Offer]:
        """Return the offers of services whose lines did not change but for price and keys."""
        before = {service.id: _served_by(service) for service in self.config.services}
        kept = {service.id for service in config.services if before.get(service.id) == _served_by(service)}
        return {key: offer for key, offer in self.answerer.offers.items() if offer.spec.id in kept}

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
        self.port = await self.server.start(self.config.listen, self._tls.credentials() if self._tls else None)
        host = self.config.listen.rpartition(":")[0]
        self.status.listening = f"{host}:{self.port}"
        await self._standard.tell(not self.status.not_ready())
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

    async def _look_elsewhere(self) -> None:
        while True:
            await self.answerer.look_elsewhere()
            await asyncio.sleep(TIDY_EVERY_S)


def _served_by(service: ServiceConfig) -> ServiceConfig:
    """Return a service without what its pools do not depend on."""
    return service.model_copy(update={"price": 0, "operators": []})


def _waiting(old: SupplierConfig, new: SupplierConfig) -> Iterator[str]:
    """Yield what is different and holds from the next start on."""
    yield from (name for name in NEEDS_RESTART if getattr(new, name) != getattr(old, name))
    if _tls_kind(old.tls) != _tls_kind(new.tls):
        yield "tls"


def _tls_kind(tls: Tls | None) -> tuple[bool, bool]:
    """Return whether there is any, and whether gateways must show a certificate: neither changes while listening."""
    return tls is not None, tls is not None and tls.client_ca is not None
