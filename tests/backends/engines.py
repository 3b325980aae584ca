"""The real things behind a supplier: llama.cpp with SmolLM2, and anvil. Each is a process that the test ends."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketnode.localnet import parts

MODEL = "smollm2-135m"
READY_S = 60.0


@contextmanager
def llama(folder: Path, slots: int = 2, port: int = 0) -> Iterator[str]:
    """Run llama.cpp's server; yield its base URL."""
    argv = [sys.executable, "-m", "pocketnode.localnet.llama", "--model", str(parts.weights())]
    argv += ["--alias", MODEL, "--slots", str(slots), "--port", str(port)]
    log = folder / "llama.log"
    with log.open("wb") as sink, subprocess.Popen(argv, stdout=sink, stderr=subprocess.STDOUT) as process:
        try:
            yield _listening(process, log)
        finally:
            process.kill()


@contextmanager
def anvil(folder: Path, port: int | None = None) -> Iterator[str]:
    """Run anvil; yield its URL."""
    port = port or free_port()
    argv = [str(parts.anvil()), "--silent", "--port", str(port)]
    with subprocess.Popen(argv, env={"HOME": str(folder)}) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _until(lambda: _answers(url), process)
            yield url
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    found: list[str] = []

    def look() -> bool:
        told = re.search(r"listening (http\S+)", log.read_text(errors="replace"))
        if told and not found:
            found.append(told[1])
        return bool(found) and _answers(f"{found[0]}/health")

    _until(look, process)
    return found[0]


def _until(ready: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(ready)
    deadline_s = time.monotonic() + READY_S
    while not ready():
        assert process.poll() is None, "the process ended"
        assert time.monotonic() < deadline_s, "the process was not ready in time"
        time.sleep(0.05)


def _answers(url: str) -> bool:
    body = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}' if url.count("/") == 2 else None
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
