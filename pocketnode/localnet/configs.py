"""Writes each daemon's configuration file, as an operator would by hand."""

from __future__ import annotations

import secrets
import time
from typing import Any

import yaml

from pocketnode.localnet.parts import weights
from pocketnode.localnet.plan import APPLICATION, CHAIN, GATEWAY, LLM, SUPPLIERS, Plan
from pocketnode.localnet.ports import HOST
from pocketnode.localnet.state import Layout
from pocketnode.localnet.traffic import MODEL
from pocketnode.services.gguf import write_tokenizer
from pocketnode.store.engine import open_store, sqlite_url
from pocketnode.store.keys import KeyStore

ETH, SMOLLM2 = "eth", "smollm2"
PRICES = {ETH: 50_000_000, SMOLLM2: 20_000_000}  # base units per million compute units


def write(layout: Layout, plan: Plan) -> None:
    """Write the configuration of the gateway and of every supplier, and the token of the admin listeners."""
    if not layout.admin_token.exists():
        layout.admin_token.write_text(f"{secrets.token_urlsafe(24)}\n")
        layout.admin_token.chmod(0o600)
    if not layout.tokenizer.exists():
        write_tokenizer(weights(), layout.tokenizer)
    _write(layout, GATEWAY, gateway(layout, plan))
    for name in SUPPLIERS:
        _write(layout, name, supplier(layout, plan, name))
    if not layout.api_key.exists():
        _make_api_key(layout)


def _make_api_key(layout: Layout) -> None:
    """Make a key in the gateway's store, before the gateway runs, and keep its secret for the commands here."""
    store = open_store(_store_url(layout, GATEWAY))
    _, secret = KeyStore(store).create("localnet", int(time.time()))
    store.dispose()
    layout.api_key.write_text(f"{secret}\n")
    layout.api_key.chmod(0o600)


def gateway(layout: Layout, plan: Plan) -> dict[str, Any]:
    return {
        "deployment": str(layout.deployment),
        "rpc": [plan.url(CHAIN)],
        "keystore": str(layout.key(GATEWAY)),
        "password_file": str(layout.password),
        "applications": [{"address": plan.addresses[APPLICATION], "services": [ETH, SMOLLM2]}],
        "listen": f"{HOST}:{plan.ports[GATEWAY]}",
        "public_url": plan.url(GATEWAY),
        "admin": {"listen": f"{HOST}:{plan.ports[f'{GATEWAY}-admin']}", "token_file": str(layout.admin_token)},
        "store": _store_url(layout, GATEWAY),
        "records": str(layout.data(GATEWAY) / "records"),
        "statements": {"withhold": plan.options.withhold},
        "tokenizers": {MODEL: str(layout.tokenizer)},
    }


def supplier(layout: Layout, plan: Plan, name: str) -> dict[str, Any]:
    backends: dict[str, dict[str, Any]] = {
        ETH: {"url": plan.url(CHAIN), "name": "anvil"},
        SMOLLM2: {"url": plan.url(LLM), "name": "llama.cpp", "concurrency": 4},
    }
    if name == plan.options.degraded:
        for backend in backends.values():
            backend["degrade"] = {
                "delay_ms": plan.options.degraded_delay_ms,
                "failure_rate": plan.options.degraded_failure_rate,
            }
    return {
        "deployment": str(layout.deployment),
        "rpc": [plan.url(CHAIN)],
        "keystore": str(layout.key(name)),
        "password_file": str(layout.password),
        "listen": f"{HOST}:{plan.ports[name]}",
        "admin": {"listen": f"{HOST}:{plan.ports[f'{name}-admin']}", "token_file": str(layout.admin_token)},
        "store": _store_url(layout, name),
        "services": [
            {"id": service, "price": PRICES[service], "backends": [backend], "queue": {"wait_s": 30}}
            for service, backend in backends.items()
        ],
        "limits": {"drain_s": 1},
    }


def _store_url(layout: Layout, name: str) -> str:
    return sqlite_url(layout.data(name) / "state.db")


def _write(layout: Layout, name: str, content: dict[str, Any]) -> None:
    layout.data(name).mkdir(exist_ok=True)
    layout.config(name).write_text(yaml.safe_dump(content, sort_keys=False))
