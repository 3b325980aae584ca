"""gateway.yaml. Strict: an unknown key, a wrong type or a missing file is named, and nothing starts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pocketnode import shallow
from pocketnode.errors import ConfigError
from pocketnode.overlay import overlaid
from pocketnode.store.counters import WORKERS_MOST

BODY_MIB_MOST = 1024
_MODEL_PATHS = ("services", "tokenizers")
_PATHS = ("deployment", "keystore", "password_file", "records")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Application(_Strict):
    """Who pays, and for which services this gateway may spend its escrow."""

    address: str = Field(pattern=r"^0x[0-9a-fA-F]{40}$")
    services: list[str] = Field(min_length=1)

    @property
    def raw(self) -> bytes:
        """The 20-byte address."""
        return bytes.fromhex(self.address[2:])


class Admin(_Strict):
    """The operator's own listener; every path but /healthz and /readyz needs the token."""

    listen: str = "127.0.0.1:3070"
    token_file: Path = Field(description="a file whose first line is the token")


class Statements(_Strict):
    """What is done when a session ends."""

    withhold: bool = Field(default=False, description="for tests: post none, so that suppliers claim")
    collect: bool = Field(
        default=False, description="pay out the fees of own sessions, to services' owners and the treasury; costs gas"
    )
    report: bool = Field(
        default=True, description="report suppliers that sign two answers to one receipt, so that they are slashed"
    )
    confirmations: int | None = Field(
        default=None,
        ge=0,
        description="blocks on top until what the chain says is acted upon; 12, or a 20th of a short statement window",
    )


class Limits(_Strict):
    """What one request, and all of them together, may take."""

    body_mib: float = Field(default=20, gt=0, le=BODY_MIB_MOST)
    body_s: float = Field(default=30, gt=0, description="longest time a request's body may take to arrive")
    keep_alive_s: float = Field(default=15, gt=0, description="of silence, after which a stream gets a comment")
    batch_items: int = Field(default=100, ge=1, le=10_000)
    batch_concurrency: int = Field(default=32, ge=1)
    concurrency: int = Field(default=4096, ge=1, description="requests at once over all workers; more get 503 at once")

    @property
    def body_bytes(self) -> int:
        return int(self.body_mib * 1024 * 1024)


class Retry(_Strict):
    """How hard one request is tried."""

    attempts: int = Field(default=3, ge=1, le=10)
    deadline_s: float = Field(default=20, gt=0, description="after which no further supplier is tried")


class Selection(_Strict):
    """How suppliers share the traffic."""

    owner_share: float = Field(default=0.6, gt=0, le=1, description="most of the traffic that one owner gets")
    probation_share: float = Field(default=0.03, ge=0, le=0.5, description="traffic of who is below the best tier")


class Target(_Strict):
    """What one service is held against on the dashboard. It changes no routing and no pay."""

    success: float = Field(default=0.995, gt=0, lt=1, description="least share of requests that are answered")
    first_byte_ms: int | None = Field(
        default=None, gt=0, description="longest p95 to the first byte; what the service itself promises if not given"
    )
    price: int | None = Field(
        default=None,
        gt=0,
        description="most that a million units may cost, in base units of the token; the service's highest price if "
        "not given",
    )


class ClientTls(_Strict):
    """What suppliers are shown that ask gateways for a certificate."""

    certificate: Path = Field(description="PEM")
    key: Path = Field(description="its PEM key")


class Log(_Strict):
    level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    as_json: bool = Field(default=True, alias="json")
    access: bool = Field(default=False, description="a line for each request, with its attempts, time and cost")


class Telemetry(_Strict):
    """Traces and LLM metrics for an OpenTelemetry collector; needs the extra `otel`."""

    otlp: str | None = Field(
        default=None, pattern="^https?://", description="the collector's OTLP/HTTP address, such as http://otel:4318"
    )
    headers: dict[str, str] = Field(default_factory=dict, description="sent to the collector, such as its token")
    sample: float = Field(default=1, ge=0, le=1, description="share of traces kept, where the user did not decide it")


