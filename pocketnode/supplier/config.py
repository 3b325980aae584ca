"""supplier.yaml. Strict: an unknown key, a wrong type or a missing file is named, and nothing starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pocketnode import shallow
from pocketnode.backends.http import Timeouts
from pocketnode.backends.pool import Queue
from pocketnode.errors import ConfigError
from pocketnode.overlay import overlaid
from pocketnode.supplier.locating import line_of, place_of

_PATHS = ("deployment", "keystore", "password_file")
Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(_Strict):
    """A value that does not stand in this file: the content of `file`, or of the variable `env`."""

    file: Path | None = None
    env: str | None = None
    prefix: str = Field(default="", description="put in front, such as 'Bearer '")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise ValueError("name either file or env")
        return self

    def value(self) -> str:
        """Return the secret.

        Raises
        ------
        ConfigError
            it is not there.
        """
        if self.env is not None:
            if self.env not in os.environ:
                raise ConfigError(f"environment variable {self.env} is not set: export it, or name a file")
            return self.prefix + os.environ[self.env]
        assert self.file is not None
        try:
            return self.prefix + self.file.read_text().strip()
        except OSError as error:
            raise ConfigError(f"{self.file}: {error.strerror}: it should hold a secret") from error


class BackendTls(_Strict):
    """How an https backend is known, and how this supplier shows itself to it."""

    ca: Path | None = Field(default=None, description="PEM roots to trust instead of the system's")
    certificate: Path | None = Field(default=None, description="PEM of our own certificate, where it asks for one")
    key: Path | None = None


class Degrade(_Strict):
    """Makes a backend slow and unreliable on purpose, for local networks."""

    delay_ms: int = Field(default=0, ge=0, le=60_000)
    failure_rate: float = Field(default=0, ge=0, le=1)
    seed: int = 0


class BackendTimeouts(_Strict):
    """Seconds; what is not given comes from the service's own timeout."""

    connect_s: float = Field(default=5, gt=0)
    first_byte_s: float | None = Field(default=None, gt=0)
    between_s: float = Field(default=30, gt=0)
    total_s: float | None = Field(default=None, gt=0)

    def over(self, service_timeout_s: float) -> Timeouts:
        """Return them all; first byte and total default to the service's timeout."""
        first, total = self.first_byte_s or service_timeout_s, self.total_s or service_timeout_s
        return Timeouts(self.connect_s, first, self.between_s, total)


class BackendConfig(_Strict):
    """One server behind a service."""

    url: str = Field(pattern=r"^https?://")
    name: str = Field(default="", description="in logs and metrics; host and port by default")
    websocket: str = Field(default="", pattern=r"^(wss?://.+)?$", description="where a node takes subscriptions")
    subscriptions: int = Field(default=100, ge=1, description="at once, over the WebSocket")
    concurrency: int = Field(default=64, ge=1, description="requests at once; an LLM server's slots")
    headers: dict[str, str | Secret] = Field(default_factory=dict)
    timeouts: BackendTimeouts = BackendTimeouts()
    tls: BackendTls = BackendTls()
    answer_mib: float = Field(default=64, gt=0, le=1024)
    health_method: str = Field(default="eth_blockNumber", description="JSON-RPC method that a check calls")
    health_path: str = Field(default="/", pattern="^/", description="what a check of a plain HTTP service reads")
    degrade: Degrade | None = None

    @property
    def label(self) -> str:
        return self.name or self.url.partition("://")[2].partition("/")[0]


class QueueConfig(_Strict):
    """Requests that may wait for a free backend; beyond it they are told `busy` at once."""

    most: int = Field(default=64, ge=0, le=100_000)
    wait_s: float = Field(default=2, gt=0, le=600)

    def as_queue(self) -> Queue:
        return Queue(self.most, self.wait_s)


class OperatorConfig(_Strict):
    """A further operator key, registered by its owner as the first one is."""

    keystore: Path
    password_file: Path
    name: str = Field(default="", description="in `services[].operators`; the keystore's file name by default")

    @property
    def label(self) -> str:
        return self.name or self.keystore.stem


