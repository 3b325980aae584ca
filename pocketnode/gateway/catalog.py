"""Which services this gateway sells, for which applications, and which of them answers a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pocketnode.errors import ConfigError
from pocketnode.gateway.config import GatewayConfig, Target
from pocketnode.protocol.quality import Slo
from pocketnode.protocol.session import service_id
from pocketnode.services import spec as specs
from pocketnode.services.spec import ServiceSpec


@dataclass(frozen=True)
class Service:
    """One service as this gateway sells it; the applications that pay for it, the first by default."""

    name: str
    id: bytes
    spec: ServiceSpec
    slo: Slo
    applications: tuple[bytes, ...]
    target: Target = field(default_factory=Target)


@dataclass
class Catalog:
    """All services by name, and the service of each model. One for the daemon: a reload changes it in place."""

    services: Mapping[str, Service]
    aliases: Mapping[str, str] = field(default_factory=dict)
    fallbacks: Mapping[str, list[str]] = field(default_factory=dict)
    models: Mapping[str, Service] = field(init=False)

    def __post_init__(self) -> None:
        self.models = {m: s for s in self.services.values() if s.spec.kind == "openai" for m in s.spec.models}

    def adopt(self, other: Catalog) -> None:
        """Become what another catalog is; requests that are under way keep the services they began with."""
        self.services, self.aliases, self.fallbacks = other.services, other.aliases, other.fallbacks
        self.models = other.models

    def pairs(self) -> Iterable[tuple[bytes, Service]]:
        """Return each application with each service that it pays for."""
        return [(a, s) for s in self.services.values() for a in s.applications]

    def model(self, name: str) -> str:
        """Return the model that is meant by a name or alias."""
        return self.aliases.get(name, name)


def catalog_of(config: GatewayConfig) -> Catalog:
    """Return the catalog of a configuration.

    Raises
    ------
    ConfigError
        a service has no spec, or an alias, fall-back or tokenizer names a model that nobody serves.
    """
    names = dict.fromkeys(name for a in config.applications for name in a.services)
    services = {name: _service(name, config) for name in names}
    catalog = Catalog(services, config.aliases, config.fallbacks)
    named = [*config.aliases.values(), *config.tokenizers, *(m for others in config.fallbacks.values() for m in others)]
    for model in named:
        if model not in catalog.models:
            raise ConfigError(f"model {model!r} is of no service here: name one of {', '.join(catalog.models)}")
    if unknown := config.slo.keys() - services.keys():
        raise ConfigError(f"slo: {', '.join(sorted(unknown))} is not sold here: name one of {', '.join(services)}")
    return catalog


def _service(name: str, config: GatewayConfig) -> Service:
    files = config.services
    spec = specs.load(files[name]) if name in files else specs.builtin(name)
    try:
        identity = service_id(name)
    except ValueError as error:
        raise ConfigError(f"applications: {error}") from error
    payers = tuple(a.raw for a in config.applications if name in a.services)
    return Service(name, identity, spec, spec.slo_rule(), payers, config.slo.get(name, Target()))
