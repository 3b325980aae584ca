"""What this supplier earned, and how each gateway's quality factor turned out for it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pocketnode.crypto.keys import checksum
from pocketnode.protocol.statement import FULL
from pocketnode.store.pots import FINISHED, Pot, PotStage, PotStore

REFRESH_S: Final = 10.0
SESSIONS_LEAST: Final = 3  # paid sessions of a gateway before its multiplier says anything


@dataclass(frozen=True, slots=True)
class GatewayPay:
    """What one gateway's sessions came to, in base units.

    Parameters
    ----------
    sessions : with their pay on chain.
    earned : what the receipts of those prove, at our price.
    paid : what came of it.
    pending : earned in sessions whose pay is not final.
    """

    sessions: int
    earned: int
    paid: int
    pending: int

    def multiplier(self, fee: int) -> float | None:
        """Return pay over what equal quality would pay (0.9 to 1.2 by rule 5.6), or None before it says anything.

        Parameters
        ----------
        fee : ten-thousandths.
        """
        net = self.earned * (FULL - fee) / FULL
        return self.paid / net if net and self.sessions >= SESSIONS_LEAST else None


class Money:
    """Looks at the pots that claiming and withdrawing keep.

    Parameters
    ----------
    pots : by operator; a key that is added later is looked at from then on.
    fee : ten-thousandths, of the running session.
    """

    def __init__(self, pots: Mapping[bytes, PotStore], fee: int) -> None:
        self._pots = pots
        self._fee = fee
        self._by_operator: dict[bytes, list[Pot]] = {}
        self.multipliers: dict[bytes, float] = {}

    async def run(self) -> None:
        """Look again every few seconds, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Read the pots."""
        stores = dict(self._pots)
        read = await asyncio.gather(*(asyncio.to_thread(store.all) for store in stores.values()))
        self._by_operator = dict(zip(stores, read, strict=True))
        found = {gateway: pay.multiplier(self._fee) for gateway, pay in by_gateway(self._known).items()}
        self.multipliers = {gateway: value for gateway, value in found.items() if value is not None}

    @property
    def _known(self) -> list[Pot]:
        return [pot for pots in self._by_operator.values() for pot in pots]

    def sums(self, operator: bytes) -> dict[str, int]:
        """Return what one key earned, was paid, waits for and missed, in base units, as last looked at."""
        return _sums(self._by_operator.get(operator, []))

    async def facts(self) -> dict[str, Any]:
        """Return sums and gateways as JSON values; amounts in base units."""
        await self.refresh()
        return {
            "money": _sums(self._known),
            "operators": [
                {"operator": checksum(operator), **_sums(pots)} for operator, pots in self._by_operator.items()
            ],
            "gateways": [self._gateway(gateway, pay) for gateway, pay in by_gateway(self._known).items()],
        }

    def _gateway(self, gateway: bytes, pay: GatewayPay) -> dict[str, Any]:
        multiplier = pay.multiplier(self._fee)
        return {
            "gateway": checksum(gateway),
            "paid_sessions": pay.sessions,
            "earned": pay.earned,
            "paid": pay.paid,
            "pending": pay.pending,
            "multiplier": None if multiplier is None else round(multiplier, 4),
        }


def _sums(pots: Sequence[Pot]) -> dict[str, int]:
    return {
        "earned": sum(pot.earned for pot in pots),
        "paid": sum(pot.paid for pot in pots),
        "pending": sum(_pending(pot) for pot in pots),
        "missed": sum(pot.earned for pot in pots if pot.stage is PotStage.MISSED),
    }


def by_gateway(pots: Iterable[Pot]) -> Mapping[bytes, GatewayPay]:
    """Return what each gateway's pots came to."""
    grouped: defaultdict[bytes, list[Pot]] = defaultdict(list)
    for pot in pots:
        grouped[pot.gateway].append(pot)
    return {gateway: _pay(own) for gateway, own in grouped.items()}


def _pay(pots: list[Pot]) -> GatewayPay:
    paid = [pot for pot in pots if pot.stage is PotStage.PAID]
    return GatewayPay(
        len(paid), sum(pot.earned for pot in paid), sum(pot.paid for pot in paid), sum(_pending(pot) for pot in pots)
    )


def _pending(pot: Pot) -> int:
    return 0 if pot.stage in FINISHED else max(pot.earned, pot.stated, pot.claimed)
