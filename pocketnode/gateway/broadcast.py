"""Transactions: sent to two suppliers at once, so that one who drops it loses nothing; sent twice is sent once.

A node that has the transaction already says so with an error, which is success for its user.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson

from pocketnode.crypto.keccak import keccak
from pocketnode.gateway.orders import Answer, Order
from pocketnode.gateway.refusal import Refused
from pocketnode.gateway.relaying import Relaying
from pocketnode.gateway.rpc_codec import Item, result
from pocketnode.gateway.rpc_judging import is_known_transaction

COPIES: Final = 2


class Broadcasting:
    """Sends one request to several suppliers. One for the daemon."""

    def __init__(self, relaying: Relaying) -> None:
        self._relaying = relaying
        self._others: set[asyncio.Task[Answer]] = set()

    async def send(self, order: Order, item: Item) -> tuple[Answer, bytes]:
        """Return the first answer that says it is taken, with its body; else the first one there is.

        The user pays for one of them; the other is this gateway's own expense.

        Raises
        ------
        Refused
            nobody could be asked.
        """
        pending = {asyncio.ensure_future(self._relaying.whole(order)) for _ in range(COPIES)}
        found: Answer | None = None
        refused: Refused | None = None
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    try:
                        answer = task.result()
                    except Refused as error:
                        refused = error
                        continue
                    if (body := taken(answer.body, item)) is not None:
                        return answer, body
                    found = found or answer
        finally:
            self._leave(pending)
        if found is None:
            assert refused is not None
            raise refused
        return found, found.body

    def _leave(self, pending: set[asyncio.Task[Answer]]) -> None:
        """Let the others end in peace: what they do is wanted, only nobody waits for it."""
        for task in pending:
            self._others.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Answer]) -> None:
        self._others.discard(task)
        if not task.cancelled():
            task.exception()  # told to nobody: the record of the attempt has it


def taken(body: bytes, item: Item) -> bytes | None:
    """Return the answer if it says that the node has the transaction; made by us where it calls that an error."""
    answer = orjson.loads(body)
    if "error" not in answer or answer["error"] is None:
        return body
    if is_known_transaction(answer["error"]) and (known := hash_of(item.params)) is not None:
        return result(item.raw_id, b'"' + known.encode() + b'"')
    return None


def hash_of(params: Any) -> str | None:
    """Return the hash of the signed transaction in the parameters, if it can be read.

    >>> hash_of(["0x"])
    '0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470'
    """
    raw = params[0] if isinstance(params, list) and params else None
    if not isinstance(raw, str) or not raw.startswith("0x"):
        return None
    try:
        return "0x" + keccak(bytes.fromhex(raw[2:])).hex()
    except ValueError:
        return None
