"""The explorer: follows every contract's logs into a book, and answers for it.

| path | answer |
|---|---|
| /api/chain | totals and services |
| /api/chain/{list} | `?find=&offset=&limit=`: suppliers, applications or gateways, the largest first |
| /api/pots | `?gateway=&service=&offset=&limit=`: what sessions came to, the newest first |
| /api/pots/{pot} | one pot with each supplier's part |
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from aiohttp import web
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from pocketnode.chain.blocks import Block, block_at
from pocketnode.chain.contracts import Log, contract
from pocketnode.chain.errors import Refused
from pocketnode.chain.events import Claimed, read_logs, typed
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader, hex_bytes
from pocketnode.errors import NotFound, PocketError, Unavailable
from pocketnode.protocol.session import number_at, payable_from
from pocketnode.protocol.statement import Demand, divide
from pocketnode.protocol.types import Params
from pocketnode.store.explored import ExploredStore
from pocketnode.web import shown
from pocketnode.web.answers import hex_of, json, number_of
from pocketnode.web.book import Book, PotLine
from pocketnode.web.entries import apply
from pocketnode.web.settled import settle
from pocketnode.web.shelf import Shelf, matching

CONTRACTS: Final = ("Services", "Registry", "Gateways", "Escrow", "Settlement")
PIECE_BLOCKS: Final = 20_000
DEPTH_MOST: Final = 12
RETRY_S: Final = 2.0
KEPT_EVERY_BLOCKS: Final = 500  # where no log comes
SHOWN_MOST: Final = 200
OFFSET_MOST: Final = 10_000_000
LISTS: Final[dict[str, Callable[[Book], list[dict[str, Any]]]]] = {
    "suppliers": shown.suppliers,
    "applications": shown.applications,
    "gateways": shown.gateways,
    "services": shown.services,
}

log = structlog.get_logger("explorer")


class Explorer:
    """One deployment's book. `run` is a job of the daemon; `market.heads.run` must be one too.

    What is shown lies a few blocks behind the head (at most `DEPTH_MOST`, and within the grace), so that it is not
    unwound by a reorg of the ordinary kind. A deeper one has the logs read again from the first. What was read is kept
    in the store; the logs of years are read once.
    """

    name = "explorer"

    def __init__(self, reader: Reader, market: Market, store: ExploredStore) -> None:
        self._reader, self._market = reader, market
        self._shelf = Shelf(store, reader.address("Settlement"))
        self._depth = min(DEPTH_MOST, reader.deployment.windows.grace)
        self._first = reader.deployment.block
        self._about: dict[str, Any] = {}
        self.problem = ""
        self.book = Book()
        self._read = False  # whether the book stands as it was kept, or as the logs since then have it

    async def about(self) -> dict[str, Any]:
        """Return chain, token and windows.

        Raises
        ------
        Unavailable
            no node answers.
        """
        if not self._about:
            (symbol,) = await self._reader.call("TestToken", "symbol")
            (decimals,) = await self._reader.call("TestToken", "decimals")
            deployment = self._reader.deployment
            self._about = {
                "chain_id": deployment.chain_id,
                "token": {"symbol": symbol, "decimals": decimals},
                "windows": deployment.windows.model_dump(),
                "fee": (await self._market.params(self._market.number_now())).fee,
                "contracts": deployment.contracts.model_dump(mode="json"),
            }
        return self._about

    def routes(self) -> list[web.RouteDef]:
        """Return what the dashboard asks."""
        return [
            web.get("/api/chain", self._chain),
            web.get("/api/chain/{list}", self._list),
            web.get("/api/pots", self._pots),
            web.get("/api/pots/{pot}", self._pot),
        ]

    async def run(self) -> None:
        """Follow the logs until cancelled. Outages are survived."""
        head: Block | None = None
        while True:
            head = await self._market.heads.changed(head)
            try:
                while await self._step(head.number - self._depth):
                    pass
                self.problem = ""
            except PocketError as error:
                self.problem = str(error)
                log.warning("explorer waits", error=str(error), block=self.book.block)
                await asyncio.sleep(RETRY_S)

    def pot(self, id: bytes) -> PotLine | None:
        """Return what is known of a pot. Synchronous: call it from a thread."""
        return self.book.pots.get(id) or self._shelf.pot(id)

    # ---- following

    async def _step(self, target: int) -> bool:
        """Read one piece towards `target`; return whether there is more."""
        await self._check_kept(target)
        first = max(self._first, self.book.block + 1)
        if first > target:
            return False
        last = min(target, first + PIECE_BLOCKS - 1)
        end = await block_at(self._reader.rpc, last)
        logs: list[tuple[str, Log]] = []
        for name in CONTRACTS:
            found = await read_logs(self._reader.rpc, self._reader.address(name), first, last)
            logs += [(name, entry) for entry in found]
        self._read = False  # what breaks off from here on is read anew
        for name, entry in sorted(logs, key=lambda pair: (pair[1].block, pair[1].position)):
            await self._apply(name, entry)
        self.book.block = last
        kept = self._shelf.checkpoint
        if logs or kept is None or last - kept.block >= KEPT_EVERY_BLOCKS:
            if not await asyncio.to_thread(self._shelf.keep, self.book, end.number, end.hash):
                return True  # another process follows into the same store: go on from what it has
            self.book.was_kept()
        self._read = True
        return last < target

    async def _check_kept(self, target: int) -> None:
        """See that the book is read, and that the chain still has the block up to which it was kept."""
        if not self._read:
            self.book = await asyncio.to_thread(self._shelf.read)
            self._read = True
        kept = self._shelf.checkpoint
        if kept is None or kept.block > target:
            return
        if (await block_at(self._reader.rpc, kept.block)).hash != kept.hash:
            log.warning("the chain changed deeper than expected: reading it again", block=kept.block)
            self.book = await asyncio.to_thread(self._shelf.forget)

    async def _apply(self, name: str, entry: Log) -> None:
        if name == "Settlement":
            event = typed(entry)
            if event is not None:
                settle(self.book, event, entry.transaction, await self._key_of(event, entry.transaction))
            return
        known = contract(name).events.get(entry.topics[0]) if entry.topics else None
        if known is not None:
            apply(self.book, name, known.name, known.facts(entry))

    async def _key_of(self, event: Any, transaction: bytes) -> Mapping[str, Any] | None:
        """Return whose session a claim is of, from the call, where no statement told it."""
        if not isinstance(event, Claimed) or self.book.pot(event.pot).application:
            return None
        function = contract("Settlement").functions["claim"]
        try:
            found = await self._reader.rpc.ask("eth_getTransactionByHash", f"0x{transaction.hex()}")
            data = hex_bytes(found["input"])
            (application, service, session, gateway), *_ = decode(function.inputs, data[4:])
        except (Refused, DecodingError, TypeError, KeyError, ValueError):
            return None  # claimed through another contract: the pot stays without a name
        accounts = {"application": bytes.fromhex(application[2:]), "gateway": bytes.fromhex(gateway[2:])}
        return {**accounts, "service": service, "session": session}

    # ---- answering

    async def _chain(self, _: web.Request) -> web.Response:
        head = self._market.head
        session = max(0, number_at(head, await self._market.params(0))) if head else 0
        facts = {"head": head, "block": self.book.block, "session": session, "problem": self.problem}
        return json({**facts, "totals": shown.totals(self.book), "services": shown.services(self.book)})

    async def _list(self, request: web.Request) -> web.Response:
        lines = LISTS.get(request.match_info["list"])
        if lines is None:
            raise NotFound(f"one of {', '.join(LISTS)}")
        found = matching(lines(self.book), request.query.get("find", ""))
        offset, limit = _page(request)
        return json({"count": len(found), "rows": found[offset : offset + limit]})

    async def _pots(self, request: web.Request) -> web.Response:
        query = request.query
        gateway, name = hex_of(query.get("gateway", ""), 20), query.get("service")
        service = name.encode().ljust(32, b"\x00") if name else None
        offset, limit = _page(request)
        found = await asyncio.to_thread(self._shelf.newest, limit, offset, gateway, service)
        return json({"block": self.book.block, "pots": [await self._shown(pot) for pot in found]})

    async def _pot(self, request: web.Request) -> web.Response:
        raw = hex_of(request.match_info["pot"], 32)
        pot = await asyncio.to_thread(self.pot, raw) if raw else None
        if pot is None:
            raise NotFound("no such pot among the logs that were read")
        return json(await self._shown(pot))

    async def _shown(self, pot: PotLine) -> dict[str, Any]:
        try:
            params = await self._market.params(max(0, pot.session))
        except Unavailable:
            return shown.pot(pot, self.book, None, None, 0)
        expected, fee = _expected(pot, params)
        return shown.pot(pot, self.book, expected, fee, payable_from(max(0, pot.session), params))


def _page(request: web.Request) -> tuple[int, int]:
    """Return offset and limit of what is asked for."""
    query = request.query
    return number_of(query.get("offset", "0"), 0, OFFSET_MOST), number_of(query.get("limit", "50"), 1, SHOWN_MOST)


def _expected(pot: PotLine, params: Params) -> tuple[dict[int, int], int]:
    """Return what each rank gets, compensation left out, and the fee, as the logs stand (rules 5.6 to 5.12)."""
    ranks = sorted(pot.ranks)
    demands = [
        Demand(r.amount, r.quality or 0, max(0, r.demand - r.amount)) for r in (pot.ranks[rank] for rank in ranks)
    ]
    payout = divide(demands, pot.taken, max(len(ranks), 1), params)
    return dict(zip(ranks, payout.pay, strict=True)), payout.fee
