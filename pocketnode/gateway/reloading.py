"""Takes up a changed configuration without a restart, as far as that goes without new listeners, keys or stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

import structlog

from pocketnode.errors import PocketError
from pocketnode.gateway.catalog import Catalog, catalog_of
from pocketnode.gateway.config import GatewayConfig

# What a running gateway cannot change, and what it can; sections of which parts are fixed stand in both.
FIXED: Final = (
    "deployment",
    "rpc",
    "keystore",
    "password_file",
    "listen",
    "public_url",
    "workers",
    "admin",
    "store",
    "records",
)
FIXED_PARTS: Final = ("statements.collect", "statements.confirmations", "log.as_json")
LIVE: Final = (
    "applications",
    "services",
    "statements",
    "limits",
    "retry",
    "selection",
    "aliases",
    "fallbacks",
    "slo",
    "log",
    "client_tls",
    "tokenizers",
    "telemetry",
)

log = structlog.get_logger("gateway")
Adopt = Callable[[GatewayConfig, Catalog], None]
# Reads what a configuration names, which may fail, and returns what takes it up. Called off the loop.
Prepare = Callable[[GatewayConfig], Callable[[], None]]


def fixed_changes(old: GatewayConfig, new: GatewayConfig) -> list[str]:
    """Return the keys that differ and need a restart."""
    return [name for name in (*FIXED, *FIXED_PARTS) if attrgetter(name)(old) != attrgetter(name)(new)]


class Reloading:
    """Reads the file again when told to; `run` is a job of the daemon.

    Parameters
    ----------
    load : reads and checks the file.
    adopters : take the new configuration, one after the other; none of them fails.
    preparing : read the files that it names; where one fails, nothing is taken up.
    """

    def __init__(
        self,
        load: Callable[[], GatewayConfig],
        config: GatewayConfig,
        adopters: list[Adopt],
        preparing: Sequence[Prepare] = (),
    ) -> None:
        self._load = load
        self._preparing = preparing
        self._began = self._config = config
        self._adopters = adopters
        self.told = asyncio.Event()

    async def run(self) -> None:
        """Reload whenever `told` is set, until cancelled."""
        while True:
            await self.told.wait()
            self.told.clear()
            await self.reload()

    async def reload(self) -> bool:
        """Read and check the file, then take it up; a bad one changes nothing and is logged."""
        try:
            new = await asyncio.to_thread(self._load)
            catalog = await asyncio.to_thread(catalog_of, new)
            prepared = [await asyncio.to_thread(prepare, new) for prepare in self._preparing]
        except PocketError as error:
            log.error("reload refused: the old configuration holds", error=str(error))
            return False
        # What needs a restart is compared with what runs, not with the file of the last reload.
        fixed = fixed_changes(self._began, new)
        self._config = new.model_copy(update={name: getattr(self._began, name) for name in FIXED})
        for adopt in self._adopters:
            adopt(self._config, catalog)
        for take in prepared:
            take()
        log.info("reloaded", services=list(catalog.services))
        if fixed:
            log.warning("restart needed", changed=fixed)
        return True
