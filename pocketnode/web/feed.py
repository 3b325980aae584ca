"""Turns the meter every two seconds, keeps the series, and tells every page that looks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

import structlog

from pocketnode.errors import PocketError
from pocketnode.store.history import COLUMNS, HistoryStore, Row, Span, merged
from pocketnode.web.meter import Key, Meter, Sums
from pocketnode.web.ports import Source
from pocketnode.web.tracks import Spans, Track, row_of, series

TICK_S: Final = 2
PEERS_STEP_S: Final = 10
KEPT_STEP_S: Final = 600
HOUR_S: Final = 3600
MONTH_S: Final = 30 * 86_400
WAITING_MOST: Final = 30
END: Final = b""

log = structlog.get_logger("dashboard")


class Feed:
    """The series of one daemon, and who listens to them. `run` is a job of the daemon.

    Parameters
    ----------
    history : where weeks are kept; None keeps the last hour only.
    """

    def __init__(
        self, meter: Meter, source: Source, history: HistoryStore | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._meter = meter
        self._source = source
        self._history = history
        self._clock = clock
        self._listeners: set[asyncio.Queue[bytes]] = set()
        self._closed: list[Span] = []
        self._services = Track(TICK_S, HOUR_S // TICK_S, keys=lambda key: not key[1])
        self._peers = Track(PEERS_STEP_S, HOUR_S // PEERS_STEP_S, keys=lambda key: bool(key[1]))
        self._kept = Track(KEPT_STEP_S, 1, closed=self._close)

    async def run(self) -> None:
        """Turn the meter until cancelled; then keep what was counted."""
        try:
            while True:
                await asyncio.sleep(TICK_S - self._clock() % TICK_S)
                await self.turn()
        finally:
            self._add(self._meter.turn())
            self._kept.close()
            self._keep()

    async def turn(self) -> None:
        """Add what was counted since the last time, and tell it."""
        self._add(self._meter.turn())
        if self._closed:
            await asyncio.to_thread(self._keep)
        if self._listeners:
            message = _encoded(await self.state())
            for listener in list(self._listeners):
                _offer(listener, message)

    async def state(self) -> dict[str, Any]:
        """Return how things stand, and the newest span of each service."""
        try:
            now = await self._source.now()
        except PocketError as error:
            now = {"problem": str(error)}
        newest = self._services.newest
        rows = {} if newest is None else {service: _columns(row) for (service, _), row in newest[1].items()}
        return {"t": newest[0] if newest else int(self._clock()), "rows": rows, "now": now}

    async def listen(self) -> AsyncGenerator[bytes]:
        """Yield the state now, and again whenever the meter is turned; JSON. A slow listener misses the oldest."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MOST)
        self._listeners.add(queue)
        try:
            yield _encoded(await self.state())
            while (message := await queue.get()) != END:
                yield message
        finally:
            self._listeners.discard(queue)

    def close(self) -> None:
        """End every `listen`."""
        for listener in list(self._listeners):
            _offer(listener, END)

    async def chart(self, span_s: int, service: str | None = None, peers: bool = False) -> dict[str, Any]:
        """Return columns over the last `span_s` seconds: by service, or by peer.

        Parameters
        ----------
        service : only this one.
        """

        def wanted(key: Key) -> str | None:
            if bool(key[1]) is not peers or (service and key[0] != service):
                return None
            return key[1] or key[0]

        since_s = int(self._clock()) - span_s
        if span_s <= HOUR_S:
            track = self._peers if peers else self._services
            recent = [span for span in track.spans if span[0] >= since_s]
            return series(recent, track.step_s, wanted) | {"from": since_s}
        step_s = max(KEPT_STEP_S, _nice_step(span_s))
        spans = await asyncio.to_thread(self._stored, since_s, step_s, peers)
        return series(spans, step_s, wanted) | {"from": since_s}

    def _stored(self, since_s: int, step_s: int, peers: bool) -> Spans:
        """Return the stored spans and the one that runs, joined to steps of `step_s`."""
        stored = self._history.since(since_s, peers) if self._history else []
        steps: dict[int, dict[Key, Row]] = {}
        for span in [*stored, *_spans(*self._kept.running)]:
            rows = steps.setdefault(span.start_s // step_s * step_s, {})
            key = (span.service, span.peer)
            rows[key] = merged(rows[key], span.row) if key in rows else span.row
        return sorted(steps.items())

    def _add(self, counted: Mapping[Key, Sums]) -> None:
        now_s = self._clock()
        for track in (self._services, self._peers, self._kept):
            track.add(now_s - 0.001, counted)

    def _close(self, start_s: int, sums: Mapping[Key, Sums]) -> None:
        self._closed += _spans(start_s, sums)

    def _keep(self) -> None:
        closed, self._closed = self._closed, []
        if self._history is None or not closed:
            return
        try:
            self._history.add(closed, int(self._clock()) - MONTH_S)
        except PocketError as error:
            log.warning("history is not kept", error=str(error))


def _spans(start_s: int, sums: Mapping[Key, Sums]) -> list[Span]:
    return [Span(start_s, *key, row_of(counted)) for key, counted in sums.items()]


def _columns(row: Row) -> list[Any]:
    return [getattr(row, column) for column in COLUMNS]


def _nice_step(span_s: int) -> int:
    """Return a step that gives a few hundred points."""
    return next((step for step in (600, 1800, 3600, 3 * 3600) if span_s / step <= 800), 6 * 3600)


def _offer(listener: asyncio.Queue[bytes], message: bytes) -> None:
    if listener.full():
        listener.get_nowait()
    listener.put_nowait(message)


def _encoded(value: Any) -> bytes:
    # Amounts may exceed 64 bits, which orjson refuses.
    return json.dumps(value, separators=(",", ":")).encode()
