"""Makes a daemon cheat: what it signs is not what happened. Wrapped from outside, as tests.faults.crash."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pocketnode.chain.errors import TransactionFailed
from pocketnode.chain.market import Market
from pocketnode.crypto.keccak import keccak
from pocketnode.gateway.active import Purse
from pocketnode.protocol import lane
from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.statement import pack
from pocketnode.protocol.types import Entry, Grant, Response, Session
from pocketnode.settlement import account, claiming, proof, stating
from pocketnode.settlement.proof import Proof
from pocketnode.settlement.records import SessionRecords
from pocketnode.settlement.stating import Stating
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.journal import Intent
from pocketnode.store.pots import Pot, PotStage
from pocketnode.store.receipts import KeptReceipt, ReceiptStore
from pocketnode.transport import served
from tests.faults import serving_badly, signing_twice

# ---- suppliers, by what they sign

_seen: list[bytes] = []


def inflated(**facts: Any) -> Response:
    """Say a hundred times the units, far beyond the hold."""
    return Response(**{**facts, "units": facts["units"] * 100})


def another_request(**facts: Any) -> Response:
    """Answer the first request again and again: the Response names its Receipt."""
    _seen.append(facts["receipt"])
    return Response(**{**facts, "receipt": _seen[0]})


def another_answer(**facts: Any) -> Response:
    """Sign another payload than the one that was sent."""
    return Response(**{**facts, "payload": bytes(32)})


CHEATS: Final = {"inflated": inflated, "another-request": another_request, "another-answer": another_answer}


# ---- suppliers, by what they claim


def old_receipts() -> None:
    """Claim every session with the Receipts of the first one."""
    honest, first = proof.proof_of, list[Proof]()

    def proof_of(*args: Any) -> Proof:
        first.append(honest(*args))
        return first[0]

    vars(claiming)["proof_of"] = proof_of


def anothers_receipts() -> None:
    """Claim with the Receipts of the supplier whose store CHEAT_WITH names."""
    honest = proof.proof_of

    def proof_of(kept: list[KeptReceipt], domain: Any) -> Proof:
        engine = open_store(sqlite_url(Path(os.environ["CHEAT_WITH"])))
        pot = kept[0].receipt.receipt.session, kept[0].gateway
        anothers = ReceiptStore(engine).lanes(*pot)
        engine.dispose()
        assert anothers
        return honest(anothers, domain)

    vars(claiming)["proof_of"] = proof_of


# ---- gateways


def low_quality() -> None:
    """State the least quality for everybody."""
    honest = account.entries_of

    def entries_of(lines: Any, w_min: int) -> list[Entry]:
        return [replace(entry, quality=w_min) for entry in honest(lines, w_min)]

    vars(stating)["entries_of"] = entries_of


def short_statement() -> None:
    """State half of the units that were accepted."""
    honest = account.entries_of

    def entries_of(lines: Any, w_min: int) -> list[Entry]:
        return [replace(entry, units=entry.units // 2) for entry in honest(lines, w_min)]

    vars(stating)["entries_of"] = entries_of


def hidden_records() -> None:
    """Leave every second relay out of the records, though it was acknowledged."""
    honest, count = SessionRecords.append, [0]

    def append(self: SessionRecords, session: Session, record: RelayRecord) -> None:
        count[0] += 1
        if count[0] % 2:
            honest(self, session, record)

    vars_of(SessionRecords, append=append)


def two_statements() -> None:
    """State a session, and then again with one unit for each supplier."""
    honest = Stating.state

    async def state(self: Stating, pot: Pot) -> PotStage:
        stage = await honest(self, pot)
        entries = [Entry(entry.index, 1, entry.quality) for entry in await entries_in(self, pot)]
        target = self._market.deployment.contracts.settlement
        try:
            await self._sender.retry(Intent(f"second:{pot.id.hex()}", target, self.call_data(pot, pack(entries))))
        except TransactionFailed as refused:
            stating.log.info("second_statement_refused", reason=str(refused))
        return stage

    vars_of(Stating, state=state)


async def entries_in(self: Stating, pot: Pot) -> list[Entry]:
    session = await self._market.session(pot.application, pot.service, pot.number)
    return await self._entries(pot, session, await self._market.params(pot.number))


def reused_receipts() -> None:
    """Sign Receipts of one session for all."""
    honest = lane.request_receipt

    def request_receipt(known: lane.GatewayLane, request: bytes, hold: int) -> Any:
        after, receipt = honest(known, request, hold)
        return after, replace(receipt, session=keccak(b"another session"))

    vars(lane)["request_receipt"] = request_receipt


def expired_grant() -> None:
    """Go on as if the application had granted as much as ever."""

    async def grant(self: Market, application: bytes, gateway: bytes, service: bytes, number: int) -> Grant:
        return Grant(10**15, number)

    vars_of(Market, grant=grant)


def overspent_cap() -> None:
    """Spend without a look at what the grant allows."""
    vars_of(Purse, reserve=lambda self, worth: True)


def vars_of(of: type, **functions: Callable[..., Any]) -> None:
    for name, function in functions.items():
        setattr(of, name, function)


BOLD: Final = {
    "old-receipts": old_receipts,
    "anothers-receipts": anothers_receipts,
    "low-quality": low_quality,
    "short-statement": short_statement,
    "hidden-records": hidden_records,
    "two-statements": two_statements,
    "reused-receipts": reused_receipts,
    "expired-grant": expired_grant,
    "overspent-cap": overspent_cap,
}


def install(name: str) -> None:
    """Have this process act by a cheat's rule."""
    if name in BOLD:
        BOLD[name]()
    elif name in serving_badly.WAYS:
        serving_badly.install(name)
    elif name in signing_twice.WAYS:
        signing_twice.WAYS[name]()
    else:
        vars(served)["Response"] = CHEATS[name]
