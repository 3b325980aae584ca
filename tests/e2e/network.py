"""Runs a local network by the commands that a developer uses, and reads what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_S = 120  # on a machine that does much else


def pocketnode(*words: str | Path, timeout_s: float = 150) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [sys.executable, "-m", "pocketnode", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


@dataclass(frozen=True)
class Localnet:
    """A running network, as its users see it."""

    folder: Path
    gateway_url: str
    chain_url: str
    api_key: str

    def status(self) -> dict[str, Any]:
        return json_of("localnet", "status", "--json", "--dir", self.folder)[0]

    def payouts(self) -> list[dict[str, Any]]:
        return json_of("localnet", "payouts", "--json", "--dir", self.folder)

    def traffic(self, rate: float, seconds: float, chats: float = 0.03) -> dict[str, Any]:
        words = ("--rate", str(rate), "--seconds", str(seconds), "--chats", str(chats), "--json", "--dir", self.folder)
        return json_of("localnet", "traffic", *words, timeout_s=seconds + 60)[0]

    def settled_with(self, service: str, suppliers: int, within_s: float) -> dict[str, Any]:
        """Wait for a settled session of `service` in which so many suppliers were paid."""
        deadline_s = time.monotonic() + within_s
        while time.monotonic() < deadline_s:
            for session in self.payouts():
                if session["service"] == service and len(session["suppliers"]) >= suppliers:
                    return session
            time.sleep(1)
        raise AssertionError(f"no session of {service} was settled within {within_s} s")


def json_of(*words: str | Path, timeout_s: float = 60) -> list[dict[str, Any]]:
    """Run a command that prints one JSON object a line."""
    done = pocketnode(*words, timeout_s=timeout_s)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def running(folder: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a supervisor in the foreground, its environment with `env` besides; end it however the test ended."""
    words = ("localnet", "up", "--no-view", "--gateway-port", "0", "--dir", str(folder), *options)
    said = folder.with_suffix(".said")
    with (
        said.open("w") as out,
        subprocess.Popen(
            [sys.executable, "-m", "pocketnode", *words],
            stdout=out,
            stderr=out,
            text=True,
            env={**os.environ, **(env or {})},
        ) as supervisor,
    ):
        try:
            wait_ready(folder, supervisor, said)
            yield supervisor
        finally:
            supervisor.terminate()
            try:
                supervisor.wait(10)
            except subprocess.TimeoutExpired:
                supervisor.kill()


def wait_ready(folder: Path, supervisor: subprocess.Popen[str], said: Path) -> None:
    deadline_s = time.monotonic() + READY_S
    while "API key" not in said.read_text():
        if supervisor.poll() is not None or time.monotonic() > deadline_s:
            logs = "\n".join(f"{log.name}: {log.read_text()[-800:]}" for log in folder.glob("logs/*.log"))
            raise AssertionError(f"not ready: {said.read_text()}\n{logs}")
        time.sleep(0.1)


def described(folder: Path) -> Localnet:
    status = json_of("localnet", "status", "--json", "--dir", folder)[0]
    return Localnet(folder, status["gateway_url"], status["chain_url"], status["api_key"])
