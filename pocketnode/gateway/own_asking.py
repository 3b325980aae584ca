"""What the gateway asks suppliers on its own account: heads, tags, blocks for subscriptions. No key is charged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import orjson

from pocketnode.gateway.active import ActiveSession
from pocketnode.gateway.blocks import Blocks, quantity
from pocketnode.gateway.catalog import Catalog, Service
from pocketnode.gateway.gate import JSON
from pocketnode.gateway.orders import Order
from pocketnode.gateway.refusal import NO_METHOD, Refused
from pocketnode.gateway.relaying import Relaying
from pocketnode.gateway.rpc_cache import Key
from pocketnode.gateway.rpc_judging import check_answer
from pocketnode.gateway.sessions import Sessions
from pocketnode.gateway.sharing import Sharing
from pocketnode.protocol.payload import RequestHead, encode_request

HEAD: Final = encode_request(RequestHead("POST", "/", {"content-type": JSON}))


class OwnAsking:
    """One for the daemon. What suppliers say of the head is reported to `blocks`, by service."""

    def __init__(self, catalog: Catalog, sessions: Sessions, relaying: Relaying, blocks: Mapping[str, Blocks]) -> None:
        self._catalog = catalog
        self._sessions = sessions
        self._relaying = relaying
        self._blocks = blocks
        self._sharing: Sharing[Key, bytes] = Sharing()

    async def ask(self, service: Service, name: str, params: list[Any], tried: list[bytes] | None = None) -> Any:
        """Return the result of a request.

        Parameters
        ----------
        tried : operators that are not asked; who is asked now is added.

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

    async def ask_two(self, name: str, method: str, params: list[Any]) -> list[Any]:
        """Return what two suppliers say, or one where there is no other; requests alike meanwhile share it."""

        async def both() -> bytes:
            tried: list[bytes] = []
            service = self._catalog.services[name]
            asked = (self.ask(service, method, params, tried) for _ in range(2))
            said = await asyncio.gather(*asked, return_exceptions=True)
            for answer in said:
                if isinstance(answer, BaseException) and not isinstance(answer, Refused):
                    raise answer
            return orjson.dumps([answer for answer in said if not isinstance(answer, BaseException)])

        found, _ = await self._sharing.get((name, f"two {method}", orjson.dumps(params)), both)
        answers: list[Any] = orjson.loads(found)
        return answers

    async def look(self, service: Service) -> None:
        """Ask one supplier for the head."""
        if (name := _head_method(service)) is not None:
            with suppress(Refused):
                await self.ask(service, name, [])

    async def look_twice(self, name: str) -> None:
        """Ask two suppliers for the head; who wants to know at the same time shares that."""
        if (method := _head_method(self._catalog.services[name])) is not None:
            await self.ask_two(name, method, [])

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
        order = Order(current, method.pace, HEAD, body, method.units, method.units, partial(check_answer, method, 0, 0))
        order.only, order.tried = only, [] if tried is None else tried
        answer = await self._relaying.whole(order)
        value = orjson.loads(answer.body).get("result")
        if method.head and (number := quantity(value)) is not None:
            operator = answer.attempt.seat.supplier.operator
            self._blocks[service.name].report(operator, number, time.monotonic())
        return value


def _head_method(service: Service) -> str | None:
    return next((name for name, method in service.spec.methods.items() if method.head), None)
