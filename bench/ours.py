"""Our own gateway and suppliers, started by the commands that an operator uses, with everything on."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from bench.market import PRICE, SESSION_BLOCKS, Cast, open_market
from bench.nginx import MODEL, base_of
from bench.servers import CHAT, FAST, HOST, LLM_KINDS, RPC, TIMED, Bench, Place, Server, answers
from pocketnode.chain.deployment import Deployment
from pocketnode.localnet import parts, ports
from pocketnode.localnet.children import Ready
from pocketnode.services.spec import builtin_bytes
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.keys import KeyStore

ETH: Final = "eth"
LLM: Final = "llm"
SERVICES: Final = {CHAT: "bench-chat", TIMED: "bench-timed", FAST: "bench-fast", LLM: "smollm2"}
CONCURRENCY: Final = 4096
LOG_LEVEL: Final = "warning"


@dataclass(frozen=True, slots=True)
class Ours:
    """Our daemons while they run."""

    server: Server
    cast: Cast
    deployment: Deployment
    chain_url: str
    admin_url: str
    folder: Path

    @property
    def gateway(self) -> int:
        """The gateway's pid."""
        return self.server.pids["gateway"]

    @property
    def supplier(self) -> int:
        """The first supplier's pid."""
        return self.server.pids["supplier"]


async def start(
    bench: Bench,
    behind: Server,
    suppliers: int = 1,
    applications: int = 1,
    llm_url: str | None = None,
    only_rpc: bool = False,
    session_blocks: int = SESSION_BLOCKS,
) -> Ours:
    """Start a chain, open the market, start suppliers and gateway, and wait until they are ready."""
    folder = bench.folder / "ours"
    folder.mkdir()
    cast = Cast.make(folder, suppliers, applications)
    chain_port, gateway_port, admin_port, *others = ports.free(3 + 2 * suppliers)
    chain_url = f"http://{HOST}:{chain_port}"
    await _start_chain(bench, chain_port)
    specs = {ETH: builtin_bytes("eth")} if only_rpc else service_specs(with_llm=llm_url is not None)
    supplier_ports = dict(zip(cast.suppliers, others[:suppliers], strict=True))
    endpoints = {name: f"{HOST}:{port}" for name, port in supplier_ports.items()}
    deployment = await open_market(chain_url, cast, specs, endpoints, session_blocks)
    backends = backends_of(behind, llm_url)
    pids = {}
    for name, admin in zip(cast.suppliers, others[suppliers:], strict=True):
        config = supplier_config(cast, name, chain_url, endpoints[name], admin, specs, backends)
        pids[name] = await _start_daemon(bench, name, "supplier", config, admin)
    config = gateway_config(cast, chain_url, gateway_port, admin_port, specs)
    pids["gateway"] = await _start_daemon(bench, "gateway", "gateway", config, admin_port)
    key = api_key(folder)
    roles = {"gateway": pids["gateway"], "supplier": pids[cast.suppliers[0]]}
    server = Server("pocketnode", places(gateway_port, key, llm_url is not None), roles)
    return Ours(server, cast, deployment, chain_url, f"http://{HOST}:{admin_port}", folder)


def service_specs(with_llm: bool) -> dict[str, bytes]:
    """Return the specs of what is sold: JSON-RPC as it ships, and one LLM service for each kind of answer."""
    specs = {ETH: builtin_bytes("eth")}
    for kind in LLM_KINDS:
        name = SERVICES[kind]
        spec = yaml.safe_load(builtin_bytes("smollm2"))
        spec |= {"id": name, "title": f"nginx: {kind}", "models": [name]}
        specs[name] = yaml.safe_dump(spec).encode()
    if with_llm:
        specs[SERVICES[LLM]] = builtin_bytes("smollm2")
    return specs


def backends_of(behind: Server, llm_url: str | None) -> dict[str, str]:
    """Return the backend's URL for each service."""
    urls = {ETH: behind.places[RPC].url.rstrip("/")}
    urls |= {SERVICES[kind]: f"http://{base_of(behind.places[kind].url)}" for kind in LLM_KINDS}
    return urls | ({SERVICES[LLM]: llm_url} if llm_url is not None else {})


