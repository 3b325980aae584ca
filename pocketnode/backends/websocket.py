"""Subscriptions to a node over WebSocket: one relay is one subscription, its answer a stream of JSON lines.

The first line answers the call; each further line is a notification. The node's subscription id is kept over a
reconnect, so that the reader sees one subscription; what may be missing is told by a line of the method `GAP_METHOD`.
A connection serves one subscription: leaving closes it, which is all that a node needs to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import orjson
import structlog

from pocketnode.backends.failure import BackendFailed, bad_request
from pocketnode.backends.http import Target, failure_of
from pocketnode.backends.ports import Exchange
from pocketnode.crypto.keccak import keccak
from pocketnode.protocol.fault import RelayFailed
from pocketnode.protocol.payload import AnswerHead, encode_answer
from pocketnode.services.spec import ServiceSpec

SUBSCRIBE: Final = "eth_subscribe"
NOTIFICATION: Final = "eth_subscription"
GAP_METHOD: Final = "pocketnode_gap"
RECONNECTS_IN_A_ROW: Final = 5
RECONNECT_S: Final = 0.5
MESSAGE_BYTES_MOST: Final = 4 * 1024 * 1024
PING_S: Final = 20.0
ANSWER_S: Final = 10.0
_log = structlog.get_logger("backends.websocket")
_HEAD: Final = encode_answer(AnswerHead(200, {"content-type": "application/x-ndjson"}))
_CHECK: Final = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
Socket = aiohttp.ClientWebSocketResponse


class SubscriptionBackend:
    """One node's WebSocket. The price of `eth_subscribe` opens, that of `eth_subscription` is for each notification."""

    def __init__(self, http: aiohttp.ClientSession, target: Target, spec: ServiceSpec) -> None:
        self._http = http
        self._target = target
        self._opening_units = spec.method_units(SUBSCRIBE)
        self._line_units = spec.method_units(NOTIFICATION)
        self.name = target.name
        self.identity = keccak(f"json-rpc {self.name}".encode())
        self.facts: dict[str, Any] = {}

    async def answer(self, exchange: Exchange) -> int:
        """Serve one subscription until it is cancelled or the node is lost for good."""
        call = _call_of(exchange.body)
        passing = _Subscription(exchange, self._opening_units, self._line_units)
        failures = 0
        while failures < RECONNECTS_IN_A_ROW:
            before = passing.notified
            try:
                async with self._connected() as socket:
                    if not await passing.run(socket, call, self.name):
                        return self._opening_units
            except BackendFailed as failure:
                if not passing.begun:
                    raise
                _log.info("subscription interrupted", backend=self.name, reason=failure.fault.message)
            failures = failures + 1 if passing.notified == before else 0
            await asyncio.sleep(RECONNECT_S)
        raise BackendFailed(f"{self.name}: lost {failures} times in a row", elsewhere=False)

    async def check(self) -> None:
        """Connect and ask for the chain."""
        async with self._connected() as socket:
            await _ask(socket, _CHECK, self.name)

    async def load(self) -> int | None:
        """Nodes do not tell."""
        return None

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Socket]:
        target = self._target
        timeout = aiohttp.ClientWSTimeout(ws_close=0.5)
        try:
            async with asyncio.timeout(target.timeouts.connect_s):
                socket = await self._http.ws_connect(
                    target.url,
                    headers=dict(target.headers),
                    ssl=target.tls or True,
                    heartbeat=PING_S,
                    max_msg_size=MESSAGE_BYTES_MOST,
                    timeout=timeout,
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise failure_of(target, error) from error
        try:
            yield socket
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise failure_of(target, error) from error
        finally:
            await socket.close()


class _Subscription:
    """What has gone out of one subscription, over all connections that served it."""

    def __init__(self, exchange: Exchange, opening_units: int, line_units: int) -> None:
        self.begun = False
        self.notified = 0
        self._exchange = exchange
        self._units = opening_units
        self._line_units = line_units
        self._id: Any = None

    async def run(self, socket: Socket, call: dict[str, Any], name: str) -> bool:
        """Subscribe on this connection and pass on until it ends; return False if the node refuses."""
        answer = await _ask(socket, call, name)
        if not self.begun:
            await self._begin(answer)
        elif "result" in answer:
            await self._line({"jsonrpc": "2.0", "method": GAP_METHOD, "params": {"subscription": self._id}})
        if "result" not in answer:
            return False
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            told = _parsed(message.data, name)
            if told.get("method") == NOTIFICATION and isinstance(told.get("params"), dict):
                await self._line({**told, "params": {**told["params"], "subscription": self._id}})
                self.notified += 1
        return True

    async def _begin(self, answer: dict[str, Any]) -> None:
        self._id = answer.get("result")
        await self._exchange.start(_HEAD)
        self.begun = True
        await self._exchange.write(orjson.dumps(answer) + b"\n")

    async def _line(self, line: dict[str, Any]) -> None:
        """Send a line once what went before is within the hold (rule 3.11)."""
        await self._exchange.produced(self._units)
        await self._exchange.write(orjson.dumps(line) + b"\n")
        self._units += self._line_units


def _call_of(body: bytes) -> dict[str, Any]:
    try:
        call: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"not JSON: {error}") from error
    if not isinstance(call, dict) or call.get("method") != SUBSCRIBE:
        raise bad_request("not a subscription")
    return call


def subscribes(body: bytes) -> bool:
    """Return whether a request asks for a subscription."""
    if SUBSCRIBE.encode() not in body:
        return False
    try:
        return bool(_call_of(body))
    except RelayFailed:
        return False


async def _ask(socket: Socket, call: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the answer to a call on a fresh connection; nothing else is expected before it."""
    await socket.send_str(orjson.dumps(call).decode())
    message = await socket.receive(timeout=ANSWER_S)
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise BackendFailed(f"{name}: closed the WebSocket")
    return _parsed(message.data, name)


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        told: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BackendFailed(f"{name}: not JSON: {text[:60]!r}") from error
    if not isinstance(told, dict):
        raise BackendFailed(f"{name}: no object: {text[:60]!r}")
    return told
