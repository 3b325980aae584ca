"""`pocketnode config`: what a configuration file may say, an example of one, and whether one holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from pydantic import BaseModel

from pocketnode.cli.fields import example as example_lines
from pocketnode.cli.output import json_option, print_facts
from pocketnode.gateway import config as gateway
from pocketnode.services import spec
from pocketnode.supplier import config as supplier

# Each kind of file: its schema, and what reads one.
KINDS: Final[dict[str, tuple[type[BaseModel], Callable[[Path], Any]]]] = {
    "gateway": (gateway.GatewayConfig, gateway.load),
    "supplier": (supplier.SupplierConfig, supplier.load),
    "service": (spec.ServiceSpec, spec.load),
}
kind_argument = click.argument("kind", type=click.Choice(list(KINDS)))


@click.group()
def config() -> None:
    """Configuration files: their schema, an example, a check.

    \b
    Example:
      pocketnode config example supplier > supplier.yaml
    """


@config.command()
@kind_argument
def schema(kind: str) -> None:
    """Print the JSON schema of KIND, for editors and other programs.

    \b
    Example:
      pocketnode config schema gateway > gateway.schema.json
    """
    click.echo(json.dumps(KINDS[kind][0].model_json_schema(), indent=2))


@config.command()
@click.argument("kind", type=click.Choice(["gateway", "supplier"]))
def example(kind: str) -> None:
    """Print a configuration file with every key, its meaning and its default.

    \b
    Example:
      pocketnode config example gateway > gateway.yaml
    """
    for line in example_lines(KINDS[kind][0]):
        click.echo(line)


@config.command()
@kind_argument
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def check(kind: str, file: Path, as_json: bool) -> None:
    """Check FILE against the schema of KIND; exit with 2 and name what is wrong.

    `pocketnode gateway check` and `pocketnode supplier check` also ask the chain.

    \b
    Example:
      pocketnode config check supplier supplier.yaml
    """
    KINDS[kind][1](file)
    print_facts({"file": str(file), "kind": kind, "result": "ok"}, as_json)
