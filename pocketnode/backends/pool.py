"""Several backends of one service: who is asked, who waits, who is left alone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pocketnode.backends import breaker
from pocketnode.backends.breaker import Breaker
from pocketnode.backends.failure import BackendFailed
from pocketnode.backends.ports import Answered, Backend, Exchange
from pocketnode.protocol.fault import FaultClass, RelayFailed

ATTEMPTS_MOST = 3
_CHECK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Queue:
    """How many requests may wait for a free backend, and for how long, before they are told `busy`."""

    most: int = 64
    wait_s: float = 2.0


@dataclass(slots=True, eq=False)
class Member:
    """One backend in a pool, with its counts since the start."""

    backend: Backend
    concurrency: int
    state: Breaker = breaker.NEW
    in_flight: int = 0
    served: int = 0
    failures: int = 0
    mean_s: float = 0.0
    last_good_s: float = field(default=float("-inf"))
    last_error: str = ""

    @property
    def in_use(self) -> bool:
        """Whether it is not left alone."""
        return self.state.state is not breaker.State.OPEN

    def room(self, now_s: float) -> float:
        """Return which share of the capacity that it may use now is free; 0 or less for none."""
        usable = max(1.0, self.concurrency * breaker.share(self.state, now_s))
        return 1.0 - self.in_flight / usable if self.in_use else 0.0

    def good(self, now_s: float, took_s: float | None = None) -> None:
        """Count a good answer, or a good check where `took_s` is None."""
        self.last_good_s = now_s
        self.state = breaker.succeeded(self.state, now_s)
        if took_s is not None:
            self.served += 1
            self.mean_s += (took_s - self.mean_s) * 0.1

    def bad(self, now_s: float, why: str) -> None:
        """Count a failure of its own."""
        self.failures += 1
        self.last_error = why
        self.state = breaker.failed(self.state, now_s)


class Pool:
    """The backends behind one service."""

    def __init__(self, members: Sequence[Member], queue: Queue, check_every_s: float = 15.0) -> None:
        self.members = tuple(members)
        self._queue = queue
        self._check_every_s = check_every_s
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._clock = asyncio.get_running_loop().time

    @property
    def waiting(self) -> int:
        """Requests that wait for a free backend."""
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        return sum(member.in_flight for member in self.members)

    @property
    def healthy(self) -> int:
        """Backends in use."""
        return sum(member.in_use for member in self.members)

    async def answer(self, exchange: Exchange) -> Answered:
        """Answer through the backend with the most room; ask another where that is safe.

        Raises
        ------
        RelayFailed
            `busy` where none has room in time, `backend` where none works, `bad-request`.
        """
        member = self._free() or await self._wait()
        tried: list[Member] = []
        while True:
            try:
                units = await self._ask(member, exchange)
            except BackendFailed as failure:
                another = self._another(member, tried, failure)
                if another is None:
                    raise
                member = another
            else:
                return Answered(units, member.backend.identity)

    async def check(self) -> None:
        """Check every backend at once that has shown no good answer for a while, or may be taken back."""
        due = [member for member in self.members if self._is_due(member)]
        await asyncio.gather(*(self._check(member) for member in due))

    async def _ask(self, member: Member, exchange: Exchange) -> int:
        member.in_flight += 1
        begun_s = self._clock()
        try:
            units = await member.backend.answer(exchange)
        except BackendFailed as failure:
            if failure.fault.kind is FaultClass.BACKEND:
                member.bad(self._clock(), failure.fault.message)
            raise
        finally:
            member.in_flight -= 1
            self._wake()
        now_s = self._clock()
        member.good(now_s, now_s - begun_s)
        return units

    def _another(self, member: Member, tried: list[Member], failure: BackendFailed) -> Member | None:
        """Return who may be asked after `member` failed, if anybody."""
        if not failure.elsewhere or len(tried) + 1 >= ATTEMPTS_MOST:
            return None
        tried.append(member)
        if failure.again and tried.count(member) == 1 and member.in_use:
            return member
        return self._roomiest(tried)

    def _free(self) -> Member | None:
        """Return the backend with the most room, unless others wait for it already."""
        return None if self._waiting else self._roomiest(())

    def _roomiest(self, tried: Sequence[Member]) -> Member | None:
        now_s = self._clock()
        best, best_room = None, 0.0
        for member in self.members:
            room = member.room(now_s)
            if room > best_room and member not in tried:
                best, best_room = member, room
        return best

    async def _wait(self) -> Member:
        """Wait in line for room, or say at once that there is none."""
        if not any(member.in_use for member in self.members):
            errors = "; ".join(member.last_error for member in self.members if member.last_error)
            raise BackendFailed(f"no backend works: {errors}"[:300], retry_after_ms=1000)
        deadline_s = self._clock() + self._queue.wait_s
        while True:
            if len(self._waiting) >= self._queue.most:
                raise RelayFailed(FaultClass.BUSY, f"{self.waiting} requests wait already", self._retry_after_ms())
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                async with asyncio.timeout_at(deadline_s):
                    await turn
            except TimeoutError as error:
                raise RelayFailed(FaultClass.BUSY, "no backend is free", self._retry_after_ms()) from error
            finally:
                if turn in self._waiting:
                    self._waiting.remove(turn)
            member = self._roomiest(())
            if member is not None:
                return member

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _retry_after_ms(self) -> int:
        """Return how long the line takes at the usual pace, 50 ms to 30 s."""
        places = sum(member.concurrency for member in self.members if member.in_use)
        mean_s = max((member.mean_s for member in self.members), default=0.0)
        return int(min(30_000, max(50, 1000 * mean_s * (1 + self.waiting) / max(1, places))))

    def _is_due(self, member: Member) -> bool:
        now_s = self._clock()
        if not member.in_use:
            return now_s >= breaker.due_s(member.state)
        return member.in_flight == 0 and now_s - member.last_good_s >= self._check_every_s

    async def _check(self, member: Member) -> None:
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                await member.backend.check()
        except TimeoutError:
            member.bad(self._clock(), "no answer to a check in time")
        except RelayFailed as failure:
            member.bad(self._clock(), failure.fault.message)
        else:
            member.good(self._clock())
            self._wake()
