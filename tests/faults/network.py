"""A bad network between two programs: a TCP proxy that cuts, delays, starves, half-opens and resets."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from dataclasses import dataclass, field
from typing import Final

READ_BYTES: Final = 64 * 1024
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST, not FIN


@dataclass(slots=True)
class Weather:
    """What happens to bytes on their way; changed while they flow.

    Parameters
    ----------
    delay_s, jitter_s : how long each piece is kept, and up to how much longer; each connection has its own luck, so
        that two lanes overtake each other.
    bytes_per_s : most that a connection carries in one direction; 0 for no limit.
    stalled : nothing moves and nothing is closed, as when a cable is pulled or a NAT entry is lost.
    deaf : what the server says is swallowed, what the client says arrives: half open.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: int = 0
    stalled: bool = False
    deaf: bool = False


@dataclass(slots=True)
class ChaosProxy:
    """Listens on `port` (0: any) and forwards to `target_port`, both on 127.0.0.1."""

    target_port: int
    port: int = 0
    seed: int = 0
    weather: Weather = field(default_factory=Weather)
    connections: int = 0  # ever accepted
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Refuse new connections and reset those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """End every connection with RST, on both sides."""
        for writer in list(self._open):
            _reset(writer)

    async def cut(self) -> None:
        """Reset what is open and refuse what comes, until `start`."""
        await self.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        luck = random.Random(f"{self.seed}:{self.connections}")
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            _reset(writer)
            return
        self._open |= {writer, there_writer}
        ways = (self._carry(reader, there_writer, luck, True), self._carry(there_reader, writer, luck, False))
        tasks = [asyncio.create_task(way) for way in ways]
        self._tasks |= set(tasks)
        await asyncio.wait(tasks, return_when=asyncio.ALL_COMPLETED)
        self._tasks -= set(tasks)
        self._open -= {writer, there_writer}
        for end in (writer, there_writer):
            end.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, luck: random.Random, to_server: bool
    ) -> None:
        try:
            while piece := await reader.read(READ_BYTES):
                await self._hold(len(piece), luck)
                if self.weather.deaf and not to_server:
                    continue
                writer.write(piece)
                await writer.drain()
            writer.write_eof()
        except (OSError, RuntimeError):
            _reset(writer)

    async def _hold(self, size: int, luck: random.Random) -> None:
        weather = self.weather
        while weather.stalled:  # noqa: ASYNC110 - weather has no bell
            await asyncio.sleep(0.02)
        wait_s = weather.delay_s + luck.random() * weather.jitter_s
        if weather.bytes_per_s:
            wait_s += size / weather.bytes_per_s
        if wait_s:
            await asyncio.sleep(wait_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is not None and found.fileno() >= 0:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