class GatewayConfig(_Strict):
    """The whole file. Paths are relative to it."""

    deployment: Path = Field(description="the deployment file that `pocketnode chain deploy` wrote")
    rpc: list[str] = Field(min_length=1, description="URLs of nodes of the chain that settles")
    keystore: Path
    password_file: Path
    applications: list[Application] = Field(min_length=1)
    services: dict[str, Path] = Field(
        default_factory=dict, description="specs of services that do not ship with the package"
    )
    listen: str = "127.0.0.1:3069"
    public_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]+)?$",
        max_length=300,
        description="where `listen` is reached from outside: suppliers fetch records there; empty tells them none",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=WORKERS_MOST,
        description="processes that answer on `listen` together; with more than one, another keeps sessions and money",
    )
    admin: Admin
    store: str = Field(default="sqlite:///gateway.db", description="SQLAlchemy URL of keys, usage and scores")
    records: Path = Field(default=Path("records"), description="folder of the relay records")
    client_tls: ClientTls | None = None
    statements: Statements = Statements()
    limits: Limits = Limits()
    retry: Retry = Retry()
    selection: Selection = Selection()
    aliases: dict[str, str] = Field(default_factory=dict, description="model name that users give -> model served")
    fallbacks: dict[str, list[str]] = Field(
        default_factory=dict, description="model -> models that answer where none of its suppliers can"
    )
    tokenizers: dict[str, Path] = Field(
        default_factory=dict,
        description="model -> folder with its tokenizer.json and chat template, to count suppliers' tokens again",
    )
    slo: dict[str, Target] = Field(
        default_factory=dict, description="service -> what the dashboard holds it against; each has defaults"
    )
    log: Log = Log()
    telemetry: Telemetry = Telemetry()

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        host_port(value)
        return value

    @classmethod
    def parse(cls, raw: Any, folder: Path) -> Self:
        """Return the configuration in parsed YAML; relative paths are meant from `folder`."""
        config = cls.model_validate(raw)
        placed = {name: folder / getattr(config, name) for name in _PATHS}
        shown = config.client_tls
        if shown is not None:
            shown = ClientTls(certificate=folder / shown.certificate, key=folder / shown.key)
        return config.model_copy(
            update={
                **placed,
                "client_tls": shown,
                "admin": config.admin.model_copy(update={"token_file": folder / config.admin.token_file}),
                **{of: {n: folder / p for n, p in getattr(config, of).items()} for of in _MODEL_PATHS},
                "store": _store(config.store, folder),
            }
        )


def load(path: Path) -> GatewayConfig:
    """Return the configuration in a file.

    Raises
    ------
    ConfigError
        it cannot be read, is not YAML, or breaks the schema; the message names file and field.
    """
    try:
        raw = overlaid(shallow.load(path.read_text()), "POCKETNODE_GATEWAY", os.environ)
        return GatewayConfig.parse(raw, path.absolute().parent)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: name a readable configuration file") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{path}: {'; '.join(faults)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2024-13-45 is a ValueError
        raise ConfigError(f"{path}: not YAML: {error}") from error


def resolved(config: GatewayConfig) -> str:
    """Return a configuration as text that `load_resolved` reads again: what the keeper hands to its workers."""
    return config.model_dump_json(by_alias=True)


def load_resolved(path: Path) -> GatewayConfig:
    """Return what `resolved` wrote; neither the operator's file nor the environment changes it.

    Raises
    ------
    ConfigError
        it is not there, or another version wrote it.
    """
    try:
        return GatewayConfig.parse(json.loads(path.read_text()), path.absolute().parent)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}: workers are started by `pocketnode gateway start`") from error


def host_port(listen: str) -> tuple[str, int]:
    """Return host and port of `host:port`.

    >>> host_port("127.0.0.1:3069")
    ('127.0.0.1', 3069)
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{listen!r} is not host:port")
    return host.strip("[]"), int(port)


def _store(url: str, folder: Path) -> str:
    """Return a store URL with a relative SQLite file placed in `folder`."""
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith("sqlite:////"):
        return f"{prefix}{folder / url.removeprefix(prefix)}"
    return url
