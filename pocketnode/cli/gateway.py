"""`pocketnode gateway`: run a gateway, its API keys, and ask it why."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import click
import structlog
from sqlalchemy import Engine

from pocketnode.cli import gateway_bond, gateway_running
from pocketnode.cli.acting import confirmed, yes_option
from pocketnode.cli.amounts import coin_at, with_amounts
from pocketnode.cli.busy import busy
from pocketnode.cli.configured import config_options
from pocketnode.cli.gateway_parts import base, only_check
from pocketnode.cli.logs import log_to_stderr
from pocketnode.cli.output import json_option, print_facts, print_rows, say
from pocketnode.crypto.keys import checksum
from pocketnode.errors import ConfigError, Unavailable
from pocketnode.gateway import config as configs
from pocketnode.gateway.access import rules_of
from pocketnode.gateway.admin import key_facts
from pocketnode.gateway.catalog import catalog_of
from pocketnode.gateway.config import GatewayConfig
from pocketnode.store.engine import open_store
from pocketnode.store.keys import ApiKey, KeyStore
from pocketnode.web.listener import token_in

config_option = config_options("gateway")


@click.group()
def gateway() -> None:
    """Run a gateway, its keys and its bond.

    \b
    Example:
      pocketnode gateway start --config gateway.yaml
    """


for _command in gateway_bond.COMMANDS:
    gateway.add_command(_command)


@gateway.command()
@config_option
def start(path: Path) -> None:
    """Answer requests until told to stop (SIGTERM: finish what runs; SIGHUP: read the file again).

    \b
    Example:
      pocketnode gateway start --config /etc/pocketnode/gateway.yaml
    """
    config = configs.load(path)
    log_to_stderr(config.log.level, config.log.as_json)
    gateway_running.run(path, config)


@gateway.command(hidden=True)
@click.option("--told", "path", type=click.Path(path_type=Path, dir_okay=False), required=True)
@click.option("--number", type=click.IntRange(min=1), required=True)
def worker(path: Path, number: int) -> None:
    """Answer requests as one of several workers; started by `pocketnode gateway start`."""
    config = configs.load_resolved(path)
    log_to_stderr(config.log.level, config.log.as_json)
    structlog.contextvars.bind_contextvars(worker=number)
    gateway_running.run_worker(path, number)


@gateway.command()
@config_option
@json_option
def check(path: Path, as_json: bool) -> None:
    """Check the configuration: the file, the key, the services' specs, and what the chain says of them.

    \b
    Example:
      pocketnode gateway check --config gateway.yaml
    """
    config = configs.load(path)
    with busy("asking the chain"):
        facts = asyncio.run(_check(config))
    print_rows(facts, as_json, title="checks")
    if any(row["result"] != "ok" for row in facts):
        raise ConfigError(f"{path}: not every check passed")


@gateway.command()
@config_option
@json_option
def status(path: Path, as_json: bool) -> None:
    """Show what the running gateway does: its sessions, suppliers and what is spent.

    \b
    Example:
      pocketnode gateway status --config gateway.yaml
    """
    config = configs.load(path)
    facts = asyncio.run(_admin(config, "/status"))
    if as_json:
        print_facts(facts, as_json=True)
        return
    facts = with_amounts(facts, asyncio.run(coin_at(config.deployment, config.rpc)))
    sessions, workers = facts.pop("sessions"), facts.pop("workers", [])
    print_facts(facts, as_json=False)
    if workers:
        print_rows(workers, as_json=False, title="workers")
    for session in sessions:
        suppliers = session.pop("suppliers")
        print_facts(session, as_json=False)
        print_rows([_shown(supplier) for supplier in suppliers], as_json=False, title=session["service"])


@gateway.command()
@config_option
@click.argument("service")
@click.option("--class", "kind", help="Only this class of relays: a model, or quick or slow methods.")
@json_option
def explain(path: Path, service: str, kind: str | None, as_json: bool) -> None:
    """Say why each supplier of SERVICE is chosen now, or why not.

    \b
    Example:
      pocketnode gateway explain eth --config gateway.yaml
    """
    query = f"?class={kind}" if kind else ""
    rows = asyncio.run(_admin(configs.load(path), f"/explain/{service}{query}"))
    print_rows(rows, as_json, title=service)


@gateway.group()
def keys() -> None:
    """Make, list, change and revoke API keys. The gateway sees a change within two seconds.

    \b
    Example:
      pocketnode gateway keys create --config gateway.yaml --name shop
    """


@keys.command("create")
@config_option
@click.option("--name", default="", help="What you call it.")
@click.option("--days", type=click.IntRange(min=1), help="Ends after so many days; never if not given.")
@click.option("--rules", default="{}", help="Scopes and limits as JSON, such as '{\"requests_per_minute\": 600}'.")
@json_option
def create_key(path: Path, name: str, days: int | None, rules: str, as_json: bool) -> None:
    """Make a key and print its secret, which is shown this once.

    \b
    Example:
      pocketnode gateway keys create --name shop --rules '{"services": ["eth"], "requests_per_minute": 600}'
    """
    rules_of(rules)
    now_s = int(time.time())
    expires_s = now_s + days * 86_400 if days else None
    with _keys(path) as store:
        key, secret = store.keys.create(name, now_s, expires_s, rules)
    print_facts({"key": secret, **key_facts(key)}, as_json)


@keys.command("list")
@config_option
@json_option
def list_keys(path: Path, as_json: bool) -> None:
    """Print every key, without its secret.

    \b
    Example:
      pocketnode gateway keys list --config gateway.yaml
    """
    with _keys(path) as store:
        print_rows([_key_row(key) for key in store.keys.all()], as_json, title="keys")


@keys.command("revoke")
@config_option
@click.argument("identity", metavar="ID")
@yes_option
@json_option
def revoke_key(path: Path, identity: str, yes: bool, as_json: bool) -> None:
    """End key ID now.

    \b
    Example:
      pocketnode gateway keys revoke 3f9c2a1b --config gateway.yaml
    """
    say(f"ends key {identity} now: whoever uses it is refused")
    if not yes:
        confirmed()
    with _keys(path) as store:
        print_facts(key_facts(store.keys.revoke(identity, int(time.time()))), as_json)


@keys.command("rotate")
@config_option
@click.argument("identity", metavar="ID")
@click.option("--grace-s", type=click.IntRange(min=0), default=3600, show_default=True, help="The old one ends then.")
@yes_option
@json_option
def rotate_key(path: Path, identity: str, grace_s: int, yes: bool, as_json: bool) -> None:
    """Make a new key with the rules of key ID, and let the old one end.

    \b
    Example:
      pocketnode gateway keys rotate 3f9c2a1b --grace-s 86400
    """
    say(f"makes a new key in place of {identity}, which ends in {grace_s} s: whoever uses it then is refused")
    if not yes:
        confirmed()
    now_s = int(time.time())
    with _keys(path) as store:
        key, secret = store.keys.rotate(identity, now_s, now_s + grace_s)
    print_facts({"key": secret, **key_facts(key)}, as_json)


@keys.command("limit")
@config_option
@click.argument("identity", metavar="ID")
@click.argument("rules")
@yes_option
@json_option
def limit_key(path: Path, identity: str, rules: str, yes: bool, as_json: bool) -> None:
    """Replace the scopes and limits of key ID by RULES, a JSON object.

    \b
    Example:
      pocketnode gateway keys limit 3f9c2a1b '{"requests_per_minute": 60}' --yes
    """
    rules_of(rules)
    say(f"replaces all scopes and limits of key {identity} by {rules}")
    if not yes:
        confirmed()
    with _keys(path) as store:
        print_facts(key_facts(store.keys.set_rules(identity, rules)), as_json)


async def _check(config: GatewayConfig) -> list[dict[str, Any]]:
    """Return one row for each thing that must hold."""
    catalog = catalog_of(config)
    token_in(config.admin.token_file)
    rows = [_row("file", "services", ", ".join(catalog.services)), _row("file", "models", ", ".join(catalog.models))]
    rows += _worker_rows(config)
    only_check(config)
    rows += [_row("file", "tokenizers", ", ".join(config.tokenizers))] if config.tokenizers else []
    async with base(config) as at:
        rows.append(_row("key", "gateway", checksum(at.key.address)))
        number = at.market.number_now()
        for application, service in catalog.pairs():
            what = f"{service.name} for {checksum(application)}"
            grant = await at.market.grant(application, at.key.address, service.id, number)
            rows.append(_row("grant", what, f"cap {grant.cap}" if grant else "", bool(grant), "no grant"))
            session = await at.market.session(application, service.id, number)
            rows.append(_row("escrow", what, "covered", session.covered, "does not cover the caps"))
            count = len(session.suppliers)
            rows.append(_row("suppliers", what, str(count), count > 0, "nobody supplies it"))
    return rows


def _worker_rows(config: GatewayConfig) -> list[dict[str, Any]]:
    """Return what must hold for processes to share a port and what they count."""
    cores = os.cpu_count() or 1
    detail = f"{config.workers} on {cores} cores"
    rows = [_row("file", "workers", detail)]
    if config.workers > 1:
        rows.append(_row("system", "one port for all", "SO_REUSEPORT", hasattr(socket, "SO_REUSEPORT"), "not here"))
    return rows


def _row(check: str, what: str, detail: str, holds: bool = True, problem: str = "") -> dict[str, Any]:
    return {"check": check, "what": what, "detail": detail, "result": "ok" if holds else problem}


async def _admin(config: GatewayConfig, path: str) -> Any:
    url = f"http://{config.admin.listen}{path}"
    headers = {"authorization": f"Bearer {token_in(config.admin.token_file)}"}
    try:
        async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as answer:
            if answer.status != 200:
                raise Unavailable(f"{url}: HTTP {answer.status}: {await answer.text()}")
            return await answer.json()
    except aiohttp.ClientError as error:
        raise Unavailable(f"no gateway answers at {url}: start it with `pocketnode gateway start`") from error


@dataclass(frozen=True, slots=True)
class _OpenKeys:
    """The key store of a configuration, closed at the end of a `with`."""

    engine: Engine
    keys: KeyStore

    def __enter__(self) -> _OpenKeys:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()


def _keys(path: Path) -> _OpenKeys:
    engine = open_store(configs.load(path).store)
    return _OpenKeys(engine, KeyStore(engine))


def _key_row(key: ApiKey) -> dict[str, Any]:
    facts = key_facts(key)
    ended = key.revoked_s is not None or (key.expires_s is not None and key.expires_s <= time.time())
    return {**facts, "rules": json.dumps(facts["rules"]), "state": "ended" if ended else "valid"}


def _shown(supplier: dict[str, Any]) -> dict[str, Any]:
    names = ("operator", "lane", "relays", "units", "amount", "first_byte_ms", "quality", "in_flight", "problem")
    return {name: supplier[name] for name in names}
