"""A supplier in this process behind a real gRPC listener, and lanes to it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.protocol.fault import FaultClass, RelayFailed
from pocketnode.protocol.types import ZERO32, SignedReceipt, SignedResponse
from pocketnode.transport.client import Lane
from pocketnode.transport.links import open_lane
from pocketnode.transport.ports import LaneTerms, Opening, Relay, Served
from pocketnode.transport.server import RelayServer

DOMAIN = Domain(31337, b"\x11" * 20)
SUPPLIER = Key(b"\x01" * 32)
GATEWAY = Key(b"\x02" * 32)
APPLICATION = b"\xaa" * 20
SERVICE = b"eth".ljust(32, b"\x00")
OK = b"200\n\n"


class FakeAccount:
    """Keeps what it is told; refuses holds above what is left of the credit limit."""

    def __init__(self, credit_limit: int) -> None:
        self.terms = LaneTerms(credit_limit, max_in_flight=64, max_request=1_000_000)
        self.held = 0
        self.served = 0
        self.acknowledged = 0
        self.newest: SignedReceipt | None = None
        self.response: SignedResponse | None = None
        self.closed: list[bytes] = []

    def hold(self, units: int) -> None:
        if self.held + self.served - self.acknowledged + units > self.terms.credit_limit:
            raise RelayFailed(FaultClass.OUT_OF_BUDGET, "credit limit reached")
        self.held += units

    def release(self, held: int, served: int) -> None:
        self.held -= held
        self.served += served

    def acknowledge(self, receipt: SignedReceipt, gained: int) -> None:
        self.acknowledged += gained
        self.newest = receipt

    def responded(self, receipt: SignedReceipt, response: SignedResponse) -> None:
        self.response = response

    def lane_closed(self, lane: bytes) -> None:
        self.closed.append(lane)


Answer = Callable[[Relay], Coroutine[Any, Any, Served]]


async def echo(relay: Relay) -> Served:
    await relay.start(OK)
    await relay.write(relay.body)
    return Served(10, ZERO32)


class FakeAnswerer:
    """Admits everybody to one account and answers with `answer`, which a test replaces."""

    def __init__(self, credit_limit: int = 1000) -> None:
        self.account = FakeAccount(credit_limit)
        self.answer: Answer = echo
        self.refuse: Exception | None = None

    async def admit(self, opening: Opening) -> FakeAccount:
        if self.refuse:
            raise self.refuse
        return self.account


OpenLane = Callable[..., Awaitable[Lane]]


@pytest.fixture
def answerer() -> FakeAnswerer:
    return FakeAnswerer()


@pytest.fixture
async def server(answerer: FakeAnswerer) -> AsyncIterator[RelayServer]:
    server = RelayServer(answerer, [SUPPLIER], DOMAIN)
    yield server
    await server.drain(1.0)


@pytest.fixture
async def lane_to(server: RelayServer) -> AsyncIterator[OpenLane]:
    port = await server.start("127.0.0.1:0")
    lanes: list[Lane] = []

    async def open_one(key: Key = GATEWAY, gateway: bytes = GATEWAY.address) -> Lane:
        opening = Opening(APPLICATION, SERVICE, 7, SUPPLIER.address, gateway, os.urandom(32))
        lanes.append(await open_lane(opening, f"127.0.0.1:{port}", ZERO32, key, DOMAIN))
        return lanes[-1]

    yield open_one
    for lane in lanes:
        await lane.close()
