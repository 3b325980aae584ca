"""One attempt: one supplier asked once, one record, one verdict, charged to whom it belongs (rule 6.2)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from pocketnode.errors import PocketError, RemoteError
from pocketnode.gateway.active import ActiveSession, Seat
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.ports import Records
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.quality import Verdict
from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.types import ZERO32
from pocketnode.transport.ports import Ended, Reply

REST_AFTER_FAULT_S: Final = 0.25
MS_MOST: Final = 2**32 - 1
_PAID: Final = (Verdict.GOOD, Verdict.CUT)
Believed = Callable[[int], Awaitable[bool]]  # whether the units of an answer that was cut can be true
_ENDING: Final[set[asyncio.Future[None]]] = set()  # keeps what nobody waits for any more


def blame(error: BaseException, waited_s: float, timeout_s: float) -> Verdict:
    """Return the verdict on a supplier whose attempt ended in `error`.

    Parameters
    ----------
    waited_s : since it was asked.
    timeout_s : the service's own timeout; our own impatience before that is nobody's fault.
    """
    if isinstance(error, RelayFailed):
        return Verdict.FAULT if error.fault.kind is FaultClass.BACKEND else Verdict.NOBODY
    if isinstance(error, RemoteError):
        return Verdict.WRONG
    if isinstance(error, TimeoutError):
        return Verdict.TIMEOUT if waited_s >= timeout_s else Verdict.NOBODY
    if isinstance(error, PocketError):
        return Verdict.FAULT  # a broken lane or a refused connection
    return Verdict.NOBODY


def class_of(error: BaseException) -> str:
    """Return what kind of error ended an attempt: a fault's class as the supplier signed it, or how we met it."""
    if isinstance(error, RelayFailed):
        return str(error.fault.kind)
    if isinstance(error, RemoteError):
        return "does not verify"
    return "timeout" if isinstance(error, TimeoutError) else "connection lost"


