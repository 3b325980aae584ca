"""`pocketnode supplier reach`: a registration seen from outside, as a gateway on this machine would see it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pocketnode.chain.market import Market
from pocketnode.cli.acting import FILE, At, at_chain
from pocketnode.cli.output import json_option, print_facts
from pocketnode.crypto.keys import checksum
from pocketnode.errors import BadInput, Unavailable
from pocketnode.protocol.session import service_name
from pocketnode.transport.channels import ClientCertificate, open_channel
from pocketnode.transport.grpc_options import SERVICE

ANSWER_S: Final = 10.0


@click.command()
@click.argument("registration", type=click.IntRange(1))
@click.option("--client-certificate", type=FILE, help="PEM certificate to show, where the supplier asks for one.")
@click.option("--client-key", type=FILE, help="Its PEM key.")
@at_chain
@json_option
def reach(registration: int, client_certificate: Path | None, client_key: Path | None, at: At, as_json: bool) -> None:
    """Connect to REGISTRATION's endpoint, compare its certificate with the registered one, ask whether it serves.

    Needs no key and no configuration, so run it from a machine outside your network: that is how gateways see you.

    \b
    Example:
      pocketnode supplier reach 3 --rpc https://rpc.example.org
    """
    if (client_certificate is None) != (client_key is None):
        raise BadInput("give --client-certificate and --client-key together")
    client = ClientCertificate.read(client_certificate, client_key) if client_certificate and client_key else None

    async def look(market: Market) -> dict[str, Any]:
        found = await market.registration(registration)
        begun_s = time.monotonic()
        await _ask(found.endpoint, found.fingerprint, client)
        return {
            "registration": registration,
            "service": service_name(found.service),
            "operator": checksum(found.operator),
            "endpoint": found.endpoint,
            "tls": "as registered" if any(found.fingerprint) else "none",
            "serves": True,
            "answered_ms": round(1000 * (time.monotonic() - begun_s)),
        }

    print_facts(at.look(look), as_json)


async def _ask(endpoint: str, fingerprint: bytes, client: ClientCertificate | None) -> None:
    """Return if the supplier says that it serves.

    Raises
    ------
    RemoteError
        rule 3.7: it shows another certificate than the registered one.
    Unavailable
        nobody answers there, or it does not serve now.
    """
    asked = health_pb2.HealthCheckRequest(service=SERVICE)
    async with await open_channel(endpoint, fingerprint, client) as channel:
        try:
            told = await health_pb2_grpc.HealthStub(channel).Check(asked, timeout=ANSWER_S)
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"{endpoint}: {error.details()}: open its port, or start the supplier") from error
    if told.status != health_pb2.HealthCheckResponse.SERVING:
        raise Unavailable(f"{endpoint} answers but does not serve now: see `pocketnode supplier status` there")


COMMANDS = (reach,)
