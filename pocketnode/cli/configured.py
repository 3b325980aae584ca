"""`--config` and `--set` of the daemons' commands: file, then environment, then flag; the later one wins."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

_SCHEMAS: Final = {
    "gateway": ("pocketnode.gateway.config", "GatewayConfig"),
    "supplier": ("pocketnode.supplier.config", "SupplierConfig"),
}


def config_options(kind: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command `--config FILE`, which it takes as `path`, and `--set KEY=VALUE`.

    A flag becomes the variable of its key in this process's environment, over one that is there. So it holds as well
    when a daemon reads its file again, and in the processes that it starts.

    Parameters
    ----------
    kind : `gateway` or `supplier`.
    """
    file = click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path(f"{kind}.yaml"),
        show_default=True,
        envvar=f"POCKETNODE_{kind.upper()}_CONFIG",
        help=f"The {kind}'s configuration file.",
    )
    flags = click.option(
        "--set",
        "flags",
        metavar="KEY=VALUE",
        multiple=True,
        expose_value=False,
        is_eager=True,
        callback=lambda context, _option, values: _adopt(context, kind, values),
        shell_complete=lambda _context, _option, begun: _keys(kind, begun),
        help="A setting over file and environment, such as `log.level=debug`; may be repeated.",
    )
    return lambda command: file(flags(command))


def _adopt(context: click.Context, kind: str, flags: tuple[str, ...]) -> None:
    """Put flags into the environment until the command ends."""
    before = dict(os.environ)
    for flag in flags:
        key, equals, value = flag.partition("=")
        if not equals or not all(key.split(".")):
            raise click.BadParameter(f"{flag!r} is not KEY=VALUE, such as `log.level=debug`", param_hint="--set")
        name = f"POCKETNODE_{kind.upper()}__{key.replace('.', '__').upper()}"
        for other in [known for known in os.environ if known.startswith(f"{name}__")]:
            del os.environ[other]
        os.environ[name] = value
    if flags:
        context.call_on_close(lambda: _restore(before))


def _restore(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


def _keys(kind: str, begun: str) -> list[CompletionItem]:
    """Return the keys that a schema has, for a shell to complete."""
    from pocketnode.cli.fields import rows

    module, name = _SCHEMAS[kind]
    model: Any = getattr(import_module(module), name)
    keys = {row.path: row.meaning for row in rows(model) if not row.kind.startswith("section")}
    named = {key.replace("[]", ".0"): meaning for key, meaning in keys.items()}
    return [CompletionItem(f"{key}=", help=meaning) for key, meaning in named.items() if key.startswith(begun)]
