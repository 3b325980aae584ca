"""Write docs/configuration.md from the schemas and docs/commands.md from the commands. Tests prove both current."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from pydantic import BaseModel

from pocketnode.cli.fields import Row, rows
from pocketnode.cli.main import main
from pocketnode.gateway.config import GatewayConfig
from pocketnode.services.spec import ServiceSpec
from pocketnode.supplier.config import SupplierConfig

ROOT: Final = Path(__file__).resolve().parent.parent
WIDTH: Final = 100
_HEAD: Final = "<!-- made by tools/generate_docs.py: do not edit -->\n"
_CONFIGURATION: Final = """# Configuration reference

Files are YAML. They are strict: a key that is not listed here is an error, so that a typing error is never taken for a
default. Relative paths are meant from the folder of the file.

The environment stands over the file: `POCKETNODE_SUPPLIER__ADMIN__LISTEN=0.0.0.0:9100` sets `admin.listen` of a
supplier, `POCKETNODE_GATEWAY__RPC='[http://one, http://two]'` the nodes of a gateway. Two underscores part the keys of
a path, items of a list go by number, values are YAML. Flags stand over both: `--set admin.listen=0.0.0.0:9100` says the
same to one command, and holds as well when a daemon reads its file again.

`pocketnode config example supplier` prints a whole file, `pocketnode config check supplier FILE` checks one, and
`pocketnode config schema supplier` prints the JSON schema that editors complete by.
"""
_FILES: Final[tuple[tuple[str, type[BaseModel], str], ...]] = (
    ("gateway.yaml", GatewayConfig, "Read by `pocketnode gateway`."),
    ("supplier.yaml", SupplierConfig, "Read by `pocketnode supplier`; SIGHUP has a running daemon read it again."),
    ("A service's spec", ServiceSpec, "What is sold. The chain keeps the hash of the file."),
)
_COMMANDS: Final = """# Command reference

What each command says with `--help`. Commands that read print tables for people and, with `--json`, one JSON object a
line for programs, or with `--field NAME` one value of it for a shell. Amounts are base units in JSON, whole tokens with
their symbol for people. What moves money or removes something says what will happen and asks; `--yes` skips that.

What options share can stand in the environment: `POCKETNODE_RPC`, `POCKETNODE_DEPLOYMENT`, `POCKETNODE_KEYSTORE`,
`POCKETNODE_PASSWORD_FILE`, `POCKETNODE_API_KEY`, `POCKETNODE_GATEWAY_CONFIG`, `POCKETNODE_SUPPLIER_CONFIG`. Where an
address is asked for, the key file of one will do.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed for a reason that has no code of its own, or you said no |
| 2 | the command line or a configuration is wrong: the operator must act |
| 3 | a rule of [the protocol](protocol.md) was broken |
| 4 | not available now; later or elsewhere it may be |
| 5 | what was named does not exist |
| 6 | the input is wrong |
| 7 | own records contradict each other |
| 130 | interrupted |
"""


def configuration() -> str:
    """Return docs/configuration.md."""
    parts = [_HEAD, _CONFIGURATION]
    for title, model, words in _FILES:
        table = "\n".join(map(_row, rows(model)))
        parts.append(f"\n## {title}\n\n{words}\n\n| key | takes | default | meaning |\n|---|---|---|---|\n{table}\n")
    return "".join(parts)


def _row(row: Row) -> str:
    default = f"`{row.default}`" if row.default else ("" if row.kind.startswith("section") else "must be given")
    return "| " + " | ".join((f"`{row.path}`", row.kind, default, _cell(row.meaning))) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def commands() -> str:
    """Return docs/commands.md."""
    parts = [_HEAD, _COMMANDS]
    for path, text in pages(main, "pocketnode"):
        parts.append(f"\n## {path}\n\n```\n{text}\n```\n")
    return "".join(parts)


def pages(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield each command's path and help page, groups before their members."""
    size = {"terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent, info_name=name, **{**command.context_settings, **size})
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield context.command_path, text
    if isinstance(command, click.Group):
        for member_name in command.list_commands(context):
            member = command.get_command(context, member_name)
            assert member is not None
            yield from pages(member, member_name, context)


PAGES: Final = {"configuration.md": configuration, "commands.md": commands}

if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs"
    for name, text in PAGES.items():
        (out / name).write_text(text())
