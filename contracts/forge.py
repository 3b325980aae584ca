"""Run forge from the npm packages of this repository."""

import fcntl
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts"
_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def binary() -> Path:
    """Return forge's executable; `npm ci` brings it."""
    system = {"Linux": "linux", "Darwin": "darwin"}[platform.system()]
    return ROOT / "node_modules" / "@foundry-rs" / f"forge-{system}-{_MACHINES[platform.machine()]}" / "bin" / "forge"


def run(*arguments: str, env: dict[str, str] | None = None) -> str:
    """Return what `forge ARGUMENTS` prints. One runs at a time: they share a folder of output.

    Raises
    ------
    RuntimeError
        with forge's own words, if it fails.
    """
    with (ROOT / "contracts" / "foundry.toml").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([str(binary()), *arguments], cwd=CONTRACTS, capture_output=True, text=True, env=env)
    if done.returncode:
        raise RuntimeError(f"forge {' '.join(arguments)}\n{done.stdout}\n{done.stderr}")
    return done.stdout
