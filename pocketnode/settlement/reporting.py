"""Reports suppliers that sign two answers to one Receipt: both sent to us, or one of them claimed with (rule 5.19)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import structlog

from pocketnode.chain.calls import calls_in
from pocketnode.chain.contracts import Log, contract
from pocketnode.chain.errors import TransactionFailed
from pocketnode.chain.events import Claimed, SupplierFaulted
from pocketnode.chain.follower import Follower
from pocketnode.chain.heads import Block
from pocketnode.chain.market import Market
from pocketnode.chain.sender import Sender
from pocketnode.crypto.keys import checksum
from pocketnode.errors import Corrupt, NotFound, PocketError, Unavailable
from pocketnode.protocol.session import end_of, payable_from
from pocketnode.settlement.equivocation import Contradiction, among, with_claim
from pocketnode.store.answers import AnswerFiles
from pocketnode.store.journal import Intent
from pocketnode.store.receipts import KeptReceipt

log = structlog.get_logger(__name__)

GIVE_UP_SESSIONS: Final = 2  # after a session is final, a report that the contract refuses is tried no longer


class Outcome(StrEnum):
    """What came of looking at claims and of reports."""

    AGREES = "agrees"  # a claim that proves with the answers that were given, or without any
    FOUND = "found"  # two answers to one Receipt
    REPORTED = "reported"  # by us or by somebody else
    UNREAD = "unread"  # a claim that another contract made, and no node says with what
    REFUSED = "refused"  # a report, by the contract: the supplier is gone


class Reporting:
    """Looks at the claims of one gateway's sessions. `run` is a job of its daemon.

    What it has looked at is not kept: after a restart it looks again, and reports nothing twice, since the journal
    and the chain know of each report.
    """

    def __init__(self, market: Market, follower: Follower, sender: Sender, files: AnswerFiles) -> None:
        self._market, self._follower, self._sender, self._files = market, follower, sender, files
        self._settlement = market.deployment.contracts.settlement
        self._numbers: dict[bytes, int] = {}  # of sessions, by pot
        self._looked: dict[bytes, set[tuple[int, int]]] = {}  # by pot: block and position of each claim
        self._open: dict[bytes, dict[bytes, Contradiction]] = {}  # by pot: reports that are not made yet
        self._busy: set[bytes] = set()
        self._done: set[bytes] = set()
        self.outcomes: Counter[Outcome] = Counter()  # since the start

    async def run(self) -> None:
        """Look at what is new whenever the chain has moved, until cancelled."""
        head: Block | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                head = await self._market.heads.changed(head)
                try:
                    for found in await self.look():
                        self._busy.add(found.digest)
                        group.create_task(self._try(found))
                except Corrupt:
                    raise
                except PocketError as error:
                    log.warning("reports_wait", error=str(error))

    async def look(self) -> list[Contradiction]:
        """Look at the sessions that are over and not final; return what is to be reported now.

        Raises
        ------
        Unavailable
            no node answers, or the disk does not.
        """
        due: list[Contradiction] = []
        for pot in await asyncio.to_thread(self._files.pots):
            number = await self._number(pot)
            params = await self._market.params(number)
            if self._market.head <= end_of(number, params) + params.grace:
                continue
            await self._look_at(pot)
            waiting = self._open.get(pot, {})
            due += [found for digest, found in waiting.items() if digest not in self._busy]
            final = payable_from(number, params)
            given_up = self._market.head > final + GIVE_UP_SESSIONS * params.length
            if self._follower.followed >= final and (given_up or not waiting):
                await self._forget(pot)
        return due

    async def report(self, found: Contradiction) -> Outcome:
        """Have the supplier slashed, unless somebody has.

        Raises
        ------
        TransactionFailed
            the contract refuses.
        Unavailable
            no node answers.
        """
        reported = await self._follower.events(SupplierFaulted)
        if not any(fault.receipt == found.digest for fault in reported):
            data = contract("Settlement").call_data("reportEquivocation", *found.arguments)
            try:
                await self._sender.retry(Intent(key_of(found), self._settlement, data))
            except TransactionFailed as error:
                if "AlreadyReported" not in str(error):
                    raise
        return Outcome.REPORTED

    async def _number(self, pot: bytes) -> int:
        """Return the number of a pot's session; one long ago where nothing can be read of it."""
        if pot not in self._numbers:
            kept = await asyncio.to_thread(self._files.read, pot)
            self._numbers[pot] = kept[0].number if kept else 0
        return self._numbers[pot]

    async def _look_at(self, pot: bytes) -> None:
        first = pot not in self._looked
        looked = self._looked.setdefault(pot, set())
        claims = [c for c in await self._follower.logs(Claimed, pot) if (c.block, c.position) not in looked]
        if not first and not claims:
            return
        kept = await asyncio.to_thread(self._files.read, pot)
        self._note(pot, among(kept, self._market.deployment.domain))
        for claim in claims:
            found = await self._in_claim(claim, kept)
            looked.add((claim.block, claim.position))
            self.outcomes[Outcome.AGREES] += found == []
            self._note(pot, found or ())

    async def _in_claim(self, claim: Log, kept: list[KeptReceipt]) -> list[Contradiction] | None:
        """Return what a claim contradicts; None where it cannot be read."""
        function = contract("Settlement").functions["claim"]
        try:
            calls = await calls_in(self._market.reader.rpc, claim.transaction, self._settlement, function)
        except NotFound as error:
            raise Unavailable(str(error), 1.0) from error
        if not calls:
            self.outcomes[Outcome.UNREAD] += 1
            log.warning("claim_unread", transaction=claim.transaction.hex(), block=claim.block)
            return None
        return [found for call in calls for found in with_claim(kept, call, self._market.deployment.domain)]

    def _note(self, pot: bytes, contradictions: Iterable[Contradiction]) -> None:
        for found in contradictions:
            if found.digest in self._done or found.digest in self._open.get(pot, {}):
                continue
            self._open.setdefault(pot, {})[found.digest] = found
            self.outcomes[Outcome.FOUND] += 1
            log.error("two_answers_found", **_shown(found))

    async def _try(self, found: Contradiction) -> None:
        try:
            self._end(found, await self.report(found))
            log.info("two_answers_reported", **_shown(found))
        except TransactionFailed as error:
            self.outcomes[Outcome.REFUSED] += 1
            log.error("report_refused", error=str(error), **_shown(found))
        except Corrupt:
            raise
        except PocketError as error:
            log.warning("report_waits", error=str(error), **_shown(found))
        finally:
            self._busy.discard(found.digest)

    def _end(self, found: Contradiction, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1
        self._done.add(found.digest)
        for waiting in self._open.values():
            waiting.pop(found.digest, None)

    async def _forget(self, pot: bytes) -> None:
        """Forget a pot that nothing can be claimed of any more."""
        await asyncio.to_thread(self._files.drop, pot)
        self._numbers.pop(pot, None)
        self._looked.pop(pot, None)
        self._open.pop(pot, None)


def key_of(found: Contradiction) -> str:
    """Return the journal's key of a report."""
    return f"equivocation:{found.digest.hex()}"


def _shown(found: Contradiction) -> dict[str, str | int]:
    return {
        "supplier": checksum(found.receipt.supplier),
        "session": found.number,
        "receipt": "0x" + found.digest.hex(),
        "units": found.first.response.units,
        "other_units": found.second.response.units,
    }
