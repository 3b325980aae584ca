"""What each process of a gateway stands on: all of it in one, or its share in the keeper and in each worker."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, Metric
from sqlalchemy import Engine

from pocketnode.chain import deployment as deployments
from pocketnode.chain.client import Rpc
from pocketnode.chain.follower import Follower
from pocketnode.chain.heads import Heads, confirmations_of
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.chain.sender import Sender
from pocketnode.crypto import keystore
from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.daemon import Job
from pocketnode.errors import ConfigError, Unavailable
from pocketnode.gateway import telemetry
from pocketnode.gateway.asking import KeeperProofs
from pocketnode.gateway.catalog import Catalog, catalog_of
from pocketnode.gateway.config import GatewayConfig
from pocketnode.gateway.daemon import GatewayDaemon, Outside, Place
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.recount import recount_of
from pocketnode.gateway.reloading import Prepare
from pocketnode.gateway.shared import Shared
from pocketnode.protocol.quality import Slo
from pocketnode.protocol.session import service_name
from pocketnode.services.spec import builtin
from pocketnode.settlement.answers import Answers
from pocketnode.settlement.files import RecordFiles
from pocketnode.settlement.poking import Poking
from pocketnode.settlement.pruning import Pruning
from pocketnode.settlement.records import SessionRecords
from pocketnode.settlement.reporting import Outcome, Reporting
from pocketnode.settlement.stating import Stating
from pocketnode.settlement.withdrawing import Collecting
from pocketnode.store.answers import AnswerFiles
from pocketnode.store.counters import COLUMNS
from pocketnode.store.engine import open_store
from pocketnode.store.events import EventStore
from pocketnode.store.explored import ExploredStore
from pocketnode.store.gathering import Gathering, worker_folder
from pocketnode.store.journal import Journal
from pocketnode.store.pots import PotStore
from pocketnode.store.power import PowerMark
from pocketnode.store.records import RecordLog
from pocketnode.store.serving import OneGateway, ServingLocks
from pocketnode.transport.channels import ClientCertificate
from pocketnode.transport.links import Links
from pocketnode.transport.ports import LaneClient, Opening
from pocketnode.web.explorer import Explorer
from pocketnode.web.listener import token_in
from pocketnode.web.relays import Relays

KEEPER_SOCKET: Final = "keeper.sock"
TAKE_WITHIN_S: Final = 20.0  # a worker whose keeper was killed may drain as long
TAKE_LOOK_S: Final = 0.1


class Lanes:
    """Opens lanes with the gateway's key; says at `public_url` where its records are, shows `client` to who asks."""

    def __init__(
        self,
        key: Key,
        domain: Domain,
        public_url: str = "",
        client: ClientCertificate | None = None,
        answers: Answers | None = None,
    ) -> None:
        self._links = Links(key, domain, client)
        self._public_url = public_url
        self._answers = answers

    def prepare(self, config: GatewayConfig) -> Callable[[], None]:
        """Read the certificate that a changed configuration names; lanes opened once it is taken up show it.

        Raises
        ------
        ConfigError
            a file cannot be read.
        """
        client = _certificate(config)

        def take() -> None:
            self._links.client = client

        return take

    async def open(self, opening: Opening, endpoint: str, fingerprint: bytes) -> LaneClient:
        told = replace(opening, records=self._public_url)
        kept = self._answers.lane(told) if self._answers is not None else None
        return await self._links.open(told, endpoint, fingerprint, kept)


@dataclass(frozen=True, slots=True)
class Base:
    """What every process of a gateway needs: key, chain and store."""

    config: GatewayConfig
    key: Key
    rpc: Rpc
    heads: Heads
    market: Market
    engine: Engine

    @property
    def pots(self) -> PotStore:
        return PotStore(self.engine, self.key.address)


@asynccontextmanager
async def base(config: GatewayConfig) -> AsyncIterator[Base]:
    """Open key, chain and store."""
    deployment = deployments.read(config.deployment)
    key = keystore.load(config.keystore, keystore.password_from(config.password_file), apart=True)
    engine = open_store(config.store)
    try:
        async with Rpc(config.rpc) as rpc:
            reader = Reader(rpc, deployment)
            await reader.check_chain()
            heads = Heads(rpc)
            await heads.refresh()
            yield Base(config, key, rpc, heads, Market(reader, heads), engine)
    finally:
        engine.dispose()


class Settling:
    """The part that is once in a gateway: it follows the chain's events, states sessions, prunes, and shows them."""

    def __init__(self, at: Base, log: RecordLog, locks: ServingLocks, power: PowerMark) -> None:
        market, key, config = at.market, at.key, at.config
        self.catalog = catalog_of(config)
        events, journal = EventStore(at.engine), Journal(at.engine, key.address)
        deployed = market.deployment
        confirmations = confirmations_of(config.statements.confirmations, deployed.windows.statement)
        follower = Follower(market.reader, at.heads, events, confirmations)
        sender = Sender(at.rpc, at.heads, key, journal, deployed.chain_id, confirmations)
        whole = Gathering(log, locks).whole
        withhold = config.statements.withhold
        slo_of = _slo_of(self.catalog)
        self._stating = Stating(market, follower, sender, key, at.pots, log, slo_of, withhold, whole, power)
        pruning = Pruning(market, key.address, at.pots, events, journal, records=log)
        explorer = Explorer(market.reader, market, ExploredStore(at.engine))
        self.relays = Relays(log, at.pots, explorer.pot)
        self.panels = (explorer, self.relays)
        self._reporting = Reporting(market, follower, sender, AnswerFiles(config.records))
        self.jobs: dict[str, Job] = {
            "heads": at.heads.run,
            "records": log.run,
            "sender": sender.run,
            "events": follower.run,
            "explorer": explorer.run,
            "statements": self._stating.run,
            "seeds": Poking(market, sender, key.address, at.pots).run,
            "pruning": pruning.run,
        }
        if config.statements.report:
            self.jobs["reports"] = self._reporting.run
        if config.statements.collect:
            self.jobs["fees"] = Collecting(market, follower, sender, at.pots).run

    def adopt(self, config: GatewayConfig, catalog: Catalog) -> None:
        """Go on with a changed configuration."""
        self.catalog.adopt(catalog)
        self._stating.withhold = config.statements.withhold

    def metrics(self) -> Iterable[Metric]:
        """Return what a scrape shows of claims that were looked at, and of reports."""
        claims = CounterMetricFamily(
            "pocketnode_gateway_claims_checked", "Suppliers' claims and reports on them, by outcome", labels=["outcome"]
        )
        for outcome in Outcome:
            claims.add_metric([outcome], self._reporting.outcomes[outcome])
        return [claims]


