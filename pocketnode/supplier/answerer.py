"""Who may open a lane (rules 3.5 and 3.7), and which backends answer what comes over it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from cachetools import TTLCache

from pocketnode.backends.pool import Pool
from pocketnode.backends.ports import Answered
from pocketnode.backends.websocket import subscribes
from pocketnode.errors import RemoteError, Unavailable
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.session import end_of, service_name, start_of
from pocketnode.protocol.types import Params
from pocketnode.services.spec import ServiceSpec
from pocketnode.supplier.account import Credit, GatewayAccount, Kept, Pot
from pocketnode.supplier.config import Limits, Policy
from pocketnode.supplier.metrics import Metrics
from pocketnode.supplier.ports import Clock, Experience, Market
from pocketnode.supplier.selftest import SelfAccount
from pocketnode.transport.ports import Account, LaneTerms, Opening, Relay, Served

# Opening a lane reads the chain before anything is signed: strangers share these few reads and cannot starve us.
READS_MOST: Final = 8
READS_WAITING_MOST: Final = 64
REFUSALS_KEPT: Final = 4096
REFUSED_FOR_S: Final = 2.0
_log = structlog.get_logger("supplier.answerer")
Owed = Callable[[bytes, bytes, bytes], int]
AccountKey = tuple[bytes, bytes, bytes]  # supplier, session, gateway


@dataclass(slots=True)
class Offer:
    """One service that is sold here, under which keys, and who answers it; subscriptions keep places of their own."""

    spec: ServiceSpec
    operators: frozenset[bytes]
    pool: Pool
    subscriptions: Pool | None = None

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All its pools."""
        return (self.pool,) if self.subscriptions is None else (self.pool, self.subscriptions)

    def pool_for(self, body: bytes) -> Pool:
        """Return the pool that answers a request."""
        return self.pool if self.subscriptions is None or not subscribes(body) else self.subscriptions


