"""`pocketnode gateway`: run a gateway, its API keys, and ask it why."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import click
from sqlalchemy import Engine

from pocketnode.chain import deployment as deployments
from pocketnode.chain.client import Rpc
from pocketnode.chain.follower import Follower
from pocketnode.chain.heads import Heads
from pocketnode.chain.market import Market
from pocketnode.chain.reader import Reader
from pocketnode.chain.sender import Sender
from pocketnode.cli import gateway_bond
from pocketnode.cli.logs import log_to_stderr
from pocketnode.cli.output import json_option, print_facts, print_rows
from pocketnode.crypto import keystore
from pocketnode.crypto.eip712 import Domain
from pocketnode.crypto.keys import Key, checksum
from pocketnode.daemon import Job, spare_collector, stop_on_signals
from pocketnode.errors import ConfigError, Unavailable
from pocketnode.gateway import config as configs
from pocketnode.gateway.access import rules_of
from pocketnode.gateway.admin import key_facts, token_of
from pocketnode.gateway.catalog import catalog_of
from pocketnode.gateway.config import GatewayConfig
from pocketnode.gateway.daemon import GatewayDaemon, Outside
from pocketnode.protocol.quality import Slo
from pocketnode.protocol.session import service_name
from pocketnode.services.spec import builtin
from pocketnode.settlement.files import RecordFiles
from pocketnode.settlement.pruning import Pruning
from pocketnode.settlement.records import SessionRecords
from pocketnode.settlement.stating import Stating
from pocketnode.store.engine import open_store
from pocketnode.store.events import EventStore
from pocketnode.store.journal import Journal
from pocketnode.store.keys import ApiKey, KeyStore
from pocketnode.store.pots import Pot, PotStage, PotStore
from pocketnode.store.records import RecordLog
from pocketnode.transport.client import open_lane
from pocketnode.transport.ports import LaneClient, Opening
from pocketnode.web.explorer import Explorer
from pocketnode.web.relays import Relays

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("gateway.yaml"),
    show_default=True,
    help="The gateway's configuration file.",
)


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
    """Answer requests until told to stop (SIGTERM: finish what runs).

    \b
    Example:
      pocketnode gateway start --config /etc/pocketnode/gateway.yaml
    """
    config = configs.load(path)
    log_to_stderr(config.log.level, config.log.as_json)
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(_start(config))


@gateway.command()
@config_option
@json_option
def check(path: Path, as_json: bool) -> None:
    """Check the configuration: the file, the key, the services' specs, and what the chain says of them.

    \b
    Example:
      pocketnode gateway check --config gateway.yaml
    """
    facts = asyncio.run(_check(configs.load(path)))
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
    facts = asyncio.run(_admin(configs.load(path), "/status"))
    if as_json:
        print_facts(facts, as_json=True)
        return
    sessions = facts.pop("sessions")
    print_facts(facts, as_json=False)
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
    """Print every key, without its secret."""
    with _keys(path) as store:
        print_rows([_key_row(key) for key in store.keys.all()], as_json, title="keys")


@keys.command("revoke")
@config_option
@click.argument("identity", metavar="ID")
@json_option
def revoke_key(path: Path, identity: str, as_json: bool) -> None:
    """End key ID now."""
    with _keys(path) as store:
        print_facts(key_facts(store.keys.revoke(identity, int(time.time()))), as_json)


@keys.command("rotate")
@config_option
@click.argument("identity", metavar="ID")
@click.option("--grace-s", type=click.IntRange(min=0), default=3600, show_default=True, help="The old one ends then.")
@json_option
def rotate_key(path: Path, identity: str, grace_s: int, as_json: bool) -> None:
    """Make a new key with the rules of key ID, and let the old one end."""
    now_s = int(time.time())
    with _keys(path) as store:
        key, secret = store.keys.rotate(identity, now_s, now_s + grace_s)
    print_facts({"key": secret, **key_facts(key)}, as_json)


@keys.command("limit")
@config_option
@click.argument("identity", metavar="ID")
@click.argument("rules")
@json_option
def limit_key(path: Path, identity: str, rules: str, as_json: bool) -> None:
    """Replace the scopes and limits of key ID by RULES, a JSON object."""
    rules_of(rules)
    with _keys(path) as store:
        print_facts(key_facts(store.keys.set_rules(identity, rules)), as_json)


# ---- what the daemon stands on


class Lanes:
    """Opens lanes with the gateway's key, and says at `public_url` where its records are."""

    def __init__(self, key: Key, domain: Domain, public_url: str = "") -> None:
        self._key = key
        self._domain = domain
        self._public_url = public_url

    async def open(self, opening: Opening, endpoint: str, fingerprint: bytes) -> LaneClient:
        told = replace(opening, records=self._public_url)
        return await open_lane(told, endpoint, fingerprint, self._key, self._domain)


