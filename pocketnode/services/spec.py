"""Reads service specs from YAML. The chain keeps the hash of the file; gateway and supplier meter by the same bytes."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pocketnode import shallow
from pocketnode.crypto.keccak import keccak
from pocketnode.errors import ConfigError, NotFound
from pocketnode.protocol.quality import Slo


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(_Strict):
    """One JSON-RPC method: what it costs, and how an answer to it may be used."""

    units: int = Field(ge=1, le=1_000_000, description="compute units of one relay")
    cache: Literal["never", "head", "final", "always"] = Field(
        default="never",
        description="how long an answer holds: until the next block, for good once its block is final, or always",
    )
    static: bool = Field(
        default=False,
        description="the same for good, without parameters: agreed by several suppliers, then answered here",
    )
    answer: str = Field(
        default="", description="its result as JSON where every sound node says the same: given here, nobody is asked"
    )
    compute: Literal["", "keccak"] = Field(
        default="", description="its result is a function of its parameters alone: computed here, nobody is asked"
    )
    block: int | None = Field(default=None, ge=0, description="position of the block parameter, if there is one")
    range: bool = Field(
        default=False,
        description="at `block` is an object whose `fromBlock` and `toBlock` are block parameters",
    )
    pin: bool = Field(
        default=False,
        description="a block parameter that is a tag or left out may become the number of a block the client was shown",
    )
    shows: Literal["", "number", "blockNumber", "oldestBlock"] = Field(
        default="",
        description="field of the result, or of the last item in it, that tells its reader of a block there is",
    )
    idempotent: bool = Field(default=True, description="asking a second supplier does no harm")
    broadcast: bool = Field(default=False, description="goes to several suppliers; 'already known' is success")
    sticky: Literal["", "makes", "names"] = Field(
        default="", description="its result, or its first parameter, names what lives on one supplier (filters)"
    )
    empty: bool = Field(default=True, description="null is a valid answer; otherwise another supplier is asked too")
    head: bool = Field(default=False, description="its result is the number of the newest block")
    pace: Literal["quick", "slow"] = Field(default="quick", description="class for latency and timeouts")
    split: int | None = Field(
        default=None, ge=1, description="blocks that one supplier is asked for at once; wider ranges are put together"
    )
    subscription: bool = Field(default=False, description="WebSocket only")

    @field_validator("answer")
    @classmethod
    def _is_json(cls, text: str) -> str:
        if text:
            json.loads(text)
        return text


class Tokens(_Strict):
    """How LLM tokens become units."""

    units_per_prompt_token: int = Field(ge=0, le=10_000)
    units_per_output_token: int = Field(ge=1, le=10_000)
    output_tokens_default: int = Field(512, ge=1, description="held where the request names no maximum")
    hold_slice: int = Field(256, ge=1, description="output tokens that a stream's hold is raised by")
    context: int = Field(default=8192, ge=1, description="most tokens of prompt and answer together")


class Promise(_Strict):
    """The SLO that quality is measured against."""

    first_byte_ms: int = Field(ge=1)
    tokens_per_second: float = Field(0, ge=0)


class ServiceSpec(_Strict):
    """One service.

    `kind` says which backends can answer it and how it is metered: `json-rpc` by `methods`, `openai` by `tokens`.
    """

    id: str
    kind: Literal["json-rpc", "openai", "http"]
    title: str
    methods: dict[str, Method] = Field(default_factory=dict)
    other_methods: Method | None = Field(default=Method(units=10), description="methods not listed; null sells none")
    tokens: Tokens | None = None
    models: list[str] = Field(default_factory=list)
    timeout_s: float = Field(60, gt=0, description="after which an answer counts as a timeout (rule 6.2)")
    slo: Promise

    def slo_rule(self) -> Slo:
        """Return the SLO as the quality rule takes it."""
        per_token = self.tokens.units_per_output_token if self.tokens else 0
        return Slo(self.slo.first_byte_ms, self.slo.tokens_per_second, per_token)

    def method(self, name: str) -> Method | None:
        """Return what is sold under the name of a JSON-RPC method, or None where it is not sold."""
        return self.methods.get(name, self.other_methods)

    def method_units(self, method: str) -> int:
        """Return what one relay of a JSON-RPC method costs, in units; 0 for one that is not sold."""
        known = self.method(method)
        return known.units if known is not None else 0


@cache
def builtin(name: str) -> ServiceSpec:
    """Return the spec that ships with the package.

    Raises
    ------
    NotFound
        there is none of that name.
    """
    return parse(builtin_bytes(name), f"{name}.yaml")


def builtin_bytes(name: str) -> bytes:
    """Return the YAML file of a spec that ships with the package, as the chain's hash covers it."""
    source = files(__package__).joinpath(f"{name}.yaml")
    if not source.is_file():
        raise NotFound(f"no service spec {name!r} in this package")
    return source.read_bytes()


def load(path: Path) -> ServiceSpec:
    """Return the spec in a file.

    Raises
    ------
    ConfigError
        it cannot be read, or breaks the schema; the message names file and field.
    """
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: name a readable service spec") from error


def parse(raw: bytes, where: str) -> ServiceSpec:
    """Return the spec in YAML bytes; `where` is named in errors."""
    try:
        return ServiceSpec.model_validate(shallow.load(raw))
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def spec_hash(raw: bytes) -> bytes:
    """Return the 32 bytes that the chain keeps of a spec."""
    return keccak(raw)
