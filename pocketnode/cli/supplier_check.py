"""`pocketnode supplier check|relay|certificate`: make sure that a supplier can earn before it tries."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from pocketnode.backends.http import open_session
from pocketnode.backends.lean import Connections
from pocketnode.chain import deployment as deployments
from pocketnode.cli.acting import FILE
from pocketnode.cli.busy import busy
from pocketnode.cli.output import json_option, print_facts, print_rows
from pocketnode.cli.supplier_parts import OnChain, config_option, on_chain
from pocketnode.cli.supplier_register import key_in, operator_name_option, service_in
from pocketnode.crypto.keys import checksum
from pocketnode.errors import ConfigError, Unavailable
from pocketnode.protocol.payload import RequestHead, decode_answer, encode_request
from pocketnode.protocol.session import service_id
from pocketnode.supplier import config as configs
from pocketnode.supplier.certificate import create_certificate
from pocketnode.supplier.checks import (
    Finding,
    check_backends,
    check_endpoint,
    check_exposure,
    check_registration,
    fingerprint_of,
)
from pocketnode.supplier.config import ServiceConfig, SupplierConfig
from pocketnode.supplier.locating import line_of
from pocketnode.supplier.offers import Clients, spec_of
from pocketnode.transport.channels import ClientCertificate
from pocketnode.transport.links import open_lane
from pocketnode.transport.ports import Opening, Reply


@click.command()
@config_option
@json_option
def check(path: Path, as_json: bool) -> None:
    """Check what must hold to earn: file, chain, key, registrations, backends, endpoint.

    \b
    Example:
      pocketnode supplier check --config supplier.yaml
    """
    config = configs.load(path)
    with busy("asking backends and chain"):
        findings = asyncio.run(_check(config))
    text = path.read_text()
    print_rows([_row(finding, path, text) for finding in findings], as_json, title=str(path))
    failed = sum(not finding.holds for finding in findings)
    if failed:
        raise ConfigError(f"{failed} of {len(findings)} checks failed")


@click.command()
@click.argument("service")
@config_option
@operator_name_option
@click.option("--client-certificate", type=FILE, help="PEM certificate to show, where `tls.client_ca` asks for one.")
@click.option("--client-key", type=FILE, help="Its PEM key.")
@json_option
def relay(
    service: str,
    path: Path,
    operator: str,
    client_certificate: Path | None,
    client_key: Path | None,
    as_json: bool,
) -> None:
    """Send SERVICE of the running supplier one relay through the whole path; it is signed by the operator, and free.

    \b
    Example:
      pocketnode supplier relay eth --config supplier.yaml
    """
    config = configs.load(path)
    client = _client_of(config, client_certificate, client_key)
    with busy("waiting for the answer"):
        facts = asyncio.run(_relay(config, service, operator, client))
    print_facts(facts, as_json)


@click.command()
@config_option
@click.option("--days", type=click.IntRange(1), default=3650, show_default=True, help="How long it is valid.")
@json_option
def certificate(path: Path, days: int, as_json: bool) -> None:
    """Make the key and the self-signed certificate that `tls` names, and print the fingerprint to register.

    \b
    Example:
      pocketnode supplier certificate --config supplier.yaml
    """
    config = configs.load(path)
    if config.tls is None:
        raise ConfigError(f"{path}: name the files to write under `tls`: `certificate` and `key`")
    create_certificate(config.tls.certificate, config.tls.key, configs.host_port(config.advertised)[0], days)
    print_facts({"fingerprint": fingerprint_of(config.tls).hex(), "certificate": str(config.tls.certificate)}, as_json)


COMMANDS = (check, relay, certificate)


async def _check(config: SupplierConfig) -> list[Finding]:
    """Return what all checks find; what stands in the way of the rest is the last."""
    findings = [check_exposure(config)]
    clients = Clients(open_session(), Connections())
    try:
        for index, service in enumerate(config.services):
            findings += await check_backends(service, clients, ("services", index))
    finally:
        await clients.close()
    try:
        findings.append(await check_endpoint(config, deployments.read(config.deployment).chain_id))
        async with on_chain(config) as chain:
            findings += await _check_chain(config, chain)
    except (ConfigError, Unavailable) as error:
        remedy = "correct `rpc`, `deployment` or the key"
        findings.append(Finding("chain", ", ".join(config.rpc), str(error), remedy, ("rpc",)))
    return findings


async def _check_chain(config: SupplierConfig, chain: OnChain) -> list[Finding]:
    findings = [Finding("chain", str(chain.market.deployment.chain_id), f"block {chain.heads.number}")]
    for index, (name, key) in enumerate(chain.keys.items()):
        gas_wei = int(await chain.rpc.ask("eth_getBalance", checksum(key.address), "latest"), 16)
        enough = gas_wei >= config.settlement.least_gas_wei
        remedy = "" if enough else "send it some: claims cost gas"
        place = ("keystore",) if index == 0 else ("operators", index - 1)
        findings.append(Finding("gas", f"{name} {checksum(key.address)}", f"{gas_wei} wei", remedy, place))
    for service in config.services:
        for name in config.sellers(service):
            findings += await check_registration(service, config, (name, chain.keys[name].address), chain.market)
    return findings


def _row(finding: Finding, path: Path, text: str) -> dict[str, Any]:
    facts = asdict(finding)
    return {"check": facts.pop("check"), "where": f"{path}:{line_of(text, facts.pop('place'))}", **facts}


def _client_of(config: SupplierConfig, certificate: Path | None, key: Path | None) -> ClientCertificate | None:
    if certificate is None or key is None:
        if config.tls is not None and config.tls.client_ca is not None:
            raise ConfigError("`tls.client_ca` asks for a certificate: give --client-certificate and --client-key")
        return None
    return ClientCertificate.read(certificate, key)


async def _relay(
    config: SupplierConfig, service: str, operator: str, client: ClientCertificate | None
) -> dict[str, Any]:
    """Open a lane as the operator, send a relay, verify its Response."""
    wanted = service_in(config, service)
    domain = deployments.read(config.deployment).domain
    key = key_in(config, wanted, operator)
    opening = Opening(key.address, service_id(service), 0, key.address, key.address, secrets.token_bytes(32))
    endpoint = config.listen.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    lane = await open_lane(opening, endpoint, fingerprint_of(config.tls), key, domain, client)
    try:
        reply = await lane.relay(*_sample(wanted), hold=100_000)
        body = b"".join([part async for part in _parts(reply)])
    finally:
        await lane.close()
    assert reply.ended is not None
    response = reply.ended.signed.response
    return {
        "status": decode_answer(reply.head).status,
        "units": response.units,
        "first_byte_ms": response.first_byte_ms,
        "done_ms": response.done_ms,
        "backend": f"0x{response.backend.hex()}",
        "answer": body[:300].decode("utf-8", "replace"),
    }


def _sample(service: ServiceConfig) -> tuple[bytes, bytes]:
    """Return head and body of a small request of a service."""
    spec, backend = spec_of(service), service.backends[0]
    posted = {"content-type": "application/json"}
    if spec.kind == "json-rpc":
        call = {"jsonrpc": "2.0", "id": 1, "method": backend.health_method, "params": []}
        return encode_request(RequestHead("POST", "/", posted)), orjson.dumps(call)
    if spec.kind == "openai":
        asked = {"model": spec.models[0], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}
        return encode_request(RequestHead("POST", "/v1/chat/completions", posted)), orjson.dumps(asked)
    return encode_request(RequestHead("GET", backend.health_path)), b""


async def _parts(reply: Reply) -> AsyncIterator[bytes]:
    while (part := await reply.read()) is not None:
        yield part