class IdlePots(PotStore):
    """A gateway's pots, without those of sessions in which answers may still come: they are stated later."""

    def __init__(self, engine: Engine, gateway: bytes, serving: Collection[bytes]) -> None:
        super().__init__(engine, gateway)
        self._serving = serving

    def all(self, stages: Collection[PotStage] | None = None) -> list[Pot]:
        return [pot for pot in super().all(stages) if pot.session not in self._serving]


async def _start(config: GatewayConfig) -> None:
    stop = stop_on_signals()
    async with _outside(config) as (outside, jobs), GatewayDaemon(config, outside, jobs) as daemon:
        spare_collector()
        await daemon.run(stop)


@asynccontextmanager
async def _outside(config: GatewayConfig) -> AsyncIterator[tuple[Outside, dict[str, Job]]]:
    """Open what the daemon stands on: key, chain and store; yield it with the jobs that keep it going."""
    deployment = deployments.read(config.deployment)
    key = keystore.load(config.keystore, keystore.password_from(config.password_file))
    engine = open_store(config.store, apart=True)
    log = RecordLog(config.records)
    async with Rpc(config.rpc) as rpc:
        reader = Reader(rpc, deployment)
        await reader.check_chain()
        heads = Heads(rpc)
        await heads.refresh()
        market = Market(reader, heads)
        events, journal = EventStore(engine), Journal(engine, key.address)
        follower = Follower(reader, heads, events)
        sender = Sender(rpc, heads, key, journal, deployment.chain_id)
        serving: set[bytes] = set()
        pots = IdlePots(engine, key.address, serving)
        stating = Stating(market, follower, sender, key, pots, log, _slo_of(config), config.statements.withhold)
        pruning = Pruning(market, key.address, pots, events, journal, records=log)
        records = SessionRecords(log, pots, key.address)
        explorer = Explorer(reader, market)
        relays = Relays(log, PotStore(engine, key.address), lambda pot: explorer.book.pots.get(pot))
        lanes, panels = Lanes(key, deployment.domain, config.public_url), (explorer, relays)
        files = RecordFiles(config.records, PotStore(engine, key.address))
        outside = Outside(key.address, market, lanes, records, engine, serving, panels, relays, files)
        jobs: dict[str, Job] = {"heads": heads.run, "records": log.run, "sender": sender.run, "events": follower.run}
        jobs["pots"] = records.run
        yield outside, {**jobs, "explorer": explorer.run, "statements": stating.run, "pruning": pruning.run}
    engine.dispose()


def _slo_of(config: GatewayConfig) -> Callable[[bytes], Slo]:
    known = {service.id: service.slo for service in catalog_of(config).services.values()}

    def slo_of(service: bytes) -> Slo:
        found = known.get(service)
        return found if found is not None else builtin(service_name(service)).slo_rule()

    return slo_of


async def _check(config: GatewayConfig) -> list[dict[str, Any]]:
    """Return one row for each thing that must hold."""
    catalog = catalog_of(config)
    token_of(config.admin.token_file)
    rows = [_row("file", "services", ", ".join(catalog.services)), _row("file", "models", ", ".join(catalog.models))]
    async with _outside(config) as (outside, _):
        rows.append(_row("key", "gateway", checksum(outside.address)))
        number = outside.market.number_now()
        for application, service in catalog.pairs():
            what = f"{service.name} for {checksum(application)}"
            grant = await outside.market.grant(application, outside.address, service.id, number)
            rows.append(_row("grant", what, f"cap {grant.cap}" if grant else "", bool(grant), "no grant"))
            session = await outside.market.session(application, service.id, number)
            rows.append(_row("escrow", what, "covered", session.covered, "does not cover the caps"))
            count = len(session.suppliers)
            rows.append(_row("suppliers", what, str(count), count > 0, "nobody supplies it"))
    return rows


def _row(check: str, what: str, detail: str, holds: bool = True, problem: str = "") -> dict[str, Any]:
    return {"check": check, "what": what, "detail": detail, "result": "ok" if holds else problem}


async def _admin(config: GatewayConfig, path: str) -> Any:
    url = f"http://{config.admin.listen}{path}"
    headers = {"authorization": f"Bearer {token_of(config.admin.token_file)}"}
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


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()
