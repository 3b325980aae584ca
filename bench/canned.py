"""A supplier's end of a lane within the gateway's process: it signs what it says, and costs no wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.protocol.digest import receipt_digest, response_digest
from pocketnode.protocol.payload import payload_hash
from pocketnode.protocol.types import ZERO32, Receipt, Response
from pocketnode.transport.ports import Opening
from pocketnode.wire.pb.relay_pb2 import GatewayFrame, Request, SupplierFrame

Answer = Callable[[bytes], tuple[bytes, int]]


class CannedStream:
    """What the gateway's lane takes for a gRPC stream.

    Parameters
    ----------
    head : of every answer (rule 2.2).
    answer : returns body and units of the answer to a request's body, which comes in one piece.
    credit : the limit that the gateway is told.
    """

    def __init__(self, opening: Opening, key: Key, domain: Domain, head: bytes, answer: Answer, credit: int) -> None:
        self._opening, self._key, self._domain = opening, key, domain
        self._session = opening.session
        self._head, self._answer, self._credit = head, answer, credit
        self._frames: asyncio.Queue[SupplierFrame | None] = asyncio.Queue()

    async def write(self, frame: GatewayFrame) -> None:
        """Answer all that a frame asks, in one frame."""
        said = SupplierFrame()
        for message in frame.messages:
            kind = message.WhichOneof("kind")
            if kind == "open":
                opened = said.messages.add().opened
                opened.credit_limit, opened.max_in_flight, opened.max_request = self._credit, 100_000, 1 << 24
            elif kind == "request":
                self._say(said, message.request)
            elif kind == "close":
                said.messages.add().closed.SetInParent()
        if said.messages:
            self._frames.put_nowait(said)

    async def read(self) -> SupplierFrame | None:
        return await self._frames.get()

    async def done_writing(self) -> None:
        self._frames.put_nowait(None)

    def cancel(self) -> None:
        self._frames.put_nowait(None)

    def _say(self, said: SupplierFrame, request: Request) -> None:
        body, units = self._answer(request.body)
        opening = self._opening
        asked = payload_hash(request.head, request.body)
        receipt = Receipt(
            self._session, opening.supplier, opening.lane, request.seq, request.total, request.hold, asked
        )
        digest = receipt_digest(self._domain, receipt)
        response = Response(digest, payload_hash(self._head, body), units, 1, 1, ZERO32)
        answer = said.messages.add().answer
        answer.seq, answer.head, answer.body = request.seq, self._head, body
        done = said.messages.add().done
        done.seq, done.units, done.first_byte_ms, done.done_ms, done.backend = request.seq, units, 1, 1, ZERO32
        done.signature = self._key.sign(response_digest(self._domain, response))


class NoChannel:
    """There is nothing to close."""

    async def close(self) -> None:
        return None
