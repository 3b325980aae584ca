"""One relay at its supplier: sends the answer, holds it back where units run out, signs its end."""

from __future__ import annotations

import asyncio
import time

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keccak import Hasher, hasher
from pocketnode.crypto.keys import Key
from pocketnode.protocol import fault as faults
from pocketnode.protocol.digest import receipt_digest, response_digest
from pocketnode.protocol.types import ZERO32, Receipt, Response, SignedReceipt, SignedResponse
from pocketnode.transport.grpc_options import CHUNK_BYTES
from pocketnode.transport.outbox import Outbox
from pocketnode.transport.ports import Opening
from pocketnode.wire.pb.relay_pb2 import SupplierFrame, SupplierMessage

MESSAGE_OVERHEAD = 128
ASK_AT = 0.75  # share of the hold at which more is asked for, so that a stream need not stop


class ServedRelay:
    """Implements `ports.Relay`. `receipt` is replaced when its hold is raised (rule 3.11)."""

    __slots__ = (
        "_answer",
        "_answer_frame",
        "_asked",
        "_begun_s",
        "_first_byte_ms",
        "_hash",
        "_hold_raised",
        "_lane",
        "_outbox",
        "body",
        "head",
        "opening",
        "signed",
        "units",
    )

    def __init__(
        self, opening: Opening, signed: SignedReceipt, head: bytes, outbox: Outbox[SupplierFrame], lane: int = 0
    ) -> None:
        self.opening = opening
        self._lane = lane  # its number on the link
        self.signed = signed
        self.head = head
        self.body = b""
        self.units = 0  # produced so far
        self._outbox = outbox
        self._begun_s = time.monotonic()
        self._first_byte_ms = 0
        self._hash: Hasher | None = None
        self._hold_raised: asyncio.Event | None = None
        self._asked = 0  # the hold at which more was asked for
        self._answer: SupplierMessage | None = None
        self._answer_frame: SupplierFrame | None = None

    @property
    def receipt(self) -> Receipt:
        return self.signed.receipt

    @property
    def hold(self) -> int:
        return self.signed.receipt.hold

    @property
    def begun(self) -> bool:
        """Whether a head has gone out."""
        return self._hash is not None

    def complete(self, body: bytes) -> None:
        """The request is whole: its clock starts here."""
        self.body = body
        self._begun_s = time.monotonic()

    async def start(self, head: bytes) -> None:
        self._first_byte_ms = self._elapsed_ms()
        self._hash = hasher(head)
        frame = self._outbox.frame(len(head) + MESSAGE_OVERHEAD)
        message = frame.messages.add()
        message.lane = self._lane
        message.answer.seq = self.receipt.seq
        message.answer.head = head
        self._answer, self._answer_frame = message, frame

    async def write(self, data: bytes) -> None:
        if self._hash is None:
            raise RuntimeError("an answer's body before its head")
        self._hash.update(data)
        if len(data) <= CHUNK_BYTES and not self._outbox.full:
            self._part(data)
            return
        for at in range(0, len(data), CHUNK_BYTES):
            if self._outbox.full:
                await self._outbox.room()
            self._part(data[at : at + CHUNK_BYTES])

    async def produced(self, units: int) -> None:
        self.units = units
        if units < self.hold * ASK_AT:
            return
        if self._asked < self.hold:
            self._ask()
        while self.units >= self.hold:
            self._ask()
            self._hold_raised = asyncio.Event()
            await self._hold_raised.wait()

    def _ask(self) -> None:
        """Ask for a higher hold: once on the way, and once when the answer has to wait for it."""
        self._asked = self.hold
        message = self._message(MESSAGE_OVERHEAD)
        message.need_hold.seq = self.receipt.seq
        message.need_hold.units = self.units

    def raise_hold(self, signed: SignedReceipt) -> None:
        """Take the Receipt with the higher hold and let a waiting answer go on."""
        self.signed = signed
        if self._hold_raised is not None:
            self._hold_raised.set()
            self._hold_raised = None

    def end(self, units: int, backend: bytes, key: Key, domain: Domain, fault: str = "") -> SignedResponse:
        """Sign what was sent (rule 3.9), send the end and return the Response."""
        if self._hash is None:
            raise RuntimeError("the end of an answer that has no head")
        response = Response(
            receipt=receipt_digest(domain, self.receipt),
            payload=self._hash.digest(),
            units=min(units, self.hold),
            first_byte_ms=self._first_byte_ms,
            done_ms=self._elapsed_ms(),
            backend=backend,
        )
        signature = key.sign(response_digest(domain, response))
        done = self._message(MESSAGE_OVERHEAD).done
        done.seq = self.receipt.seq
        done.units = response.units
        done.first_byte_ms = response.first_byte_ms
        done.done_ms = response.done_ms
        done.backend = backend
        done.signature = signature
        if fault:
            done.fault = fault
        return SignedResponse(response, signature)

    async def fail(self, fault: faults.Fault, key: Key, domain: Domain) -> SignedResponse:
        """Send a signed error (rule 3.12), or cut an answer that has begun."""
        if self.begun:
            return self.end(self.units, ZERO32, key, domain, fault=fault.kind)
        head, body = faults.encode(fault)
        await self.start(head)
        await self.write(body)
        return self.end(0, ZERO32, key, domain)

    def _part(self, data: bytes) -> None:
        """Send one part of the body; inside the Answer message while that is still here and has none."""
        answer = self._answer
        self._answer = None
        if answer is not None and self._answer_frame is not None and self._outbox.grow(self._answer_frame, len(data)):
            answer.answer.body = data
            return
        chunk = self._message(len(data) + MESSAGE_OVERHEAD).chunk
        chunk.seq = self.receipt.seq
        chunk.body = data

    def _message(self, size: int) -> SupplierMessage:
        """Return a message of this relay's lane that will go out as soon as the stream takes it."""
        message = self._outbox.frame(size).messages.add()
        message.lane = self._lane
        return message

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._begun_s) * 1000)
