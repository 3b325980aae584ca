"""Who takes part in a local network, and on which ports: made once, and kept in `network.json` until a reset."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import Final

from pocketnode.crypto import keystore
from pocketnode.crypto.keys import Key
from pocketnode.localnet import ports
from pocketnode.localnet.state import Layout, write_json

CHAIN: Final = "chain"
LLM: Final = "llm"
GATEWAY: Final = "gateway"
APPLICATION: Final = "application"
SUPPLIERS: Final = ("supplier-1", "supplier-2", "supplier-3")


@dataclass(frozen=True, slots=True)
class Options:
    """What the user may choose.

    Parameters
    ----------
    gateway_port : where users find the gateway on 127.0.0.1; 0 lets the system choose.
    degraded : the supplier that answers late and fails at times; empty for none.
    degraded_delay_ms, degraded_failure_rate : how late, and how often of 1.
    withhold : the gateway never posts a statement, so that suppliers must claim.
    """

    gateway_port: int = 3069
    degraded: str = SUPPLIERS[-1]
    degraded_delay_ms: int = 400
    degraded_failure_rate: float = 0.2
    withhold: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Ports by process name (`NAME-admin` is the admin listener of NAME), and addresses by key name."""

    ports: dict[str, int]
    addresses: dict[str, str]
    options: Options

    def url(self, name: str) -> str:
        return f"http://{ports.HOST}:{self.ports[name]}"

    def admin_url(self, name: str) -> str:
        return self.url(f"{name}-admin")


def make(layout: Layout, options: Options) -> Plan:
    """Choose free ports and make every key.

    Raises
    ------
    ConfigError
        the gateway's port is taken.
    """
    daemons = (GATEWAY, *SUPPLIERS)
    names = [CHAIN, LLM, *daemons, *(f"{name}-admin" for name in daemons)]
    chosen = dict(zip(names, ports.free(len(names)), strict=True))
    if options.gateway_port:
        chosen[GATEWAY] = options.gateway_port
    owners = [f"{name}-owner" for name in SUPPLIERS]
    plan = Plan(chosen, make_keys(layout, [APPLICATION, *daemons, *owners]), options)
    write_json(layout.network, asdict(plan))
    return plan


def make_keys(layout: Layout, names: list[str]) -> dict[str, str]:
    """Write a new encrypted key for each name, all under one new password; return their addresses."""
    password = secrets.token_urlsafe(24)
    layout.password.write_text(f"{password}\n")
    layout.password.chmod(0o600)
    addresses = {}
    for name in names:
        key = Key(secrets.token_bytes(32))
        keystore.create(layout.key(name), key, password, cost=keystore.LIGHT_COST)
        addresses[name] = f"0x{key.address.hex()}"
    return addresses


def read(layout: Layout) -> Plan | None:
    """Return the plan of the network in this folder, or None if there is none yet."""
    try:
        raw = json.loads(layout.network.read_text())
    except FileNotFoundError:
        return None
    return Plan(raw["ports"], raw["addresses"], Options(**raw["options"]))


def key(layout: Layout, name: str) -> Key:
    """Return one of the network's keys."""
    return keystore.load(layout.key(name), keystore.password_from(layout.password))


def check_ports(plan: Plan) -> None:
    """Raise ConfigError if a port of the plan is taken by now."""
    for name, port in plan.ports.items():
        cure = (
            "choose another with `--gateway-port`" if name == GATEWAY else "`pocketnode localnet reset` chooses others"
        )
        ports.check(port, name, f"stop that, or {cure}")
