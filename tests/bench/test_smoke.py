"""The whole harness for real with tiny counts: what it measures is never asserted, only that it measures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
def test_every_scenario_runs_and_is_reported() -> None:
    words = [sys.executable, "-m", "bench", "--smoke"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for section in (
        "Targets",
        "JSON-RPC",
        "Chat completions",
        "Streamed chat",
        "A real model",
        "Scaling",
        "Settlement",
    ):
        assert f"## {section}" in done.stdout
    assert "pocketnode" in done.stdout
