"""Follows the chain: for each application and service the session of now, its lanes open before it is used.

At a boundary the lanes of the new session are opened first, after a short random wait so that not every gateway comes
at once; the old session serves meanwhile, within its grace (rule 3.7). Then its lanes end with a bare Receipt.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from pocketnode.errors import PocketError, Unavailable
from pocketnode.gateway.active import ActiveSession, Purse, Seat
from pocketnode.gateway.catalog import Catalog, Service
from pocketnode.gateway.config import Selection
from pocketnode.gateway.ports import LaneOpener, Market, Records
from pocketnode.gateway.refusal import NOT_READY, Refused
from pocketnode.gateway.scoreboard import Scoreboard
from pocketnode.gateway.shared import Shared
from pocketnode.protocol.types import Params
from pocketnode.transport.ports import Opening

POLL_S: Final = 0.3
OPEN_WAIT_S: Final = 1.5  # for the first supplier of a new session; the old one serves within its grace only
OPEN_ALL_WAIT_S: Final = 0.4  # for the others: one that does not answer must not hold up a session that can be used
JITTER_S: Final = 0.3
BEGINNING_MOST: Final = 32  # sessions begun at once: their reads of the chain share its node
BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

log = structlog.get_logger()
Pair = tuple[bytes, str]  # application, service name


@dataclass
class Sessions:
    """The sessions of now. `run` is a job of the daemon; `active` is what requests ask.

    Parameters
    ----------
    gateway : our 20-byte address.
    shared : what other workers of this gateway count with us.
    clock : wall time in seconds.
    """

    gateway: bytes
    catalog: Catalog
    market: Market
    opener: LaneOpener
    records: Records
    scores: Scoreboard
    rules: Selection
    shared: Shared = field(default_factory=Shared)
    clock: Callable[[], float] = time.time
    params: Params | None = None
    _active: dict[Pair, ActiveSession] = field(default_factory=dict)
    _retiring: list[ActiveSession] = field(default_factory=list)
    _problems: dict[Pair, str] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _beginning: set[Pair] = field(default_factory=set)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(BEGINNING_MOST))

    def active(self, service: Service, application: bytes | None = None) -> ActiveSession:
        """Return the session to use.

        Raises
        ------
        Refused
            there is none yet: the chain is not read, the escrow does not cover it, or the grant is missing.
        """
        pair = (application or service.applications[0], service.name)
        active = self._active.get(pair)
        if active is None:
            reason = self._problems.get(pair, "the gateway has just started")
            raise Refused(NOT_READY, f"no session of {service.name}: {reason}", retry_after_s=1.0)
        return active

    def served(self, service: Service) -> bool:
        """Return whether anybody answers for a service now."""
        active = self._active.get((service.applications[0], service.name))
        return active is not None and active.ready()

    def prices(self, service: Service) -> list[int]:
        """Return what each supplier of the session asks, in base units per million units."""
        active = self._active.get((service.applications[0], service.name))
        return [s.price for s in active.session.suppliers] if active is not None else []

    def all(self) -> list[ActiveSession]:
        """Return every session in use, and those that are coming to their end."""
        return [*self._active.values(), *self._retiring]

    def problems(self) -> dict[str, str]:
        """Return why a service has no session, by service name."""
        return {service: problem for (_, service), problem in self._problems.items()}

    def ready(self) -> bool:
        """Return whether every service that is sold can be asked for."""
        pairs = [(application, service.name) for application, service in self.catalog.pairs()]
        return all(pair in self._active and self._active[pair].ready() for pair in pairs)

    async def run(self) -> None:
        """Follow the chain until cancelled; then close every lane."""
        try:
            while True:
                await self._step()
                await asyncio.sleep(POLL_S)
        finally:
            for task in self._tasks:
                task.cancel()
            seats = [seat for active in self.all() for seat in active.seats.values()]
            await _close_lanes(seats)

    async def _step(self) -> None:
        number = self.market.number_now()
        try:
            self.params = await self.market.params(number)
        except Unavailable as error:
            log.warning("the chain does not answer", error=str(error))
            return
        for application, service in self.catalog.pairs():
            pair = (application, service.name)
            active = self._active.get(pair)
            if pair not in self._beginning and (active is None or active.session.number < number):
                self._beginning.add(pair)
                self._spawn(self._follow(application, service, number))
        for active in self._active.values():
            self._reconnect(active)
        self._spare()
        await self._retire(self.params)

    async def _follow(self, application: bytes, service: Service, number: int) -> None:
        """Replace a session by the one of now; each pair by itself, so that none waits for another's suppliers."""
        pair = (application, service.name)
        old = self._active.get(pair)
        try:
            async with self._turns:
                new = await self._begin(application, service, number, wait=old is not None)
        except PocketError as error:
            if self._problems.get(pair) != str(error):
                log.warning("no session", service=service.name, number=number, error=str(error))
            self._problems[pair] = str(error)
            self._drop_if_over(pair, old)
            return
        finally:
            self._beginning.discard(pair)
        self._problems.pop(pair, None)
        self._active[pair] = new
        log.info("session", service=service.name, number=number, suppliers=len(new.seats))
        if old is not None:
            old.retiring = True
            self._retiring.append(old)

    async def _begin(self, application: bytes, service: Service, number: int, wait: bool) -> ActiveSession:
        session, grant, params = await asyncio.gather(  # at once: the old session is stated only when this one serves
            self.market.session(application, service.id, number),
            self.market.grant(application, self.gateway, service.id, number),
            self.market.params(number),
        )
        if grant is None or not session.covered:
            what = "the escrow does not cover it" if grant else "this gateway has no grant"
            raise Unavailable(f"application 0x{application.hex()} is not in session {number}: {what}")
        if not session.suppliers:
            raise Unavailable("nobody supplies it")
        purse = Purse(grant.cap, self.shared.caps, session.id, self.shared.workers)
        active = ActiveSession(session, service, purse, params.w_min, self.scores, self.rules)
        self.records.begin(session)
        try:
            active.recover(self.records.read(session))
            self._spawn(self._learn_owners(active))
            if wait:
                await asyncio.sleep(random.random() * JITTER_S)
            await self._open(active)
        except BaseException:
            self.records.end(session)  # or nobody could ever state it
            raise
        return active

    async def _learn_owners(self, active: ActiveSession) -> None:
        """Read who owns each supplier, beside what users wait for; until it is known, each is taken to own itself."""
        suppliers = active.session.suppliers
        found = await asyncio.gather(*(self.market.owner(s.registration) for s in suppliers), return_exceptions=True)
        for supplier, owner in zip(suppliers, found, strict=True):
            if isinstance(owner, bytes):
                active.owners[supplier.operator] = owner
            elif not isinstance(owner, PocketError):
                raise owner
        active.forget_ranking()

    async def _open(self, active: ActiveSession) -> None:
        """Open lanes to all suppliers, and go on as soon as the session can be used."""
        begun_s = self.clock()
        tasks = [self._spawn(self._connect(active, seat)) for seat in active.seats.values()]
        _, pending = await asyncio.wait(tasks, timeout=OPEN_ALL_WAIT_S)
        while pending and not active.ready() and (left_s := begun_s + OPEN_WAIT_S - self.clock()) > 0:
            _, pending = await asyncio.wait(pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)

    def adopt(self, rules: Selection) -> None:
        """Go on with a catalog and rules that changed: sessions of what is sold no more end, the others change."""
        self.rules = rules
        sold = {(application, service.name): service for application, service in self.catalog.pairs()}
        for pair, active in list(self._active.items()):
            if (service := sold.get(pair)) is not None:
                active.adopt(service, rules)
            else:
                active.retiring = True
                self._retiring.append(self._active.pop(pair))
        self._problems = {pair: problem for pair, problem in self._problems.items() if pair in sold}

    def _spare(self) -> None:
        """Leave to other workers what is set aside of a cap here and not needed."""
        if self.shared.workers > 1:
            for active in self.all():
                active.purse.spare()

    def _drop_if_over(self, pair: Pair, old: ActiveSession | None) -> None:
        """Stop using a session that nobody serves any more."""
        if old is not None and self.params is not None and self.market.head > old.session.end + self.params.grace:
            old.retiring = True
            self._retiring.append(self._active.pop(pair))

    async def _retire(self, params: Params) -> None:
        for active in list(self._retiring):
            if not active.in_flight() or self.market.head >= closing_block(active.session.end, params):
                self._retiring.remove(active)
                self._spawn(self._close(active))

    async def _close(self, active: ActiveSession) -> None:
        """Close the lanes of a session that is over; those that still answer when they have.

        What ends later is not in the statement any more: the supplier claims it with its Response (rule 5.7).
        """
        active.closing = True
        await _close_lanes([seat for seat in active.seats.values() if not active.load(seat.supplier.operator)])
        self.records.end(active.session)
        try:
            async with asyncio.timeout(active.service.spec.timeout_s):
                while active.in_flight():  # noqa: ASYNC110 - lanes have no event for it, and nobody waits
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            log.warning("answers of an old session are given up", service=active.service.name)
        finally:
            await _close_lanes(active.seats.values())

    # ---- lanes

    def _reconnect(self, active: ActiveSession) -> None:
        now_s = self.clock()
        for seat in active.seats.values():
            if not seat.open() and not seat.connecting and seat.rest_until_s <= now_s:
                self._spawn(self._connect(active, seat))

    async def _connect(self, active: ActiveSession, seat: Seat) -> None:
        seat.connecting = True
        session, supplier = active.session, seat.supplier
        lane = secrets.token_bytes(32)
        opening = Opening(session.application, session.service, session.number, supplier.operator, self.gateway, lane)
        try:
            old, seat.lane = seat.lane, await self.opener.open(opening, supplier.endpoint, supplier.fingerprint)
            seat.failures, seat.problem = 0, ""
            if old is not None:
                await old.close()
        except PocketError as error:
            if seat.problem != str(error):
                log.warning("lane refused", supplier=seat.supplier_hex, service=active.service.name, error=str(error))
            seat.problem = str(error)
            seat.rest_until_s = self.clock() + BACKOFF_S[min(seat.failures, len(BACKOFF_S) - 1)]
            seat.failures += 1
        finally:
            seat.connecting = False
            active.forget_ranking()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _close_lanes(seats: Iterable[Seat]) -> None:
    lanes = [seat.lane for seat in seats if seat.lane is not None]
    await asyncio.gather(*(lane.close() for lane in lanes), return_exceptions=True)


def closing_block(end: int, params: Params) -> int:
    """Return the block at which answers of a session that ended with block `end` are waited for no longer.

    Long streams get a part of the statement window; most of it is left to state what they cost.
    """
    return end + params.grace + max(1, (params.statement_window - params.grace) // 4)
