"""gRPC's own health and reflection services beside the lanes: what load balancers and grpcurl ask."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from pocketnode.transport.grpc_options import SERVICE


class StandardServices:
    """`serving` follows readiness; both the whole server and the lanes' service are told."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._health = health.aio.HealthServicer()
        self._told: bool | None = None
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)

    async def tell(self, ready: bool) -> None:
        """Say whether relays can be answered."""
        if ready == self._told:
            return
        self._told = ready
        told = health_pb2.HealthCheckResponse
        for service in ("", SERVICE):
            await self._health.set(service, told.SERVING if ready else told.NOT_SERVING)
