"""The supplier's gRPC listener: one stream is one link, which carries lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import grpc

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key
from pocketnode.errors import ConfigError, RemoteError, Unavailable
from pocketnode.transport.grpc_options import METHOD, SERVER_OPTIONS, SERVICE
from pocketnode.transport.outbox import Outbox
from pocketnode.transport.ports import Answerer
from pocketnode.transport.server_link import SupplierLink
from pocketnode.wire.pb.relay_pb2 import GatewayFrame, SupplierFrame

EMPTY_LINKS_MOST = 256  # beyond one for each lane: so that who is refused a lane is told why
Context = grpc.aio.ServicerContext[GatewayFrame, SupplierFrame]


class RelayServer:
    """Serves lanes until it is drained. Implements `server_link.Host`.

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
        self._links: set[SupplierLink] = set()
        self._places = 0  # lanes that are open or being opened
        self._draining = False
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(
            self._link,
            request_deserializer=GatewayFrame.FromString,
            response_serializer=SupplierFrame.SerializeToString,
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))

    @property
    def server(self) -> grpc.aio.Server:
        """The gRPC server, to add further services to before `start`."""
        return self._server

    @property
    def keys(self) -> Mapping[bytes, Key]:
        """The keys that lanes are opened for, by their addresses."""
        return self._keys

    @property
    def operators(self) -> tuple[bytes, ...]:
        """Addresses of the keys that lanes are opened for."""
        return tuple(self._keys)

    @property
    def links(self) -> int:
        """Open links."""
        return len(self._links)

    @property
    def lanes(self) -> int:
        """Open lanes."""
        return sum(link.lanes for link in self._links)

    @property
    def in_flight(self) -> int:
        """Relays being answered."""
        return sum(link.in_flight for link in self._links)

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
        """Refuse new lanes, finish what runs, close each lane when it is quiet, and stop; all within `timeout_s`."""
        self._draining = True
        ends = [asyncio.ensure_future(link.drain()) for link in self._links]
        if ends:
            _, late = await asyncio.wait(ends, timeout=timeout_s)
            for end in late:
                end.cancel()
        for link in self._links:
            link.close_all("drain", "the supplier drains")
        await self._server.stop(grace=min(2.0, timeout_s))

    def take_place(self) -> None:
        """Count a lane in, or refuse it."""
        if self._draining:
            raise Unavailable("the supplier drains")
        if self._places >= self._max_lanes:
            raise Unavailable(f"{self._max_lanes} lanes are open")
        self._places += 1

    def leave_place(self) -> None:
        """Count a lane off."""
        self._places -= 1

    async def _link(self, _requests: Any, context: Context) -> None:
        if len(self._links) >= self._max_lanes + EMPTY_LINKS_MOST:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{len(self._links)} links are open")
        outbox = Outbox[SupplierFrame](SupplierFrame, context.write)
        pump = asyncio.ensure_future(outbox.pump())
        link = SupplierLink(self, self._answerer, outbox, self._domain)
        self._links.add(link)
        try:
            await link.serve(lambda: _read(context))
        except RemoteError as error:
            link.close_all(error.rule, str(error))
        finally:
            self._links.discard(link)
            link.end()
            outbox.end()
            await _finish(pump)


async def _read(context: Context) -> GatewayFrame | None:
    """Return the next frame, or None once the gateway has ended its side."""
    frame: GatewayFrame | object = await context.read()
    return frame if isinstance(frame, GatewayFrame) else None


async def _finish(pump: asyncio.Future[None]) -> None:
    """Let what is queued go out; a stream that is gone takes nothing more."""
    try:
        await asyncio.wait_for(pump, timeout=1.0)
    except asyncio.CancelledError:
        pump.cancel()
    except Exception:  # gRPC has an error of its own for each way a stream can be gone
        pump.cancel()
