"""One JSON-RPC request: from the cache, shared with others who ask the same, or bought from a supplier."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import orjson

from pocketnode.gateway import trust
from pocketnode.gateway.access import Holder
from pocketnode.gateway.blocks import Blocks, quantity
from pocketnode.gateway.broadcast import Broadcasting
from pocketnode.gateway.catalog import Catalog, Service
from pocketnode.gateway.gate import JSON
from pocketnode.gateway.json_places import field as json_field
from pocketnode.gateway.judging import Check, Judgement
from pocketnode.gateway.ledger import Ledger
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.noted import NotedFilters, NotedHeads
from pocketnode.gateway.orders import Answer, Order
from pocketnode.gateway.own_asking import HEAD, OwnAsking
from pocketnode.gateway.pinning import Pin, Pinning, header_of, pinned
from pocketnode.gateway.ranges import joined, parts_of
from pocketnode.gateway.refusal import INTERNAL, INVALID, NO_METHOD, Refused
from pocketnode.gateway.relaying import Relaying
from pocketnode.gateway.rpc_cache import Key, RpcCache, key_of
from pocketnode.gateway.rpc_codec import NOTIFICATION, Item, numbered, result
from pocketnode.gateway.rpc_judging import check_answer, judge_error
from pocketnode.gateway.sessions import Sessions
from pocketnode.gateway.sharing import Sharing
from pocketnode.gateway.showing import moves, shown_in
from pocketnode.gateway.statics import Statics, computed
from pocketnode.gateway.trail import Trail
from pocketnode.services.spec import Method
from pocketnode.store.notes import Notes

CACHE: Final = "x-pocketnode-cache"
HEDGE_BYTES_MOST: Final = 32 * 1024
WATCH_EVERY_S: Final = 5.0


@dataclass(slots=True)
class Replied:
    """The answer to one item; empty for a notification. `view` are the blocks that stood in place of its tags."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    view: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Asking:
    """One request on its way."""

    service: Service
    holder: Holder
    item: Item
    method: Method
    trail: Trail


