"""`pocketnode supplier register`: offers on chain what the configuration says, once the backends have shown it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from pocketnode.backends.http import open_session
from pocketnode.backends.lean import Connections
from pocketnode.chain import deployment as deployments
from pocketnode.chain import operations
from pocketnode.chain.actor import Actor
from pocketnode.chain.operations import Profile
from pocketnode.chain.registrations import registration_of
from pocketnode.cli.acting import At, By, keystore_option, password_option, yes_option
from pocketnode.cli.busy import busy
from pocketnode.cli.coin import Coin, coin_of
from pocketnode.cli.coin import price as prices
from pocketnode.cli.output import json_option, print_facts
from pocketnode.cli.registration import facts_of, payout_option
from pocketnode.cli.supplier_parts import config_option
from pocketnode.crypto import keystore
from pocketnode.crypto.keys import Key, checksum
from pocketnode.errors import ConfigError, NotFound
from pocketnode.protocol.session import service_id
from pocketnode.supplier import config as configs
from pocketnode.supplier.checks import PUBLIC, check_backends, fingerprint_of, hidden_addresses
from pocketnode.supplier.config import ServiceConfig, SupplierConfig, host_port
from pocketnode.supplier.offers import Clients

_ANYWHERE = frozenset({"0.0.0.0", "::"})


operator_name_option = click.option(
    "--operator", default="", help="Name of the operator key, where the configuration has several that sell it."
)


@click.command()
@click.argument("service")
@config_option
@operator_name_option
@click.option("--bond", type=click.IntRange(0), required=True, help="Base units; pulled from the owner.")
@payout_option
@keystore_option
@password_option
@yes_option
@json_option
def register(
    service: str,
    path: Path,
    operator: str,
    bond: int,
    payouts: tuple[tuple[bytes, int], ...],
    key_file: Path,
    password_file: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Offer SERVICE from the next session on, at the price and endpoint of the configuration; the owner's key owns it.

    Nothing is offered that a backend does not do: each is asked first, as by `pocketnode supplier check`.

    \b
    Example:
      pocketnode supplier register eth --config supplier.yaml --bond 1000000 --keystore owner.json
    """
    config = configs.load(path)
    wanted = service_in(config, service)
    endpoint = public_endpoint(config)
    with busy("asking the backends"):
        asyncio.run(_confirm(wanted, config))
    key = key_in(config, wanted, operator)
    by = By(At(config.deployment, tuple(config.rpc)), key_file, password_file, yes)

    async def work(actor: Actor) -> dict[str, Any]:
        paid = payouts or ((actor.address, 10_000),)
        profile = Profile(key.address, endpoint, paid, fingerprint_of(config.tls))
        made = await operations.register(actor, service_id(service), profile, wanted.price, bond, key)
        return facts_of(await registration_of(actor.reader, made), await coin_of(actor.reader))

    def will(coin: Coin) -> str:
        bonded, asked = coin.shown(bond), prices(wanted.price, coin)
        return f"offers {service} at {endpoint} for {asked}, operated by {checksum(key.address)}, and bonds {bonded}"

    print_facts(by.act(will, work), as_json)


COMMANDS = (register,)


def service_in(config: SupplierConfig, name: str) -> ServiceConfig:
    """Return a service of the configuration.

    Raises
    ------
    NotFound
        it is not there.
    """
    for service in config.services:
        if service.id == name:
            return service
    raise NotFound(f"no service {name!r} in the configuration: it has {', '.join(s.id for s in config.services)}")


def key_in(config: SupplierConfig, service: ServiceConfig, name: str) -> Key:
    """Return an operator key that sells a service, by its name; the only one where none is given.

    Raises
    ------
    NotFound
        no such key sells it, or several do.
    """
    sellers = {key.label: key for key in config.keys if key.label in config.sellers(service)}
    if not name and len(sellers) == 1:
        (name,) = sellers
    if name not in sellers:
        raise NotFound(f"{service.id} is sold by {', '.join(sellers)}: name one of these with --operator")
    return keystore.load(sellers[name].keystore, keystore.password_from(sellers[name].password_file))


def public_endpoint(config: SupplierConfig) -> str:
    """Return where gateways find it.

    Raises
    ------
    ConfigError
        that is no address that anybody could connect to.
    """
    host, port = host_port(config.advertised)
    if host in _ANYWHERE or not port:
        raise ConfigError(f"{config.advertised} is nowhere to connect to: set `endpoint` as gateways see it")
    return config.advertised


async def _confirm(service: ServiceConfig, config: SupplierConfig) -> None:
    """Refuse what its backends do not do, and an endpoint that nobody outside can reach."""
    hidden = await hidden_addresses(config.advertised, deployments.read(config.deployment).chain_id)
    if hidden:
        raise ConfigError(f"{config.advertised} leads to {hidden}, where nobody outside can reach it: {PUBLIC}")
    clients = Clients(open_session(), Connections())
    try:
        findings = await check_backends(service, clients)
    finally:
        await clients.close()
    failed = [f"{finding.what}: {finding.found}: {finding.remedy}" for finding in findings if not finding.holds]
    if failed:
        raise ConfigError("\n".join(failed))
