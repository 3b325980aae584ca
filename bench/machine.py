"""What a result was measured on, and with what."""

from __future__ import annotations

import datetime
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

from bench import tools

OURS: Final = ("aiohttp", "grpcio", "uvloop", "coincurve", "protobuf", "sqlalchemy", "orjson", "xllamacpp")


def facts() -> dict[str, Any]:
    """Return machine, versions, commit and day."""
    return {
        "taken": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "machine": {
            "cpu": _cpu(),
            "cores": psutil.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        },
        "versions": {
            "python": sys.version.split()[0],
            **{name: version(name) for name in OURS},
            "nginx": tools.NGINX.version,
            "envoy": tools.ENVOY.version,
            "litellm": tools.LITELLM.version,
            "vllm-router": tools.VLLM_ROUTER.version,
            "portkey": tools.PORTKEY.version,
        },
    }


def commit() -> str:
    """Return the commit that is checked out, with a plus sign where the code differs from it."""
    words = ["git", "-C", str(tools.ROOT)]
    head = subprocess.run([*words, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*words, "status", "--porcelain", "pocketnode"], capture_output=True, text=True, check=False
    )
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
