"""Has registrations ask the prices of the configuration: an operator key may change the price of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from pocketnode.chain import operations
from pocketnode.chain.actor import Actor
from pocketnode.chain.errors import Expired, TransactionFailed
from pocketnode.chain.market import Market
from pocketnode.chain.sender import Sender
from pocketnode.protocol.session import service_name

_log = structlog.get_logger("supplier.pricing")


class Pricing:
    """Compares the prices of one key's registrations with those wanted. `run` is a job of its daemon.

    Parameters
    ----------
    wanted : price by 32-byte service id, base units per million units.
    """

    def __init__(self, market: Market, sender: Sender, wanted: Mapping[bytes, int]) -> None:
        self._market, self._sender, self._wanted = market, sender, dict(wanted)
        self._changed = asyncio.Event()

    def want(self, wanted: Mapping[bytes, int]) -> None:
        """Go on with other prices; they hold from the session after the next block."""
        self._wanted = dict(wanted)
        self._changed.set()

    async def run(self) -> None:
        """Compare at the start and whenever other prices are wanted, until cancelled."""
        while True:
            self._changed.clear()
            for service, price in self._wanted.items():
                await self._compare(service, price)
            await self._changed.wait()

    async def _compare(self, service: bytes, price: int) -> None:
        found = await self._market.registration_by(service, self._sender.address)
        if found is None or found.price == price:
            return
        told = {"service": service_name(service), "registration": found.id, "price": price}
        try:
            await operations.set_price(Actor(self._market.reader, self._sender), found.id, price)
        except (TransactionFailed, Expired) as error:
            _log.error("price_not_set", **told, registered=found.price, reason=str(error))
            return
        _log.info("price_set", **told, before=found.price)
