"""Forgets what is long settled: no table and no folder of a daemon grows for ever."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from pocketnode.chain.heads import Block
from pocketnode.chain.market import Market
from pocketnode.errors import Unavailable
from pocketnode.store.audits import AuditStore
from pocketnode.store.events import EventStore
from pocketnode.store.journal import Journal
from pocketnode.store.pots import FINISHED, PotStage, PotStore
from pocketnode.store.receipts import PotKey, ReceiptStore
from pocketnode.store.records import RecordLog

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keep:
    """How long settled things are kept.

    Parameters
    ----------
    sessions : before the running one. Records are kept as long, for suppliers and users who ask; never shorter than
        a session can be unsettled.
    """

    sessions: int = 200


class Pruning:
    """Prunes one daemon's stores at the start of each session. `run` is a job.

    Parameters
    ----------
    receipts, records, audits : a supplier has the first and the last, a gateway the second.
    """

    def __init__(
        self,
        market: Market,
        party: bytes,
        pots: PotStore,
        events: EventStore,
        journal: Journal,
        receipts: ReceiptStore | None = None,
        records: RecordLog | None = None,
        keep: Keep | None = None,
        audits: AuditStore | None = None,
    ) -> None:
        self._market, self._party, self._pots, self._events, self._journal = market, party, pots, events, journal
        self._receipts, self._records, self._audits = receipts, records, audits
        self._sessions = max((keep or Keep()).sessions, market.deployment.unsettled + 1)

    async def run(self) -> None:
        """Prune once a session, until cancelled."""
        head: Block | None = None
        pruned = -1
        while True:
            head = await self._market.heads.changed(head)
            number = self._market.number_now()
            if number == pruned:
                continue
            try:
                await asyncio.to_thread(self.prune, number)
                pruned = number
            except Unavailable as error:
                log.warning("pruning_waits", error=str(error))

    def prune(self, number: int) -> int:
        """Forget what ended more than `keep.sessions` before session `number`; return how many pots.

        A pot that still waits for something is kept, and so are all events since its session began.
        """
        before = number - self._sessions
        # A gateway owes nothing more once it stated: the fee is others', and whoever collects it.
        done = FINISHED if self._records is None else (*FINISHED, PotStage.STATED)
        gone = self._pots.prune(before, done)
        for pot in gone:
            if self._records is not None:
                self._records.drop(pot.id)
            if self._receipts is not None:
                key = PotKey(pot.application, pot.service, pot.number, pot.session, pot.gateway, self._party)
                self._receipts.drop(key)
        if self._audits is not None:
            self._audits.prune(before)
        kept = self._pots.oldest()
        oldest = before if kept is None else min(before, kept)
        windows = self._market.deployment.windows
        first_block = windows.anchor + oldest * windows.length
        self._events.prune(first_block)
        self._journal.prune(first_block)
        return len(gone)
