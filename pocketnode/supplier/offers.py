"""Makes the backends of the configured services."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace

import aiohttp

from pocketnode.backends.degrade import DegradedBackend
from pocketnode.backends.http import HttpCaller, Target
from pocketnode.backends.jsonrpc import JsonRpcBackend
from pocketnode.backends.lean import Connections, LeanPoster
from pocketnode.backends.openai import OpenAiBackend
from pocketnode.backends.plain import PlainBackend
from pocketnode.backends.pool import Member, Pool
from pocketnode.backends.ports import Backend
from pocketnode.backends.websocket import SubscriptionBackend
from pocketnode.crypto.keys import Key
from pocketnode.errors import ConfigError
from pocketnode.protocol.session import service_id
from pocketnode.services import spec as specs
from pocketnode.services.spec import ServiceSpec
from pocketnode.supplier.answerer import Offer
from pocketnode.supplier.config import BackendConfig, BackendTls, Secret, ServiceConfig, SupplierConfig


@dataclass(frozen=True, slots=True)
class Clients:
    """The daemon's connections to its backends: a general HTTP client, and the lean one of the hot path."""

    http: aiohttp.ClientSession
    connections: Connections

    async def close(self) -> None:
        """End all connections."""
        self.connections.close()
        await self.http.close()


def make_offers(
    config: SupplierConfig,
    keys: Mapping[str, Key],
    clients: Clients,
    known: Mapping[bytes, Offer] | None = None,
) -> dict[bytes, Offer]:
    """Return what is sold, by 32-byte service id.

    Parameters
    ----------
    keys : the operator keys by name.
    known : offers to go on with: their pools are kept with all that they learnt.

    Raises
    ------
    ConfigError
        a spec, a secret or a certificate is missing or malformed.
    """
    offers = {}
    for service in config.services:
        operators = frozenset(keys[name].address for name in config.sellers(service))
        found = (known or {}).get(service_id(service.id))
        offers[service_id(service.id)] = (
            make_offer(service, clients, operators) if found is None else replace(found, operators=operators)
        )
    return offers


def make_offer(service: ServiceConfig, clients: Clients, operators: frozenset[bytes] = frozenset()) -> Offer:
    """Return one service, sold by these keys, with a fresh pool of its backends."""
    spec = spec_of(service)
    members = [Member(make_backend(backend, spec, clients), backend.concurrency) for backend in service.backends]
    queue = service.queue.as_queue()
    sockets = [_socket(backend, spec, clients) for backend in service.backends if backend.websocket]
    return Offer(spec, operators, Pool(members, queue), Pool(sockets, queue) if sockets else None)


def _socket(config: BackendConfig, spec: ServiceSpec, clients: Clients) -> Member:
    """Return the place of a backend's subscriptions, which are not counted among its requests."""
    target = replace(target_of(config, spec), name=f"{config.label} subscriptions", url=config.websocket)
    return Member(SubscriptionBackend(clients.http, target, spec), config.subscriptions)


def spec_of(service: ServiceConfig) -> ServiceSpec:
    """Return a service's spec: the file that the configuration names, or the one that ships with the package."""
    spec = specs.load(service.spec) if service.spec else specs.builtin(service.id)
    if spec.id != service.id:
        raise ConfigError(f"service {service.id}: its spec is that of {spec.id}")
    return spec


def make_backend(config: BackendConfig, spec: ServiceSpec, clients: Clients) -> Backend:
    """Return the backend of the kind that the spec asks for."""
    target = target_of(config, spec)
    caller = HttpCaller(clients.http, target)
    backend: Backend
    if spec.kind == "json-rpc":
        backend = JsonRpcBackend(LeanPoster(target, clients.connections), spec, config.health_method)
    elif spec.kind == "openai":
        if spec.tokens is None:
            raise ConfigError(f"service {spec.id}: a spec of kind openai needs `tokens`")
        backend = OpenAiBackend(caller, spec)
    else:
        backend = PlainBackend(caller, spec, config.health_path)
    if config.degrade is None:
        return backend
    return DegradedBackend(backend, config.degrade.delay_ms, config.degrade.failure_rate, config.degrade.seed)


def target_of(config: BackendConfig, spec: ServiceSpec) -> Target:
    """Return where a backend is, with its credentials read."""
    url = config.url.rstrip("/")
    return Target(
        name=config.label,
        url=url.removesuffix("/v1") if spec.kind == "openai" else url,
        headers=_headers(config.headers),
        timeouts=config.timeouts.over(spec.timeout_s),
        tls=_tls(config.tls, config.url),
        answer_bytes_most=int(config.answer_mib * 1024 * 1024),
    )


def _headers(headers: Mapping[str, str | Secret]) -> dict[str, str]:
    return {name: value.value() if isinstance(value, Secret) else value for name, value in headers.items()}


def _tls(tls: BackendTls, url: str) -> ssl.SSLContext | None:
    if tls == BackendTls():
        return None
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"backend {url}: tls: {error}: name readable PEM files") from error
    return context
