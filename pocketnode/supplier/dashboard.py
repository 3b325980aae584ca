"""What the dashboard shows of a supplier, and what its operator should act upon."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pocketnode.crypto.keys import checksum
from pocketnode.errors import PocketError
from pocketnode.supplier.answerer import SupplierAnswerer
from pocketnode.supplier.status import Status

MONEY_EVERY_S: Final = 10.0
GAS_LOW_WEI: Final = 10**16
MULTIPLIER_LOW: Final = 0.95
DISAGREEMENTS_SHOWN: Final = 3
Facts = Mapping[str, Any]


class SupplierSource:
    """Facts of one supplier. `money` reads what is on chain and in the books; None where nothing settles."""

    def __init__(
        self,
        operators: Callable[[], Sequence[bytes]],
        answerer: SupplierAnswerer,
        status: Status,
        money: Callable[[], Awaitable[dict[str, Any]]] | None,
        with_chain: bool,
    ) -> None:
        self._operators = operators
        self._answerer = answerer
        self._status = status
        self._money = money
        self._pages = ["operator", "explorer"] if with_chain else ["operator"]
        self._known: dict[str, Any] = {}
        self._known_s = -math.inf
        self._started_s = time.monotonic()

    async def about(self) -> dict[str, Any]:
        """Return who this is and what it sells."""
        services = [
            {
                "id": offer.spec.id,
                "kind": offer.spec.kind,
                "title": offer.spec.title,
                "models": offer.spec.models,
                "slo": {
                    "first_byte_ms": offer.spec.slo.first_byte_ms,
                    "tokens_per_second": offer.spec.slo.tokens_per_second,
                },
            }
            for offer in self._answerer.offers.values()
        ]
        addresses = [checksum(address) for address in self._operators()]
        told = {"address": addresses[0], "addresses": addresses, "pages": self._pages, "services": services}
        return {"role": "supplier", **told}

    async def now(self) -> dict[str, Any]:
        """Return load, sessions and money, and what to act upon."""
        facts = {**self._status.facts(), **await self._read_money()}
        found = [{"level": level, "words": words} for level, words in alerts(facts)]
        return {**facts, "uptime_s": round(time.monotonic() - self._started_s, 1), "alerts": found}

    async def _read_money(self) -> dict[str, Any]:
        """Return what costs a read of the chain, `MONEY_EVERY_S` old at most; what was last while the chain is away."""
        if self._money is None or time.monotonic() - self._known_s < MONEY_EVERY_S:
            return self._known
        try:
            self._known = await self._money()
        except PocketError as error:
            return {**self._known, "problem": str(error)}
        self._known_s = time.monotonic()
        return self._known


def alerts(facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield (`bad` or `warn`, what is wrong and what helps)."""
    for missing in facts["missing"]:
        yield "bad", f"Not ready: {missing}."
    yield from _backend_alerts(facts)
    if facts["store_failures"]:
        yield "bad", "Receipts could not be written to the store: check its disk. Unwritten Receipts are unpaid work."
    yield from _money_alerts(facts)


def _backend_alerts(facts: Facts) -> Iterator[tuple[str, str]]:
    for service in facts["services"]:
        down = [backend for backend in service["backends"] if backend["state"] != "closed"]
        for backend in down:
            level = "bad" if len(down) == len(service["backends"]) else "warn"
            reason = backend["last_error"] or "it failed"
            yield level, f"Backend {backend['name']} of {service['id']} is not in full use: {reason}."
        if service["waiting"]:
            yield "warn", f"{service['waiting']} requests for {service['id']} wait for a free backend."


def _money_alerts(facts: Facts) -> Iterator[tuple[str, str]]:
    gas_wei = facts.get("gas_wei")
    if gas_wei is not None and gas_wei < GAS_LOW_WEI:
        yield "bad", f"The operator key has {gas_wei / 10**18:.4f} of the chain's coin left for gas: send it some."
    registered = {row["service"] for row in facts.get("registrations", ())}
    for service in facts["services"] if "registrations" in facts else ():
        if service["id"] not in registered:
            yield "bad", f"{service['id']} is not registered: pocketnode supplier register."
    for row in facts.get("registrations", ()):
        if not row["listed"]:
            yield "bad", f"The registration of {row['service']} is not listed: add to its bond and join again."
    missed = facts.get("money", {}).get("missed", 0)
    if missed:
        yield "warn", f"{missed} base units were not claimed in time."
    for row in facts.get("disagreements", ())[:DISAGREEMENTS_SHOWN]:
        session = f"session {row['session']} of {row['service']}"
        yield "bad", f"Gateway {row['gateway'][:10]}… stated {session} otherwise than its records say: {row['note']}."
    for row in facts.get("gateways", ()):
        if row["multiplier"] is not None and row["multiplier"] < MULTIPLIER_LOW:
            who, pays = f"{row['gateway'][:10]}…", f"{row['multiplier']:.3f}"
            yield "warn", f"Gateway {who} pays {pays} of what equal quality would: see latency and failures."