class Attempt:
    """One supplier, asked once. `settle` is called exactly once, however it ends.

    Parameters
    ----------
    kind : class of the relay, for selection's memory.
    most : units it may cost at most; set aside in the purse while it runs.

    `started_s` is on the clock of `time.perf_counter`; `first_s` and `done_s` count from it. `verdict` is None before
    the end.
    """

    __slots__ = (
        "_kind",
        "_metrics",
        "_records",
        "_reserved",
        "active",
        "done_s",
        "ended",
        "first_s",
        "reply",
        "seat",
        "started_s",
        "units",
        "verdict",
    )

    def __init__(
        self, active: ActiveSession, seat: Seat, kind: str, most: int, records: Records, metrics: Metrics
    ) -> None:
        self.seat = seat
        self.reply: Reply | None = None
        self.ended: Ended | None = None
        self.units = 0
        self.first_s = self.done_s = 0.0
        self.verdict: Verdict | None = None
        self.active = active
        self._kind = kind
        self._records = records
        self._metrics = metrics
        self._reserved = most * seat.supplier.price
        self.started_s = time.perf_counter()

    def reserve(self) -> bool:
        """Set aside what it may cost; False where the grant does not reach."""
        return self.active.purse.reserve(self._reserved)

    async def ask(self, head: bytes, body: bytes, hold: int, most: int, within_s: float | None = None) -> None:
        """Send the request, once, and wait until its answer begins. A wait that is cut short may be taken up again."""
        if self.reply is None:
            lane = self.seat.lane
            assert lane is not None
            self.reply = await lane.send(head, body, hold, most)
        await self.reply.begun(within_s)

    async def begin(self, head: bytes, body: bytes, hold: int, most: int) -> bytes | None:
        """Ask, and return the first part of the answer's body; None for an empty one."""
        await self.ask(head, body, hold, most)
        assert self.reply is not None
        part = await self.reply.read()
        self.first_s = time.perf_counter() - self.started_s
        return part

    async def whole(self, head: bytes, body: bytes, hold: int, most: int) -> bytes:
        """Ask, and return the whole body."""
        first = await self.begin(head, body, hold, most)
        reply = self.reply
        if first is None or reply is None or (more := await reply.read()) is None:
            return first or b""
        parts = [first, more]
        while (more := await reply.read()) is not None:
            parts.append(more)
        return b"".join(parts)

    @property
    def arrived(self) -> bool:
        """Whether the whole answer is here already, so that reading it needs no timer."""
        return self.reply is not None and self.reply.ended is not None

    @property
    def waited_s(self) -> float:
        """Seconds since the supplier was asked."""
        return time.perf_counter() - self.started_s

    def settle(self, verdict: Verdict, error: str = "") -> None:
        """Write the record; pay for the answer if it is worth it.

        Parameters
        ----------
        error : class of what went wrong, for the charts; the verdict's name if it says enough.
        """
        done_s = self.done_s = time.perf_counter() - self.started_s
        self.verdict = verdict
        ended = self.ended = self.reply.ended if self.reply is not None else None
        active, paid = self.active, ended is not None and verdict in _PAID
        if paid and ended is not None:
            self.units = ended.signed.response.units
        active.purse.settle(self._reserved, self.units * self.seat.supplier.price)
        first_s = self.first_s or done_s
        self._metrics.attempted(active.service.name, verdict, first_s, done_s)
        where = (active.service.name, self.seat.supplier_hex)
        self._metrics.charted(*where, verdict, error or verdict.name.lower(), first_s, done_s)
        if self.units:
            self._metrics.spent(*where, self.units, self.units * self.seat.supplier.price)
        active.score(self.seat, self._kind, verdict, first_s * 1000, time.time())
        if active.closing:
            return  # the session is stated: the supplier claims this answer with its own Response
        if paid and self.reply is not None:
            self.reply.accept()
        record = self._record(verdict, first_s, done_s)
        self._records.append(active.session, record)
        self.seat.count(record, active.service.slo)

    def _record(self, verdict: Verdict, first_s: float, done_s: float) -> RelayRecord:
        reply = self.reply
        ended = self.ended or (reply.refused if reply is not None else None)
        receipt, response = (ended.receipt, ended.response) if ended is not None else (ZERO32, ZERO32)
        if ended is None and reply is not None:
            receipt = reply.receipt
        first_ms, done_ms = min(MS_MOST, int(first_s * 1000)), min(MS_MOST, int(done_s * 1000))
        return RelayRecord(receipt, response, self.seat.supplier.index, self.units, first_ms, done_ms, verdict)

    def failed(self, error: BaseException) -> Verdict:
        """Settle an attempt that ended in `error`, and let the supplier rest where that helps."""
        verdict = blame(error, self.waited_s, self.active.service.spec.timeout_s)
        self.settle(verdict, class_of(error))
        rest_s = REST_AFTER_FAULT_S if verdict is Verdict.FAULT else 0.0
        if isinstance(error, RelayFailed) and error.fault.kind is not FaultClass.BACKEND:
            rest_s = error.fault.retry_after_ms / 1000
        if rest_s:
            self.seat.rest_until_s = max(self.seat.rest_until_s, time.time() + rest_s)
            self.active.forget_ranking()
        return verdict

    async def cancel(self, believed: Believed | None = None) -> None:
        """The user has left: stop the supplier, pay for what was sent up to then (rule 3.14).

        A user who leaves can be noticed twice, by a write that fails and by the connection's end: the first goes on.

        Parameters
        ----------
        believed : looks at the units of what was sent; where it says no, the answer is wrong.
        """
        ending = asyncio.ensure_future(self._cancel(believed))
        _ENDING.add(ending)
        ending.add_done_callback(_ENDING.discard)
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait({ending})
            raise

    async def _cancel(self, believed: Believed | None) -> None:
        verdict, ended = Verdict.NOBODY, None
        if self.reply is not None:
            ended = await self.reply.cancel()
            verdict = Verdict.CUT if self.first_s else Verdict.NOBODY
        if believed is not None and ended is not None and not await believed(ended.signed.response.units):
            verdict = Verdict.WRONG
        self.settle(verdict)
