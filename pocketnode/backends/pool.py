"""Several backends of one service: who is asked, who waits, who is left alone."""

from __future__ import annotations

import asyncio
import contextlib
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
_LOOK_TIMEOUT_S = 2.0


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
    elsewhere: int = 0  # requests at the server that are not ours, where it tells
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
        return 1.0 - self.in_flight / self._usable(now_s) if self.in_use else 0.0

    def preference(self, now_s: float) -> float:
        """Return by what to choose among those with room: free capacity, less what others take of it."""
        return 1.0 - (self.in_flight + self.elsewhere) / self._usable(now_s)

    def _usable(self, now_s: float) -> float:
        return max(1.0, self.concurrency * breaker.share(self.state, now_s))

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
        self._waiting: deque[asyncio.Future[Member]] = deque()
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
        member = self._free() or await self._turn()
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
        looks = [self._look(member) for member in self.members] if len(self.members) > 1 else []
        await asyncio.gather(*(self._check(member) for member in due), *looks)

    async def _ask(self, member: Member, exchange: Exchange) -> int:
        """Ask a backend whose place is taken already; give the place back."""
        begun_s = self._clock()
        try:
            units = await member.backend.answer(exchange)
        except BackendFailed as failure:
            if failure.fault.kind is FaultClass.BACKEND:
                member.bad(self._clock(), failure.fault.message)
            raise
        finally:
            self._give_back(member)
        now_s = self._clock()
        member.good(now_s, now_s - begun_s)
        return units

    def _another(self, member: Member, tried: list[Member], failure: BackendFailed) -> Member | None:
        """Take a place at who may be asked after `member` failed, if anybody."""
        if not failure.elsewhere or len(tried) + 1 >= ATTEMPTS_MOST:
            return None
        tried.append(member)
        if failure.again and tried.count(member) == 1 and member.in_use:
            member.in_flight += 1
            return member
        return self._take(tried)

    def _free(self) -> Member | None:
        """Take a place at the backend with the most room, unless others wait for it already."""
        return None if self._waiting else self._take(())

    def _take(self, tried: Sequence[Member]) -> Member | None:
        now_s = self._clock()
        with_room = [member for member in self.members if member.room(now_s) > 0 and member not in tried]
        if not with_room:
            return None
        chosen = with_room[0] if len(with_room) == 1 else max(with_room, key=lambda m: m.preference(now_s))
        chosen.in_flight += 1
        return chosen

    def _give_back(self, member: Member) -> None:
        member.in_flight -= 1
        self._wake()

    async def _turn(self) -> Member:
        """Wait in line for a place, or say at once that there is none."""
        if not self.healthy:
            errors = "; ".join(member.last_error for member in self.members if member.last_error)
            raise BackendFailed(f"no backend works: {errors}"[:300], retry_after_ms=1000)
        if len(self._waiting) >= self._queue.most:
            raise RelayFailed(FaultClass.BUSY, f"{self.waiting} requests wait already", self._retry_after_ms())
        turn: asyncio.Future[Member] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._queue.wait_s):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # a place came at the moment of leaving
                self._give_back(turn.result())
            if isinstance(error, TimeoutError):
                raise RelayFailed(FaultClass.BUSY, "no backend is free", self._retry_after_ms()) from error
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def _wake(self) -> None:
        """Give free places to who waits longest."""
        while self._waiting:
            if self._waiting[0].done():  # has left
                self._waiting.popleft()
                continue
            member = self._take(())
            if member is None:
                return
            self._waiting.popleft().set_result(member)

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

    async def _look(self, member: Member) -> None:
        """Ask a server how busy it is beyond what we gave it; others may use it, too."""
        load = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_TIMEOUT_S):
                load = await member.backend.load() if member.in_use else None
        member.elsewhere = max(0, load - member.in_flight) if load is not None else 0