class ServiceConfig(_Strict):
    """One service that this supplier sells."""

    id: str = Field(pattern=r"^[a-z0-9._-]{1,32}$")
    spec: Path | None = Field(default=None, description="its spec, where it does not ship with the package")
    price: int = Field(ge=0, description="base units of the token per million compute units, from the next session on")
    operators: list[str] = Field(default_factory=list, description="names of the keys that sell it; all by default")
    backends: list[BackendConfig] = Field(min_length=1)
    queue: QueueConfig = QueueConfig()


class Policy(_Strict):
    """Whom to serve, and how far to trust them."""

    allow: list[Address] = Field(default_factory=list, description="gateways to serve; empty for all")
    deny: list[Address] = Field(default_factory=list)
    credit_limit: int = Field(default=2_000_000, ge=1, description="units a gateway may leave unpaid, per service")
    credit_limits: dict[Address, int] = Field(default_factory=dict, description="other limits by gateway")
    least_price: dict[str, int] = Field(default_factory=dict, description="service -> price below which not to serve")
    least_multiplier: float = Field(
        default=0, ge=0, le=1.2, description="gateways whose sessions paid less, relative to equal quality, are refused"
    )
    over_serve: bool = Field(default=False, description="serve beyond what escrow guarantees (rule 3.8)")

    def serves(self, gateway: bytes) -> bool:
        """Return whether this gateway may open lanes."""
        named = f"0x{gateway.hex()}"
        allowed = not self.allow or named in map(str.lower, self.allow)
        return allowed and named not in map(str.lower, self.deny)

    def credit_of(self, gateway: bytes) -> int:
        """Return the units that this gateway may leave unpaid."""
        limits = {address.lower(): limit for address, limit in self.credit_limits.items()}
        return limits.get(f"0x{gateway.hex()}", self.credit_limit)


class Limits(_Strict):
    """What gateways may take of this daemon."""

    lanes: int = Field(default=4096, ge=1)
    in_flight_per_lane: int = Field(default=256, ge=1)
    request_mib: float = Field(default=32, gt=0, le=1024)
    drain_s: float = Field(default=20, ge=0, description="longest time to finish when told to stop")
    replicas: int = Field(default=1, ge=1, description="processes behind this endpoint; each gives its share of credit")


class Tls(_Strict):
    """The lanes' listener: PEM files; `client_ca` asks gateways for certificates."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class Admin(_Strict):
    """The operator's own listener; every path but /healthz and /readyz needs the token, if there is one."""

    listen: str = "127.0.0.1:9100"
    token_file: Path | None = None


class Settlement(_Strict):
    """What the daemon does with its money by itself."""

    claim: bool = Field(default=True, description="claim what a gateway's statement leaves out")
    withdraw: bool = Field(default=True, description="send what is final to the payout addresses")
    prices: bool = Field(default=True, description="have registrations ask the prices of this file")
    audit: bool = Field(default=True, description="recompute statements from the gateway's records, and tell of lies")
    audit_mib: float = Field(default=512, gt=0, description="of one session's records; larger ones are not audited")
    confirmations: int | None = Field(
        default=None,
        ge=0,
        description="blocks on top until what the chain says is acted upon; 12, or a 20th of a short statement window",
    )
    least_claim: int = Field(default=1, ge=0, description="base units below which a claim is not worth its gas")
    least_withdrawal: int = Field(default=0, ge=0, description="base units below which to wait for more sessions")
    withdraw_age_blocks: int = Field(default=43_200, ge=0, description="after which to withdraw whatever it is")
    withdraw_base_fee_wei: int = Field(
        default=0, ge=0, description="the chain's fee per gas above which withdrawals wait, until that age; 0 for any"
    )
    least_gas_wei: int = Field(default=10**16, ge=0, description="balance below which /status and metrics warn")


class Log(_Strict):
    level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    as_json: bool = Field(default=True, alias="json")


