"""What must hold before a supplier can earn: each check one line, with what to do where it fails."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pocketnode.backends.failure import BackendFailed
from pocketnode.backends.ports import Backend
from pocketnode.crypto.keys import checksum
from pocketnode.errors import ConfigError, NotFound
from pocketnode.protocol.fault import RelayFailed
from pocketnode.protocol.session import service_id
from pocketnode.protocol.types import ZERO32
from pocketnode.services import spec as specs
from pocketnode.services.spec import ServiceSpec
from pocketnode.supplier.config import ServiceConfig, SupplierConfig, Tls, host_port
from pocketnode.supplier.locating import Place
from pocketnode.supplier.offers import Clients, make_backend, spec_of

REACH_TIMEOUT_S: Final = 5.0
BACKEND_TIMEOUT_S: Final = 30.0
LOCAL_CHAINS: Final = frozenset({1337, 31337})  # of anvil, hardhat, ganache
PUBLIC: Final = "name in `endpoint` a host or address of the internet that leads here"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `remedy` says what to do, empty where it holds; `place` is where in the file it is configured."""

    check: str
    what: str
    found: str
    remedy: str = ""
    place: Place = ()

    @property
    def holds(self) -> bool:
        return not self.remedy


class KnownService(Protocol):
    """What the chain says of a service."""

    @property
    def spec_hash(self) -> bytes: ...
    @property
    def max_price(self) -> int: ...


class KnownRegistration(Protocol):
    """What the chain says of a registration."""

    @property
    def id(self) -> int: ...
    @property
    def listed(self) -> bool: ...
    @property
    def price(self) -> int: ...
    @property
    def bond(self) -> int: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def fingerprint(self) -> bytes: ...


class Registry(Protocol):
    """The chain, as far as checks ask it."""

    async def service(self, service: bytes) -> KnownService: ...
    async def registration_by(self, service: bytes, operator: bytes) -> KnownRegistration | None: ...


async def check_backends(service: ServiceConfig, clients: Clients, place: Place = ()) -> list[Finding]:
    """Have every backend of a service do a piece of its real work; models must be those of the spec."""
    spec = spec_of(service)
    backends = [make_backend(backend, spec, clients) for backend in service.backends]
    places = [(*place, "backends", index, "url") for index in range(len(backends))]
    return list(await asyncio.gather(*(_check_backend(*each, spec) for each in zip(backends, places, strict=True))))


async def _check_backend(backend: Backend, place: Place, spec: ServiceSpec) -> Finding:
    what = f"{spec.id} {backend.name}"
    remedy = "start it, or correct its `url`, `headers` or `tls`"
    try:
        async with asyncio.timeout(BACKEND_TIMEOUT_S):
            await backend.check()
    except (BackendFailed, RelayFailed) as failure:
        return Finding("backend", what, failure.fault.message, remedy, place)
    except TimeoutError:
        return Finding("backend", what, f"no answer in {BACKEND_TIMEOUT_S:.0f} s", remedy, place)
    facts = backend.facts
    missing = [model for model in spec.models if facts.get("models") and model not in facts["models"]]
    if missing:
        told = f"does not serve {', '.join(missing)}"
        return Finding("backend", what, told, "load the models that the spec names", place)
    told = " ".join(str(facts[key]) for key in ("name", "version") if facts.get(key))
    return Finding("backend", what, told or "answers", place=place)


async def check_registration(
    service: ServiceConfig, config: SupplierConfig, key: tuple[str, bytes], registry: Registry
) -> list[Finding]:
    """Compare the configuration of a service with what the chain says of it and of one key's registration.

    Parameters
    ----------
    key : name and address of the operator.
    """
    place: Place = ("services", config.services.index(service))
    try:
        known = await registry.service(service_id(service.id))
    except NotFound as error:
        remedy = "add it with `pocketnode service add`, or leave it out"
        return [Finding("service", service.id, str(error), remedy, (*place, "id"))]
    raw = service.spec.read_bytes() if service.spec else specs.builtin_bytes(service.id)
    same = known.spec_hash == specs.spec_hash(raw)
    told = f"spec is {'' if same else 'not '}the one that the chain names"
    findings = [_held("service", service.id, told, same, "get that one: units are metered by it", (*place, "spec"))]
    found = await registry.registration_by(service_id(service.id), key[1])
    if found is None:
        what = f"{service.id} by {key[0]} {checksum(key[1])}"
        command = f"run `pocketnode supplier register {service.id} --operator {key[0]}`"
        return [*findings, Finding("registration", what, "none", command, (*place, "id"))]
    return [*findings, *_compare(service, config, found, place)]