def _slo_of(catalog: Catalog) -> Callable[[bytes], Slo]:
    def slo_of(service: bytes) -> Slo:
        found = next((known.slo for known in catalog.services.values() if known.id == service), None)
        return found if found is not None else builtin(service_name(service)).slo_rule()

    return slo_of


@contextmanager
def alone_with(records: Path) -> Iterator[PowerMark]:
    """Keep other gateways away from a folder of records; give what says whether its newest may be lost.

    Raises
    ------
    ConfigError
        another one runs on it.
    """
    lock = OneGateway(records)
    if not lock.taken():
        raise ConfigError(f"records {records}: another gateway runs on them: give each a folder of its own")
    power = PowerMark(records)
    try:
        power.begin()
        yield power
        power.end()
    finally:
        lock.close()


@asynccontextmanager
async def whole(at: Base) -> AsyncIterator[tuple[Outside, Settling, dict[str, Job]]]:
    """Give what a gateway of one process stands on, and the jobs that keep it going."""
    config = at.config
    with alone_with(config.records) as power:
        log, locks, shared = RecordLog(config.records), ServingLocks(config.records), Shared.opened(config.records)
        shared.clear(range(COLUMNS))
        settling = Settling(at, log, locks, power)
        records, answers = _kept(at, log, locks, config.records)
        outside = replace(_outside(at, records, answers, shared), panels=settling.panels, proofs=settling.relays)
        outside = replace(outside, metrics=settling.metrics)
        try:
            yield outside, settling, {**settling.jobs, "pots": records.run, "answers": answers.run}
        finally:
            locks.close()
            shared.close()


@asynccontextmanager
async def share(at: Base, number: int, folder: Path) -> AsyncIterator[tuple[Outside, dict[str, Job]]]:
    """Give what worker `number` stands on, and the jobs that keep it going.

    Parameters
    ----------
    folder : of the Unix sockets.
    """
    config = at.config
    own = worker_folder(config.records, number)
    lock = OneGateway(own)
    await _taken(lock, own)
    log, locks = RecordLog(own), ServingLocks(config.records)
    shared = Shared.opened(config.records, number, config.workers)
    records, answers = _kept(at, log, locks, own)
    proofs = KeeperProofs(folder / KEEPER_SOCKET, token_in(config.admin.token_file))
    place = Place(config.listen, folder / f"{number}.sock")
    outside = replace(_outside(at, records, answers, shared), proofs=proofs, place=place)
    try:
        yield outside, {"heads": at.heads.run, "records": log.run, "pots": records.run, "answers": answers.run}
    finally:
        locks.close()
        shared.close()
        lock.close()


def preparing(daemon: GatewayDaemon, outside: Outside) -> list[Prepare]:
    """Return what reads the files that a changed configuration names."""
    assert isinstance(outside.opener, Lanes)
    return [outside.opener.prepare, daemon.prepare]  # the second may start threads: nothing fails after it


def only_check(config: GatewayConfig) -> Callable[[], None]:
    """Read the files that a configuration names and take nothing up: for the keeper, before it tells its workers.

    Raises
    ------
    ConfigError
        one of them is missing or broken.
    """
    recount_of(config.tokenizers, Metrics())
    _certificate(config)
    telemetry.check(config.telemetry)
    return lambda: None


def _certificate(config: GatewayConfig) -> ClientCertificate | None:
    shown = config.client_tls
    return ClientCertificate.read(shown.certificate, shown.key) if shown else None


async def _taken(lock: OneGateway, folder: Path) -> None:
    for _ in range(round(TAKE_WITHIN_S / TAKE_LOOK_S)):
        if lock.taken():
            return
        await asyncio.sleep(TAKE_LOOK_S)
    raise Unavailable(f"{folder}: the worker that had these records before does not end", 1.0)


def _kept(at: Base, log: RecordLog, locks: ServingLocks, folder: Path) -> tuple[SessionRecords, Answers]:
    """Return what keeps this process's records, and what keeps its suppliers' answers."""
    return SessionRecords(log, at.pots, at.key.address, locks), Answers(at.market, AnswerFiles(folder))


def _outside(at: Base, records: SessionRecords, answers: Answers, shared: Shared) -> Outside:
    lanes = Lanes(at.key, at.market.deployment.domain, at.config.public_url, _certificate(at.config), answers)
    more: dict[str, Any] = {"files": RecordFiles(at.config.records, at.pots), "shared": shared}
    name = _name(at.config.records, shared.worker)
    return Outside(at.key.address, at.market, lanes, records, at.engine, name=name, **more)


def _name(records: Path, worker: int) -> str:
    """Return what tells this process from all others that may share the store, also after a restart."""
    place = f"{socket.gethostname()}:{records.absolute()}".encode()
    return f"{hashlib.sha256(place).hexdigest()[:16]}-{worker}"
