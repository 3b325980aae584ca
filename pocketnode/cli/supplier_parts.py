"""What a supplier stands on, opened from its configuration: key, chain, store, and the jobs that settle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Engine

from pocketnode.chain import deployment as deployments
from pocketnode.chain.client import Rpc
from pocketnode.chain.follower import Follower
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.chain.sender import Sender
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import Key
from pocketnode.daemon import Job
from pocketnode.protocol.session import service_id
from pocketnode.settlement.claiming import Claiming
from pocketnode.settlement.pruning import Pruning
from pocketnode.settlement.withdrawing import Withdrawing, WithdrawPolicy
from pocketnode.store.engine import open_store
from pocketnode.store.events import EventStore
from pocketnode.store.history import HistoryStore
from pocketnode.store.journal import Journal
from pocketnode.store.pots import PotStore
from pocketnode.store.receipt_log import ReceiptLog
from pocketnode.store.receipts import ReceiptStore
from pocketnode.supplier.answerer import Owed
from pocketnode.supplier.config import SupplierConfig
from pocketnode.supplier.daemon import Outside
from pocketnode.supplier.money import Money
from pocketnode.web.explorer import Explorer
from pocketnode.web.own import OwnPots
from pocketnode.web.ports import Panel

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("supplier.yaml"),
    show_default=True,
    help="The supplier's configuration file.",
)


@dataclass(frozen=True, slots=True)
class OnChain:
    """The operator's key and the deployment that it works in."""

    key: Key
    rpc: Rpc
    market: Market
    heads: Heads


@dataclass(frozen=True, slots=True)
class Settling:
    """What looks after the money, and the jobs that do."""

    market: Market
    money: Money
    sender: Sender
    jobs: dict[str, Job]
    panels: tuple[Panel, ...]
    history: HistoryStore


@asynccontextmanager
async def on_chain(config: SupplierConfig) -> AsyncIterator[OnChain]:
    """Open key and chain.

    Raises
    ------
    ConfigError
        a file is missing or malformed, or the nodes are of another chain.
    Unavailable
        no node answers.
    """
    deployment = deployments.read(config.deployment)
    key = keystore.load(config.keystore, keystore.password_from(config.password_file))
    async with Rpc(config.rpc) as rpc:
        reader = Reader(rpc, deployment)
        await reader.check_chain()
        heads = Heads(rpc)
        await heads.refresh()
        yield OnChain(key, rpc, Market(reader, heads), heads)


@asynccontextmanager
async def opened(config: SupplierConfig) -> AsyncIterator[tuple[Outside, Settling]]:
    """Open everything that the daemon stands on."""
    async with on_chain(config) as chain:
        engine = open_store(config.store)
        receipts = ReceiptStore(engine)
        log = receipt_log(engine, receipts)
        try:
            settling = await _settling(config, chain, engine)
            deployment = chain.market.deployment
            looks = settling.money, settling.panels, settling.history
            seen = chain.key, deployment.domain, chain.market, chain.heads
            yield Outside(*seen, receipts, *looks, log, owed_in(receipts, chain.key.address)), settling
        finally:
            if log is not None:
                log.close()
            engine.dispose()


def owed_in(receipts: ReceiptStore, operator: bytes) -> Owed:
    """Return what tells the units that a gateway's kept Receipts prove in a session."""
    return lambda session, gateway: sum(kept.units for kept in receipts.lanes(session, gateway, operator))


def receipt_log(engine: Engine, receipts: ReceiptStore) -> ReceiptLog | None:
    """Return the log beside a SQLite store, what a killed run left in it kept; none where the store is a server."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    log = ReceiptLog(Path(engine.url.database).with_suffix(".receipts"))
    receipts.keep(log.replay())
    log.clear()
    return log


async def _settling(config: SupplierConfig, chain: OnChain, engine: Engine) -> Settling:
    wanted, operator, market = config.settlement, chain.key.address, chain.market
    receipts, pots = ReceiptStore(engine), PotStore(engine, operator)
    events, journal = EventStore(engine), Journal(engine, operator)
    follower = Follower(market.reader, chain.heads, events)
    sender = Sender(
        chain.rpc, chain.heads, chain.key, journal, market.deployment.chain_id, low_wei=wanted.least_gas_wei
    )
    claiming = Claiming(market, follower, sender, operator, receipts, pots, wanted.least_claim)
    policy = WithdrawPolicy(wanted.least_withdrawal, wanted.withdraw_age_blocks)
    withdrawing = Withdrawing(market, follower, sender, operator, receipts, pots, policy)
    money = Money(pots, (await market.params(market.number_now())).fee)
    jobs: dict[str, Job] = {"heads": chain.heads.run, "events": follower.run, "sender": sender.run, "money": money.run}
    if wanted.claim:
        jobs["claims"] = claiming.run
    if wanted.withdraw:
        jobs["withdrawals"] = withdrawing.run
    explorer = Explorer(market.reader, market)
    jobs["explorer"] = explorer.run
    jobs["pruning"] = Pruning(market, operator, pots, events, journal, receipts).run
    return Settling(market, money, sender, jobs, (explorer, OwnPots(pots)), HistoryStore(engine))


async def registration_facts(config: SupplierConfig, chain: Market, operator: bytes) -> list[dict[str, Any]]:
    """Return what the chain says of this operator's registrations; services without one are left out."""
    rows = []
    for service in config.services:
        found = await chain.registration_by(service_id(service.id), operator)
        if found is not None:
            rows.append(
                {
                    "service": service.id,
                    "registration": found.id,
                    "listed": found.listed,
                    "price": found.price,
                    "bond": found.bond,
                    "thawing": found.thawing,
                    "endpoint": found.endpoint,
                }
            )
    return rows