class SupplierAnswerer:
    """Implements `transport.ports.Answerer`.

    Parameters
    ----------
    offers : by 32-byte service id.
    policy : whom to serve; replaced on reload.
    clock : the newest block.
    owed : units that a gateway owes a supplier in a session since before a restart; they count for rule 3.8.
    """

    def __init__(
        self,
        offers: Mapping[bytes, Offer],
        policy: Policy,
        limits: Limits,
        market: Market,
        clock: Clock,
        kept: Kept,
        metrics: Metrics,
        experience: Experience | None = None,
        owed: Owed = lambda supplier, session, gateway: 0,
    ) -> None:
        self.offers = dict(offers)
        self.policy = policy
        self.draining = False
        self._limits = limits
        self._market = market
        self._clock = clock
        self._kept = kept
        self._metrics = metrics
        self._experience = experience
        self._owed = owed
        self._accounts: dict[AccountKey, GatewayAccount] = {}
        self._credits: dict[AccountKey, Credit] = {}  # by supplier, gateway, service
        self._reads = asyncio.Semaphore(READS_MOST)
        self._reading = 0
        self._refused: TTLCache[tuple[bytes | int, ...], RemoteError] = TTLCache(REFUSALS_KEPT, REFUSED_FOR_S)

    @property
    def accounts(self) -> tuple[GatewayAccount, ...]:
        """Accounts of sessions that are not over."""
        return tuple(self._accounts.values())

    async def admit(self, opening: Opening) -> Account:
        """Return the account that a lane runs on; what costs nothing is checked before the chain is read."""
        if self.draining:
            raise Unavailable("the supplier drains", 1.0)
        if opening.gateway == opening.supplier:
            return SelfAccount()
        self._check_policy(opening.gateway)
        offer = self.offers.get(opening.service)
        if offer is None or opening.supplier not in offer.operators:
            raise RemoteError("3.7", "this service is not served here")
        account = self._accounts.get(_account_key(opening))
        if account is None or account.over:
            account = await self._new_account(opening)
        account.lanes += 1
        account.records = opening.records or account.records
        return account

    async def answer(self, relay: Relay) -> Served:
        """Answer one relay through the service's backends."""
        offer = self.offers.get(relay.opening.service)
        if offer is None:
            raise RelayFailed(FaultClass.NOT_IN_SESSION, "this service is no longer served here")
        with self._metrics.relay(offer.spec.id, "0x" + relay.opening.gateway.hex()) as watch:
            answered = await self._ask(offer, relay)
            watch.units, watch.price = answered.units, self._price_of(relay.opening)
        return Served(answered.units, answered.backend)

    async def _ask(self, offer: Offer, relay: Relay) -> Answered:
        """Answer through the pool. A bug of ours ends one relay, as our fault, and not the lane that waits for it."""
        try:
            return await offer.pool_for(relay.body).answer(relay)
        except RelayFailed:
            raise
        except Exception as error:
            _log.exception("relay failed for a reason of our own", service=offer.spec.id)
            raise RelayFailed(FaultClass.BACKEND, f"internal: {type(error).__name__}") from error

    def _price_of(self, opening: Opening) -> int:
        account = self._accounts.get(_account_key(opening))
        return account.pot.us.price if account is not None else 0

    def adopt(self, offers: Mapping[bytes, Offer], policy: Policy, limits: Limits) -> None:
        """Go on with other offers, policy and limits; relays in flight finish where they are."""
        self.offers = dict(offers)
        self.policy = policy
        self._limits = limits
        for (_, gateway, _), credit in self._credits.items():
            credit.limit = self._credit_of(gateway)
        for account in self._accounts.values():
            account.terms = self._terms_of(account.pot.gateway)
            account.most_owed = self._most_owed(account.pot)

    async def look_elsewhere(self) -> None:
        """Read what replicas have served of each account: escrow guarantees one sum for all of them (rule 3.8)."""
        for key, account in list(self._accounts.items()):
            account.count_elsewhere(await asyncio.to_thread(self._owed, *key))

    def forget_ended(self) -> None:
        """Drop the accounts of sessions whose grace is over and that no lane uses, and credits that nobody uses."""
        for key, account in list(self._accounts.items()):
            if account.over and account.lanes <= 0 and not account.unsaved:
                account.forget()
                del self._accounts[key]
        used = {_credit_key(account.pot) for account in self._accounts.values()}
        self._credits = {key: credit for key, credit in self._credits.items() if key in used}

    async def _new_account(self, opening: Opening) -> GatewayAccount:
        key = (opening.supplier, opening.application, opening.service, opening.number, opening.gateway)
        if key in self._refused:
            raise self._refused[key]
        try:
            account = await self._reading_bounded(lambda: self._read_account(opening))
        except RemoteError as refusal:
            self._refused[key] = refusal
            _log.info("lane refused", gateway=f"0x{opening.gateway.hex()}", reason=str(refusal))
            raise
        account.count_elsewhere(await asyncio.to_thread(self._owed, *_account_key(opening)))
        return self._accounts.setdefault(_account_key(opening), account)

    async def _reading_bounded(self, read: Callable[[], Awaitable[GatewayAccount]]) -> GatewayAccount:
        if self._reading >= READS_WAITING_MOST:
            raise Unavailable("too many lanes are being opened", 1.0)
        self._reading += 1
        try:
            async with self._reads:
                return await read()
        finally:
            self._reading -= 1

    async def _read_account(self, opening: Opening) -> GatewayAccount:
        now = self._market.number_now()
        if abs(opening.number - now) > 1:
            raise RemoteError("3.7", f"session {opening.number}, while {now} runs")
        params = await self._market.params(now)
        self._check_time(opening.number, params)
        session = await self._market.session(opening.application, opening.service, opening.number)
        us = session.supplier(opening.supplier)
        if us is None or not session.covered:
            raise RemoteError("3.7", f"session {opening.number} {'is not covered' if us else 'does not list us'}")
        if us.price < self.policy.least_price.get(service_name(opening.service), 0):
            raise RemoteError("3.7", f"registered at {us.price}, below what this supplier serves for")
        grant = await self._market.grant(opening.application, opening.gateway, opening.service, opening.number)
        if grant is None or grant.cap == 0:
            raise RemoteError("3.5", f"no grant for gateway 0x{opening.gateway.hex()}")
        return self._account(Pot(session, opening.gateway, us, grant), session.end + params.grace)

    def _check_policy(self, gateway: bytes) -> None:
        if not self.policy.serves(gateway):
            raise RemoteError("3.5", "this gateway is not served here")
        least = self.policy.least_multiplier
        multiplier = self._experience.multipliers.get(gateway) if self._experience else None
        if multiplier is not None and multiplier < least:
            raise RemoteError("3.5", f"this gateway's sessions paid {multiplier:.2f}, {least:.2f} is asked")

    def _check_time(self, number: int, params: Params) -> None:
        block = self._clock.number
        if block > end_of(number, params) + params.grace:
            raise RemoteError("3.7", f"session {number} is over at block {block}")
        if block + params.grace < start_of(number, params):
            raise RemoteError("3.7", f"session {number} has not begun at block {block}")

    def _account(self, pot: Pot, last_block: int) -> GatewayAccount:
        credit = self._credits.setdefault(_credit_key(pot), Credit(self._credit_of(pot.gateway)))
        account = GatewayAccount(pot, credit, self._terms_of(pot.gateway), self._kept, self._clock, last_block)
        account.most_owed = self._most_owed(pot)
        return account

    def _credit_of(self, gateway: bytes) -> int:
        """Return this process's share of a gateway's credit."""
        return max(1, self.policy.credit_of(gateway) // self._limits.replicas)

    def _terms_of(self, gateway: bytes) -> LaneTerms:
        most = int(self._limits.request_mib * 1024 * 1024)
        return LaneTerms(min(self._credit_of(gateway), 2**63), self._limits.in_flight_per_lane, most)

    def _most_owed(self, pot: Pot) -> int:
        return 2**63 if self.policy.over_serve else pot.guarantee


def _account_key(opening: Opening) -> AccountKey:
    return opening.supplier, opening.session, opening.gateway


def _credit_key(pot: Pot) -> AccountKey:
    return pot.us.operator, pot.gateway, pot.session.service
