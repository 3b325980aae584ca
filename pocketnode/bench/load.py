"""Closed loop for capacity, open loop for latency.

Closed: each connection sends as soon as it has its answer, so the server sets the pace. Open: requests are due at a
fixed rate whatever the server does, and a latency counts from when its request was due (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pocketnode.bench.http import BROKEN, Connection, Exchange, Url
from pocketnode.bench.requests import MakeRequest
from pocketnode.bench.ticks import Ticks
from pocketnode.errors import Unavailable

DRAIN_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 5.0
RECONNECT_S: Final = 0.05

Sound = Callable[[Exchange], bool]


def answered(exchange: Exchange) -> bool:
    """Return whether there is an answer at all."""
    return exchange.status == 200


@dataclass(slots=True)
class Run:
    """What happened between the end of warm-up and the end.

    Parameters
    ----------
    seconds : measured, without warm-up.
    unsound : statuses of what was no proper answer, and how often.
    unanswered : what was due and had no answer long after the end.
    """

    seconds: float
    sound: list[Exchange] = field(default_factory=list)
    unsound: dict[int, int] = field(default_factory=dict)
    unanswered: int = 0

    @property
    def rate(self) -> float:
        """Sound answers a second."""
        return len(self.sound) / self.seconds

    @property
    def failed(self) -> int:
        return sum(self.unsound.values()) + self.unanswered


@dataclass(slots=True)
class Load:
    """Who is asked, what, and what counts as an answer.

    Parameters
    ----------
    warmup_s : whose exchanges are thrown away.
    on_measured, on_end : called when warm-up ends and when measurement ends, for accounts of the processes.
    """

    url: Url
    make: MakeRequest
    sound: Sound = answered
    events: bool = False
    warmup_s: float = 1.0
    on_measured: Callable[[], None] = lambda: None
    on_end: Callable[[], None] = lambda: None


async def closed_loop(load: Load, connections: int, seconds: float) -> Run:
    """Ask on so many connections, each as fast as it gets answers."""
    return await _Closed(load, seconds).run(connections)


async def open_loop(load: Load, rate: float, seconds: float, connections_most: int = 2048) -> Run:
    """Ask `rate` times a second; a request for which no connection is free waits, and its latency counts that."""
    return await _Open(load, rate, seconds, connections_most).run()


class _Loop:
    def __init__(self, load: Load, seconds: float) -> None:
        self._load = load
        self._seconds = seconds
        self._run = Run(seconds)
        self._number = 0
        self._from_s = 0.0
        self._until_s = 0.0
        self._connections: list[Connection] = []

    async def _connect(self) -> Connection:
        load = self._load
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._done, load.events), load.url.host, load.url.port
                )
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"nobody answers at {load.url.host}:{load.url.port}: {error}") from error
        self._connections.append(connection)
        return connection

    async def _measure(self) -> None:
        """Let warm-up and measurement pass."""
        await asyncio.sleep(self._load.warmup_s)
        self._from_s = time.perf_counter()
        self._until_s = self._from_s + self._seconds
        self._load.on_measured()
        await asyncio.sleep(self._seconds)
        self._load.on_end()

    def _keep(self, exchange: Exchange) -> None:
        if self._load.sound(exchange):
            exchange.body = b""
            self._run.sound.append(exchange)
        else:
            self._run.unsound[exchange.status] = self._run.unsound.get(exchange.status, 0) + 1

    def _send(self, connection: Connection, due_s: float) -> None:
        self._number += 1
        connection.send(self._load.make(self._number), Exchange(due_s))

    def _done(self, connection: Connection, exchange: Exchange) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        for connection in self._connections:
            connection.close()


class _Closed(_Loop):
    async def run(self, connections: int) -> Run:
        opened = await asyncio.gather(*(self._connect() for _ in range(connections)))
        for connection in opened:
            self._send(connection, time.perf_counter())
        await self._measure()
        self._close()
        return self._run

    def _done(self, connection: Connection, exchange: Exchange) -> None:
        # An exchange counts where it ends, so a run counts each that was answered within it.
        now_s = exchange.done_s
        if self._from_s and now_s <= self._until_s:
            self._keep(exchange)
        if self._until_s and now_s > self._until_s:
            return
        if connection.closed:
            delay_s = 0.0 if exchange.status != BROKEN else RECONNECT_S
            asyncio.get_running_loop().call_later(delay_s, self._replace)
        else:
            self._send(connection, time.perf_counter())

    def _replace(self) -> None:
        """Put a new connection in place of one that the server closed."""
        asyncio.ensure_future(self._connect()).add_done_callback(self._replaced)

    def _replaced(self, connecting: asyncio.Task[Connection]) -> None:
        if connecting.cancelled():
            return
        if connecting.exception() is not None:
            self._run.unsound[BROKEN] = self._run.unsound.get(BROKEN, 0) + 1
            asyncio.get_running_loop().call_later(RECONNECT_S, self._replace)
        elif not self._until_s or time.perf_counter() < self._until_s:
            self._send(connecting.result(), time.perf_counter())


class _Open(_Loop):
    def __init__(self, load: Load, rate: float, seconds: float, connections_most: int) -> None:
        super().__init__(load, seconds)
        self._rate = rate
        self._most = connections_most
        self._idle: list[Connection] = []
        self._due: deque[float] = deque()
        self._opening = 0
        self._next_s = 0.0
        self._outstanding = 0
        self._over = False
        self._all_answered = asyncio.Event()

    async def run(self) -> Run:
        at_first = max(1, min(self._most, int(self._rate / 20)))
        self._idle = list(await asyncio.gather(*(self._connect() for _ in range(at_first))))
        ticks = Ticks(1 / self._rate, self._tick)
        self._next_s = time.perf_counter() + 1 / self._rate
        await self._measure()
        ticks.stop()
        self._over = True
        if self._outstanding:
            await self._drain()
        self._close()
        return self._run

    async def _drain(self) -> None:
        """Wait for the answers to what was due in time; what does not come counts as failed."""
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._all_answered.wait()
        except TimeoutError:
            self._run.unanswered = self._outstanding

    def _tick(self, passed: int) -> None:
        for _ in range(passed):
            self._due.append(self._next_s)
            if self._measured(self._next_s):
                self._outstanding += 1
            self._next_s += 1 / self._rate
        self._serve()

    def _serve(self) -> None:
        while self._due:
            while self._idle and self._idle[-1].closed:
                self._idle.pop()
            if not self._idle:
                self._open_another()
                return
            self._send(self._idle.pop(), self._due.popleft())

    def _open_another(self) -> None:
        if self._opening < len(self._due) and len(self._connections) < self._most:
            self._opening += 1
            asyncio.ensure_future(self._connect()).add_done_callback(self._opened)

    def _opened(self, connecting: asyncio.Task[Connection]) -> None:
        self._opening -= 1
        if not connecting.cancelled() and connecting.exception() is None:
            self._idle.append(connecting.result())
            self._serve()

    def _done(self, connection: Connection, exchange: Exchange) -> None:
        if self._measured(exchange.due_s):
            self._keep(exchange)
            self._outstanding -= 1
            if self._over and not self._outstanding:
                self._all_answered.set()
        if connection.closed:
            self._connections.remove(connection)
        else:
            self._idle.append(connection)
        self._serve()

    def _measured(self, due_s: float) -> bool:
        return bool(self._from_s) and self._from_s <= due_s < self._until_s
