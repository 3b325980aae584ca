"""A market of the test's own: real suppliers' listeners in this process, a chain that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.errors import Unavailable
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.payload import AnswerHead, decode_request, encode_answer
from pocketnode.protocol.record import RelayRecord
from pocketnode.protocol.session import end_of, number_at, session_id, start_of
from pocketnode.protocol.types import (
    ZERO32,
    Grant,
    Params,
    Session,
    SessionSupplier,
    SignedReceipt,
    SignedResponse,
)
from pocketnode.transport.client import Lane
from pocketnode.transport.links import Links
from pocketnode.transport.ports import LaneTerms, Opening, Relay, Served
from pocketnode.transport.server import RelayServer

DOMAIN = Domain(31337, b"\x11" * 20)
GATEWAY = Key(b"\x02" * 32)
APPLICATION = b"\xaa" * 20
OK = encode_answer(AnswerHead(200, {"content-type": "application/json"}))
EVENTS = encode_answer(AnswerHead(200, {"content-type": "text/event-stream"}))
PARAMS = Params(
    anchor=100,
    length=20,
    suppliers=24,
    grace=2,
    statement_window=5,
    claim_window=10,
    thaw=60,
    fee=200,
    quality_share=2000,
    w_min=5000,
)

Answer = Callable[[Relay], Awaitable[Served]]


class Account:
    """Trusts everybody."""

    terms = LaneTerms(10**9, max_in_flight=10_000)

    def __init__(self) -> None:
        self.acknowledged = 0

    def hold(self, units: int) -> None: ...

    def release(self, held: int, served: int) -> None: ...

    def acknowledge(self, receipt: SignedReceipt, gained: int) -> None:
        self.acknowledged += gained

    def responded(self, receipt: SignedReceipt, response: SignedResponse) -> None: ...

    def lane_closed(self, lane: bytes) -> None: ...


async def node(relay: Relay) -> Served:
    """Answer JSON-RPC as a sound node would: the result says what was asked."""
    request = orjson.loads(relay.body)
    result: Any = {"method": request["method"], "params": request.get("params")}
    if request["method"] == "eth_blockNumber":
        result = "0x3e8"
    return await reply_json(relay, {"jsonrpc": "2.0", "id": request.get("id"), "result": result}, 10)


async def reply_json(relay: Relay, answer: Any, units: int) -> Served:
    await relay.start(OK)
    await relay.write(orjson.dumps(answer))
    return Served(min(units, relay.hold), ZERO32)


def chat(words: Iterable[str] = ("Hello", " world"), pause_s: float = 0.0) -> Answer:
    """Answer a chat with these tokens, streamed if that is asked for; usage is true."""

    async def answer(relay: Relay) -> Served:
        request = orjson.loads(relay.body)
        tokens = list(words)
        usage = {"prompt_tokens": 5, "completion_tokens": len(tokens), "total_tokens": 5 + len(tokens)}
        units = 5 + 4 * len(tokens)
        if decode_request(relay.head).path == "/v1/embeddings":
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
            body = {"object": "list", "data": data, "model": request["model"], "usage": {"prompt_tokens": 5}}
            return await reply_json(relay, body, 5)
        if not request.get("stream"):
            await asyncio.sleep(pause_s * len(tokens))
            message = {"role": "assistant", "content": "".join(tokens)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            body = {"id": "x", "object": "chat.completion", "created": 1, "model": request["model"]}
            return await reply_json(relay, {**body, "choices": [choice], "usage": usage}, units)
        await relay.start(EVENTS)
        for number, token in enumerate(tokens, 1):
            await relay.write(event({"choices": [{"index": 0, "delta": {"content": token}}]}))
            await relay.produced(5 + 4 * number)
            await asyncio.sleep(pause_s)
        await relay.write(event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
        return Served(units, ZERO32)

    return answer


def event(chunk: dict[str, Any]) -> bytes:
    whole = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", **chunk}
    return b"data: " + orjson.dumps(whole) + b"\n\n"


async def broken(relay: Relay) -> Served:
    """A backend that is down."""
    raise RelayFailed(FaultClass.BACKEND, "connection refused")


class Supplier:
    """One supplier: a real listener; `answer` is by service id and may be replaced at any time."""

    def __init__(self, number: int, price: int = 1_000_000) -> None:
        self.key = Key(bytes([number]) * 32)
        self.price = price
        self.answers: dict[str, Answer] = {"eth": node, "smollm2": chat()}
        self.asked: list[bytes] = []
        self.cancelled = 0
        self.accounts: dict[bytes, Account] = {}
        self.server = RelayServer(self, [self.key], DOMAIN)
        self.port = 0

    async def admit(self, opening: Opening) -> Account:
        return self.accounts.setdefault(opening.session, Account())

    async def answer(self, relay: Relay) -> Served:
        self.asked.append(relay.body)
        service = relay.opening.service.rstrip(b"\0").decode()
        try:
            return await self.answers[service](relay)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@dataclass
class FakeMarket:
    """A chain that a test moves: implements `ports.Market`."""

    suppliers: list[Supplier]
    head: int = 145
    cap: int = 10**12
    covered: bool = True
    down: bool = False
    owners: dict[int, bytes] = field(default_factory=dict)

    def number_now(self) -> int:
        return number_at(self.head, PARAMS)

    async def params(self, number: int) -> Params:
        if self.down:
            raise Unavailable("no node answers")
        return PARAMS

    async def session(self, application: bytes, service: bytes, number: int) -> Session:
        if self.down or start_of(number, PARAMS) > self.head:
            raise Unavailable("not yet")
        listed = tuple(
            SessionSupplier(index, 100 + index, s.key.address, s.price, f"127.0.0.1:{s.port}", ZERO32)
            for index, s in enumerate(self.suppliers)
        )
        bounds = start_of(number, PARAMS), end_of(number, PARAMS)
        found = session_id(application, service, number)
        return Session(found, application, service, number, *bounds, self.covered, listed)

    async def owner(self, registration: int) -> bytes:
        return self.owners.get(registration - 100, self.suppliers[registration - 100].key.address)

    async def grant(self, application: bytes, gateway: bytes, service: bytes, number: int) -> Grant | None:
        return Grant(self.cap, number) if self.cap else None


class Lanes:
    """Opens real lanes."""

    def __init__(self) -> None:
        self._links = Links(GATEWAY, DOMAIN)

    async def open(self, opening: Opening, endpoint: str, fingerprint: bytes) -> Lane:
        return await self._links.open(opening, endpoint, fingerprint)


@dataclass
class Kept:
    """Records in memory, by session id; `serving` has the ids of the sessions that are served."""

    records: dict[bytes, list[RelayRecord]] = field(default_factory=dict)
    serving: set[bytes] = field(default_factory=set)

    def begin(self, session: Session) -> None:
        self.serving.add(session.id)

    def end(self, session: Session) -> None:
        self.serving.discard(session.id)

    def append(self, session: Session, record: RelayRecord) -> None:
        self.records.setdefault(session.id, []).append(record)

    def read(self, session: Session) -> list[RelayRecord]:
        return self.records.get(session.id, [])

    def all(self) -> list[RelayRecord]:
        return [record for kept in self.records.values() for record in kept]
