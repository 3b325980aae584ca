"""A lane at its supplier: reads frames, checks Receipts, runs relays (rules 3.3 to 3.14).

Checks come cheap first: sizes and order before the signature, the signature before anything is stored or sent on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keccak import Hasher, hasher
from pocketnode.crypto.keys import Key, verify
from pocketnode.errors import PocketError, RemoteError
from pocketnode.protocol import lane as lanes
from pocketnode.protocol.digest import receipt_digest
from pocketnode.protocol.fault import Fault, FaultClass, RelayFailed
from pocketnode.protocol.payload import HEAD_BYTES_MOST, payload_hash
from pocketnode.protocol.types import ZERO32, Receipt, SignedReceipt
from pocketnode.transport.grpc_options import CHUNK_BYTES
from pocketnode.transport.outbox import Outbox
from pocketnode.transport.ports import Account, Answerer, Opening
from pocketnode.transport.served import ServedRelay
from pocketnode.wire.pb.relay_pb2 import Chunk, Credit, GatewayMessage, Request, SupplierFrame

BUSY_RETRY_MS = 100


@dataclass(slots=True)
class _Incoming:
    """A request whose body is still arriving in Chunks."""

    relay: ServedRelay
    hash: Hasher
    size: int
    parts: list[bytes] = field(default_factory=list)


class SupplierLane:
    """One lane from its first Receipt to its end."""

    def __init__(
        self,
        opening: Opening,
        account: Account,
        answerer: Answerer,
        outbox: Outbox[SupplierFrame],
        key: Key,
        domain: Domain,
        number: int = 0,
    ) -> None:
        self.opening = opening
        self._number = number  # on its link
        self._account = account
        self._terms = account.terms  # as told to the gateway: later ones are for later lanes
        self._answerer = answerer
        self._outbox = outbox
        self._key = key
        self._domain = domain
        self._session = opening.session
        self._state = lanes.SupplierLane()
        self._newest_seq = 0
        self._relays: dict[int, ServedRelay] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._incoming: dict[int, _Incoming] = {}

    @property
    def in_flight(self) -> int:
        return len(self._relays)

    def receive(self, message: GatewayMessage) -> None:
        """Take one message after Open.

        Raises
        ------
        RemoteError
            the lane must be closed with the rule that was broken.
        """
        kind = message.WhichOneof("kind")
        if kind == "request":
            self._request(message.request)
        elif kind == "credit":
            self._credit(message.credit)
        elif kind == "chunk":
            self._chunk(message.chunk)
        elif kind == "cancel":
            self._cancel(message.cancel.seq)
        else:
            raise RemoteError("8.2", f"unexpected message {kind}")

    def end(self) -> None:
        """Stop what runs, when the lane is closed or its link is gone; the newest Receipt stays.

        Does not wait: gRPC cancels whoever serves the stream, at any await.
        """
        for task in list(self._tasks.values()):
            task.cancel()
        for relay in list(self._relays.values()):
            self._settle(relay, min(relay.units, relay.hold))
        self._account.lane_closed(self.opening.lane)

    async def drained(self) -> None:
        """Wait until every relay in flight has ended."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    # ---- requests

    def _request(self, message: Request) -> None:
        if len(message.head) > HEAD_BYTES_MOST or len(message.body) > CHUNK_BYTES:
            raise RemoteError("8.3", f"a message of {len(message.head)} + {len(message.body)} bytes")
        digest = message.request if message.more else payload_hash(message.head, message.body)
        if len(digest) != len(ZERO32):
            raise RemoteError("2.4", "a request in parts without its hash")
        receipt = self._receipt(message, digest)
        lanes.check_order(self._state, receipt)
        signed = self._verified(receipt, message.signature)
        self._acknowledge(signed)
        relay = ServedRelay(self.opening, signed, message.head, self._outbox, self._number)
        if not self._admit(relay, len(message.body)):
            return
        if message.more:
            fed = hasher(message.head)
            fed.update(message.body)
            self._incoming[receipt.seq] = _Incoming(relay, fed, len(message.body), [message.body])
        else:
            self._run(relay, message.body)

    def _check_size(self, size: int) -> None:
        if size > self._terms.max_request:
            told = f"request of {size} bytes or more, {self._terms.max_request} allowed (rule 8.3)"
            raise RelayFailed(FaultClass.BAD_REQUEST, told)

    def _admit(self, relay: ServedRelay, size: int) -> bool:
        """Hold the relay's units, or send the signed refusal."""
        receipt = relay.receipt
        try:
            self._check_size(size)
            if len(self._relays) >= self._terms.max_in_flight:
                raise RelayFailed(FaultClass.BUSY, f"{len(self._relays)} relays in flight", BUSY_RETRY_MS)
            self._account.hold(receipt.hold)
        except RelayFailed as refusal:
            self._state = lanes.answered(self._state, receipt.hold, 0)
            self._spawn(relay, self._refuse(relay, refusal.fault))
            return False
        self._relays[receipt.seq] = relay
        return True

    def _chunk(self, message: Chunk) -> None:
        incoming = self._incoming.get(message.seq)
        if incoming is None:
            return  # of a relay that was refused or cancelled meanwhile
        incoming.size += len(message.body)
        try:
            self._check_size(incoming.size)
        except RelayFailed as refusal:
            self._drop(message.seq, refusal.fault)
            return
        incoming.hash.update(message.body)
        incoming.parts.append(message.body)
        if message.more:
            return
        del self._incoming[message.seq]
        if incoming.hash.digest() != incoming.relay.receipt.request:
            raise RemoteError("2.4", "the request is not the one that its Receipt names")
        self._run(incoming.relay, b"".join(incoming.parts))

    def _run(self, relay: ServedRelay, body: bytes) -> None:
        relay.complete(body)
        self._spawn(relay, self._answer(relay))

    async def _answer(self, relay: ServedRelay) -> None:
        try:
            served = await self._answerer.answer(relay)
            response = relay.end(served.units, served.backend, self._key, self._domain)
        except RelayFailed as failure:
            response = await relay.fail(failure.fault, self._key, self._domain)
        except asyncio.CancelledError:
            response = await relay.fail(Fault(FaultClass.CANCELLED, "cancelled"), self._key, self._domain)
        self._settle(relay, response.response.units)
        if relay.receipt.seq == self._newest_seq:
            self._account.responded(relay.signed, response)

    async def _refuse(self, relay: ServedRelay, fault: Fault) -> None:
        await relay.fail(fault, self._key, self._domain)

    def _settle(self, relay: ServedRelay, units: int) -> None:
        if self._relays.pop(relay.receipt.seq, None) is None:
            return
        self._state = lanes.answered(self._state, relay.hold, units)
        self._account.release(relay.hold, units)

    def _drop(self, seq: int, fault: Fault) -> None:
        """Refuse a request whose body is still arriving; what comes of it later is passed over."""
        relay = self._incoming.pop(seq).relay
        self._settle(relay, 0)
        self._spawn(relay, self._refuse(relay, fault))

    def _cancel(self, seq: int) -> None:
        if seq in self._incoming:
            self._drop(seq, Fault(FaultClass.CANCELLED, "cancelled"))
        elif seq in self._tasks:
            self._tasks[seq].cancel()

    # ---- Receipts

    def _credit(self, message: Credit) -> None:
        running = self._relays.get(message.seq)
        if running is not None:
            self._raise_hold(running, message)
        elif message.hold == 0:
            receipt = self._receipt(message, ZERO32)
            lanes.check_order(self._state, receipt)
            self._acknowledge(self._verified(receipt, message.signature))
        # else: a raised hold that crossed the end of its relay

    def _raise_hold(self, relay: ServedRelay, message: Credit) -> None:
        receipt = self._receipt(message, relay.receipt.request)
        raised = lanes.raise_hold(self._state, relay.receipt, receipt)
        signed = self._verified(receipt, message.signature)
        try:
            self._account.hold(receipt.hold - relay.hold)
        except RelayFailed:
            self._tasks[message.seq].cancel()
            return
        gained = raised.total - self._state.total
        self._state = raised
        relay.raise_hold(signed)
        if gained or message.seq == self._newest_seq:
            self._account.acknowledge(signed, gained)

    def _receipt(self, message: Request | Credit, request: bytes) -> Receipt:
        opening = self.opening
        return Receipt(self._session, opening.supplier, opening.lane, message.seq, message.total, message.hold, request)

    def _verified(self, receipt: Receipt, signature: bytes) -> SignedReceipt:
        if not verify(receipt_digest(self._domain, receipt), signature, self.opening.gateway):
            raise RemoteError("3.5", f"receipt {receipt.seq} is not signed by 0x{self.opening.gateway.hex()}")
        return SignedReceipt(receipt, signature)

    def _acknowledge(self, signed: SignedReceipt) -> None:
        gained = signed.receipt.total - self._state.total
        self._state = lanes.accept(self._state, signed.receipt)
        self._newest_seq = signed.receipt.seq
        self._account.acknowledge(signed, gained)

    # ---- tasks

    def _spawn(self, relay: ServedRelay, work: asyncio._CoroutineLike[None]) -> None:
        seq = relay.receipt.seq
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[seq] = task
        task.add_done_callback(lambda done: self._finished(seq, done))

    def _finished(self, seq: int, task: asyncio.Task[None]) -> None:
        if self._tasks.get(seq) is task:
            del self._tasks[seq]
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, PocketError):
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "a relay failed for a reason of our own", "exception": error})
