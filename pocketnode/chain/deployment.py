"""The deployment file: which chain, which contracts, since when. Every daemon and command takes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import checksum
from pocketnode.errors import ConfigError


def address(value: Any) -> bytes:
    """Return the 20 bytes of an address given as `0x` and 40 hex digits."""
    if isinstance(value, bytes) and len(value) == 20:
        return value
    if isinstance(value, str) and value.startswith("0x") and len(value) == 42:
        return bytes.fromhex(value[2:])
    raise ValueError("an address is 0x and 40 hex digits")


Address = Annotated[bytes, BeforeValidator(address), PlainSerializer(checksum, when_used="json")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Windows(_Strict):
    """Spans of blocks that are fixed for good (section 7 of docs/protocol.md)."""

    anchor: int = Field(ge=0, description="first block of session 0")
    length: int = Field(ge=1, description="blocks of a session")
    grace: int = Field(ge=0, description="blocks after a session's end in which its relays may finish")
    statement: int = Field(ge=1, description="blocks of the statement window")
    claim: int = Field(ge=1, description="blocks of the claim window")
    thaw: int = Field(ge=1, description="blocks until thawing money can be withdrawn")


class Contracts(_Strict):
    """Where the contracts stand."""

    token: Address
    params: Address
    escrow: Address
    gateways: Address
    services: Address
    registry: Address
    sessions: Address
    settlement: Address


class Deployment(_Strict):
    """One deployment. `block` is that of its first contract: no event of it is older."""

    chain_id: int = Field(ge=1)
    block: int = Field(ge=0)
    windows: Windows
    contracts: Contracts

    @property
    def domain(self) -> Domain:
        """What signatures of this deployment are bound to (rule 1.2)."""
        return Domain(self.chain_id, self.contracts.settlement)

    @property
    def unsettled(self) -> int:
        """P: how many sessions of an application can be unsettled at once (rule 4.6)."""
        windows = self.windows
        return 1 + -(-(windows.statement + windows.claim) // windows.length)


def read(path: Path) -> Deployment:
    """Return the deployment in a file.

    Raises
    ------
    ConfigError
        it cannot be read or is malformed; the message names file and field.
    """
    try:
        return Deployment.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: name a deployment file") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def write(path: Path, deployment: Deployment) -> None:
    """Write a deployment file; a reader sees the old one or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".draft")
    draft.write_text(deployment.model_dump_json(indent=2) + "\n")
    os.replace(draft, path)
