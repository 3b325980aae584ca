"""The quick start, typed as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.network import Localnet

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
RUNS = re.compile(r"<!-- runs -->\n```sh\n(.*?)```", re.DOTALL)


def test_its_commands_do_what_it_says(localnet: Localnet) -> None:
    blocks = RUNS.findall((ROOT / "docs" / "quickstart.md").read_text())
    assert len(blocks) == 4
    asked, loaded, looked, paid = [typed(block, localnet) for block in blocks]
    assert '"choices"' in asked
    assert '"result":"0x' in asked.replace(" ", "")
    assert "sent" in loaded
    assert "supplier-1" in looked
    assert "debit" in paid or "session" in paid


def typed(block: str, localnet: Localnet) -> str:
    """Run a block in a shell that stands where its reader stands: commands on the path, the network in its folder."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "POCKETNODE_LOCALNET_DIR": str(localnet.folder)}
    done = subprocess.run(
        ["bash", "-euc", block], capture_output=True, text=True, timeout=180, check=False, env=environment
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
