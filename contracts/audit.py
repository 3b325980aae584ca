"""Run slither over the contracts: `python contracts/audit.py`, from a virtual environment of its own.

Slither pins packages that the daemons pin otherwise, so it lives in `.cache/slither`. What it reports and is right as
it is carries its reason next to the code (`slither-disable`); everything else fails.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent))

from forge import CONTRACTS, ROOT, binary

SLITHER = "slither-analyzer==0.11.6"
# Detectors that say nothing of this code, and why.
EXCLUDED = {
    "uninitialized-local": "Solidity's zero is what is meant",
    "unused-return": "it counts each part of a tuple that is left out",
    "calls-loop": "batches call this deployment's own contracts; a payee cannot make `pay` fail",
}
HOME = ROOT / ".cache" / "slither"
OUT = "../.cache/slither-out"


def installed() -> Path:
    """Return slither's executable, installed at the first use."""
    executable = HOME / "bin" / "slither"
    if not executable.exists():
        venv.create(HOME, with_pip=True)
        subprocess.run([str(HOME / "bin" / "pip"), "install", "-q", SLITHER], check=True)
    return executable


def main() -> int:
    """Return slither's own exit code: 0 if it finds nothing."""
    shutil.rmtree(CONTRACTS / OUT, ignore_errors=True)  # an older build's description would be read as well
    subprocess.run(
        [str(binary()), "build", "--build-info", "--skip", "test", "--out", OUT, "--cache-path", f"{OUT}/cache"],
        cwd=CONTRACTS,
        check=True,
    )
    arguments = [".", "--ignore-compile", "--foundry-out-directory", OUT, "--exclude", ",".join(EXCLUDED)]
    arguments += ["--config-file", "slither.json"]
    env = os.environ | {"PATH": f"{binary().parent}{os.pathsep}{os.environ['PATH']}"}  # it asks forge for the settings
    return subprocess.run([str(installed()), *arguments], cwd=CONTRACTS, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
