"""Looks after the money of a supplier's keys: claims, withdrawals, prices. Of processes with one store, one does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Engine

from pocketnode import daemon
from pocketnode.chain.follower import Follower
from pocketnode.chain.heads import confirmations_of
from pocketnode.chain.market import Market
from pocketnode.chain.sender import Sender
from pocketnode.crypto.keys import Key, checksum
from pocketnode.daemon import Job
from pocketnode.protocol.quality import Slo
from pocketnode.protocol.session import pot_id, service_id
from pocketnode.settlement.auditing import Auditing, facts_of
from pocketnode.settlement.claiming import Claiming
from pocketnode.settlement.hearing import Hearing
from pocketnode.settlement.poking import Poking
from pocketnode.settlement.pruning import Pruning
from pocketnode.settlement.withdrawing import Withdrawing, WithdrawPolicy
from pocketnode.store.audits import AuditRow, AuditStage, AuditStore
from pocketnode.store.events import EventStore
from pocketnode.store.journal import Journal
from pocketnode.store.lease import Lease
from pocketnode.store.pots import PotStore
from pocketnode.store.receipts import ReceiptStore
from pocketnode.supplier.account import GatewayAccount
from pocketnode.supplier.config import SupplierConfig
from pocketnode.supplier.metrics import Gauge
from pocketnode.supplier.money import Money
from pocketnode.supplier.offers import spec_of
from pocketnode.supplier.pricing import Pricing
from pocketnode.transport.records import HttpRecords

LEASE_EVERY_S = 1.0
_log = structlog.get_logger("supplier.settling")


@dataclass(frozen=True, slots=True)
class KeyBook:
    """What is kept and sent for one key, and the jobs that do."""

    sender: Sender
    pricing: Pricing
    auditing: Auditing
    jobs: dict[str, Job]


class Settling:
    """`run` is a job of the daemon; of several processes with one store, those without the lease wait for it.

    Parameters
    ----------
    keys : the operator keys by name.
    fee : ten-thousandths, of the running session.
    """

    def __init__(
        self, config: SupplierConfig, keys: Mapping[str, Key], market: Market, engine: Engine, lease: Lease, fee: int
    ) -> None:
        self.pots: dict[bytes, PotStore] = {}
        self.money = Money(self.pots, fee)
        self.leading = False
        self._market, self._engine, self._lease = market, engine, lease
        self._confirmations = confirmations_of(config.settlement.confirmations, market.deployment.windows.statement)
        self._follower = Follower(market.reader, market.heads, EventStore(engine), self._confirmations)
        self._slos: dict[bytes, Slo] = {}
        self._books: dict[bytes, KeyBook] = {}
        self._names: dict[bytes, str] = {}
        self._changed = asyncio.Event()
        self.adopt(config, keys)

    def adopt(self, config: SupplierConfig, keys: Mapping[str, Key]) -> None:
        """Go on with other keys and prices. The money of a key that is gone is looked after until a restart."""
        self._slos |= {service_id(s.id): spec_of(s).slo_rule() for s in config.services}
        for name, key in keys.items():
            sold = {service_id(s.id): s.price for s in config.services if name in config.sellers(s)}
            wanted = sold if config.settlement.prices else {}
            self._names[key.address] = name
            if key.address in self._books:
                self._books[key.address].pricing.want(wanted)
            else:
                self.pots[key.address] = PotStore(self._engine, key.address)
                self._books[key.address] = self._book(config, key, wanted)
        self._changed.set()

    async def run(self) -> None:
        """Settle while this process has the lease, until cancelled.

        Raises
        ------
        Unavailable
            the lease is lost; to be begun again.
        """
        try:
            await self._wait_turn()
            _log.info("settling", keys=[checksum(address) for address in self._books])
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_turn())
                for name, job in daemon.patient({"events": self._follower.run}).items():
                    group.create_task(job(), name=name)
                await self._begin_books(group)
        finally:
            self.leading = False
            await asyncio.to_thread(self._lease.drop)

    async def facts(self) -> dict[str, Any]:
        """Return what came in and what is left for gas, by key and in all, as JSON values."""
        facts = await self.money.facts()
        for row in facts["operators"]:
            address = bytes.fromhex(row["operator"][2:])
            raw = await self._market.reader.rpc.ask("eth_getBalance", row["operator"], "latest")
            row |= {"name": self._names[address], "gas_wei": int(raw, 16)}
        audits = facts_of([row for book in self._books.values() for row in book.auditing.known])
        gas_wei = min(row["gas_wei"] for row in facts["operators"])
        return {**facts, **audits, "gas_wei": gas_wei, "settles": self.leading}

    def hearing(self, accounts: Callable[[], Iterable[GatewayAccount]]) -> Hearing:
        """Return the job that writes down what sessions say that audits need."""
        return Hearing(self._engine, lambda: map(_heard, accounts()))

    def gauges(self) -> Iterable[Gauge]:
        """Return the numbers that a scrape shows; gas where this process settles."""
        for stage in (stage for stage in AuditStage if stage is not AuditStage.WAITING):
            ended = sum(book.auditing.ended[stage] for book in self._books.values())
            yield Gauge("audits_total", "statements recomputed, by what came of it", ended, (("result", str(stage)),))
        yield Gauge("settles", "1 where this process holds the store's lease", float(self.leading))
        for address, book in self._books.items():
            label = (("operator", self._names[address]),)
            if book.sender.balance_wei is not None:
                yield Gauge("gas_wei", "what the key has for gas", book.sender.balance_wei, label)
            sums = self.money.sums(address)
            yield Gauge("pending_amount", "earned and not final", sums["pending"], label)
            yield Gauge("paid_amount", "sent to the payout addresses", sums["paid"], label)
            yield Gauge("missed_amount", "not claimed in time", sums["missed"], label)

    async def _wait_turn(self) -> None:
        waits = False
        while not await asyncio.to_thread(self._lease.take):
            if not waits:
                _log.info("another process settles", store=self._engine.url.render_as_string())
            waits = True
            await asyncio.sleep(LEASE_EVERY_S)
        self.leading = True

    async def _keep_turn(self) -> None:
        while True:
            await asyncio.sleep(LEASE_EVERY_S)
            await asyncio.to_thread(self._lease.confirm)

    async def _begin_books(self, group: asyncio.TaskGroup) -> None:
        """Begin the jobs of every key, and of those that are added later."""
        begun: set[bytes] = set()
        while True:
            self._changed.clear()
            for address in self._books.keys() - begun:
                begun.add(address)
                for name, job in daemon.patient(self._books[address].jobs).items():
                    group.create_task(job(), name=f"{name} of {checksum(address)}")
            await self._changed.wait()

    def _book(self, config: SupplierConfig, key: Key, wanted: Mapping[bytes, int]) -> KeyBook:
        market, settings, pots = self._market, config.settlement, self.pots[key.address]
        receipts, journal = ReceiptStore(self._engine), Journal(self._engine, key.address)
        chain_id = market.deployment.chain_id
        sender = Sender(
            market.reader.rpc,
            market.heads,
            key,
            journal,
            chain_id,
            self._confirmations,
            low_wei=settings.least_gas_wei,
        )
        pricing = Pricing(market, sender, wanted)
        shared = market, self._follower, sender, key.address, receipts, pots
        policy = WithdrawPolicy(
            settings.least_withdrawal, settings.withdraw_age_blocks, settings.withdraw_base_fee_wei or None
        )
        audits = AuditStore(self._engine, key.address)
        source = HttpRecords(int(settings.audit_mib * 1024 * 1024))
        auditing = Auditing(market, self._follower, key.address, receipts, audits, source, self._slos.__getitem__)
        pruning = Pruning(market, key.address, pots, EventStore(self._engine), journal, receipts, audits=audits)
        jobs: dict[str, Job] = {"sender": sender.run, "pruning": pruning.run}
        jobs["seeds"] = Poking(market, sender, key.address, pots).run
        if settings.prices:
            jobs["prices"] = pricing.run
        if settings.claim:
            jobs["claims"] = Claiming(*shared, settings.least_claim).run
        if settings.withdraw:
            jobs["withdrawals"] = Withdrawing(*shared, policy).run
        if settings.audit:
            jobs["audits"] = auditing.run
        return KeyBook(sender, pricing, auditing, jobs)


def _heard(account: GatewayAccount) -> tuple[bytes, AuditRow]:
    """Return what an account knows of its session's records; served is what this process knows of since its start."""
    session, gateway = account.pot.session, account.pot.gateway
    place = pot_id(session.id, gateway), session.application, session.service, session.number, gateway
    return account.pot.us.operator, AuditRow(*place, account.records, account.statable_units)
