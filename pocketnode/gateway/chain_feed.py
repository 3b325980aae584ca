"""New blocks and logs of a service's chain, followed by ordinary relays and shared by all who subscribed.

Since each block is asked for by number and linked to the one before, neither the loss of a supplier nor a change of
session makes a gap or a repeat; after a reorg the blocks that replace others are told, and the logs that are gone once
more with `removed: true`.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from pocketnode.errors import PocketError
from pocketnode.gateway.blocks import quantity
from pocketnode.gateway.pending_feed import PendingFeed
from pocketnode.gateway.refusal import BAD_PARAMS, Refused

PENDING: Final = "newPendingTransactions"
KINDS: Final = ("newHeads", "logs", PENDING)
BLOCKS_KEPT: Final = 256
BLOCKS_A_STEP: Final = 64
BLOCKS_BEHIND_MOST: Final = 1024
NOT_IN_HEADERS: Final = frozenset({"transactions", "uncles", "withdrawals", "size", "totalDifficulty"})

log = structlog.get_logger()
Ask = Callable[[str, list[Any]], Awaitable[Any]]
Tell = Callable[[str, Any], None]


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one client wants to be told; `tell` gets the subscription's id and what is new."""

    id: str
    kind: str
    wanted: dict[str, Any]
    tell: Tell


@dataclass(slots=True)
class Known:
    """A block that was told."""

    number: int
    hash: str
    logs: list[dict[str, Any]] = field(default_factory=list)


class ChainFeed:
    """One for each service. `step` is called again and again while there are subscriptions."""

    def __init__(self, ask: Ask, pending: PendingFeed | None = None) -> None:
        self._ask = ask
        self._pending = pending
        self._blocks: deque[Known] = deque(maxlen=BLOCKS_KEPT)
        self.subscriptions: dict[str, Subscription] = {}

    def subscribe(self, params: Any, tell: Tell) -> str:
        """Add a subscription and return its id.

        Raises
        ------
        Refused
            of another kind than those in `KINDS`, or with a malformed filter.
        """
        kind = params[0] if isinstance(params, list) and params else None
        wanted = params[1] if isinstance(params, list) and len(params) > 1 else {}
        if kind not in KINDS or (kind == PENDING and self._pending is None):
            raise Refused(BAD_PARAMS, f"subscriptions are {', '.join(KINDS)}")
        if kind == PENDING and wanted not in (False, {}):
            raise Refused(BAD_PARAMS, "pending transactions are told by their hash")
        wanted = {} if kind == PENDING else wanted
        if not isinstance(wanted, dict):
            raise Refused(BAD_PARAMS, "a filter is an object")
        identity = "0x" + secrets.token_hex(16)
        self.subscriptions[identity] = Subscription(identity, kind, wanted, tell)
        return identity

    def unsubscribe(self, identity: str) -> bool:
        """End a subscription; False if there is none of that id."""
        ended = self.subscriptions.pop(identity, None) is not None
        if self._pending is not None and not self._wanted(PENDING):
            self._pending.forget()
        if not self._wanted("newHeads", "logs"):
            self._blocks.clear()
        return ended

    def _wanted(self, *kinds: str) -> bool:
        return any(subscription.kind in kinds for subscription in self.subscriptions.values())

    async def step(self) -> None:
        """Look for what is new and tell it. What fails is tried again in the next step."""
        if self._pending is not None and self._wanted(PENDING):
            self._tell(PENDING, await self._pending.news())
        if not self._wanted("newHeads", "logs"):
            return
        try:
            head = quantity(await self._ask("eth_blockNumber", []))
            if head is None:
                return
            if not self._blocks or head - self._blocks[-1].number > BLOCKS_BEHIND_MOST:
                await self._begin(head)
                return
            for _ in range(BLOCKS_A_STEP):
                if not self._blocks or self._blocks[-1].number >= head or not await self._advance():
                    return
        except PocketError as error:
            log.info("chain feed waits", error=str(error))

    async def _begin(self, head: int) -> None:
        block = await self._block(head)
        if block is not None:
            self._blocks.clear()
            self._blocks.append(Known(head, block["hash"]))

    async def _advance(self) -> bool:
        """Take the next block, or take back the last one if the next does not follow it."""
        last = self._blocks[-1]
        block = await self._block(last.number + 1)
        if block is None:
            return False
        if block.get("parentHash") != last.hash:
            await self._take_back(last)
            return True
        logs = await self._logs(block) if self._wanted("logs") else []
        self._blocks.append(Known(last.number + 1, block["hash"], logs))
        header = {name: value for name, value in block.items() if name not in NOT_IN_HEADERS}
        self._tell("newHeads", [header])
        self._tell("logs", logs)
        return True

    async def _take_back(self, gone: Known) -> None:
        """Take back the newest block, which is no longer the chain's; the one before it may be next."""
        if not self._blocks:
            return  # all who waited for blocks have left meanwhile
        self._blocks.pop()
        self._tell("logs", [{**entry, "removed": True} for entry in reversed(gone.logs)])
        if not self._blocks:
            before = await self._block(gone.number - 1)
            if before is not None:
                self._blocks.append(Known(gone.number - 1, before["hash"]))

    async def _block(self, number: int) -> dict[str, Any] | None:
        block = await self._ask("eth_getBlockByNumber", [hex(number), False])
        return block if isinstance(block, dict) and isinstance(block.get("hash"), str) else None

    async def _logs(self, block: dict[str, Any]) -> list[dict[str, Any]]:
        bloom = block.get("logsBloom")
        if isinstance(bloom, str) and not bloom.removeprefix("0x").strip("0"):
            return []
        found = await self._ask("eth_getLogs", [{"blockHash": block["hash"]}])
        return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []

    def _tell(self, kind: str, news: Sequence[Any]) -> None:
        for subscription in list(self.subscriptions.values()):
            if subscription.kind != kind:
                continue
            for one in news:
                if kind != "logs" or matches(subscription.wanted, one):
                    subscription.tell(subscription.id, one)


def matches(wanted: dict[str, Any], entry: dict[str, Any]) -> bool:
    """Return whether a log passes a filter: its address among those named, each topic among those at its place.

    >>> matches({"address": "0xAB", "topics": [None, ["0x1", "0x2"]]}, {"address": "0xab", "topics": ["0x0", "0x2"]})
    True
    """
    addresses = _choices(wanted.get("address"))
    if addresses and str(entry.get("address", "")).lower() not in addresses:
        return False
    places, topics = wanted.get("topics") or [], entry.get("topics")
    topics = topics if isinstance(topics, list) else []  # a supplier says what it likes
    if not isinstance(places, list) or len(places) > len(topics):
        return not places
    return all(
        not (chosen := _choices(place)) or str(topic).lower() in chosen
        for place, topic in zip(places, topics, strict=False)
    )


def _choices(value: Any) -> set[str]:
    if value is None:
        return set()
    return {str(one).lower() for one in (value if isinstance(value, list) else [value])}
