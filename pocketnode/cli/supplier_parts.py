"""What a supplier stands on, opened from its configuration: keys, chain, store, and what settles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from pocketnode.chain import deployment as deployments
from pocketnode.chain.client import Rpc
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.cli.configured import config_options
from pocketnode.cli.logs import log_at
from pocketnode.cli.supplier_settling import Settling
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import Key, checksum
from pocketnode.daemon import Job
from pocketnode.errors import ConfigError
from pocketnode.protocol.session import service_id
from pocketnode.store.engine import open_store
from pocketnode.store.explored import ExploredStore
from pocketnode.store.history import HistoryStore
from pocketnode.store.lease import Lease
from pocketnode.store.pots import ManyPots
from pocketnode.store.receipt_log import ReceiptLog
from pocketnode.store.receipts import ReceiptStore
from pocketnode.supplier import config as configs
from pocketnode.supplier.answerer import Owed
from pocketnode.supplier.config import SupplierConfig
from pocketnode.supplier.daemon import Outside, Reread
from pocketnode.web.explorer import Explorer
from pocketnode.web.own import OwnPots

config_option = config_options("supplier")


@dataclass(frozen=True, slots=True)
class OnChain:
    """The operator keys by name, and the deployment that they work in."""

    keys: Mapping[str, Key]
    rpc: Rpc
    market: Market
    heads: Heads


@dataclass(frozen=True, slots=True)
class Opened:
    """Everything that the daemon stands on, and the jobs that keep it going."""

    outside: Outside
    chain: OnChain
    settling: Settling
    jobs: dict[str, Job]

    async def reread(self, path: Path) -> Reread:
        """Return the configuration in a file as it is now.

        Raises
        ------
        ConfigError
            it does not hold, a key does not open, or its nodes are of another chain.
        Unavailable
            none of its nodes answers.
        """
        config = configs.load(path)
        keys = await asyncio.to_thread(keys_of, config)
        if tuple(config.rpc) != self.chain.rpc.urls:
            async with Rpc(config.rpc) as rpc:
                await Reader(rpc, self.chain.market.deployment).check_chain()

        def adopt() -> None:
            log_at(config.log.level)
            self.chain.rpc.use(config.rpc)
            self.settling.adopt(config, keys)

        return Reread(config, keys, adopt)

    async def facts(self, config: SupplierConfig, operators: Mapping[str, bytes]) -> dict[str, Any]:
        """Return what /status adds: registrations and money."""
        rows = await registration_facts(config, self.chain.market, operators)
        return {**await self.settling.facts(), "registrations": rows}


def keys_of(config: SupplierConfig) -> dict[str, Key]:
    """Return the operator keys of a configuration, by name.

    Raises
    ------
    ConfigError
        one does not open, or two names are of one key.
    """
    keys = {
        named.label: keystore.load(named.keystore, keystore.password_from(named.password_file), apart=True)
        for named in config.keys
    }
    names: dict[bytes, str] = {}
    for name, key in keys.items():
        if (other := names.setdefault(key.address, name)) != name:
            raise ConfigError(f"operators: {other} and {name} are one key, {checksum(key.address)}: leave one out")
    return keys


@asynccontextmanager
async def on_chain(config: SupplierConfig) -> AsyncIterator[OnChain]:
    """Open keys and chain.

    Raises
    ------
    ConfigError
        a file is missing or malformed, or the nodes are of another chain.
    Unavailable
        no node answers.
    """
    deployment = deployments.read(config.deployment)
    keys = keys_of(config)
    async with Rpc(config.rpc) as rpc:
        reader = Reader(rpc, deployment)
        await reader.check_chain()
        heads = Heads(rpc)
        await heads.refresh()
        yield OnChain(keys, rpc, Market(reader, heads), heads)


@asynccontextmanager
async def opened(config: SupplierConfig) -> AsyncIterator[Opened]:
    """Open everything that the daemon stands on.

    Raises
    ------
    ConfigError
        as `on_chain`; or another process uses the SQLite file.
    """
    async with on_chain(config) as chain:
        engine = open_store(config.store, apart=True)
        lease = Lease(engine)
        if engine.dialect.name == "sqlite" and not lease.take():
            raise ConfigError(f"{engine.url.database}: another supplier uses it: a SQLite `store` is of one process")
        receipts = ReceiptStore(engine)
        log = receipt_log(engine, receipts)
        try:
            market = chain.market
            fee = (await market.params(market.number_now())).fee
            settling = Settling(config, chain.keys, market, engine, lease, fee)
            explorer = Explorer(market.reader, market, ExploredStore(engine))
            jobs = {"heads": chain.heads.run, "money": settling.money.run, "explorer": explorer.run}
            looks = settling.money, (explorer, OwnPots(ManyPots(settling.pots))), HistoryStore(engine)
            seen = chain.keys, market.deployment.domain, market, chain.heads
            outside = Outside(*seen, receipts, *looks, log, owed_in(receipts))
            yield Opened(outside, chain, settling, {**jobs, "settling": settling.run})
        finally:
            if log is not None:
                log.close()
            lease.drop()
            engine.dispose()


def owed_in(receipts: ReceiptStore) -> Owed:
    """Return what tells the units that a gateway's kept Receipts prove to a supplier in a session."""
    return lambda supplier, session, gateway: sum(kept.units for kept in receipts.lanes(session, gateway, supplier))


def receipt_log(engine: Engine, receipts: ReceiptStore) -> ReceiptLog | None:
    """Return the log beside a SQLite store, what a killed run left in it kept; none where the store is a server."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    log = ReceiptLog(Path(engine.url.database).with_suffix(".receipts"))
    receipts.keep(log.replay())
    log.clear()
    return log


async def registration_facts(
    config: SupplierConfig, chain: Market, operators: Mapping[str, bytes]
) -> list[dict[str, Any]]:
    """Return what the chain says of the keys' registrations; what is not registered is left out."""
    rows = []
    for service in config.services:
        for name in config.sellers(service):
            found = await chain.registration_by(service_id(service.id), operators[name])
            if found is not None:
                rows.append(
                    {
                        "service": service.id,
                        "operator": checksum(found.operator),
                        "registration": found.id,
                        "listed": found.listed,
                        "price": found.price,
                        "configured_price": service.price,
                        "bond": found.bond,
                        "thawing": found.thawing,
                        "endpoint": found.endpoint,
                    }
                )
    return rows
