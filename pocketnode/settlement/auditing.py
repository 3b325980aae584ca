"""A supplier's audits: each statement recomputed from the records that it commits to (rule 5.18)."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

import structlog

from pocketnode.chain.events import Stated
from pocketnode.chain.follower import Follower
from pocketnode.chain.heads import Block
from pocketnode.chain.market import Market
from pocketnode.crypto.keccak import keccak
from pocketnode.crypto.keys import checksum
from pocketnode.errors import Corrupt, NotFound, PocketError, Unavailable
from pocketnode.protocol.digest import receipt_digest, response_digest
from pocketnode.protocol.quality import Slo
from pocketnode.protocol.record import RECORD_BYTES
from pocketnode.protocol.session import end_of, payable_from, service_name
from pocketnode.protocol.types import Entry
from pocketnode.settlement.audit import Audit, Claimed, Own, Terms, examine, examine_part, needs_all
from pocketnode.settlement.ports import RecordSource
from pocketnode.store.audits import AuditRow, AuditStage, AuditStore
from pocketnode.store.receipts import KeptReceipt, ReceiptStore

log = structlog.get_logger(__name__)

JITTER_SHARE: Final = 4  # fetches are spread over this part of the claim window: suppliers do not crowd a gateway
AT_ONCE: Final = 2
RETRY_LEAST_S: Final = 2.0
RETRY_MOST_S: Final = 300.0
MEMORY_BYTES: Final = 4 * 1024 * 1024  # of records while they are fetched; more goes to a temporary file
BLOCK_RECORDS: Final = 512
SHOWN_MOST: Final = 20
LOST_SHARE: Final = 50  # one in so many units may be lost on the way without a word


@dataclass(slots=True)
class _Patience:
    """When a gateway that did not give its records is asked again."""

    next_s: float = 0.0
    wait_s: float = RETRY_LEAST_S

    def fail(self) -> None:
        self.next_s = time.monotonic() + self.wait_s
        self.wait_s = min(RETRY_MOST_S, 2 * self.wait_s)


class Auditing:
    """Audits every statement about one operator. `run` is a job of its daemon.

    Parameters
    ----------
    slo_of : a service's SLO by its 32-byte id.
    """

    def __init__(
        self,
        market: Market,
        follower: Follower,
        operator: bytes,
        receipts: ReceiptStore,
        audits: AuditStore,
        source: RecordSource,
        slo_of: Callable[[bytes], Slo],
    ) -> None:
        self._market, self._follower, self._operator = market, follower, operator
        self._receipts, self._audits, self._source, self._slo_of = receipts, audits, source, slo_of
        self._busy: set[bytes] = set()
        self._patience: dict[bytes, _Patience] = {}
        self._known: Sequence[AuditRow] = ()
        self.ended: Counter[AuditStage] = Counter()  # since the start
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Audit what is due whenever the chain has moved, until cancelled."""
        head: Block | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                head = await self._market.heads.changed(head)
                try:
                    await self.refresh()
                    for row, stated in await self._due_at(head.number):
                        self._busy.add(row.pot)
                        group.create_task(self._try(row, stated))
                except Unavailable as error:
                    log.warning("audits_wait", error=str(error))

    async def refresh(self) -> None:
        """Read what is known of all audits."""
        self._known = await asyncio.to_thread(self._audits.all)

    async def audit(self, row: AuditRow, stated: Stated) -> AuditStage:
        """Fetch the records of a pot and hold its statement against them.

        Raises
        ------
        Unavailable
            the gateway does not give them, or no node answers.
        """
        session = await self._market.session(row.application, row.service, row.number)
        me = session.supplier(self._operator)
        if me is None:
            return await self._finish(row, AuditStage.NOTHING, note="this supplier is not in the session")
        grant = await self._market.grant(row.application, row.gateway, row.service, row.number)
        params = await self._market.params(row.number)
        terms = Terms(self._slo_of(row.service), session, params, grant.cap if grant else 0)
        kept = await asyncio.to_thread(self._receipts.lanes, session.id, row.gateway, self._operator)
        claimed = Claimed(stated.relays_root, _entry(stated, me.index))
        own = self._own(row, kept)
        try:
            found = await self._examined(row, claimed, me.index, own, terms, part=True)
            amounts, prices = [e.amount for e in stated.entries], [s.price for s in session.suppliers]
            whole = needs_all(found, claimed, amounts, terms.cap, prices)
        except NotFound:  # a gateway that gives no parts
            whole = True
        if whole:
            found = await self._examined(row, claimed, me.index, own, terms, part=False)
        return await self._conclude(row, claimed, found)

    async def _examined(self, row: AuditRow, claimed: Claimed, index: int, own: Own, terms: Terms, part: bool) -> Audit:
        """Fetch the own part of the records, or all of them, and examine it; in memory is one piece at a time."""
        with tempfile.SpooledTemporaryFile(MEMORY_BYTES) as file:
            await self._fetch(row, file, index if part else None)
            if part:
                return await asyncio.to_thread(examine_part, _blocks(file), claimed, index, own, terms)
            return await asyncio.to_thread(examine, _paced(file), claimed, index, own, terms)

    async def _fetch(self, row: AuditRow, file: IO[bytes], index: int | None) -> None:
        if not row.url:
            raise Unavailable("the gateway did not say where it gives its records")
        async with self._slots, self._source.records(row.url, row.pot, index) as pieces:
            async for piece in pieces:
                try:
                    await asyncio.to_thread(file.write, piece)
                except OSError as error:
                    raise Unavailable(f"no room for records: {error.strerror}") from error

    def _own(self, row: AuditRow, kept: Iterable[KeptReceipt]) -> Own:
        domain = self._market.deployment.domain
        answers: dict[bytes, bytes] = {}
        acknowledged = held = 0
        for one in kept:
            acknowledged += one.receipt.receipt.total
            held += one.receipt.receipt.hold
            if one.response is not None:
                answers[receipt_digest(domain, one.receipt.receipt)] = response_digest(domain, one.response.response)
        return Own(acknowledged, row.served, held + row.served // LOST_SHARE, answers)

    async def _conclude(self, row: AuditRow, claimed: Claimed, found: Audit) -> AuditStage:
        said = claimed.entry
        facts = {
            "relays": found.relays,
            "units": found.units,
            "quality": found.quality,
            "stated_units": said.units if said else 0,
            "stated_quality": said.quality if said else 0,
        }
        if not found.findings:
            return await self._finish(row, AuditStage.AGREES, **facts)
        words = "; ".join(map(str, found.findings))
        log.error(
            "statement_differs",
            pot=row.pot.hex(),
            session=row.number,
            gateway=checksum(row.gateway),
            differences=[str(finding.difference) for finding in found.findings],
            words=words,
        )
        return await self._finish(row, AuditStage.DIFFERS, note=words, **facts)

    async def _try(self, row: AuditRow, stated: Stated) -> None:
        try:
            stage = await self.audit(row, stated)
            log.info("statement_audited", pot=row.pot.hex(), session=row.number, stage=str(stage))
        except Corrupt:
            raise
        except PocketError as error:
            await self._fail(row, error)
        finally:
            self._busy.discard(row.pot)

    async def _fail(self, row: AuditRow, error: PocketError) -> None:
        """Ask again later; give up one session after the money was paid out."""
        patience = self._patience.setdefault(row.pot, _Patience())
        patience.fail()
        params = await self._market.params(row.number)
        if self._market.head < payable_from(row.number, params) + params.length:
            log.debug("audit_waits", pot=row.pot.hex(), session=row.number, error=str(error))
            return
        log.warning("statement_not_audited", pot=row.pot.hex(), session=row.number, error=str(error))
        await self._finish(row, AuditStage.UNKNOWN, note=str(error))

    async def _due_at(self, block: int) -> list[tuple[AuditRow, Stated]]:
        due: list[tuple[AuditRow, Stated]] = []
        for row in [row for row in self._known if row.stage is AuditStage.WAITING and row.pot not in self._busy]:
            params = await self._market.params(row.number)
            if block <= end_of(row.number, params):
                continue
            stated = await self._follower.events(Stated, row.pot)
            if stated and block >= stated[-1].block + self._jitter(row, params.claim_window):
                if time.monotonic() >= self._patience.get(row.pot, _Patience()).next_s:
                    due.append((row, stated[-1]))
            elif not stated and self._follower.followed > end_of(row.number, params) + params.statement_window:
                await self._finish(row, AuditStage.NOTHING, note="no statement was made")
        return due

    def _jitter(self, row: AuditRow, window: int) -> int:
        return int.from_bytes(keccak(row.pot + self._operator)[:8], "big") % max(1, window // JITTER_SHARE)

    async def _finish(self, row: AuditRow, stage: AuditStage, **values: Any) -> AuditStage:
        await asyncio.to_thread(lambda: self._audits.finish(row.pot, stage, **values))
        self._patience.pop(row.pot, None)
        self.ended[stage] += 1
        await self.refresh()
        return stage

    # ---- what it tells

    @property
    def known(self) -> Sequence[AuditRow]:
        """The audits of the sessions that are kept, the oldest first."""
        return self._known


def facts_of(audits: Sequence[AuditRow]) -> dict[str, Any]:
    """Return how many audits are in each stage, and the newest statements that differ, as JSON values."""
    found = Counter(row.stage for row in audits)
    differing = sorted((row for row in audits if row.stage is AuditStage.DIFFERS), key=lambda row: -row.number)
    counts = {str(stage): found[stage] for stage in AuditStage}
    return {"audits": counts, "disagreements": [shown(row) for row in differing[:SHOWN_MOST]]}


def shown(row: AuditRow) -> dict[str, Any]:
    """Return an audit as commands print it; qualities as fractions."""
    return {
        "session": row.number,
        "service": service_name(row.service),
        "gateway": checksum(row.gateway),
        "pot": f"0x{row.pot.hex()}",
        "audit": str(row.stage),
        "relays": row.relays,
        "stated_units": row.stated_units,
        "recorded_units": row.units,
        "stated_quality": row.stated_quality / 10_000,
        "recorded_quality": row.quality / 10_000,
        "note": row.note,
    }


def _entry(stated: Stated, index: int) -> Entry | None:
    found = next((entry for entry in stated.entries if entry.index == index), None)
    return None if found is None else Entry(found.index, found.units, found.quality)


def _paced(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the records in a file."""
    for block in _blocks(file):
        for at in range(0, len(block), RECORD_BYTES):
            yield block[at : at + RECORD_BYTES]


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file in pieces, and rest as long as each took: relays are answered by the same process meanwhile."""
    file.seek(0)
    while block := file.read(BLOCK_RECORDS * RECORD_BYTES):
        begun_s = time.monotonic()
        yield block
        time.sleep(time.monotonic() - begun_s)
