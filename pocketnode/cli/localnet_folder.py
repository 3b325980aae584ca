"""The folder of a local network, as commands name it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pocketnode.errors import NotFound
from pocketnode.localnet import plan
from pocketnode.localnet.plan import Plan
from pocketnode.localnet.state import Layout


def folder_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the network's folder, as its parameter `layout`."""
    return click.option(
        "--dir",
        "layout",
        type=click.Path(path_type=Path, file_okay=False),
        default=".localnet",
        show_default=True,
        envvar="POCKETNODE_LOCALNET_DIR",
        callback=lambda _context, _option, value: Layout(value.resolve()),
        help="Where the network keeps everything.",
    )(command)


def found_plan(layout: Layout) -> Plan:
    """Return the plan of the network in a folder."""
    network = plan.read(layout)
    if network is None:
        raise NotFound(f"no local network is in {layout.root}: start one with `pocketnode localnet up`")
    return network