def _compare(service: ServiceConfig, config: SupplierConfig, found: KnownRegistration, place: Place) -> list[Finding]:
    what, update = f"{service.id} #{found.id}", f"run `pocketnode supplier update {found.id}"
    listed = f"bond {found.bond}" if found.listed else f"bond {found.bond}, not listed"
    price = f"price {found.price}, configured {service.price}"
    reprice = f"{update} --price {service.price}`"
    if config.settlement.prices:
        reprice = f"start or reload (SIGHUP) the supplier, which sets it, or {reprice}"
    endpoint = f"endpoint {found.endpoint}, configured {config.advertised}"
    print_ = fingerprint_of(config.tls)
    compared: tuple[tuple[str, bool, str, Place], ...] = (
        (listed, found.listed, "add to its bond, or run `pocketnode supplier stay`", (*place, "id")),
        (price, found.price == service.price, reprice, (*place, "price")),
        (endpoint, found.endpoint == config.advertised, f"{update} --endpoint {config.advertised}`", ("endpoint",)),
        ("certificate", found.fingerprint == print_, f"{update} --fingerprint {print_.hex()}`", ("tls", "certificate")),
    )
    return [_held("registration", what, told, holds, remedy, where) for told, holds, remedy, where in compared]


async def check_endpoint(config: SupplierConfig, chain_id: int) -> Finding:
    """Connect to the advertised endpoint, and look where its name leads.

    From here a firewall that only hides it from others is not seen; but an address that is of no use to others is.

    Parameters
    ----------
    chain_id : on a local chain any address will do.
    """
    place = ("endpoint",) if config.endpoint else ("listen",)
    hidden = await hidden_addresses(config.advertised, chain_id)
    if hidden:
        return Finding("endpoint", config.advertised, f"leads to {hidden}: nobody outside can reach it", PUBLIC, place)
    host, port = host_port(config.advertised)
    try:
        async with asyncio.timeout(REACH_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        remedy = "start the supplier, open the port, or correct `endpoint`"
        return Finding("endpoint", config.advertised, str(error) or "no answer in time", remedy, place)
    writer.close()
    return Finding("endpoint", config.advertised, "reachable from here", place=place)


async def hidden_addresses(endpoint: str, chain_id: int) -> str:
    """Return the addresses that `host:port` leads to where none of them is the internet's; empty where one is.

    Empty too where the name leads nowhere from here, and on a local chain.
    """
    if chain_id in LOCAL_CHAINS:
        return ""
    host, port = host_port(endpoint)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return ""
    addresses = sorted({str(address[0]).partition("%")[0] for *_, address in found})
    return "" if any(ipaddress.ip_address(each).is_global for each in addresses) else ", ".join(addresses)


def check_exposure(config: SupplierConfig) -> Finding:
    """The admin listener must be on loopback, or ask for a token."""
    host, _ = host_port(config.admin.listen)
    safe = host in {"127.0.0.1", "::1", "localhost"} or config.admin.token_file is not None
    told = "guarded" if safe else "open to all"
    return _held("admin", config.admin.listen, told, safe, "name an `admin.token_file`", ("admin",))


def fingerprint_of(tls: Tls | None) -> bytes:
    """Return the SHA-256 of the listener's certificate (DER); zero for plain text.

    Raises
    ------
    ConfigError
        the certificate cannot be read.
    """
    if tls is None:
        return ZERO32
    return hashlib.sha256(_der(tls.certificate)).digest()


def _der(file: Path) -> bytes:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    try:
        text = file.read_text()
        first = text[text.index(begin) : text.index(end) + len(end)]
        return ssl.PEM_cert_to_DER_cert(first)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}: name a PEM certificate") from error


def _held(check: str, what: str, found: str, holds: bool, remedy: str, place: Place) -> Finding:
    return Finding(check, what, found, "" if holds else remedy, place)