class RpcItems:
    """Answers single requests. One for the daemon; `watch` is a job of it."""

    def __init__(
        self,
        catalog: Catalog,
        sessions: Sessions,
        relaying: Relaying,
        ledger: Ledger,
        metrics: Metrics,
        notes: Notes,
    ) -> None:
        self.cache = RpcCache()
        self.sharing: Sharing[tuple[Key, int], bytes] = Sharing()
        self.blocks: dict[str, Blocks] = {}
        self._notes = notes
        self._filters = NotedFilters(notes)
        self._catalog = catalog
        self._sessions = sessions
        self._relaying = relaying
        self._ledger = ledger
        self._metrics = metrics
        self._broadcasting = Broadcasting(relaying)
        self.own = OwnAsking(catalog, sessions, relaying, self.blocks)
        self._statics = Statics(self.own.ask, time.monotonic)
        self._pinnings: dict[str, Pinning] = {}
        self._used: set[str] = set()  # services asked for since the head was last looked for
        self.adopt()

    def adopt(self) -> None:
        """Take up services that are new in the catalog."""
        for service in self._catalog.services.values():
            if service.spec.kind == "json-rpc" and service.name not in self.blocks:
                self.blocks[service.name] = Blocks(NotedHeads(self._notes, service.name))
                self._pinnings[service.name] = Pinning(
                    self.blocks[service.name],
                    partial(self.own.ask_two, service.name),
                    partial(self.own.look_twice, service.name),
                )

    async def answer(self, service: Service, holder: Holder, item: Item, trail: Trail) -> Replied:
        """Answer one request.

        Raises
        ------
        Refused
            the method is not sold, the key does not cover it, a limit is reached, or nobody can answer.
        """
        method = service.spec.method(item.method)
        if method is None or method.subscription:
            raise Refused(NO_METHOD, f"the method {item.method[:64]!r} does not exist here")
        holder.check_method(item.method)
        asking = Asking(service, holder, item, method, trail)
        pin = await self._pinnings[service.name].pin(method, item, holder.key.id) if method.pin else None
        views = [pin.blocks, *([pin.sure] if pin.sure != pin.blocks else [])] if pin is not None else [{}]
        count = len(parts_of(pinned(item, views[0]), method)) if method.split else 1
        reservation = holder.reserve(time.time(), method.units * count)
        bought: list[Answer] = []
        units = 0
        try:
            replied = await self._viewed(asking, views, bought)
            units = sum(self._booked(asking, answer) for answer in bought)
        finally:
            reservation.settle(units)  # nothing for a request that failed, whatever its parts cost
        self._note_shown(asking, replied, pin)
        return replied

    async def _viewed(self, asking: Asking, views: list[dict[str, int]], bought: list[Answer]) -> Replied:
        """Answer at the blocks of the first view; at those of the last where no supplier knows them yet."""
        for view in views:
            if not view:
                break
            method = asking.method if not asking.method.empty else asking.method.model_copy(update={"empty": False})
            last = view is views[-1]
            try:
                replied = await self._whole(replace(asking, item=pinned(asking.item, view), method=method), bought)
            except Refused:
                if last:
                    raise
            else:
                if last or not _says_nothing(replied.body):
                    replied.headers[trust.PINNED], replied.view = header_of(view), view
                    return replied
            bought.clear()  # the client pays for the answer that it gets, not for how it was found
        return await self._whole(asking, bought)

    async def _whole(self, asking: Asking, bought: list[Answer]) -> Replied:
        parts = parts_of(asking.item, asking.method) if asking.method.split else [asking.item]
        return await (self._found(asking, bought) if len(parts) == 1 else self._together(asking, parts, bought))

    async def _together(self, asking: Asking, parts: list[Item], bought: list[Answer]) -> Replied:
        """Answer a request in parts; the first that is refused refuses all, once the others are through."""
        asked = (self._found(replace(asking, item=part), bought) for part in parts)
        bodies: list[bytes] = []
        for reply in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(reply, BaseException):
                raise reply
            bodies.append(reply.body)
        return Replied(joined(asking.item, bodies), {"Content-Type": JSON, CACHE: f"{len(parts)} parts"})

    async def watch(self) -> None:
        """Look for the head of each chain that is asked about, so that it is known what is final."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            used, self._used = self._used, set()
            for name in used & self._catalog.services.keys():
                await self.own.look(self._catalog.services[name])

    # ---- where from

    async def _found(self, asking: Asking, bought: list[Answer]) -> Replied:
        """Answer one request: here, from the cache, or bought."""
        if asking.item.raw_id != NOTIFICATION and (known := await self._known_here(asking)) is not None:
            return self._served(asking, "local", known[0], known[1])
        return await self._found_as_is(asking, bought)

    async def _known_here(self, asking: Asking) -> tuple[str, bytes] | None:
        """Return why a result is known without a supplier, and the result; None where it is not."""
        method, item = asking.method, asking.item
        if method.answer:
            return "hit; local", method.answer.encode()
        if method.compute:
            return "hit; local", computed(method.compute, item.params)
        if method.static and not item.params:
            value = await self._statics.get(asking.service, item.method)
            return None if value is None else ("hit; static", value)
        return None

    async def _found_as_is(self, asking: Asking, bought: list[Answer]) -> Replied:
        item, method, service = asking.item, asking.method, asking.service
        self._used.add(service.name)
        if item.raw_id == NOTIFICATION or method.broadcast or not method.idempotent or method.sticky:
            return await self._bought(asking, bought)
        key = key_of(service.name, item)
        if method.cache != "never":
            entry = self.cache.find(key, self.blocks[service.name])
            if entry is not None:
                return self._served(asking, "cache", f"hit; {entry.why}", entry.result)
        own: list[Replied] = []

        async def buy() -> bytes:
            own.append(await self._bought(asking, bought, key))
            return own[0].body

        least = 0 if method.head else self._least(asking)  # heads are held up one by one afterwards
        body, shared = await self.sharing.get((key, least), buy)
        if not shared:
            return own[0]
        return self._shared(asking, body)

    def _shared(self, asking: Asking, body: bytes) -> Replied:
        """Return what another's relay brought, under this request's own id."""
        value = json_field(body, "result")
        if value is not None:
            return self._served(asking, "shared", "shared", value)
        error = json_field(body, "error") or b"null"
        told = b'{"jsonrpc":"2.0","id":' + asking.item.raw_id + b',"error":' + error + b"}"
        return Replied(told, {"Content-Type": JSON, CACHE: "shared"})

    def _served(self, asking: Asking, source: str, why: str, value: bytes) -> Replied:
        self._metrics.served[(asking.service.name, source)] += 1
        self._ledger.add(asking.holder.key.id, asking.service.name, asking.item.method, 0, 0)
        if asking.method.head:
            value = self._not_back(asking, value)
        asking.trail.cache = why
        headers = {"Content-Type": JSON, CACHE: why}
        return Replied(result(asking.item.raw_id, value), headers)

    # ---- buying

    async def _bought(self, asking: Asking, bought: list[Answer], key: Key | None = None) -> Replied:
        order = self._order(asking)
        if asking.method.broadcast:
            answer, body = await self._broadcasting.send(order, asking.item)
        else:
            answer = await self._relaying.whole(order)
            body = answer.body
        if answer.head.status >= 400 and not body.lstrip().startswith(b"{"):
            raise Refused(INVALID if answer.head.status < 500 else INTERNAL, "the node refused the request")
        bought.append(answer)
        self._metrics.served[(asking.service.name, "supplier")] += 1
        if asking.item.raw_id == NOTIFICATION:
            return Replied(b"", trust.headers_of(answer.attempt, answer.head))
        headers = trust.headers_of(answer.attempt, answer.head)
        if asking.method.sticky == "makes" or asking.method.head or asking.method.cache != "never":
            body = self._learnt(asking, answer, body, headers, key)
        return Replied(body, headers)

    def _order(self, asking: Asking) -> Order:
        item, method = asking.item, asking.method
        current = partial(self._sessions.active, asking.service, asking.holder.application)
        check: Check = partial(check_answer, method, item.id, self._least(asking))
        if item.raw_id == NOTIFICATION:
            check = _accept_any
        order = Order(current, method.pace, HEAD, numbered(item), method.units, method.units, check, method.idempotent)
        safe = method.idempotent and not method.broadcast and not method.sticky
        order.trail = asking.trail.attempts
        order.hedge = safe and len(order.body) < HEDGE_BYTES_MOST  # what is sent in one piece is sent once
        if method.sticky == "names":
            order.only = self._filters.operator(asking.holder.key.id, asking.service.name, _first(item.params))
        return order

    def _least(self, asking: Asking) -> int:
        """Return the block that the answer must not be older than: the newest that its client has seen."""
        method = asking.method
        at_block = method.shows and method.block is not None and not method.range
        if method.head or (at_block and moves(method, asking.item.params)):
            return self.blocks[asking.service.name].shown(asking.holder.key.id)
        return 0

    def _booked(self, asking: Asking, answer: Answer) -> int:
        """Charge for an answer that is paid for; return its units."""
        units = answer.attempt.units
        if units:
            worth = units * answer.attempt.seat.supplier.price
            self._ledger.add(asking.holder.key.id, asking.service.name, asking.item.method, units, worth)
            asking.trail.charge(units, worth)
        return units

    def _learnt(self, asking: Asking, answer: Answer, body: bytes, headers: dict[str, str], key: Key | None) -> bytes:
        """Take from an answer what later ones need: the head, who keeps a filter, what may be kept."""
        method, item, blocks = asking.method, asking.item, self.blocks[asking.service.name]
        if method.head and (raw := json_field(body, "result")) is not None:
            number = quantity(orjson.loads(raw))
            if number is not None:
                blocks.report(answer.attempt.seat.supplier.operator, number, time.monotonic())
            if (value := self._not_back(asking, raw)) != raw:
                headers[CACHE] = "pinned"
                body = result(item.raw_id, value)
        if method.sticky == "makes" and (raw := json_field(body, "result")) is not None:
            operator = answer.attempt.seat.supplier.operator
            self._filters.note(asking.holder.key.id, asking.service.name, orjson.loads(raw), operator)
        if key is not None and method.cache != "never":
            self.cache.keep(key, method, item, body, blocks)
        return body

    def _note_shown(self, asking: Asking, replied: Replied, pin: Pin | None) -> None:
        """Note the block that an answer tells of, so that what its client reads next is not older."""
        if pin is not None and pin.newest and replied.view:
            shown: int | None = max(replied.view.values())
        elif not asking.method.shows or not replied.body or replied.headers.get(CACHE, "").startswith("hit"):
            return
        else:
            shown = shown_in(asking.method, replied.body) if moves(asking.method, asking.item.params) else None
        if shown is not None:
            self.blocks[asking.service.name].show(asking.holder.key.id, shown)

    def _not_back(self, asking: Asking, raw: bytes) -> bytes:
        """Return a head as a client may see it: never below one that it saw before."""
        blocks, client = self.blocks[asking.service.name], asking.holder.key.id
        number = quantity(orjson.loads(raw))
        if number is None:
            return raw
        if number < (least := blocks.shown(client)):
            return b'"' + hex(least).encode() + b'"'
        blocks.show(client, number)
        return raw


def _accept_any(status: int, body: bytes, units: int) -> Judgement:
    return Judgement.TAKE


def _says_nothing(body: bytes) -> bool:
    """Return whether an answer leaves open what is asked: null, or an error that says nothing of the chain."""
    if not body:  # to a notification
        return False
    if (error := json_field(body, "error")) not in (None, b"null"):
        return judge_error(orjson.loads(error or b"null")) is Judgement.UNSURE
    return json_field(body, "result") in (None, b"null")


def _first(params: Any) -> Any:
    return params[0] if isinstance(params, list) and params else None
