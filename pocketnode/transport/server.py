"""The supplier's gRPC listener: one stream is one lane."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import grpc

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.errors import ConfigError, RemoteError, Unavailable
from pocketnode.transport.grpc_options import METHOD, PROTOCOL_VERSION, SERVER_OPTIONS, SERVICE
from pocketnode.transport.outbox import Outbox
from pocketnode.transport.ports import Account, Answerer, Opening
from pocketnode.transport.records import URL_CHARS_MOST
from pocketnode.transport.server_lane import SupplierLane
from pocketnode.wire.pb.relay_pb2 import GatewayFrame, Open, SupplierFrame

OPEN_TIMEOUT_S = 10.0
REASON_MOST = 300
Context = grpc.aio.ServicerContext[GatewayFrame, SupplierFrame]


class RelayServer:
    """Serves lanes until it is drained.

    Parameters
    ----------
    answerer : who admits lanes and answers relays.
    keys : the operator keys that sign Responses; a lane is for one of them.
    domain : the deployment.
    max_lanes : open at once; a further one is refused.
    """

    def __init__(self, answerer: Answerer, keys: Iterable[Key], domain: Domain, max_lanes: int = 4096) -> None:
        self._answerer = answerer
        self._domain = domain
        self.adopt(keys, max_lanes)
        self._lanes: dict[SupplierLane, Outbox[SupplierFrame]] = {}
        self._open = 0
        self._draining = False
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(
            self._lane,
            request_deserializer=GatewayFrame.FromString,
            response_serializer=SupplierFrame.SerializeToString,
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))

    @property
    def server(self) -> grpc.aio.Server:
        """The gRPC server, to add further services to before `start`."""
        return self._server

    @property
    def operators(self) -> tuple[bytes, ...]:
        """Addresses of the keys that lanes are opened for."""
        return tuple(self._keys)

    @property
    def lanes(self) -> int:
        """Open lanes."""
        return len(self._lanes)

    @property
    def in_flight(self) -> int:
        """Relays being answered."""
        return sum(lane.in_flight for lane in self._lanes)

    def adopt(self, keys: Iterable[Key], max_lanes: int) -> None:
        """Open lanes for these keys and up to this many from now on; those that are open go on."""
        self._keys = {key.address: key for key in keys}
        self._max_lanes = max_lanes

    async def start(self, listen: str, tls: grpc.ServerCredentials | None = None) -> int:
        """Listen on `host:port` (port 0: any) and return the port.

        Raises
        ------
        ConfigError
            the address cannot be had.
        """
        try:
            port = self._server.add_secure_port(listen, tls) if tls else self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise ConfigError(f"cannot listen on {listen}: taken, or not an address of this machine") from error
        await self._server.start()
        return port

    async def drain(self, timeout_s: float) -> None:
        """Refuse new lanes, finish what runs, close lanes, and stop; all within `timeout_s`."""
        self._draining = True
        ends = [lane.drained() for lane in self._lanes]
        if ends:
            await asyncio.wait([asyncio.ensure_future(end) for end in ends], timeout=timeout_s)
        for outbox in self._lanes.values():
            _close(outbox, "drain", "the supplier drains")
        await self._server.stop(grace=min(2.0, timeout_s))

    async def _lane(self, _requests: Any, context: Context) -> None:
        outbox = Outbox[SupplierFrame](SupplierFrame, context.write)
        pump = asyncio.ensure_future(outbox.pump())
        self._open += 1
        try:
            await self._serve(context, outbox)
        except (RemoteError, Unavailable) as error:
            _close(outbox, getattr(error, "rule", "unavailable"), str(error))
        finally:
            self._open -= 1
            outbox.end()
            await _finish(pump)

    async def _serve(self, context: Context, outbox: Outbox[SupplierFrame]) -> None:
        first = await self._first_frame(context)
        opening, key = _opening(first.messages[0].open, self._keys)
        account = await self._admit(opening)
        lane = SupplierLane(opening, account, self._answerer, outbox, key, self._domain)
        self._lanes[lane] = outbox
        _opened(outbox, account)
        try:
            for message in first.messages[1:]:
                lane.receive(message)
            while True:
                frame = await _read(context)
                if frame is None:
                    return
                for message in frame.messages:
                    lane.receive(message)
        finally:
            del self._lanes[lane]
            lane.end()

    async def _first_frame(self, context: Context) -> GatewayFrame:
        try:
            frame = await asyncio.wait_for(_read(context), OPEN_TIMEOUT_S)
        except TimeoutError as error:
            raise RemoteError("8.2", f"nothing sent in {OPEN_TIMEOUT_S:.0f} s") from error
        if frame is None or not frame.messages or frame.messages[0].WhichOneof("kind") != "open":
            raise RemoteError("8.2", "the first message is not Open")
        return frame

    async def _admit(self, opening: Opening) -> Account:
        if self._draining:
            raise Unavailable("the supplier drains")
        if self._open > self._max_lanes:
            raise Unavailable(f"{self._max_lanes} lanes are open")
        return await self._answerer.admit(opening)


async def _read(context: Context) -> GatewayFrame | None:
    """Return the next frame, or None once the gateway has ended its side."""
    frame: GatewayFrame | object = await context.read()
    return frame if isinstance(frame, GatewayFrame) else None


def _opening(message: Open, keys: Mapping[bytes, Key]) -> tuple[Opening, Key]:
    """Return what Open says and the key that it is meant for, or refuse it."""
    if message.version != PROTOCOL_VERSION:
        raise RemoteError("8.2", f"version {message.version}, not {PROTOCOL_VERSION}")
    lengths = (message.application, 20), (message.service, 32), (message.gateway, 20), (message.lane, 32)
    if any(len(field) != length for field, length in lengths):
        raise RemoteError("8.2", "a field of the wrong length")
    key = keys.get(message.supplier)
    if key is None:
        here = ", ".join(f"0x{address.hex()}" for address in keys)
        raise RemoteError("3.7", f"meant for 0x{message.supplier.hex()}, this is {here}"[:REASON_MOST])
    return Opening(
        message.application,
        message.service,
        message.session,
        message.supplier,
        message.gateway,
        message.lane,
        message.records if len(message.records) <= URL_CHARS_MOST else "",
    ), key


def _opened(outbox: Outbox[SupplierFrame], account: Account) -> None:
    opened = outbox.frame(64).messages.add().opened
    opened.credit_limit = account.terms.credit_limit
    opened.max_in_flight = account.terms.max_in_flight
    opened.max_request = account.terms.max_request


def _close(outbox: Outbox[SupplierFrame], rule: str, message: str) -> None:
    closed = outbox.frame(64 + len(message)).messages.add().closed
    closed.rule = rule
    closed.message = message
    outbox.end()


async def _finish(pump: asyncio.Future[None]) -> None:
    """Let what is queued go out; a stream that is gone takes nothing more."""
    try:
        await asyncio.wait_for(pump, timeout=1.0)
    except asyncio.CancelledError:
        pump.cancel()
    except Exception:  # gRPC has an error of its own for each way a stream can be gone
        pump.cancel()
