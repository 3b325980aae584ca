"""What must hold before a supplier can earn: each check one line, with what to do where it fails."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pocketnode.backends.failure import BackendFailed
from pocketnode.backends.ports import Backend
from pocketnode.errors import ConfigError, NotFound
from pocketnode.protocol.fault import RelayFailed
from pocketnode.protocol.session import service_id
from pocketnode.protocol.types import ZERO32
from pocketnode.services import spec as specs
from pocketnode.services.spec import ServiceSpec
from pocketnode.supplier.config import ServiceConfig, SupplierConfig, Tls, host_port
from pocketnode.supplier.offers import Clients, make_backend, spec_of

REACH_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `remedy` says what to do; empty where it holds."""

    check: str
    what: str
    found: str
    remedy: str = ""

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


async def check_backends(service: ServiceConfig, clients: Clients) -> list[Finding]:
    """Have every backend of a service do a piece of its real work; models must be those of the spec."""
    spec = spec_of(service)
    backends = [make_backend(backend, spec, clients) for backend in service.backends]
    return list(await asyncio.gather(*(_check_backend(backend, spec) for backend in backends)))


async def _check_backend(backend: Backend, spec: ServiceSpec) -> Finding:
    what = f"{spec.id} {backend.name}"
    try:
        await backend.check()
    except (BackendFailed, RelayFailed) as failure:
        remedy = "start it, or correct its `url`, `headers` or `tls`"
        return Finding("backend", what, failure.fault.message, remedy)
    facts = backend.facts
    missing = [model for model in spec.models if facts.get("models") and model not in facts["models"]]
    if missing:
        return Finding("backend", what, f"does not serve {', '.join(missing)}", "load the models that the spec names")
    told = " ".join(str(facts[key]) for key in ("name", "version") if facts.get(key))
    return Finding("backend", what, told or "answers")


async def check_registration(
    service: ServiceConfig, config: SupplierConfig, operator: bytes, registry: Registry
) -> list[Finding]:
    """Compare the configuration of a service with what the chain says of it."""
    try:
        known = await registry.service(service_id(service.id))
    except NotFound as error:
        return [Finding("service", service.id, str(error), "add it with `pocketnode service add`, or leave it out")]
    raw = service.spec.read_bytes() if service.spec else specs.builtin_bytes(service.id)
    same = known.spec_hash == specs.spec_hash(raw)
    told = f"spec is {'' if same else 'not '}the one that the chain names"
    findings = [_held("service", service.id, told, same, "get that one: units are metered by it")]
    found = await registry.registration_by(service_id(service.id), operator)
    if found is None:
        return [*findings, Finding("registration", service.id, "none", "run `pocketnode supplier register`")]
    return [*findings, *_compare(service, config, found)]


def _compare(service: ServiceConfig, config: SupplierConfig, found: KnownRegistration) -> list[Finding]:
    what, update = f"{service.id} #{found.id}", f"run `pocketnode supplier update {found.id}"
    listed = f"bond {found.bond}" if found.listed else f"bond {found.bond}, not listed"
    price = f"price {found.price}, configured {service.price}"
    endpoint = f"endpoint {found.endpoint}, configured {config.advertised}"
    print_ = fingerprint_of(config.tls)
    compared = (
        (listed, found.listed, "add to its bond, or run `pocketnode supplier stay`"),
        (price, found.price == service.price, f"{update} --price {service.price}`"),
        (endpoint, found.endpoint == config.advertised, f"{update} --endpoint {config.advertised}`"),
        ("certificate", found.fingerprint == print_, f"{update} --fingerprint {print_.hex()}`"),
    )
    return [_held("registration", what, told, holds, remedy) for told, holds, remedy in compared]


async def check_reachable(config: SupplierConfig) -> Finding:
    """Connect to the advertised endpoint, from here: a firewall that only hides it from others is not seen."""
    host, port = host_port(config.advertised)
    try:
        async with asyncio.timeout(REACH_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        remedy = "start the supplier, open the port, or correct `endpoint`"
        return Finding("endpoint", config.advertised, str(error) or "no answer in time", remedy)
    writer.close()
    return Finding("endpoint", config.advertised, "reachable from here")


def check_exposure(config: SupplierConfig) -> Finding:
    """The admin listener must be on loopback, or ask for a token."""
    host, _ = host_port(config.admin.listen)
    safe = host in {"127.0.0.1", "::1", "localhost"} or config.admin.token_file is not None
    told = "guarded" if safe else "open to all"
    return _held("admin", config.admin.listen, told, safe, "name an `admin.token_file`")


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


def _held(check: str, what: str, found: str, holds: bool, remedy: str) -> Finding:
    return Finding(check, what, found, "" if holds else remedy)