class SupplierConfig(_Strict):
    """The whole file. Paths are relative to it."""

    deployment: Path = Field(description="the deployment file that `pocketnode chain deploy` wrote")
    rpc: list[str] = Field(min_length=1, description="URLs of nodes of the chain that settles")
    keystore: Path = Field(description="the operator key")
    password_file: Path
    operators: list[OperatorConfig] = Field(default_factory=list, description="further operator keys of this process")
    listen: str = "0.0.0.0:9443"
    endpoint: str = Field(default="", description="host:port where gateways find it; `listen` by default")
    tls: Tls | None = None
    admin: Admin = Admin()
    store: str = Field(default="sqlite:///supplier.db", description="SQLAlchemy URL of the receipts")
    services: list[ServiceConfig] = Field(min_length=1)
    policy: Policy = Policy()
    limits: Limits = Limits()
    settlement: Settlement = Settlement()
    log: Log = Log()

    @field_validator("listen", "endpoint")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value:
            host_port(value)
        return value

    @field_validator("services")
    @classmethod
    def _each_once(cls, value: list[ServiceConfig]) -> list[ServiceConfig]:
        for service in value:
            labels = [backend.label for backend in service.backends]
            if len(set(labels)) < len(labels):
                raise ValueError(f"{service.id}: two backends of one name: set `name`")
        if len({service.id for service in value}) < len(value):
            raise ValueError("a service is listed twice")
        return value

    @model_validator(mode="after")
    def _names_hold(self) -> Self:
        if self.limits.replicas > 1 and self.store.startswith("sqlite"):
            raise ValueError("limits.replicas: replicas share one store, which SQLite cannot be: name a PostgreSQL one")
        names = [key.label for key in self.keys]
        if len(set(names)) < len(names):
            raise ValueError("operators: two keys of one name: set `name`")
        for service in self.services:
            for name in service.operators:
                if name not in names:
                    raise ValueError(f"services: {service.id}: no operator is named {name!r}: {', '.join(names)} are")
        return self

    @property
    def keys(self) -> tuple[OperatorConfig, ...]:
        """All operator keys, the file's own first."""
        return (OperatorConfig(keystore=self.keystore, password_file=self.password_file), *self.operators)

    def sellers(self, service: ServiceConfig) -> tuple[str, ...]:
        """Return the names of the keys that sell a service."""
        return tuple(key.label for key in self.keys if not service.operators or key.label in service.operators)

    @property
    def advertised(self) -> str:
        """Where gateways find it, `host:port`."""
        return self.endpoint or self.listen


def load(path: Path) -> SupplierConfig:
    """Return the configuration in a file, its relative paths placed in the file's folder.

    Raises
    ------
    ConfigError
        it cannot be read, is not YAML, or breaks the schema; the message names file, field and what is wrong.
    """
    try:
        text = path.read_text()
        raw = overlaid(shallow.load(text), "POCKETNODE_SUPPLIER", os.environ)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: name a readable configuration file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2024-13-45 is a ValueError
        raise ConfigError(f"{path}: not YAML: {error}") from error
    try:
        config = SupplierConfig.model_validate(raw)
    except ValidationError as error:
        faults = [f"{path}:{line_of(text, e['loc'])}: {place_of(e['loc'])}: {e['msg']}" for e in error.errors()]
        raise ConfigError("\n".join(faults)) from error
    placed: SupplierConfig = _placed(config, path.absolute().parent)
    return placed


def host_port(listen: str) -> tuple[str, int]:
    """Return host and port of `host:port`.

    >>> host_port("[::1]:9443")
    ('::1', 9443)
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{listen!r} is not host:port")
    return host.strip("[]"), int(port)


def _placed(value: Any, folder: Path) -> Any:
    """Return a model with every relative path in it, however deep, placed in `folder`."""
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, list):
        return [_placed(item, folder) for item in value]
    if isinstance(value, dict):
        return {key: _placed(item, folder) for key, item in value.items()}
    if isinstance(value, BaseModel):
        placed = {name: _placed(getattr(value, name), folder) for name in type(value).model_fields}
        if isinstance(value, SupplierConfig):
            placed["store"] = _store(value.store, folder)
        return value.model_copy(update=placed)
    return value


def _store(url: str, folder: Path) -> str:
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith("sqlite:////"):
        return f"{prefix}{folder / url.removeprefix(prefix)}"
    return url
