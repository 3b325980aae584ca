"""The gateway's statements: one for each session that it served, early in the statement window."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from pocketnode.chain.contracts import contract
from pocketnode.chain.errors import Expired, TransactionFailed
from pocketnode.chain.events import Stated
from pocketnode.chain.follower import Follower
from pocketnode.chain.heads import Block
from pocketnode.chain.market import Market
from pocketnode.chain.sender import Sender
from pocketnode.crypto.keccak import keccak
from pocketnode.crypto.keys import Key
from pocketnode.errors import Corrupt, PocketError, Unavailable
from pocketnode.protocol.digest import statement_digest
from pocketnode.protocol.quality import Slo
from pocketnode.protocol.session import end_of, payable_from, session_id
from pocketnode.protocol.statement import pack
from pocketnode.protocol.types import Entry, Params, Session, Statement
from pocketnode.settlement.account import amounts_of, entries_of, lines_of, within_cap
from pocketnode.store.journal import Intent
from pocketnode.store.pots import Pot, PotStage, PotStore
from pocketnode.store.power import PowerMark
from pocketnode.store.records import RecordLog

log = structlog.get_logger(__name__)

JITTER_SHARE: Final = 4  # statements are spread over this part of what is left of the window after grace
WHOLE_POLL_S: Final = 0.1


class Stating:
    """Posts the statements of one gateway. `run` is a job of its daemon.

    Parameters
    ----------
    slo_of : a service's SLO by its 32-byte id; quality is measured against it.
    withhold : for tests: never state anything, so that suppliers claim.
    whole : gathers a pot's records and returns whether they are complete; False while answers may still come. It is
        called from a thread.
    power : says whether the newest records may be lost. What had begun by then is left to suppliers' claims.
    """

    def __init__(
        self,
        market: Market,
        follower: Follower,
        sender: Sender,
        key: Key,
        pots: PotStore,
        records: RecordLog,
        slo_of: Callable[[bytes], Slo],
        withhold: bool = False,
        whole: Callable[[bytes], bool] = lambda _: True,
        power: PowerMark | None = None,
    ) -> None:
        self._market, self._follower, self._sender, self._key = market, follower, sender, key
        self._pots, self._records, self._slo_of = pots, records, slo_of
        self.withhold, self._whole = withhold, whole
        self._busy: set[bytes] = set()
        self._power = power
        self._doubtful: int | None = None  # the last session whose records may be incomplete

    async def run(self) -> None:
        """State what is due whenever the chain has moved, until cancelled."""
        head: Block | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                head = await self._market.heads.changed(head)
                try:
                    await self._doubt()
                    for pot in await self._due_at(head.number):
                        self._busy.add(pot.id)
                        group.create_task(self._try(pot))
                except Unavailable as error:
                    log.warning("statements_wait", error=str(error))

    async def state(self, pot: Pot) -> PotStage:
        """Post the statement of a pot whose session is over, and return where that leaves the pot.

        Raises
        ------
        TransactionFailed
            the contract refuses; tried again while the window is open.
        Unavailable
            no node answers.
        """
        params = await self._market.params(pot.number)
        closes = end_of(pot.number, params) + params.statement_window
        if self.withhold:
            return await self._note(pot, PotStage.EMPTY, "statement withheld by configuration")
        if self._market.head >= closes:
            return await self._missed(pot)
        session = await self._market.session(pot.application, pot.service, pot.number)
        entries = await self._entries(pot, session, params)
        if not entries:
            return await self._note(pot, PotStage.EMPTY, "no units were accepted")
        earned = amounts_of(entries, {s.index: s.price for s in session.suppliers})
        data = self.call_data(pot, pack(entries))
        intent = Intent(f"statement:{pot.id.hex()}", self._market.deployment.contracts.settlement, data, 0, closes)
        try:
            await self._sender.retry(intent)
        except Expired:
            return await self._missed(pot)
        except TransactionFailed:
            if not await self._follower.events(Stated, pot.id):  # posted by somebody else, or by us before a loss
                raise
        await asyncio.to_thread(self._pots.change, pot.id, earned=earned, stated=earned)
        return await self._note(pot, PotStage.STATED, "", payable_from(pot.number, params))

    def call_data(self, pot: Pot, entries: bytes) -> bytes:
        """Return the signed call that posts these packed entries."""
        root = self._records.root(pot.id)
        statement = Statement(pot.application, pot.service, pot.number, entries, root)
        signature = self._key.sign(statement_digest(self._market.deployment.domain, statement))
        fields = (pot.application, pot.service, pot.number, entries, root)
        return contract("Settlement").call_data("postStatement", fields, self._key.address, signature)

    async def _entries(self, pot: Pot, session: Session, params: Params) -> list[Entry]:
        records = self._records
        slo = self._slo_of(pot.service)
        lines = await asyncio.to_thread(lambda: lines_of(records.read(pot.id), slo))
        listed = {supplier.index: supplier.price for supplier in session.suppliers}
        if strangers := lines.keys() - listed.keys():
            raise Corrupt(f"records of session {pot.number} name suppliers {sorted(strangers)} that are not in it")
        grant = await self._market.grant(pot.application, pot.gateway, pot.service, pot.number)
        return within_cap(entries_of(lines, params.w_min), listed, grant.cap if grant else 0)

    async def _try(self, pot: Pot) -> None:
        try:
            if not await self._is_whole(pot):
                return
            stage = await self.state(pot)
            log.info("session_stated", pot=pot.id.hex(), session=pot.number, stage=str(stage))
        except Corrupt:
            raise
        except PocketError as error:
            log.warning("statement_waits", pot=pot.id.hex(), session=pot.number, error=str(error))
            await asyncio.to_thread(self._pots.change, pot.id, note=str(error)[:500])
        finally:
            self._busy.discard(pot.id)

    async def _doubt(self) -> None:
        """After a power cut, leave to claims what lacks records perhaps: a short statement would cost the bond."""
        if self._power is None or not self._power.lost:
            return
        if self._doubtful is None:
            self._doubtful = self._market.number_now()
            log.error("records_doubtful", until_session=self._doubtful, reason="the machine went down")
        for pot in await asyncio.to_thread(self._pots.all, [PotStage.OPEN]):
            if pot.number <= self._doubtful and pot.id not in self._busy:
                await self._note(pot, PotStage.MISSED, "the machine went down: suppliers claim by their receipts")
        if self._market.number_now() > self._doubtful + 1:  # all of them have been noted
            await asyncio.to_thread(self._power.trust)

    async def _is_whole(self, pot: Pot) -> bool:
        """Wait until a pot's records are complete; a block may take most of what is left of a short window.

        Returns False where they are not when the window closes: then it is missed, once they are.
        """
        params, _, _ = await asyncio.gather(  # read meanwhile what a statement needs
            self._market.params(pot.number),
            self._market.session(pot.application, pot.service, pot.number),
            self._market.grant(pot.application, pot.gateway, pot.service, pot.number),
        )
        closes = end_of(pot.number, params) + params.statement_window
        while not await asyncio.to_thread(self._whole, pot.id):
            if self._market.head >= closes:
                return False
            await asyncio.sleep(WHOLE_POLL_S)
        return True

    async def _due_at(self, block: int) -> list[Pot]:
        waiting = await asyncio.to_thread(self._pots.all, [PotStage.OPEN])
        return [pot for pot in waiting if pot.id not in self._busy and block >= await self._due(pot)]

    async def _due(self, pot: Pot) -> int:
        """Return the block from which to post once the records are whole, a little spread over gateways.

        No sooner than that, and not only after grace: where blocks are short, a slow node needs all of the window.
        """
        params = await self._market.params(pot.number)
        spread = max(1, (params.statement_window - params.grace) // JITTER_SHARE)
        jitter = int.from_bytes(keccak(pot.id + pot.gateway)[:8], "big") % spread
        return end_of(pot.number, params) + 1 + jitter

    async def _missed(self, pot: Pot) -> PotStage:
        stated = await self._follower.events(Stated, pot.id)
        if stated:
            params = await self._market.params(pot.number)
            return await self._note(pot, PotStage.STATED, "", payable_from(pot.number, params))
        log.error("statement_missed", pot=pot.id.hex(), session=pot.number)
        return await self._note(pot, PotStage.MISSED, "the statement window closed first: suppliers claim")

    async def _note(self, pot: Pot, stage: PotStage, note: str, until: int = 0) -> PotStage:
        await asyncio.to_thread(self._pots.change, pot.id, stage=stage, note=note, until=until)
        if stage is not PotStage.OPEN:
            await asyncio.to_thread(self._records.close_pot, pot.id)
        return stage


def pot_of(application: bytes, service: bytes, number: int, gateway: bytes) -> Pot:
    """Return a pot that nothing is known of yet."""
    return Pot(application, service, number, session_id(application, service, number), gateway)
