"""Plain HTTP services: a request goes through as it is, for one price by method and path."""

from __future__ import annotations

from typing import Any, Final

from pocketnode.backends.failure import BackendFailed, bad_request
from pocketnode.backends.http import HttpCaller, refusal_of
from pocketnode.backends.ports import Exchange
from pocketnode.crypto.keccak import keccak
from pocketnode.errors import RemoteError
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.payload import AnswerHead, decode_request, encode_answer
from pocketnode.services.spec import ServiceSpec

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class PlainBackend:
    """One HTTP server. The spec's `methods` are named `METHOD /path`; others cost what `other_methods` says."""

    def __init__(self, caller: HttpCaller, spec: ServiceSpec, health_path: str = "/") -> None:
        self._caller = caller
        self._spec = spec
        self._health_path = health_path
        self.name = caller.target.name
        self.identity = keccak(f"http {self.name}".encode())
        self.facts: dict[str, Any] = {}

    async def answer(self, exchange: Exchange) -> int:
        """Relay one request; what the server refuses is an answer too, unless it cannot answer anybody."""
        try:
            head = decode_request(exchange.head)
        except RemoteError as error:
            raise bad_request(str(error)) from error
        units = self._spec.method_units(f"{head.method} {head.path.partition('?')[0]}")
        if units > exchange.hold:
            raise RelayFailed(FaultClass.OUT_OF_BUDGET, f"costs {units} units, {exchange.hold} are held")
        try:
            answer = await self._caller.whole(head.method, head.path, exchange.body, head.headers)
        except BackendFailed as failure:
            failure.elsewhere = failure.elsewhere and head.method in _REPEATABLE
            failure.again = failure.again and head.method in _REPEATABLE
            raise
        refused = refusal_of(self._caller.target, answer.status)
        if refused is not None:
            raise refused
        headers = {"content-type": answer.content_type} if answer.content_type else {}
        await exchange.start(encode_answer(AnswerHead(answer.status, headers)))
        await exchange.write(answer.body)
        return units

    async def check(self) -> None:
        """Read the health path."""
        answer = await self._caller.whole("GET", self._health_path, b"", {})
        refused = refusal_of(self._caller.target, answer.status)
        if refused is not None or answer.status != 200:
            raise refused or BackendFailed(f"{self.name}: HTTP {answer.status} at {self._health_path}")

    async def load(self) -> int | None:
        """It does not tell."""
        return None
