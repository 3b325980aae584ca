"""What the commands of a local network know of each other: a folder, and in it a file that the supervisor keeps.

.localnet/
  network.json     what stays: ports, addresses, the API key
  state.json       what runs: the phase, and every process by pid and start time
  config/          one YAML file for each daemon
  keys/            one encrypted keystore for each key, and their password
  data/            the chain's state and the daemons' databases
  logs/            one file for each process
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import psutil

from pocketnode.errors import ConfigError, NotFound

SUPERVISOR: Final = "supervisor"
Phase = Literal["starting", "ready", "stopping", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each file of a local network lies."""

    root: Path

    @property
    def network(self) -> Path:
        return self.root / "network.json"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def deployment(self) -> Path:
        return self.root / "deployment.json"

    @property
    def password(self) -> Path:
        return self.root / "keys" / "password"

    @property
    def admin_token(self) -> Path:
        """Opens the admin listeners of all daemons here."""
        return self.root / "keys" / "admin-token"

    @property
    def api_key(self) -> Path:
        """What users of the gateway send."""
        return self.root / "keys" / "api-key"

    @property
    def tokenizer(self) -> Path:
        """The model's tokenizer, by which the gateway counts tokens again."""
        return self.root / "data" / "tokenizer"

    def config(self, name: str) -> Path:
        return self.root / "config" / f"{name}.yaml"

    def key(self, name: str) -> Path:
        return self.root / "keys" / f"{name}.json"

    def data(self, name: str) -> Path:
        return self.root / "data" / name

    def log(self, name: str) -> Path:
        if name == SUPERVISOR:
            return self.root / "supervisor.log"
        return self.root / "logs" / f"{name}.log"

    def make(self) -> None:
        """Make the folders, closed to other users: they hold keys."""
        for name in ("config", "keys", "data", "logs"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)


@dataclass(frozen=True, slots=True)
class Process:
    """A process that may be gone: its pid alone could be another's by now, so its start time tells."""

    name: str
    pid: int
    started: float

    @classmethod
    def of(cls, name: str, pid: int) -> Process:
        try:
            return cls(name, pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return cls(name, pid, 0.0)

    def alive(self) -> bool:
        try:
            found = psutil.Process(self.pid)
            return abs(found.create_time() - self.started) < 0.01 and found.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


@dataclass(frozen=True, slots=True)
class State:
    """What runs now. The supervisor is the first of `processes`."""

    phase: Phase
    processes: list[Process] = field(default_factory=list)
    message: str = ""

    def running(self) -> bool:
        return bool(self.processes) and self.processes[0].alive()


def write_json(path: Path, value: Any) -> None:
    """Replace a file in one go, so that a reader never sees half of it."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temporary, path)


def write(layout: Layout, state: State) -> None:
    write_json(layout.state, asdict(state))


def read(layout: Layout) -> State | None:
    """Return what the last supervisor wrote, or None where there never was one."""
    try:
        raw = json.loads(layout.state.read_text())
    except FileNotFoundError:
        return None
    return State(raw["phase"], [Process(**process) for process in raw["processes"]], raw["message"])


def need_running(layout: Layout) -> State:
    """Return the state of the network that runs in this folder.

    Raises
    ------
    NotFound
        none does.
    """
    state = read(layout)
    if state is None or not state.running():
        raise NotFound(f"no local network runs in {layout.root}: start one with `pocketnode localnet up`")
    return state


def refuse_second(layout: Layout) -> None:
    """Raise ConfigError if a local network runs in this folder already."""
    last = read(layout)
    if last is not None and last.running():
        raise ConfigError(
            f"a local network runs in {layout.root} already (pid {last.processes[0].pid}): "
            "see `pocketnode localnet status`, or stop it with `pocketnode localnet down`"
        )


def reset(layout: Layout) -> None:
    """Remove everything that a network left in its folder, and only that."""
    for name in ("config", "keys", "data", "logs"):
        shutil.rmtree(layout.root / name, ignore_errors=True)
    for path in (layout.network, layout.state, layout.deployment):
        path.unlink(missing_ok=True)
