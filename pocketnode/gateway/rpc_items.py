"""One JSON-RPC request: from the cache, shared with others who ask the same, or bought from a supplier."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import orjson

from pocketnode.gateway import trust
from pocketnode.gateway.access import Holder
from pocketnode.gateway.active import ActiveSession
from pocketnode.gateway.blocks import Blocks, quantity
from pocketnode.gateway.broadcast import Broadcasting
from pocketnode.gateway.catalog import Catalog, Service
from pocketnode.gateway.gate import JSON
from pocketnode.gateway.json_places import field as json_field
from pocketnode.gateway.judging import Judgement
from pocketnode.gateway.ledger import Ledger
from pocketnode.gateway.metrics import Metrics
from pocketnode.gateway.noted import NotedFilters, NotedHeads
from pocketnode.gateway.orders import Answer, Order
from pocketnode.gateway.pinning import Pinning, pinned
from pocketnode.gateway.ranges import joined, parts_of
from pocketnode.gateway.refusal import INTERNAL, INVALID, NO_METHOD, Refused
from pocketnode.gateway.relaying import Relaying
from pocketnode.gateway.rpc_cache import Key, RpcCache, key_of
from pocketnode.gateway.rpc_codec import NOTIFICATION, Item, numbered, result
from pocketnode.gateway.rpc_judging import judge
from pocketnode.gateway.sessions import Sessions
from pocketnode.gateway.sharing import Sharing
from pocketnode.gateway.statics import Statics
from pocketnode.gateway.trail import Trail
from pocketnode.protocol.payload import RequestHead, encode_request
from pocketnode.services.spec import Method
from pocketnode.store.notes import Notes

HEAD: Final = encode_request(RequestHead("POST", "/", {"content-type": JSON}))
CACHE: Final = "x-pocketnode-cache"
HEDGE_BYTES_MOST: Final = 32 * 1024
WATCH_EVERY_S: Final = 5.0


@dataclass(slots=True)
class Replied:
    """The answer to one item; empty for a notification."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


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
        self.sharing: Sharing[Key, bytes] = Sharing()
        self.blocks: dict[str, Blocks] = {}
        self._notes = notes
        self._filters = NotedFilters(notes)
        self._catalog = catalog
        self._sessions = sessions
        self._relaying = relaying
        self._ledger = ledger
        self._metrics = metrics
        self._broadcasting = Broadcasting(relaying)
        self._statics = Statics(self.ask, time.monotonic)
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
                    partial(self._asked_once, service.name),
                    partial(self._look_twice, service.name),
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
        parts = parts_of(item, method) if method.split else [item]
        reservation = holder.reserve(time.time(), method.units * len(parts))
        spent = [0]
        try:
            if len(parts) == 1:
                return await self._found(Asking(service, holder, item, method, trail), spent)
            return await self._together(Asking(service, holder, item, method, trail), parts, spent)
        finally:
            reservation.settle(spent[0])

    async def _together(self, asking: Asking, parts: list[Item], spent: list[int]) -> Replied:
        """Answer a request in parts; the first that is refused refuses all, once the others are through."""
        asked = (self._found(replace(asking, item=part), spent) for part in parts)
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
                await self._look(self._catalog.services[name])

    # ---- where from

    async def _found(self, asking: Asking, spent: list[int]) -> Replied:
        """Answer one request; a tag in it may become the number of a block first."""
        if asking.method.static and not asking.item.params and asking.item.raw_id != NOTIFICATION:
            value = await self._statics.get(asking.service, asking.item.method)
            if value is not None:
                return self._served(asking, "local", "hit; static", value)
        pin = await self._pinnings[asking.service.name].pin(asking.method, asking.item, asking.holder.key.id)
        if pin is None:
            return await self._found_as_is(asking, spent)
        method = asking.method if not asking.method.empty else asking.method.model_copy(update={"empty": False})
        for number in (pin.number, pin.sure):
            try:
                one = replace(asking, item=pinned(asking.item, pin.position, number), method=method)
                replied = await self._found_as_is(one, spent)
            except Refused:
                if number == pin.sure:
                    raise
                continue
            if number == pin.sure or not _says_nothing(replied.body):
                break
        replied.headers[trust.PINNED] = replace(pin, number=number).header()
        return replied

    async def _found_as_is(self, asking: Asking, spent: list[int]) -> Replied:
        item, method, service = asking.item, asking.method, asking.service
        self._used.add(service.name)
        if item.raw_id == NOTIFICATION or method.broadcast or not method.idempotent or method.sticky:
            return await self._bought(asking, spent)
        key = key_of(service.name, item)
        if method.cache != "never":
            entry = self.cache.find(key, self.blocks[service.name])
            if entry is not None:
                return self._served(asking, "cache", f"hit; {entry.why}", entry.result)
        own: list[Replied] = []

        async def buy() -> bytes:
            own.append(await self._bought(asking, spent, key))
            return own[0].body

        body, shared = await self.sharing.get(key, buy)
        if not shared:
            return own[0]
        return self._shared(asking, body)

    def _shared(self, asking: Asking, body: bytes) -> Replied:
        """Return what another's relay brought, under this request's own id."""
        value = json_field(body, "result")
        if value is not None:
            return self._served(asking, "shared", "shared", value)
        error = json_field(body, "error") or b"null"
        return Replied(b'{"jsonrpc":"2.0","id":' + asking.item.raw_id + b',"error":' + error + b"}", {CACHE: "shared"})

    def _served(self, asking: Asking, source: str, why: str, value: bytes) -> Replied:
        self._metrics.served[(asking.service.name, source)] += 1
        self._ledger.add(asking.holder.key.id, asking.service.name, asking.item.method, 0, 0)
        if asking.method.head:
            value = self._not_back(asking, value)
        asking.trail.cache = why
        headers = {"Content-Type": JSON, CACHE: why}
        return Replied(result(asking.item.raw_id, value), headers)

    # ---- buying

    async def _bought(self, asking: Asking, spent: list[int], key: Key | None = None) -> Replied:
        order = self._order(asking)
        if asking.method.broadcast:
            answer, body = await self._broadcasting.send(order, asking.item)
        else:
            answer = await self._relaying.whole(order)
            body = answer.body
        if answer.head.status >= 400 and not body.lstrip().startswith(b"{"):
            raise Refused(INVALID if answer.head.status < 500 else INTERNAL, "the node refused the request")
        spent[0] += self._booked(asking, answer)
        if asking.item.raw_id == NOTIFICATION:
            return Replied(b"", trust.headers_of(answer.attempt, answer.head))
        headers = trust.headers_of(answer.attempt, answer.head)
        if asking.method.sticky or asking.method.head or asking.method.cache != "never":
            body = self._learnt(asking, answer, body, headers, key)
        return Replied(body, headers)

    def _order(self, asking: Asking) -> Order:
        item, method = asking.item, asking.method
        current = partial(self._sessions.active, asking.service, asking.holder.application)
        least = self.blocks[asking.service.name].shown(asking.holder.key.id) if method.head else 0
        check = _accept_any if item.raw_id == NOTIFICATION else partial(_check, method, item.id, least)
        order = Order(current, method.pace, HEAD, numbered(item), method.units, method.units, check, method.idempotent)
        safe = method.idempotent and not method.broadcast and not method.sticky
        order.trail = asking.trail.attempts
        order.hedge = safe and len(order.body) < HEDGE_BYTES_MOST  # what is sent in one piece is sent once
        if method.sticky == "names":
            order.only = self._filters.operator(asking.holder.key.id, asking.service.name, _first(item.params))
        return order

    def _booked(self, asking: Asking, answer: Answer) -> int:
        """Charge for an answer that is paid for; return its units."""
        units = answer.attempt.units
        if units:
            worth = units * answer.attempt.seat.supplier.price
            self._ledger.add(asking.holder.key.id, asking.service.name, asking.item.method, units, worth)
            asking.trail.charge(units, worth)
        self._metrics.served[(asking.service.name, "supplier")] += 1
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
        self._seen(asking, body)
        if key is not None and method.cache != "never":
            self.cache.keep(key, method, item, body, blocks)
        return body

    def _seen(self, asking: Asking, body: bytes) -> None:
        """Note the block in an answer as shown, so that what its client reads next is not older."""
        newest = asking.method.block == 0 and _first(asking.item.params) == "latest"
        if not newest and (asking.method.block is not None or asking.method.head):
            return
        raw = json_field(body, "result")
        if raw is None or not raw.startswith(b"{"):
            return
        number = json_field(raw, "number" if newest else "blockNumber")
        shown = quantity(orjson.loads(number)) if number is not None else None
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

    async def _asked_once(self, name: str, method: str, params: list[Any]) -> Any:
        """Return what `ask` does; requests alike that come meanwhile share it."""
        key = (name, f"own {method}", orjson.dumps(params))
        found, _ = await self.sharing.get(key, lambda: self._asked_raw(name, method, params))
        return orjson.loads(found)

    async def _asked_raw(self, name: str, method: str, params: list[Any]) -> bytes:
        return orjson.dumps(await self.ask(self._catalog.services[name], method, params))

    async def ask(self, service: Service, name: str, params: list[Any], tried: list[bytes] | None = None) -> Any:
        """Return the result of a request of the gateway's own; a paid relay like any other, charged to no key.

        Raises
        ------
        Refused
            nobody could answer, or the method is not sold.
        """
        return await self._own(service, name, params, tried=tried)

    async def ask_at(self, service: Service, name: str, params: list[Any], only: bytes | None) -> tuple[Any, bytes]:
        """Return what `ask` does and the operator that answered: that one, unless `only` is None."""
        found: list[bytes] = []
        return await self._own(service, name, params, only=only, tried=found), found[-1] if found else only or b""

    async def _own(
        self,
        service: Service,
        name: str,
        params: list[Any],
        tried: list[bytes] | None = None,
        only: bytes | None = None,
    ) -> Any:
        method = service.spec.methods.get(name)
        if method is None:
            raise Refused(NO_METHOD, f"the service does not sell {name}")
        body = orjson.dumps({"jsonrpc": "2.0", "id": 0, "method": name, "params": params})
        current: Callable[[], ActiveSession] = partial(self._sessions.active, service)
        check = partial(_check, method, 0, 0)
        order = Order(current, method.pace, HEAD, body, method.units, method.units, check)
        order.only, order.tried = only, [] if tried is None else tried
        answer = await self._relaying.whole(order)
        value = orjson.loads(answer.body).get("result")
        if method.head and (number := quantity(value)) is not None:
            operator = answer.attempt.seat.supplier.operator
            self.blocks[service.name].report(operator, number, time.monotonic())
        return value

    async def _look_twice(self, name: str) -> None:
        """Ask two suppliers for the head; who wants to know at the same time shares that."""
        tried: list[bytes] = []

        async def both() -> bytes:
            service = self._catalog.services[name]
            await asyncio.gather(self._look(service, tried), self._look(service, tried))
            return b""

        await self.sharing.get((name, "heads", b""), both)

    async def _look(self, service: Service, tried: list[bytes] | None = None) -> None:
        """Ask one supplier for the head."""
        name = next((n for n, m in service.spec.methods.items() if m.head), None)
        if name is not None:
            with suppress(Refused):
                await self.ask(service, name, [], tried)


def _check(method: Method, request_id: object, least_head: int, status: int, body: bytes, units: int) -> Judgement:
    judgement = judge(method, request_id, body, units)
    if method.head and judgement is Judgement.TAKE:
        number = quantity(orjson.loads(body)["result"])
        if number is None:
            return Judgement.WRONG
        if number < least_head:
            return Judgement.UNSURE  # it lags behind what this client has seen
    return judgement


def _accept_any(status: int, body: bytes, units: int) -> Judgement:
    return Judgement.TAKE


def _says_nothing(body: bytes) -> bool:
    return json_field(body, "result") in (None, b"null")


def _first(params: Any) -> Any:
    return params[0] if isinstance(params, list) and params else None
