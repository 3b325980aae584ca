"""A supplier's claims: what a gateway's statement leaves out of what its own receipts prove."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from pocketnode.chain.contracts import contract
from pocketnode.chain.errors import Expired, TransactionFailed
from pocketnode.chain.events import Priced, Stated
from pocketnode.chain.follower import Follower
from pocketnode.chain.heads import Block
from pocketnode.chain.market import Market
from pocketnode.chain.sender import Sender
from pocketnode.crypto.keccak import keccak
from pocketnode.errors import Corrupt, PocketError, Unavailable
from pocketnode.protocol.session import end_of, payable_from, session_id
from pocketnode.protocol.statement import amount_down
from pocketnode.protocol.types import Params, SessionSupplier
from pocketnode.settlement.proof import proof_of
from pocketnode.store.journal import Intent
from pocketnode.store.pots import Pot, PotStage, PotStore
from pocketnode.store.receipts import PotKey, ReceiptStore

log = structlog.get_logger(__name__)

JITTER_SHARE: Final = 2  # claims are spread over the first half of the window: time is left to try again


class Claiming:
    """Compares each pot of one operator with its statement, and claims. `run` is a job of its daemon.

    Parameters
    ----------
    least : a claim that gains less than this many base units is not made, since it costs gas.
    """

    def __init__(
        self,
        market: Market,
        follower: Follower,
        sender: Sender,
        operator: bytes,
        receipts: ReceiptStore,
        pots: PotStore,
        least: int = 1,
    ) -> None:
        self._market, self._follower, self._sender, self._operator = market, follower, sender, operator
        self._receipts, self._pots, self._least = receipts, pots, least
        self._busy: set[bytes] = set()
        self._foreign: set[bytes] = set()  # pots whose statements do not name us; as many as events are kept
        self._services: dict[bytes, bool] = {}  # whether this operator was ever registered in a service

    async def run(self) -> None:
        """Compare what is due whenever the chain has moved, until cancelled."""
        head: Block | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                head = await self._market.heads.changed(head)
                try:
                    await self.note_pots()
                    await self.doubt()
                    for pot in await self._due_at(head.number):
                        self._busy.add(pot.id)
                        group.create_task(self._try(pot))
                except Unavailable as error:
                    log.warning("claims_wait", error=str(error))

    async def note_pots(self) -> None:
        """Note every pot that receipts are kept for, or that a statement names this supplier in.

        The second finds what is owed where the store was lost: a statement pays without receipts.
        """
        known = {pot.id for pot in await asyncio.to_thread(self._pots.all)}
        for key in await asyncio.to_thread(self._receipts.pots):
            if key.supplier == self._operator and key.pot not in known:
                await self._open(key.application, key.service, key.number, key.gateway)
        for event in await self._follower.events(Stated):
            if event.pot not in known and event.pot not in self._foreign:
                await self._look_at(event)

    async def _look_at(self, event: Stated) -> None:
        try:
            if not await self._adopt(event):
                self._foreign.add(event.pot)
        except Unavailable as error:  # looked at again with the next block; what is known must not wait for it
            log.debug("statement_unread", pot=event.pot.hex(), error=str(error))

    async def _adopt(self, event: Stated) -> bool:
        """Note the pot of a statement if that names this supplier; return whether it does."""
        if not await self._offers(event.service):
            return False
        session = await self._market.session(event.application, event.service, event.session)
        me = session.supplier(self._operator)
        if me is None or all(entry.index != me.index for entry in event.entries):
            return False
        await self._open(event.application, event.service, event.session, event.gateway)
        return True

    async def _offers(self, service: bytes) -> bool:
        if service not in self._services:
            self._services[service] = await self._market.registration_by(service, self._operator) is not None
        return self._services[service]

    async def _open(self, application: bytes, service: bytes, number: int, gateway: bytes) -> None:
        params = await self._market.params(number)
        until = end_of(number, params) + params.statement_window
        pot = Pot(application, service, number, session_id(application, service, number), gateway, until=until)
        await asyncio.to_thread(self._pots.open, pot)

    async def doubt(self) -> None:
        """Open pots again whose statement a reorg took back: while the claim window is open, they can be claimed."""
        for pot in await asyncio.to_thread(self._pots.all, [PotStage.STATED]):
            if self._market.head >= pot.until:
                continue  # nothing can be claimed any more
            session = await self._market.session(pot.application, pot.service, pot.number)
            me = session.supplier(self._operator)
            own = (await self._stated(pot, me))[1] if me else None
            if own is None or own.amount != pot.stated:
                log.warning("statement_unwound", pot=pot.id.hex(), session=pot.number)
                await self._end(pot, PotStage.OPEN, "a reorg took the statement back")

    async def compare(self, pot: Pot) -> PotStage:
        """Compare a pot whose statement window is over with its statement; claim if that is short or missing.

        Raises
        ------
        TransactionFailed
            the contract refuses the claim; tried again while the window is open.
        Unavailable
            no node answers.
        """
        params = await self._market.params(pot.number)
        closes = end_of(pot.number, params) + params.statement_window
        await self._follower.wait(closes)
        session = await self._market.session(pot.application, pot.service, pot.number)
        me = session.supplier(self._operator)
        if me is None:
            return await self._end(pot, PotStage.EMPTY, "this supplier is not in the session")
        priced, own = await self._stated(pot, me)
        kept = await asyncio.to_thread(self._receipts.lanes, pot.session, pot.gateway, self._operator)
        proof = proof_of(kept, self._market.deployment.domain)
        earned, stated = amount_down(proof.units, me.price), own.amount if own else 0
        place = {"registration": me.registration, "rank": session.suppliers.index(me)}
        await asyncio.to_thread(lambda: self._pots.change(pot.id, earned=earned, stated=stated, **place))
        if earned - stated < max(1, self._least):
            return await self._settle_for(pot, stated, params)
        log.info("claiming", pot=pot.id.hex(), session=pot.number, earned=earned, stated=stated)
        key = (pot.application, pot.service, pot.number, pot.gateway)
        data = contract("Settlement").call_data("claim", key, me.index, priced, proof.lanes, proof.responses)
        return await self._claim(pot, data, earned, params)

    async def _claim(self, pot: Pot, data: bytes, earned: int, params: Params) -> PotStage:
        last = payable_from(pot.number, params) - 1
        intent = Intent(self.key_of(pot), self._market.deployment.contracts.settlement, data, 0, last)
        try:
            await self._sender.retry(intent)
        except Expired:
            return await self._missed(pot, "the claim window closed before the claim was mined", last + 1)
        except TransactionFailed as error:
            if "ClaimTooLow" not in str(error):  # made before, by a journal that is lost
                raise
        await asyncio.to_thread(self._pots.change, pot.id, claimed=earned)
        return await self._end(pot, PotStage.CLAIMED, "", last + 1)

    def key_of(self, pot: Pot) -> str:
        """Return the journal's key of a pot's claim."""
        return f"claim:{pot.id.hex()}:{self._operator.hex()}"

    async def _stated(self, pot: Pot, me: SessionSupplier) -> tuple[bytes, Priced | None]:
        """Return the priced entries of a pot's statement, and the own one; empty and None without a statement."""
        stated = await self._follower.events(Stated, pot.id)
        if not stated:
            return b"", None
        return stated[-1].priced, next((e for e in stated[-1].entries if e.index == me.index), None)

    async def _settle_for(self, pot: Pot, stated: int, params: Params) -> PotStage:
        """Note that there is nothing to claim."""
        if not stated:
            return await self._end(pot, PotStage.EMPTY, "nothing was earned")
        return await self._end(pot, PotStage.STATED, "", payable_from(pot.number, params))

    async def _try(self, pot: Pot) -> None:
        try:
            await self.compare(pot)
        except Corrupt:
            raise
        except PocketError as error:
            log.warning("claim_waits", pot=pot.id.hex(), session=pot.number, error=str(error))
            await self._note_failure(pot, error)
        finally:
            self._busy.discard(pot.id)

    async def _note_failure(self, pot: Pot, error: PocketError) -> None:
        """Note why a claim was not made; what the contract refuses once the window is over it refuses for ever."""
        note = str(error)[:500]
        await asyncio.to_thread(self._pots.change, pot.id, note=note)
        windows = self._market.deployment.windows
        payable = windows.anchor + (pot.number + 1) * windows.length + windows.statement + windows.claim
        if self._market.head >= payable and not isinstance(error, Unavailable):
            await self._missed(pot, note, payable)

    async def _missed(self, pot: Pot, note: str, payable: int) -> PotStage:
        """Note that no claim was made in time; what the gateway stated is paid nonetheless."""
        log.error("claim_missed", pot=pot.id.hex(), session=pot.number, error=note)
        known = await asyncio.to_thread(self._pots.get, pot.id)
        if known is not None and known.stated:
            return await self._end(pot, PotStage.STATED, note, payable)
        return await self._end(pot, PotStage.MISSED, note)

    async def _due_at(self, block: int) -> list[Pot]:
        waiting = await asyncio.to_thread(self._pots.all, [PotStage.OPEN])
        return [pot for pot in waiting if pot.id not in self._busy and block >= await self._due(pot)]

    async def _due(self, pot: Pot) -> int:
        """Return the block at which to compare: after the statement window, spread over half of the claim window."""
        params = await self._market.params(pot.number)
        spread = max(1, (params.claim_window - 1) // JITTER_SHARE)
        jitter = int.from_bytes(keccak(pot.id + self._operator)[:8], "big") % spread
        return end_of(pot.number, params) + params.statement_window + 1 + jitter

    async def _end(self, pot: Pot, stage: PotStage, note: str, until: int = 0) -> PotStage:
        await asyncio.to_thread(self._pots.change, pot.id, stage=stage, note=note, until=until)
        return stage


def key_of(pot: Pot, supplier: bytes) -> PotKey:
    """Return what a pot's receipts are kept under."""
    return PotKey(pot.application, pot.service, pot.number, pot.session, pot.gateway, supplier)
