"""Makes a supplier serve badly: it answers another request, thirty times later, dies in mid-stream, or tires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import orjson

from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.supplier.answerer import SupplierAnswerer
from pocketnode.transport.ports import Relay, Served

USUAL_S: Final = 0.005  # in which a node here answers; a chat takes a hundred times as long
SLOWER: Final = 30
PARTS_BEFORE_DEATH: Final = 4
PROMPT_AT_FIRST: Final = 60  # answers
TIRED_S: Final = 3.0

_honest = SupplierAnswerer.answer
_served = [0]


class Wrapped:
    """A relay whose answer passes through `change`."""

    def __init__(self, relay: Relay, change: Callable[[bytes], bytes]) -> None:
        self._relay = relay
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)

    async def write(self, data: bytes) -> None:
        await self._relay.write(self._change(data))


def _is_chat(relay: Relay) -> bool:
    return b'"messages"' in relay.body


def _other_id(data: bytes) -> bytes:
    answer = orjson.loads(data)
    return orjson.dumps({**answer, "id": answer["id"] + 1})


async def false_ids(self: SupplierAnswerer, relay: Any) -> Served:
    """Answer each JSON-RPC request as if it were another one."""
    return await _honest(self, relay if _is_chat(relay) else Wrapped(relay, _other_id))


async def slow(self: SupplierAnswerer, relay: Any) -> Served:
    """Answer thirty times later than others."""
    await asyncio.sleep(USUAL_S * SLOWER * (10 if _is_chat(relay) else 1))
    return await _honest(self, relay)


async def dies(self: SupplierAnswerer, relay: Any) -> Served:
    """Break off in the middle of each stream, and of whole chats at their beginning."""
    left = [PARTS_BEFORE_DEATH if b'"stream":true' in relay.body.replace(b" ", b"") else 0]

    def change(data: bytes) -> bytes:
        if not left[0]:
            raise RelayFailed(FaultClass.BACKEND, "the backend has died")
        left[0] -= 1
        return data

    return await _honest(self, Wrapped(relay, change) if _is_chat(relay) else relay)


async def tires(self: SupplierAnswerer, relay: Any) -> Served:
    """Answer as fast as others at first, and then seconds later."""
    _served[0] += 1
    if _served[0] > PROMPT_AT_FIRST:
        await asyncio.sleep(TIRED_S)
    return await _honest(self, relay)


WAYS: Final[dict[str, Callable[..., Any]]] = {"false-ids": false_ids, "slow": slow, "dies": dies, "tires": tires}


def install(name: str) -> None:
    """Have this process serve in one of these ways."""
    vars_of: Any = SupplierAnswerer
    vars_of.answer = WAYS[name]