def places(port: int, key: str, with_llm: bool) -> dict[str, Place]:
    """Return where each kind of request goes."""
    headers = {"authorization": f"Bearer {key}"}
    llm_kinds = (*LLM_KINDS, LLM) if with_llm else LLM_KINDS
    found = {RPC: Place(f"http://{HOST}:{port}/rpc/{ETH}", MODEL, headers)}
    for kind in llm_kinds:
        model = "smollm2-135m" if kind == LLM else SERVICES[kind]
        found[kind] = Place(f"http://{HOST}:{port}/v1/chat/completions", model, headers)
    return found


def supplier_config(
    cast: Cast,
    name: str,
    chain_url: str,
    endpoint: str,
    admin: int,
    specs: Mapping[str, bytes],
    backends: Mapping[str, str],
) -> dict[str, Any]:
    """Return a supplier's configuration: the default one, with room for as many requests at once as are measured."""
    services = [
        {
            "id": service,
            "spec": str(_spec_file(cast.folder, service, spec)),
            "price": PRICE,
            "backends": [{"url": backends[service], "concurrency": CONCURRENCY}],
            "queue": {"most": CONCURRENCY},
        }
        for service, spec in specs.items()
    ]
    return {
        **_common(cast, name, chain_url, endpoint, admin),
        "services": services,
        "policy": {"credit_limit": 50_000_000},
        "limits": {"in_flight_per_lane": CONCURRENCY},
    }


def gateway_config(cast: Cast, chain_url: str, port: int, admin: int, specs: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the gateway's configuration: the default one."""
    applications = [
        {"address": f"0x{cast.keys[name].address.hex()}", "services": list(specs)} for name in cast.applications
    ]
    return {
        **_common(cast, "gateway", chain_url, f"{HOST}:{port}", admin),
        "applications": applications,
        "services": {service: str(_spec_file(cast.folder, service, spec)) for service, spec in specs.items()},
        "records": str(cast.folder / "records"),
    }


def _common(cast: Cast, name: str, chain_url: str, listen: str, admin: int) -> dict[str, Any]:
    token = cast.folder / "admin-token"
    token.write_text("bench\n")
    return {
        "deployment": str(cast.deployment),
        "rpc": [chain_url],
        "keystore": str(cast.keystore(name)),
        "password_file": str(cast.password),
        "listen": listen,
        "admin": {"listen": f"{HOST}:{admin}", "token_file": str(token)},
        "store": sqlite_url(cast.folder / f"{name}.db"),
        "log": {"level": LOG_LEVEL},
    }


def _spec_file(folder: Path, service: str, spec: bytes) -> Path:
    path = folder / f"{service}.yaml"
    path.write_bytes(spec)
    return path


async def _start_daemon(bench: Bench, name: str, group: str, config: dict[str, Any], admin: int) -> int:
    path = bench.folder / "ours" / f"{name}.config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    argv = [sys.executable, "-m", "pocketnode", group, "start", "--config", str(path)]
    return await bench.start(name, argv, answers(f"http://{HOST}:{admin}/readyz"))


async def _start_chain(bench: Bench, port: int) -> None:
    argv = [str(parts.anvil()), "--silent", "--host", HOST, "--port", str(port)]
    await bench.start("chain", argv, _answers_rpc(f"http://{HOST}:{port}"), env={"HOME": str(bench.folder)})


def _answers_rpc(url: str) -> Ready:
    async def ready() -> bool:
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
        try:
            async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return ready


def api_key(folder: Path, application: bytes | None = None) -> str:
    """Make a key of the gateway's users, who pay as one application; the gateway sees it within two seconds."""
    rules = {"application": f"0x{application.hex()}"} if application is not None else {}
    store = open_store(sqlite_url(folder / "gateway.db"))
    _, secret = KeyStore(store).create("bench", int(time.time()), rules=json.dumps(rules))
    store.dispose()
    return secret
