"""A TCP load balancer as small as can be: connections go to whichever of its targets is next and answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle


@asynccontextmanager
async def splitting(port: int, targets: Sequence[int]) -> AsyncIterator[list[int]]:
    """Listen on `port` of this machine; yield to which target each connection went."""
    order, taken = cycle(targets), list[int]()
    passing: set[asyncio.Task[None]] = set()

    async def split(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for target in (next(order) for _ in targets):
            with suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", target)
                taken.append(target)
                for source, sink in ((reader, back), (there, writer)):
                    task = asyncio.ensure_future(_pass(source, sink))
                    passing.add(task)
                    task.add_done_callback(passing.discard)
                return
        writer.close()

    listener = await asyncio.start_server(split, "127.0.0.1", port)
    yield taken
    listener.close()
    for task in list(passing):
        task.cancel()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()
