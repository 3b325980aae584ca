"""`pocketnode service`: add services and look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pocketnode.chain import operations
from pocketnode.chain.actor import Actor
from pocketnode.chain.market import Market
from pocketnode.cli.acting import FILE, SERVICE, At, By, at_chain, by_key
from pocketnode.cli.coin import Coin, coin_of, price
from pocketnode.cli.output import json_option, print_facts
from pocketnode.crypto.keys import checksum
from pocketnode.errors import ConfigError
from pocketnode.protocol.session import service_name
from pocketnode.services.spec import builtin_bytes, parse


@click.group()
def service() -> None:
    """Services: what is sold.

    \b
    Example:
      pocketnode service show eth --rpc http://127.0.0.1:8545
    """


@service.command()
@click.option("--spec", type=FILE, help="The service's spec, a YAML file.")
@click.option("--builtin", help="The name of a spec that ships with this program, in place of a file.")
@click.option("--uri", default="", help="Where everybody finds the spec.")
@click.option(
    "--max-price", type=click.IntRange(1), required=True, help="Most a supplier may ask, base units per million units."
)
@click.option(
    "--owner-share", type=click.IntRange(0, 10_000), default=0, show_default=True, help="Of the fee, in 1/10,000."
)
@by_key
@json_option
def add(
    spec: Path | None,
    builtin: str | None,
    uri: str,
    max_price: int,
    owner_share: int,
    by: By,
    as_json: bool,
) -> None:
    """Add a service; the key that acts owns it and earns a share of its fees.

    \b
    Example:
      pocketnode service add --builtin eth --max-price 1000000 --rpc http://127.0.0.1:8545 --keystore owner.json
    """
    raw = _spec_bytes(spec, builtin)
    name = parse(raw, str(spec or builtin)).id

    async def work(actor: Actor) -> dict[str, Any]:
        await operations.add_service(actor, raw, uri, max_price, owner_share)
        most = price(max_price, await coin_of(actor.reader))
        return {"service": name, "max_price": most, "owner_share": owner_share}

    def will(coin: Coin) -> str:
        return f"adds the service {name}, for which nobody may ask more than {price(max_price, coin)}, and pays its fee"

    print_facts(by.act(will, work), as_json)


@service.command()
@click.argument("model", type=FILE)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@json_option
def tokenizer(model: Path, folder: Path, as_json: bool) -> None:
    """Take the tokenizer and chat template out of MODEL, a GGUF file, and write them into FOLDER.

    A gateway that names FOLDER under `tokenizers` counts the tokens of this model again.

    \b
    Example:
      pocketnode service tokenizer smollm2.gguf tokenizers/smollm2
    """
    from pocketnode.services.gguf import write_tokenizer

    for path in write_tokenizer(model, folder):
        print_facts({"file": str(path)}, as_json)


@service.command()
@click.argument("service", type=SERVICE)
@at_chain
@json_option
def show(service: bytes, at: At, as_json: bool) -> None:
    """Show what the chain says of SERVICE.

    \b
    Example:
      pocketnode service show eth --rpc http://127.0.0.1:8545
    """

    async def read(market: Market) -> dict[str, Any]:
        found = await market.service(service)
        (count,) = await market.reader.call("Registry", "countAt", service, market.number_now())
        return {
            "service": service_name(found.id),
            "kind": found.kind,
            "owner": checksum(found.owner),
            "spec_hash": f"0x{found.spec_hash.hex()}",
            "uri": found.uri,
            "max_price": price(found.max_price, await coin_of(market.reader)),
            "owner_share": found.owner_share,
            "registrations": count,
        }

    print_facts(at.look(read), as_json)


def _spec_bytes(spec: Path | None, builtin: str | None) -> bytes:
    if (spec is None) == (builtin is None):
        raise ConfigError("give either --spec FILE or --builtin NAME")
    if spec is None:
        assert builtin is not None
        return builtin_bytes(builtin)
    try:
        return spec.read_bytes()
    except OSError as error:
        raise ConfigError(f"{spec}: {error.strerror}: name a readable spec") from error
