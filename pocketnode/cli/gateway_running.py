"""Runs a gateway: in one process, or as a keeper with worker processes; SIGHUP has it read its configuration again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from pocketnode.cli.gateway_parts import (
    KEEPER_SOCKET,
    Base,
    Settling,
    alone_with,
    base,
    only_check,
    preparing,
    share,
    whole,
)
from pocketnode.cli.logs import log_at
from pocketnode.daemon import spare_collector, stop_on_signals
from pocketnode.errors import Unavailable
from pocketnode.gateway import config as configs
from pocketnode.gateway.catalog import Catalog
from pocketnode.gateway.config import GatewayConfig
from pocketnode.gateway.daemon import DRAIN_S, GatewayDaemon
from pocketnode.gateway.keeper import Keeper, Kept
from pocketnode.gateway.port import held, listen_of
from pocketnode.gateway.reloading import Adopt, Prepare, Reloading
from pocketnode.gateway.shared import Shared
from pocketnode.gateway.workers import Workers, end_with_parent
from pocketnode.store.counters import COLUMNS
from pocketnode.store.records import RecordLog
from pocketnode.store.serving import ServingLocks
from pocketnode.web.listener import token_in

CONFIG: Final = "config.json"
END_WITHIN_S: Final = DRAIN_S + 3


def run(path: Path, config: GatewayConfig) -> None:
    """Run the gateway of a configuration file until SIGTERM or SIGINT."""
    _run(partial(_start_one if config.workers == 1 else _start_keeper, path, config))


def run_worker(path: Path, number: int) -> None:
    """Run one worker; `path` is what the keeper wrote."""
    _run(partial(_start_worker, path, number))


async def _start_one(path: Path, config: GatewayConfig) -> None:
    stop = stop_on_signals()
    async with (
        base(config) as at,
        whole(at) as (outside, settling, jobs),
        GatewayDaemon(config, outside, jobs) as daemon,
    ):
        prepare = preparing(daemon, outside)
        reloading = _reloading(partial(configs.load, path), config, [settling.adopt, daemon.adopt], prepare)
        jobs["reload"] = reloading.run
        spare_collector()
        await daemon.run(stop)


async def _start_worker(path: Path, number: int) -> None:
    stop = stop_on_signals()
    end_with_parent(stop, END_WITHIN_S)
    config, keeper = configs.load_resolved(path), os.getppid()
    try:
        async with (
            base(config) as at,
            share(at, number, path.parent) as (outside, jobs),
            GatewayDaemon(config, outside, jobs) as daemon,
        ):
            prepare = preparing(daemon, outside)
            jobs["reload"] = _reloading(partial(configs.load_resolved, path), config, [daemon.adopt], prepare).run
            spare_collector()
            await daemon.run(stop)
    finally:
        if os.getppid() != keeper:  # it was killed, and cannot tidy up
            shutil.rmtree(path.parent, ignore_errors=True)


async def _start_keeper(path: Path, config: GatewayConfig) -> None:
    stop = stop_on_signals()
    with _folder() as folder, held(config.listen) as port:
        told = _Told(folder / CONFIG, listen_of(config.listen, port))
        told.write(config)
        async with base(config) as at:
            await _keep(at, path, told, stop)


async def _keep(at: Base, path: Path, told: _Told, stop: asyncio.Event) -> None:
    config, folder = at.config, told.path.parent
    with alone_with(config.records) as power:
        _clear(config)
        settling = Settling(at, RecordLog(config.records), ServingLocks(config.records), power)
        workers = Workers(partial(_command, told.path), folder, config.workers, token_in(config.admin.token_file))
        catalog, socket = settling.catalog, folder / KEEPER_SOCKET
        kept = Kept(at.key.address, at.market, at.engine, catalog, workers, socket, settling.panels, settling.metrics)

        def tell(new: GatewayConfig, _: Catalog) -> None:
            told.write(new)
            workers.reload()

        async with Keeper(config, kept, settling.jobs) as keeper:
            reloading = _reloading(partial(configs.load, path), config, [settling.adopt, tell], [only_check])
            settling.jobs["reload"] = reloading.run
            spare_collector()
            await keeper.run(stop)


class _Told:
    """The configuration that workers read: checked, with the port that is held."""

    def __init__(self, path: Path, listen: str) -> None:
        self.path = path
        self._listen = listen

    def write(self, config: GatewayConfig) -> None:
        fresh = self.path.with_suffix(".new")
        try:
            fresh.touch(0o600)
            fresh.write_text(configs.resolved(config.model_copy(update={"listen": self._listen})))
            fresh.replace(self.path)
        except OSError as error:
            raise Unavailable(f"{self.path}: {error.strerror}: workers cannot be told their configuration") from error


def _clear(config: GatewayConfig) -> None:
    """Give back what workers that were killed had set aside; each clears its own place when it begins."""
    shared = Shared.opened(config.records)
    shared.clear([0, *range(config.workers + 1, COLUMNS)])
    shared.close()


def _command(path: Path, number: int, _socket: Path) -> list[str]:
    return [sys.executable, "-m", "pocketnode", "gateway", "worker", "--told", str(path), "--number", str(number)]


def _reloading(
    load: Callable[[], GatewayConfig], config: GatewayConfig, adopters: list[Adopt], prepare: list[Prepare]
) -> Reloading:
    reloading = Reloading(load, config, [*adopters, lambda new, _: log_at(new.log.level)], prepare)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloading.told.set)
    return reloading


@contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder for sockets and what is told to workers: of this user alone, with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="pocketnode-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(work())


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()
