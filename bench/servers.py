"""Processes under measurement: where they are asked, and which of them do what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import psutil

from pocketnode.localnet import ports
from pocketnode.localnet.children import Child, Children, Ready

HOST: Final = ports.HOST
START_S: Final = 90.0

RPC: Final = "json-rpc"
CHAT: Final = "chat"
TIMED: Final = "stream of 200 tokens at 50 a second"
FAST: Final = "stream of 200 tokens at once"
KINDS: Final = (RPC, CHAT, TIMED, FAST)
LLM_KINDS: Final = (CHAT, TIMED, FAST)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one kind of request goes."""

    url: str
    model: str = "bench"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers.

    Parameters
    ----------
    places : by kind of request.
    pids : the processes that work for it, by role; none for the backend itself, which everyone uses. A role that is
        named like a kind of request is the one process that serves this kind.
    """

    name: str
    places: Mapping[str, Place]
    pids: Mapping[str, int] = field(default_factory=dict)

    def pids_for(self, kind: str) -> dict[str, int]:
        """Return the processes that serve one kind, by role."""
        if kind in self.pids:
            return {"proxy": self.pids[kind]}
        return {role: pid for role, pid in self.pids.items() if role not in KINDS}


@dataclass(slots=True)
class Bench:
    """What runs during one benchmark: the processes, and a folder for what they write."""

    folder: Path
    children: Children = field(default_factory=Children)

    async def start(self, name: str, argv: list[str], ready: Ready, env: Mapping[str, str] | None = None) -> int:
        """Start a process, wait until it is ready, and return its pid; its log is in the folder.

        Raises
        ------
        Unavailable
            it ended, or was not ready in time.
        """
        log = self.folder / f"{name}.log"
        with_bytecode = {"PYTHONDONTWRITEBYTECODE": "", **(env or {})}  # what starts must not compile all it imports
        await self.children.start(Child(name, argv, log, ready, env=with_bytecode), START_S)
        pid = self.children.pids[name]
        pin(pid, measured=name != "backend")
        return pid


def pin(pid: int, measured: bool) -> None:
    """Keep who is measured and who only helps to measure on cores of their own, if there are four or more."""
    cores = list(range(psutil.cpu_count() or 1))
    if len(cores) >= 4:
        psutil.Process(pid).cpu_affinity(cores[:2] if measured else cores[2:])


def answers(url: str, headers: Mapping[str, str] | None = None) -> Ready:
    """Return a question whether `url` answers 200."""

    async def ready() -> bool:
        try:
            async with aiohttp.ClientSession() as http, http.get(url, headers=headers or {}) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return ready
